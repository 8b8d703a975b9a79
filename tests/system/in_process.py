"""`dupwatchd` as a test calls it, in the test's own process: the same command, files, index and decoders.

Nearly all that a small scan costs is the start of the program. `test_scan` and the tests of the service start it, as do
those that end it, bound it or run it for another user; where only what comes of a command matters, it is called here.
"""

import gc
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from click.testing import CliRunner

from dupwatchd import cli


def called(main: Callable[[], NoReturn], *words: object, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """What comes of a program with such a command line. What it would show as a traceback is raised."""
    before = sys.argv
    at_sigint = signal.getsignal(signal.SIGINT)
    with CliRunner().isolation(env=environment) as (stdout, stderr, _):
        sys.argv = [main.__module__, *map(str, words)]
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        finally:
            sys.argv = before
            signal.signal(signal.SIGINT, at_sigint)
            gc.enable()
            sys.stdout.flush()
            sys.stderr.flush()
        return subprocess.CompletedProcess([*map(str, words)], status, stdout.getvalue(), stderr.getvalue())


def run(*arguments: object, state: Path) -> "subprocess.CompletedProcess[bytes]":
    """As `test_scan.run`."""
    return called(cli.main, *arguments, DUPWATCH_STATE=str(state), COLUMNS="200")


def scan(*arguments: object, state: Path, status: int = 0) -> dict[str, Any]:
    """As `test_scan.scan`."""
    done = run("scan", "--json", *arguments, state=state)
    assert done.returncode == status, done.stderr.decode()
    return dict(json.loads(done.stdout))
