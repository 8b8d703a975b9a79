"""The command line of dupwatch: reads the flags, asks the service, shows the answer, sets the exit status.

A command starts in less than a tenth of a second: what only some commands need is imported where it is used.
"""

import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dupwatch.act_commands import add_act_commands, quarantine_size
from dupwatch.errors import ClientError, NoServiceError, RequestFailedError, WrongUsageError
from dupwatch.look_commands import add_look_commands
from dupwatch.memory_commands import add_memory_commands
from dupwatch.output import (
    Command,
    CommandGroup,
    CommandWithFilters,
    FiniteRange,
    also_flag,
    completion_command,
    filter_flags,
    form_flags,
    paged,
    pairs_flag,
    question_flags,
    remark,
    remark_if_incomplete,
    run,
    write_copies,
    write_pairs,
)
from dupwatch.show_command import show_command

if TYPE_CHECKING:
    from dupwatch.client import Client

REFRESH_SECONDS = 1.0

DAEMON_COMMANDS = (  # of dupwatchd, for those who mix both up
    "backup", "check", "cluster", "completion", "config", "forget", "restore", "run", "scan",
)  # fmt: skip
WAIT_ADVICE = "`dupwatch wait` returns when the rest is read; `dupwatch status` tells how far it is"
STATUS_ADVICE = "`dupwatch status` says why"

_BYTES = click.Path(path_type=bytes, readable=False)  # what cannot be read is told file by file, not as wrong usage
_ENDPOINT_HELP = "Where the service listens: a socket file, or tcp://HOST:PORT."
_KEYS_HELP = "Folder with client.key_secret and server.key, for a service that demands keys."


def _connection_flags(command: Command) -> Command:
    """Add ``--endpoint`` and ``--keys``, and hand the command a function that makes the client."""
    keys = click.option("--keys", metavar="DIR", expose_value=False, callback=_remember, help=_KEYS_HELP)
    endpoint = click.option("--endpoint", metavar="EP", expose_value=False, callback=_remember, help=_ENDPOINT_HELP)
    return endpoint(keys(command))


def _remember(context: click.Context, option: click.Parameter, value: str | None) -> None:
    """Keep the value of a flag, which may stand before or after the command's name; the latter wins."""
    if value is not None:
        context.ensure_object(dict)[option.name] = value


_json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(
    name="dupwatch",
    cls=CommandGroup,
    other_program=("dupwatchd", DAEMON_COMMANDS),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, wanted: _show_version(context) if wanted else None,
    help="Show the version and exit.",
)
@_connection_flags
def cli() -> None:
    """Ask the dupwatch service which pictures are copies of each other.

    \b
    Examples:
      dupwatch status --watch            what the service is at
      dupwatch clusters                  the groups of copies, as a table
      dupwatch clusters --json           the same for a program
      dupwatch find ~/Downloads/*.jpg    are these pictures known?
      dupwatch ignore ONE.jpg OTHER.jpg  these are not duplicates
      eval "$(dupwatch completion bash)" completes commands and flags with <Tab>

    The service is sought at --endpoint, else at DUPWATCH_ENDPOINT, else at the user's socket
    ($XDG_RUNTIME_DIR/dupwatch/query.sock), else at the system's (/run/dupwatch/query.sock). Long tables go through
    $PAGER.

    Exit status: 0 done, 1 failed or done in part, 2 wrong usage, 3 no service reachable, 4 `find` knows none of the
    files, 130 ended by Ctrl-C.
    """


@cli.command()
@click.option("--watch", is_flag=True, help="Show it anew every second, until Ctrl-C.")
@_json_flag
@_connection_flags
def status(watch: bool, as_json: bool) -> None:
    """Show what the service knows, and how far it is.

    \b
    Examples:
      dupwatch status
      dupwatch status --watch               until Ctrl-C
      dupwatch status --json | jq .pending  for scripts; with --watch one line per second
    """
    with _client() as client:
        if watch:
            _watch_status(client, as_json)
        else:
            _show_status({**client.request("status"), "quarantine": quarantine_size()}, as_json)


