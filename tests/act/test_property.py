"""Random trees, links, plans edited at random, and changes between plan and apply: a picture always has a file left.

Whatever a plan names and whatever happened since, after an apply each file that went has, at its place and with the
content of the plan, the file that was to stay for it; all other contents are still there; and undo restores everything.
"""

import json
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dupwatch.act.apply import Action, apply_plan
from dupwatch.act.errors import ActError, PlanError
from dupwatch.act.plan_file import Plan, plan_text
from dupwatch.act.plan_reading import parsed_plan
from dupwatch.act.planning import make_plan
from dupwatch.act.undo import runs_to_undo, undo
from tests.act.trees import digest, file_of_group, group_of, page_of, seen, write

CASES = int(os.environ.get("DUPWATCH_ACT_CASES", "300"))
FOLDERS = ("", "a/", "a/b/", "c/")
NAMES = ("x.jpg", "y.jpg", "x.CR2", "z.HEIC")
counts: "Counter[str]" = Counter()


class World:
    """A tree of pictures. A picture's number stands in its content; files of one number are copies of each other."""

    def __init__(self, data: st.DataObject, root: Path) -> None:
        self.data, self.root = data, root
        self.picture: dict[bytes, int] = {}  # path: number of the picture
        root.mkdir()
        places = [folder + name for folder in FOLDERS for name in NAMES]
        for place in data.draw(st.lists(st.sampled_from(places), min_size=2, max_size=12, unique=True), "files"):
            number, variant = data.draw(st.integers(0, 2), "picture"), data.draw(st.integers(0, 2), "variant")
            path = os.fsencode(root / place)
            twin = data.draw(st.sampled_from(["own", "own", "own", "hard link"]), "kind")
            others = [other for other, of in self.picture.items() if of == number]
            if twin == "hard link" and others:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.link(data.draw(st.sampled_from(others)), path)
            else:
                write(path, b"picture %d, variant %d" % (number, variant))
            self.picture[path] = number
        for place in data.draw(st.lists(st.sampled_from(places), max_size=3), "sidecars"):
            suffix = data.draw(st.sampled_from([".xmp", ".mov", ".aae"]))
            write(os.fsencode(root / place)[:-4] + os.fsencode(suffix), data.draw(st.sampled_from([b"5", b"four"])))

    def groups(self) -> list[dict[str, Any]]:
        """What a service might say, and sometimes what it would never say: any file may go for any other."""
        found = []
        for number in range(3):
            paths = [path for path, of in self.picture.items() if of == number and os.path.isfile(path)]
            if len(paths) < 2:
                continue
            kept = self.data.draw(st.lists(st.sampled_from(paths), min_size=1, max_size=2, unique=True), "kept")
            files = [file_of_group(path) for path in kept]
            going = [path for path in paths if path not in kept and self.data.draw(st.booleans())]
            files += [file_of_group(path, self.data.draw(st.sampled_from(kept))) for path in going]
            found.append(group_of(*files, name=f"g{number}"))
        return found

    def edited(self, plan: Plan) -> Plan | None:
        """The plan after random edits, read again; None if it is refused."""
        document = json.loads(plan_text(plan))
        everything = [file for group in document["groups"] for file in group["stays"] + group["goes"]]
        for _ in range(self.data.draw(st.integers(0, 3), "edits")):
            if not everything:
                break
            one, other = self.data.draw(st.sampled_from(everything)), self.data.draw(st.sampled_from(everything))
            group = self.data.draw(st.sampled_from(document["groups"]))
            what = self.data.draw(st.sampled_from(["path", "held_by", "stays", "goes", "numbers", "digest", "group"]))
            if what == "path":
                one["path"] = other["path"]
            elif what == "held_by" and "held_by" in one:
                one["held_by"] = other["path"]
            elif what == "stays":
                group["stays"].append({key: other[key] for key in group["stays"][0]})
            elif what == "goes" and "held_by" in other:
                group["goes"].append(other)
            elif what == "numbers":
                one["device"], one["inode"] = 1, len(everything)
            elif what == "digest":
                one["blake3"], one["bytes"] = other["blake3"], other["bytes"]
            elif what == "group":
                document["groups"].append(group)
        try:
            return parsed_plan(json.dumps(document).encode("ascii"), "plan")
        except PlanError:
            return None

    def change(self) -> None:
        """What may happen between plan and apply."""
        for _ in range(self.data.draw(st.integers(0, 2), "changes")):
            path = self.data.draw(st.sampled_from(sorted(self.picture)))
            other = self.data.draw(st.sampled_from(sorted(self.picture)))
            what = self.data.draw(st.sampled_from(["write", "remove", "replace", "hard link", "link", "link folder"]))
            if what == "link folder":
                folder = self.data.draw(st.sampled_from(["a", "c"]))
                if os.path.isdir(self.root / folder) and not os.path.islink(self.root / folder):
                    os.rename(self.root / folder, self.root / f"really-{folder}")
                    os.symlink(f"really-{folder}", self.root / folder)
            elif not os.path.isfile(path) or not os.path.isfile(other) or os.path.samefile(path, other):
                continue
            elif what == "write":
                Path(os.fsdecode(path)).write_bytes(b"edited %d, variant %d" % (self.picture[path], 9))
            elif what == "remove":
                os.unlink(path)
            elif what == "replace":
                os.replace(other, path)
            else:
                os.unlink(path)
                (os.link if what == "hard link" else os.symlink)(other, path)


