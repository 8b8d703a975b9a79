"""The commands by which people say what is not a duplicate: `ignore`, and `ignored`, which lists and revokes.

In: flags and files. Out: requests to the service, which remembers pairs of contents, and its answers on stdout.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import click

from dupwatch.errors import ClientError, WrongUsageError
from dupwatch.output import Command, paged, remark
from dupwatch.terminal import Page, counted

if TYPE_CHECKING:
    from dupwatch.client import Client

_FILES_MAX = 1_000  # in one request
_PAGE_PAIRS = 1_000
_PATIENCE_SECONDS = 60.0  # 1,000 files are half a million pairs, which the service has on disk before it answers
_FILE = click.Path(path_type=bytes, readable=False)  # whether it is known is for the service to say
_json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Flags(Protocol):
    """Adds flags to any command."""

    def __call__(self, command: Command, /) -> Command:
        """The same command with more flags."""


def add_memory_commands(group: click.Group, connection_flags: Flags, make_client: Callable[[], "Client"]) -> None:
    """Add the commands to ``dupwatch``; ``make_client`` makes a client as the flags of the running command say."""

    @group.command()
    @click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE FILE...")
    @_json_flag
    @connection_flags
    def ignore(files: tuple[bytes, ...], as_json: bool) -> None:
        """Say that files are not duplicates of each other: they are in no group together any more.

        Kept is each pair of contents, so it holds wherever the files are moved and whatever they are called, and for
        every copy of the same bytes. Files of equal bytes stay together. A group comes back when a new picture joins
        it. `dupwatch ignored` lists the pairs and revokes them.

        \b
        Examples:
          dupwatch ignore IMG_1234.jpg IMG_1235.jpg
          dupwatch ignore burst/*.jpg
        """
        _check_number(files)
        with make_client() as client:
            paths = [_full_path(client, file) for file in files]
            result = client.request("ignore", timeout_seconds=_PATIENCE_SECONDS, paths=paths)
        if as_json:
            _write_json(result)
        else:
            known = (
                ""
                if result["new"] == result["pairs"]
                else f"; {result['pairs'] - result['new']:,} of them known before"
            )
            click.echo(f"{counted(result['pairs'], 'pair')} not duplicates{known}")

    @group.command()
    @click.argument("files", nargs=-1, type=_FILE, metavar="[FILE FILE...]")
    @click.option("--revoke", is_flag=True, help="The pairs among FILE FILE... may be duplicates again.")
    @click.option("--revoke-all", is_flag=True, help="All pairs may be duplicates again. Asks before.")
    @click.option("--yes", is_flag=True, help="With --revoke-all: do not ask.")
    @_json_flag
    @connection_flags
    def ignored(files: tuple[bytes, ...], revoke: bool, revoke_all: bool, yes: bool, as_json: bool) -> None:
        """List the pairs that are not duplicates, those named last first, or revoke them.

        A content of which no file is there now is listed by its digest. Exit status 1: there was nothing to revoke.

        \b
        Examples:
          dupwatch ignored
          dupwatch ignored --json | jq -r '.ignored[].paths[][]'
          dupwatch ignored --revoke IMG_1234.jpg IMG_1235.jpg
          dupwatch ignored --revoke-all
        """
        _check_flags(files, revoke=revoke, revoke_all=revoke_all, yes=yes)
        with make_client() as client:
            if revoke:
                _check_number(files)
                paths = [_full_path(client, file) for file in files]
                _tell_revoked(client.request("unignore", timeout_seconds=_PATIENCE_SECONDS, paths=paths), as_json)
            elif revoke_all:
                _revoke_all(client, as_json, yes)
            else:
                _list(client, as_json)


def _check_flags(files: Sequence[bytes], *, revoke: bool, revoke_all: bool, yes: bool) -> None:
    """Raise click.UsageError for flags that exclude each other."""
    if revoke and revoke_all:
        raise click.UsageError("choose one: --revoke or --revoke-all")
    if files and not revoke:
        raise click.UsageError("files go with --revoke; without it all pairs are listed")
    if yes and not revoke_all:
        raise click.UsageError("--yes goes with --revoke-all")


def _check_number(files: Sequence[bytes]) -> None:
    if len(files) < 2:
        raise click.UsageError("name at least two files")
    if len(files) > _FILES_MAX:
        raise click.UsageError(f"name at most {_FILES_MAX:,} files at a time; these are {len(files):,}")


def _full_path(client: "Client", path: bytes) -> bytes:
    """Return a file's path as the service knows it: its folder without links; raises WrongUsageError."""
    if client.shares_paths:
        folder, name = os.path.split(path)
        if name in (b"", b".", b"..") or os.path.isdir(path):
            raise WrongUsageError(f"{os.fsdecode(path)} is a folder; name files")
        return os.path.join(os.path.realpath(folder), name)
    if not path.startswith(b"/"):
        raise WrongUsageError("the service is on another machine: name files with their full paths there")
    return path


def _revoke_all(client: "Client", as_json: bool, yes: bool) -> None:
    count = client.request("ignored", limit=1)["total"]
    if count and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"this revokes {counted(count, 'pair')}: say so with --yes")
        if not click.confirm(f"Revoke {counted(count, 'pair')}?", err=True):
            raise ClientError("nothing was revoked")
    _tell_revoked(client.request("unignore", timeout_seconds=_PATIENCE_SECONDS, all=True), as_json)


def _tell_revoked(result: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        _write_json(result)
    elif result["pairs"]:
        click.echo(f"{counted(result['pairs'], 'pair')} revoked")
    else:
        remark("nothing was revoked: none of these pairs was ignored")
    sys.exit(0 if result["pairs"] else 1)


def _list(client: "Client", as_json: bool) -> None:
    from dupwatch.terminal import page_on

    listed = list(_pairs(client))
    if as_json:
        _write_json({"total": len(listed), "ignored": [_as_text(pair) for pair in listed]})
    elif not listed:
        click.echo("No pair is ignored.")
    else:
        paged(lambda stream: _write_pairs(listed, page_on(stream)))


def _pairs(client: "Client") -> Iterator[Mapping[str, Any]]:
    """Yield all pairs, page by page; one that is added or revoked meanwhile may be missing or come twice."""
    offset = 0
    while page := client.request("ignored", limit=_PAGE_PAIRS, offset=offset)["ignored"]:
        yield from page
        offset += len(page)


def _as_text(pair: Mapping[str, Any]) -> dict[str, Any]:
    return {**pair, "digests": [digest.hex() for digest in pair["digests"]]}


def _write_pairs(pairs: Sequence[Mapping[str, Any]], page: Page) -> None:
    for pair in pairs:
        names = [_name(*side, page) for side in zip(pair["digests"], pair["paths"], strict=True)]
        room = None if page.width is None else page.width - 2
        lines = [name if room is None else page.shorten(name, room) for name in names]
        page.write([lines[0], f"  {lines[1]}"])
    page.write([page.paint(counted(len(pairs), "pair"), "head")])


def _name(digest: bytes, paths: Sequence[bytes], page: Page) -> str:
    """Return what stands for a content: one of its files, and how many others there are."""
    if not paths:
        return f"no file now: {digest.hex()}"
    return page.name(paths[0]) + (f" (and {len(paths) - 1:,} more)" if len(paths) > 1 else "")


def _write_json(document: Mapping[str, Any]) -> None:
    from dupwatch.json_text import write_json

    write_json(document, sys.stdout)
