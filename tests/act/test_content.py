"""The digest of a file is that of all its bytes, however large it is."""

import os
import random
from pathlib import Path

import pytest
from blake3 import blake3

from dupwatch.act.content import digest_of

MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, 4096, MIB - 1, MIB, MIB + 1, 3 * MIB + 7])
def test_the_digest_is_of_the_whole_file_wherever_it_was_read_before(tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    (tmp_path / "file").write_bytes(data)
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        os.read(descriptor, size // 2)
        assert digest_of(descriptor) == digest_of(descriptor) == blake3(data).digest()
    finally:
        os.close(descriptor)
