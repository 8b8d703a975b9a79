"""What both programs share on the command line: flags of an answer, its forms, a pager, and how a program ends."""

import io
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TextIO, TypeVar

import click

from dupwatch.terminal import printable

Command = TypeVar("Command", bound=Callable[..., Any])

_QUESTION = (
    click.option(
        "--measure", metavar="M", help="structure, mse, or your own as package.module:name [default: structure]."
    ),
    click.option(
        "--threshold", type=float, metavar="T", help="How far copies may differ [default: 0.02 structure, 25 mse]."
    ),
    click.option("--mirrored", is_flag=True, help="Count mirror images as copies."),
)
_FORMS = (
    click.option("--json", "form", flag_value="json", help="Print one JSON document."),
    click.option("--csv", "form", flag_value="csv", help="Print one line per file, with a header."),
    click.option(
        "--print0", "form", flag_value="print0", help="Print raw paths, each ended by a NUL byte, kept file first."
    ),
    click.option("--spare", is_flag=True, help="With --print0: only files within the threshold of the kept one."),
)


def question_flags(command: Command) -> Command:
    """Add ``--measure --threshold --mirrored``."""
    return _with(command, _QUESTION)


def form_flags(command: Command) -> Command:
    """Add ``--json --csv --print0`` (as ``form``) and ``--spare``."""
    return _with(command, _FORMS)


def check_form(form: str | None, spare: bool) -> None:
    """Refuse flags that do not go together."""
    if spare and form != "print0":
        raise click.UsageError("--spare goes with --print0")


def write_copies(document: dict[str, Any], form: str | None, spare: bool) -> None:
    """Write the answer of `scan` and `clusters` to stdout in the form asked for."""
    from dupwatch import render

    if form == "json":
        render.write_json(document, sys.stdout)
    elif form == "csv":
        render.write_csv(document, sys.stdout.buffer)
    elif form == "print0":
        render.write_paths0(document, sys.stdout.buffer, spare_only=spare)
    else:
        paged(lambda stream: render.write_table(document, stream))
    sys.stdout.flush()


def paged(write: Callable[[TextIO], None]) -> None:
    """Let ``write`` write to stdout; through the pager if that is a terminal too low for it."""
    if not sys.stdout.isatty() or not sys.stdin.isatty():
        write(sys.stdout)
        return
    text = _LikeStdout()
    write(text)
    shown = text.getvalue()
    if shown.count("\n") < os.get_terminal_size(sys.stdout.fileno()).lines:
        sys.stdout.write(shown)
    else:
        os.environ.setdefault("LESS", "-RS")  # colours; long lines are cut, not folded
        click.echo_via_pager(shown, color=True)


class _LikeStdout(io.StringIO):
    """Text in memory for which the same is shown as on stdout."""

    encoding = property(lambda _: sys.stdout.encoding)  # StringIO has none

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return sys.stdout.fileno()


def run(command: click.Command, known: type[Exception]) -> NoReturn:
    """Run a program; a ``known`` error ends as one line on stderr and its ``exit_status``."""
    name = command.name
    has_output = sys.stdout is not None
    _open_missing_streams()
    try:
        if not has_output:
            raise click.UsageError("standard output is closed: there is nowhere to print the answer")
        command.main(standalone_mode=False)
        sys.stdout.flush()
    except known as error:
        _say(name, str(error))
        sys.exit(getattr(error, "exit_status", 1))
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(1)
    except OSError as error:
        # only output can get here; what is still unwritten must not fail a second time at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # then whoever read our output has seen enough
            _say(name, f"cannot write the output: {error.strerror or error}")
        sys.exit(1)
    sys.exit(0)


def _with(command: Command, flags: tuple[Callable[[Command], Command], ...]) -> Command:
    for flag in reversed(flags):  # decorators apply from the last
        command = flag(command)
    return command


def _say(name: str | None, line: str) -> None:
    # it may hold a file name, and whoever made that must not steer the terminal
    click.echo(f"{name}: {printable(line)}", err=True)


def _open_missing_streams() -> None:
    """Who closed our standard streams gets no words, but no file of ours may take their numbers."""
    for number, mode in ((0, "r"), (1, "w"), (2, "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        name = ("stdin", "stdout", "stderr")[number]
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - it lives as long as we do
