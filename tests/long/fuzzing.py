"""Noise on the sockets and in files, for as long as one likes.

    python -m tests.long.fuzzing sockets --seconds 3600
    python -m tests.long.fuzzing decoders --seconds 3600 --seed 7

Ends with an error as soon as something does not hold, see `tests/fuzzing.py`; the same seed says the same again.
What is said on sockets is said by many users, which takes root: one alone would be turned away.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dupwatchd.index.pool import DecodeLimits, WorkerPool
from tests.bench.report import Report
from tests.conftest import encoded, photo_like
from tests.fuzzing import fuzz_decoders, fuzz_socket
from tests.system.service import Service
from tests.system.test_damage import children_of

_REPORT = Report("Noise")
_USERS = range(20_000, 21_000)
_UNTIL_ALL_IS_LOADED = 1000  # files


def main() -> None:
    arguments = _arguments()
    noise, ends = random.Random(arguments.seed), time.monotonic() + arguments.seconds
    with tempfile.TemporaryDirectory(prefix="dw") as folder:
        {"sockets": _sockets, "decoders": _decoders}[arguments.what](
            Path(folder), noise, lambda _count: time.monotonic() >= ends
        )


def _sockets(folder: Path, noise: random.Random, is_over: Callable[[int], bool]) -> None:
    if os.geteuid() != 0:
        sys.exit("only root can say it as many users")
    folder.chmod(0o711)
    root = folder / "root"
    root.mkdir()
    for number in range(20):
        (root / f"{number}.jpg").write_bytes(encoded(photo_like(number // 2, 320, 240), quality=70 + number))
    with Service(folder / "s", root) as service:
        service.settled()
        before_mb = _memory_mb(service.process.pid)
        counted = fuzz_socket(service, noise, is_over, _USERS)
        after_mb = _memory_mb(service.process.pid)
        _REPORT.say(
            f"{counted['messages']:,} messages and {counted['streams']:,} streams, {counted['replies']:,} replies; the "
            f"slowest answer to another client {counted['slowest_ms']} ms; {before_mb} MB before, {after_mb} MB after"
        )


def _decoders(folder: Path, noise: random.Random, is_over: Callable[[int], bool]) -> None:
    with WorkerPool(2, 32, DecodeLimits(decode_seconds=10, memory_mb=400)) as pool:
        counted = fuzz_decoders(folder / "begin", noise, lambda count: count >= _UNTIL_ALL_IS_LOADED, pool)
        before_mb = _memory_of_workers_mb()
        counted += fuzz_decoders(folder / "files", noise, is_over, pool)
        after_mb = _memory_of_workers_mb()
    told = ", ".join(f"{count:,} {what}" for what, count in counted.most_common())
    _REPORT.say(f"{counted.total():,} files: {told}; workers had {before_mb} MB before, {after_mb} MB after")


def _memory_of_workers_mb() -> list[int]:
    return [_memory_mb(pid) for server in children_of(os.getpid()) for pid in children_of(server)]


def _memory_mb(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1_000_000


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("sockets", "decoders"))
    parser.add_argument("--seconds", type=float, default=3600, metavar="S", help="how long [default: 3600]")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="another one says something else [default: 1]")
    return parser.parse_args()


if __name__ == "__main__":
    main()
