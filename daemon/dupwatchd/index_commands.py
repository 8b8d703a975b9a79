"""The commands that care for an index: `check`, `forget`, `backup` and `restore`.

Everything heavy is imported where it is used, see `cli`.
"""

import dataclasses
import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from dupwatch.output import remark
from dupwatchd.errors import UsageError
from dupwatchd.flags import config_flag, given, json_flag, loaded_settings

if TYPE_CHECKING:
    from dupwatchd.backup import BackedUp, Contents
    from dupwatchd.restore import Restored
    from dupwatchd.settings import Settings

_state_flag = click.option(
    "--state", metavar="DIR", help="The state directory [default: your own, else the service's]."
)


@click.command(name="check")
@config_flag
@_state_flag
@click.option("--repair", is_flag=True, help="Mend what can be mended, from the photos if need be.")
@json_flag
def check_command(config: str | None, state: str | None, repair: bool, as_json: bool) -> None:
    """Verify the index: the database in itself, the thumbnails, and that both agree.

    Exit status 0: all is sound, or was mended. 1: something is wrong. Photos are only ever read, and a database
    beyond help is set aside, not deleted. Run by root, it acts with the rights of the owner of the index.

    \b
    Examples:
      dupwatchd check
      dupwatchd check --repair
      dupwatchd check --state /var/lib/dupwatch
    """
    from dupwatch.progress import progress
    from dupwatch.terminal import counted, printable
    from dupwatchd import check

    chosen = _index_meant(config, state)
    with progress(sys.stderr) as bars:
        findings = check.check(chosen, repair=repair, progress=bars)
    if as_json:
        click.echo(json.dumps({"state": chosen.state, **dataclasses.asdict(findings)}))
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
            counts = f"{counted(findings.pictures, 'picture')}, {counted(findings.matches, 'match', 'matches')}"
            click.echo(f"all is sound in {printable(chosen.state)}: {counts}")
    sys.exit(1 if findings.left or (findings.faults and not findings.mended) else 0)


@click.command(name="forget")
@click.argument("folder", type=click.Path(path_type=bytes, readable=False), metavar="DIR")
@config_flag
@_state_flag
@json_flag
def forget_command(folder: bytes, config: str | None, state: str | None, as_json: bool) -> None:
    """Drop DIR and all below it from the index, such as a folder that is no longer one of the roots.

    Photos are neither read nor touched, and need not be there. Roots of the settings that lie below DIR stay. The
    service must be stopped meanwhile. Run by root, it acts with the rights of the owner of the index.

    \b
    Examples:
      dupwatchd forget /mnt/old-phone
      systemctl stop dupwatchd && dupwatchd forget /srv/old; systemctl start dupwatchd
    """
    from dupwatch.terminal import counted, printable
    from dupwatchd import forget

    done = forget.forget(_index_meant(config, state), folder)
    if as_json:
        values = dataclasses.asdict(done)
        paths = {"folder": os.fsdecode(done.folder), "kept_roots": [os.fsdecode(root) for root in done.kept_roots]}
        in_root = None if done.in_root is None else os.fsdecode(done.in_root)
        click.echo(json.dumps({**values, **paths, "in_root": in_root}))
    else:
        places = f"{counted(done.files, 'file')} in {counted(done.folders, 'folder')}"
        counts = f"{places}, {counted(done.pictures, 'picture')}"
        click.echo(f"forgotten in {printable(done.state)}: {printable(os.fsdecode(done.folder))}, {counts}")
    for root in done.kept_roots:
        remark(f"{os.fsdecode(root)} stays: it is one of the roots in the settings")
    if done.in_root is not None:
        remark(
            f"it lies in {os.fsdecode(done.in_root)}, one of the roots in the settings: the service will read it again"
        )


