// The parts of the page that are always there. Each has its place, and keeps it.

import { button, h, icon } from "./dom.js";

export function buildFrame(canAct) {
  document.body.append(
    h("a", { class: "skip", href: "#group", text: "Skip to the group" }),
    header(canAct),
    h("main", {}, listSide(), groupSide()),
    h("div", { id: "toast", role: "status", hidden: true }),
    h("div", { id: "announcement", class: "unseen", "aria-live": "polite" }),
  );
}

function header(canAct) {
  return h(
    "header",
    { class: "top" },
    h("h1", { class: "brand" }, h("span", { class: "brand-mark", "aria-hidden": "true" }), h("span", { text: "dupwatch" })),
    h(
      "div",
      { class: "progress" },
      h("progress", { id: "progress-bar", max: 1, value: 0, "aria-label": "Groups decided" }),
      h("p", { id: "progress-text", text: "Reading groups …" }),
    ),
    h("button", { type: "button", id: "news", class: "pill", hidden: true }),
    h(
      "div",
      { class: "actions" },
      button({ id: "open-rules", hidden: !canAct, class: "quiet", title: "Decide many groups at once (R)" }, "Rules", "R", "rules"),
      button({ id: "open-plan", class: "primary", title: canAct ? "Look at the plan (P)" : "Save the plan (P)" }, canAct ? "Apply …" : "Save plan", "P"),
      button({ id: "open-help", class: "quiet round", title: "Keys (?)", "aria-label": "Keys" }, "?"),
    ),
  );
}

function listSide() {
  return h(
    "section",
    { id: "list-side", "aria-label": "Groups of copies" },
    h(
      "div",
      { class: "search-row" },
      h(
        "label",
        { class: "search" },
        icon("search"),
        h("span", { class: "unseen", text: "Search by name" }),
        h("input", { id: "search", type: "search", placeholder: "Search by name or folder", autocomplete: "off", spellcheck: "false" }),
        h("kbd", { text: "/", "aria-hidden": "true" }),
      ),
      h(
        "button",
        { type: "button", id: "open-filters", class: "quiet round", title: "Filters (F)", "aria-label": "Filters", "aria-expanded": "false", "aria-controls": "filters" },
        icon("filter"),
      ),
    ),
    h("div", { id: "filters", hidden: true }),
    h("div", { id: "kinds", role: "radiogroup", "aria-label": "Class" }),
    h(
      "div",
      { class: "sort-row" },
      h("p", { id: "shown", "aria-live": "polite" }),
      h(
        "label",
        {},
        h("span", { class: "unseen", text: "Sort" }),
        h(
          "select",
          { id: "order" },
          h("option", { value: "kind", text: "Easy ones first" }),
          h("option", { value: "bytes", text: "Most to win" }),
          h("option", { value: "folder", text: "By folder" }),
          h("option", { value: "newest", text: "Newest first" }),
          h("option", { value: "oldest", text: "Oldest first" }),
        ),
      ),
    ),
    h("div", { id: "list", role: "listbox", tabindex: "0", "aria-label": "Groups" }),
    h("p", { id: "nothing", hidden: true }),
  );
}

const MODE_LABELS = [
  ["side", "Side by side", "C"],
  ["blink", "Blink", "Space"],
  ["split", "Split", "S"],
  ["difference", "Difference", "D"],
];

function groupSide() {
  return h(
    "section",
    { id: "group", tabindex: "-1", "aria-label": "One group" },
    h(
      "div",
      { class: "title" },
      h("button", { type: "button", id: "to-list", class: "quiet round", "aria-label": "Back to the groups" }, icon("back")),
      h("div", { class: "what" }, h("h2", { id: "group-name" }), h("p", { id: "group-about" })),
      h(
        "div",
        { class: "modes", role: "group", "aria-label": "How pictures are shown" },
        ...MODE_LABELS.map(([mode, label, key]) =>
          h(
            "button",
            { type: "button", "data-mode": mode, "aria-pressed": "false", title: `${label} (${key})` },
            icon(mode),
            h("span", { class: "label", text: label }),
          ),
        ),
      ),
      button({ id: "zoom", class: "quiet", title: "Zoom (Z)", "aria-pressed": "false" }, "Fit", null, "zoom"),
      h(
        "div",
        { class: "walk" },
        h("button", { type: "button", id: "previous", class: "quiet round", title: "Previous group (K)", "aria-label": "Previous group" }, icon("up")),
        h("button", { type: "button", id: "next", class: "quiet round", title: "Next group (J)", "aria-label": "Next group" }, icon("down")),
      ),
    ),
    h("div", { class: "captions" }, caption("a"), caption("b")),
    h("div", { id: "stage", "data-mode": "side", "data-front": "a" }),
    h("p", { id: "stage-note", "aria-live": "polite" }),
    h("div", { id: "strip", role: "group", "aria-label": "Files of this group" }),
    h(
      "div",
      { class: "details" },
      h("div", { class: "facts" }, h("table", {}, h("caption", { class: "unseen", text: "What differs" }), h("thead", {}, h("tr", { id: "facts-head" })), h("tbody", { id: "facts" }))),
      h("div", { class: "why" }, h("h3", { text: "Why" }), h("div", { id: "why" })),
    ),
    h(
      "div",
      { class: "decide" },
      button({ id: "take-back", class: "quiet", title: "Take back (Backspace)" }, "Take back", "⌫", "undo"),
      h("p", { id: "outcome", "aria-live": "polite" }),
      button({ id: "apart", class: "quiet", title: "Not copies: keep all (0)" }, "Not copies", "0"),
      button({ id: "take-out", class: "quiet", title: "Take this one out (X)" }, "Take out", "X"),
      button({ id: "keep-this", class: "quiet", title: "Keep this one (1 to 9)" }, "Keep this", "2"),
      button({ id: "accept", class: "primary", title: "Accept and go on (Enter)" }, "Accept", "↵"),
    ),
  );
}

function caption(side) {
  return h(
    "div",
    { class: "caption", id: `caption-${side}` },
    h("span", { class: "badge" }),
    h("span", { class: "fate" }),
    h("span", { class: "file-name" }),
    h("span", { class: "figures" }),
  );
}
