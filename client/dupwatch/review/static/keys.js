// What each key does.

import { find } from "./dom.js";

const PARTS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }; // across and down
const DECIDING = /^([0-9xX]|Enter|Backspace)$/; // a key that is held down must not decide groups that nobody has seen
const SLIDER_KEYS = new Set([...Object.keys(PARTS), "Home", "End", "PageUp", "PageDown"]);

export function listenToKeys(page) {
  document.addEventListener("keydown", (event) => pressed(page, event));
}

function pressed(page, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const isTyping = event.target.matches("input:not([type=range]), select, textarea");
  if (event.key === "Escape") {
    if (isTyping) leaveField(page, event.target);
    else if (page.stage.view.zoom > 1) page.stage.toggleZoom();
    else if (page.stage.mode !== "side") page.setMode("side");
    else document.body.classList.remove("in-group");
    return;
  }
  if (isTyping || !page.group) return;
  if (["Enter", " "].includes(event.key) && event.target.matches("button, a")) return; // reached by Tab: it is meant itself
  if (SLIDER_KEYS.has(event.key) && event.target.matches("input[type=range]")) return; // likewise
  const [across, down] = (event.target.closest("#kinds") && PARTS[event.key]) || [0, 0];
  if (across || down) {
    event.preventDefault();
    page.setNextKind(across + down);
    return;
  }
  const act = actOf(page, event);
  if (!act) return;
  event.preventDefault();
  if (!event.repeat || !DECIDING.test(event.key)) act();
}

function leaveField(page, field) {
  if (field.id === "search" && field.value) {
    field.value = "";
    page.filter.text = "";
    page.refresh();
  }
  find("group").focus({ preventScroll: true });
}

function actOf(page, event) {
  const part = event.shiftKey && PARTS[event.key];
  if (part) return () => page.stage.moveBy(...part);
  if (/^[1-9]$/.test(event.key)) return () => page.keepThis(Number(event.key) - 1);
  const keys = {
    Enter: () => page.accept(),
    0: () => page.keepAll(),
    " ": () => page.blink(),
    Backspace: () => page.takeBack(),
    ArrowDown: () => page.walk(1),
    ArrowUp: () => page.walk(-1),
    PageDown: () => page.walk(10),
    PageUp: () => page.walk(-10),
    Home: () => page.walk(-Infinity),
    End: () => page.walk(Infinity),
    ArrowRight: () => page.chooseBy(1),
    ArrowLeft: () => page.chooseBy(-1),
    "+": () => page.stage.zoomBy(1),
    "-": () => page.stage.zoomBy(-1),
    ",": () => page.stage.stepFrame(-1),
    ".": () => page.stage.stepFrame(1),
    "/": () => find("search").focus(),
    "?": () => find("open-help").click(),
    j: () => page.walk(1),
    k: () => page.walk(-1),
    z: () => page.stage.toggleZoom(),
    c: () => page.setMode("side"),
    s: () => page.setMode("split"),
    d: () => page.setMode(page.stage.mode === "difference" ? "side" : "difference"),
    x: () => page.takeOut(),
    f: () => find("open-filters").click(),
    r: () => page.source.canAct && find("open-rules").click(),
    p: () => find("open-plan").click(),
  };
  return keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
}
