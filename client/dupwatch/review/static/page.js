// The page: what is looked at, and what is chosen for it.

import { PlanDialog, saveText } from "./acting.js";
import { openBulk } from "./bulk.js";
import { openHelp } from "./dialogs.js";
import { find, h } from "./dom.js";
import { drawAbout, drawGroup, drawModes, outcomeText } from "./drawing.js";
import { drawFilters, isFiltered } from "./filters.js";
import { buildFrame } from "./frame.js";
import { freedBytes, Groups, NO_FILTER } from "./groups.js";
import { listenToKeys } from "./keys.js";
import { GroupList } from "./list.js";
import { announce, Stage } from "./stage.js";
import { bytesText, countText, KINDS, numberText } from "./words.js";

const TOAST_MS = 6000;

export class Page {
  constructor(source) {
    this.source = source;
    this.lastRun = null; // the last run that can be put back
    this.groups = new Groups();
    this.incoming = null;
    this.filter = { ...NO_FILTER };
    this.order = "kind";
    this.shown = [];
    this.group = null;
    this.second = 1; // which file stands beside the kept one
    this.draft = null; // {stays, goes, out}: paths
    this.isLoaded = false;
  }

  async begin() {
    buildFrame(this.source.canAct);
    const noted = (text) => {
      find("stage-note").textContent = text;
    };
    this.stage = new Stage(find("stage"), this.source, noted, () => drawModes(this));
    this.list = new GroupList(find("list"), {
      pictureUrl: (file) => this.source.pictureUrl(file, 160),
      state: (group) => this.groups.decided.has(group.key),
      choose: (group) => this.open(group, true),
    });
    this.listen();
    const started = this.source.start(); // what it tells is not needed before something is changed
    await this.source.load((page) => this.took(page));
    this.lastRun = (await started).run;
    this.isLoaded = true;
    this.refresh();
    if (!this.group) this.openFirst();
    this.source.listen((message) => this.heard(message));
  }

  took(page) {
    if (page.from === 0 && this.groups.all.length) this.groups = new Groups();
    this.groups.add(page.rows, page.decided);
    if (page.error) this.say(page.error, true);
    this.refresh();
    if (!this.group && this.shown.length) this.openFirst();
  }

  // What is in the list, by filter and order; called when a person asks for it, never by itself while they look.
  refresh() {
    this.shown = this.groups.shown(this.filter, this.order);
    this.list.show(this.shown, this.groups.common || "/");
    this.drawKinds();
    this.drawProgress();
    if (this.group) drawAbout(this);
    find("shown").textContent = `${countText(this.shown.length, "group")} · ${bytesText(freedBytes(this.shown))}`;
    const nothing = find("nothing");
    nothing.hidden = this.shown.length > 0;
    find("list").hidden = !nothing.hidden;
    nothing.textContent = this.groups.all.length
      ? "No group fits. Clear the search or the filters."
      : this.isLoaded
        ? "There are no copies. All is well."
        : "Reading groups …";
  }

  openFirst() {
    const wanted = this.groups.byKey.get(decodeURIComponent(location.hash.slice(1)));
    const first = this.shown.find((group) => !this.groups.decided.has(group.key)) || this.shown[0];
    if (wanted || first) this.open(wanted || first, false);
  }

  open(group, isAsked = true) {
    this.group = group;
    this.second = secondOf(group);
    this.draft = { ...(this.groups.decided.get(group.key) || this.groups.proposal(group)) };
    history.replaceState(null, "", `#${encodeURIComponent(group.key)}`);
    this.list.setCurrent(group);
    this.list.reveal(group);
    this.stage.show(group.files[0], group.files[this.second]);
    drawGroup(this);
    this.prefetch();
    if (isAsked) document.body.classList.add("in-group");
  }

  prefetch() {
    const place = this.shown.indexOf(this.group);
    for (const next of this.shown.slice(place + 1, place + 3)) this.stage.prefetch([next.files[0], next.files[secondOf(next)]]);
  }

  walk(steps) {
    const place = this.shown.indexOf(this.group);
    const next = this.shown[Math.min(Math.max(place + steps, 0), this.shown.length - 1)];
    if (next && next !== this.group) this.open(next);
  }

