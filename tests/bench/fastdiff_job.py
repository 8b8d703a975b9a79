"""One job of fast-diff-py or of our interface of it, and what it took, as JSON.

    PYTHON tests/bench/fastdiff_job.py MODULE WORK DIR-A... -- DIR-B...

MODULE is `fast_diff_py` or `dupwatchd.compat.fastdiff`: the code is the same. Two partitions are compared with
rotation, 64 px and a threshold of 200. `fastdiff_scaling` starts it with the interpreter that has the program; so it
imports nothing else of ours.
"""

import importlib
import json
import os
import resource
import sys
import time


def _cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not mix with the answer
    module, work, *folders = sys.argv[1:]
    place = folders.index("--")
    library = importlib.import_module(module)
    config = library.Config(part_a=folders[:place], part_b=folders[place + 1 :])
    job = library.FastDifPy(config=config, purge=True, workdir=work)
    seconds, cpu_seconds = {}, {}
    for name, step in (("index", job.full_index), ("read", job.first_loop), ("compare", job.second_loop)):
        started, used = time.monotonic(), _cpu_seconds()
        step()
        seconds[name], cpu_seconds[name] = time.monotonic() - started, _cpu_seconds() - used
    job.commit()
    pairs = [(a, b) for a, b, _ in job.get_diff_pairs()]
    thumbnails = sum(os.path.getsize(os.path.join(top, name)) for top, _, names in os.walk(work) for name in names)
    job.cleanup()
    with open(answer, "w", encoding="utf-8") as stream:
        json.dump({"seconds": seconds, "cpu_seconds": cpu_seconds, "pairs": pairs, "disk_bytes": thumbnails}, stream)


if __name__ == "__main__":
    main()
