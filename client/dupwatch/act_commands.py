"""The commands that act on copies: `plan`, `apply`, `undo`, `quarantine` and `purge`.

In: flags. Out: plans and summaries on stdout; questions, remarks and progress bars on stderr; the exit status.
Everything that touches a photo is in `dupwatch.act`, which is imported when a command needs it.
"""

import os
import re
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from dupwatch.errors import ClientError, WrongUsageError
from dupwatch.output import CTRL_C_STATUS, also_flag, paged, remark, remark_if_incomplete
from dupwatch.terminal import counted, human_bytes, printable

if TYPE_CHECKING:
    from dupwatch.act.plan_file import Plan
    from dupwatch.client import Client

ACTIONS = ("quarantine", "move", "trash", "hardlink", "reflink", "delete")

_PATH = click.Path(path_type=bytes, readable=False)
_AGE = re.compile(r"(\d+)([smhdw]?)")
_AGE_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "": 86_400}
_json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_yes_flag = click.option("--yes", is_flag=True, help="Do not ask.")

MakeClient = Callable[[], "Client"]
Flags = Callable[[Callable[..., Any]], Callable[..., Any]]


def add_act_commands(group: click.Group, connection_flags: Flags, make_client: MakeClient) -> None:
    """Add the commands to ``dupwatch``; ``make_client`` makes a client as the flags of the running command say."""
    _add_plan(group, connection_flags, make_client)
    _add_apply(group, connection_flags, make_client)
    _add_undo(group, connection_flags, make_client)
    _add_quarantine(group, connection_flags)
    _add_purge(group, connection_flags)


def _add_plan(group: click.Group, connection_flags: Flags, make_client: MakeClient) -> None:
    @group.command()
    @click.option("--keep", multiple=True, metavar="RULE", help="Which file stays; repeatable, the first that separates two files decides: folder DIR…, name not GLOB…, format FORMAT…, colour, original, metadata most, pixels most, taken earliest, modified earliest, bytes most, bytes least, path shortest.")  # fmt: skip  # noqa: E501
    @click.option("--protect", multiple=True, type=_PATH, metavar="DIR", help="No file under DIR goes; repeatable.")
    @click.option("--reference", multiple=True, type=_PATH, metavar="DIR", help="Files under DIR stay, and others go only for them; repeatable.")  # fmt: skip  # noqa: E501
    @also_flag
    @click.option("--ask-when", multiple=True, metavar="CASE,…", help="Leave such groups to be looked at, and no others [default: saved with less loss, capture times differ, metadata conflict, lacks metadata; also: enlarged, below same].")  # fmt: skip  # noqa: E501
    @click.option("--bursts", is_flag=True, help="Shots of one burst may go for each other.")
    @click.option("--pairs", is_flag=True, help="A RAW file and its JPEG may go for each other.")
    @click.option("--under", type=_PATH, metavar="DIR", help="Only groups with a file under DIR.")
    @click.option("--explain", type=_PATH, metavar="FILE", help="Tell step by step why FILE stays or goes.")
    @click.option("--now", is_flag=True, help="Do not wait until all that seems the same was looked at closely.")
    @click.option("--out", type=_PATH, metavar="FILE", help="Write the plan to FILE.")
    @_json_flag
    @connection_flags
    def plan(
        keep: tuple[str, ...],
        protect: tuple[bytes, ...],
        reference: tuple[bytes, ...],
        also: tuple[str, ...],
        ask_when: tuple[str, ...],
        bursts: bool,
        pairs: bool,
        under: bytes | None,
        explain: bytes | None,
        now: bool,
        out: bytes | None,
        as_json: bool,
    ) -> None:
        """Say which files could go, for which others, and why. Nothing is touched.

        The plan is a file that `dupwatch apply` carries out. It can be read and edited, and is checked again before
        anything is moved. A file goes only for one that stays and is the same picture by a close look: the service does
        that when it has nothing else to do, and the plan waits for it, unless --now. Sidecars and
        the movies of Live Photos go along with their picture, or it stays.

        \b
        Examples:
          dupwatch plan
          dupwatch plan --out copies.plan && dupwatch apply copies.plan
          dupwatch plan --keep 'folder /srv/photos' --protect /srv/photos/best --out copies.plan
          dupwatch plan --explain /srv/photos/IMG_1234.jpg
        """
        if "similar" in also:
            raise click.UsageError("`similar` pictures are other shots or pages: none ever goes for another")
        policy = {
            "keep": list(keep) or None,
            "protect": [_real_folder(folder) for folder in protect] or None,
            "reference": [_real_folder(folder) for folder in reference] or None,
            "also": ",".join(also) or None,
            "ask_when": [word.strip() for text in ask_when for word in text.split(",") if word.strip()]
            if ask_when
            else None,
            "bursts": bursts or None,
            "pairs": pairs or None,
        }
        policy = {name: value for name, value in policy.items() if value is not None}
        if explain is not None:
            from dupwatch.act.explaining import explained

            with make_client() as client:
                told = explained(client, os.path.realpath(explain), policy)
            _show(told, as_json, lambda: [printable(str(step)) for step in told["steps"]])
            return
        if out is not None:
            _check_out(out)
        plan = _made_plan(make_client, policy, None if under is None else _real_folder(under), now=now)
        _write_out(plan, out, as_json)


