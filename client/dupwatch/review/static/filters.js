// The filters that are seldom needed: folder, format, camera, year, size, undecided.

import { field, quietButton, select } from "./dialogs.js";
import { h } from "./dom.js";
import { NO_FILTER } from "./groups.js";
import { numberText } from "./words.js";

const SIZES = [
  [0, "Any size"],
  [1e6, "From 1 MB"],
  [5e6, "From 5 MB"],
  [2e7, "From 20 MB"],
  [1e8, "From 100 MB"],
];
const FOLDERS_MAX = 1000; // proposed while a folder is typed

// Draws the filters into `element`; `changed()` is called after each change of `filter`.
export function drawFilters(element, groups, filter, changed) {
  const { formats, cameras, years, folders } = groups.choices();
  const choice = (name, all, values) => {
    const control = select({ id: `filter-${name}` }, [["", all], ...values.map(([value, count]) => [value, `${value} (${numberText(count)})`])]);
    control.value = filter[name];
    control.addEventListener("change", () => {
      filter[name] = control.value;
      changed();
    });
    return control;
  };
  const folder = h("input", { id: "filter-folder", type: "text", list: "folders", placeholder: "Any folder", autocomplete: "off", spellcheck: "false", value: filter.folder });
  folder.addEventListener("input", () => {
    filter.folder = folder.value.trim();
    changed();
  });
  const size = select({ id: "filter-bytes" }, SIZES);
  size.value = String(filter.bytes);
  size.addEventListener("change", () => {
    filter.bytes = Number(size.value);
    changed();
  });
  const undecided = h("input", { id: "filter-undecided", type: "checkbox" });
  undecided.checked = filter.undecided;
  undecided.addEventListener("change", () => {
    filter.undecided = undecided.checked;
    changed();
  });
  element.replaceChildren(
    field("Folder", folder, true),
    h("datalist", { id: "folders" }, ...folders.slice(0, FOLDERS_MAX).map(([value]) => h("option", { value }))),
    field("Format", choice("format", "Any format", formats)),
    field("Camera", choice("camera", "Any camera", cameras)),
    field("Year", choice("year", "Any year", years)),
    field("Largest file", size),
    h("label", { class: "check" }, undecided, h("span", { text: "Undecided only" })),
    quietButton("Clear", () => {
      const { kind, text } = filter;
      Object.assign(filter, NO_FILTER, { kind, text });
      drawFilters(element, groups, filter, changed);
      element.querySelector("button").focus(); // the one that was pressed is gone
      changed();
    }),
  );
}

export function isFiltered(filter) {
  return ["folder", "format", "camera", "year", "bytes", "undecided"].some((name) => filter[name]);
}
