"""Runs commands and measures them with all their descendants: wall clock, CPU time, memory.

Worker processes may outlive whoever started them, and then nobody would count their CPU time. So this process makes
itself their reaper and waits for every one of them.
"""

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

_PR_SET_CHILD_SUBREAPER = 36
_SAMPLE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Run:
    """What one command cost."""

    wall_s: float
    cpu_s: float  # user and system, of the command and all its descendants
    status: int  # exit status, negative: killed by that signal
    timed_out: bool
    peak_mib: float  # proportional set size of the whole tree, 0 if it was not asked for


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def default_command() -> str:
    """The dupwatchd that lies beside this interpreter."""
    return os.path.join(os.path.dirname(sys.executable), "dupwatchd")


def scan_command(dupwatchd: str, state: str, folders: Sequence[str], *more: str) -> list[str]:
    """`dupwatchd scan --json` with its own state directory."""
    return [dupwatchd, "scan", "--json", "--state", state, *more, *folders]


def measured(
    command: Sequence[str],
    *,
    stdout: str = os.devnull,
    env: Mapping[str, str] | None = None,
    limit_seconds: float | None = None,
    memory: bool = False,
    quiet: bool = False,
) -> Run:
    """Run a command to its end; its standard output goes to a file.

    With ``memory`` the peak is sampled, which slows the command down: do not use the times of such a run.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    environment = {**os.environ, **(env or {})}
    with open(stdout, "wb") as output:
        started = time.monotonic()
        errors = subprocess.DEVNULL if quiet else None
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=environment)
        sampler = Peak(partial(tree_pss_kib, process.pid)) if memory else None
        killer = threading.Timer(limit_seconds, _kill_tree, [process.pid]) if limit_seconds else None
        if killer:
            killer.start()
        status, wall_s, cpu_s = _reap_all(process.pid, started)
        process.returncode = status  # it is reaped already; Popen must not try
        if killer:
            killer.cancel()
    timed_out = bool(limit_seconds) and wall_s >= (limit_seconds or 0)
    return Run(wall_s, cpu_s, status, timed_out, sampler.mib() if sampler else 0.0)


def _reap_all(main: int, started: float) -> tuple[int, float, float]:
    """(exit status of the main process, when it ended, CPU time of all)."""
    status, wall_s, cpu_s = 0, 0.0, 0.0
    while True:
        try:
            pid, wait_status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return status, wall_s, cpu_s
        cpu_s += usage.ru_utime + usage.ru_stime
        if pid == main:
            wall_s = time.monotonic() - started
            status = os.waitstatus_to_exitcode(wait_status)


def _kill_tree(root: int) -> None:
    for pid in tree(root):
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass  # it has ended meanwhile


def tree(root: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue  # it has ended
            children.setdefault(parent, []).append(int(name))
    found = [root]
    for pid in found:  # grows while we walk
        found += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of a process tree so far, children that have ended included."""
    ticks = 0
    for pid in tree(root):
        with open(f"/proc/{pid}/stat", "rb") as file:
            ticks += sum(map(int, file.read().rpartition(b")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def reset_peak(pid: int) -> None:
    """Forget the largest resident set that a process had until now."""
    with open(f"/proc/{pid}/clear_refs", "wb") as file:
        file.write(b"5")


def peak_rss_mib(pid: int) -> float:
    """The largest resident set that a process had."""
    with open(f"/proc/{pid}/status", "rb") as file:
        line = next(line for line in file if line.startswith(b"VmHWM:"))
    return int(line.split()[1]) / 1024


class Peak:
    """The largest value of a memory figure, sampled every 20 ms from the moment this is made.

    ``read_kib`` is called in a thread of its own.
    """

    def __init__(self, read_kib: Callable[[], int]) -> None:
        self._read_kib = read_kib
        self._peak_kib = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def mib(self) -> float:
        """The peak so far; ends the sampling."""
        self._stopped.set()
        self._thread.join()
        return self._peak_kib / 1024

    def _sample(self) -> None:
        while not self._stopped.wait(_SAMPLE_SECONDS):
            self._peak_kib = max(self._peak_kib, self._read_kib())


def tree_pss_kib(root: int) -> int:
    """What a process tree holds; shared pages count once (proportional set size)."""
    return sum(map(pss_kib, tree(root)))


def pss_kib(pid: int) -> int:
    """What a process holds, its share of what it shares with others; 0 once it has ended."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1])
    except OSError:
        pass  # it has ended
    return 0
