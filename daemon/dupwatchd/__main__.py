"""The command line of dupwatchd: reads the flags, calls the service, shows what comes back, sets the exit status.

Worker processes import this module too: everything heavy is imported where it is used.
"""

import dataclasses
import json
import os
import sys
from typing import Any, NoReturn

import click

from dupwatchd import __version__
from dupwatchd.errors import DupwatchError, UsageError

_FOLDER = click.Path(path_type=bytes)
_CONFIG = click.option("--config", metavar="FILE", help="The settings file.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="dupwatchd")
def cli() -> None:
    r"""Find pictures that are copies of each other: re-encoded, resized, rotated, retouched a little.

    \b
    Examples:
      dupwatchd scan ~/Photos                   look through a folder, show the groups of copies
      dupwatchd scan --json /srv/photos >a.json the same for a program
      dupwatchd check                           is the index sound?
      dupwatchd config                          which settings are in force, and why?

    Photos are only ever read.
    """


@cli.command()
@click.argument("folders", nargs=-1, required=True, type=_FOLDER, metavar="DIR...")
@_CONFIG
@click.option("--state", metavar="DIR", help="Where the index is kept [default: ~/.local/state/dupwatch].")
@click.option("--measure", metavar="M", help="structure, mse, or your own as package.module:name [default: structure].")
@click.option(
    "--threshold", type=float, metavar="T", help="How far copies may differ [default: 0.02 structure, 25 mse]."
)
@click.option("--mirrored", is_flag=True, help="Count mirror images as copies.")
@click.option("--ignore", multiple=True, metavar="GLOB", help="Leave alone files and folders of this name; repeatable.")
@click.option("--suffix", multiple=True, metavar="EXT", help="Take up only files with this suffix; repeatable.")
@click.option("--workers", type=int, metavar="N", help="Worker processes [default: one per processor].")
@click.option("--json", "form", flag_value="json", help="Print one JSON document.")
@click.option("--csv", "form", flag_value="csv", help="Print one line per file, with a header.")
@click.option(
    "--print0", "form", flag_value="print0", help="Print raw paths, each ended by a NUL byte, kept file first."
)
@click.option("--spare", is_flag=True, help="With --print0: only files within the threshold of the kept one.")
def scan(
    folders: tuple[bytes, ...],
    config: str | None,
    state: str | None,
    measure: str | None,
    threshold: float | None,
    mirrored: bool,
    ignore: tuple[str, ...],
    suffix: tuple[str, ...],
    workers: int | None,
    form: str | None,
    spare: bool,
) -> None:
    r"""Index and compare the pictures under DIR..., then print the groups of copies.

    A second run only does what is new. Ctrl-C keeps what is done; the next run goes on from there. Nothing under DIR
    is ever written. What --ignore or --suffix leave out is no longer in the index; without them it is read again.

    \b
    Examples:
      dupwatchd scan ~/Photos /mnt/phone
      dupwatchd scan ~/Photos --threshold 0.01            only the closest copies
      dupwatchd scan ~/Photos --ignore 'export-*'         leave some folders out
      dupwatchd scan ~/Photos --print0 --spare | xargs -0r ls -l
    """
    from dupwatch import render
    from dupwatch.progress import progress
    from dupwatchd import service, settings, sources

    if spare and form != "print0":
        raise click.UsageError("--spare goes with --print0")
    flags: dict[str, Any] = {
        "state": state,
        "watch": {"ignore": ignore or None, "suffixes": suffix or None},
        "index": {"workers": workers},
        "compare": {"measure": measure, "threshold": threshold, "mirrored": mirrored or None},
    }
    chosen = settings.load(_given(flags), sources.find_file(config))
    with progress(sys.stderr) as bars:
        document = service.scan(chosen, folders, bars)
    if form == "json":
        render.write_json(document, sys.stdout)
    elif form == "csv":
        render.write_csv(document, sys.stdout.buffer)
    elif form == "print0":
        render.write_paths0(document, sys.stdout.buffer, spare_only=spare)
    else:
        render.write_table(document, sys.stdout)
    sys.stdout.flush()
    sys.exit(_report_gaps(document))


@cli.command()
@_CONFIG
@click.option("--state", metavar="DIR", help="The state directory [default: ~/.local/state/dupwatch].")
@click.option("--repair", is_flag=True, help="Mend what can be mended, from the photos if need be.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def check(config: str | None, state: str | None, repair: bool, as_json: bool) -> None:
    r"""Verify the index: the database in itself, the thumbnails, and that both agree.

    Exit status 0: all is sound, or was mended. 1: something is wrong. Photos are only ever read, and a database
    beyond help is set aside, not deleted.

    \b
    Examples:
      dupwatchd check
      dupwatchd check --repair
    """
    from dupwatch.progress import progress
    from dupwatchd import service, settings, sources

    chosen = settings.load(_given({"state": state}), sources.find_file(config))
    with progress(sys.stderr) as bars:
        findings = service.check(chosen, repair=repair, progress=bars)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(findings)))
    else:
        for line in findings.faults:
            click.echo(f"wrong: {line}")
        for line in findings.mended:
            click.echo(f"mended: {line}")
        if findings.faults and not repair:
            click.echo("run `dupwatchd check --repair` to mend it")
        for line in findings.left:
            click.echo(f"still wrong: {line}")
        if not findings.faults:
            click.echo(f"all is sound: {findings.pictures} pictures, {findings.matches} matches")
    sys.exit(1 if findings.left or (findings.faults and not findings.mended) else 0)


