"""The command line of dupwatchd: reads the flags, calls the service, shows what comes back, sets the exit status.

Worker processes import this module too: everything heavy is imported where it is used.
"""

import gc
import json
import os
import shlex
import sys
from contextlib import ExitStack
from typing import Any, BinaryIO, NoReturn

import click

from dupwatch.output import (
    CommandGroup,
    CommandWithFilters,
    also_flag,
    completion_command,
    filter_flags,
    form_flags,
    pairs_flag,
    question_flags,
    remark,
    run,
    write_copies,
    write_pairs,
)
from dupwatchd import __version__
from dupwatchd.cluster_commands import cluster_group
from dupwatchd.errors import DupwatchError, UsageError
from dupwatchd.flags import config_flag, given, json_flag, loaded_settings
from dupwatchd.index_commands import INDEX_COMMANDS

_FOLDER = click.Path(path_type=bytes, readable=False)  # `scan` itself says what it cannot list, and does the rest
_PLAN_FILE = click.Path(path_type=bytes, readable=False)
_KEPT_BYTES = 128 << 20  # of memory: what looks at two photos of 12 megapixels take at once

CLIENT_COMMANDS = (  # of dupwatch, for those who mix both up
    "apply", "clusters", "completion", "events", "failed", "find", "ignore", "ignored", "pause", "plan", "purge",
    "quarantine", "report", "rescan", "resume", "review", "show", "status", "undo", "wait",
)  # fmt: skip


@click.group(
    name="dupwatchd",
    cls=CommandGroup,
    other_program=("dupwatch", CLIENT_COMMANDS),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="dupwatchd")
def cli() -> None:
    """Find pictures that are copies of each other: re-encoded, resized, rotated, retouched a little.

    \b
    Examples:
      dupwatchd scan ~/Photos                   look through a folder, show the groups of copies
      dupwatchd scan --json /srv/photos >a.json the same for a program
      dupwatchd check                           is the index sound?
      dupwatchd backup /mnt/backup/index.zip    a copy of it, with what was said of pictures
      dupwatchd config                          which settings are in force, and why?
      eval "$(dupwatchd completion bash)"       completes commands and flags with <Tab>

    Photos are only ever read. Exit status: 0 done, 1 failed or done in part, 2 wrong usage or configuration, 130 ended
    by Ctrl-C.
    """


