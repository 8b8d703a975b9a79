// Shows two pictures of a group: side by side, in turns in one place, split by a slider, or as their difference.
// Zoom and pan always hold for both; places are told in parts of the upright picture, so that sizes may differ.

import { cornersOf, layPart, partAsTold, partOf, reachesBeyond } from "./align.js";
import { find, h, icon, polygon } from "./dom.js";
import { Pictures } from "./pictures.js";
import { numberText, visible } from "./words.js";

const ZOOM_MAX = 32;
const ZOOM_STEP = 1.25;
const FULL_FROM = 1.6; // times the fitted size from which the file itself is wanted
const GAIN_MAX = 24; // of a difference: beyond it the noise of any JPEG looks like one

export class Stage {
  // `source` tells the addresses of pictures; `noted(text)` gets what a person should know of the picture; `zoomed()` is
  // called after every zoom, be it by keys, wheel or fingers.
  constructor(element, source, noted, zoomed) {
    this.element = element;
    this.source = source;
    this.noted = noted;
    this.zoomed = zoomed;
    this.pictures = new Pictures();
    this.mode = "side";
    this.view = { zoom: 1, x: 0.5, y: 0.5 };
    this.front = 0; // which one is seen while they take turns
    this.split = 0.5; // where the slider is
    this.frame = null; // of animations and documents, from 0; null: the one that stands for the file
    this.part = null; // where one picture lies in the other, if it is a part of it; see align.js
    this.sides = [this.makeSide(0), this.makeSide(1)];
    this.canvas = h("canvas", { class: "difference", role: "img", "aria-label": "Difference of both pictures" });
    this.slider = h("input", { type: "range", class: "slider", min: 0, max: 1000, value: 500, "aria-label": "Split" });
    this.slider.addEventListener("input", () => {
      this.split = Number(this.slider.value) / 1000;
      this.draw();
    });
    this.slider.addEventListener("pointerup", () => find("group").focus({ preventScroll: true })); // the keys are the group's again
    this.line = h("div", { class: "split-line", "aria-hidden": "true" }, h("span"));
    this.frames = this.makeFrames();
    element.append(...this.sides.map((side) => side.pane), this.canvas, this.line, this.slider, this.frames);
    this.listen();
    new ResizeObserver(() => this.draw()).observe(element);
  }

  makeSide(number) {
    const note = h("p", { class: "no-picture" });
    const outline = polygon("outline");
    const pane = h("div", { class: `pane pane-${number ? "b" : "a"}`, role: "img" }, note, outline);
    return { number, pane, note, outline, file: null, turned: null, shown: null, wanted: "" };
  }

  // A bar to go through frames or pages; it lies over the pictures, so that nothing moves where there are none.
  makeFrames() {
    const step = (steps, label, picture) =>
      h("button", { type: "button", class: "round", "aria-label": label, onclick: () => this.stepFrame(steps) }, icon(picture));
    return h(
      "div",
      { class: "frames", role: "group", "aria-label": "Frames or pages", hidden: true },
      step(-1, "Previous frame or page", "left"),
      h("span", { "aria-live": "polite" }),
      step(1, "Next frame or page", "right"),
    );
  }

  // How many frames or pages there are to go through, of the file that has most of them.
  frameCount() {
    return this.source.hasFrames ? Math.max(...this.sides.map((side) => side.file?.frames || 1)) : 1;
  }

  // Both pictures show the same frame, or their last one if they have fewer.
  stepFrame(steps) {
    const count = this.frameCount();
    if (count < 2) return;
    this.frame = this.frame === null ? (steps > 0 ? 0 : count - 1) : (this.frame + steps + count) % count;
    for (const side of this.sides) this.setFile(side, side.file, true);
    this.draw();
  }

  frameOf(file) {
    return this.frame === null || !(file.frames > 1) ? null : Math.min(this.frame, file.frames - 1);
  }

  drawFrames() {
    const count = this.frameCount();
    this.frames.hidden = count < 2;
    this.frames.querySelector("span").textContent = this.frame === null ? `${numberText(count)} frames or pages` : `${numberText(this.frame + 1)} of ${numberText(count)}`;
  }

  // Shows two files of a group; the view stays as it is if `keepView`.
  show(first, second, keepView = false) {
    if (!keepView) {
      this.view = { zoom: 1, x: 0.5, y: 0.5 };
      this.frame = null;
    }
    this.front = 0;
    this.part = null;
    this.setFile(this.sides[0], first);
    this.setFile(this.sides[1], second);
    this.align();
    this.draw();
  }

