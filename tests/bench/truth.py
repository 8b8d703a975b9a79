"""Labelled sets of photos: which files show the same picture, and which only seem to.

Understands two kinds of ``truth.csv``: with a column ``role`` (original, duplicate, negative) as a generator of test
sets writes it, and with a column ``relation`` (dup, burst, hardneg) for photos found in the wild. A folder without
truth.csv holds different pictures only.
"""

import csv
import os
from dataclasses import dataclass

TURNED_KINDS = frozenset({"rot90", "rot180", "rot270"})


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of one file."""

    path: str  # absolute and resolved
    group: str  # files of one group show the same picture; negatives have a group of their own
    role: str  # original, duplicate, negative, burst or hardneg
    kind: str  # how the duplicate was made, or why the negative looks alike
    near_group: str  # of a negative: the group it was cut from

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """A folder and all that is known of its files."""

    folder: str
    labels: dict[str, Label]  # by path

    @property
    def name(self) -> str:
        return os.path.basename(self.folder)

    def place(self, path: str) -> str:
        """A path as shown to people: below the name of the set."""
        return os.path.join(self.name, os.path.relpath(path, self.folder))

    def groups(self) -> dict[str, list[Label]]:
        """Labels by group, in the order of the file."""
        groups: dict[str, list[Label]] = {}
        for label in self.labels.values():
            groups.setdefault(label.group, []).append(label)
        return groups

    def pairs_to_find(self) -> list[tuple[Label, Label]]:
        """Each duplicate with its original; without an original, with the first of its group."""
        pairs = []
        for members in self.groups().values():
            copies = [label for label in members if label.role in ("original", "duplicate")]
            originals = [label for label in copies if label.role == "original"] or copies[:1]
            pairs += [(originals[0], copy) for copy in copies if copy is not originals[0]]
        return pairs


def may_be_joined(labels: list[Label]) -> bool:
    """Whether files that ended up in one cluster are copies, or a burst, of which nobody can say."""
    return len({label.group for label in labels}) <= 1 and all(label.role != "hardneg" for label in labels)


def load(folder: str) -> LabelledSet:
    """Read FOLDER/truth.csv; without one, every file shows another picture. Raises OSError, ValueError."""
    folder = os.path.realpath(folder)
    try:
        with open(os.path.join(folder, "truth.csv"), newline="", encoding="utf-8") as file:
            labels = [_label(folder, row) for row in csv.DictReader(file)]
    except FileNotFoundError:
        labels = [Label(path, path, "negative", "unlabelled", "") for path in files_below(folder)]
        if not labels:
            raise
    return LabelledSet(folder, {label.path: label for label in labels})


def files_below(folder: str) -> list[str]:
    """All files under a folder, sorted."""
    found = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]
    return sorted(found)


def _label(folder: str, row: dict[str, str]) -> Label:
    path = os.path.join(folder, row["file"])
    if "role" in row:
        return Label(path, row["group"], row["role"], row["kind"], row.get("near_group", ""))
    if "relation" not in row:
        raise ValueError(f"{folder}: truth.csv has neither a column role nor a column relation")
    role = row["relation"]
    if role == "dup":
        role = "original" if row["kind"] == "original" else "duplicate"
    return Label(path, row["group"], role, row["kind"], "")
