"""The command line of difPy 4 over this engine: `dupwatch-difpy`.

Flags go in as difPy takes them, truth values as words. Out: three files, whose names go to stdout; notes, progress and
questions go to stderr. Exit status: 0 done, 1 failed or done in part, 2 wrong usage, 130 ended by Ctrl-C.
"""

import argparse
import datetime as dt
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import click

from dupwatch.errors import ClientError
from dupwatch.output import run
from dupwatchd.errors import DupwatchError, UsageError

if TYPE_CHECKING:
    from dupwatchd.compat.difpy import search

_TRUE, _FALSE = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")


def _truth(word: str) -> bool:
    if word.lower() in (*_TRUE, *_FALSE):
        return word.lower() in _TRUE
    raise argparse.ArgumentTypeError(f"{word!r} is neither {'/'.join(_TRUE)} nor {'/'.join(_FALSE)}")


def _truth_or_each(word: str) -> bool | str:
    return word if word == "each" else _truth(word)


def parser() -> argparse.ArgumentParser:
    """Return the flags of difPy, and our own."""
    made = argparse.ArgumentParser(
        prog="dupwatch-difpy",
        description="Find duplicate and similar pictures, with the flags and files of difPy 4.",
        epilog="docs/difpy.md tells what each flag does here. `dupwatch undo --last` puts back what was moved.",
    )

    def truth(short: str, name: str, default: bool | None, text: str) -> None:
        made.add_argument(short, name, type=_truth, metavar="{True,False}", default=default, help=text)

    add = made.add_argument
    add("-D", "--directory", nargs="+", help="folders and files to be searched [default: the working directory]")
    add("-Z", "--output_directory", help="where the three files are written [default: the working directory]")
    truth("-r", "--recursive", True, "search folders in folders [default: True]")
    add(
        "-i", "--in_folder", type=_truth_or_each, metavar="{True,False,each}", default=False,
        help="search each argument for itself, or each single folder [default: False]",
    )  # fmt: skip
    truth("-le", "--limit_extensions", True, "only files with a suffix of pictures [default: True]")
    add("-px", "--px_size", type=int, default=50, help="side in px at which pictures are compared [default: 50]")
    add("-s", "--similarity", default="duplicates", help="duplicates (0), similar (5) or an mse [default: duplicates]")
    truth("-ro", "--rotate", True, "also turn pictures by 90, 180, 270 degrees [default: True]")
    truth("-dim", "--same_dim", None, "only compare pictures of the same sides [default: True]")
    truth("-la", "--lazy", None, "the former name of --same_dim")
    add("-mv", "--move_to", help="move files of lower quality to this folder, with their whole paths")
    truth("-d", "--delete", False, "delete files of lower quality, after a question [default: False]")
    truth("-sd", "--silent_del", False, "delete without a question [default: False]")
    truth("-p", "--show_progress", True, "show progress on a terminal [default: True]")
    add("-proc", "--processes", type=int, help="processes that read pictures [default: one per processor]")
    add("-ch", "--chunksize", type=int, help="accepted, and has no meaning here")
    truth("-l", "--logs", None, "accepted, and has no meaning here")
    add("--state", metavar="DIR", help="keep the index there, so that the next run only reads what is new")
    return made


def main() -> NoReturn:
    """Run the command line; every error we know ends as one line on stderr and its exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is to be ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the workers have the processors
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    arguments = parser().parse_args()
    sys.argv[1:] = []  # click is to parse nothing, it only ends the program as the others end
    run(click.Command("dupwatch-difpy", callback=lambda: _run(arguments), add_help_option=False), DupwatchError)


def _run(given: argparse.Namespace) -> None:
    try:
        sys.exit(_status(given))
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(str(error)) from None
    except ClientError as error:
        known = DupwatchError(str(error))
        known.exit_status = error.exit_status
        raise known from None


def _status(given: argparse.Namespace) -> int:
    """Search, write the files, move or delete; returns the exit status."""
    from dupwatchd.compat import difpy as difPy  # noqa: N812 - its users know it by this name
    from dupwatchd.compat import difpy_options
    from dupwatchd.compat.difpy_files import roots_of

    if given.move_to is not None and given.delete:
        raise UsageError("--move_to and --delete exclude each other")
    if given.lazy is not None and given.same_dim is not None:
        raise UsageError("--lazy is the former name of --same_dim: name one of both")
    if given.silent_del and not given.delete:
        difpy_options.note("--silent_del has no meaning without --delete True")
    directories = difpy_options.directories(tuple(given.directory or [os.getcwd()]))
    output = _made_folder(given.output_directory or ".")
    difpy_options.similarity(given.similarity)  # a mistake is told before the work begins
    difpy_options.chunksize(given.chunksize)
    if given.move_to is not None:
        difPy.move_action(given.move_to, roots_of(directories))
    dif = difPy.build(
        directories,
        recursive=given.recursive,
        in_folder=given.in_folder,
        limit_extensions=given.limit_extensions,
        px_size=given.px_size,
        show_progress=given.show_progress,
        processes=given.processes,
        state=given.state,
        logs=given.logs,
    )
    found = difPy.search(
        dif,
        similarity=given.similarity,
        rotate=given.rotate,
        same_dim=given.same_dim is not False,
        lazy=given.lazy,
        show_progress=given.show_progress,
        processes=given.processes,
        chunksize=given.chunksize,
    )
    names = _write(found, output)
    if given.move_to is not None:
        found.move_to(given.move_to)
    elif given.delete:
        found.delete(silent_del=given.silent_del)
    click.echo("\n".join(["", *names, "", f"saved in '{output}'."]))
    return 1 if found.failed_to_act else 0


def _made_folder(folder: str) -> str:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}: {error.strerror}") from None
    return os.path.abspath(folder)


def _write(found: "search", folder: str) -> Sequence[str]:
    """Write the three files, which replace none, and return their names."""
    documents = {
        "results.json": found.result, "lower_quality.txt": found.lower_quality, "stats.json": found.stats,
    }  # fmt: skip
    time = dt.datetime.now()
    while True:  # another run may have ended within the same second
        names = {end: f"difPy_{time:%Y%m%d%H%M%S}_{end}" for end in documents}
        if not any(os.path.lexists(os.path.join(folder, name)) for name in names.values()):
            break
        time += dt.timedelta(seconds=1)
    for end, document in documents.items():
        try:
            with open(os.path.join(folder, names[end]), "x", encoding="ascii") as stream:
                json.dump(document, stream)
        except OSError as error:
            raise UsageError(f"cannot write {os.path.join(folder, names[end])}: {error.strerror}") from None
    return list(names.values())
