"""The command line of fast-diff-py 1.0 over this engine: `dupwatch-fastdiff`.

Flags go in as `fastdiffpy` takes them. Out: the SQLite file, whose path goes to stdout; notes, progress and questions
go to stderr. Two flags of our own read such a file: ``--export`` and ``--import``. Exit status: 0 done, 1 failed,
2 wrong usage, 130 ended by Ctrl-C; then `-R` goes on.
"""

import argparse
import io
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dupwatch.errors import ClientError
from dupwatch.output import run
from dupwatchd.errors import DupwatchError, UsageError

if TYPE_CHECKING:
    from dupwatchd.compat.fastdiff import FastDifPy

OUTPUT = "fast_diff_py.db"
EXPORTS = ("pairs", "clusters_a", "clusters_b", "hash_clusters", "unreadable_files", "disallowed_files")
_TARGETS = (16, 4096)


def parser() -> argparse.ArgumentParser:
    """Return the flags of fastdiffpy, and our own."""
    made = argparse.ArgumentParser(
        prog="dupwatch-fastdiff",
        description="Find duplicate pictures in one partition of folders, or across two, with the flags and the SQLite "
        "file of fast-diff-py 1.0.",
        epilog="docs/fastdiff.md tells what each flag does here, and what the file holds.",
    )
    add = made.add_argument
    add("-R", "--recover", metavar="PATH", help="go on with a job: its folder, or the file with its settings")
    add("-a", "--part_a", nargs="+", metavar="DIR", help="the folders of partition a")
    add(
        "-b", "--part_b", nargs="*", metavar="DIR", help="the folders of partition b; without them a is compared with a"
    )
    add("-r", "--no_recursive", action="store_true", help="leave out folders in folders")
    add("-c", "--compression_target", type=int, metavar="PX", help="side at which pictures are compared [default: 64]")
    add("-p", "--purge", action="store_true", help="begin anew, without a question, if there is an unfinished job")
    add("-C", "--cpu_proc", type=int, metavar="N", help="processes that read, and threads that compare")
    add("-v", "--verbose", action="store_true", help="log more")
    add("-H", "--hash", action="store_true", help="make hashes of the thumbnails")
    add("-S", "--shift_amount", type=int, metavar="BITS", help="bits of each value that hashes pass over [default: 4]")
    add("-f", "--no_compress", action="store_true", help="only make hashes; goes with --no_second_loop")
    add("-d", "--no_second_loop", action="store_true", help="do not compare")
    add("-m", "--skip_matching_hash", action="store_true", help="equal hashes are duplicates; needs --hash")
    add("-M", "--match_aspect", type=float, metavar="F", help="0: sides must agree; from 1 on: ratios, by this factor")
    add("-T", "--threshold", type=float, metavar="D", help="the largest difference of duplicates [default: 200]")
    add("-l", "--cache_preload", type=int, metavar="N", help="accepted, and has no meaning here")
    add("-t", "--temp_dir", metavar="DIR", help="where an unfinished job is kept [default: the first folder of a]")
    add("-o", "--output_dir", metavar="PATH", help="the folder or file for the result [default: that folder]")
    add("--export", choices=EXPORTS, help="print these rows of the file DB instead")
    add("--import", dest="verify", action="store_true", help="print the pairs of DB, and look at their files again")
    add("--format", choices=("csv", "ndjson"), default="csv", help="how rows are printed [default: csv]")
    add("database", nargs="?", metavar="DB", help="a database of fast-diff-py, for --export and --import")
    return made


