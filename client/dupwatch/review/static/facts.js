// What differs between two files of a group, in words; what is better is marked.

import { h } from "./dom.js";
import { bytesText, formatText, KINDS, megapixels, momentText, nameOf, numberText, relativeFolder, takenSeconds } from "./words.js";

const CERTAIN = { identical: "equal byte by byte", same: "the same picture" };

// Each fact: its name, how a file shows it, and (if one can be better) what is compared; more is better.
const FACTS = [
  ["Name", (file) => nameOf(file.path)],
  ["Folder", (file, common) => relativeFolder(file.path, common)],
  ["Pixels", (file) => `${numberText(file.width)} × ${numberText(file.height)} · ${megapixels(file)}`, (file) => file.width * file.height],
  ["Size", (file) => bytesText(file.bytes)],
  ["Format", formatText],
  ["Quality", (file) => (file.quality ? String(file.quality) : ""), (file) => Number(file.quality) || 0],
  ["Depth", (file) => (file.bits > 8 ? `${file.bits} bits a colour` : ""), (file) => file.bits || 8],
  ["Transparency", (file) => (file.transparent ? "yes" : ""), (file) => (file.transparent ? 1 : 0)],
  ["Also in it", (file) => (file.holds || []).join(", "), (file) => (file.holds || []).length],
  ["Camera", (file) => file.camera || "", (file) => (file.camera ? 1 : 0)],
  ["Taken", (file) => (takenSeconds(file) ? momentText(takenSeconds(file)) : ""), (file) => (file.captured ? 1 : 0)],
  ["Place", (file) => (file.has_place ? "known" : ""), (file) => (file.has_place ? 1 : 0)],
  ["Rating", (file) => (file.rating ? "★".repeat(file.rating) : ""), (file) => file.rating || 0],
  ["Keywords", (file) => (file.keywords || []).join(", "), (file) => (file.keywords || []).length],
  ["Caption", (file) => (file.captions || []).join(" · "), (file) => (file.captions || []).length],
  ["People", (file) => (file.people || []).join(", "), (file) => (file.people || []).length],
  ["Sidecars", (file) => (file.beside || []).join(", "), (file) => (file.beside || []).length],
  ["Frames", (file) => (file.frames > 1 ? numberText(file.frames) : ""), (file) => file.frames || 1],
  ["Changed", (file) => momentText(file.modified)],
  ["Damaged", (file) => (file.damaged ? "could be read only in part" : ""), (file) => (file.damaged ? 0 : 1)],
];
const ALWAYS = new Set(["Folder"]);

// `common` is the folder that holds all files; what lies below it is told without it.
export function factRows(first, second, common) {
  const rows = [];
  for (const [name, told, worth] of FACTS) {
    const [a, b] = [told(first, common), second ? told(second, common) : ""];
    if (second ? a === b && !ALWAYS.has(name) : !a) continue;
    const better = second && worth ? Math.sign(worth(first) - worth(second)) : 0;
    rows.push(
      h(
        "tr",
        {},
        h("th", { scope: "row", text: name }),
        cell(a, name === "Folder" ? first.path : "", better > 0 ? "better" : better < 0 ? "worse" : ""),
        second && cell(b, name === "Folder" ? second.path : "", better < 0 ? "better" : better > 0 ? "worse" : ""),
      ),
    );
  }
  return rows;
}

function cell(text, title, mark) {
  return h(
    "td",
    { class: mark, title },
    h("span", { class: text ? "" : "nothing", text: text || "—" }),
    mark === "better" && h("span", { class: "mark", text: "better" }),
  );
}

// What a file is to the kept one.
export function verdictText(group, file) {
  if (file === group.files[0]) return "the best copy";
  if (file.same_file_as) return "another name of the same file";
  if (file.verdict === "same" && !file.confirmed) return "maybe the same picture: not certain at full size";
  if (CERTAIN[file.verdict]) return CERTAIN[file.verdict];
  return file.verdict ? `${KINDS[file.verdict].label.toLowerCase()}: ${KINDS[file.verdict].help}` : "near another copy only";
}