@cli.command()
@click.option("--timeout", type=FiniteRange(min=0), metavar="S", help="Give up after S seconds, with status 1.")
@_json_flag
@_connection_flags
def wait(timeout: float | None, as_json: bool) -> None:
    """Return once the start-up scan is over and nothing is pending.

    If no service is there yet, it is waited for, up to 15 seconds.

    \b
    Examples:
      dupwatch wait && dupwatch clusters
      dupwatch wait --timeout 60 || echo "still busy"
    """
    from dupwatch.waiting import wait_until_idle

    result = wait_until_idle(_client, None if timeout is None else time.monotonic() + timeout, remark)
    if as_json:
        _write_json(result)
    elif not result["idle"]:
        pending = f", {result['pending']:,} pending" if isinstance(result.get("pending"), int) else ""
        remark(f"still busy after {timeout:g} s{pending}")
    sys.exit(0 if result["idle"] else 1)


@cli.command(cls=CommandWithFilters)
@question_flags
@also_flag
@filter_flags
@pairs_flag
@click.option("--under", type=_BYTES, metavar="DIR", help="Only groups with a file under DIR.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most N groups [default: all].")
@click.option("--offset", type=click.IntRange(min=0), default=0, metavar="N", help="Skip the first N groups.")
@form_flags
@_connection_flags
def clusters(
    measure: str | None,
    threshold: float | None,
    mirrored: bool,
    also: tuple[str, ...],
    filters: dict[str, Any],
    pairs: bool,
    under: bytes | None,
    limit: int | None,
    offset: int,
    form: str | None,
    spare: bool,
) -> None:
    """Show the groups of copies, the one that frees most bytes first.

    Filters that leave out pairs, such as --same-size or --across, show what is left of each group: its files that still
    belong together, directly or through others. With --within-folder these are the files of one root, with
    --within-folder=each those of one folder. Each group of --linkage star is of copies of one file, the first that
    would be kept; in one of --linkage complete each two files are copies. Then a chain of copies may be several groups.

    \b
    Examples:
      dupwatch clusters
      dupwatch clusters --under ~/Photos/2024 --threshold 0.01
      dupwatch clusters --also cropped,retouched
      dupwatch clusters --limit 20 --offset 40
      dupwatch clusters --exact --min-files 3 --sort files    three or more equal files
      dupwatch clusters --across phone card --against archive what of phone and card is in the archive?
      dupwatch clusters --pairs --csv >pairs.csv
      dupwatch clusters --linkage complete                    every two files of a group are copies
      dupwatch clusters --within-folder=each --aspect 1.05    copies beside each other, of about one shape
      dupwatch clusters --print0 --spare | xargs -0r ls -l
    """
    from dupwatch.pages import all_clusters, all_failures, all_pairs

    if pairs and spare:
        raise click.UsageError("--spare names files of groups: it goes without --pairs")
    question = {
        "measure": measure,
        "threshold": threshold,
        "mirrored": mirrored or None,
        "also": ",".join(also) or None,
        **filters,
    }
    with _client() as client:
        folder = _full_path(client, under) if under is not None else None
        for partition in filters.keys() & {"across", "against"}:
            question[partition] = [_full_path(client, one) for one in filters[partition]]
        question["under"] = folder
        if pairs:
            head, rows = all_pairs(client, question, limit, offset)
            _check_are_watched(client, question, head["total_pairs"])
            write_pairs(rows if limit != 0 else (), head, form)
            remark_if_incomplete(head, _advice(client, head))
            return
        document = all_clusters(client, question, limit, offset)
        _check_are_watched(client, question, document["total_clusters"])
        if form in (None, "json"):
            inside = b"" if folder is None else folder.rstrip(b"/") + b"/"
            failures = all_failures(client)["failed"]
            document["failed"] = [one for one in failures if one["path"].startswith(inside)]
        advice, left = _advice(client, document), _close_looks_left(client, document)
    write_copies(document, form, spare)
    if left is not None:
        remark(left)
    remark_if_incomplete(document, advice)