  setMode(mode) {
    this.mode = mode;
    this.element.dataset.mode = mode;
    if (mode === "blink") this.front = 0;
    this.draw();
  }

  blink() {
    if (this.mode !== "blink") {
      this.setMode("blink");
      this.front = 1;
    } else {
      this.front = 1 - this.front;
    }
    this.draw();
  }

  zoomTo(zoom, x = this.view.x, y = this.view.y) {
    this.view = { zoom: Math.min(Math.max(zoom, 1), ZOOM_MAX), x, y };
    this.keepInside();
    if (this.view.zoom >= FULL_FROM) for (const side of this.sides) this.wantFull(side);
    this.draw();
    this.zoomed();
  }

  zoomBy(steps) {
    this.zoomTo(this.view.zoom * ZOOM_STEP ** steps);
  }

  // Moves what is seen of a picture that is zoomed in, by a quarter of the screen.
  moveBy(across, down) {
    this.view.x += across / 4 / this.view.zoom;
    this.view.y += down / 4 / this.view.zoom;
    this.keepInside();
    this.draw();
  }

  // Between the whole picture and one pixel of the first file for one of the screen, where `event` points to if it is given.
  toggleZoom(event = null) {
    if (this.view.zoom > 1) {
      this.zoomTo(1, 0.5, 0.5);
      return;
    }
    const fitted = this.fitted(this.sides[0]);
    const file = this.sides[0].file;
    if (!fitted || !file) return;
    const across = liesDown(this.sides[0].turned) ? file.height : file.width;
    const zoom = Math.max(across / fitted.width / window.devicePixelRatio, 2);
    if (event) this.zoomAt(event, zoom);
    else this.zoomTo(zoom);
  }

  prefetch(files) {
    files.forEach((file, slot) => file && this.pictures.get(slot, this.source.pictureUrl(file, this.wantedPx())));
  }

  wantedPx() {
    const room = Math.max(this.element.clientWidth / (this.mode === "side" ? 2 : 1), this.element.clientHeight);
    return room * window.devicePixelRatio > 1300 ? 2048 : 1024;
  }

  // `keepsPicture`: what is shown stays until the new picture is there.
  setFile(side, file, keepsPicture = false) {
    side.file = file;
    side.turned = file && this.source.turnOf(file);
    side.wanted = "";
    side.note.textContent = "";
    if (!file) {
      this.put(side, null);
      return;
    }
    side.pane.setAttribute("aria-label", visible(file.path));
    const picture = this.pictures.get(side.number, this.source.pictureUrl(file, this.wantedPx(), this.frameOf(file)));
    if (picture.isReady || !keepsPicture) this.put(side, picture.isReady ? picture : null);
    if (!picture.isReady) this.arrive(side, file, picture);
  }

  wantFull(side) {
    const address = side.file && this.frameOf(side.file) === null && this.source.fullUrl(side.file);
    if (!address || side.wanted === address) return;
    side.wanted = address;
    this.arrive(side, side.file, this.pictures.get(side.number, address));
  }

  async arrive(side, file, picture) {
    const { frame } = this;
    await picture.ready;
    if (side.file !== file || this.frame !== frame) return;
    if (!picture.failed) {
      this.put(side, picture);
      this.align();
    }
    else if (!side.shown) side.note.textContent = await this.source.whyNoPicture(file);
    this.draw();
  }

  put(side, picture) {
    if (side.shown && side.shown !== picture) side.shown.element.remove();
    side.shown = picture;
    if (picture && picture.element.parentNode !== side.pane) side.outline.before(picture.element);
  }

  // Width and height of the upright picture.
  uprightSize(side) {
    const { naturalWidth, naturalHeight } = side.shown.element;
    const [width, height] = liesDown(side.turned) ? [naturalHeight, naturalWidth] : [naturalWidth, naturalHeight];
    return { width, height };
  }

  // The size of the upright picture that fits into its pane; of a part, that of the picture in which it lies.
  fitted(side) {
    const whole = this.part ? this.sides[this.part.outer] : side;
    if (!whole.shown) return null;
    const { width, height } = this.uprightSize(whole);
    const scale = Math.min(side.pane.clientWidth / width, side.pane.clientHeight / height);
    return { width: width * scale, height: height * scale };
  }

