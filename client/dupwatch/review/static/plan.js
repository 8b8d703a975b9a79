// Makes a plan for `dupwatch apply` of what was decided in a report.

const VERSIONS = new Set(["cropped", "retouched", "recoloured"]); // of the kept file

export function makePlan(report, groups, decided) {
  const planned = groups.filter((group) => decided.get(group.key)?.goes.length).map((group) => planGroup(group, decided.get(group.key)));
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
  // Nanoseconds are longer than a number of JavaScript is exact: they are carried as text. Within a text of JSON no
  // quotation mark stands by itself, so no file name looks like this.
  return JSON.stringify(plan, null, 1).replace(/"mtime_ns": "(\d+)"/g, '"mtime_ns": $1');
}

function planGroup(group, decision) {
  const stays = group.files.filter((file) => decision.stays.includes(file.path) && !decision.out.includes(file.path));
  const goes = group.files.filter((file) => decision.goes.includes(file.path));
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
