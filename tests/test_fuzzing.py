"""A short piece of the noise of `tests.long.fuzzing`, the same each time."""

import random
from pathlib import Path

from dupwatchd.index.pool import DecodeLimits, WorkerPool
from tests.conftest import encoded, photo_like
from tests.fuzzing import fuzz_decoders, fuzz_socket
from tests.system.service import Service


def test_mutated_files_are_read_or_refused_with_a_line(tmp_path: Path) -> None:
    with WorkerPool(2, 32, DecodeLimits(decode_seconds=10, memory_mb=400)) as pool:
        counted = fuzz_decoders(tmp_path / "files", random.Random(1), lambda count: count >= 500, pool)
    assert counted["decoded"] > 50
    assert counted["failed"] > 50


def test_whatever_is_said_on_the_sockets_the_service_goes_on_and_answers_others(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for number in range(4):
        (root / f"{number}.jpg").write_bytes(encoded(photo_like(number // 2, 160, 120), quality=80 + number))
    with Service(tmp_path / "s", root) as service:
        service.settled()
        counted = fuzz_socket(service, random.Random(1), lambda count: count >= 400)
        assert counted["replies"] > 50