def _made_plan(make_client: MakeClient, policy: dict[str, Any], under: bytes | None, *, now: bool) -> "Plan":
    from dupwatch.act.asking import plan_pages, wait_for_close_looks
    from dupwatch.act.planning import make_plan
    from dupwatch.progress import Bars, progress

    with make_client() as client:
        if not client.shares_paths:
            raise WrongUsageError("the service is on another machine: make the plan there, where the files are")
        if not now:
            with progress(sys.stderr) as bars:
                wait_for_close_looks(client, bars, remark if type(bars) is Bars else lambda _: None)
        pages = plan_pages(client, {"policy": policy, "under": under})
    for what in ("protected", "reference"):
        for folder in pages[0].get(what, ()):
            remark(f"{counted(folder['files'], 'file')} under {printable(folder['path'])}: {what}, none of them goes")
    return make_plan(pages)


def _check_out(out: bytes) -> None:
    """Raise WrongUsageError if a plan cannot be written there: before anybody has waited for it."""
    from dupwatch.act.plan_file import PLAN_MARK
    from dupwatch.replacing import check_replaceable

    try:
        check_replaceable(out, PLAN_MARK)
    except OSError as error:
        raise WrongUsageError(f"cannot write {printable(out)}: {error.strerror}") from None


def _write_out(plan: "Plan", out: bytes | None, as_json: bool) -> None:
    """Write a plan to a file, as JSON, or as a table."""
    from dupwatch.act.plan_file import plan_document, write_plan
    from dupwatch.act_output import plan_and_next_command, plan_lines
    from dupwatch.terminal import page_on

    if out is not None:
        try:
            write_plan(plan, out)
        except OSError as error:
            raise WrongUsageError(f"cannot write {printable(out)}: {error.strerror}") from None
        remark(plan_and_next_command(plan, out))
    if as_json:
        _write_json(plan_document(plan))
    elif out is None:
        paged(lambda stream: _write_lines(plan_lines(plan, page_on(stream)), stream))
    document = {"complete": not plan.incomplete_because, "incomplete_because": plan.incomplete_because}
    remark_if_incomplete(document, "What is not read yet does not go; `dupwatch wait`, then plan again")


def _add_apply(group: click.Group, connection_flags: Flags, make_client: MakeClient) -> None:
    @group.command()
    @click.argument("plan", type=_PATH, metavar="PLAN")
    @click.option(
        "--dry-run", is_flag=True, help="Only show what the plan says; files are looked at when it is carried out."
    )
    @click.option(
        "--action", type=click.Choice(ACTIONS), default="quarantine", help="What to do [default: quarantine]."
    )
    @click.option("--to", type=_PATH, metavar="DIR", help="Where `move` moves the files, with their whole paths.")
    @_yes_flag
    @_json_flag
    @connection_flags
    def apply(plan: bytes, dry_run: bool, action: str, to: bytes | None, yes: bool, as_json: bool) -> None:
        """Carry out a plan. Asks before; `dupwatch undo` puts everything back.

        Directly before each file is moved, it and the file that stays for it are read whole once more: if one of them
        has changed or is gone, both stay. Nothing is ever overwritten, and the last copy of a picture never goes. By
        default files are moved to a folder .dupwatch-quarantine on the same file system, where they take up their
        space until `dupwatch purge`.

        Exit status: 0 all done, 1 done in part, 2 the plan cannot be believed, 130 ended by Ctrl-C.

        \b
        Examples:
          dupwatch apply copies.plan --dry-run
          dupwatch apply copies.plan
          dupwatch apply copies.plan --action move --to /mnt/spare
          dupwatch apply copies.plan --action reflink --yes
        """
        from dupwatch.act.apply import Action, apply_plan, check_action
        from dupwatch.act.earlier import earlier, left_of
        from dupwatch.act.links import with_other_rights
        from dupwatch.act.plan_file import plan_document
        from dupwatch.act.plan_reading import check_links, read_plan
        from dupwatch.act.telling import tell
        from dupwatch.act_output import action_lines, folder_lines, summary_document, summary_lines
        from dupwatch.progress import progress
        from dupwatch.terminal import page_on

        if to == b"":  # of a variable that was not set; else it would be the working directory
            raise WrongUsageError("--to names no folder: the name is empty")
        read = read_plan(plan)
        chosen = Action(action, None if to is None else os.path.realpath(to))
        check_action(read, chosen)
        check_links(read)
        before = earlier(read)
        left = left_of(read, before.paths)
        page = page_on(sys.stderr)
        if before.run is not None:
            undo = (
                f"; `dupwatch undo {shlex.quote(printable(plan))}` puts back what went" if before.run.open_steps else ""
            )
            remark(f"{before.in_words(read)}{undo}")
        if left.groups or before.run is None:
            page.write([*folder_lines(left, page), *action_lines(left, chosen, page)])
        changing = len(with_other_rights(left)) if action == "hardlink" else 0
        if changing:
            remark(f"{changing:,} of them get the owner and the permissions of the file that stays: links share them")
        if dry_run or not left.groups:
            if as_json:
                document = {"action": action, "done_before": len(before.paths), "with_other_rights": changing}
                _write_json({**document, **plan_document(left)["summary"]})
            return
        _ask(yes, _word_to_type(action, len(left.going)))
        with _until_interrupted() as is_stopped, progress(sys.stderr) as bars:
            summary = apply_plan(read, chosen, bars, is_stopped, before)
        if summary.digests:
            tell(make_client, "removed", summary.digests)
        _show(summary_document(summary), as_json, lambda: summary_lines(summary, page_on(sys.stdout)))
        if summary.is_stopped:
            remark("ended by Ctrl-C; the same command goes on, `dupwatch undo --last` puts back what was moved")
            sys.exit(CTRL_C_STATUS)
        sys.exit(0 if summary.is_complete else 1)


