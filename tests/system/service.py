"""A real service on real files: started, asked, listened to and stopped."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq

from dupwatch import wire
from dupwatch.client import Client
from dupwatch.endpoints import events_endpoint
from dupwatch.errors import ClientError
from dupwatch.sending import find_stream, suffix_of
from tests.system.in_process import scan
from tests.system.test_scan import COMMAND

PATIENCE_SECONDS = 20.0


class Service:
    """`dupwatchd run` as a process of its own, with its own state and socket."""

    def __init__(
        self,
        place: Path,
        *roots: Path | bytes,
        config: Path | None = None,
        flags: Sequence[str] = (),
        before: Sequence[str] = (),
        **environment: str,
    ) -> None:
        """``before``: a command that starts it."""
        place.mkdir(exist_ok=True)
        self.state = place / "state"
        self.endpoint = f"ipc://{place}/s"
        self.log = place / "log"
        self.roots = roots
        self._config = config
        self._flags = flags
        self._before = before
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Client | None = None

    def start(self) -> Self:
        """Start it, and return at once."""
        arguments = [argument for root in self.roots for argument in (b"--root", os.fsencode(root))]
        if self._config is not None:
            arguments += [b"--config", os.fsencode(self._config)]
        environment = {
            **os.environ,
            "DUPWATCH_STATE": str(self.state),
            "DUPWATCH_WATCH__SETTLE_SECONDS": "0.1",
            **self._environment,
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._before, *COMMAND, "run", "--endpoint", self.endpoint, *self._flags, *arguments],
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        return self

    def __enter__(self) -> Self:
        """Start it, and wait until it answers."""
        self.start()
        try:
            until(self.answers)
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            try:
                self.stop()
            finally:
                self.kill()
        if kind is not None:
            sys.stderr.write(self.lines())
        if self._client is not None:
            self._client.close()
            self._client = None

    def answers(self) -> bool:
        """Does it answer?"""
        assert self.process.poll() is None, self.lines()
        try:
            self.ask("version", timeout_seconds=1)
        except ClientError:
            return False
        return True

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    def stop(self, number: int = signal.SIGTERM, within_seconds: float = PATIENCE_SECONDS) -> None:
        """Tell it to stop, which takes no more than so long and succeeds."""
        self.process.send_signal(number)
        assert self.process.wait(within_seconds) == 0, self.lines()

    def kill(self) -> None:
        """End it as it is."""
        self.process.kill()
        self.process.wait()

    def ask(self, do: str, **args: Any) -> dict[str, Any]:
        """The result of a command."""
        if self._client is None:
            self._client = Client(self.endpoint)
        return self._client.request(do, **args)

    def find(self, file: Path) -> list[dict[str, Any]]:
        """The copies of a file, sent as the client sends it."""
        self.ask("version")  # so that there is a client
        assert self._client is not None
        with file.open("rb") as stream:
            return list(find_stream(self._client, stream, suffix_of(os.fsencode(file)), {})["copies"])

    def settled(self) -> None:
        """Wait until it says that nothing is pending."""
        assert self.ask("wait", timeout=PATIENCE_SECONDS * 2, timeout_seconds=PATIENCE_SECONDS * 2 + 5)["idle"]

    def clusters(self, **args: Any) -> list[dict[str, Any]]:
        """All clusters."""
        return list(self.ask("clusters", limit=10_000, **args)["clusters"])

    def shown(self) -> set[str]:
        """The names of all files in answers."""
        return {os.path.basename(os.fsdecode(file["path"])) for one in self.clusters() for file in one["files"]}

    def root_states(self) -> list[str]:
        """Of the roots, in their order."""
        return [root["state"] for root in self.ask("status")["roots"]]

    def lines(self) -> str:
        """The log."""
        return self.log.read_text(errors="replace")


class Listener:
    """Collects the events of a service in a thread of its own."""

    def __init__(self, endpoint: str) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._first = threading.Event()
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.subscribe(b"")
        self._socket.connect(events_endpoint(endpoint))
        threading.Thread(target=self._listen, daemon=True).start()
        assert self._first.wait(PATIENCE_SECONDS)

    def _listen(self) -> None:
        while True:
            event = wire.decode_event(self._socket.recv_multipart())
            if event.topic != wire.TICK:
                self.events.append((event.topic, event.fields))
            self._first.set()  # whoever begins to listen gets a tick at once

    def has(self, topic: str, **wanted: Any) -> bool:
        """Has there been such an event?"""
        return any(
            told == topic and all(event.get(name) == value for name, value in wanted.items())
            for told, event in list(self.events)
        )

    def count(self, topic: str) -> int:
        """How many events of a topic there were."""
        return sum(told == topic for told, _ in list(self.events))


def until(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.03)


def as_scanned(clusters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answers of the service as those of `scan`: paths as text, in an order of their own.

    Without what closer looks have shown so far, which the service takes when it has nothing else to do: that is which
    file is kept and why, how far the others are from it, and what may go.
    """
    found = [{"id": one["id"], "files": sorted(map(_with_text, one["files"]), key=_path)} for one in clusters]
    return sorted(found, key=lambda one: [_path(file) for file in one["files"]])


def scanned(state: Path, *roots: Path) -> list[dict[str, Any]]:
    """The clusters of a scan without any history."""
    return as_scanned(scan(*roots, state=state)["clusters"])


def _path(file: dict[str, Any]) -> str:
    return str(file["path"])


def _with_text(file: dict[str, Any]) -> dict[str, Any]:
    known = {name: file[name] for name in ("path", "bytes", "width", "height", "damaged")}
    return {name: os.fsdecode(value) if isinstance(value, bytes) else value for name, value in known.items()}
