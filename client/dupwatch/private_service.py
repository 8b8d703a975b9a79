"""Starts a service of one's own, for a page or a script: of an index that no other service keeps.

In: a state directory. Out: the endpoint of a `dupwatchd run` that is a process of its own and ends with this one. Its
socket lies in a folder that only the caller may enter; the lock of the state directory holds for it as for any service.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from dupwatch.client import Client
from dupwatch.errors import ClientError, NoServiceError, RequestFailedError, WrongUsageError
from dupwatch.terminal import printable

START_SECONDS = 120.0  # a database that was cut off is read from its log first
ASK_AGAIN_SECONDS = 0.05
STOP_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1


@contextmanager
def service_of_index(state: bytes) -> Iterator[str]:
    """Give the endpoint of a service for an index as it is, which ends afterwards. For the main thread.

    Raises WrongUsageError if there is no index or it is another user's; else as `private_service`.
    """
    _check_index(state)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what follows is cleaned up, too
    try:
        with private_service(state, "--as-indexed") as endpoint:
            yield endpoint
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def private_service(state: bytes, *options: str | bytes) -> Iterator[str]:
    """Give the endpoint of a service, which ends afterwards. ``options`` are those of `dupwatchd run`.

    Raises ClientError if the service does not start, with what it said: that another process holds the index, say.
    """
    with tempfile.TemporaryDirectory(prefix="dupwatch-", dir=_runtime_folder()) as folder:
        endpoint, log = f"ipc://{folder}/query.sock", Path(folder, "log")
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*_command(), "run", "--quiet", "--private", "--state", state, "--endpoint", endpoint, *options],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,  # Ctrl-C is for the page, which then ends it
                preexec_fn=_end_with_parent,
            )
        try:
            _wait_until_it_answers(process, endpoint, log, state)
            yield endpoint
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _check_index(state: bytes) -> None:
    name = printable(state)
    try:
        status = os.stat(os.path.join(state, b"dupwatch.sqlite"))
    except OSError as error:
        why = f"no index in {name}" if isinstance(error, FileNotFoundError) else f"cannot look into {name}"
        raise WrongUsageError(f"{why}: {error.strerror}; `dupwatchd scan --state {name} DIR` makes one") from None
    if status.st_uid != os.geteuid():  # what another user writes there its owner could not use any more
        raise WrongUsageError(
            f"the index in {name} belongs to another user (uid {status.st_uid}): review it as that one"
        )


def _runtime_folder() -> str | None:
    """Return a folder with a short path, as the name of a socket needs; None: the usual one for temporary files."""
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    return folder if folder.startswith("/") and os.access(folder, os.W_OK | os.X_OK) else None


def _command() -> list[str]:
    if find_spec("dupwatchd") is not None:
        return [sys.executable, "-m", "dupwatchd"]
    found = shutil.which("dupwatchd")
    if found is None:
        raise ClientError("`dupwatchd` is not installed here, and --state needs it")
    return [found]


def _end_with_parent() -> None:
    """Let the kernel end this process with the one that started it, even if that is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", endpoint: str, log: Path, state: bytes) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with Client(endpoint, timeout_seconds=1.0) as client:
                client.request("version")
                return
        except RequestFailedError as error:
            if not error.is_passing:
                raise
        except NoServiceError:
            pass
        if process.poll() is not None:
            raise ClientError(_why_it_ended(log, state))
        if time.monotonic() > deadline:
            raise ClientError(f"the service for {printable(state)} does not answer")
        time.sleep(ASK_AGAIN_SECONDS)


def _why_it_ended(log: Path, state: bytes) -> str:
    lines = log.read_text(errors="replace").splitlines() or ["it ended without a word"]
    said = lines[-1].removeprefix("dupwatchd: ")
    hint = "; ask that service instead, without a state directory" if "is in use by process" in said else ""
    return f"cannot start a service for {printable(state)}: {printable(said)}{hint}"
