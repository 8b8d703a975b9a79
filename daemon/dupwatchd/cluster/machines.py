"""Which machines take part, what each has read since the service began, and which were lost; for `status` and the log.

Written by the thread of the connection and by the one that indexes, read by any.
"""

import logging
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum

from dupwatch.terminal import counted
from dupwatchd.serve.results import ClusterResult, MachineResult

_log = logging.getLogger("dupwatchd")
_MACHINES_MAX = 1000  # known at once; beyond that those are forgotten that were lost first
_SHOWN_MAX = 64


class State(StrEnum):
    """How it is with a machine."""

    READING = "reading"
    AWAY = "away"  # it took part in an earlier connection, and has not shown itself in this one
    REFUSED = "refused"  # it may not take part: another version, or it does not see the photos
    LOST = "lost"


@dataclass
class _Machine:
    state: State
    since: float  # seconds since 1970
    because: str = ""
    files: int = 0  # read and taken over
    workers: set[str] = field(default_factory=set)  # addresses of its workers that there are now


def _as_result(name: str, machine: _Machine) -> MachineResult:
    result: MachineResult = {
        "name": name, "state": machine.state.value, "since": machine.since, "files": machine.files,
    }  # fmt: skip
    if machine.because:
        result["because"] = machine.because
    return result


class Machines:
    """The machines of a cluster, by name; any thread may call."""

    def __init__(self, scheduler: str, *, stops: bool = False) -> None:
        """``stops``: nothing is read while the cluster cannot be used."""
        self._scheduler = scheduler
        self._stops = stops
        self._lock = threading.Lock()
        self._machines: dict[str, _Machine] = {}
        self._name_of: dict[str, str] = {}  # by the address of a worker
        self._here = 0  # files read on this machine although the cluster was to read them
        self._connected = False
        self._because = ""

    def connected(self) -> None:
        """The scheduler answers."""
        with self._lock:
            self._connected, self._because = True, ""

    def left(self, because: str) -> None:
        """The connection is over; ``because`` is empty if all is done."""
        with self._lock:
            self._connected = False
            is_new = because and because != self._because
            self._because = because
            for machine in self._machines.values():
                machine.workers.clear()
                if machine.state is not State.LOST:
                    machine.state, machine.because, machine.since = State.AWAY, "", time.time()
            self._name_of.clear()
        if is_new:
            _log.warning("the cluster cannot be used: %s", because)

    def joins(self, worker: str, name: str, refused: str = "") -> None:
        """A worker is there, on the machine of that name; ``refused`` says why it may not take part."""
        state = State.REFUSED if refused else State.READING
        with self._lock:
            machine = self._machines.setdefault(name, _Machine(state, time.time()))
            is_new = not machine.workers or (machine.state, machine.because) != (state, refused)
            if (machine.state, machine.because) != (state, refused):
                machine.state, machine.because, machine.since = state, refused, time.time()
            machine.workers.add(worker)
            self._name_of[worker] = name
            self._forget_some()
        if is_new and refused:
            _log.warning("machine %s of the cluster does not take part: %s", name, refused)
        elif is_new:
            _log.info("machine %s of the cluster takes part", name)

    def loses(self, worker: str) -> None:
        """A worker is gone, and with its last one the machine."""
        with self._lock:
            name = self._name_of.get(worker)  # which stays: replies may still come
            if name is None or worker not in self._machines[name].workers:
                return
            machine = self._machines[name]
            machine.workers.discard(worker)
            is_lost = not machine.workers
            if is_lost:
                machine.state, machine.because, machine.since = State.LOST, "", time.time()
        if is_lost:
            _log.warning("machine %s of the cluster is lost; its photos are read elsewhere", name)

    def read(self, worker: str, files: int) -> None:
        """So many files of a reply of this worker were taken over."""
        with self._lock:
            name = self._name_of.get(worker)
            if name in self._machines:
                self._machines[name].files += files

    def read_here(self, files: int) -> None:
        """So many files were read on this machine instead."""
        with self._lock:
            self._here += files

    def name_of(self, worker: str) -> str:
        """The machine of a worker, to be shown."""
        with self._lock:
            return self._name_of.get(worker, worker)

    def document(self) -> ClusterResult:
        """The key ``cluster`` of the result of `status`."""
        with self._lock:
            shown = sorted(self._machines.items())[:_SHOWN_MAX]
            return {
                "scheduler": self._scheduler,
                "connected": self._connected,
                "line": self._line(),
                "files_here": self._here,
                "total_machines": len(self._machines),
                "machines": [_as_result(name, one) for name, one in shown],
            }

    def _line(self) -> str:
        if not self._connected:
            if self._because:
                instead = "nothing is read meanwhile" if self._stops else "photos are read on this machine"
                return f"not in use: {self._because}; {instead}"
            return "not in use: too few photos are pending to be worth it"
        all_of_them = list(self._machines.values())
        reading = sum(one.state is State.READING for one in all_of_them)
        parts = [f"{reading} of {counted(len(all_of_them), 'machine')}"]
        lost = [one.since for one in all_of_them if one.state is State.LOST]
        if lost:
            which = "its" if len(lost) == 1 else "their"
            at = time.strftime("%H:%M", time.localtime(max(lost)))
            parts.append(f"{len(lost)} lost {at}, {which} photos are read elsewhere")
        if away := sum(one.state is State.AWAY for one in all_of_them):
            parts.append(f"{away} not there")
        if refused := [one.because for one in all_of_them if one.state is State.REFUSED]:
            parts.append(f"{len(refused)} may not take part: {refused[0]}")
        return "; ".join(parts)

    def _forget_some(self) -> None:
        if len(self._machines) > _MACHINES_MAX:
            gone = [name for name, one in self._machines.items() if one.state is State.LOST]
            for name in sorted(gone, key=lambda name: self._machines[name].since)[: _MACHINES_MAX // 10]:
                del self._machines[name]
