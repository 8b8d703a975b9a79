// Makes a plan for `dupwatch apply` of what was decided in a report.

const VERSIONS = new Set(["cropped", "retouched", "recoloured"]); // of the kept file

export function makePlan(report, groups, decided) {
  const staying = new Set(groups.flatMap((group) => staysIn(group, decided)).map(numbersOf));
  const planned = whatGoes(groups, decided)
    .map(({ group, goes }) => planGroup(group, staysIn(group, decided), goes.filter((file) => !staying.has(numbersOf(file)))))
    .filter((group) => group.goes.length);
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
    held_back: [],
  };
  // Nanoseconds, and the inodes of some file systems, are longer than a number of JavaScript is exact: they are carried as
  // text. Within a text of JSON no quotation mark stands by itself, so no file name looks like this.
  return JSON.stringify(plan, null, 1).replace(/"(mtime_ns|device|inode)": "(-?\d+)"/g, '"$1": $2');
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

function planGroup(group, stays, goes) {
  return {
    id: group.key.split("-")[0],
    stays: stays.map((file) => planFile(file, "stays: chosen by a person")),
    goes: goes.map((file) => ({ ...planFile(file, "goes: chosen by a person"), ...heldBy(file, stays, group.files[0]) })),
  };
}

function planFile(file, reason) {
  return {
    path: file.path,
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
