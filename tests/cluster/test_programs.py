"""The real programs on a real cluster: a scan, one that is killed, the service, and what is said of the machines."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from blake3 import blake3
from PIL import Image

from dupwatchd.db.connection import open_database
from dupwatchd.db.files import digests_by_size
from tests.cluster.nodes import Nodes, free_port, until
from tests.cluster.rows import count_pending, rows
from tests.conftest import encoded, photo_like
from tests.index.files import apng_crasher, png_of_zeros
from tests.index.test_captions import CAPTIONS, PEOPLE, XMP
from tests.system.service import Service

needs_dask = pytest.importorskip("distributed", reason="the extra cluster is not installed")
COMMAND = [sys.executable, "-m", "dupwatchd"]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with Nodes(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes.start(["one", "two"])


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with copies of several kinds, and what is odd; some take a while to be decoded."""
    root = tmp_path_factory.mktemp("photos")
    for seed in range(40):
        picture = photo_like(seed, 200, 150)
        (root / f"{seed}.jpg").write_bytes(encoded(picture))
        if seed % 4 == 0:
            (root / f"{seed} again.jpg").write_bytes(encoded(picture))
            (root / f"{seed} small.jpg").write_bytes(encoded(np.asarray(Image.fromarray(picture).resize((100, 75)))))
            (root / f"{seed} turned.png").write_bytes(encoded(np.rot90(picture).copy(), "PNG"))
        if seed % 8 == 0:
            (root / f"{seed} cut.jpg").write_bytes(encoded(picture[20:130, 30:180].copy()))
            (root / f"{seed} broken.jpg").write_bytes(encoded(picture)[:-3000])
    for number in range(24):
        (root / f"blank {number}.png").write_bytes(png_of_zeros(4000 + number, 3000))
    (root / "told of.jpg").write_bytes(encoded(photo_like(50, 200, 150), xmp=XMP))
    deep = np.full((150, 200, 4), 65535, np.uint16)
    deep[..., :3] = photo_like(51, 200, 150).astype(np.uint16) * 257
    deep[20:60, 30:90, 3] = 0
    (root / "deep.png").write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    (root / "crasher.png").write_bytes(apng_crasher())
    (root / "notes.txt").write_bytes(b"no picture")
    (root / "empty.jpg").write_bytes(b"")
    return root


def environment(state: Path, nodes: Nodes | None) -> dict[str, str]:
    cluster = {
        "DUPWATCH_CLUSTER__SCHEDULER": nodes.address,
        "DUPWATCH_CLUSTER__MIN_PENDING": "20",
        "DUPWATCH_CLUSTER__BATCH_FILES": "4",
        "DUPWATCH_CLUSTER__WORKER_LOST_SECONDS": "3",
    } if nodes else {}  # fmt: skip
    return {**os.environ, "DUPWATCH_STATE": str(state), **cluster}


