"""Scans on a real cluster of three machines, to which everything happens: the index is that of one machine.

With CLUSTER_PHOTOS=DIR the files are those below that folder, instead of 2,400 that are made.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cluster.nodes import Nodes, until
from tests.cluster.rows import count_pending, rows
from tests.conftest import encoded, photo_like
from tests.index.files import apng_crasher, png_of_zeros
from tests.index.test_odd_files import KIND_OF_SUFFIX, file_of_kind

pytest.importorskip("distributed", reason="the extra cluster is not installed")
pytestmark = pytest.mark.timeout(3600)

COMMAND = [sys.executable, "-m", "dupwatchd"]
WORKERS = ("one", "two", "three")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if given := os.environ.get("CLUSTER_PHOTOS"):
        return Path(given)
    root = tmp_path_factory.mktemp("photos")
    for seed in range(2000):
        picture = photo_like(seed, 240, 180)
        (root / f"{seed}.jpg").write_bytes(encoded(picture))
        if seed % 20 == 0:  # few: most of the time of a scan goes into looking at pairs, and here into reading
            (root / f"{seed} small.jpg").write_bytes(encoded(np.asarray(Image.fromarray(picture).resize((160, 120)))))
            (root / f"{seed} again.jpg").write_bytes(encoded(picture))
            (root / f"{seed} broken.jpg").write_bytes(encoded(picture)[:-4000])
        if seed % 100 == 0:
            (root / f"{seed} turned.png").write_bytes(encoded(np.rot90(picture).copy(), "PNG"))
            (root / f"{seed} cut.jpg").write_bytes(encoded(picture[30:160, 40:220].copy()))
    for kind, suffixes in KIND_OF_SUFFIX.items():
        for suffix in suffixes.split():
            (root / f"odd{suffix}").write_bytes(file_of_kind(kind))
    (root / "crasher.png").write_bytes(apng_crasher())
    (root / "huge.png").write_bytes(png_of_zeros(17000, 17000))
    (root / "notes.txt").write_bytes(b"no picture")
    (root / "empty.jpg").write_bytes(b"")
    (root / os.fsdecode(b"not utf-8 \xff.jpg")).write_bytes(encoded(photo_like(5000, 200, 150)))
    (root / "link.jpg").symlink_to("1.jpg")
    (root / "no folder").mkdir(mode=0)
    return root


def scan(photos: Path, state: Path, nodes: Nodes | None) -> "subprocess.Popen[bytes]":
    cluster = {
        "DUPWATCH_CLUSTER__SCHEDULER": nodes.address,
        "DUPWATCH_CLUSTER__BATCH_FILES": "16",
        "DUPWATCH_CLUSTER__WORKER_LOST_SECONDS": "5",
    } if nodes else {}  # fmt: skip
    with state.with_name(state.name + ".log").open("wb") as log:
        return subprocess.Popen(
            [*COMMAND, "scan", "--json", photos],
            env={**os.environ, "DUPWATCH_STATE": str(state), **cluster},
            stdout=subprocess.PIPE,
            stderr=log,
        )


def answer(scanning: "subprocess.Popen[bytes]") -> object:
    document = json.loads(scanning.communicate()[0])
    assert scanning.returncode in (0, 1)
    return document["clusters"], document["failed"], document["files"]


@pytest.fixture(scope="module")
def local(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, object]:
    state = tmp_path_factory.mktemp("local") / "state"
    return state, answer(scan(photos, state, None))


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    (tmp_path / "logs").mkdir()
    with Nodes(tmp_path / "logs") as nodes:
        yield nodes.start(WORKERS)


def is_well_under_way(state: Path) -> bool:
    pending, known = count_pending(state)
    return 0 < pending < known * 0.9


FAULTS = [
    "nothing", "one killed", "two killed", "all killed", "all killed for good", "one frozen", "one told to stop",
    "one joins late", "scheduler killed", "scheduler frozen", "scheduler restarted", "writer killed",
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_happens_the_index_is_that_of_one_machine(
    photos: Path, local: tuple[Path, object], nodes: Nodes, tmp_path: Path, fault: str
) -> None:
    state = tmp_path / "state"
    if fault == "one joins late":
        nodes.kill("three")
    scanning = scan(photos, state, nodes)
    until(lambda: is_well_under_way(state) or scanning.poll() is not None, 300)
    assert scanning.poll() is None, "it was over before anything happened"
    if fault == "writer killed":
        scanning.kill()
        scanning.communicate()
        assert count_pending(state)[0]
        scanning = scan(photos, state, nodes)
    else:
        strike(nodes, fault)
    found = answer(scanning)
    for frozen in ("two", "scheduler"):
        nodes.send(frozen, signal.SIGCONT)
    there, here = rows(state), rows(local[0])
    assert there["files"] == here["files"]
    assert there["matches"] == here["matches"]
    assert there["keypoints"] == here["keypoints"]
    assert count_pending(state)[0] == 0
    assert found == local[1]


def strike(nodes: Nodes, fault: str) -> None:
    match fault:
        case "one killed":
            nodes.kill("one")
        case "two killed":
            nodes.kill("one", "three")
        case "all killed":
            nodes.kill(*WORKERS)
            threading.Timer(2, nodes.start, [["four"]]).start()
        case "all killed for good":
            nodes.kill(*WORKERS)
        case "one frozen":
            nodes.send("two", signal.SIGSTOP)
        case "one told to stop":
            nodes.send("one", signal.SIGTERM)
        case "one joins late":
            nodes.start(["three"])
        case "scheduler killed":
            nodes.kill("scheduler")
        case "scheduler frozen":
            nodes.send("scheduler", signal.SIGSTOP)
        case "scheduler restarted":
            nodes.kill("scheduler")
            for name in WORKERS:
                nodes.processes[name].wait(60)
            nodes.start(WORKERS)
