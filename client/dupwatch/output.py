"""What both programs share on the command line: their groups of commands, the flags of an answer, its forms, a pager.

In: what click has parsed, and answer documents (see `render`). Out: text on stdout, remarks on stderr, and in `run`
the exit status of the program.
"""

import functools
import io
import math
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, TextIO, TypeVar

import click

from dupwatch.terminal import counted, printable

Command = TypeVar("Command", bound=Callable[..., Any])

CTRL_C_STATUS = 130  # what shells report of a program that SIGINT has ended
SCREEN_LINES = 24  # of a terminal that does not say how high it is

SORTS = ("bytes", "files", "folder", "date")  # what groups may be put in order by, as in `wire`
LINKAGES = ("transitive", "star", "complete")
WITHIN = ("root", "each")
UNITS = {"mean": 1, "fast-diff": 3}  # of `mse`: fast-diff-py adds up the three channels
ALSO = ("cropped", "retouched", "recoloured", "similar")  # verdicts that join pictures only if they are asked for


def _words_of(_context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """The words of an option that is given several times, or lists several with commas; each word once."""
    words = dict.fromkeys(word.strip() for text in given for word in text.split(","))
    for word in words:
        if word not in ALSO:
            raise click.BadParameter(f"there is no {word!r}; choose from {', '.join(ALSO)}", param=option)
    return tuple(words)


also_flag = click.option(
    "--also",
    multiple=True,
    callback=_words_of,
    metavar="VERDICT,…",
    help=f"Also groups of pictures that are {', '.join(ALSO[:-1])} or {ALSO[-1]}.",
)

_QUESTION = (
    click.option(
        "--measure", metavar="M", help="structure, mse, or your own as package.module:name [default: structure]."
    ),
    click.option(
        "--threshold", type=float, metavar="T", help="How far copies may differ [default: 0.02 structure, 25 mse]."
    ),
    click.option(
        "--unit",
        type=click.Choice(list(UNITS)),
        help="What T counts, with --measure mse: the mean of channels [default], or their sum, as fast-diff-py has it.",
    ),
    click.option("--mirrored", is_flag=True, help="Count mirror images as copies."),
)
_FOLDER = click.Path(path_type=bytes, readable=False)


class FiniteRange(click.FloatRange):
    """Numbers in a range; `nan`, which is in each for click, and `inf` are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return a number, as click asks for it; fails with one line."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{number} is no finite number.", param, ctx)
        return number


_FILTERS = (
    click.option(
        "--min-files", type=click.IntRange(min=2), metavar="N", help="Only groups of N files or more [default: 2]."
    ),
    click.option(
        "--sort",
        type=click.Choice(SORTS),
        help="What comes first: most bytes to win [default], most files, the folder of the kept file by name, or the "
        "kept file taken last.",
    ),
    click.option("--exact", is_flag=True, help="Only files with equal bytes."),
    click.option("--same-size", is_flag=True, help="Only pictures of one width and height, turned ones included."),
    click.option(
        "--aspect",
        type=FiniteRange(min=1),
        metavar="RATIO",
        help="Only pictures whose aspect ratios differ by this factor at most: 1 is equal.",
    ),
    click.option(
        "--across", multiple=True, type=_FOLDER, metavar="DIR...", help="Only pairs of a file under one of these ..."
    ),
    click.option("--against", multiple=True, type=_FOLDER, metavar="DIR...", help="... and one under one of these."),
    click.option("--no-rotate", is_flag=True, help="Only pictures that are near enough without being turned."),
    click.option(
        "--linkage",
        type=click.Choice(LINKAGES),
        help="What holds a group together: each file is linked with another one [default], with one centre (star), or "
        "with each other one (complete).",
    ),
    click.option(
        "--within-folder",
        type=click.Choice(WITHIN),
        metavar="[=each]",
        help="Only pairs under one root; =each: only pairs in one folder.",
    ),
)
pairs_flag = click.option(
    "--pairs", is_flag=True, help="Pairs of copies with their distance, instead of groups; --limit counts these."
)
_FORMS = (
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
    click.option("--csv", "as_csv", is_flag=True, help="Print one line per file, with a header."),
    click.option(
        "--print0", "as_print0", is_flag=True, help="Print raw paths, each ended by a NUL byte, kept file first."
    ),
    click.option("--spare", is_flag=True, help="With --print0: only files that can go."),
)


class CommandGroup(click.Group):
    """The commands of one program, which know those of the other: people mix them up."""

    def __init__(self, *args: Any, other_program: tuple[str, tuple[str, ...]] = ("", ()), **settings: Any) -> None:
        """``other_program`` is its name and its commands."""
        super().__init__(*args, **settings)
        self._other_name, self._other_commands = other_program

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant; raises click.UsageError with a hint if there is none of this name."""
        asked = args[0] if args else ""
        if asked not in self.commands and not asked.startswith("-") and not ctx.resilient_parsing:
            if asked in self._other_commands:
                hint = self._suggestion(asked, dict.fromkeys(self.commands, self.name or ""), 0.9)  # such as clusters
                ctx.fail(f"{self.name} has no command {asked!r}: that is `{self._other_name} {asked}`.{hint}")
            programs = dict.fromkeys(self._other_commands, self._other_name)
            programs |= dict.fromkeys(self.commands, self.name or "")
            ctx.fail(f"No such command {asked!r}.{self._suggestion(asked, programs)}")
        return super().resolve_command(ctx, args)

    def _suggestion(self, asked: str, programs: Mapping[str, str], cutoff: float = 0.6) -> str:
        """What of these commands, each with its program, may be meant."""
        from difflib import get_close_matches

        near = [f"`{programs[command]} {command}`" for command in get_close_matches(asked, programs, cutoff=cutoff)]
        return f" Did you mean {' or '.join(near)}?" if near else ""


def question_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--measure --threshold --mirrored``, and ``--unit``, in which the threshold is given.

    A unit of another measure raises click.UsageError before the command begins.
    """

    @functools.wraps(command)
    def with_threshold(*args: Any, unit: str | None, **others: Any) -> Any:
        if unit is not None:
            if others["measure"] != "mse" or others["threshold"] is None:
                raise click.UsageError("--unit is that of a --threshold of --measure mse: name both")
            others["threshold"] /= UNITS[unit]
        return command(*args, **others)

    return _with(with_threshold, _QUESTION)


def form_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json --csv --print0``, handed on as ``form`` (None: a table), and ``--spare``.

    Flags that exclude each other raise click.UsageError before the command begins.
    """

    @functools.wraps(command)
    def with_form(*args: Any, as_json: bool, as_csv: bool, as_print0: bool, spare: bool, **others: Any) -> Any:
        given = [form for form, wanted in (("json", as_json), ("csv", as_csv), ("print0", as_print0)) if wanted]
        if len(given) > 1:
            raise click.UsageError(f"choose one form: {' or '.join(f'--{form}' for form in given)}")
        if spare and not as_print0:
            raise click.UsageError("--spare goes with --print0")
        return command(*args, form=given[0] if given else None, spare=spare, **others)

    return _with(with_form, _FORMS)


class CommandWithFilters(click.Command):
    """A command with `filter_flags`, some of which click cannot read: lists of folders, and a value after = only."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line, in which --across and --against stand for all folders that follow them."""
        return super().parse_args(ctx, list(_spelled_out(args)))


def _spelled_out(args: Sequence[str]) -> Iterator[str]:
    """The words of a command line with the flag of a list before each of its folders."""
    flag, is_empty = "", False
    for place, word in enumerate([*args, "--"]):
        if flag and not word.startswith("-"):
            yield from (flag, word)
            is_empty = False
            continue
        if is_empty:
            raise click.UsageError(f"Option '{flag}' requires an argument.")
        if word == "--":
            yield from args[place:]
            return
        flag = word if word in ("--across", "--against") else ""
        is_empty = bool(flag)
        if not flag:
            yield f"{word}={WITHIN[0]}" if word == "--within-folder" else word


def filter_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that choose among groups and pairs, handed on as ``filters``: arguments as in PROTOCOL.md.

    Those that were not given are left out. Flags that exclude each other, or need each other, raise click.UsageError
    before the command begins.
    """

    @functools.wraps(command)
    def with_filters(
        *args: Any,
        min_files: int | None,
        sort: str | None,
        exact: bool,
        same_size: bool,
        aspect: float | None,
        across: tuple[bytes, ...],
        against: tuple[bytes, ...],
        no_rotate: bool,
        linkage: str | None,
        within_folder: str | None,
        **others: Any,
    ) -> Any:
        if bool(across) != bool(against):
            raise click.UsageError("--across and --against go together: pairs of a file in one and a file in the other")
        if exact and others.get("also"):
            raise click.UsageError("--exact asks for equal bytes only: it goes without --also")
        given = {
            "min_files": min_files,
            "sort": sort,
            "exact": exact or None,
            "same_size": same_size or None,
            "aspect": aspect,
            "across": list(across) or None,
            "against": list(against) or None,
            "upright": no_rotate or None,
            "linkage": linkage,
            "within_folder": within_folder,
        }
        filters = {name: value for name, value in given.items() if value is not None}
        return command(*args, filters=filters, **others)

    return _with(with_filters, _FILTERS)


def completion_command(group: click.Group, program: str) -> click.Command:
    """Return the command ``completion`` of a program."""

    def completion(shell: str) -> None:
        from click.shell_completion import get_completion_class

        kind = get_completion_class(shell)
        assert kind is not None  # click.Choice has let only these names through
        click.echo(kind(group, {}, program, f"_{program.upper()}_COMPLETE").source())

    return click.Command(
        "completion",
        callback=completion,
        params=[click.Argument(["shell"], type=click.Choice(["bash", "zsh", "fish"]))],
        help=f"""Print what makes a shell complete commands and flags.

        \b
        Examples:
          eval "$({program} completion bash)"            in ~/.bashrc
          eval "$({program} completion zsh)"             in ~/.zshrc
          {program} completion fish >~/.config/fish/completions/{program}.fish
        """,
    )


def write_copies(document: Mapping[str, Any], form: str | None, spare: bool) -> None:
    """Write the answer of `scan` and `clusters` to stdout in the form asked for."""
    from dupwatch import json_text, render

    if form == "json":
        json_text.write_json(document, sys.stdout)
    elif form == "csv":
        render.write_csv(document, sys.stdout.buffer)
    elif form == "print0":
        left_out = render.write_paths0(document, sys.stdout.buffer, spare_only=spare)
        if left_out:
            what = f"{counted(left_out, 'spare file')} with a sidecar or a movie beside"
            remark(f"{what}: left out, for `dupwatch plan` lets both go or neither")
        if spare and any("along" not in file for cluster in document["clusters"] for file in cluster["files"]):
            remark("the photos are on another machine: sidecars and movies beside these files were not looked for")
    else:
        paged(lambda stream: render.write_table(document, stream))
    sys.stdout.flush()


def write_pairs(pairs: Iterable[Mapping[str, Any]], head: Mapping[str, Any], form: str | None) -> None:
    """Write pairs to stdout in the form asked for, as they come; ``head`` may change until the last one has come."""
    from dupwatch import json_text, render

    if form == "json":
        json_text.write_json_rows("pairs", pairs, head, sys.stdout)
    elif form == "csv":
        render.write_pairs_csv(pairs, str(head["measure"]), sys.stdout.buffer)
    elif form == "print0":
        render.write_pairs0(pairs, sys.stdout.buffer)
    else:
        render.write_pairs_table(pairs, head, sys.stdout)
    sys.stdout.flush()


def paged(write: Callable[[TextIO], None]) -> None:
    """Let ``write`` write to stdout; through the pager if that is a terminal too low for it."""
    if not sys.stdout.isatty() or not sys.stdin.isatty():
        write(sys.stdout)
        return
    text = _LikeStdout()
    write(text)
    shown = text.getvalue()
    if shown.count("\n") < (os.get_terminal_size(sys.stdout.fileno()).lines or SCREEN_LINES):
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


def remark(line: str) -> None:
    """Write a line to stderr, behind the name of the program; whatever it holds, it cannot steer the terminal."""
    _say(click.get_current_context().find_root().command.name, line)


def remark_if_incomplete(document: Mapping[str, Any], advice: str) -> None:
    """Say on stderr that an answer is not complete, why, and what to do, if it is not."""
    if document.get("complete", True):
        return
    why = "; ".join(map(str, document.get("incomplete_because", ()))) or "not everything has been read"
    remark(f"this answer is not complete: {why}. {advice}")


def run(command: click.Command, known: type[Exception], unexpected: str = "") -> NoReturn:
    """Run a program and end with its exit status; a ``known`` error ends as one line on stderr.

    So does every other one if ``unexpected`` says what it means. The status is 0, that of the error (``exit_status``),
    2 for wrong usage, 130 after Ctrl-C, or 1.
    """
    name = command.name
    has_output = sys.stdout is not None
    _open_missing_streams()
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # until here the kernel would have ended the program
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if not has_output:
            raise click.UsageError("standard output is closed: there is nowhere to print the answer")  # noqa: TRY301
        command.main(standalone_mode=False)
        sys.stdout.flush()
        status = 0
    except known as error:
        _say(name, str(error))
        status = getattr(error, "exit_status", 1)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        # A shell's * hands over names of files, which may begin like a flag and hold what steers a terminal.
        said = "".join(one if one in "\n\\" else printable(one) for one in shown.getvalue())
        click.echo(said, err=True, nl=False)
        status = 2
    except (click.Abort, KeyboardInterrupt):
        status = CTRL_C_STATUS
    except OSError as error:
        # only output can get here; what is still unwritten must not fail a second time at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # then whoever read our output has seen enough
            _say(name, f"cannot write the output: {error.strerror or error}")
        status = 1
    except Exception as error:
        if not unexpected:
            raise
        _say(name, f"{unexpected} ({_where(error)})")
        status = 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to stop; at exit it would show a traceback
    sys.exit(status)


def _where(error: Exception) -> str:
    """Return in one line what was raised, and where, for whoever has to find out why."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" in {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace is not None else ""
    said = " ".join(str(error).split())[:80]
    return f"{type(error).__name__}{place}{': ' if said else ''}{said}"


def _with(command: Command, flags: tuple[Callable[[Command], Command], ...]) -> Command:
    for flag in reversed(flags):  # decorators apply from the last
        command = flag(command)
    return command


def _say(name: str | None, line: str) -> None:
    click.echo(f"{name}: {printable(line)}", err=True)


def _open_missing_streams() -> None:
    """Open /dev/null for each closed standard stream: no file that we open later may take its number."""
    for number, mode in ((0, "r"), (1, "w"), (2, "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        name = ("stdin", "stdout", "stderr")[number]
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - it lives as long as we do
