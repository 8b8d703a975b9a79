// A dialog at a time: the keys, and a frame for the others.

import { button, h, icon } from "./dom.js";

// Opens a dialog; returns {element, close, ended}, the last of which is kept once it is closed.
export function openDialog(title, body, buttons = []) {
  const heading = `dialog-${Math.random().toString(36).slice(2)}`;
  const close = () => element.close();
  const element = h(
    "dialog",
    { "aria-labelledby": heading },
    h(
      "header",
      {},
      h("h2", { id: heading, text: title }),
      h("button", { type: "button", class: "round", "aria-label": "Close", onclick: close }, icon("close")),
    ),
    h("div", { class: "body" }, ...body),
    buttons.length > 0 && h("footer", {}, ...buttons),
  );
  document.body.append(element);
  const ended = new Promise((done) => {
    element.addEventListener("close", () => {
      element.remove();
      done();
    });
  });
  element.addEventListener("click", (event) => {
    if (event.target === element) close(); // beside it
  });
  element.showModal();
  return { element, close, ended };
}

const KEYS = [
  ["Enter", "accept what is chosen, and go on"],
  ["1 … 9", "keep this one, the others go"],
  ["0", "keep all: these are not copies"],
  ["X", "take this one out, or back in"],
  ["Backspace", "take back the last decision"],
  ["J  ↓", "next group"],
  ["K  ↑", "previous group"],
  ["PgDn  PgUp", "ten groups on, or back"],
  ["Home  End", "the first group, the last one"],
  ["←  →", "another file of the group"],
  ["C", "side by side"],
  ["Space", "blink: both in one place, in turns"],
  ["S", "split by a slider"],
  ["D", "difference, brightened"],
  ["Z", "zoom in and out"],
  ["+  −", "zoom by a step"],
  ["Shift  ←↑↓→", "another part of the picture, when zoomed"],
  [",  .", "frames of an animation, pages of a document"],
  ["/", "search"],
  ["F", "filters"],
  ["Esc", "back"],
  ["?", "these keys"],
];

const KEYS_TO_ACT = [
  ["R", "rules for many groups"],
  ["P", "the plan: look at it, save or apply it"],
];
const KEYS_OF_A_REPORT = [["P", "save the plan"]];

export function openHelp(canAct) {
  const rows = [...KEYS.slice(0, -2), ...(canAct ? KEYS_TO_ACT : KEYS_OF_A_REPORT), ...KEYS.slice(-2)].map(([keys, text]) =>
    h("div", {}, h("dt", {}, ...keys.split("  ").map((key) => h("kbd", { text: key }))), h("dd", { text })),
  );
  openDialog("Keys", [h("dl", { class: "keys" }, ...rows)]);
}

export function field(label, control, isWide = false) {
  return h("label", { class: isWide ? "field wide" : "field" }, h("span", { text: label }), control);
}

export function select(attributes, options) {
  const element = h("select", attributes, ...options.map(([value, text]) => h("option", { value, text })));
  return element;
}

export function okButton(label, act) {
  return button({ class: "primary", onclick: act }, label);
}

export function quietButton(label, act) {
  return button({ class: "quiet", onclick: act }, label);
}