  // The next one that nobody has decided, from here on.
  goOn() {
    const place = this.shown.indexOf(this.group);
    const next = this.shown.slice(place + 1).find((group) => !this.groups.decided.has(group.key));
    if (next) this.open(next);
    else {
      drawGroup(this);
      const left = this.shown.filter((group) => !this.groups.decided.has(group.key)).length;
      this.say(left ? `${countText(left, "group")} above are not decided yet.` : "All groups of this list are decided.");
    }
  }

  choose(place) {
    if (place < 0 || place >= this.group.files.length) return;
    this.second = place;
    this.stage.show(this.group.files[0], this.group.files[place], true);
    drawGroup(this);
  }

  chooseBy(steps) {
    const others = this.group.files.length - 1; // the kept one is on the screen already
    if (others > 0) this.choose(((this.second - 1 + steps + others) % others) + 1);
  }

  // This one stays, by all of its names; the others go, but for those that were taken out and those that must stay.
  keepThis(place) {
    const file = this.group.files[place];
    if (!file) return;
    const fileOf = (one) => one.same_file_as || one.path;
    const stays = this.group.files.filter((one) => fileOf(one) === fileOf(file) || one.pinned || this.draft.out.includes(one.path));
    const paths = stays.map((one) => one.path);
    const out = this.draft.out.filter((path) => path !== file.path);
    this.draft = { stays: paths, goes: this.pathsBut(paths), out: out.length === this.group.files.length - 1 ? [] : out };
    if (place !== 0) this.second = place;
    this.stage.show(this.group.files[0], this.group.files[this.second], true);
    drawGroup(this);
  }

  keepAll() {
    const paths = this.group.files.map((file) => file.path);
    this.draft = { stays: paths, goes: [], out: paths };
    drawGroup(this);
  }

  takeOut() {
    const { path } = this.group.files[this.second];
    const isOut = this.draft.out.includes(path);
    const out = isOut ? this.draft.out.filter((one) => one !== path) : [...this.draft.out, path];
    if (out.length >= this.group.files.length - 1) {
      if (isOut) this.draft = this.groups.proposal(this.group);
      else this.keepAll();
      drawGroup(this);
      return;
    }
    const stays = new Set([...this.draft.stays.filter((one) => one !== path), ...out]);
    if (isOut && this.group.files.some((file) => file.path === path && (file.pinned || file === this.group.files[0]))) stays.add(path);
    const goes = this.pathsBut([...stays]);
    // Of the copies that are left one has to stay.
    if (goes.length && ![...stays].some((one) => !out.includes(one))) stays.add(goes.shift());
    this.draft = { stays: [...stays], goes, out };
    drawGroup(this);
  }

  pathsBut(paths) {
    const held = new Set(paths);
    return this.group.files.map((file) => file.path).filter((path) => !held.has(path));
  }

  async accept() {
    if (!this.group) return;
    const { group, draft } = this;
    this.groups.decide(group.key, draft);
    this.drawProgress();
    announce(outcomeText(this));
    this.goOn();
    this.isSaving(1);
    try {
      const told = await this.source.decide([{ key: group.key, ...draft }]);
      if (told.not_told) this.say(`Saved here. The service is told later: ${told.not_told}`);
    } catch (error) {
      this.groups.undecide(group.key);
      this.open(group);
      this.drawProgress();
      this.say(`Not saved: ${error.message}`, true);
    } finally {
      this.isSaving(-1);
    }
  }

  // So many more decisions, or fewer, are on their way.
  isSaving(more) {
    this.saving = (this.saving || 0) + more;
    find("progress-text").ariaBusy = String(this.saving > 0);
    if (!this.saving) this.catchUp();
  }

  // Takes over what was decided in another window.
  async catchUp() {
    if (this.saving || this.heardDecisions === undefined || this.heardDecisions <= this.source.decisions) return;
    let decided;
    try {
      decided = await this.source.allDecided();
    } catch {
      return; // the next news, or decision, says so
    }
    if (this.saving) return; // it is taken over once that is saved
    for (const key of [...this.groups.decided.keys()]) if (!decided[key]) this.groups.undecide(key);
    for (const [key, decision] of Object.entries(decided)) this.groups.decide(key, decision);
    this.drawProgress();
    this.list.draw(true);
    if (this.group) drawAbout(this);
  }