  // Where a picture is drawn, if `box` is where the whole is, and how it is turned there; see `layPart`.
  ownBox(side, box) {
    return !this.part || this.part.outer === side.number ? { ...box, lean: 0 } : layPart(this.part, box);
  }

  // Looks for the place of a part once both pictures are there.
  align() {
    const [first, second] = this.sides;
    if (this.part || !second.file || !first.shown || !second.shown) return;
    if (first.file.verdict === "identical") this.part = partAsTold(second.file); // what is told is told beside the kept one
    if (this.part || second.file.verdict !== "cropped") return;
    const draw = (number, width, height) => uprightPixels(this.sides[number], { left: 0, top: 0, width, height }, width, height);
    this.part = partOf(draw, this.sides.map((side) => this.uprightSize(side)));
  }

  keepInside() {
    const room = 0.5 / this.view.zoom;
    this.view.x = Math.min(Math.max(this.view.x, room), 1 - room);
    this.view.y = Math.min(Math.max(this.view.y, room), 1 - room);
  }

  draw() {
    this.element.dataset.front = this.front ? "b" : "a";
    this.drawFrames();
    for (const side of this.sides) this.place(side);
    const isSplit = this.mode === "split";
    this.sides[1].pane.style.clipPath = isSplit ? `inset(0 0 0 ${this.split * 100}%)` : "";
    this.line.style.left = `${this.split * 100}%`;
    this.drawOutline();
    if (this.mode === "difference") this.drawDifference();
  }

  place(side) {
    const fitted = side.shown && this.fitted(side);
    if (!fitted) return;
    const box = this.ownBox(side, this.boxOf(fitted, side.pane.clientWidth, side.pane.clientHeight));
    const lies = liesDown(side.turned);
    const [width, height] = lies ? [box.height, box.width] : [box.width, box.height];
    const { style } = side.shown.element;
    style.width = `${width}px`;
    style.height = `${height}px`;
    const left = box.left + (box.width - width) / 2;
    const top = box.top + (box.height - height) / 2;
    const turned = `rotate(${(side.turned.turn || 0) + box.lean}deg)${side.turned.mirrored ? " scaleX(-1)" : ""}`;
    style.transform = `translate(${left}px, ${top}px) ${turned}`;
    side.shown.element.classList.toggle("pixels", this.view.zoom > 1 && width / side.shown.element.naturalWidth > 3);
  }

  // Where the part lies, in the picture that shows more of both, and in the part where the other ends, if it reaches beyond
  // that. Only side by side: elsewhere both lie in one place.
  drawOutline() {
    for (const side of this.sides) {
      const fitted = this.part && this.mode === "side" ? this.fitted(side) : null;
      const isOuter = side.number === this.part?.outer;
      const isDrawn = fitted && (isOuter || reachesBeyond(this.part));
      side.outline.toggleAttribute("hidden", !isDrawn);
      if (!isDrawn) continue;
      const whole = this.boxOf(fitted, side.pane.clientWidth, side.pane.clientHeight);
      const corners = isOuter ? layPart(this.part, whole).corners : cornersOf(whole);
      for (const line of side.outline.children) line.setAttribute("points", corners.map((corner) => corner.join()).join(" "));
    }
  }

  boxOf(fitted, paneWidth, paneHeight) {
    const width = fitted.width * this.view.zoom;
    const height = fitted.height * this.view.zoom;
    // What is smaller than its pane stays in the middle of it.
    const left = width <= paneWidth ? (paneWidth - width) / 2 : clamp(paneWidth / 2 - this.view.x * width, paneWidth - width, 0);
    const top = height <= paneHeight ? (paneHeight - height) / 2 : clamp(paneHeight / 2 - this.view.y * height, paneHeight - height, 0);
    return { left, top, width, height };
  }

  // |first − second| of each channel, brightened so that the greatest is white: what is equal is black.
  drawDifference() {
    const ready = this.sides.every((side) => side.shown);
    const width = Math.round(this.element.clientWidth);
    const height = Math.round(this.element.clientHeight);
    if (!ready || !width || !height) return;
    const [one, other] = this.sides.map((side) => this.pixels(side, width, height));
    const most = greatestDifference(one.data, other.data);
    const gain = Math.min(Math.max(255 / (most || 1), 1), GAIN_MAX);
    for (let i = 0; i < one.data.length; i += 1) {
      const areBoth = one.data[i | 3] && other.data[i | 3]; // where only one of them is there is nothing to compare
      if (i % 4 !== 3) one.data[i] = areBoth ? Math.abs(one.data[i] - other.data[i]) * gain : 0;
    }
    for (let i = 3; i < one.data.length; i += 4) one.data[i] = 255;
    this.canvas.width = width;
    this.canvas.height = height;
    this.canvas.getContext("2d").putImageData(one, 0, 0);
    this.noted(
      most === 0
        ? "Not a single pixel differs at this size."
        : `Differences, ${gain < 1.5 ? "as bright as they are" : `${Math.round(gain)} times as bright`}; the largest is ${Math.max(Math.round((most / 255) * 100), 1)} %.`,
    );
  }

