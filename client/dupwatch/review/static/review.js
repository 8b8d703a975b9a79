// Starts the page on the groups of a service.

import { LiveSource } from "./live.js";
import { Page } from "./page.js";

new Page(new LiveSource()).begin();
