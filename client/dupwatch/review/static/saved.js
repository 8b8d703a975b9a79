// The groups of a report: all that is needed lies in the page itself. Decisions stay in the browser until they are saved as a plan.

import { makePlan, whyHeldBack } from "./plan.js";

const ONE_PREVIEW = new Set(["identical", "same"]); // their files look alike: the kept one stands for all

export class SavedSource {
  constructor() {
    this.canAct = false;
    this.hasFrames = false;
    this.report = JSON.parse(document.getElementById("report").textContent);
    this.places = new Map(); // digest → which part of the previews, and where in it
    this.parts = [];
    this.rows = [];
    this.storage = `dupwatch-report-${this.report.id}`;
    this.steps = [];
  }

  async start() {
    for (const element of document.querySelectorAll("script.previews")) this.parts.push({ element, previews: null });
    this.report.previews.forEach((digests, part) => digests.forEach((digest, place) => this.places.set(digest, [part, place])));
    try {
      this.steps = JSON.parse(localStorage.getItem(this.storage)) || [];
    } catch {
      this.steps = []; // a browser that keeps nothing for files: decisions last as long as the page is open
    }
    return this.report;
  }

  async load(took) {
    const decided = {};
    for (const step of this.steps) for (const one of step) decided[one.key] = one;
    let from = 0;
    for (const element of document.querySelectorAll("script.rows")) {
      const rows = JSON.parse(element.textContent);
      element.remove();
      for (const row of rows) if (ONE_PREVIEW.has(row.kind)) for (const file of row.files) file.shows = row.files[0].digest;
      for (const row of rows) for (const file of row.files) for (const one of file.family || []) one.device ??= file.device;
      this.rows.push(...rows);
      await took({ rows, from, decided, error: null });
      from += rows.length;
      await new Promise((done) => setTimeout(done)); // what is there is drawn before the rest is read
    }
  }

  pictureUrl(file) {
    const [part, place] = this.places.get(file.shows || file.digest) || [];
    if (part === undefined) return "";
    const held = this.parts[part];
    if (!held.previews) {
      held.previews = JSON.parse(held.element.textContent);
      held.element.remove();
    }
    const preview = held.previews[place];
    return preview && `data:${preview.startsWith("/9j/") ? "image/jpeg" : "image/webp"};base64,${preview}`;
  }

  turnOf(file) {
    return file.shows && file.shows !== file.digest ? { turn: 0, mirrored: false } : file;
  }

  fullUrl() {
    return "";
  }

  async whyNoPicture() {
    return "There is no preview of this file in the report.";
  }

  async decide(decisions) {
    this.steps.push(decisions);
    this.save();
    return {};
  }

  async takeBack() {
    const step = this.steps.pop() || [];
    this.save();
    const keys = new Set(step.map((one) => one.key));
    const decided = {};
    for (const one of this.steps.flat()) if (keys.has(one.key)) decided[one.key] = one; // by an earlier decision
    return { keys: [...keys], decided };
  }

  save() {
    try {
      localStorage.setItem(this.storage, JSON.stringify(this.steps));
    } catch {
      // see `start`
    }
  }

  plan(groups) {
    return makePlan(this.report, groups.all, groups.decided);
  }

  // Why a file would stay after all if this were decided of its group.
  heldBack(groups, group, draft, file) {
    if (!file.family || !draft.goes.includes(file.path)) return file.held_back;
    const others = groups.all.filter(({ key }) => key !== group.key && groups.decided.has(key));
    return whyHeldBack(this.report, [...others, group], new Map(groups.decided).set(group.key, draft), file);
  }

  listen() {}
}
