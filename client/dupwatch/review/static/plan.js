// Makes a plan for `dupwatch apply` of what was decided in a report.

import { besideOf, Families, holderOf } from "./family.js";
import { visible } from "./words.js";

const VERSIONS = new Set(["cropped", "retouched", "recoloured"]); // of the kept file

export function makePlan(report, groups, decided) {
  const chosen = chosenIn(groups, decided);
  const heldBack = heldBackIn(chosen, report.asks_for_sidecars);
  const kept = chosen.map((one) => ({ ...one, goes: one.goes.filter((file) => !heldBack.has(file.path)) }));
  const families = new Families(kept, report.asks_for_sidecars);
  // What several pictures share goes with the last of them: then none is left to need it.
  const last = new Map();
  for (const { goes } of kept) for (const file of goes) for (const one of families.along(file)) last.set(besideOf(file, one.name), file.path);
  const planned = kept.map((one) => planGroup(one, families, last)).filter((group) => group.goes.length);
  const going = planned.flatMap((group) => group.goes);
  const plan = {
    dupwatch_plan: 1,
    made: `${new Date().toISOString().slice(0, 19)}Z`,
    roots: report.roots,
    rules: ["chosen by a person"],
    verdicts: [...new Set(["identical", "same", ...going.map((file) => file.verdict).filter(Boolean)])],
    complete: report.complete,
    incomplete_because: report.incomplete_because,
    summary: { groups: planned.length, files: going.length, bytes: going.reduce((sum, file) => sum + file.bytes, 0), asked_groups: 0 },
    groups: planned,
    asked: [],
    held_back: [...heldBack].map(([path, because]) => ({ path, because })),
  };
  // Nanoseconds, and the inodes of some file systems, are longer than a number of JavaScript is exact: they are carried as
  // text. Within a text of JSON no quotation mark stands by itself, so no file name looks like this.
  const text = JSON.stringify(plan, null, 1).replace(/"(mtime_ns|device|inode)": "(-?\d+)"/g, '"$1": $2');
  return { text, heldBack: heldBack.size };
}

// Why a file would stay for what lies beside it if this were decided of its group; nothing if it would go, or stays anyway.
export function whyHeldBack(report, groups, decided, file) {
  return heldBackIn(chosenIn(groups, decided), report.asks_for_sidecars).get(file.path);
}

// The groups of which something goes, with the files that stay and go; none goes that is another name of one that stays.
function chosenIn(groups, decided) {
  const staying = new Set(groups.flatMap((group) => staysIn(group, decided)).map(numbersOf));
  return whatGoes(groups, decided)
    .map(({ group, goes }) => ({ group, stays: staysIn(group, decided), goes: goes.filter((file) => !staying.has(numbersOf(file))) }))
    .filter(({ goes }) => goes.length);
}

// The files that stay for what lies beside them, and why.
function heldBackIn(chosen, asksForSidecars) {
  const families = new Families(chosen, asksForSidecars);
  const found = new Map();
  for (const { group, stays, goes } of chosen) {
    for (const file of goes) {
      const { held_by, verdict } = heldBy(file, stays, group.files[0]);
      const holder = stays.find(({ path }) => path === held_by);
      const because = families.objection(file, holder, verdict === "chosen");
      if (because) found.set(file.path, because);
    }
  }
  return found;
}

// The groups of which something goes by what was decided, and which files: each goes once, with the first group in which it
// does (a group of crops holds the copies as well), and none that stays by another decision.
function whatGoes(groups, decided) {
  const settled = new Set();
  for (const group of groups) for (const path of decided.get(group.key)?.stays || []) settled.add(path);
  const found = [];
  for (const group of groups) {
    const going = new Set(decided.get(group.key)?.goes);
    const goes = group.files.filter(({ path }) => going.has(path) && !settled.has(path));
    for (const { path } of goes) settled.add(path);
    if (goes.length) found.push({ group, goes });
  }
  return found;
}

function staysIn(group, decided) {
  const { stays, out } = decided.get(group.key) || { stays: [], out: [] };
  return group.files.filter((file) => stays.includes(file.path) && !out.includes(file.path));
}

// What two names of one file have in common: while one of them stays, the other cannot go.
function numbersOf(file) {
  return `${file.device} ${file.inode}`;
}

function planGroup({ group, stays, goes }, families, last) {
  return {
    id: group.key.split("-")[0],
    stays: stays.map((file) => planFile(file, file.path, "stays: chosen by a person")),
    goes: goes.flatMap((file) => {
      const held = heldBy(file, stays, group.files[0]);
      const holder = stays.find(({ path }) => path === held.held_by);
      const along = families.along(file).filter((one) => last.get(besideOf(file, one.name)) === file.path);
      const lacks = along.filter((one) => !holderOf(one, holder)).map((one) => `${one.kind} ${one.name}`);
      const going = { ...planFile(file, file.path, "goes: chosen by a person"), ...held, lacks: [...held.lacks, ...lacks] };
      return [going, ...along.map((one) => planAlong(one, file, holder))];
    }),
  };
}

// What goes along with a file, and its equal beside the one that stays.
function planAlong(one, file, holder) {
  const other = holderOf(one, holder);
  const path = other && besideOf(holder, other.name);
  const isEqual = other?.digest === one.digest;
  const reason = path && !isEqual ? `what it says of the photo stands in ${visible(path)} as well` : "";
  return {
    ...planFile(one, besideOf(file, one.name), reason),
    held_by: isEqual ? path : null,
    verdict: isEqual ? "identical" : null,
    confirmed: isEqual ? true : null,
    lacks: [],
    goes_with: file.path,
  };
}

function planFile(file, path, reason) {
  return {
    path,
    bytes: file.bytes,
    mtime_ns: file.mtime_ns,
    device: file.device,
    inode: file.inode,
    blake3: file.digest,
    reason,
  };
}

// The file that stays and shows what this one does: one of equal bytes, else the one that the service named, else the
// kept one. What no look has shown, but a person has decided, is `chosen`.
function heldBy(file, stays, kept) {
  const equal = stays.find((one) => one.digest === file.digest);
  const named = stays.find((one) => one.path === file.held_by);
  const holder = equal || named || stays.find((one) => one.path === kept.path) || stays[0];
  const isVersion = VERSIONS.has(file.verdict) && holder.path === kept.path;
  const isShown = isVersion || (named && file.verdict === "same" && file.confirmed);
  const verdict = equal ? "identical" : isShown ? file.verdict : "chosen";
  return { held_by: holder.path, verdict, confirmed: equal || isShown ? Boolean(equal || file.confirmed) : null, lacks: file.lacks || [] };
}