def _add_undo(group: click.Group, connection_flags: Flags, make_client: MakeClient) -> None:
    @group.command()
    @click.argument("plan", required=False, type=_PATH, metavar="[PLAN]")
    @click.option("--last", is_flag=True, help="What the last apply has moved.")
    @click.option("--all", "every", is_flag=True, help="What all of them have moved.")
    @_yes_flag
    @_json_flag
    @connection_flags
    def undo(plan: bytes | None, last: bool, every: bool, yes: bool, as_json: bool) -> None:
        """Put back what `apply` has moved, by its journal. Asks before.

        Works without a service, on another day, and after an apply was killed in the middle. If something else is at
        a file's place by now, that is told, and the file stays in quarantine. What was deleted cannot be put back.

        \b
        Examples:
          dupwatch undo --last
          dupwatch undo copies.plan
          dupwatch undo --all --yes
        """
        from dupwatch.act.plan_reading import read_plan
        from dupwatch.act.telling import tell
        from dupwatch.act.undo import files_to_put_back, runs_to_undo
        from dupwatch.act.undo import undo as put_back
        from dupwatch.act_output import undone_document, undone_lines
        from dupwatch.progress import progress
        from dupwatch.terminal import page_on

        if sum((plan is not None, last, every)) != 1:
            raise click.UsageError("name a PLAN, or --last, or --all")
        runs = runs_to_undo(None if plan is None else read_plan(plan), every)
        _remark_unread_journals()
        files = files_to_put_back(runs)
        click.echo(f"{counted(files, 'file')} of {counted(len(runs), 'apply', 'applies')} to be put back", err=True)
        if files:
            _ask(yes)
        with _until_interrupted() as is_stopped, progress(sys.stderr) as bars:
            undone = put_back(runs, bars, is_stopped)
        if undone.digests:
            tell(make_client, "restored", undone.digests)
        _show(undone_document(undone), as_json, lambda: undone_lines(undone, page_on(sys.stdout)))
        if undone.is_stopped:
            remark("ended by Ctrl-C; the same command goes on")
            sys.exit(CTRL_C_STATUS)
        sys.exit(0 if undone.is_complete else 1)


def _add_quarantine(group: click.Group, connection_flags: Flags) -> None:
    @group.command()
    @click.argument("what", type=click.Choice(["list"]), default="list", metavar="list")
    @_json_flag
    @connection_flags
    def quarantine(what: str, as_json: bool) -> None:  # noqa: ARG001 - there is nothing else yet
        """List the files in quarantine that your own applies have moved there, and how many bytes they take.

        \b
        Examples:
          dupwatch quarantine list
          dupwatch quarantine list --json | jq .bytes
        """
        from dupwatch.act.purge import entries, out_of_reach
        from dupwatch.act.runs import known_runs
        from dupwatch.act_output import entries_document, entry_lines
        from dupwatch.terminal import page_on

        runs = known_runs()
        found, hidden = list(entries(runs)), list(out_of_reach(runs))
        _remark_unread_journals()
        _remark_hidden(hidden)
        if as_json:
            _write_json(entries_document(found, hidden))
        else:
            paged(lambda stream: _write_lines(entry_lines(found, page_on(stream)), stream))


