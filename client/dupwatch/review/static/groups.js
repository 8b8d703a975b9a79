// All groups that the page knows: what they are searched, filtered and sorted by, and what was decided about them.

import { folderOf, formatText, nameOf, takenSeconds } from "./words.js";

const KIND_ORDER = ["identical", "same", "cropped", "retouched", "recoloured", "similar", "ask"];
export const NO_FILTER = { kind: "", text: "", folder: "", format: "", camera: "", year: "", bytes: 0, undecided: false };

export class Groups {
  constructor() {
    this.all = [];
    this.byKey = new Map();
    this.decided = new Map(); // key → {stays, goes, out}: paths
    this.votes = new Map(); // path → by how many decisions the file stays, and goes
    this.going = { groups: 0, files: 0, bytes: 0 };
    this.groupsOf = new Map(); // path → groups that hold the file
    this.common = null; // the folder, with its slash, that holds all files
  }

  add(rows, decided) {
    for (const row of rows) {
      if (this.byKey.has(row.key)) continue;
      const group = withSearch(row, this.all.length);
      for (const file of row.files) {
        this.common = commonFolder(this.common, file.path);
        const others = this.groupsOf.get(file.path);
        if (others) others.push(group);
        else this.groupsOf.set(file.path, [group]);
      }
      this.all.push(group);
      this.byKey.set(group.key, group);
    }
    for (const [key, decision] of Object.entries(decided)) this.decide(key, decision);
  }

  // What the rules propose for a group, and where a file was decided in another group, what was decided there.
  proposal(group) {
    const wouldGo = (file) => {
      for (const other of this.groupsOf.get(file.path)) {
        const decision = other !== group && this.decided.get(other.key);
        if (decision) return decision.goes.includes(file.path);
      }
      return file.goes && !file.pinned;
    };
    const goes = group.files.filter(wouldGo).map((file) => file.path);
    const stays = group.files.map((file) => file.path).filter((path) => !goes.includes(path));
    return stays.length ? { stays, goes, out: [] } : { stays: goes.slice(0, 1), goes: goes.slice(1), out: [] };
  }

  decide(key, decision) {
    this.undecide(key);
    this.decided.set(key, decision);
    this.count(key, decision, 1);
  }

  // Counts what goes as decisions come and are taken back: all of them anew would be slow with each of thousands. A file goes
  // once, by however many decisions (a group of crops holds the copies as well), unless another one keeps it.
  count(key, { goes }, change) {
    const group = this.byKey.get(key);
    if (!group) return;
    this.going.groups += change;
    const going = new Set(goes);
    for (const file of group.files) {
      const votes = this.votes.get(file.path) || { stays: 0, goes: 0 };
      this.votes.set(file.path, votes);
      const went = Number(votes.goes > 0 && !votes.stays);
      votes[going.has(file.path) ? "goes" : "stays"] += change;
      const more = Number(votes.goes > 0 && !votes.stays) - went;
      this.going.files += more;
      if (!file.same_file_as) this.going.bytes += more * file.bytes;
    }
  }

  // Whether a decision is about exactly the files that the group has here.
  isAbout(key, { stays, goes }) {
    const files = this.byKey.get(key)?.files || [];
    const paths = new Set([...stays, ...goes]);
    return files.length === paths.size && files.every((file) => paths.has(file.path));
  }

  undecide(key) {
    if (this.decided.has(key)) this.count(key, this.decided.get(key), -1);
    this.decided.delete(key);
  }

  // How many groups there are and are decided, and how much is to go.
  progress() {
    const { groups, files, bytes } = this.going;
    return { decided: groups, total: this.all.length, files, bytes };
  }

  kinds() {
    const counts = Object.fromEntries(KIND_ORDER.map((kind) => [kind, 0]));
    for (const group of this.all) counts[group.kind] += 1;
    return counts;
  }

