"""Whatever a service answers, the client ends with a status and at most one line, and never steers the terminal."""

import contextlib
import io
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dupwatch import cli, wire
from dupwatch.client import Client
from dupwatch.errors import NoServiceError
from dupwatchd.serve.request_queue import Handler, OpenRequest
from dupwatchd.serve.server import Server
from tests.client.small_service import make_clusters

NAMES = (
    "state", "files", "failed", "pending", "pictures", "matches", "roots", "progress", "problems", "stage", "done",
    "total", "unit", "rate", "seconds_left", "path", "clusters", "total_clusters", "measure", "threshold", "verdicts",
    "revision", "complete", "incomplete_because", "copies", "known", "as_good", "verdict", "lacks", "width", "height",
    "bytes", "groups", "total_groups", "digest", "keep", "reason", "pairs", "ignored", "idle", "error", "id",
    "reclaimable_bytes", "mirrored", "turn", "may_go", "damaged", "same_file_as", "confirmed", "structure", "mse",
)  # fmt: skip
ANSWERS_MAX = 20  # it could also say for ever that there is another page, until somebody presses Ctrl-C
HOSTILE = "\x1b[2J\x1b]0;owned\x07\r\n"

values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.sampled_from(["", HOSTILE, "idle"]),
        st.binary(max_size=8), st.text(max_size=8),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=8),
    max_leaves=20,
)  # fmt: skip
results = st.dictionaries(st.sampled_from(NAMES), values, max_size=12)

SOUND: dict[str, dict[str, Any]] = {
    "status": {
        "state": "idle", "files": 6, "failed": 1, "pending": 0, "pictures": 5, "matches": 4, "problems": ["a problem"],
        "roots": [{"path": b"/srv/photos", "state": "online"}],
        "progress": {"stage": "x", "done": 1, "total": 2, "unit": "files", "rate": 1.0, "seconds_left": 1.0},
    },
    "clusters": {
        "measure": "structure", "threshold": 0.02, "verdicts": ["same"], "revision": 1, "total_clusters": 2,
        "clusters": make_clusters(2),
    },
    "failed": {"total": 1, "failed": [{"path": b"/srv/a.jpg", "error": "truncated"}]},
    "find": {"copies": [{"path": b"/a", "as_good": True, "verdict": "same", "mse": 1.0, "structure": 0.1}]},
    "ignored": {"total": 1, "ignored": [{"paths": [b"/a"], "digests": [b"0" * 32]}]},
}  # fmt: skip
COMMANDS = (
    ("status",), ("clusters",), ("clusters", "--csv"), ("clusters", "--json"), ("clusters", "--print0"), ("failed",),
    ("find", __file__), ("ignored",), ("plan",), ("rescan",), ("pause",), ("wait", "--timeout", "0.1"),
    ("show", __file__),
)  # fmt: skip


class Hostile:
    """A service that answers every request with one value."""

    def __init__(self, folder: Path) -> None:
        self.endpoint = f"ipc://{folder}/s"
        self.result: dict[str, Any] = {}
        self.answers = 0
        handlers: dict[str, Handler] = dict.fromkeys(wire.COMMANDS, self._answer)
        self.server = Server(self.endpoint, handlers)

    def _answer(self, _request: OpenRequest) -> dict[str, Any]:
        self.answers += 1
        return self.result if self.answers <= ANSWERS_MAX else {}


@pytest.fixture(scope="module")
def hostile() -> Iterator[Hostile]:
    folder = Path(tempfile.mkdtemp(prefix="dw", dir="/tmp"))
    service = Hostile(folder)
    service.server.start()
    try:
        yield service
    finally:
        service.server.stop()
        shutil.rmtree(folder)


def outcome(arguments: tuple[str, ...], endpoint: str) -> tuple[int, str, str]:
    """The status of a command of `dupwatch`, and what it writes to stdout and stderr."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape") for _ in range(2))
    argv, handler = sys.argv, signal.getsignal(signal.SIGINT)
    sys.argv = ["dupwatch", *arguments, "--endpoint", endpoint]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        sys.argv = argv
        signal.signal(signal.SIGINT, handler)
    for stream in (out, err):
        stream.flush()
    texts = [stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err)]
    return int(ended.value.code or 0), texts[0], texts[1]


def check(arguments: tuple[str, ...], hostile: Hostile, result: dict[str, Any]) -> None:
    hostile.result, hostile.answers = result, 0
    status, out, err = outcome(arguments, hostile.endpoint)
    assert status in (0, 1, 2, 3, 4)
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 3, err  # a remark may stand before the error
    if not {"--print0", "--csv"}.intersection(arguments):  # programs get raw bytes
        assert not any(ord(character) < 32 and character != "\n" for character in out + err), (out, err)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@example(result={})
@given(result=results)
def test_any_answer_ends_in_a_status_and_at_most_a_line(
    hostile: Hostile, arguments: tuple[str, ...], result: dict[str, Any]
) -> None:
    check(arguments, hostile, result)


def damaged(document: Any, data: st.DataObject) -> Any:
    """The same document, with something else in one place."""
    if isinstance(document, dict) and document and data.draw(st.integers(0, 4)):
        name = data.draw(st.sampled_from(sorted(document)))
        if not data.draw(st.integers(0, 5)):
            return {key: value for key, value in document.items() if key != name}
        return {**document, name: damaged(document[name], data)}
    if isinstance(document, list) and document and data.draw(st.integers(0, 4)):
        return [damaged(document[0], data), *document[1:]]
    return data.draw(values)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_sound_answer_with_something_else_in_one_place_does_no_harm(
    hostile: Hostile, arguments: tuple[str, ...], data: st.DataObject
) -> None:
    sound = SOUND.get(arguments[0], {**SOUND["clusters"], **SOUND["status"]})
    result = damaged(sound, data)
    check(arguments, hostile, result if isinstance(result, dict) else {"clusters": result})


def test_a_service_that_is_killed_during_the_handshake_is_told_to_be_gone() -> None:
    """Not to have too many clients, as one that lives and ends connections."""
    with tempfile.TemporaryDirectory(prefix="dw") as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{folder}/s")
        listening.listen()

        def die() -> None:
            connection, _ = listening.accept()
            listening.close()
            connection.close()

        dying = threading.Thread(target=die)
        dying.start()
        with Client(f"ipc://{folder}/s") as client, pytest.raises(NoServiceError, match="no service listens at"):
            client.request("status")
        dying.join()