@click.command(name="backup")
@click.argument("file", type=click.Path(readable=False), metavar="FILE")
@config_flag
@_state_flag
@json_flag
def backup_command(file: str, config: str | None, state: str | None, as_json: bool) -> None:
    """Copy the index into FILE, with all that was said of pictures, while the service may go on.

    Photos are not in it, nor what `dupwatch apply` has moved. An older backup of that name is replaced once the new one
    is complete; any other file stays. Exit status 1: some thumbnails in the index are damaged, and not in the copy.

    \b
    Examples:
      dupwatchd backup /mnt/backup/dupwatch.zip
      dupwatchd backup --state /var/lib/dupwatch "dupwatch-$(date +%F).zip"
    """
    from dupwatch.progress import progress
    from dupwatch.terminal import counted, human_bytes, printable
    from dupwatchd import backup

    chosen = _index_meant(config, state)
    with progress(sys.stderr) as bars:
        done = backup.backup(chosen, file, bars)
    if as_json:
        click.echo(json.dumps(_flat(done)))
    else:
        click.echo(f"saved in {printable(done.file)}, {human_bytes(done.bytes)}: {_contents(done.holds)}")
    if done.changed:
        remark(f"{counted(done.changed, 'picture')} changed meanwhile: not in it, read again after a restore")
    if done.damaged:
        remark(
            f"{done.damaged:,} thumbnails or proofs in {done.state} are damaged and not in it: "
            "run `dupwatchd check --repair` and then the backup again"
        )
    sys.exit(1 if done.damaged else 0)


@click.command(name="restore")
@click.argument("file", type=click.Path(readable=False), metavar="FILE")
@config_flag
@_state_flag
@json_flag
def restore_command(file: str, config: str | None, state: str | None, as_json: bool) -> None:
    """Put the index of a backup in place: what is known of pictures, and what was said of them.

    All of FILE is verified before anything is changed. An index that is there is moved aside, not deleted. The service
    must be stopped meanwhile. What has changed since the backup is read by the next scan. Run by root, it acts with the
    rights of the owner of the state directory; if there is none yet, of the owner of the folder that it is made in.

    \b
    Examples:
      dupwatchd restore /mnt/backup/dupwatch.zip
      systemctl stop dupwatchd && dupwatchd restore --state /var/lib/dupwatch a.zip; systemctl start dupwatchd
    """
    from dupwatch.progress import progress
    from dupwatch.terminal import printable
    from dupwatchd import restore

    chosen = _index_to_restore(config, state)
    with progress(sys.stderr) as bars:
        done = restore.restore(chosen, file, bars)
    if as_json:
        click.echo(json.dumps(_flat(done)))
    else:
        click.echo(f"restored in {printable(done.state)}, as of {printable(done.made_at)}: {_contents(done.holds)}")
    if done.replaced is not None:
        remark(f"what was there is now in {done.replaced}; delete it once you are content")
    if done.is_roots:
        remark(
            f"{done.state} was made, and belongs to root like the folder it lies in: a service of another user can use "
            f"it after `chown -R USER: {shlex.quote(done.state)}` (systemd does that itself for its StateDirectory=)"
        )


def _flat(done: "BackedUp | Restored") -> dict[str, Any]:
    document = dataclasses.asdict(done)
    return {**document.pop("holds"), **document}


def _contents(holds: "Contents") -> str:
    from dupwatch.terminal import counted

    said = holds.ignored_pairs + holds.decisions + holds.removed_contents
    return (
        f"{counted(holds.files, 'file')}, {counted(holds.pictures, 'picture')}, "
        f"{counted(said, 'thing')} said of pictures"
    )


def _index_meant(config: str | None, state: str | None) -> "Settings":
    """The settings of the index that `check` or `forget` is to look at; says on stderr if it is not the user's own."""
    from dupwatchd.state import index_meant

    return index_meant(loaded_settings(given({"state": state}), config), remark)


def _index_to_restore(config: str | None, state: str | None) -> "Settings":
    """The settings of the index that `restore` is to put in place, which need not be there yet.

    Raises UsageError if none is there and it could as well be the service's that is meant.
    """
    from dupwatchd.settings.sources import installed_files
    from dupwatchd.state import has_index, index_meant

    loaded = loaded_settings(given({"state": state}), config)
    chosen = index_meant(loaded, remark)
    if loaded.origins["state"] == "default" and not has_index(chosen.state) and installed_files():
        raise UsageError("your own index or that of the service? Name its directory with --state")
    return chosen


INDEX_COMMANDS = (check_command, forget_command, backup_command, restore_command)