def main() -> NoReturn:
    """Run the command line; every error we know ends as one line on stderr and its exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is to be ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the workers have the processors
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    arguments = parser().parse_args()
    sys.argv[1:] = []  # click is to parse nothing, it only ends the program as the others end
    run(click.Command("dupwatch-fastdiff", callback=lambda: _run(arguments), add_help_option=False), DupwatchError)


def _run(given: argparse.Namespace) -> None:
    try:
        if given.export or given.verify or given.database:
            _print_rows(given)
        else:
            _execute(_job(given))
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(_in_one_line(error)) from None
    except sqlite3.Error as error:  # full, damaged, locked, or with other columns
        raise DupwatchError(f"{given.database or 'the database of the job'} cannot be used: {error}") from None
    except ClientError as error:
        known = DupwatchError(str(error))
        known.exit_status = error.exit_status
        raise known from None


def _in_one_line(error: Exception) -> str:
    """Return what is wrong in one line; pydantic tells it in several, by field."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    said = (f"{_field(one['loc'])}: {one['msg']}, not {one['input']!r}" for one in errors())
    return "; ".join(dict.fromkeys(said))


def _field(place: Sequence[object]) -> str:
    """Return the name of the field, of a place in which classes and kinds of values are named as well."""
    return [str(one) for one in place if str(one).isidentifier() and str(one).islower()][-1]


def _print_rows(given: argparse.Namespace) -> None:
    from dupwatch.progress import progress
    from dupwatchd.compat import fastdiff_exchange as exchange
    from dupwatchd.compat.fastdiff_db import SQLiteDB

    if not given.database or bool(given.export) == given.verify:
        raise UsageError("name a database of fast-diff-py, and either --export or --import")
    if not os.path.isfile(given.database):
        raise UsageError(f"no such file: {given.database}")
    if given.verify:
        _make_temp_dir(given.temp_dir)
    database = SQLiteDB(given.database)
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # paths come out byte for byte
    try:
        if given.export:
            known = exchange.rows_of(database, given.export)
            exchange.write(known, exchange.columns_of(given.export), given.format, sys.stdout)
        else:
            with progress(sys.stderr) as bars:
                rows = list(exchange.verified(database, given.temp_dir, bars))
            exchange.write(rows, exchange.VERIFIED, given.format, sys.stdout)
    finally:
        database.close()


def _job(given: argparse.Namespace) -> "FastDifPy":
    """Return the job that is meant: an unfinished one, or a new one, which is begun only if nothing is wrong."""
    from dupwatchd.compat.fastdiff import FastDifPy
    from dupwatchd.compat.fastdiff_config import Config
    from dupwatchd.compat.fastdiff_files import check_directories

    if given.recover:
        return _recovered(given.recover)
    if not given.part_a:
        raise UsageError("name the folders of partition a: -a DIR")
    for folder in (*given.part_a, *(given.part_b or [])):
        if not os.path.isdir(folder):
            raise UsageError(f"no such directory: {folder}")
    config = Config(part_a=given.part_a, part_b=given.part_b or [], **_settings(given))
    check_directories(config)
    _make_temp_dir(given.temp_dir)
    folder = given.temp_dir or given.part_a[0]
    _output(given.output_dir, os.path.join(folder, FastDifPy.default_db_file))
    places = [os.path.join(folder, name) for name in (FastDifPy.default_config_file, FastDifPy.default_db_file)]
    if not given.purge and any(map(os.path.lexists, places)) and not _begin_anew(folder):
        return _recovered(folder)
    return FastDifPy(config=config, purge=True, workdir=given.temp_dir)


def _make_temp_dir(folder: str | None) -> None:
    if folder:
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--temp_dir: cannot make {folder}: {error.strerror}") from None


def _begin_anew(folder: str) -> bool:
    """Ask whether an unfinished job is to be given up; any answer but a `y` is a no. Raises UsageError for none."""
    click.echo(f"There is an unfinished job in {folder}. Begin anew? (y/n) ", err=True, nl=False)
    answer = sys.stdin.readline()
    if not answer:  # the unfinished job may be another one than that which was asked for
        click.echo(err=True)
        raise UsageError(f"there is an unfinished job in {folder}: `-R {folder}` goes on with it, `-p` begins anew")
    return answer.strip().lower() == "y"


def _recovered(path: str) -> "FastDifPy":
    from dupwatchd.compat.fastdiff import FastDifPy

    config = os.path.join(path, FastDifPy.default_config_file) if os.path.isdir(path) else path
    if not os.path.isfile(config):
        raise UsageError(f"there is nothing to go on with: no such file: {config}")
    job = FastDifPy(default_cfg_path=config)
    job.logger.info("going on with %s", config)
    return job