  // Decisions that a rule has made.
  tookDecisions(decided) {
    const keys = Object.keys(decided);
    for (const key of keys) this.groups.decide(key, decided[key]);
    this.say(`${countText(keys.length, "group is", "groups are")} decided. Backspace takes all of it back.`);
    this.drawProgress();
    this.list.draw(true);
    if (this.group && decided[this.group.key]) this.goOn();
  }

  openPlan() {
    if (this.source.canAct) this.plan = new PlanDialog(this);
    else this.savePlan();
  }

  savePlan() {
    const { text, heldBack } = this.source.plan(this.groups);
    saveText("copies.plan", text);
    if (heldBack) this.say(`${countText(heldBack, "file stays", "files stay")} although decided to go, for what lies beside: the plan says why (held_back).`);
  }

  // The next news is what a person has brought about: it is shown at once.
  expectNews() {
    this.isExpecting = true;
  }

  async takeBack() {
    this.isSaving(1);
    try {
      const { keys, decided } = await this.source.takeBack();
      for (const key of keys) this.groups.undecide(key);
      for (const [key, decision] of Object.entries(decided)) this.groups.decide(key, decision);
      const group = this.groups.byKey.get(keys[0]);
      if (group) this.open(group);
      else this.list.draw(true);
      this.drawProgress();
      const isOpen = !Object.keys(decided).length;
      this.say(keys.length ? `Taken back: ${countText(keys.length, "group is", "groups are")} ${isOpen ? "open again" : "as before"}.` : "There is nothing to take back.");
    } catch (error) {
      this.say(error.message, true);
    } finally {
      this.isSaving(-1);
    }
  }

  // Drawing ----------------------------------------------------------------------------------------------------------

  drawProgress() {
    const { decided, total, files, bytes } = this.groups.progress();
    const bar = find("progress-bar");
    bar.max = total || 1;
    bar.value = decided;
    find("progress-text").textContent = total
      ? `${numberText(decided)} of ${numberText(total)} decided${files ? ` · ${countText(files, "file")}, ${bytesText(bytes)} to go` : ""}`
      : this.isLoaded ? "No copies" : "Reading groups …";
    find("open-plan").disabled = !decided && !this.lastRun;
  }

  drawKinds() {
    const counts = this.groups.kinds();
    const chips = [["", { label: "All" }], ...Object.entries(KINDS)].filter(([kind]) => !kind || counts[kind]);
    const hadFocus = find("kinds").contains(document.activeElement);
    find("kinds").replaceChildren(
      ...chips.map(([kind, { label, help }]) =>
        h(
          "button",
          {
            type: "button",
            class: "chip",
            role: "radio",
            title: help,
            "aria-checked": String(this.filter.kind === kind),
            tabindex: this.filter.kind === kind ? 0 : -1, // the arrows lead to the others, as in any such group
            "data-kind": kind,
            onclick: () => this.setKind(kind),
          },
          h("span", { text: label }),
          h("span", { class: "figure", text: numberText(kind ? counts[kind] : this.groups.all.length) }),
        ),
      ),
    );
    if (hadFocus) find("kinds").querySelector("[aria-checked=true]")?.focus();
  }

  setKind(kind) {
    this.filter.kind = kind;
    this.refresh();
  }

  setNextKind(steps) {
    const chips = [...find("kinds").children];
    const place = chips.findIndex((chip) => chip.dataset.kind === this.filter.kind);
    this.setKind(chips[(place + steps + chips.length) % chips.length].dataset.kind);
  }

  say(text, isError = false) {
    const toast = find("toast");
    toast.textContent = text;
    toast.classList.toggle("error", isError);
    toast.hidden = false;
    clearTimeout(this.toastTimer);
    this.toastTimer = setTimeout(() => {
      toast.hidden = true;
    }, TOAST_MS);
  }

  // Listening --------------------------------------------------------------------------------------------------------

  async heard(message) {
    if (message.kind === "groups") {
      this.heardDecisions = message.decisions;
      if (message.revision !== this.source.revision) await this.readAnew();
      await this.catchUp();
    }
    else if (message.kind === "acting") this.plan?.progress(message);
    else if (message.kind === "over") this.say("The page's server has ended. Start `dupwatch review` again; nothing is lost.", true);
    else if (message.kind === "service" && message.away) this.say(`The service is away: ${message.reason}`, true);
  }