@cli.command(name="scan", cls=CommandWithFilters)
@click.argument("folders", nargs=-1, type=_FOLDER, metavar="DIR...")
@config_flag
@click.option("--state", metavar="DIR", help="Where the index is kept [default: ~/.local/state/dupwatch].")
@question_flags
@also_flag
@click.option(
    "--plan", type=_PLAN_FILE, metavar="FILE", help="Write a plan for `dupwatch apply`; then --also may go as well."
)
@click.option(
    "--confirm",
    is_flag=True,
    help="Look closely at all copies, however many, so that more may go; --spare does as well.",
)
@click.option("--ignore", multiple=True, metavar="GLOB", help="Leave alone files and folders of this name; repeatable.")
@click.option("--suffix", multiple=True, metavar="EXT", help="Take up only files with this suffix; repeatable.")
@click.option("--workers", type=int, metavar="N", help="Worker processes [default: one per processor].")
@click.option(
    "--files-from",
    type=click.File("rb"),
    metavar="FILE",
    help="Only the files listed there, one path per line or each ended by a NUL byte, instead of DIR; -: stdin.",
)
@click.option("--no-recursive", is_flag=True, help="Only what lies directly in DIR, not in folders below it.")
@filter_flags
@pairs_flag
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Show at most N groups [default: all].")
@form_flags
def scan_command(
    folders: tuple[bytes, ...],
    config: str | None,
    state: str | None,
    measure: str | None,
    threshold: float | None,
    mirrored: bool,
    also: tuple[str, ...],
    plan: bytes | None,
    confirm: bool,
    ignore: tuple[str, ...],
    suffix: tuple[str, ...],
    workers: int | None,
    files_from: BinaryIO | None,
    no_recursive: bool,
    filters: dict[str, Any],
    pairs: bool,
    limit: int | None,
    form: str | None,
    spare: bool,
) -> None:
    """Index and compare the pictures under DIR..., then print the groups of copies.

    A second run only does what is new. Ctrl-C keeps what is done; the next run goes on from there. Nothing under DIR
    is ever written. What --ignore or --suffix leave out is no longer in the index; without them it is read again.

    Filters choose among what is shown, and leave nothing out of the index. Those that leave out pairs, such as
    --same-size or --across, show what is left of each group: its files that still belong together, directly or through
    others. Each group of --linkage star is of copies of one file, the first that would be kept; in one of --linkage
    complete each two files are copies. Then a chain of copies may be several groups. The folders of --across and
    --against need not be named as DIR once more. With --files-from and --no-recursive only the files that are meant are
    read and shown; what is known of others stays in the index.

    \b
    Examples:
      dupwatchd scan ~/Photos /mnt/phone
      dupwatchd scan ~/Photos --threshold 0.01            only the closest copies
      dupwatchd scan ~/Photos --also cropped,retouched    parts and versions, too
      dupwatchd scan ~/Photos --ignore 'export-*'         leave some folders out
      dupwatchd scan ~/Photos --exact --min-files 3       three or more equal files
      dupwatchd scan --across phone card --against archive
      dupwatchd scan ~/Photos --within-folder=each        copies beside each other
      dupwatchd scan ~/Photos --pairs --csv >pairs.csv
      dupwatchd scan ~/Photos --linkage star              each file a copy of one centre
      dupwatchd scan ~/Downloads --no-recursive
      find . -name '*.jpg' -newer last -print0 | dupwatchd scan --files-from -
      dupwatchd scan ~/Photos --plan copies.plan          what could go, for `dupwatch apply`
      dupwatchd scan ~/Photos --print0 --spare | xargs -0r ls -l
    """
    from dupwatch.asked_files import listed_paths
    from dupwatch.progress import progress
    from dupwatchd import scan
    from dupwatchd.heap import keep_large_pieces
    from dupwatchd.model import Verdict

    if pairs and spare:
        raise click.UsageError("--spare names files of groups: it goes without --pairs")
    if files_from is not None:
        _check_goes_with_a_list(folders, filters, no_recursive)
    folders = (*folders, *filters.get("across", ()), *filters.get("against", ()))
    if files_from is None and not folders:
        raise click.UsageError("Missing argument 'DIR...'.")
    choosing = filters.keys() - {"sort"}
    choosing |= {"pairs"} if pairs else set()
    choosing |= {"no_recursive"} if no_recursive else set()
    choosing |= {"files_from"} if files_from is not None else set()
    if plan is not None and choosing:
        flags_given = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(choosing))
        raise click.UsageError(f"--plan is made of all groups: it goes without {flags_given}")

    flags: dict[str, Any] = {
        "state": state,
        "watch": {"ignore": ignore or None, "suffixes": suffix or None},
        "index": {"workers": workers},
        "compare": {"measure": measure, "threshold": threshold, "mirrored": mirrored or None},
    }
    chosen = loaded_settings(given(flags), config).settings
    is_planned = plan is not None
    asked = scan.Asked(
        frozenset(map(Verdict, also)),
        limit,
        confirm=confirm or spare or is_planned,
        plan=is_planned,
        recursive=not no_recursive,
        pairs=pairs,
        listed=None if files_from is None else tuple(listed_paths(files_from.read())),
        **scan.choice_of(filters),
    )
    keep_large_pieces(_KEPT_BYTES)
    with ExitStack() as stack:
        with progress(sys.stderr) as bars:
            document = stack.enter_context(scan.scanning(chosen, folders, bars, asked))
        planned = None if plan is None else _written_plan(document.pop("plan"), plan)
        if pairs:
            write_pairs(document.pop("pairs"), document, form)
        else:
            write_copies(document, form, spare)
    _report_gaps(document)
    if document["files"] and (form is None or sys.stderr.isatty()):
        remark(_summary(document, proposes=plan is None))
    if planned is not None:
        remark(planned)
    # what the limit of looks leaves out is left out by every other run as well: this one is done
    by_limit = (document["pairs_left_out"] > 0) + (document["groups_not_counted"] > 0)
    sys.exit(0 if len(document["incomplete_because"]) == by_limit else 1)