@cli.command()
@_CONFIG
@click.option("--root", "roots", multiple=True, metavar="DIR", help="As for `dupwatchd run`; repeatable.")
@click.option("--state", metavar="DIR", help="Likewise.")
@click.option("--endpoint", metavar="EP", help="Likewise.")
@click.option("--example", is_flag=True, help="Print a settings file that explains every setting, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def config(
    config: str | None, roots: tuple[str, ...], state: str | None, endpoint: str | None, example: bool, as_json: bool
) -> None:
    r"""Print the settings that the service would run with, and where each value comes from.

    What is printed is a settings file itself. The service reads --config, else $DUPWATCH_CONFIG, else
    ~/.config/dupwatch/dupwatch.toml, else /etc/dupwatch/dupwatch.toml.

    \b
    Examples:
      dupwatchd config
      dupwatchd config --config new.toml        is this file right?
      dupwatchd config --example >dupwatch.toml
    """
    from dupwatchd import config as text
    from dupwatchd import settings, sources

    if example:
        click.echo(text.example(), nl=False)
        return
    flags = {"roots": [os.path.abspath(root) for root in roots] or None, "state": state, "endpoint": endpoint}
    loaded = settings.load_with_origins(_given(flags), sources.find_file(config, service=True))
    click.echo(json.dumps(text.as_document(loaded)) if as_json else text.in_force(loaded), nl=as_json)


def _report_gaps(document: dict[str, Any]) -> int:
    """Say on stderr what could not be looked at; returns the exit status."""
    from dupwatch.terminal import printable

    for folder in document["unreadable_folders"]:
        _say(f"cannot list {printable(folder['path'])}: {folder['error']}; passed over")
    for root in document["offline"]:
        _say(f"the disk of {printable(root)} is not there, but photos are known on it: nothing was forgotten")
    if document["changing"]:
        _say(f"{document['changing']} files were still being written; scan again when they rest")
    if not document["files"] and not document["unreadable_folders"]:
        _say("no photos found")
    return 1 if document["unreadable_folders"] or document["offline"] or document["changing"] else 0


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    """Without the flags that were not given, so that environment and defaults hold for them."""
    given = {name: _given(value) if isinstance(value, dict) else value for name, value in flags.items()}
    return {name: value for name, value in given.items() if value is not None and value != {}}


def _say(line: str) -> None:
    from dupwatch.terminal import printable

    # it may hold a file name, and whoever made that must not steer the terminal
    click.echo(f"dupwatchd: {printable(line)}", err=True)


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


def main() -> NoReturn:
    """Run the command; every error we know ends as one line on stderr and its exit status."""
    # The workers have the processors; a second thread of the matrix library would only spin against them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # pydantic would look through all installed packages for plug-ins at every start
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    has_output = sys.stdout is not None
    _open_missing_streams()
    try:
        if not has_output:
            raise UsageError("standard output is closed: there is nowhere to print the answer")
        cli.main(standalone_mode=False)
        sys.stdout.flush()
    except DupwatchError as error:
        _say(str(error))
        sys.exit(error.exit_status)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(1)
    except OSError as error:
        # only output can get here; what is still unwritten must not fail a second time at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # then whoever read our output has seen enough
            _say(f"cannot write the output: {error.strerror or error}")
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    main()
