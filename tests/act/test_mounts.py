"""One file seen at two paths, each kind mounted for real: no plan, made here or edited, loses it with any action."""

import json
import os
import shutil
import stat
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dupwatch.act.apply import Action, Summary, apply_plan
from dupwatch.act.errors import ActError, PlanError
from dupwatch.act.plan_file import Plan, plan_text
from dupwatch.act.plan_reading import parsed_plan, read_plan
from dupwatch.act.planning import make_plan
from dupwatch.act.undo import runs_to_undo, undo
from dupwatch.marking import mark_clusters
from tests.act.mounts import Mounts
from tests.act.trees import Seen, cluster_of, digest, file_of_group, group_of, page_of, plan_for, seen, write
from tests.conftest import encoded, photo_like
from tests.system.service import Service

ACTIONS = ["quarantine", "move", "trash", "hardlink", "reflink", "delete"]
PUT_AWAY = {".dupwatch-quarantine", f".Trash-{os.getuid()}"}
UNDONE = [action for action in ACTIONS if action != "delete"]


class World(NamedTuple):
    """A picture `only.jpg` that two paths lead to, and a picture that has a copy."""

    roots: list[Path]
    one: Path  # the two folders through which `only.jpg` is seen
    other: Path
    name: str = "only.jpg"
    other_name: str = "only.jpg"

    @property
    def paths(self) -> tuple[bytes, bytes]:
        return os.fsencode(self.one / self.name), os.fsencode(self.other / self.other_name)

    def contents(self) -> set[bytes]:
        """The contents of all pictures that are found under the roots and not in a quarantine."""
        found = set()
        for root in self.roots:
            for folder, folders, names in os.walk(root):
                folders[:] = [name for name in folders if name not in PUT_AWAY]
                for path in (Path(folder, name) for name in names if name.endswith(".jpg")):
                    with suppress(OSError):  # an overlay whose lower folder was changed shows what is not there
                        found.add(path.read_bytes())
        return found

    def all_seen(self) -> list[Seen]:
        """What lies under the roots, but for a trash that was made."""
        found = []
        for root in self.roots:
            for trash in root.rglob(".Trash-*"):
                assert not any(stat.S_ISREG(what[0]) for what in seen(trash).values())
            found.append({name: what for name, what in seen(root).items() if not name.startswith(b".Trash-")})
        return found


def photos(folder: Path, seed: int) -> Path:
    """A picture alone, and one with a copy that may go."""
    (folder / "spare").mkdir(parents=True)
    (folder / "only.jpg").write_bytes(encoded(photo_like(seed, 320, 240)))
    for name in ("two.jpg", "spare/two with a longer name.jpg"):
        (folder / name).write_bytes(encoded(photo_like(seed + 1, 320, 240)))
    for number, path in enumerate(sorted(folder.rglob("*.jpg"))):
        os.utime(path, ns=(10**18, 1_600_000_000 * 10**9 + number * 10**9))
    return folder


def bind(top: Path, seed: int, mounts: Mounts) -> World:
    one = photos(top / "photos", seed)
    other = mounts.bind(one, top / "seen")
    return World([one, other], one, other)


def bind_below_one_root(top: Path, seed: int, mounts: Mounts) -> World:
    one = photos(top / "photos", seed)
    return World([top], one, mounts.bind(one, top / "zeen"))


def bind_of_a_part(top: Path, seed: int, mounts: Mounts) -> World:
    one = photos(top / "photos/2020", seed)
    other = mounts.bind(one, top / "seen")
    return World([top / "photos", other], one, other)


def one_file(top: Path, seed: int, mounts: Mounts) -> World:
    one, other = photos(top / "photos", seed), top / "seen"
    other.mkdir()
    (other / "only.jpg").touch()
    mounts.bind(one / "only.jpg", other / "only.jpg")
    return World([one, other], one, other)


