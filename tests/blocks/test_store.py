import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dupwatchd.arrays import Thumbnails
from dupwatchd.blocks import store
from dupwatchd.blocks.store import thumbnail_digest, thumbnail_store
from dupwatchd.errors import DamagedStateError


def some(count: int, seed: int = 0, side: int = 16) -> Thumbnails:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def test_what_was_written_is_read_back_in_any_order_across_blocks(tmp_path: Path) -> None:
    blocks = thumbnail_store(str(tmp_path), 16)
    slots = [0, 5, store.SLOTS_PER_BLOCK - 1, store.SLOTS_PER_BLOCK, 3 * store.SLOTS_PER_BLOCK + 7]
    thumbnails = some(len(slots))
    blocks.write(slots, thumbnails)
    blocks.sync()
    order = [3, 0, 4, 2, 1, 0]
    for reader in (blocks, thumbnail_store(str(tmp_path), 16)):
        assert (reader.read([slots[i] for i in order]) == thumbnails[order]).all()


def test_a_slot_can_be_written_again_and_its_neighbours_stay(tmp_path: Path) -> None:
    blocks = thumbnail_store(str(tmp_path), 16)
    blocks.write([0, 1, 2], some(3))
    assert (blocks.read([1]) == some(3)[1]).all()
    blocks.write([1, 9], some(2, seed=1))
    assert (blocks.read([0, 1, 2, 9]) == np.stack([some(3)[0], *some(2, 1)[:1], some(3)[2], some(2, 1)[1]])).all()


def test_a_missing_or_short_block_says_what_to_do(tmp_path: Path) -> None:
    blocks = thumbnail_store(str(tmp_path), 16)
    blocks.write([0, 1], some(2))
    with pytest.raises(DamagedStateError, match="too short; run `dupwatchd check --repair`"):
        blocks.read([2])
    with pytest.raises(DamagedStateError, match=r"is missing.*check --repair"):
        blocks.read([store.SLOTS_PER_BLOCK])
    (tmp_path / "000000.thumbnails").write_bytes(b"")
    with pytest.raises(DamagedStateError, match="check --repair"):
        thumbnail_store(str(tmp_path), 16).read([0])


def test_the_digest_tells_any_two_thumbnails_apart() -> None:
    one = some(1)[0]
    other = one.copy()
    other[7, 7, 1] ^= 1
    assert thumbnail_digest(one) == thumbnail_digest(one.copy())
    assert thumbnail_digest(one) != thumbnail_digest(other)


def test_nothing_is_read_for_nothing(tmp_path: Path) -> None:
    assert thumbnail_store(str(tmp_path), 16).read([]).shape == (0, 16, 16, 3)


def test_what_is_written_can_be_read_at_once_while_other_threads_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SLOTS_PER_BLOCK", 8)
    monkeypatch.setattr(store, "_MAPS", 2)  # so that readers drop each other's maps
    blocks = thumbnail_store(str(tmp_path), 16)
    thumbnails = some(600)
    blocks.write([0], thumbnails[:1])
    written = 1  # slots, like rows that are committed
    done = threading.Event()

    def read(seed: int) -> None:
        random = np.random.default_rng(seed)
        while not done.is_set():
            slots = [written - 1, *random.integers(0, written, 3).tolist()]
            assert (blocks.read(slots) == thumbnails[slots]).all()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(3) as pool:
            readers = [pool.submit(read, seed) for seed in range(3)]
            for slot in range(1, len(thumbnails)):
                blocks.write([slot], thumbnails[slot : slot + 1])
                written = slot + 1
            done.set()
    finally:
        sys.setswitchinterval(interval)
        done.set()
    for reader in readers:
        reader.result()


def test_a_block_that_grows_while_it_is_being_mapped_is_not_taken_for_too_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = thumbnail_store(str(tmp_path), 16)
    thumbnails = some(2)
    blocks.write([0], thumbnails[:1])
    mapping, written = threading.Event(), threading.Event()
    mapped = np.memmap

    def map_slowly(*arguments: object, **options: object) -> object:
        mapping.set()
        written.wait(0.3)  # with the lock the writer has to wait for us
        return mapped(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(np, "memmap", map_slowly)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(blocks.read, [0])
        assert mapping.wait(10)
        blocks.write([1], thumbnails[1:])
        written.set()
        assert (reading.result() == thumbnails[:1]).all()
    assert (blocks.read([0, 1]) == thumbnails).all()
