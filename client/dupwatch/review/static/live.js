// Asks the server that this page comes from.

const KEPT_ALIVE_MAX = 60_000; // of the 64 KiB that a browser sends on for a page that is left
const CHUNK_PAUSE_MS = 150; // until rows that were not there yet are asked for again
const NO_SERVER = "the page's server does not answer. Start `dupwatch review` again: what was decided before is kept.";

export class LiveSource {
  constructor() {
    this.token = "";
    this.started = null;
    this.saved = Promise.resolve(); // once all decisions so far have been taken, or refused
    this.waiting = new Set(); // decisions that are not sent yet
    this.revision = 0; // of the reading of the index that was handed on last
    this.decisions = 0; // how many times something was decided, as far as the page knows what
    addEventListener("pagehide", () => this.sendNow());
    this.canAct = true;
    this.hasFrames = true; // pictures can be asked for by frame
  }

  start() {
    this.started = fetch("/api/start")
      .then((answer) => answer.json())
      .then((told) => {
        this.token = told.token;
        return told;
      });
    return this.started;
  }

  // Hands on the rows of one reading of the index, as they come.
  async load(took) {
    let revision = 0;
    let from = 0;
    for (;;) {
      const page = await (await fetch(`/api/groups?revision=${revision}&from=${from}`)).json();
      if (page.revision !== revision) {
        revision = page.revision;
        from = 0;
        this.decisions = page.decisions;
      }
      this.revision = revision;
      await took(page);
      from = page.from + page.rows.length;
      if (page.whole) return page;
      if (!page.rows.length) await new Promise((done) => setTimeout(done, CHUNK_PAUSE_MS));
    }
  }

  // `frame` is a frame of an animation, or a page, from 0; else the one that stands for the file.
  pictureUrl(file, px, frame = null) {
    return `/api/picture/${file.digest}?px=${px}${frame === null ? "" : `&frame=${frame}`}`;
  }

  // How a picture must be turned to be upright like the kept one: mirrored first, then clockwise by degrees.
  turnOf(file) {
    return file;
  }

  fullUrl(file) {
    return `/api/picture/${file.digest}/full`;
  }

  async whyNoPicture(file) {
    const answer = await fetch(this.pictureUrl(file, 160));
    return answer.ok ? "" : answer.text();
  }

  async change(path, body = {}) {
    let answer;
    try {
      await this.started;
      answer = await this.post(path, body);
    } catch {
      throw new Error(NO_SERVER); // the browser's own words are "Failed to fetch"
    }
    if (answer.headers.get("content-type")?.startsWith("application/json")) {
      const told = await answer.json();
      if (!answer.ok) throw new Error(told.error);
      if (told.decisions === this.decisions + 1) this.decisions = told.decisions; // else another page has decided, too
      return told;
    }
    if (!answer.ok) throw new Error(await answer.text());
    return answer;
  }

  // What was decided is sent even if the page is left or loaded again meanwhile.
  post(path, body) {
    const text = JSON.stringify(body);
    return fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-dupwatch-token": this.token },
      body: text,
      keepalive: text.length < KEPT_ALIVE_MAX,
    });
  }

  sendNow() {
    for (const step of this.waiting) this.post(step.path, step.body).catch(() => {});
    this.waiting.clear();
  }

  decide(decisions) {
    return this.inOrder("/api/decide", { decisions });
  }

  takeBack() {
    return this.inOrder("/api/take-back");
  }

  // All that is decided, by whatever page.
  async allDecided() {
    const { decisions, decided } = await (await fetch("/api/decided")).json();
    this.decisions = decisions;
    return decided;
  }

  // The service tells of its own proposal; of what a person decides the plan does, before anything is moved.
  heldBack(groups, group, draft, file) {
    return file.held_back;
  }

  // Decisions go one after the other: several connections would let a later one overtake, and a plan miss the last one.
  inOrder(path, body) {
    const step = { path, body };
    this.waiting.add(step);
    const answer = this.saved.then(() => (this.waiting.delete(step) ? this.change(path, body) : {}));
    this.saved = answer.catch(() => {});
    return answer;
  }

  // The server begins with what is so now: nothing is missed while a page sleeps, or is hidden. A hidden one does not
  // listen: each listener holds a connection, and a browser opens six to one server at most.
  listen(heard) {
    let events = null;
    const look = () => {
      if (document.hidden) {
        events?.close();
        events = null;
      } else if (!events) {
        events = new EventSource("/api/events");
        events.addEventListener("message", (event) => heard(JSON.parse(event.data)));
      }
    };
    document.addEventListener("visibilitychange", look);
    look();
  }
}