def _settings(given: argparse.Namespace) -> dict[str, Any]:
    """The flags as fields of a `Config`; raises UsageError for what does not go together."""
    if given.skip_matching_hash and not given.hash:
        raise UsageError("--skip_matching_hash needs --hash")
    if given.no_compress and not given.no_second_loop:
        raise UsageError("--no_compress goes with --no_second_loop: comparing needs thumbnails")
    if given.no_compress and not given.hash:
        raise UsageError("--no_compress goes with --hash: else there is nothing to do")
    if given.match_aspect is not None and given.match_aspect != 0 and not given.match_aspect >= 1:
        raise UsageError(f"--match_aspect must be 0, or a factor from 1 on, not {given.match_aspect:g}")
    target = given.compression_target
    if target is not None and not _TARGETS[0] <= target <= _TARGETS[1]:
        raise UsageError(f"--compression_target must be from {_TARGETS[0]} to {_TARGETS[1]}, not {target}")
    if given.cpu_proc is not None and given.cpu_proc < 1:
        raise UsageError(f"--cpu_proc must be 1 at least, not {given.cpu_proc}")
    first = {
        "compute_hash": given.hash, "shift_amount": given.shift_amount, "compress": not given.no_compress,
        "cpu_proc": given.cpu_proc,
    }  # fmt: skip
    second = {
        "skip_matching_hash": given.skip_matching_hash, "match_aspect_by": given.match_aspect,
        "diff_threshold": given.threshold, "preload_count": given.cache_preload, "cpu_proc": given.cpu_proc,
    }  # fmt: skip
    return {
        "recurse": not given.no_recursive,
        "first_loop": _named(first),
        "second_loop": _named(second),
        "do_second_loop": not given.no_second_loop,
        "cli_args": vars(given),
        **_named({"compression_target": target, "log_level": 10 if given.verbose else None}),
    }


def _named(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _execute(job: "FastDifPy") -> None:
    """Do what is left of a job, and put the result where it belongs."""
    from dupwatchd.compat.fastdiff import Progress
    from dupwatchd.compat.fastdiff_reading import if_stopped
    from dupwatchd.interruption import stoppable

    output = _output((job.config.cli_args or {}).get("output_dir"), job.db.path)
    with stoppable(f"interrupted: {if_stopped(job.config)}"):
        if job.config.state is Progress.INIT:
            job.full_index()
        if job.config.state in (Progress.INDEXED_DIRS, Progress.FIRST_LOOP_IN_PROGRESS):
            job.first_loop()
        if job.config.state in (Progress.FIRST_LOOP_DONE, Progress.SECOND_LOOP_IN_PROGRESS):
            job.second_loop()
        job.commit()
    try:
        shutil.copyfile(job.db.path, output)
    except OSError as error:
        raise DupwatchError(f"cannot write {output}: {error.strerror}; the job is kept: `-R` goes on") from None
    job.config.retain_progress, job.config.delete_db, job.config.delete_thumb = False, True, True
    job.cleanup()
    click.echo(output)


def _output(asked: str | None, db_path: str) -> str:
    """Return the path of the result; raises UsageError if it cannot be written, or another kind of file is there.

    ``db_path`` is the database of the job, beside which it belongs if nothing was ``asked`` for.
    """
    from dupwatchd.compat.fastdiff_db import is_fastdiff_db

    asked = asked or os.path.dirname(db_path) or "."
    output = os.path.abspath(os.path.join(asked, OUTPUT) if os.path.isdir(asked) else asked)
    if not os.path.isdir(os.path.dirname(output)):
        raise UsageError(f"--output_dir: no such directory: {os.path.dirname(output)}")
    if os.path.realpath(output) == os.path.realpath(db_path):
        raise UsageError(f"{output} is the database of the job, which goes at its end; choose another --output_dir")
    if os.path.lexists(output) and not is_fastdiff_db(output):
        raise UsageError(f"{output} is no database of fast-diff-py: it is not replaced; choose another --output_dir")
    return output