def twice(kind: str) -> Callable[[Path, int, Mounts], World]:
    def make(top: Path, seed: int, mounts: Mounts) -> World:
        one = mounts.loop(top / "photos", kind)
        photos(one / "all", seed)
        device = next(line.split()[0] for line in Path("/proc/mounts").read_text().splitlines() if str(one) in line)
        other = mounts.mount(top / "seen", device)
        return World([one, other], one / "all", other / "all")

    return make


def overlay(top: Path, seed: int, mounts: Mounts) -> World:
    one = photos(top / "photos", seed)
    other = mounts.overlay(top / "seen", one, upper=top / "upper")
    return World([one, other], one, other)


def overlay_of_other_file_systems(top: Path, seed: int, mounts: Mounts) -> World:
    one = photos(mounts.tmpfs(top / "lower", "8m") / "photos", seed)
    upper = mounts.tmpfs(top / "upper", "8m") / "photos"
    other = mounts.overlay(top / "seen", one, upper=upper)
    return World([one, other], one, other)


def overlay_of_lower_folders(top: Path, seed: int, mounts: Mounts) -> World:
    one = photos(top / "photos", seed)
    (top / "more").mkdir()
    other = mounts.overlay(top / "seen", top / "more", one)
    return World([one, other], one, other)


def overlay_of_its_upper_folder(top: Path, seed: int, mounts: Mounts) -> World:
    upper = photos(top / "upper", seed)
    photos(top / "photos", seed + 2)
    other = mounts.overlay(top / "seen", top / "photos", upper=upper)
    return World([upper, other], upper, other)


def overlay_of_an_overlay(top: Path, seed: int, mounts: Mounts) -> World:
    one = photos(top / "photos", seed)
    (top / "more").mkdir()
    between = mounts.overlay(top / "between", top / "more", one)
    other = mounts.overlay(top / "seen", between, upper=top / "upper")
    return World([one, other], one, other)


def hard_links(top: Path, seed: int, _: Mounts) -> World:
    one, other = photos(top / "photos", seed), top / "linked"
    other.mkdir()
    (other / "only.jpg").hardlink_to(one / "only.jpg")
    return World([one, other], one, other)


def ntfs_ignoring_case(top: Path, seed: int, mounts: Mounts) -> World:
    disk = mounts.ntfs_ignoring_case(top / "disk")
    one = photos(disk / "photos", seed)
    return World([one, disk / "PHOTOS"], one, disk / "PHOTOS")


def fuse(top: Path, seed: int, mounts: Mounts) -> World:
    one = photos(top / "photos", seed)
    other = mounts.passthrough(one, top / "seen")
    return World([one, other], one, other)


def fuse_ignoring_case(top: Path, seed: int, mounts: Mounts) -> World:
    one = photos(top / "below/photos", seed)
    disk = mounts.passthrough(one.parent, top / "disk", "case")
    return World([disk / "photos", disk / "Photos"], disk / "photos", disk / "Photos")


def fuse_normalising_names(top: Path, seed: int, mounts: Mounts) -> World:
    below = photos(top / "below" / unicodedata.normalize("NFC", "Café"), seed).parent
    disk = mounts.passthrough(below, top / "disk", "unicode")
    one, other = (disk / unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))
    return World([one, other], one, other)


WORLDS: dict[str, Callable[[Path, int, Mounts], World]] = {
    "bind": bind,
    "bind below one root": bind_below_one_root,
    "bind of a part": bind_of_a_part,
    "one file": one_file,
    "ext4 twice": twice("ext4"),
    "btrfs twice": twice("btrfs"),
    "xfs twice": twice("xfs"),
    "overlay": overlay,
    "overlay of other file systems": overlay_of_other_file_systems,
    "overlay of lower folders": overlay_of_lower_folders,
    "overlay of its upper folder": overlay_of_its_upper_folder,
    "overlay of an overlay": overlay_of_an_overlay,
    "hard links": hard_links,
    "NTFS ignoring case": ntfs_ignoring_case,
    "FUSE": fuse,
    "FUSE ignoring case": fuse_ignoring_case,
    "FUSE normalising names": fuse_normalising_names,
}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World | str]]:
    """All of them, or why one cannot be here."""
    top = tmp_path_factory.mktemp("worlds")
    found: dict[str, World | str] = {}
    with Mounts(tmp_path_factory.mktemp("images")) as mounts:
        for number, (name, make) in enumerate(WORLDS.items()):
            try:
                found[name] = make(top / str(number), number * 10, mounts)
            except pytest.skip.Exception as skipped:
                found[name] = str(skipped)
        yield found