@cli.command()
@click.argument("files", nargs=-1, required=True, type=_BYTES, metavar="FILE...")
@question_flags
@_json_flag
@_connection_flags
def find(files: tuple[bytes, ...], measure: str | None, threshold: float | None, mirrored: bool, as_json: bool) -> None:
    """Tell whether pictures are known, and where their copies lie. Nothing is added to the index.

    FILE may be a folder, which stands for all files below it that have the suffix of a picture; links below it are
    not followed. It may be -, which stands for a list on stdin, one path per line, or each ended by a NUL byte. The
    files are sent to the service, which opens none for you.

    Only copies that are there at this moment count, and that are none of the files asked for: what is asked is whether
    all of these could go. Exit status 0: each file has a copy as good as it: of the same picture, for certain, not
    smaller, not of lower quality. 1: some have not, or could not be read. 4: none is known.

    \b
    Examples:
      dupwatch find IMG_1234.jpg
      dupwatch find --mirrored /media/card/DCIM
      find . -newer last-import -print0 | dupwatch find -
      dupwatch find --json new.heic | jq -r '.files[].copies[].path'
    """
    from dupwatch.asked_files import Asked, asked_files, find_marked, found_status, found_summary
    from dupwatch.pages import completeness
    from dupwatch.sending import Question

    question: Question = {"measure": measure, "threshold": threshold, "mirrored": mirrored or None}
    found = []
    with _client() as client:
        wanted = list(asked_files(files, sys.stdin.buffer))
        asked = Asked(wanted if client.shares_paths else ())  # a path of ours may be another file there
        for file, error in wanted:
            if error is None:
                found.append(find_marked(client, file, question, asked))
            else:
                found.append({"path": file, "known": False, "copies": [], "error": error})
            if not as_json:
                _show_found(found[-1])
        how_complete = completeness(found)
        advice = _advice(client, how_complete)
    if as_json:
        _write_json({"files": found, **how_complete})
    elif len(found) != 1:
        remark(found_summary(found))
    remark_if_incomplete(how_complete, advice)
    sys.exit(found_status(found))


@cli.command()
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most N files [default: all].")
@click.option("--offset", type=click.IntRange(min=0), default=0, metavar="N", help="Skip the first N files.")
@_json_flag
@_connection_flags
def failed(limit: int | None, offset: int, as_json: bool) -> None:
    """List the files that could not be read, with the reason.

    \b
    Examples:
      dupwatch failed
      dupwatch failed --json | jq -r '.failed[].path'
    """
    from dupwatch import render
    from dupwatch.pages import all_failures
    from dupwatch.terminal import page_on

    with _client() as client:
        document = all_failures(client, limit, offset)
        advice = _advice(client, document)
    found = document["failed"]
    if as_json:
        _write_json(document)
    elif found:
        paged(lambda stream: render.write_failures(found, page_on(stream)))
    elif document["total"]:
        click.echo("No more.")
    else:
        click.echo("Every file could be read." if render.is_complete(document) else "No failure so far.")
    remark_if_incomplete(document, advice)


