import itertools
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3

from dupwatchd.index.chunks import CHUNK_FILES
from dupwatchd.index.pool import DecodeLimits, WorkerPool
from dupwatchd.model import FileId, Job, ReadStatus, Stamp
from tests.conftest import encoded, photo_like
from tests.index.files import Claims, index, job, jobs, png_of_zeros


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(2, 16, DecodeLimits(memory_mb=300)) as workers:
        yield workers


def write_photos(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{seed}.jpg" for seed in range(count)]
    for seed, path in enumerate(paths):
        path.write_bytes(encoded(photo_like(seed, 60, 40)))
    return paths


def test_a_photo_is_read_hashed_and_decoded(pool: WorkerPool, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(photo_like(1, 60, 40)))
    (outcome,) = pool.index([job(path, 7)], Claims())
    status = path.stat()
    assert outcome.job == job(path, 7)
    assert outcome.status is ReadStatus.DECODED
    assert outcome.stamp == Stamp(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)
    assert outcome.digest == blake3(path.read_bytes()).digest()
    assert outcome.decoded is not None
    assert outcome.decoded.thumbnail.shape == (16, 16, 3)
    assert (outcome.decoded.width, outcome.decoded.height, outcome.decoded.format) == (60, 40, "JPEG")
    assert outcome.error is None


def test_a_photo_that_is_read_in_spite_of_damage_says_so(pool: WorkerPool, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(photo_like(1, 60, 40))[:-2] + b"1" * 100 + b"\xff\xd9")
    outcome = index(pool, [tmp_path / "a.jpg"])[b"a.jpg"]
    assert outcome.status is ReadStatus.DECODED
    assert outcome.decoded is not None
    assert outcome.decoded.damage is not None
    assert "are not part of its picture" in outcome.decoded.damage


def test_a_copy_is_not_decoded(pool: WorkerPool, tmp_path: Path) -> None:
    content = encoded(photo_like(1, 60, 40))
    paths = [tmp_path / f"{n}.jpg" for n in range(50)]
    for path in paths:
        path.write_bytes(content)
    claims = Claims()
    outcomes = index(pool, paths, claims)
    assert sorted(o.status.name for o in outcomes.values()) == ["DECODED"] + ["KNOWN"] * 49
    assert all(o.digest == blake3(content).digest() and o.stamp for o in outcomes.values())
    assert len(claims.asked) == 50


def test_nothing_is_decoded_that_is_known(pool: WorkerPool, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xffbroken")
    outcomes = index(pool, [*write_photos(tmp_path, 40), tmp_path / "broken.jpg"], lambda job, digest: True)
    assert {o.status for o in outcomes.values()} == {ReadStatus.KNOWN}


def test_outcomes_do_not_depend_on_order_or_number_of_workers(tmp_path: Path) -> None:
    paths = write_photos(tmp_path, 70)
    (tmp_path / "text.jpg").write_text("no photo")
    (tmp_path / "text.txt").write_text("no photo, too")
    paths += [tmp_path / "text.jpg", tmp_path / "text.txt"]
    seen = []
    for workers in (1, 3):
        random.Random(workers).shuffle(paths)
        with WorkerPool(workers, 16, DecodeLimits()) as pool:
            outcomes = index(pool, paths)
        seen.append(
            {
                name: (o.status, o.digest, o.error, o.decoded and o.decoded.thumbnail.tobytes())
                for name, o in outcomes.items()
            }
        )
    assert seen[0] == seen[1]
    assert len(seen[0]) == 72


def test_a_pool_without_work_starts_no_process() -> None:
    with WorkerPool(2, 16, DecodeLimits()) as pool:
        assert list(pool.index([], Claims())) == []
        assert pool._fork_server is None


def test_a_pool_serves_many_runs_and_closes_twice(tmp_path: Path) -> None:
    paths = write_photos(tmp_path, 3)
    pool = WorkerPool(2, 16, DecodeLimits())
    for _ in range(3):
        assert {o.status for o in index(pool, paths).values()} == {ReadStatus.DECODED}
    pool.close()
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        next(pool.index(jobs(paths), Claims()))


def test_jobs_are_taken_only_as_they_are_needed(pool: WorkerPool, tmp_path: Path) -> None:
    paths = write_photos(tmp_path, 10)
    taken = 0

    def endless() -> Iterator[Job]:
        nonlocal taken
        for path in itertools.cycle(paths):
            taken += 1
            yield job(path, taken)

    outcomes = pool.index(endless(), Claims())
    for done in range(1, 500):
        next(outcomes)
        # Two chunks for each of two workers, and as many that have come back since.
        assert taken - done <= 2 * 4 * CHUNK_FILES + 1
    outcomes.close()


def test_a_generator_closed_early_leaves_a_pool_that_works(pool: WorkerPool, tmp_path: Path) -> None:
    paths = write_photos(tmp_path, 100)
    for _ in range(3):
        outcomes = pool.index(jobs(paths), Claims())
        next(outcomes)
        outcomes.close()
    assert len(index(pool, paths)) == 100


def test_an_error_in_known_reaches_the_caller_and_the_pool_lives_on(pool: WorkerPool, tmp_path: Path) -> None:
    paths = write_photos(tmp_path, 40)

    def broken(job: Job, digest: bytes) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(pool.index(jobs(paths), broken))
    assert len(index(pool, paths)) == 40


def test_one_run_at_a_time(pool: WorkerPool, tmp_path: Path) -> None:
    outcomes = pool.index(jobs(write_photos(tmp_path, 2)), Claims())
    next(outcomes)
    with pytest.raises(RuntimeError, match="already"):
        next(pool.index([], Claims()))
    outcomes.close()


@pytest.mark.parametrize("name", [b"caf\xe9.jpg", b"new\nline.jpg", b"\xff\xfe", "写真🙂.jpg".encode(), b"-rf *.jpg"])
def test_names_need_not_be_text(pool: WorkerPool, tmp_path: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)
    with open(path, "wb") as file:
        file.write(encoded(photo_like(1, 60, 40)))
    assert index(pool, [path])[name].status is ReadStatus.DECODED


def test_files_that_are_no_photos(pool: WorkerPool, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("just text")
    (tmp_path / "page.jpg").write_text("<html>")
    (tmp_path / "page.NEF").write_text("<html><body>")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "cut").write_bytes(encoded(photo_like(1, 60, 40))[:500])
    outcomes = index(pool, tmp_path.iterdir())
    told = {name: (o.status.name, o.error) for name, o in outcomes.items()}
    assert told == {
        b"notes.txt": ("NOT_A_PICTURE", "not an image (text)"),
        b"page.jpg": ("NOT_A_PICTURE", "not an image (HTML text)"),
        b"page.NEF": ("NOT_A_PICTURE", "not an image (HTML text)"),
        b"empty.jpg": ("FAILED", "zero bytes"),
        b"cut": ("FAILED", "truncated JPEG"),
    }
    assert all(o.digest and o.stamp for o in outcomes.values())


def test_what_is_not_a_regular_file_is_not_read(pool: WorkerPool, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(encoded(photo_like(1, 60, 40)))
    (tmp_path / "link.jpg").symlink_to(photo)
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "fifo.jpg")
    told = {name: (o.status.name, o.error) for name, o in index(pool, tmp_path.iterdir()).items()}
    assert told == {
        b"photo.jpg": ("DECODED", None),
        b"link.jpg": ("UNREADABLE", "a symbolic link"),
        b"dangling.jpg": ("UNREADABLE", "a symbolic link"),
        b"folder.jpg": ("UNREADABLE", "not a regular file"),
        b"fifo.jpg": ("UNREADABLE", "not a regular file"),
    }


def test_a_file_that_is_gone_has_vanished(pool: WorkerPool, tmp_path: Path) -> None:
    paths = write_photos(tmp_path, 4)
    below = Job(FileId(9), os.fsencode(paths[1] / "below.jpg"), Stamp(1, 1, 1, 1))  # a folder became a file
    todo = [*jobs(paths), below]
    paths[0].unlink()
    outcomes = {o.job.path: o for o in pool.index(todo, Claims())}
    assert outcomes[os.fsencode(paths[0])].status is ReadStatus.VANISHED
    assert outcomes[below.path].status is ReadStatus.VANISHED
    assert outcomes[os.fsencode(paths[2])].status is ReadStatus.DECODED


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_unreadable(pool: WorkerPool, tmp_path: Path) -> None:
    (path,) = write_photos(tmp_path, 1)
    path.chmod(0)
    outcome = index(pool, [path])[b"0.jpg"]
    assert (outcome.status, outcome.error) == (ReadStatus.UNREADABLE, "permission denied")


def test_a_file_that_is_too_big_is_not_read(tmp_path: Path) -> None:
    for name in ("photo.tif", "film.mp4"):
        with (tmp_path / name).open("wb") as file:
            file.truncate((1 << 20) + 1)
    claims = Claims()
    with WorkerPool(1, 16, DecodeLimits(max_file_mb=1)) as pool:
        outcomes = index(pool, tmp_path.iterdir(), claims)
    photo, film = outcomes[b"photo.tif"], outcomes[b"film.mp4"]
    assert (photo.status, photo.error) == (ReadStatus.UNREADABLE, "larger than max_file_mb = 1")
    assert film.status is ReadStatus.NOT_A_PICTURE
    assert photo.stamp is not None
    assert claims.asked == []


def test_a_file_replaced_while_it_is_read_gives_one_content_or_the_other(pool: WorkerPool, tmp_path: Path) -> None:
    contents = [encoded(photo_like(seed, 400, 300 + seed * 100)) for seed in (0, 1)]
    path, other = tmp_path / "a.jpg", tmp_path / "b"
    path.write_bytes(contents[0])
    digests = {blake3(content).digest(): len(content) for content in contents}
    stop = threading.Event()

    def replace() -> None:
        for content in itertools.cycle(contents):
            if stop.is_set():
                return
            other.write_bytes(content)
            other.rename(path)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for outcome in pool.index((job(path, n) for n in range(150)), lambda job, digest: True):
            assert outcome.status in (ReadStatus.KNOWN, ReadStatus.CHANGED)
            if outcome.status is ReadStatus.KNOWN:
                assert outcome.digest is not None
                assert outcome.stamp is not None
                assert outcome.stamp.size_bytes == digests[outcome.digest]
    finally:
        stop.set()
        writer.join()


def test_a_file_that_grows_all_the_time_has_changed_or_was_whole_for_a_moment(pool: WorkerPool, tmp_path: Path) -> None:
    path = tmp_path / "growing.jpg"
    path.write_bytes(b"x" * 1_000_000)
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.is_set():
                file.write(b"x" * 1000)
                if file.tell() > 20_000_000:
                    file.truncate(1_000_000)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        seen: set[ReadStatus] = set()
        outcomes = pool.index((job(path, number) for number in itertools.count()), lambda job, digest: True)
        while ReadStatus.CHANGED not in seen:  # it will be caught in the middle of a change sooner or later
            outcome = next(outcomes)
            seen.add(outcome.status)
            if outcome.status is ReadStatus.KNOWN:
                assert outcome.stamp is not None
                assert outcome.digest == blake3(b"x" * outcome.stamp.size_bytes).digest()
            else:
                assert outcome.status is ReadStatus.CHANGED
                assert outcome.digest is None
        outcomes.close()
    finally:
        stop.set()
        writer.join()


def test_a_big_file_is_read_in_pieces(pool: WorkerPool, tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(40_000_001)
    (tmp_path / "big.bin").write_bytes(content)
    outcome = index(pool, [tmp_path / "big.bin"])[b"big.bin"]
    assert outcome.digest == blake3(content).digest()
    assert outcome.status is ReadStatus.NOT_A_PICTURE


def test_big_and_small_files_go_together(pool: WorkerPool, tmp_path: Path) -> None:
    paths = write_photos(tmp_path, 60)
    for number in range(3):
        (tmp_path / f"big{number}.bin").write_bytes(bytes([number]) * 17_000_000)
        (tmp_path / f"half{number}.bin").write_bytes(bytes([number]) * 3_000_000)
    assert len(index(pool, tmp_path.iterdir())) == len(paths) + 6


def test_a_photo_within_the_memory_limit_is_decoded(pool: WorkerPool, tmp_path: Path) -> None:
    (tmp_path / "black.png").write_bytes(png_of_zeros(4000, 3000))
    outcome = index(pool, [tmp_path / "black.png"])[b"black.png"]
    assert outcome.status is ReadStatus.DECODED