  // The values that a filter can have, the most frequent first.
  choices() {
    const found = { formats: new Map(), cameras: new Map(), years: new Map(), folders: new Map() };
    for (const group of this.all) {
      for (const [name, counts] of Object.entries(found)) {
        for (const value of group[name]) counts.set(value, (counts.get(value) || 0) + 1);
      }
    }
    const byCount = (counts) => [...counts].sort((a, b) => b[1] - a[1]);
    return {
      formats: byCount(found.formats),
      cameras: byCount(found.cameras),
      years: [...found.years].sort((a, b) => b[0] - a[0]),
      folders: byCount(found.folders),
    };
  }

  shown(filter, order) {
    const words = comparable(filter.text).split(/\s+/).filter(Boolean);
    const inside = filter.folder && `${filter.folder.replace(/\/+$/, "")}/`;
    const year = Number(filter.year);
    const found = this.all.filter(
      (group) =>
        (!filter.kind || group.kind === filter.kind) &&
        (!filter.undecided || !this.decided.has(group.key)) &&
        group.bytes >= filter.bytes &&
        (!filter.format || group.formats.has(filter.format)) &&
        (!filter.camera || group.cameras.has(filter.camera)) &&
        (!year || group.years.has(year)) &&
        (!inside || group.files.some((file) => file.path.startsWith(inside))) &&
        words.every((word) => group.text.includes(word)),
    );
    return found.sort(ORDERS[order] || ORDERS.kind);
  }
}

const ORDERS = {
  kind: (a, b) => a.rank - b.rank || b.frees - a.frees || a.place - b.place,
  bytes: (a, b) => b.frees - a.frees || a.place - b.place,
  folder: (a, b) => (a.folder < b.folder ? -1 : a.folder > b.folder ? 1 : a.place - b.place),
  newest: (a, b) => b.taken - a.taken || a.place - b.place,
  oldest: (a, b) => a.taken - b.taken || a.place - b.place,
};

function commonFolder(folder, path) {
  let common = folder === null ? path.slice(0, path.lastIndexOf("/") + 1) : folder;
  while (!path.startsWith(common)) common = common.slice(0, common.lastIndexOf("/", common.length - 2) + 1);
  return common;
}

// The bytes that groups free by the rules; those of a file that several of them hold once.
export function freedBytes(groups) {
  const seen = new Set();
  let bytes = 0;
  for (const group of groups) {
    if (!group.frees) continue;
    for (const file of group.files) {
      if (!file.goes || file.pinned || file.same_file_as || seen.has(file.path)) continue;
      seen.add(file.path);
      bytes += file.bytes;
    }
  }
  return bytes;
}

export function goingBytes(group, decision) {
  const going = new Set(decision.goes);
  let bytes = 0;
  for (const file of group.files) if (going.has(file.path) && !file.same_file_as) bytes += file.bytes;
  return bytes;
}

// A text as it is searched for: without regard to case, and to whether é is one character or, as on a Mac, two.
function comparable(text) {
  return text.normalize().toLowerCase();
}

// When a picture was taken, else when its file was changed; in seconds.
function momentOf(file) {
  return takenSeconds(file) || file.modified;
}

function withSearch(row, place) {
  const kept = row.files[0];
  const taken = Math.min(...row.files.map(momentOf));
  return {
    ...row,
    place,
    rank: KIND_ORDER.indexOf(row.kind),
    name: nameOf(kept.path),
    folder: folderOf(kept.path),
    frees: row.frees || 0,
    bytes: row.files.reduce((most, file) => Math.max(most, file.bytes), 0),
    text: comparable(row.files.map((file) => file.path).join("\n")),
    formats: new Set(row.files.map(formatText).filter(Boolean)),
    cameras: new Set(row.files.map((file) => file.camera).filter(Boolean)),
    folders: new Set(row.files.map((file) => folderOf(file.path))),
    years: new Set(row.files.map((file) => new Date(momentOf(file) * 1000).getUTCFullYear())),
    taken,
  };
}
