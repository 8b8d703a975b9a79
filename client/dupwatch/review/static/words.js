// Numbers, dates and names as a person reads them.

const NUMBER = new Intl.NumberFormat("en");
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "UTC" });

export const KINDS = {
  identical: { label: "Identical", help: "equal byte by byte" },
  same: { label: "Same", help: "one picture, for certain: saved again, resized, turned" },
  cropped: { label: "Cropped", help: "one shows a part of the other" },
  retouched: { label: "Retouched", help: "the same but in places: a caption, a watermark" },
  recoloured: { label: "Recoloured", help: "the same shapes in other colours, or in none" },
  similar: { label: "Similar", help: "another shot of the same thing; never a copy" },
  ask: { label: "To be asked", help: "one picture, but nobody can be certain of every file" },
};

export function countText(count, one, many = `${one}s`) {
  return `${NUMBER.format(count)} ${count === 1 ? one : many}`;
}

export function numberText(count) {
  return NUMBER.format(count);
}

export function bytesText(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let size = count;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${size < 9.95 && unit > 0 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

// A text from outside as it may be shown: what would turn it round, or show nothing, and bytes that are no text, in the form
// that the terminal has for them. Different names look different.
export function visible(text) {
  return text.replace(/[\\\p{Cc}\p{Cs}\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu, (character) => {
    const code = character.codePointAt(0);
    if ("\n\r\t\\".includes(character)) return { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" }[character];
    if (code < 0x80 || (code >= 0xdc80 && code <= 0xdcff)) return `\\x${(code & 0xff).toString(16).padStart(2, "0")}`;
    return `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

export function nameOf(path) {
  return visible(path.slice(path.lastIndexOf("/") + 1));
}

export function folderOf(path) {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

// When the camera says that a picture was taken, in seconds as if its clock showed UTC; 0 if it does not say.
export function takenSeconds(file) {
  const moment = file.captured ? Date.parse(`${file.captured.slice(0, 19).replace(" ", "T")}Z`) : 0;
  return Number.isNaN(moment) ? 0 : moment / 1000;
}

// The folder of a path, without the folder `common` (with its slash) above it.
export function relativeFolder(path, common) {
  const folder = folderOf(path);
  return common !== "/" && `${folder}/`.startsWith(common) ? folder.slice(common.length) || "." : folder;
}

// The last folders of a path below `common`, as many as fit into so many characters.
export function shortFolder(path, common, room = 30) {
  const folder = visible(relativeFolder(path, common));
  if (folder.length <= room) return folder;
  const parts = folder.split("/");
  let shown = parts.pop();
  while (parts.length && shown.length + parts[parts.length - 1].length + 3 <= room) shown = `${parts.pop()}/${shown}`;
  return `…/${shown}`;
}

export function momentText(seconds) {
  return `${DAY.format(seconds * 1000)}, ${TIME.format(seconds * 1000)}`;
}

export function megapixels(file) {
  const count = (file.width * file.height) / 1e6;
  return `${count < 0.1 ? count.toFixed(2) : count < 10 ? count.toFixed(1) : Math.round(count)} MP`;
}

export function formatText(file) {
  return String(file.format || "").toUpperCase();
}