def scan(photos: Path, state: Path, nodes: Nodes | None) -> dict[str, Any]:
    done = subprocess.run(
        [*COMMAND, "scan", "--json", photos], env=environment(state, nodes), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def local(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The state directory of a scan on one machine, and its answer."""
    state = tmp_path_factory.mktemp("local")
    return state, scan(photos, state, None)


def test_a_scan_that_is_killed_goes_on_and_ends_in_the_index_of_one_machine(
    nodes: Nodes, photos: Path, local: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    scanning = subprocess.Popen([*COMMAND, "scan", "--json", photos], env=environment(state, nodes), stdout=-3)
    until(lambda: 0 < count_pending(state)[0] < count_pending(state)[1])
    scanning.kill()
    scanning.wait()
    assert count_pending(state)[0]
    nodes.kill("two")
    answer = scan(photos, state, nodes)
    there, here = rows(state), rows(local[0])
    assert there["files"] == here["files"]
    assert there["matches"] == here["matches"]
    assert there["keypoints"] == here["keypoints"]
    assert len(here["keypoints"]) > 40
    told = {row[1]: row[-8:-4] for row in here["files"]}  # captions, people, bits, transparent
    assert (told[b"told of.jpg"], told[b"deep.png"]) == ((CAPTIONS, PEOPLE, 8, 0), ("", "", 16, 1))
    assert answer["clusters"] == local[1]["clusters"]
    assert answer["failed"] == local[1]["failed"]
    assert count_pending(state)[0] == 0


def test_what_is_known_is_told_by_the_size_of_its_files(
    photos: Path, local: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(local[0], tmp_path / "state")
    by_size: dict[int, set[bytes]] = {}
    for photo in (*photos.glob("*.jpg"), *photos.glob("*.png")):
        by_size.setdefault(photo.stat().st_size, set()).add(blake3(photo.read_bytes()).digest())
    with closing(open_database(str(tmp_path / "state"))) as database:
        found = digests_by_size(database, by_size, 64)
        assert {size: set(digests) for size, digests in found.items()} == by_size
        assert all(len(digests) == len(by_size[size]) for size, digests in found.items())
        assert digests_by_size(database, by_size, 0) == digests_by_size(database, [987654321], 64) == {}
        plan = str(
            database.rows("EXPLAIN QUERY PLAN SELECT id FROM file WHERE size_bytes = 1 AND content_id IS NOT NULL")
        )
        assert "file_of_size" in plan


def test_the_service_reads_on_the_cluster_and_says_which_machines_do(
    nodes: Nodes, photos: Path, local: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    nodes.start(["one", "two"])
    variables: dict[str, Any] = {
        name: value for name, value in environment(tmp_path, nodes).items() if name.startswith("DUPWATCH_CLUSTER")
    }
    with Service(tmp_path / "service", photos, **variables) as service:
        service.settled()
        cluster = service.ask("status")["cluster"]
        shown = subprocess.run(
            [sys.executable, "-m", "dupwatch", "--endpoint", service.endpoint, "status"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    assert {one["name"]: one["state"] for one in cluster["machines"]} == {"one": "away", "two": "away"}
    assert sum(one["files"] for one in cluster["machines"]) > 50
    assert (cluster["total_machines"], cluster["connected"], cluster["scheduler"]) == (2, False, nodes.address)
    assert "cluster · not in use: too few photos are pending to be worth it" in shown
    assert f"away     one: {cluster['machines'][0]['files']} files" in shown
    assert rows(service.state)["files"] == rows(local[0])["files"]


def test_a_service_that_is_to_wait_for_the_cluster_says_so_and_goes_on_when_it_is_there(
    photos: Path, tmp_path: Path
) -> None:
    with Nodes(tmp_path) as nodes:
        variables: dict[str, Any] = {
            name: value for name, value in environment(tmp_path, nodes).items() if name.startswith("DUPWATCH_CLUSTER")
        }
        with Service(tmp_path / "service", photos, DUPWATCH_CLUSTER__WHEN_LOST="stop", **variables) as service:
            until(lambda: service.ask("status")["state"] == "failing")
            told = service.ask("status")
            reason = f"{nodes.address}: connection refused"
            assert told["cluster"]["line"] == f"not in use: {reason}; nothing is read meanwhile"
            assert told["cluster"]["files_here"] == told["pictures"] == 0
            nodes.start(["one"])
            until(lambda: any(one["files"] for one in service.ask("status")["cluster"]["machines"]))
            until(lambda: service.ask("status")["state"] != "failing")


def test_check_tells_of_each_machine(nodes: Nodes, photos: Path, tmp_path: Path) -> None:
    nodes.start(["one"])
    nodes.keep("scheduler", "one")
    nothing = json.dumps([f"{photos}={tmp_path}"])
    nodes.add("blind", DUPWATCH_CLUSTER__PATHS=nothing)
    done = check("--json", "--root", str(photos), address=nodes.address)
    report = json.loads(done.stdout)
    assert (done.returncode, report["tls"], report["samples"]) == (1, False, 3)
    blind, one = report["workers"]
    assert (one["machine"], one["takes_part"], one["same_decoders"], one["unseen"]) == ("one", True, True, [])
    assert "pillow=" in one["decoders"]
    assert abs(one["clock_seconds"]) < 5
    assert (blind["takes_part"], len(blind["unseen"])) == (False, 3)
    assert blind["because"].startswith(f"it does not see {photos}")
    nodes.kill("blind")
    until(lambda: "blind" not in check(address=nodes.address).stdout.decode())
    done = check("--root", str(photos), address=nodes.address)
    assert done.returncode == 0
    assert "takes part" in done.stdout.decode()


def test_check_tells_photos_by_the_names_that_the_service_has(nodes: Nodes, photos: Path, tmp_path: Path) -> None:
    nodes.start(["one"])
    nodes.keep("scheduler", "one")
    link, nothing = tmp_path / "link", tmp_path / "nothing"
    link.symlink_to(photos)
    nothing.mkdir()
    nodes.add("blind", DUPWATCH_CLUSTER__PATHS=json.dumps([f"{photos}={nothing}"]))
    blind = json.loads(check("--json", "--root", str(link), address=nodes.address).stdout)["workers"][0]
    assert blind["because"].startswith(f"it does not see {photos}")
    nodes.kill("blind")
    done = check("--root", str(nothing), address=nodes.address)
    assert done.stdout.decode().endswith("whether they see the photos was not tried: no photo is below the roots\n")
    no = tmp_path / "no"
    done = check("--root", str(no), address=nodes.address)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (2, b"", f"dupwatchd: no such folder: {no}\n")


def check(*arguments: str, address: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [*COMMAND, "cluster", "check", "--address", address, *arguments], capture_output=True, check=False
    )


def test_all_that_are_told_to_stop_at_once_do(nodes: Nodes) -> None:
    nodes.start(["one", "two"])
    for name in ("scheduler", "one", "two"):  # as when a machine is shut down; Dask's workers may hang then
        nodes.send(name, signal.SIGTERM)
    assert [nodes.processes[name].wait(30) for name in ("scheduler", "one", "two")] == [0, 0, 0]


def test_whoever_is_told_to_stop_at_its_very_end_ends_well() -> None:
    """Python takes away what handles signals, and then spends a while on clearing what it has imported."""
    program = """
import os, signal, types
from dupwatchd.cluster import programs

class Late:
    def __del__(self, kill=os.kill, itself=os.getpid(), number=signal.SIGTERM):
        kill(itself, number)

late = Late()
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
programs._run(types.SimpleNamespace(main=lambda *_, **__: None), [], "a program")
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_a_scheduler_check_says_so_at_once() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    began = time.monotonic()
    done = check(address=address)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == f"dupwatchd: no scheduler at {address}: connection refused\n"
    assert time.monotonic() - began < 10


def test_a_port_that_is_taken_is_one_line(nodes: Nodes) -> None:
    nodes.start(["one"])
    _, _, port = nodes.address.rpartition(":")
    for command, where in (("scheduler", nodes.address), ("worker", f"port {port}")):
        words = [command, "--address", nodes.address, *(("--port", port) if command == "worker" else ())]
        done = subprocess.run([*COMMAND, "cluster", *words], capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.decode() == f"dupwatchd: cannot listen at {where}: Address already in use\n"


def test_a_worker_says_what_it_waits_for_and_joins_the_scheduler_that_comes(tmp_path: Path) -> None:
    with Nodes(tmp_path) as nodes:
        nodes.start_worker("early")
        until(lambda: "waiting for" in nodes.log("early"))
        assert nodes.log("early") == f"dupwatchd: waiting for the scheduler at {nodes.address}: connection refused\n"
        nodes.start(["early"])


@pytest.mark.parametrize("command", ["scheduler", "worker", "check"])
def test_a_command_that_lacks_an_address_is_wrong_usage(command: str) -> None:
    done = subprocess.run([*COMMAND, "cluster", command], capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("dupwatchd: no cluster is named: set cluster.scheduler, or give --address")
