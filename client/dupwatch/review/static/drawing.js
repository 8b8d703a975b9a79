// What is shown of the group that is looked at: both pictures' captions, all its files, and what is known of them.

import { find, h } from "./dom.js";
import { factRows, verdictText } from "./facts.js";
import { goingBytes } from "./groups.js";
import { bytesText, countText, formatText, KINDS, nameOf, numberText, visible } from "./words.js";

const STRIP_MAX = 200; // files of one group that are drawn; a group may have thousands

function fateOf(page, file) {
  if (page.draft.goes.includes(file.path)) return ["goes", "Goes"];
  if (page.draft.out.includes(file.path)) return ["out", "Not a copy"];
  return ["stays", file.pinned ? "Protected" : "Stays"];
}

export function outcomeText(page) {
  const { stays, goes, out } = page.draft;
  if (out.length === page.group.files.length) return "Not copies: all stay, and are not shown together again";
  const parts = [`${countText(stays.length - out.length, "file")} ${stays.length - out.length === 1 ? "stays" : "stay"}`];
  if (goes.length) parts.push(`${numberText(goes.length)} ${goes.length === 1 ? "goes" : "go"}, ${bytesText(goingBytes(page.group, page.draft))}`);
  else parts[0] = `All ${numberText(stays.length - out.length)} stay`;
  if (out.length) parts.push(`${numberText(out.length)} taken out`);
  return parts.join(" · ");
}

export function drawGroup(page) {
  const { group } = page;
  find("group").dataset.kind = group.kind;
  find("group-name").textContent = group.name;
  find("group-name").title = visible(group.files[0].path);
  drawAbout(page);
  find("outcome").textContent = outcomeText(page);
  find("keep-this").querySelector("kbd").textContent = page.second < 9 ? String(page.second + 1) : "";
  find("take-out").classList.toggle("on", page.draft.out.includes(group.files[page.second].path));
  find("stage-note").textContent = "";
  drawCaption(page, "a", 0);
  drawCaption(page, "b", page.second);
  drawStrip(page);
  drawFacts(page);
  drawModes(page);
}

export function drawAbout(page) {
  const { group } = page;
  const place = page.shown.indexOf(group);
  const isDecided = page.groups.decided.has(group.key);
  find("group-about").textContent = [
    KINDS[group.kind].label,
    countText(group.files.length, "file"),
    place >= 0 && `${numberText(place + 1)} of ${numberText(page.shown.length)}`,
    isDecided && "decided",
  ].filter(Boolean).join(" · ");
}

function drawCaption(page, side, place) {
  const file = page.group.files[place];
  const element = find(`caption-${side}`);
  const [fate, word] = fateOf(page, file);
  element.dataset.fate = fate;
  element.querySelector(".badge").textContent = String(place + 1);
  element.querySelector(".fate").textContent = word;
  element.querySelector(".file-name").textContent = nameOf(file.path);
  element.querySelector(".file-name").title = visible(file.path);
  element.querySelector(".figures").textContent = `${numberText(file.width)} × ${numberText(file.height)} · ${bytesText(file.bytes)} · ${formatText(file)}`;
}

function drawStrip(page) {
  const strip = find("strip");
  const files = page.group.files.slice(0, STRIP_MAX);
  const isBuilt = strip.dataset.key === page.group.key && strip.childElementCount >= files.length;
  if (!isBuilt) {
    strip.dataset.key = page.group.key;
    strip.replaceChildren(...files.map((file, place) => stripButton(page, file, place)));
    const more = page.group.files.length - files.length;
    if (more) strip.append(h("p", { class: "more", text: `and ${numberText(more)} more` }));
  }
  files.forEach((file, place) => {
    const element = strip.children[place];
    const [fate, word] = fateOf(page, file);
    element.dataset.fate = fate;
    element.setAttribute("aria-pressed", String(place === page.second));
    element.setAttribute("aria-label", `${place + 1}: ${nameOf(file.path)}, ${word}`);
    element.querySelector(".word").textContent = word;
    if (place === page.second && !isVisible(element, strip)) element.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
}

function stripButton(page, file, place) {
  const image = h("img", { alt: "", loading: "lazy", draggable: "false" });
  image.src = page.source.pictureUrl(file, 160);
  const { turn = 0, mirrored } = page.source.turnOf(file);
  if (turn % 180) image.classList.add("lies"); // its box is as wide as the frame is high
  image.style.rotate = `${turn}deg`;
  if (mirrored) image.style.scale = turn % 180 ? "1 -1" : "-1 1";
  return h(
    "button",
    { type: "button", class: "strip-file", title: file.path, onclick: () => page.choose(place), ondblclick: () => page.keepThis(place) },
    h("span", { class: "frame" }, image, h("span", { class: "badge", text: String(place + 1) })),
    h("span", { class: "word" }),
  );
}

function drawFacts(page) {
  const [first, second] = [page.group.files[0], page.second ? page.group.files[page.second] : null];
  find("facts-head").replaceChildren(
    h("th", { scope: "col" }, h("span", { class: "unseen", text: "What" })),
    h("th", { scope: "col", text: "1" }),
    ...(second ? [h("th", { scope: "col", text: String(page.second + 1) })] : []),
  );
  find("facts").replaceChildren(...factRows(first, second, page.groups.common || "/"));
  const lines = [];
  if (page.group.asked) lines.push(["To be asked", page.group.asked]);
  lines.push(["1", first.reason || "the best copy"], ...heldLines(page, first));
  if (second) {
    lines.push([String(page.second + 1), verdictText(page.group, second)]);
    if (second.reason && second.reason !== first.reason) lines.push(["", second.reason]);
    if (second.lacks?.length) lines.push(["", `The one that stays would lack: ${second.lacks.join(", ")}.`]);
    lines.push(...heldLines(page, second));
    if (second.undecided) lines.push(["", `It may be held back: ${second.undecided}.`]);
    if (second.returned) lines.push(["", "This content was removed before, and has come back."]);
  }
  find("why").replaceChildren(...lines.map(([head, text]) => h("p", {}, head && h("span", { class: "badge", text: head }), h("span", { text }))));
}

// Of a file that goes, or would by the rules: why a plan holds it back.
function heldLines(page, file) {
  const because = page.source.heldBack(page.groups, page.group, page.draft, file);
  return because ? [["", `A plan holds it back: ${because}.`]] : [];
}

export function drawModes(page) {
  for (const element of document.querySelectorAll(".modes button")) {
    element.setAttribute("aria-pressed", String(element.dataset.mode === page.stage.mode));
  }
  const { zoom } = page.stage.view;
  find("zoom").querySelector(".label").textContent = zoom > 1 ? `${zoom.toFixed(1)} ×` : "Fit";
  find("zoom").setAttribute("aria-pressed", String(zoom > 1));
  for (const side of ["a", "b"]) {
    find(`caption-${side}`).classList.toggle("behind", page.stage.mode === "blink" && find("stage").dataset.front !== side);
  }
}

function isVisible(element, area) {
  const [inner, outer] = [element.getBoundingClientRect(), area.getBoundingClientRect()];
  return inner.left >= outer.left && inner.right <= outer.right;
}
