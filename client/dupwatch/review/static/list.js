// A list of any length, of which only the rows in sight exist. Rows are used again for other groups while it scrolls.

import { h, icon } from "./dom.js";
import { bytesText, countText, KINDS, shortFolder } from "./words.js";

const SPARE_ROWS = 6; // above and below what is in sight

export class GroupList {
  // `pictureUrl(file)` tells where a small picture is, `state(group)` whether it is decided, `choose(group)` is called by a click.
  constructor(element, { pictureUrl, state, choose }) {
    this.element = element;
    this.pictureUrl = pictureUrl;
    this.state = state;
    this.groups = [];
    this.common = "/"; // the folder that holds all files: it goes without saying
    this.current = null;
    this.rows = [];
    this.space = h("div", { class: "space" });
    element.append(this.space);
    element.addEventListener("scroll", () => this.draw(), { passive: true });
    element.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) choose(this.groups[Number(row.dataset.place)]);
    });
    new ResizeObserver(() => this.draw()).observe(element);
  }

  get rowHeight() {
    return this.measuredHeight || (this.measuredHeight = this.measure());
  }

  measure() {
    const row = makeRow();
    this.space.append(row.element);
    const height = row.element.getBoundingClientRect().height;
    row.element.remove();
    return height || 72;
  }

  show(groups, common) {
    this.groups = groups;
    this.common = common;
    this.space.style.height = `${groups.length * this.rowHeight}px`;
    this.element.setAttribute("aria-label", countText(groups.length, "group"));
    this.draw(true);
  }

  setCurrent(group) {
    this.current = group;
    this.draw(true);
  }

  // Scrolls only as far as it must.
  reveal(group) {
    const place = this.groups.indexOf(group);
    if (place < 0) return;
    const top = place * this.rowHeight;
    const room = this.element.clientHeight;
    const seen = this.element.scrollTop;
    if (top < seen) this.element.scrollTop = top;
    else if (top + this.rowHeight > seen + room) this.element.scrollTop = top + this.rowHeight - room;
    this.draw(true);
  }

  draw(again = false) {
    const first = Math.max(Math.floor(this.element.scrollTop / this.rowHeight) - SPARE_ROWS, 0);
    const count = Math.ceil(this.element.clientHeight / this.rowHeight) + 2 * SPARE_ROWS;
    const last = Math.min(first + count, this.groups.length);
    const free = [];
    const inPlace = new Map();
    for (const row of this.rows) {
      if (row.place >= first && row.place < last && row.group === this.groups[row.place]) inPlace.set(row.place, row);
      else free.push(row);
    }
    for (let place = first; place < last; place += 1) {
      let row = inPlace.get(place);
      if (row && !again) continue;
      if (!row) {
        row = free.pop();
        if (!row) {
          row = makeRow();
          this.rows.push(row);
          this.space.append(row.element);
        }
      }
      this.fill(row, place);
    }
    for (const row of free) {
      row.place = -1;
      row.group = null;
      row.element.hidden = true;
      row.element.removeAttribute("id");
    }
    const active = this.current && this.groups.indexOf(this.current);
    if (active >= first && active < last && this.current) this.element.setAttribute("aria-activedescendant", `row-${active}`);
    else this.element.removeAttribute("aria-activedescendant");
  }

  fill(row, place) {
    const group = this.groups[place];
    const { element } = row;
    element.hidden = false;
    if (row.place !== place) {
      row.place = place;
      element.dataset.place = place;
      element.id = `row-${place}`;
      element.style.transform = `translateY(${place * this.rowHeight}px)`;
      element.setAttribute("aria-posinset", place + 1);
    }
    element.setAttribute("aria-setsize", this.groups.length);
    element.setAttribute("aria-selected", group === this.current);
    if (row.group !== group) {
      row.group = group;
      row.picture.src = this.pictureUrl(group.files[0]);
      row.name.textContent = group.name;
      row.name.title = group.name;
      row.folder.textContent = shortFolder(group.files[0].path, this.common);
      row.kind.textContent = KINDS[group.kind].label;
      row.count.textContent = countText(group.files.length, "file");
      row.bytes.textContent = group.frees ? bytesText(group.frees) : "";
    }
    element.classList.toggle("decided", this.state(group));
  }
}

function makeRow() {
  const row = {
    place: -1,
    group: null,
    picture: h("img", { alt: "", class: "thumbnail", draggable: "false", decoding: "async" }),
    name: h("span", { class: "name" }),
    folder: h("span", { class: "folder" }),
    kind: h("span", { class: "kind" }),
    count: h("span", { class: "count" }),
    bytes: h("span", { class: "bytes" }),
  };
  row.picture.addEventListener("error", () => row.picture.classList.add("missing"));
  row.picture.addEventListener("load", () => row.picture.classList.remove("missing"));
  row.element = h(
    "div",
    { class: "row", role: "option" },
    h("span", { class: "picture" }, row.picture, h("span", { class: "tick" }, icon("check"))),
    h("span", { class: "about" }, row.name, row.folder, h("span", { class: "small" }, row.kind, row.count)),
    row.bytes,
  );
  return row;
}