def _add_purge(group: click.Group, connection_flags: Flags) -> None:
    @group.command()
    @click.option(
        "--older-than", required=True, metavar="AGE", help="As 30d, 12h, 4w; a number alone means days, 0 all."
    )
    @_yes_flag
    @_json_flag
    @connection_flags
    def purge(older_than: str, yes: bool, as_json: bool) -> None:
        """Delete for good what has been in quarantine for long enough. Asks before.

        A file is deleted only while the file that stayed for it is there and unchanged: else the one in quarantine
        may be the last copy. Sidecars that nothing else holds are left there, too. Journals of that age of which
        nothing can be undone any more are forgotten.

        \b
        Examples:
          dupwatch purge --older-than 30d
        """
        from dupwatch.act.journal import forget_closed
        from dupwatch.act.purge import entries, out_of_reach
        from dupwatch.act.purge import purge as delete
        from dupwatch.act.runs import known_runs
        from dupwatch.act_output import purged_document, purged_lines
        from dupwatch.progress import progress
        from dupwatch.terminal import page_on

        least = _age_seconds(older_than)
        _remark_unread_journals()
        old = [run for run in known_runs() if run.age_seconds >= least]
        _remark_hidden(list(out_of_reach(old)))
        found = list(entries(old))
        size = sum(entry.size_bytes for entry in found)
        click.echo(f"{counted(len(found), 'file')}, {human_bytes(size)}, to be deleted for good", err=True)
        if found:
            _ask(yes, str(len(found)))
        with _until_interrupted() as is_stopped, progress(sys.stderr) as bars:
            purged = delete(found, bars, is_stopped)
        forget_closed(least)
        _show(purged_document(purged), as_json, lambda: purged_lines(purged, page_on(sys.stdout)))
        sys.exit(CTRL_C_STATUS if purged.is_stopped else 0 if purged.is_complete else 1)


def _remark_hidden(hidden: Sequence[tuple[Any, str]]) -> None:
    """Say how many files in quarantine are out of reach, and why: they are neither listed nor deleted."""
    for why, count in Counter(why for _, why in hidden).items():
        remark(f"{counted(count, 'more file')} in quarantine cannot be seen: {why}")


def _remark_unread_journals() -> None:
    """Say which journals are not taken into account: what they name is not seen, and may be all there is."""
    from dupwatch.act.runs import unread_journals

    for why in unread_journals():
        remark(f"{why}; what it names is left out")


def quarantine_size() -> dict[str, int]:
    """Return how many files the caller's own applies have in quarantine, and how many bytes they take."""
    from dupwatch.act.state_folder import journal_folder

    if not os.path.isdir(journal_folder()):
        return {"files": 0, "bytes": 0}
    from dupwatch.act.purge import size_in_quarantine
    from dupwatch.act.runs import known_runs

    files, size = size_in_quarantine(known_runs())
    return {"files": files, "bytes": size}


def _real_folder(path: bytes) -> bytes:
    """Return a folder's full path without links; raises WrongUsageError if it is not there."""
    if not os.path.isdir(path):
        raise WrongUsageError(f"there is no folder {printable(path)}")
    return os.path.realpath(path)


def _age_seconds(text: str) -> int:
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise click.UsageError(f"{text!r} is no age such as 30d, 12h or 4w")
    return int(found[1]) * _AGE_SECONDS[found[2]]


def _word_to_type(action: str, files: int) -> str | None:
    """Return what has to be typed before something is deleted; None where a `y` will do."""
    return str(files) if action == "delete" else None


def _ask(yes: bool, word: str | None = None) -> None:
    """Ask whether to go on; ends the command if not."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to ask: say --yes")
    if word is None:
        is_agreed = click.confirm("Go on?", err=True)
    else:
        said = click.prompt(f"This cannot be undone. Type {word} to go on", err=True, default="", show_default=False)
        is_agreed = said == word
    if not is_agreed:
        raise ClientError("nothing was touched")


@contextmanager
def _until_interrupted() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether Ctrl-C, or a signal to end, has come: it takes effect between two files."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda got, _: came.append(got)) for number in (signal.SIGINT, signal.SIGTERM)}  # fmt: skip  # noqa: E501
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(document: dict[str, Any], as_json: bool, lines: Callable[[], Any]) -> None:
    if as_json:
        _write_json(document)
    else:
        _write_lines(lines(), sys.stdout)


def _write_lines(lines: Any, stream: Any) -> None:
    stream.writelines(f"{line}\n" for line in lines)


def _write_json(document: dict[str, Any]) -> None:
    from dupwatch.json_text import write_json

    write_json(document, sys.stdout)