def _check_goes_with_a_list(folders: tuple[bytes, ...], filters: dict[str, Any], no_recursive: bool) -> None:
    """Raise click.UsageError for what means nothing beside --files-from."""
    if folders:
        raise click.UsageError("--files-from takes the place of DIR: name one of both")
    if no_recursive:
        raise click.UsageError("--no-recursive goes with folders, --files-from is a list of files")
    if filters.get("within_folder") == "root":
        raise click.UsageError("--within-folder means the folders that are named; with --files-from: =each")


@cli.command(name="run")
@config_flag
@click.option("--root", "roots", multiple=True, metavar="DIR", help="A folder to watch with all below it; repeatable.")
@click.option("--state", metavar="DIR", help="Where the index is kept [default: ~/.local/state/dupwatch].")
@click.option("--as-indexed", is_flag=True, help="Watch the folders that the index was last made of, and no others.")
@click.option("--endpoint", metavar="EP", help="Where to listen: ipc:///path or tcp://address:port.")
@click.option("--private", is_flag=True, hidden=True, help="Serve the user who starts it, and no group nor keys.")
@click.option("-v", "--verbose", is_flag=True, help="Say of every file what becomes of it.")
@click.option("-q", "--quiet", is_flag=True, help="Say only what is wrong.")
def run_command(
    config: str | None,
    roots: tuple[str, ...],
    state: str | None,
    as_indexed: bool,
    endpoint: str | None,
    private: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Watch folders, keep the index current, and answer questions until told to stop.

    SIGTERM or Ctrl-C stops it cleanly, with exit status 0; SIGHUP reads the settings file again. Ask it with
    `dupwatch`. The settings come from flags, the environment and a file; `dupwatchd config` shows them. On a terminal
    it shows how far it is.

    \b
    Examples:
      dupwatchd run --root ~/Photos
      dupwatchd run --config /etc/dupwatch/dupwatch.toml
      dupwatchd run --root ~/Photos -v        every file is named
    """
    import logging

    from dupwatchd import run_log, service

    if verbose and quiet:
        raise click.UsageError("choose one: --verbose or --quiet")
    if as_indexed and roots:
        raise click.UsageError("choose one: --root or --as-indexed")

    flags = given(
        {"roots": [root and os.path.abspath(root) for root in roots] or None, "state": state, "endpoint": endpoint}
    )
    if private:  # whatever the file says, which is that of a service for others
        flags |= {"socket_group": None, "serve": {"curve_keys": None}}
    loaded = loaded_settings(flags, config, service=True)
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    with run_log.logging_of_run(level) as show_status:
        service.run(loaded, flags, show_status, as_indexed=as_indexed)


@cli.command(name="config")
@config_flag
@click.option("--root", "roots", multiple=True, metavar="DIR", help="As for `dupwatchd run`; repeatable.")
@click.option("--state", metavar="DIR", help="Likewise.")
@click.option("--endpoint", metavar="EP", help="Likewise.")
@click.option("--example", is_flag=True, help="Print a settings file that explains every setting, and stop.")
@json_flag
def config_command(
    config: str | None, roots: tuple[str, ...], state: str | None, endpoint: str | None, example: bool, as_json: bool
) -> None:
    """Print the settings that the service would run with, and where each value comes from.

    What is printed is a settings file itself. The service reads --config, else $DUPWATCH_CONFIG, else
    ~/.config/dupwatch/dupwatch.toml, else /etc/dupwatch/dupwatch.toml. With the latter, an index that no setting
    places lies in /var/lib/dupwatch, where systemd puts it.

    \b
    Examples:
      dupwatchd config
      dupwatchd config --config new.toml        is this file right?
      dupwatchd config --example >dupwatch.toml
    """
    from dupwatchd.settings import printing, sources

    if example:
        click.echo(printing.example(), nl=False)
        return
    flags = given(
        {"roots": [root and os.path.abspath(root) for root in roots] or None, "state": state, "endpoint": endpoint}
    )
    loaded = loaded_settings(flags, config, service=True)
    click.echo(json.dumps(printing.as_document(loaded)) if as_json else printing.in_force(loaded), nl=as_json)
    installed = sources.installed_files()
    for other in installed[1:] if loaded.file in installed[:1] else []:
        remark(f"the system's service has its settings in {other}: name that file with --config to see them")


def _written_plan(page: dict[str, Any], file: bytes) -> str:
    """Write the plan of a scan as the client would; returns in one line what is in it, and how to carry it out."""
    from dupwatch.act.plan_file import write_plan
    from dupwatch.act.planning import make_plan
    from dupwatch.act_output import plan_and_next_command
    from dupwatch.terminal import printable

    made = make_plan([page])
    try:
        write_plan(made, file)
    except OSError as error:
        raise UsageError(f"cannot write {printable(os.fsdecode(file))}: {error.strerror}") from None
    return plan_and_next_command(made, file)


def _report_gaps(document: dict[str, Any]) -> None:
    """Say on stderr what could not be looked at."""
    for folder in document["unreadable_folders"]:
        remark(f"cannot list {os.fsdecode(folder['path'])}: {folder['error']}; passed over")
    for root in document["offline"]:
        remark(f"the disk of {os.fsdecode(root)} is not there, but photos are known on it: nothing was forgotten")
    if document["changing"]:
        were = "file was" if document["changing"] == 1 else "files were"
        remark(f"{document['changing']:,} {were} still being written; scan again when they rest")
    if document["pairs_left_out"]:
        pairs = "pair of pictures was" if document["pairs_left_out"] == 1 else "pairs of pictures were"
        remark(f"{document['pairs_left_out']:,} {pairs} left out: only the nearest ones of each picture are looked at")
    if not document["files"] and not document["unreadable_folders"]:
        remark("no photos found")


def _summary(document: dict[str, Any], *, proposes: bool) -> str:
    """Return in one line what a scan has found, and if it ``proposes`` something, the next command worth typing."""
    from dupwatch.render import to_win
    from dupwatch.terminal import counted

    command = shlex.join(["dupwatchd", *sys.argv[1:]])
    if "total_pairs" in document:
        photos, found = counted(document["files"], "photo"), counted(document["total_pairs"], "pair")
        return f"{photos}, {found} of copies, {len(document['failed']):,} unreadable"
    if not proposes:
        next_command = ""
    elif document["total_clusters"]:
        next_command = f"; `{command} --print0 --spare | xargs -0r ls -l` lists the files that can go"
    else:
        next_command = "; `dupwatchd run --root DIR` keeps watch from now on"
    can_be_won = to_win(document["reclaimable_bytes"], at_most=document["reclaimable_at_most"])
    return (
        f"{counted(document['files'], 'photo')}, {counted(document['total_clusters'], 'group')} of copies, "
        f"{can_be_won}, {len(document['failed']):,} unreadable{next_command}"
    )


for command in (*INDEX_COMMANDS, cluster_group, completion_command(cli, "dupwatchd")):
    cli.add_command(command)


def main() -> NoReturn:
    """Run the command; every error we know ends as one line on stderr and its exit status."""
    # Imports and the models of the settings make many objects that all stay; to look through them for rubbish again and
    # again is wasted, and start-up is most of a scan that finds nothing new. `loaded_settings` switches it on again.
    gc.disable()
    # The workers have the processors; a second thread of the matrix library would only spin against them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # pydantic would look through all installed packages for plug-ins at every start
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    run(cli, DupwatchError)