@cli.command()
@click.option(
    "--only", multiple=True, metavar="EVENT", help="indexed, removed, moved, matched, returned or failed; repeatable."
)
@_json_flag
@_connection_flags
def events(only: tuple[str, ...], as_json: bool) -> None:
    """Show what happens, as it happens, until Ctrl-C.

    `resync` means that events were missed, `away` that the service is: whoever keeps a copy of the state asks anew.

    \b
    Examples:
      dupwatch events
      dupwatch events --only matched --only failed
      dupwatch events --json | while read -r line; do echo "$line"; done
    """
    from dupwatch.json_text import json_line
    from dupwatch.missed_events import Notice
    from dupwatch.show import event_line
    from dupwatch.terminal import page_on
    from dupwatch.wire import TOPICS

    for topic in only:
        if topic not in TOPICS:
            raise click.UsageError(f"there is no event {topic!r}; choose from {', '.join(TOPICS)}")
    page = page_on(sys.stdout)
    with _client() as client:
        for event in client.events(only):
            if as_json and isinstance(event, Notice):
                click.echo(json_line({"event": event.kind, "reason": event.reason}))
            elif isinstance(event, Notice):
                remark(f"{event.kind}: {event.reason}")
            elif as_json:
                about = {"event": event.topic, "seq": event.seq, "time": event.time}
                click.echo(json_line({**event.fields, **about}))
            else:
                click.echo(event_line(event.topic, event.time, event.fields, page))


@cli.command()
@click.argument("folder", required=False, type=_BYTES, metavar="[DIR]")
@_json_flag
@_connection_flags
def rescan(folder: bytes | None, as_json: bool) -> None:
    """Look through a folder again, or through all roots, without waiting for the next scan.

    \b
    Examples:
      dupwatch rescan
      dupwatch rescan /srv/photos/2024 && dupwatch wait
    """
    with _client() as client:
        result = client.request("rescan", dir=None if folder is None else _full_path(client, folder))
    _confirm(result, "the scan is under way; `dupwatch wait` waits for it", as_json)


@cli.command()
@_json_flag
@_connection_flags
def pause(as_json: bool) -> None:
    """Let the service rest: changes are noted, nothing is read, questions are answered.

    \b
    Examples:
      dupwatch pause
    """
    with _client() as client:
        _confirm(client.request("pause"), "paused; `dupwatch resume` goes on", as_json)


@cli.command()
@_json_flag
@_connection_flags
def resume(as_json: bool) -> None:
    """Go on after `pause`.

    \b
    Examples:
      dupwatch resume
    """
    with _client() as client:
        _confirm(client.request("resume"), "the service goes on", as_json)


add_memory_commands(cli, _connection_flags, lambda: _client())
add_act_commands(cli, _connection_flags, lambda: _client())
add_look_commands(cli, _connection_flags, lambda: _client())
cli.add_command(completion_command(cli, "dupwatch"))
cli.add_command(show_command(_connection_flags, lambda: _client()))


def main() -> NoReturn:
    """Run the command; every error ends as one line on stderr and its exit status."""
    run(cli, ClientError, "the service's answer is not one that this client understands; are both of one version?")


def _client() -> "Client":
    """Return a client for the endpoint and the keys that the flags name; raises WrongUsageError."""
    from dupwatch.client import Client

    flags: dict[str, str] = {}
    context = click.get_current_context()
    for level in (context.parent, context):
        flags |= (level.obj or {}) if level is not None else {}
    return Client(flags.get("endpoint"), keys=flags.get("keys"))


def _show_version(context: click.Context) -> None:
    from importlib.metadata import version

    click.echo(f"dupwatch, version {version('dupwatch')}")
    context.exit()


def _write_json(document: dict[str, Any]) -> None:
    from dupwatch.json_text import write_json

    write_json(document, sys.stdout)


def _confirm(result: dict[str, Any], words: str, as_json: bool) -> None:
    if as_json:
        _write_json(result)
    else:
        click.echo(words)


def _show_status(result: dict[str, Any], as_json: bool) -> None:
    from dupwatch.show import status_lines
    from dupwatch.terminal import page_on

    if as_json:
        _write_json(result)
    else:
        page = page_on(sys.stdout)
        page.write(status_lines(result, page))


