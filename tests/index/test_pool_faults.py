"""What the pool does when a worker dies, hangs, grows, or is left alone."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from dupwatchd.errors import DupwatchError
from dupwatchd.index import pool as pool_module
from dupwatchd.index import worker_connection
from dupwatchd.index.chunks import CHUNK_FILES
from dupwatchd.index.pool import DecodeLimits, WorkerPool
from dupwatchd.model import Job, ReadStatus
from tests.conftest import encoded, photo_like
from tests.index.files import Claims, apng_crasher, index, jobs, png_of_zeros
from tests.index.fuse import ShortReadingFiles, can_mount_fuse

# What a worker does is the same whoever starts the fork server; where that one is killed or ended, it starts by itself.
QUICK = pytest.mark.usefixtures("quick_decoders")


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def photos(folder: Path, count: int, width: int = 60) -> list[Path]:
    paths = [folder / f"{seed}.jpg" for seed in range(count)]
    for seed, path in enumerate(paths):
        path.write_bytes(encoded(photo_like(seed, width, width)))
    return paths


class Strike(Claims):
    """A `known` that sends a signal to all workers when it is asked for the n-th time: they are about to decode."""

    def __init__(self, pool: WorkerPool, number: int, when: int = 1) -> None:
        super().__init__()
        self._pool, self._signal, self._when = pool, number, when

    def __call__(self, job: Job, digest: bytes) -> bool:
        answer = super().__call__(job, digest)
        if len(self.asked) == self._when:
            for worker in self._pool._workers:
                os.kill(worker.pid, self._signal)
        return answer


@contextmanager
def every_worker_gets(pool: WorkerPool, number: int, *, decoding: bool) -> Iterator[None]:
    """Sends a signal to each worker as soon as it reads, or decodes."""
    stop = threading.Event()

    def hunt() -> None:
        struck: set[int] = set()
        while not stop.is_set():
            for worker in list(pool._workers):
                owed = worker.owed[0] if worker.owed else None
                if owed and owed.chunk and bool(owed.undecoded) == decoding and worker.pid not in struck:
                    struck.add(worker.pid)
                    os.kill(worker.pid, number)
            time.sleep(0.001)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        yield
    finally:
        stop.set()
        hunter.join()


@QUICK
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path, number: int) -> None:
    paths = photos(tmp_path, 60)
    with WorkerPool(2, 16, DecodeLimits()) as pool:
        for when in (1, 5, 40):
            known = Strike(pool, number, when)
            outcomes = index(pool, paths, known)
            assert {o.status for o in outcomes.values()} == {ReadStatus.DECODED}
            assert len(outcomes) == 60
            assert len(known.asked) == 60  # a claim holds although its file is read again


@QUICK
def test_copies_stay_known_although_their_worker_dies(tmp_path: Path) -> None:
    content = encoded(photo_like(1, 60, 60))
    for number in range(30):
        (tmp_path / f"{number}.jpg").write_bytes(content)
    with WorkerPool(1, 16, DecodeLimits()) as pool:
        known = Strike(pool, signal.SIGSEGV, 10)
        outcomes = index(pool, tmp_path.iterdir(), known)
    assert sorted(o.status.name for o in outcomes.values()) == ["DECODED"] + ["KNOWN"] * 29
    assert len(known.asked) == 30


@QUICK
@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGSEGV, "the decoder crashed (SIGSEGV)"),
        (signal.SIGKILL, "the decoder was killed (SIGKILL)"),
        (signal.SIGRTMIN + 6, "the decoder crashed (SIGRTMIN+6)"),
        (signal.SIGSTOP, "decoding took longer than 0.7 s"),
    ],
)
def test_a_file_whose_decoder_always_fails_is_failed_with_the_reason(tmp_path: Path, number: int, reason: str) -> None:
    (tmp_path / "slow.png").write_bytes(png_of_zeros(5000, 4000))  # 0.3 s, time enough to be hit
    claims = Claims()
    with WorkerPool(2, 16, DecodeLimits(decode_seconds=0.7)) as pool, every_worker_gets(pool, number, decoding=True):
        outcome = index(pool, [tmp_path / "slow.png"], claims)[b"slow.png"]
    assert (outcome.status, outcome.error) == (ReadStatus.FAILED, reason)
    assert outcome.digest == claims.asked[0]
    assert outcome.stamp is not None
    assert len(claims.asked) == 1


@QUICK
def test_a_hanging_decoder_is_replaced(tmp_path: Path) -> None:
    paths = photos(tmp_path, 40)
    with WorkerPool(2, 16, DecodeLimits(decode_seconds=0.5)) as pool:
        outcomes = index(pool, paths, Strike(pool, signal.SIGSTOP))
    assert {o.status for o in outcomes.values()} == {ReadStatus.DECODED}


@QUICK
def test_a_hanging_reader_is_replaced(tmp_path: Path) -> None:
    paths = photos(tmp_path, 20)
    with WorkerPool(1, 16, DecodeLimits(decode_seconds=0.5)) as pool:
        index(pool, paths)
        os.kill(pool._workers[0].pid, signal.SIGSTOP)
        outcomes = index(pool, paths)
    assert {o.status for o in outcomes.values()} == {ReadStatus.DECODED}


@QUICK
@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGBUS, "the reader crashed (SIGBUS)"), (signal.SIGSTOP, "reading took longer than 0.7 s")],
)
def test_a_file_that_cannot_be_read_in_time_is_unreadable(tmp_path: Path, number: int, reason: str) -> None:
    with (tmp_path / "slow.jpg").open("wb") as file:
        file.truncate(300 << 20)  # 0.2 s, time enough to be hit
    claims = Claims()
    with WorkerPool(2, 16, DecodeLimits(decode_seconds=0.7)) as pool, every_worker_gets(pool, number, decoding=False):
        outcome = index(pool, [tmp_path / "slow.jpg"], claims)[b"slow.jpg"]
    assert (outcome.status, outcome.error) == (ReadStatus.UNREADABLE, reason)
    assert (outcome.digest, outcome.stamp, claims.asked) == (None, None, [])


@QUICK
def test_other_files_go_on_while_one_hangs(tmp_path: Path) -> None:
    paths = photos(tmp_path, 200)
    with WorkerPool(2, 16, DecodeLimits()) as pool:  # 30 s of patience, so that only files of the other worker come out
        hanging: list[int] = []
        claims = Claims()

        def known(job: Job, digest: bytes) -> bool:
            if not hanging:
                hanging.append(pool._workers[0].pid)
                os.kill(hanging[0], signal.SIGSTOP)
            return claims(job, digest)

        outcomes = pool.index(jobs(paths), known)
        # The stopped worker may have two chunks; all other files are done by the other one.
        done = [next(outcomes) for _ in range(200 - 2 * CHUNK_FILES)]
        assert {outcome.status for outcome in done} == {ReadStatus.DECODED}
        assert pool._workers[0].pid == hanging[0]  # the pool still waits for it
        os.kill(hanging[0], signal.SIGCONT)
        assert {outcome.status for outcome in outcomes} == {ReadStatus.DECODED}


@QUICK
@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("WEBP", {"quality": 10, "method": 0}), ("WEBP", {"lossless": True, "method": 0})],
)
def test_a_picture_that_needs_too_much_memory_fails_alone(
    tmp_path: Path, kind: str, options: dict[str, object]
) -> None:
    bomb_path = tmp_path / f"bomb.{kind}"
    bomb_path.write_bytes(encoded(np.zeros((6000, 6000, 3), np.uint8), kind, **options))
    photos(tmp_path, 20)
    with WorkerPool(1, 16, DecodeLimits(memory_mb=60)) as pool:
        outcomes = index(pool, tmp_path.iterdir())
    bomb = outcomes.pop(os.fsencode(bomb_path.name))
    assert (bomb.status, bomb.error) == (ReadStatus.FAILED, "decoding needs more than 60 MB")
    assert bomb.digest is not None
    assert {o.status for o in outcomes.values()} == {ReadStatus.DECODED}


@QUICK
def test_a_file_that_does_not_fit_into_memory_is_unreadable(tmp_path: Path) -> None:
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(200 << 20)
    with WorkerPool(1, 16, DecodeLimits(memory_mb=60)) as pool:
        outcome = index(pool, [tmp_path / "huge.jpg"])[b"huge.jpg"]
    assert (outcome.status, outcome.error) == (ReadStatus.UNREADABLE, "reading needs more than 60 MB")


@QUICK
def test_the_apng_that_kills_opencv_disturbs_nobody(tmp_path: Path) -> None:
    photos(tmp_path, 20)
    (tmp_path / "crash.png").write_bytes(apng_crasher())
    with WorkerPool(2, 16, DecodeLimits()) as pool:
        assert {o.status for o in index(pool, tmp_path.iterdir()).values()} == {ReadStatus.DECODED}


@QUICK
def test_a_claim_is_void_if_the_file_changes_before_the_second_try(tmp_path: Path) -> None:
    (path,) = photos(tmp_path, 1)
    asked: list[bytes] = []
    with WorkerPool(1, 16, DecodeLimits()) as pool:

        def known(job: Job, digest: bytes) -> bool:
            asked.append(digest)
            if len(asked) == 1:
                os.kill(pool._workers[0].pid, signal.SIGKILL)
                path.write_bytes(encoded(photo_like(99, 60, 60)))
            return False

        outcome = index(pool, [path], known)[b"0.jpg"]
    assert len(set(asked)) == 2
    assert outcome.status is ReadStatus.DECODED
    assert outcome.digest == asked[1]


def test_a_fork_server_that_dies_is_replaced(tmp_path: Path) -> None:
    paths = photos(tmp_path, 60)
    with WorkerPool(2, 16, DecodeLimits()) as pool:
        claims = Claims()

        def known(job: Job, digest: bytes) -> bool:
            if len(claims.asked) == 20:
                assert pool._fork_server is not None
                os.kill(pool._fork_server._process.pid, signal.SIGKILL)
            return claims(job, digest)

        outcomes = index(pool, paths, known)
        assert {o.status for o in outcomes.values()} == {ReadStatus.DECODED}
        assert len(index(pool, paths)) == 60


@QUICK
def test_workers_are_replaced_before_they_grow_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_connection, "FILES_PER_WORKER", 20)
    paths = photos(tmp_path, 100)
    seen = set()
    with WorkerPool(1, 16, DecodeLimits()) as pool:
        for _ in pool.index(jobs(paths), Claims()):
            seen |= {worker.pid for worker in pool._workers}
    assert len(seen) >= 3


def test_workers_hear_no_signals_that_are_meant_for_the_service(tmp_path: Path) -> None:
    paths = photos(tmp_path, 30)
    with WorkerPool(2, 16, DecodeLimits()) as pool:
        index(pool, paths)
        assert pool._fork_server is not None
        before = [worker.pid for worker in pool._workers]
        for pid in [*before, pool._fork_server._process.pid]:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(pid, number)
        assert len(index(pool, paths)) == 30
        assert [worker.pid for worker in pool._workers] == before


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(number) for number in file.read().split()]


def index_often(pool: WorkerPool, paths: list[Path]) -> None:
    """On a busy machine some workers are done before anybody can kill them."""
    for _ in range(50):
        index(pool, paths)


def test_workers_that_die_at_birth_for_a_while_stop_indexing_only_for_that_while(tmp_path: Path) -> None:
    paths = photos(tmp_path, 20)
    with WorkerPool(1, 16, DecodeLimits()) as pool:
        index(pool, paths[:1])
        assert pool._fork_server is not None
        server = pool._fork_server._process.pid
        stop = threading.Event()

        def kill_newborns() -> None:
            while not stop.is_set():
                for pid in children_of(server):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill_newborns)
        killer.start()
        try:
            with pytest.raises(DupwatchError, match="die as soon as they start"):
                index_often(pool, paths)
        finally:
            stop.set()
            killer.join()
        assert {o.status for o in index(pool, paths).values()} == {ReadStatus.DECODED}


@QUICK
@pytest.mark.skipif(not can_mount_fuse(), reason="no right to mount a FUSE file system")
def test_workers_that_cannot_be_killed_count_no_longer_once_their_disk_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "MAX_STUCK_WORKERS", 2)
    contents = {b"%d.jpg" % seed: encoded(photo_like(seed, 60, 60)) for seed in range(3)}
    paths = [tmp_path / os.fsdecode(name) for name in contents]
    with (
        ShortReadingFiles(tmp_path, contents, 1 << 20) as disk,
        WorkerPool(1, 16, DecodeLimits(decode_seconds=0.3)) as pool,
    ):
        disk.hold()
        try:
            for _ in range(2):
                with pytest.raises(DupwatchError, match="2 processes hang in reading"):
                    index(pool, paths)
        finally:
            disk.let_go()
        wait_until(lambda: pool._count_stuck_workers() == 0)
        assert {o.status for o in index(pool, paths).values()} == {ReadStatus.DECODED}


@QUICK
def test_an_idle_worker_that_was_killed_leaves_no_zombie(tmp_path: Path) -> None:
    paths = photos(tmp_path, 20)
    with WorkerPool(2, 16, DecodeLimits()) as pool:
        index(pool, paths)
        killed = [worker.pid for worker in pool._workers]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in killed))
        assert {o.status for o in index(pool, paths).values()} == {ReadStatus.DECODED}


def test_closing_leaves_no_process_behind(tmp_path: Path) -> None:
    pool = WorkerPool(3, 16, DecodeLimits())
    index(pool, photos(tmp_path, 60))
    assert pool._fork_server is not None
    pids = [worker.pid for worker in pool._workers] + [pool._fork_server._process.pid]
    assert len(pids) == 4
    pool.close()
    wait_until(lambda: not any(map(is_alive, pids)))


SERVICE = """
import sys, time
from dupwatchd.index.pool import DecodeLimits, WorkerPool
from dupwatchd.model import FileId, Job, Stamp
pool = WorkerPool(2, 16, DecodeLimits())
def known(job, digest):
    if len(pool._workers) == 2 and all(one.owed and one.owed[0].chunk for one in pool._workers):
        print(pool._fork_server._process.pid, *(worker.pid for worker in pool._workers), flush=True)
        time.sleep(100)
    return False
list(pool.index((Job(FileId(n), sys.argv[1].encode(), Stamp(1, 1, 1, 1)) for n in range(100)), known))
"""


def test_kill_9_of_the_service_leaves_no_process_behind(tmp_path: Path) -> None:
    (path,) = photos(tmp_path, 1)
    with subprocess.Popen([sys.executable, "-c", SERVICE, str(path)], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        pids = [int(pid) for pid in service.stdout.readline().split()]
        assert len(pids) == 3
        assert all(map(is_alive, pids))
        os.kill(pids[2], signal.SIGSTOP)  # not even one that cannot notice
        service.kill()
    wait_until(lambda: not any(map(is_alive, pids)))


def test_workers_do_not_import_the_main_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("open('imported', 'a').write('x')\n" + SERVICE.replace("time.sleep(100)", "sys.exit()"))
    (path,) = photos(tmp_path, 1)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run(
        [sys.executable, program, path], cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL
    )
    assert (tmp_path / "imported").read_text() == "x"
