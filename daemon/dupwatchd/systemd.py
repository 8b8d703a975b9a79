"""What the service manager is told, and where log records go.

Going in: how the service is (ready, reloading, stopping, alive) and Python's log records. Coming out: messages of
sd_notify(3) and entries of the journal, or lines on stderr.

systemd-python writes the journal's entries, because only it can give them fields. The messages of sd_notify are a few
lines of the standard library, so that readiness and the watchdog work without systemd-python, which needs a compiler
where the distribution does not bring it. Without systemd all functions here do nothing.
"""

import faulthandler
import importlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from dupwatch.terminal import printable
from dupwatchd.errors import DupwatchError

_SEND_SECONDS = 1.0  # the longest that a service manager which takes no messages can hold us up
_RECORD_FIELDS = (
    "SYSLOG_IDENTIFIER", "PRIORITY", "LOGGER", "THREAD_NAME", "CODE_FILE", "CODE_LINE", "CODE_FUNC",
)  # fmt: skip
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))  # of syslog; below: 7


def ready(status: str = "") -> bool:
    """Tell that the start, or a reload, is over."""
    return _notify("READY=1", *_status(status))


def status(text: str) -> bool:
    """Tell in one line how things are, for ``systemctl status``."""
    return _notify(*_status(text))


def stopping(status: str = "") -> bool:
    """Tell that the service is stopping, as it was asked to; from now on its watchdog does not wait for `alive`.

    How long a stop may take is bounded by the service manager's own time for it.
    """
    return _notify("STOPPING=1", "WATCHDOG_USEC=0", *_status(status))


def reloading() -> bool:
    """Tell that a reload has begun; `ready` ends it, whether or not a setting has changed."""
    return _notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def alive() -> bool:
    """Keep the watchdog quiet for another `watchdog_seconds`."""
    return _notify("WATCHDOG=1")


def watchdog_seconds() -> float | None:
    """The service manager ends a service that does not call `alive` for so long; None: it does not watch us."""
    micro, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not micro.isdecimal() or not int(micro) or (process and process != str(os.getpid())):
        return None
    return int(micro) / 1e6


def set_up_logging(level: int = logging.INFO) -> None:
    """Send all log records to the journal if systemd connected stderr to it, else to stderr; one line per event.

    If systemd-python is installed, an entry of the journal has fields: LOGGER, THREAD_NAME, CODE_FILE and so on, and
    what a record brings with a name of ours, such as ``extra={"DUPWATCH_PATH": path}``. Without it, an entry has a
    priority only. A DupwatchError given as ``exc_info`` is shown as its message, anything else with its traceback.
    """
    to_journal = _stderr_is_journal()
    handler = (_journal_handler() if to_journal else None) or logging.StreamHandler(sys.stderr)
    if isinstance(handler, logging.StreamHandler):
        handler.setFormatter(_Prefixed() if to_journal else _Named())
    else:
        handler.setFormatter(_OneLine())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    faulthandler.enable()  # the watchdog ends a hung service with SIGABRT: this shows where it hung


class _OneLine(logging.Formatter):
    """The message, safe to show; an error that we do not expect is followed by its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        text = printable(_message(record))
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, DupwatchError):
            return f"{text}: {printable(str(error))}"
        if record.exc_info and error:
            text += "\n" + self.formatException(record.exc_info).encode(errors="backslashreplace").decode()
        return text


def _message(record: logging.LogRecord) -> str:
    """Return the message of a record; paths among its arguments are bytes, and shown as text."""
    if isinstance(record.args, tuple):
        record.args = tuple(os.fsdecode(value) if isinstance(value, bytes) else value for value in record.args)
    return record.getMessage()


class _Named(_OneLine):
    """The message after the name of the program, for a terminal or a file."""

    def format(self, record: logging.LogRecord) -> str:
        return f"dupwatchd: {super().format(record)}"


class _Prefixed(_OneLine):
    """Each line after its priority in angle brackets, which journald understands and removes."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def _stderr_is_journal() -> bool:
    """Whether stderr is the stream that systemd connected to the journal.

    The variable alone does not say so: child processes inherit it, and may have another stderr.
    """
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _journal_handler() -> logging.Handler | None:
    try:
        # not an import statement: for mypy, run beside our folder of units, that folder is the package
        journal = importlib.import_module("systemd.journal")
    except ImportError:
        return None
    handler: logging.Handler = journal.JournalHandler(
        SYSLOG_IDENTIFIER="dupwatchd", sender_function=_own_fields_only(journal.send)
    )
    return handler


def _own_fields_only(send: Callable[..., None]) -> Callable[..., None]:
    """Pass on our own fields and where the record was made.

    The handler would add every attribute of the record, among them text from outside that was not made safe to show.
    """

    def send_fields(message: str, **fields: Any) -> None:
        place = {name: fields[name] for name in _RECORD_FIELDS}
        own = {name: value for name, value in fields.items() if name.startswith("DUPWATCH_")}
        # as bytes: a path need not be UTF-8
        send(message, **place, **{name: os.fsencode(v) if isinstance(v, str) else v for name, v in own.items()})

    return send_fields


def _status(text: str) -> list[str]:
    return [f"STATUS={printable(text)}"] if text else []


def _notify(*assignments: str) -> bool:
    """Send one message; False if there is no service manager, or it does not take the message."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address[0] == "@":  # an abstract socket
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.settimeout(_SEND_SECONDS)
            manager.connect(address)
            manager.sendall("\n".join(assignments).encode())
    except OSError:
        return False
    return True