def _watch_status(client: "Client", as_json: bool) -> None:
    """Show the status every second, on a terminal always in the same place, until Ctrl-C.

    A service that goes away is waited for. Raises NoServiceError if none is there at the beginning.
    """
    from dupwatch.json_text import json_line
    from dupwatch.show import status_lines
    from dupwatch.terminal import page_on

    result = client.request("status")  # if nobody serves now, that is the answer
    drawn = 0
    while True:
        page = page_on(sys.stdout)  # its width may have changed
        if as_json:
            page.write([json_line(result)])
        else:
            lines = list(status_lines(result, page))
            back = f"\x1b[{drawn}A\x1b[J" if drawn and sys.stdout.isatty() else ""
            sys.stdout.write(back)
            page.write(lines)
            drawn = len(lines)
        sys.stdout.flush()
        time.sleep(REFRESH_SECONDS)
        try:
            result = client.request("status")
        except NoServiceError as error:
            result = {"state": "away", "problems": [str(error)]}
        except RequestFailedError as error:
            if not error.is_passing:
                raise
            result = {"state": error.code, "problems": [str(error)]}


def _advice(client: "Client", document: Mapping[str, Any]) -> str:
    """Return what helps against an answer that is not complete: to wait does only while the service is at work."""
    if document.get("complete", True):
        return ""
    try:
        status = client.request("status")
    except ClientError:
        return STATUS_ADVICE  # what has been answered is shown all the same
    state = status.get("state")
    is_at_work = state not in ("paused", "failing") and (state != "idle" or status.get("pending"))
    return WAIT_ADVICE if is_at_work else STATUS_ADVICE


def _close_looks_left(client: "Client", document: Mapping[str, Any]) -> str | None:
    """Return in words how many pairs are still to be looked at closely, if that may change what is shown."""
    files = (file for cluster in document["clusters"] for file in cluster["files"])
    if all(file.get("verdict") != "same" or file.get("confirmed") is not None for file in files):
        return None
    from dupwatch.show import close_looks_left

    try:
        return close_looks_left(client.request("status"))
    except ClientError:
        return None  # what has been answered is shown all the same


def _check_are_watched(client: "Client", question: Mapping[str, Any], found: int) -> None:
    """Raise WrongUsageError if nothing was ``found``, and one of the folders of the question lies under no root."""
    if found:
        return
    for folder in (*question.get("across", ()), *question.get("against", ()), question.get("under")):
        if folder is not None:
            _check_is_watched(client, folder)


def _check_is_watched(client: "Client", folder: bytes) -> None:
    """Raise WrongUsageError if no answer about the folder means anything.

    That is if nothing of it lies under a root, or it is not there although the disk of its root is.
    """
    states = {root["path"]: root.get("state") for root in client.request("status").get("roots", ())}
    near = [root for root in states if _is_below(folder, root) or _is_below(root, folder)]
    if not near:
        names = ", ".join(map(os.fsdecode, states)) or "none"
        raise WrongUsageError(f"{os.fsdecode(folder)} lies under no root of the service; its roots: {names}")
    is_online = any(_is_below(folder, root) and states[root] == "online" for root in near)
    if client.shares_paths and is_online and _is_missing(folder):
        raise WrongUsageError(f"there is no folder {os.fsdecode(folder)}")


def _is_missing(folder: bytes) -> bool:
    """Return whether there is no such folder; one that may not be looked for may be there."""
    try:
        os.lstat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _is_below(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _show_found(found: dict[str, Any]) -> None:
    from dupwatch.show import found_lines
    from dupwatch.terminal import page_on

    page = page_on(sys.stdout)
    page.write(found_lines(found, page))
    sys.stdout.flush()


def _full_path(client: "Client", path: bytes) -> bytes:
    """Return a folder's path as the service knows it, without links.

    Raises WrongUsageError for a file, and for what the service cannot know.
    """
    if client.shares_paths:
        if os.path.isfile(path):
            folder = os.fsdecode(os.path.dirname(path) or b".")
            raise WrongUsageError(f"{os.fsdecode(path)} is a file; name the folder it lies in: {folder}")
        return os.path.realpath(path)
    if not path.startswith(b"/"):
        raise WrongUsageError("the service is on another machine: name the folder with its full path there")
    return path