def contents(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in folder.rglob("*") if path.is_file() and "journal" not in path.name}


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def check_one_case(data: st.DataObject) -> None:
    place = Path(tempfile.mkdtemp(prefix="dw", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    os.environ["XDG_STATE_HOME"] = str(place / "state")
    try:
        world = World(data, place / "root")
        (place / "to").mkdir()
        plan = world.edited(make_plan([page_of(place / "root", *world.groups())]))
        counts["refused" if plan is None else "read"] += 1
        if plan is None:
            return
        world.change()
        action = data.draw(st.sampled_from(["quarantine", "move", "delete", "hardlink"]), "action")
        before, before_contents = seen(place / "root"), contents(place)
        try:
            summary = apply_plan(plan, Action(action, os.fsencode(place / "to") if action == "move" else None))
        except PlanError:
            counts["refused for links"] += 1
            assert seen(place / "root") == before
            return
        assert summary.halted is None
        counts["done"] += len(summary.done)
        counts["skipped"] += len(summary.skipped)
        going = {one.file.path: one for one in plan.going}
        planned = {file.path: file for group in plan.groups for file in group.stays}
        for path, _ in summary.done:
            holder = going[path].held_by
            assert os.path.lexists(path) == (action == "hardlink")
            if holder is not None:
                expected = planned[holder].blake3 if going[path].goes_with is None else going[path].file.blake3
                assert digest(holder) == expected
        lost = before_contents - contents(place)
        assert not lost if action != "delete" else not (lost - {content_of(one) for one in going.values()})
        for number in {world.picture[path] for path, _ in summary.done if path in world.picture}:
            assert any(of == number and os.path.isfile(path) for path, of in world.picture.items())
        if action != "delete":
            try:
                assert undo(runs_to_undo(every=True)).is_complete
            except ActError:
                assert not summary.done
            assert seen(place / "root") == before
            counts["undone"] += len(summary.done)
    finally:
        shutil.rmtree(place)


def content_of(going: Any) -> bytes:
    """The content of a small file of these tests, found by its digest."""
    from blake3 import blake3

    every = [b"picture %d, variant %d" % (number, variant) for number in range(3) for variant in range(3)]
    return next((one for one in [*every, b"5", b"four"] if blake3(one).digest() == going.file.blake3), b"")


@pytest.mark.usefixtures("state")
def test_an_apply_never_leaves_a_picture_without_a_file_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", os.environ["XDG_STATE_HOME"])  # put back at the end
    counts.clear()
    check_one_case()
    print(dict(counts))  # noqa: T201 - the number of cases is wanted
    assert counts["read"] >= CASES // 4
    assert counts["done"] >= CASES // 10
    assert counts["refused"]
