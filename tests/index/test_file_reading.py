import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from dupwatchd.index.file_reading import PIECE_BYTES, read_file, read_to_end
from dupwatchd.index.messages import NotRead, ReadFile
from dupwatchd.model import ReadStatus
from tests.index.fuse import ShortReadingFiles, can_mount_fuse


def nothing() -> None: ...


def short_reads(content: bytes, most: list[int]) -> Callable[[int], bytes]:
    """Reads ``content``, but in turn no more than each of ``most`` bytes at once."""
    stream = io.BytesIO(content)
    turn = iter(most * (len(content) + 2))
    return lambda count: stream.read(min(count, next(turn)))


@settings(deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(0, 400))
def test_short_reads_give_everything_up_to_one_byte_more_than_expected(
    content: bytes, most: list[int], expected_bytes: int
) -> None:
    assert read_to_end(short_reads(content, most), expected_bytes, nothing) == content[: expected_bytes + 1]


def test_a_file_longer_than_a_piece_shows_life_after_each_piece(tmp_path: Path) -> None:
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(2 * PIECE_BYTES + 5)
    pieces: list[None] = []
    result, content = read_file(os.fsencode(path), 100, lambda: pieces.append(None))
    assert isinstance(result, ReadFile)
    assert len(content) == 2 * PIECE_BYTES + 5
    assert len(pieces) == 3


@pytest.mark.skipif(not can_mount_fuse(), reason="needs the right to mount a FUSE file system")
@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 100_000, PIECE_BYTES + 77_777])
def test_a_fuse_file_system_that_reads_short_gives_the_whole_file(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    with ShortReadingFiles(tmp_path, {b"a.bin": content}, most_bytes=50_001 if size > 1 << 20 else 4001) as files:
        path = os.fsencode(tmp_path / "a.bin")
        if size > 4096:
            descriptor = os.open(path, os.O_RDONLY)
            assert 0 < len(os.read(descriptor, size + 1)) < size  # else this test would show nothing
            os.close(descriptor)
        result, read = read_file(path, 100, nothing)
    assert isinstance(result, ReadFile)
    assert (result.digest, result.stamp.size_bytes) == (blake3(content).digest(), size)
    assert read == content
    assert files.reads > size // 60_000


@pytest.mark.skipif(not can_mount_fuse(), reason="needs the right to mount a FUSE file system")
def test_a_file_that_always_ends_before_its_size_is_unreadable(tmp_path: Path) -> None:
    with ShortReadingFiles(tmp_path, {b"a.bin": b"x" * 9000}, most_bytes=4001, missing_bytes=10):
        result, read = read_file(os.fsencode(tmp_path / "a.bin"), 100, nothing)
    assert isinstance(result, NotRead)
    assert (result.status, read) == (ReadStatus.UNREADABLE, b"")
    assert result.error == "it holds other than the 9000 bytes that the file system says"


def test_a_file_of_proc_whose_size_is_said_to_be_zero_is_unreadable() -> None:
    result, read = read_file(b"/proc/version", 100, nothing)
    assert isinstance(result, NotRead)
    assert (result.status, read) == (ReadStatus.UNREADABLE, b"")
    assert result.error == "it holds other than the 0 bytes that the file system says"
