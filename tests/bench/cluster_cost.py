"""What reading on a cluster costs beyond reading on one machine: processor time per photo, in each process.

    python -m tests.bench.cluster_cost DIR [--machines N] [--rounds N] [--batch-files N]

A scheduler and N workers run on this machine, over loopback. All photos of DIR are read in a pool as ever, and then on
the cluster, several rounds in turn; what is said is the median. Wall clock would tell nothing: all of them share the
processors, with whatever else runs. On a busy machine a round takes long, and the nodes look around now and then even
if they have nothing to do: that share is measured beforehand, and told in brackets.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.arguments import make_parser
from tests.bench.decoding import job
from tests.cluster.nodes import Nodes

from dupwatchd.cluster.machines import Machines
from dupwatchd.cluster.pool import ClusterPool
from dupwatchd.index.pool import DecodeLimits, WorkerPool
from dupwatchd.model import Job
from dupwatchd.settings.model import ClusterSettings

_TICKS = os.sysconf("SC_CLK_TCK")
LIMITS = DecodeLimits()
_IDLE_SECONDS = 20.0


def main() -> None:
    arguments = _arguments()
    paths = sorted(entry.path for entry in os.scandir(arguments.folder) if entry.is_file())
    photos = [job(number, path) for number, path in enumerate(paths)]
    names = [f"machine {number}" for number in range(arguments.machines)]
    spent: dict[str, list[float]] = defaultdict(list)
    spent_idle: dict[str, list[float]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory() as place,
        Nodes(Path(place)) as nodes,
        WorkerPool(arguments.machines, 32, LIMITS) as pool,
    ):
        nodes.start(names)
        cluster = ClusterSettings(scheduler=nodes.address, min_pending=1, batch_files=arguments.batch_files)
        idle = _idle_share(nodes)
        for _ in range(arguments.rounds + 1):  # the first, in which all is loaded, does not count
            here = _locally(pool, photos)
            began = time.monotonic()
            there = _on(nodes, cluster, photos)
            wall_seconds = time.monotonic() - began
            for name, seconds in {**here, **there}.items():
                spent[name].append(1000 * seconds / len(photos))
            for name, share in idle.items():
                spent_idle[name].append(1000 * share * wall_seconds / len(photos))
        memory_mib = {name: _memory_mib(nodes.processes[name].pid) for name in ("scheduler", names[0])}
    print(f"{len(photos)} photos, batches of {arguments.batch_files}; ms of processor time per photo:")
    middle = {name: statistics.median(rounds[1:]) for name, rounds in spent.items()}
    middle_idle = {name: statistics.median(rounds[1:]) for name, rounds in spent_idle.items()}
    for name, milliseconds in middle.items():
        print(f"  {name:<32} {milliseconds:7.3f}  ({middle_idle.get(name, 0):.3f} if idle for as long)")
    alone = middle["here: writer"] + middle["here: decode processes"]
    together = sum(milliseconds for name, milliseconds in middle.items() if name.startswith("cluster"))
    print(f"  in all, cluster / here           {together:7.3f} / {alone:.3f} = {together / alone:.3f}")
    without_idle = together - sum(middle_idle.values())
    print(f"  without what idle nodes take     {without_idle:7.3f} / {alone:.3f} = {without_idle / alone:.3f}")
    print("resident MiB, with children: " + ", ".join(f"{name} {mib:.0f}" for name, mib in memory_mib.items()))


def _idle_share(nodes: Nodes) -> dict[str, float]:
    """Processor time of the nodes that have nothing to do, in seconds a second."""
    time.sleep(5)  # until all have started
    before = _of(nodes)
    time.sleep(_IDLE_SECONDS)
    after = _of(nodes)
    return {name: (after[name] - before[name]) / _IDLE_SECONDS for name in after if name != "cluster: writer"}


def _locally(pool: WorkerPool, photos: list[Job]) -> dict[str, float]:
    before, decoding_before = _cpu_seconds(os.getpid()), _decoding_seconds(os.getpid())
    count = sum(1 for _ in pool.index(photos, _known()))
    assert count == len(photos)
    return {
        "here: writer": _cpu_seconds(os.getpid()) - before,
        "here: decode processes": _decoding_seconds(os.getpid()) - decoding_before,
    }


def _on(nodes: Nodes, cluster: ClusterSettings, photos: list[Job]) -> dict[str, float]:
    before = _of(nodes)
    machines = Machines(nodes.address)
    with ClusterPool(WorkerPool(1, 32, LIMITS), cluster, 32, LIMITS, lambda _: {}, machines) as pool:
        count = sum(1 for _ in pool.index(photos, _known()))
    assert count == len(photos)
    assert machines.document()["files_here"] == 0
    after = _of(nodes)
    return {name: after[name] - before[name] for name in after}


def _known() -> Callable[[Job, bytes], bool]:
    """Of files with equal bytes one is decoded."""
    claimed: set[bytes] = set()

    def known(_: Job, digest: bytes) -> bool:
        is_known = digest in claimed
        claimed.add(digest)
        return is_known

    return known


def _of(nodes: Nodes) -> dict[str, float]:
    workers = [process.pid for name, process in nodes.processes.items() if name != "scheduler"]
    return {
        "cluster: writer": _cpu_seconds(os.getpid()),
        "cluster: scheduler": _cpu_seconds(nodes.processes["scheduler"].pid),
        "cluster: Dask workers": sum(map(_cpu_seconds, workers)),
        "cluster: decode processes": sum(map(_decoding_seconds, workers)),
    }


def _cpu_seconds(pid: int, *, with_ended: bool = False) -> float:
    """Processor time that a process has had; ``with_ended``: and those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if with_ended else 13])) / _TICKS


def _decoding_seconds(pid: int) -> float:
    """Processor time of all below a process: that of its decode processes."""
    return sum(_cpu_seconds(child, with_ended=True) for child in _decoders(pid))


def _decoders(pid: int) -> list[int]:
    """The fork servers and decode processes of a process, but not the nodes of the cluster that it has started."""
    commands = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in _below(pid)}
    return [child for child, command in commands.items() if b"fork_server" in command]


def _below(pid: int) -> Iterator[int]:
    """All descendants of a process."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield int(child)
            yield from _below(int(child))


def _memory_mib(pid: int) -> float:
    """The memory of a process and its descendants, what several share divided among them."""
    found = 0
    for one in (pid, *_below(pid)):
        rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        found += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return found / 1024


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--machines", type=int, default=2, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--batch-files", type=int, default=128, metavar="N")
    return parser.parse_args()


if __name__ == "__main__":
    main()
