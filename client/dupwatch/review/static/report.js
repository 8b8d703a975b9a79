// Starts the page on the groups of a report.

import { Page } from "./page.js";
import { SavedSource } from "./saved.js";

new Page(new SavedSource()).begin();