  // Reads the groups as they are now, and offers them; what is looked at does not move.
  async readAnew() {
    let fresh = new Groups();
    await this.source.load((page) => {
      if (page.from === 0) fresh = new Groups(); // the index was read anew meanwhile
      fresh.add(page.rows, page.decided);
    });
    const more = fresh.all.filter((group) => !this.groups.byKey.has(group.key)).length;
    const gone = this.groups.all.filter((group) => !fresh.byKey.has(group.key)).length;
    const changed = fresh.all.filter((group) => this.groups.byKey.has(group.key) && !this.groups.isAbout(group.key, { stays: group.files.map((file) => file.path), goes: [] })).length;
    this.incoming = more || gone || changed ? fresh : null; // null: what had been news is as it was
    if (!this.incoming) {
      find("news").hidden = true;
      return;
    }
    if (this.isExpecting) {
      this.isExpecting = false;
      this.takeNews();
      return;
    }
    const pill = find("news");
    pill.hidden = false;
    const news = [gone && `${countText(gone, "group is", "groups are")} gone`, changed && `${countText(changed, "group has", "groups have")} changed`];
    pill.textContent = more ? `${countText(more, "new group")} · show` : `${news.filter(Boolean).join(", ")} · refresh`;
  }

  takeNews() {
    if (!this.incoming) return;
    // What is on its way to the server; of other files than those that are there now it says nothing any more.
    for (const [key, decision] of this.groups.decided) if (this.incoming.isAbout(key, decision)) this.incoming.decide(key, decision);
    this.groups = this.incoming;
    this.incoming = null;
    find("news").hidden = true;
    const { key } = this.group || {};
    this.refresh();
    const group = this.groups.byKey.get(key);
    if (group) this.open(group, false);
    else this.openFirst();
  }

  listen() {
    const on = (id, event, act) => find(id).addEventListener(event, act);
    on("search", "input", () => {
      this.filter.text = find("search").value;
      this.refresh();
    });
    on("order", "change", () => {
      this.order = find("order").value;
      this.refresh();
    });
    on("open-filters", "click", () => this.toggleFilters());
    on("open-rules", "click", () => openBulk(this, (decided) => this.tookDecisions(decided)));
    on("open-plan", "click", () => this.openPlan());
    on("open-help", "click", () => openHelp(this.source.canAct));
    on("news", "click", () => this.takeNews());
    on("to-list", "click", () => document.body.classList.remove("in-group"));
    on("previous", "click", () => this.walk(-1));
    on("next", "click", () => this.walk(1));
    on("accept", "click", () => this.accept());
    on("apart", "click", () => this.keepAll());
    on("take-out", "click", () => this.takeOut());
    on("keep-this", "click", () => this.keepThis(this.second));
    on("take-back", "click", () => this.takeBack());
    on("zoom", "click", () => this.stage.toggleZoom());
    for (const element of document.querySelectorAll(".modes button")) {
      element.addEventListener("click", () => (element.dataset.mode === "blink" ? this.blink() : this.setMode(element.dataset.mode)));
    }
    listenToKeys(this);
    // After a click the keys belong to the group again, and not to the button.
    document.addEventListener("click", (event) => {
      if (event.detail > 0 && event.target.closest("main button, header.top button") && !document.querySelector("dialog[open]") && !document.activeElement.matches("input, select")) find("group").focus({ preventScroll: true });
    });
  }

  toggleFilters() {
    const panel = find("filters");
    panel.hidden = !panel.hidden;
    find("open-filters").setAttribute("aria-expanded", String(!panel.hidden));
    if (panel.hidden) return;
    drawFilters(panel, this.groups, this.filter, () => {
      find("open-filters").classList.toggle("on", isFiltered(this.filter));
      this.refresh();
    });
    panel.querySelector("input").focus();
  }

  setMode(mode) {
    find("stage-note").textContent = "";
    this.stage.setMode(mode);
    drawModes(this);
  }

  blink() {
    find("stage-note").textContent = "";
    this.stage.blink();
    drawModes(this);
  }
}

// The file that is shown beside the kept one at first: one that makes the group what it is.
function secondOf(group) {
  return Math.max(group.files.findIndex((file) => file.verdict === group.kind), group.files.length > 1 ? 1 : 0);
}
