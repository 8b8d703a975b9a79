// Makes elements. Text only ever becomes text: a file name such as <img onerror=…> is shown as it is written.

import { visible } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  search: ["M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13Z", "m15.5 15.5 5 5"],
  filter: ["M4 6h16", "M7 12h10", "M10 18h4"],
  check: ["m5 12.5 4.5 4.5L19 7.5"],
  back: ["M15 5l-7 7 7 7"],
  left: ["m15 6-6 6 6 6"],
  right: ["m9 6 6 6-6 6"],
  up: ["m6 15 6-6 6 6"],
  down: ["m6 9 6 6 6-6"],
  close: ["m6 6 12 12", "M18 6 6 18"],
  side: ["M4 5h16v14H4z", "M12 5v14"],
  blink: ["M4 5h16v14H4z", "M8 12h8", "m13 9 3 3-3 3"],
  split: ["M4 5h16v14H4z", "M9 5v14", "m12 10-2 2 2 2", "m15 10 2 2-2 2"],
  difference: ["M9.5 16a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11Z", "M14.5 19a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11Z"],
  zoom: ["M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13Z", "m15.5 15.5 5 5", "M8 10.5h5", "M10.5 8v5"],
  undo: ["M8 8H4V4", "M4.5 8a8 8 0 1 1-.9 6"],
  rules: ["M4 7h10", "M18 7h2", "M16 5v4", "M4 17h2", "M10 17h10", "M8 15v4"],
  folder: ["M3 7a2 2 0 0 1 2-2h4l2 2.5h8a2 2 0 0 1 2 2V17a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z"],
  warning: ["M12 4 2.8 20h18.4z", "M12 10v4.5", "M12 17.3v.2"],
};

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = visible(String(value));
    else if (name === "value") element.value = value;
    else if (name === "title") element.title = visible(value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function icon(name) {
  const svg = drawing("icon", ICONS[name].map((line) => ["path", { d: line }]));
  svg.setAttribute("viewBox", "0 0 24 24");
  return svg;
}

// A closed line that can be seen on every ground, from points that are set on all its children.
export function polygon(name) {
  return drawing(name, [["polygon", {}], ["polygon", {}]]);
}

function drawing(name, shapes) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", name);
  svg.setAttribute("aria-hidden", "true");
  for (const [shape, attributes] of shapes) {
    const line = document.createElementNS(SVG, shape);
    for (const [attribute, value] of Object.entries(attributes)) line.setAttribute(attribute, value);
    svg.append(line);
  }
  return svg;
}

export function button(attributes, label, key = null, picture = null) {
  return h(
    "button",
    { type: "button", ...attributes },
    picture && icon(picture),
    h("span", { class: "label", text: label }),
    key && h("kbd", { text: key, "aria-hidden": "true" }),
  );
}

export function find(id) {
  return document.getElementById(id);
}
