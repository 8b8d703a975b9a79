// What lies beside files that go in a report: what goes along with them, and which of them stay for it, as in `dupwatch plan`.

const SIDECAR = "sidecar"; // movies and memos go only if an equal one stays

// Of groups {stays, goes}, which hold files as the report has them.
export class Families {
  constructor(groups, asksForSidecars) {
    this.asksForSidecars = asksForSidecars;
    this.going = new Set(groups.flatMap(({ goes }) => goes.map((file) => file.path)));
    this.pictures = new Set(groups.flatMap(({ stays, goes }) => [...stays, ...goes].map((file) => file.path)));
  }

  // What is no picture of a plan, and belongs to none that stays.
  along(file) {
    return (file.family || []).filter(
      (one) =>
        !this.pictures.has(besideOf(file, one.name)) && (one.shares || []).every((name) => this.going.has(besideOf(file, name))),
    );
  }

  // Why a file stays though `holder` stays for it; nothing if it may go. `isChosen`: a person was asked about its sidecars.
  objection(file, holder, isChosen) {
    for (const one of this.along(file)) {
      const what = `it belongs to the ${one.kind} ${one.name}`;
      if (one.fixed) return `${what}, which cannot be moved`;
      if ((one.kind !== SIDECAR || (this.asksForSidecars && !isChosen)) && !holderOf(one, holder)) {
        return `${what}, of which no equal lies beside the file that would stay`;
      }
    }
    return null;
  }
}

// What lies beside the file that stays and says all that a companion of the one that goes says.
export function holderOf(one, holder) {
  return (holder.family || []).find(
    (other) =>
      other.kind === one.kind &&
      other.digest &&
      !(other.device === one.device && other.inode === one.inode) &&
      (other.digest === one.digest || one.said_by?.includes(other.content)),
  );
}

export function besideOf(file, name) {
  return file.path.slice(0, file.path.lastIndexOf("/") + 1) + name;
}
