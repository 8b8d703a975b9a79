"""Files read on a cluster give the outcomes that they give on one machine, whatever happens to the machines."""

import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

import dupwatchd
from dupwatchd.errors import DupwatchError
from dupwatchd.index.pool import DecodeLimits, WorkerPool
from dupwatchd.model import Job, Outcome, ReadStatus
from dupwatchd.pixels.proof import Proof, content_digest
from dupwatchd.serve.results import ClusterResult
from dupwatchd.settings.model import ClusterSettings
from dupwatchd.suffixes import way_of_reading
from tests.conftest import encoded, photo_like
from tests.index.files import Claims, apng_crasher, jobs, png_of_zeros

pytest.importorskip("distributed", reason="the extra cluster is not installed")

from distributed import Client

from dupwatchd.cluster.machines import Machines
from dupwatchd.cluster.pool import ClusterPool
from tests.cluster.nodes import Nodes, until
from tests.index.test_pool_faults import is_alive

LIMITS = DecodeLimits(decode_seconds=8, memory_mb=400, with_keypoints=True)
Told = dict[bytes, tuple[Any, ...]]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with Nodes(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes.start()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photos, copies of some, and all that is odd."""
    folder = tmp_path_factory.mktemp("photos")
    photos = [encoded(photo_like(seed, 96, 72)) for seed in range(60)]
    for number in range(300):
        (folder / f"{number}.jpg").write_bytes(photos[number % 50] + b" " * (number // 50 % 3) * (number % 7))
    (folder / "crasher.png").write_bytes(apng_crasher())
    (folder / "huge.png").write_bytes(png_of_zeros(20000, 12000))  # more than memory_mb once it is decoded
    (folder / "cut.jpg").write_bytes(photos[50][:1500])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_bytes(b"no picture")
    (folder / "raw.nef").write_bytes(photos[51])
    (folder / "raw.jpg").write_bytes(photos[51])  # the same bytes, read in another way
    (folder / os.fsdecode(b"not utf-8 \xff.jpg")).write_bytes(photos[52])
    (folder / "link.jpg").symlink_to("1.jpg")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def here(files: list[Path]) -> Told:
    """What comes of the files on one machine."""
    with WorkerPool(2, 32, LIMITS) as pool:
        return told(pool.index(jobs(files), by_way()))


def by_way() -> Callable[[Job, bytes], bool]:
    """A `known` as that of intake: of each content and way of reading one file is decoded."""
    claims = Claims()
    return lambda job, digest: claims(job, digest + bytes([way_of_reading(job.path)]))


def told(outcomes: Iterator[Outcome]) -> Told:
    """What matters of outcomes, by path; which of equal files was the one to be decoded does not."""
    found: dict[bytes, Outcome] = {}
    for outcome in outcomes:
        assert outcome.job.path not in found
        found[outcome.job.path] = outcome
    by_content: dict[tuple[bytes, int], tuple[Any, ...]] = {}
    for outcome in found.values():
        if outcome.digest is not None and outcome.status is not ReadStatus.KNOWN:
            key = (outcome.digest, way_of_reading(outcome.job.path))
            assert key not in by_content
            by_content[key] = (outcome.status, outcome.error, pixels(outcome))
    return {
        path: (outcome.stamp, outcome.digest, *by_content[outcome.digest, way_of_reading(path)])
        if outcome.digest is not None
        else (outcome.stamp, outcome.status, outcome.error)
        for path, outcome in found.items()
    }


def pixels(outcome: Outcome) -> Any:
    if outcome.decoded is None:
        return None
    fields = asdict(outcome.decoded)
    proof = fields.pop("proof")  # what it holds counts, not how it is packed: that is not always the same
    held = proof and (content_digest(proof), Proof.from_bytes(proof).digest)
    return np.asarray(fields.pop("thumbnail")).tobytes(), held, repr(fields)


class Reading:
    """A pool on a cluster, with what it has told."""

    def __init__(self, nodes: Nodes, known: dict[int, list[bytes]] | None = None, **settings: Any) -> None:
        self._cluster = ClusterSettings(
            scheduler=nodes.address, **{"batch_files": 6, "min_pending": 10, "worker_lost_seconds": 3, **settings}
        )
        self.machines = Machines(nodes.address)
        self._known_digests = known or {}
        self.connected: ClusterResult | None = None  # how it was when `act` was called

    def pool(self, limits: DecodeLimits = LIMITS) -> ClusterPool:
        here = WorkerPool(1, 32, limits)
        return ClusterPool(here, self._cluster, 32, limits, lambda _: self._known_digests, self.machines)

    def outcomes(
        self,
        files: Sequence[Path],
        known: Callable[[Job, bytes], bool] | None = None,
        limits: DecodeLimits = LIMITS,
    ) -> list[Outcome]:
        with self.pool(limits) as pool:
            return list(pool.index(jobs(files), known or by_way()))

    def read(self, files: Sequence[Path], act: Callable[[], None] = lambda: None, after: int = 40) -> Told:
        """What comes of the files; ``act`` is called when so many outcomes have come."""

        def outcomes() -> Iterator[Outcome]:
            with self.pool() as pool:
                for number, outcome in enumerate(pool.index(jobs(files), by_way())):
                    if number == after:
                        act()
                        self.connected = self.machines.document()
                    yield outcome

        return told(outcomes())

    def share(self, name: str) -> int:
        found = {one["name"]: one["files"] for one in self.machines.document()["machines"]}
        return found.get(name, 0)


def test_all_machines_take_part_and_the_outcomes_are_those_of_one(nodes: Nodes, files: list[Path], here: Told) -> None:
    reading = Reading(nodes.start())
    assert reading.read(files) == here
    document = reading.machines.document()
    assert [one["name"] for one in document["machines"]] == ["one", "three", "two"]
    assert all(one["files"] for one in document["machines"])
    assert sum(one["files"] for one in document["machines"]) > len(files) - 10
    assert not document["connected"]


def test_few_files_are_read_here_without_asking_anybody(nodes: Nodes, files: list[Path], here: Told) -> None:
    reading = Reading(nodes, min_pending=len(files) + 1)
    assert reading.read(files) == here
    assert reading.machines.document()["machines"] == []


@pytest.mark.parametrize("gone", [("one",), ("one", "two")], ids=len)
def test_machines_that_are_killed_cost_nothing(
    nodes: Nodes, files: list[Path], here: Told, gone: tuple[str, ...]
) -> None:
    reading = Reading(nodes.start())
    decoders: set[int] = set()

    def kill() -> None:
        decoders.update(*(decoders_below(nodes.processes[name].pid) for name in gone))
        nodes.kill(*gone)

    assert reading.read(files, kill) == here
    until(lambda: not any(is_alive(pid) for pid in decoders))
    assert decoders
    assert {one["name"] for one in reading.machines.document()["machines"] if one["state"] == "lost"} == {*gone}
    assert reading.share("three") > reading.share("one")


def test_when_all_machines_are_killed_a_new_one_goes_on(nodes: Nodes, files: list[Path], here: Told) -> None:
    reading = Reading(nodes.start())

    def kill_all() -> None:
        nodes.kill("one", "two", "three")
        threading.Timer(0.5, nodes.start, [["four"]]).start()

    assert reading.read(files, kill_all) == here
    assert reading.share("four") + reading.machines.document()["files_here"] > len(files) // 2
    nodes.kill("four")


def test_a_frozen_machine_holds_nothing_up_for_long(nodes: Nodes, files: list[Path], here: Told) -> None:
    reading = Reading(nodes.start())
    began = time.monotonic()
    try:
        assert reading.read(files, lambda: nodes.send("two", signal.SIGSTOP)) == here
    finally:
        nodes.send("two", signal.SIGCONT)
    assert time.monotonic() - began < 60
    assert reading.share("one") > 0


def test_a_machine_that_is_told_to_stop_and_one_that_joins_late_change_nothing(
    nodes: Nodes, files: list[Path], here: Told
) -> None:
    nodes.kill("three")
    reading = Reading(nodes.start(["one", "two"]))

    def act() -> None:
        nodes.send("one", signal.SIGTERM)
        nodes.start(["two", "three"])

    assert reading.read(files, act, after=10) == here
    assert nodes.processes["one"].wait(20) == 0
    assert reading.share("three")


def test_a_batch_that_no_machine_survives_is_read_here(nodes: Nodes, files: list[Path], here: Told) -> None:
    reading = Reading(nodes.start(), batch_files=1000, batch_mb=1024)
    killed: list[str] = []

    def hunt() -> None:
        """Kill each machine that has the batch, until none is left."""
        with Client(nodes.address, set_as_default=False) as client:
            name_of = {address: one["name"] for address, one in client.scheduler_info(-1)["workers"].items()}
            while len(killed) < 3:
                for address in [address for address, keys in client.processing().items() if keys]:
                    name = name_of[address].rpartition("-")[0]
                    if name not in killed:
                        killed.append(name)
                        nodes.kill(name)
                time.sleep(0.02)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    assert reading.read(files) == here
    hunter.join()
    assert sorted(killed) == ["one", "three", "two"]
    assert reading.machines.document()["files_here"] == len(files)


def test_a_decoder_that_hangs_there_is_told_of_as_here(nodes: Nodes, tmp_path: Path) -> None:
    nodes.start(["one"])
    nodes.keep("scheduler", "one")
    slow = tmp_path / "slow.png"
    slow.write_bytes(png_of_zeros(9000, 8000))  # it takes half a second
    reading = Reading(nodes, min_pending=1)
    stop = threading.Event()
    frozen: set[int] = set()

    def freeze() -> None:
        """Freeze each process that decodes."""
        while not stop.is_set():
            for pid in decoders_below(nodes.processes["one"].pid) - frozen:
                if ticks_of(pid) >= 5:
                    frozen.add(pid)
                    os.kill(pid, signal.SIGSTOP)
            time.sleep(0.002)

    freezer = threading.Thread(target=freeze)
    freezer.start()
    try:
        [outcome] = reading.outcomes([slow], limits=DecodeLimits(decode_seconds=1))
    finally:
        stop.set()
        freezer.join()
    assert (outcome.status, outcome.error) == (ReadStatus.FAILED, "decoding took longer than 1 s")
    assert len(frozen) == 2
    assert reading.machines.document()["files_here"] == 0
    assert nodes.runs("one")


def decoders_below(pid: int) -> set[int]:
    """The decode processes among the descendants of a process."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                name = Path(f"/proc/{child}/comm").read_text().strip()
            except OSError:
                continue
            found |= {int(child)} if name == "dupwatch-decode" else decoders_below(int(child))
    return found


def ticks_of(pid: int) -> int:
    """How much processor time a process has had, in hundredths of a second."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])
    except OSError:
        return 0


def test_a_machine_with_other_decoders_or_without_the_photos_takes_no_part(
    nodes: Nodes, files: list[Path], here: Told, tmp_path: Path
) -> None:
    nodes.start(["one"])
    nodes.keep("scheduler", "one")
    other = tmp_path / "packages" / "pillow-1.2.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: pillow\nVersion: 1.2\n")
    (tmp_path / "nothing").mkdir()
    shutil.copytree(Path(dupwatchd.__file__).parent, tmp_path / "clone" / "dupwatchd")
    with (tmp_path / "clone" / "dupwatchd" / "index" / "captions.py").open("a") as source:
        source.write("# of another day\n")
    nodes.add("old", PYTHONPATH=str(other.parent))
    nodes.add("edited", PYTHONPATH=str(tmp_path / "clone"))  # the version is the same
    nodes.add("blind", DUPWATCH_CLUSTER__PATHS=json.dumps([f"{files[0].parent}={tmp_path / 'nothing'}"]))
    reading = Reading(nodes)
    assert reading.read(files) == here
    assert reading.connected is not None
    machines = {one["name"]: one for one in reading.connected["machines"]}
    assert {name: one["state"] for name, one in machines.items()} == {
        "one": "reading", "old": "refused", "edited": "refused", "blind": "refused",
    }  # fmt: skip
    assert "it has pillow=1.2 where we have pillow=" in machines["old"]["because"]
    assert re.fullmatch(r"it has code=\w{8} where we have code=\w{8}", machines["edited"]["because"])
    assert f"it does not see {files[0].parent}" in machines["blind"]["because"]
    assert reading.share("old") == reading.share("edited") == reading.share("blind") == 0
    assert reading.connected["line"].startswith("1 of 4 machines; 3 may not take part: it ")


def test_a_machine_reads_under_the_names_that_it_has_and_what_it_lacks_is_read_here(
    nodes: Nodes, files: list[Path], here: Told, tmp_path: Path
) -> None:
    there = tmp_path / "mounted"
    shutil.copytree(files[0].parent, there, symlinks=True)
    for number in (7, 8, 9):
        (there / f"{number}.jpg").unlink()
    told_apart = there / "120.jpg"  # of the same size and time, so that it shows who has read it
    before = told_apart.stat()
    told_apart.write_bytes(told_apart.read_bytes()[:-1] + b"x")
    os.utime(told_apart, ns=(before.st_atime_ns, before.st_mtime_ns))
    nodes.start([])
    nodes.keep("scheduler")
    nodes.add("elsewhere", DUPWATCH_CLUSTER__PATHS=json.dumps([f"{files[0].parent}={there}"]))
    reading = Reading(nodes)
    found = reading.read(files)
    path = os.fsencode(files[0].parent / "120.jpg")
    assert found[path][1] == blake3(told_apart.read_bytes()).digest()
    assert {name for name in here if found[name] != here[name]} == {path}
    assert reading.share("elsewhere") > 0


def test_what_is_known_is_not_decoded_again(nodes: Nodes, files: list[Path], here: Told) -> None:
    nodes.start(["one"])
    nodes.keep("scheduler", "one")
    digests = {path: facts[1] for path, facts in here.items() if isinstance(facts[1], bytes)}
    known = {os.stat(path).st_size: [] for path in digests}  # type: dict[int, list[bytes]]
    for path, digest in digests.items():
        known[os.stat(path).st_size].append(digest)
    reading = Reading(nodes, known=known)
    outcomes = reading.outcomes(files, known=lambda *_: True)
    assert {outcome.status for outcome in outcomes if outcome.digest is not None} == {ReadStatus.KNOWN}
    assert reading.machines.document()["files_here"] < 10
    # If the index does not know them after all, they were not decoded there, so that they are here.
    reading = Reading(nodes, known=known)
    assert reading.read(files) == here
    assert reading.machines.document()["files_here"] > 100


def test_when_the_scheduler_is_killed_reading_goes_on_here_within_five_seconds(
    nodes: Nodes, files: list[Path], here: Told
) -> None:
    reading = Reading(nodes.start())
    killed_at = 0.0
    next_at = 0.0
    found: list[Outcome] = []
    with reading.pool() as pool:
        for number, outcome in enumerate(pool.index(jobs(files), by_way())):
            if number == 40:
                nodes.kill("scheduler")
                killed_at = time.monotonic()
            if not next_at and reading.machines.document()["files_here"] > 0:
                next_at = time.monotonic()
            found.append(outcome)
    assert told(iter(found)) == here
    assert 0 < next_at - killed_at < 5
    assert "is lost" in reading.machines.document()["line"]
    for name in ("one", "two", "three"):  # they end by themselves, and are started again by their units
        assert nodes.processes[name].wait(30) == 0


def test_reading_stops_without_the_cluster_if_that_is_wanted(nodes: Nodes, files: list[Path]) -> None:
    nodes.keep()
    reading = Reading(nodes, when_lost="stop")
    with pytest.raises(DupwatchError, match=r"the cluster cannot be used, and cluster.when_lost = stop: .* refused"):
        reading.read(files)


def test_without_a_scheduler_all_is_read_here(nodes: Nodes, files: list[Path], here: Told) -> None:
    nodes.keep()
    reading = Reading(nodes)
    assert reading.read(files) == here
    assert reading.machines.document()["files_here"] == len(files)