  // Of the picture where it is on the screen; both in the place of the first.
  pixels(side, width, height) {
    const whole = this.boxOf(this.fitted(this.sides[0]), width, height);
    return uprightPixels(side, this.ownBox(side, whole), width, height);
  }

  listen() {
    const pointers = new Map();
    let pinch = 0;
    this.element.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.zoomAt(event, ZOOM_STEP ** (-event.deltaY / 100));
      },
      { passive: false },
    );
    this.element.addEventListener("dblclick", (event) => this.frames.contains(event.target) || this.toggleZoom(event));
    this.element.addEventListener("pointerdown", (event) => {
      if (event.target === this.slider || event.button !== 0 || this.frames.contains(event.target)) return;
      this.element.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, event);
      this.element.classList.add("dragging");
    });
    this.element.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      pointers.set(event.pointerId, event);
      if (pointers.size === 2) {
        const [a, b] = [...pointers.values()];
        const distance = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
        if (pinch) this.zoomAt({ clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2, target: event.target }, distance / pinch);
        pinch = distance;
        return;
      }
      const fitted = this.fitted(this.sides[0]) || this.fitted(this.sides[1]);
      if (!fitted) return;
      this.view.x -= (event.clientX - before.clientX) / (fitted.width * this.view.zoom);
      this.view.y -= (event.clientY - before.clientY) / (fitted.height * this.view.zoom);
      this.keepInside();
      this.draw();
    });
    const release = (event) => {
      pointers.delete(event.pointerId);
      pinch = 0;
      if (!pointers.size) this.element.classList.remove("dragging");
    };
    this.element.addEventListener("pointerup", release);
    this.element.addEventListener("pointercancel", release);
  }

  // Zooms so that what is under the pointer stays there.
  zoomAt(event, factor) {
    const pane = this.paneAt(event.clientX);
    const fitted = this.fitted(this.sides[0]) || this.fitted(this.sides[1]);
    if (!fitted) return;
    const area = pane.getBoundingClientRect();
    const box = this.boxOf(fitted, area.width, area.height);
    const x = (event.clientX - area.left - box.left) / box.width;
    const y = (event.clientY - area.top - box.top) / box.height;
    const zoom = Math.min(Math.max(this.view.zoom * factor, 1), ZOOM_MAX);
    const centreX = x + (area.width / 2 - (event.clientX - area.left)) / (fitted.width * zoom);
    const centreY = y + (area.height / 2 - (event.clientY - area.top)) / (fitted.height * zoom);
    this.zoomTo(zoom, centreX, centreY);
  }

  paneAt(clientX) {
    const second = this.sides[1].pane;
    return this.mode === "side" && clientX >= second.getBoundingClientRect().left ? second : this.sides[0].pane;
  }
}

// The pixels of an area of this size, in which the upright picture fills a box.
function uprightPixels(side, box, width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  const { turn = 0, mirrored } = side.turned;
  const [across, down] = liesDown(side.turned) ? [box.height, box.width] : [box.width, box.height];
  context.imageSmoothingQuality = "high";
  context.translate(box.left + box.width / 2, box.top + box.height / 2);
  context.rotate(((turn + (box.lean || 0)) * Math.PI) / 180);
  if (mirrored) context.scale(-1, 1);
  context.drawImage(side.shown.element, -across / 2, -down / 2, across, down);
  return context.getImageData(0, 0, width, height);
}

function greatestDifference(one, other) {
  let most = 0;
  for (let i = 0; i < one.length; i += 1) {
    const difference = Math.abs(one[i] - other[i]);
    if (difference > most && i % 4 !== 3 && one[i | 3] === 255 && other[i | 3] === 255) most = difference;
  }
  return most;
}

function liesDown(turned) {
  return (turned.turn || 0) % 180 !== 0;
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

export function announce(text) {
  find("announcement").textContent = text;
}
