// Decides many groups at once: a rule for a class, or one decision for a pair of folders; always with a preview first.

import { field, okButton, openDialog, quietButton, select } from "./dialogs.js";
import { h } from "./dom.js";
import { bytesText, countText, KINDS } from "./words.js";

const BULK_KINDS = ["identical", "same", "cropped", "retouched", "recoloured"]; // of others each is to be looked at
const KEEP = [
  ["", "What the service's rules say"],
  ["original", "The original"],
  ["pixels most", "The one with most pixels"],
  ["bytes most", "The largest file"],
  ["taken earliest", "The one taken first"],
  ["modified earliest", "The one changed first"],
  ["path shortest", "The one with the shortest path"],
];

// `page` gives the groups, what is shown, and the source; `done(decided)` gets decisions by key.
export function openBulk(page, done) {
  const counts = page.groups.kinds();
  const kinds = BULK_KINDS.filter((kind) => counts[kind]);
  const folders = h("datalist", { id: "bulk-folders" }, ...foldersOf(page.groups).map((value) => h("option", { value })));
  const chosen = kinds.map((kind) => {
    const box = h("input", { type: "checkbox", value: kind });
    box.checked = page.filter.kind ? page.filter.kind === kind : ["identical", "same"].includes(kind);
    return h("label", { class: "check" }, box, h("span", { text: `${KINDS[kind].label} (${countText(counts[kind], "group")})` }));
  });
  const keep = select({ id: "bulk-keep" }, KEEP);
  const folder = folderInput("bulk-folder", "none");
  const inside = folderInput("bulk-inside", "anywhere");
  const reference = folderInput("bulk-reference", "anywhere");
  const onlyShown = h("input", { type: "checkbox", id: "bulk-shown" });
  const isNarrow = page.shown.length < page.groups.all.length;
  onlyShown.checked = isNarrow;
  const result = h("p", { class: "result", role: "status", text: "Look first, then decide: nothing is decided before you say so." });
  let proposal = 0; // the one that is shown
  const accept = okButton("Decide", async () => {
    try {
      const told = await page.source.inOrder("/api/rules/accept", { proposal });
      dialog.close();
      done(told.decided);
    } catch (error) {
      result.textContent = error.message;
    }
  });
  accept.disabled = true;
  const look = quietButton("Look", async () => {
    result.textContent = "Looking …";
    accept.disabled = true;
    try {
      const told = await page.source.change("/api/rules", {
        kinds: chosen.map((label) => label.querySelector("input")).filter((box) => box.checked).map((box) => box.value),
        keep: keep.value,
        folder: folder.value.trim(),
        inside: inside.value.trim(),
        reference: reference.value.trim(),
        keys: onlyShown.checked ? page.shown.map((group) => group.key) : null,
      });
      proposal = told.proposal;
      result.textContent = bulkText(told);
      accept.disabled = !told.groups;
    } catch (error) {
      result.textContent = error.message;
    }
  });
  const changed = () => {
    accept.disabled = true;
    result.textContent = "Look again: the rule has changed.";
  };
  const body = [
    h("fieldset", {}, h("legend", { text: "Which groups" }), h("div", { class: "checks" }, ...chosen), isNarrow && h("label", { class: "check" }, onlyShown, h("span", { text: `Only the ${countText(page.shown.length, "group")} in the list now` }))),
    h("fieldset", {}, h("legend", { text: "Which file stays" }), h("div", { class: "fields" }, field("First by", keep), field("Before that, files in", folder))),
    h(
      "fieldset",
      {},
      h("legend", { text: "A pair of folders" }),
      h("p", { class: "hint", text: "Everything in the first folder goes that is also in the second, and nothing else." }),
      h("div", { class: "fields" }, field("Goes from", inside), field("If it is also in", reference)),
    ),
    folders,
    result,
  ];
  const dialog = openDialog("Rules for many groups", body, [look, accept]);
  dialog.element.classList.add("bulk");
  dialog.element.addEventListener("input", changed);
}

export function bulkText({ groups, files, bytes, unsure, decided }) {
  const look = unsure ? `; ${countText(unsure, "group needs", "groups need")} your look` : "";
  const before = decided ? ` ${countText(decided, "group is", "groups are")} decided already: that stays as it is.` : "";
  return (groups ? `${countText(groups, "group")}, ${countText(files, "file")}, ${bytesText(bytes)}${look}.` : `Nothing goes by this rule${look}.`) + before;
}

function folderInput(id, placeholder) {
  return h("input", { id, type: "text", list: "bulk-folders", placeholder, autocomplete: "off", spellcheck: "false" });
}

// All folders that hold files of groups, and those above them as far as they have files in common.
function foldersOf(groups) {
  const found = new Set();
  const top = (groups.common || "/").length;
  for (const group of groups.all) {
    for (const folder of group.folders) {
      for (let path = folder; path.length >= top && !found.has(path); path = path.slice(0, path.lastIndexOf("/"))) found.add(path);
    }
  }
  return [...found].sort().slice(0, 2000);
}
