// Shows the plan that follows from the decisions, saves it, applies it with progress, and puts back.

import { okButton, openDialog, quietButton, select } from "./dialogs.js";
import { h } from "./dom.js";
import { bytesText, countText } from "./words.js";

const ACTIONS = [
  ["quarantine", "Move into quarantine, on the same disk"],
  ["trash", "Move into the trash"],
];

const LOOK_AGAIN_MS = 500; // while a run goes on that another dialog has begun

export class PlanDialog {
  constructor(page) {
    this.page = page;
    this.result = h("p", { class: "result", role: "status", text: "Making the plan …" });
    this.bar = h("progress", { max: 1, value: 0, "aria-label": "Progress", hidden: true });
    this.troubles = h("div", { class: "troubles" });
    this.action = select({ id: "plan-action", "aria-label": "What to do with files that go" }, ACTIONS);
    this.save = quietButton("Save the plan", () => this.saveFile());
    this.apply = okButton("Apply", () => this.run("/api/apply", { plan: this.plan, action: this.action.value }));
    this.undo = quietButton("Put back", () => this.run("/api/undo", { run: page.lastRun }));
    this.stop = quietButton("Stop", () => page.source.change("/api/stop"));
    for (const element of [this.save, this.apply, this.undo]) element.disabled = true; // one thing at a time
    this.undo.hidden = !page.lastRun;
    this.stop.hidden = true;
    const hint = h("p", { class: "hint", text: "Each file is read again before it is moved, together with the one that stays for it. All of it can be put back." });
    this.dialog = openDialog("The plan", [this.result, this.bar, this.troubles, hint, this.action], [this.save, this.stop, this.undo, this.apply]);
    this.dialog.element.classList.add("plan");
    this.make();
  }

  async make() {
    try {
      const told = await this.page.source.inOrder("/api/plan");
      if (told.busy) {
        this.result.textContent = "Files are being moved …";
        if (this.dialog.element.isConnected) setTimeout(() => this.make(), LOOK_AGAIN_MS);
        return;
      }
      this.plan = told.plan;
      this.result.textContent = told.files
        ? `${countText(told.files, "file")} of ${countText(told.groups, "group")} ${told.files === 1 ? "goes" : "go"}: ${bytesText(told.bytes)}.`
        : "Nothing goes by what is decided so far.";
      this.save.disabled = this.apply.disabled = !told.files;
      this.list([
        ["Not done the last time", told.not_done],
        ["Stays although it was to go", told.held_back],
        ["The file that stays would lack", told.lacks],
      ]);
      this.tookRun(told.run);
    } catch (error) {
      this.result.textContent = error.message;
    }
    this.ended();
  }

  async saveFile() {
    const answer = await fetch(`/api/plan/${this.plan}`);
    if (answer.ok) saveText("copies.plan", await answer.text());
    else this.result.textContent = await answer.text();
  }

  async run(address, body) {
    const isUndo = address === "/api/undo";
    for (const element of [this.save, this.apply, this.undo]) element.disabled = true;
    this.isOver = this.stop.hidden = this.bar.hidden = false;
    this.troubles.replaceChildren();
    this.result.textContent = isUndo ? "Putting back …" : "Reading and moving …";
    try {
      const told = await this.page.source.change(address, body);
      const done = `${countText(told.files, "file")} ${isUndo ? "put back" : "moved"}`;
      const freed = isUndo ? "" : `, ${bytesText(told.bytes)}`;
      const ended = told.halted ? ` It ended early: ${told.halted}` : told.stopped ? " It was stopped; the rest is as it was." : "";
      this.result.textContent = `${done}${freed}.${ended}`;
      this.list([["Not done", told.skipped]]);
      this.tookRun(told.run);
      this.page.expectNews();
      if (!this.dialog.element.isConnected) this.page.say(`${this.result.textContent}${told.skipped.length ? " Not all could be done: P shows why." : ""}`);
    } catch (error) {
      this.result.textContent = error.message;
    }
    this.ended();
  }

  // `run` is the one that can be put back.
  tookRun(run) {
    this.page.lastRun = run;
    this.page.drawProgress();
    this.undo.hidden = !run;
  }

  ended() {
    this.isOver = true;
    this.undo.disabled = false;
    this.stop.hidden = true;
    this.bar.hidden = true;
  }

  // Of what was begun here, or before the page was loaded again: then the plan waits for its end.
  progress({ done, total }) {
    if (this.isOver) return; // the answer has overtaken this
    this.bar.hidden = this.stop.hidden = false;
    this.bar.max = total || 1;
    this.bar.value = done;
  }

  list(parts) {
    const shown = parts.filter(([, files]) => files?.length);
    this.troubles.replaceChildren(
      ...shown.flatMap(([head, files]) => [
        h("h3", { text: `${head} (${countText(files.length, "file")})` }),
        h("ul", {}, ...files.map(({ path, why }) => h("li", {}, h("span", { class: "path", text: path }), h("span", { class: "why-not", text: why })))),
      ]),
    );
  }
}

export function saveText(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = h("a", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
