"""A real cluster on loopback: a scheduler and workers as processes of their own, which can be killed and frozen."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

COMMAND = [sys.executable, "-W", "error::DeprecationWarning:dupwatchd", "-m", "dupwatchd", "cluster"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(holds: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


class Nodes:
    """The processes of a cluster, by name."""

    def __init__(self, place: Path, scheme: str = "tcp", **environment: str) -> None:
        self.address = f"{scheme}://127.0.0.1:{free_port()}"
        self._place = place
        self._environment = {**os.environ, "DUPWATCH_CLUSTER__WORKER_LOST_SECONDS": "3", **environment}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()

    def add(self, name: str, **environment: str) -> None:
        """Have one more worker run, which has these variables."""
        self.start_worker(name, **environment)
        until(lambda: "Registered to" in self.log(name))

    def start_worker(self, name: str, **environment: str) -> None:
        """As `add`; it is not waited for."""
        self._run(name, "worker", "--name", name, "--workers", "1", **environment)

    def start(self, workers: Sequence[str] = ("one", "two", "three")) -> Self:
        """Have a scheduler and these workers run, all of them thawed; those that run already stay."""
        if not self.runs("scheduler"):
            for name in filter(self.runs, list(self.processes)):
                if "Registered to" in self.log(name):  # it ends with its scheduler, but not at once
                    self.send(name, signal.SIGCONT)
                    self.processes[name].wait(60)
            self._run("scheduler")
            until(lambda: "Scheduler at" in self.log("scheduler"))
        for name in workers:
            if not self.runs(name):
                self.start_worker(name)
        for name in workers:
            self.send(name, signal.SIGCONT)
            until(lambda name=name: "Registered to" in self.log(name))  # type: ignore[misc]
        return self

    def runs(self, name: str) -> bool:
        return name in self.processes and self.processes[name].poll() is None

    def send(self, name: str, number: int) -> None:
        self.processes[name].send_signal(number)

    def kill(self, *names: str) -> None:
        for name in names:
            self.send(name, signal.SIGKILL)
        for name in names:
            self.processes[name].wait()

    def keep(self, *names: str) -> None:
        """Kill all others."""
        self.kill(*(name for name in self.processes if self.runs(name) and name not in names))

    def log(self, name: str) -> str:
        return self._file(name).read_text(errors="replace")

    def _run(self, name: str, command: str = "", *arguments: str, **environment: str) -> None:
        with self._file(name).open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [*COMMAND, command or name, "--address", self.address, *arguments],
                stdout=log,
                stderr=log,
                env={**self._environment, **environment},
                start_new_session=True,
            )

    def _file(self, name: str) -> Path:
        return self._place / f"{name}.log"