@pytest.fixture(scope="module")
def scanned(worlds: dict[str, World | str], tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The plan that a scan of them all makes."""
    place = tmp_path_factory.mktemp("plan")
    roots = [root for world in worlds.values() if isinstance(world, World) for root in world.roots]
    done = subprocess.run(
        [sys.executable, "-m", "dupwatchd", "scan", "--plan", place / "all.plan", *roots],
        capture_output=True, text=True, check=False, env={**os.environ, "DUPWATCH_STATE": str(place / "state")},
    )  # fmt: skip
    assert done.returncode == 0, done
    return read_plan(os.fsencode(place / "all.plan"))


@pytest.fixture
def world(worlds: dict[str, World | str], request: pytest.FixtureRequest) -> World:
    found = worlds[request.param]
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(autouse=True)
def trash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("send2trash.plat_other.HOMETRASH_B", os.fsencode(tmp_path / "Trash"))


def acted(plan: Plan, action: str, tmp_path: Path) -> Summary:
    to = tmp_path / "to"
    to.mkdir(exist_ok=True)
    return apply_plan(plan, Action(action, os.fsencode(to) if action == "move" else None))


def undo_what_can_be() -> None:
    try:
        undone = undo(runs_to_undo(every=True))
    except ActError:
        return  # nothing was done
    assert undone.is_complete, undone


@pytest.mark.parametrize("world", WORLDS, indirect=True)
def test_a_plan_offers_the_copy_and_never_the_second_path(world: World, scanned: Plan, tmp_path: Path) -> None:
    tops = [os.fsencode(root) + b"/" for root in world.roots]
    groups = tuple(
        group for group in scanned.groups if any(going.file.path.startswith(tuple(tops)) for going in group.goes)
    )
    going = [going.file.path for group in groups for going in group.goes]
    refusals = [one.because for one in scanned.held_back if one.path.startswith(tuple(tops))]
    assert going or all("read-only file system" in why for why in refusals)
    assert not any(b"only" in path for path in going)
    plan = replace(scanned, groups=groups)
    contents, before = world.contents(), world.all_seen()
    assert len(contents) == 2
    for action in UNDONE:
        acted(plan, action, tmp_path)
        assert world.contents() == contents, action
        undo_what_can_be()
        assert world.all_seen() == before, action


def edited(world: World, goes: bytes, stays: bytes) -> Plan:
    """A plan that says of one file that it goes and stays, with numbers made up so that it does not show."""
    data = json.loads(plan_text(plan_for_two(world, goes, stays)))
    for number, file in enumerate(data["groups"][0]["stays"] + data["groups"][0]["goes"]):
        file["device"], file["inode"] = 1, number
    return parsed_plan(json.dumps(data).encode(), "edited")


def plan_for_two(world: World, goes: bytes, stays: bytes) -> Plan:
    decoy = os.fsencode(world.one / "two.jpg"), os.fsencode(world.one / "spare/two with a longer name.jpg")
    plan = plan_for(world.one, [decoy])
    assert plan.groups, plan.held_back
    text = plan_text(replace(plan, roots=tuple(map(os.fsencode, world.roots))))
    data = json.loads(text)
    for file, path in zip(data["groups"][0]["goes"] + data["groups"][0]["stays"], (goes, stays), strict=True):
        status = os.lstat(path)
        file.update(
            path=os.fsdecode(path), bytes=status.st_size, mtime_ns=status.st_mtime_ns, blake3=digest(path).hex()
        )
    data["groups"][0]["goes"][0]["held_by"] = os.fsdecode(stays)
    return parsed_plan(json.dumps(data).encode(), "edited")


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("world", WORLDS, indirect=True)
def test_a_plan_edited_to_name_both_paths_loses_nothing(world: World, swapped: bool, tmp_path: Path) -> None:
    goes, stays = world.paths if swapped else world.paths[::-1]
    contents, before = world.contents(), world.all_seen()
    for action in ACTIONS:
        try:
            plan = edited(world, goes, stays)
            summary = acted(plan, action, tmp_path)
        except PlanError:
            continue
        assert world.contents() == contents, (action, summary)
        if action == "delete" and summary.done:  # the lower file of an overlay is still there
            shutil.copy2(os.fsdecode(stays), os.fsdecode(goes))
        else:
            undo_what_can_be()
        assert world.all_seen() == before, (action, summary)


def test_a_service_that_sees_files_twice_plans_what_can_go_and_no_more(tmp_path: Path) -> None:
    root, plan_path = tmp_path / "root", tmp_path / "copies.plan"
    with Mounts(tmp_path) as mounts:
        one = photos(root / "photos", 900)
        world = World([root], one, mounts.bind(one, root / "zeen"))
        mounts.overlay(root / "zoverlay", one, upper=tmp_path / "upper")
        with Service(tmp_path / "service", root) as service:
            environment = {**os.environ, "DUPWATCH_ENDPOINT": service.endpoint}

            def dupwatch(*arguments: str) -> dict[str, Any]:
                done = subprocess.run(
                    [sys.executable, "-m", "dupwatch", *arguments, "--json"],
                    env=environment, capture_output=True, text=True, check=False,
                )  # fmt: skip
                assert done.returncode == 0, done
                return dict(json.loads(done.stdout))

            dupwatch("wait")
            contents, before = world.contents(), seen(root)
            assert len(contents) == 2
            dupwatch("plan", "--out", str(plan_path))
            plan = read_plan(os.fsencode(plan_path))
            assert len(plan.going) == 1
            assert b"two" in plan.going[0].file.path
            dupwatch("apply", str(plan_path), "--yes")
            assert world.contents() == contents
            dupwatch("undo", str(plan_path), "--yes")
            assert seen(root) == before


def test_a_picture_that_its_folder_lists_otherwise_stays(tmp_path: Path) -> None:
    """NTFS ignoring case opens `IMG.JPG` as well, but what lies beside it is found by the name that is listed."""
    with Mounts(tmp_path) as mounts:
        disk = mounts.ntfs_ignoring_case(tmp_path / "disk")
        goes, stays = write(disk / "a/img.jpg", b"picture"), write(disk / "b/img.jpg", b"picture")
        sidecar = write(disk / "a/img.xmp", b"rating 5")
        write(disk / "b/IMG.XMP", b"rating 5")
        for spelled, planned in ((goes, [goes, sidecar]), (goes.replace(b"img", b"IMG"), [])):
            group = group_of(file_of_group(stays), file_of_group(spelled, stays))
            cluster = cluster_of(group)
            mark_clusters([cluster], ["lacks metadata"])
            plan = make_plan([{**page_of(disk, group), "ask_when": ["lacks metadata"]}])
            assert [one.file.path for one in plan.going] == planned
            assert cluster["files"][1]["may_go"] == bool(planned)
        assert "its folder lists it by another name" in plan.held_back[0].because
        by_hand = plan_for(disk, [(goes, stays)])
        written = by_hand.groups[0]
        other = replace(written.goes[0], file=replace(written.goes[0].file, path=goes.replace(b"img", b"IMG")))
        summary = apply_plan(replace(by_hand, groups=(replace(written, goes=(other,)),)), Action())
        assert "lists it by another name" in summary.skipped[0][1]
        assert os.path.exists(goes)
