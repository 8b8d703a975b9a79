import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dupwatchd.arrays import Thumbnails
from dupwatchd.blocks import store
from dupwatchd.blocks.store import (
    CheckedThumbnails,
    DescriptorStore,
    as_digests,
    thumbnail_digest,
    thumbnail_store,
)
from dupwatchd.errors import DamagedBlocksError


def some(count: int, seed: int = 0, side: int = 16) -> Thumbnails:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def test_what_was_written_is_read_back_in_any_order_across_blocks(tmp_path: Path) -> None:
    blocks = thumbnail_store(str(tmp_path), 16)
    slots = [0, 5, store.SLOTS_PER_BLOCK - 1, store.SLOTS_PER_BLOCK, 3 * store.SLOTS_PER_BLOCK + 7]
    thumbnails = some(len(slots))
    blocks.extend(slots[-1] + 1)
    blocks.write(slots, thumbnails)
    blocks.sync()
    order = [3, 0, 4, 2, 1, 0]
    for reader in (blocks, thumbnail_store(str(tmp_path), 16)):
        assert (reader.read([slots[i] for i in order]) == thumbnails[order]).all()


def test_a_slot_can_be_written_again_and_its_neighbours_stay(tmp_path: Path) -> None:
    blocks = thumbnail_store(str(tmp_path), 16)
    blocks.write([0, 1, 2], some(3))
    assert (blocks.read([1]) == some(3)[1]).all()
    blocks.write([3, 1], some(2, seed=1)[::-1])
    assert (blocks.read([0, 1, 2, 3]) == np.stack([some(3)[0], *some(2, 1)[:1], some(3)[2], some(2, 1)[1]])).all()


def test_a_missing_or_short_block_says_what_to_do(tmp_path: Path) -> None:
    blocks = thumbnail_store(str(tmp_path), 16)
    blocks.write([0, 1], some(2))
    with pytest.raises(DamagedBlocksError, match="too short; run `dupwatchd check --repair`"):
        blocks.read([2])
    with pytest.raises(DamagedBlocksError, match=r"is missing.*check --repair"):
        blocks.read([store.SLOTS_PER_BLOCK])
    (tmp_path / "000000.thumbnails").write_bytes(b"")
    with pytest.raises(DamagedBlocksError, match="check --repair"):
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


@pytest.mark.parametrize("left_bytes", [0, 767, 768 * 2 + 100])
def test_a_block_cut_while_it_is_in_use_is_told_and_never_grows_over_the_gap(tmp_path: Path, left_bytes: int) -> None:
    blocks = thumbnail_store(str(tmp_path), 16)
    blocks.write([0, 1, 2, 3], some(4))
    assert (blocks.read([3]) == some(4)[3]).all()
    os.truncate(tmp_path / "000000.thumbnails", left_bytes)
    assert blocks.is_cut_short(4)
    for act in (lambda: blocks.read([3]), lambda: blocks.write([4], some(1)), lambda: blocks.write([6, 5], some(2))):
        with pytest.raises(DamagedBlocksError, match="check --repair"):
            act()
    assert (tmp_path / "000000.thumbnails").stat().st_size == left_bytes


def test_a_lost_block_is_told_before_and_while_it_is_read(tmp_path: Path) -> None:
    blocks = thumbnail_store(str(tmp_path), 16)
    blocks.write([0, store.SLOTS_PER_BLOCK], some(2))
    assert not blocks.is_cut_short(1)
    (tmp_path / "000000.thumbnails").unlink()
    assert blocks.is_cut_short(1)
    blocks.extend(store.SLOTS_PER_BLOCK + 1)
    blocks.sync()
    assert not blocks.is_cut_short(store.SLOTS_PER_BLOCK + 1)
    assert not blocks.read([0, 17, store.SLOTS_PER_BLOCK - 1]).any()
    assert (blocks.read([store.SLOTS_PER_BLOCK]) == some(2)[1]).all()
    (tmp_path / "000001.thumbnails").unlink()
    (tmp_path / "000001.thumbnails").mkdir()
    with pytest.raises(DamagedBlocksError, match="is a folder"):
        blocks.read([store.SLOTS_PER_BLOCK])


def test_a_thumbnail_that_differs_in_one_bit_is_not_given_out(tmp_path: Path) -> None:
    blocks, thumbnails = thumbnail_store(str(tmp_path), 16), some(5)
    blocks.write(range(5), thumbnails)
    digests = as_digests(map(thumbnail_digest, thumbnails))
    checked = CheckedThumbnails(blocks, lambda slots: digests[list(slots)])
    assert (checked.read([4, 0, 4]) == thumbnails[[4, 0, 4]]).all()
    with (tmp_path / "000000.thumbnails").open("r+b") as file:
        file.seek(2 * 768 + 70)
        file.write(bytes([thumbnails.reshape(5, -1)[2, 70] ^ 1]))
    assert (checked.read([1, 3]) == thumbnails[[1, 3]]).all()
    with pytest.raises(DamagedBlocksError, match="picture 2 is damaged"):
        checked.read([1, 2, 3])


def test_descriptors_tell_which_of_them_are_damaged_lost_or_of_another_picture(tmp_path: Path) -> None:
    descriptors = DescriptorStore(str(tmp_path), 32)
    values = np.random.default_rng(0).normal(size=(9, 32)).astype(np.float32)
    digests = np.arange(9, dtype=np.uint64) + 77
    descriptors.write(range(6), values[:6], digests[:6])
    descriptors.write([8], values[8:], digests[8:])
    path = tmp_path / "000000.descriptors"
    data = bytearray(path.read_bytes())
    data[3 * 33 * 4 + 5] ^= 64  # of the fourth
    data[5 * 33 * 4 - 1] ^= 1  # the checksum of the fifth
    path.write_bytes(data)
    digests[1] += 1  # the slot has been given to another picture
    found, sound = descriptors.read(range(9), digests)
    assert sound.tolist() == [True, False, True, False, False, True, False, False, True]
    assert (found[sound] == values[sound]).all()
    os.truncate(path, 2 * 33 * 4 + 50)
    assert descriptors.read(range(9), digests)[1].tolist() == [True, *[False] * 8]
    path.unlink()
    assert not descriptors.read([0, 5000], digests[:2])[1].any()
    descriptors.write([5], values[5:6], digests[5:6])
    assert descriptors.read(range(9), digests)[1].tolist() == [False] * 5 + [True] + [False] * 3
