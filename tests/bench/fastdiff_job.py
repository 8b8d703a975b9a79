"""One job of fast-diff-py, of difPy, or of our interface of either, and what it took, as JSON.

    PYTHON tests/bench/fastdiff_job.py MODULE WORK DIR-A... -- DIR-B...

MODULE is `fast_diff_py` or `dupwatchd.compat.fastdiff`, `difPy` or `dupwatchd.compat.difpy`: the code is the same for
both of a kind. The first kind compares two partitions, with rotation, 64 px and a threshold of 200; the second knows no
partitions, and compares all files of both, with rotation, 64 px and what it calls "similar". `fastdiff_scaling` starts
it with the interpreter that has the program; so it imports nothing else of ours.
"""

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

Pairs = list[tuple[str, str]]


def _cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class Steps:
    """What each step of a job took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}

    def take(self, name: str, step: Callable[[], Any]) -> Any:
        """What the step gives."""
        started, used = time.monotonic(), _cpu_seconds()
        given = step()
        self.seconds[name], self.cpu_seconds[name] = time.monotonic() - started, _cpu_seconds() - used
        return given


def partitions_compared(library: Any, work: str, a: list[str], b: list[str], steps: Steps) -> tuple[Pairs, int]:
    """The pairs that fast-diff-py finds, and the bytes that it keeps on disk."""
    job = library.FastDifPy(config=library.Config(part_a=a, part_b=b), purge=True, workdir=work)
    for name, step in (("index", job.full_index), ("read", job.first_loop), ("compare", job.second_loop)):
        steps.take(name, step)
    job.commit()
    pairs = [(str(one), str(other)) for one, other, _ in job.get_diff_pairs()]
    kept = sum(os.path.getsize(os.path.join(top, name)) for top, _, names in os.walk(work) for name in names)
    job.cleanup()
    return pairs, kept


def all_compared(library: Any, a: list[str], b: list[str], steps: Steps) -> Pairs:
    """The pairs that difPy finds."""
    built = steps.take("read", lambda: library.build(*a, *b, px_size=64, show_progress=False))
    found = steps.take(
        "compare",
        lambda: library.search(built, similarity="similar", rotate=True, same_dim=False, show_progress=False),
    )
    return [(str(path), str(match[0])) for path, matches in found.result.items() for match in matches]


def main() -> None:
    """The command line."""
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not mix with the answer
    module, work, *folders = sys.argv[1:]
    place = folders.index("--")
    a, b = folders[:place], folders[place + 1 :]
    library = importlib.import_module(module)
    steps, kept = Steps(), 0
    if module.lower().endswith("difpy"):
        pairs = all_compared(library, a, b, steps)
    else:
        pairs, kept = partitions_compared(library, work, a, b, steps)
    told = {"seconds": steps.seconds, "cpu_seconds": steps.cpu_seconds, "pairs": pairs, "disk_bytes": kept}
    with open(answer, "w", encoding="utf-8") as stream:
        json.dump(told, stream)


if __name__ == "__main__":
    main()
