"""Shows plans and what came of them to people, and as documents for programs.

In: plans and summaries of `dupwatch.act`. Out: lines for a `Page`, and dictionaries with paths as bytes.
"""

import os
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from dupwatch.act.apply import Action, Summary
from dupwatch.act.plan_file import GoingFile, Plan
from dupwatch.act.planning import held_for_sidecar
from dupwatch.act.purge import Entry, Purged
from dupwatch.act.runs import Run, Step
from dupwatch.act.undo import Undone
from dupwatch.terminal import Page, counted, fold, human_bytes, printable

_WHAT_HAPPENS = {
    "quarantine": "moved into quarantine",
    "move": "moved",
    "trash": "put into the trash",
    "hardlink": "made a hard link of what stays",
    "reflink": "made to share blocks with what stays",
    "delete": "deleted for good",
}
_NAME_CELLS = 12  # at least, of a folder
_ROWS = 20  # of skipped files and folders; --json has them all


def plan_lines(plan: Plan, page: Page) -> Iterator[str]:
    """Yield the groups of a plan, what is held back, what a person has to look at, and a summary."""
    for group in plan.groups:
        for file in group.stays:
            yield from _file_line("stays", file.path, file.size_bytes, file.reason, page)
        for going in group.goes:
            yield from _file_line("goes", going.file.path, going.file.size_bytes, _why_it_goes(going), page)
        yield ""
    if plan.asked:
        yield page.paint(f"To be looked at by a person: {len(plan.asked):,}", "head")
        for asked in plan.asked:
            because = page.words(page.name(asked.because), first=2, indent=2)
            yield from (page.paint(line, "remark") for line in because)
            yield from (line for file in asked.files for line in _path_lines(file.path, 4, page))
        yield ""
    yield from _with_reasons("Held back", [(one.path, one.because) for one in plan.held_back], page)
    for_sidecars = sum(map(held_for_sidecar, plan.held_back))
    if for_sidecars:
        what = f"{for_sidecars:,} of them only because of a sidecar"
        advice = f"{what}: if --ask-when is said without `lacks metadata`, it goes along"
        yield from page.words(advice, first=2, indent=2)
        yield ""
    yield from folder_lines(plan, page)
    yield from _in_style(plan_summary(plan), "head", page)


def folder_lines(plan: Plan, page: Page) -> Iterator[str]:
    """Yield how many files go from each folder, the one with most bytes first."""
    folders: dict[bytes, tuple[int, int]] = {}
    for going in plan.going:
        folder = os.path.dirname(going.file.path)
        files, size = folders.get(folder, (0, 0))
        folders[folder] = (files + 1, size + going.file.size_bytes)
    if not folders:
        return
    yield page.paint("By folder", "head")
    ordered = sorted(folders.items(), key=lambda item: (-item[1][1], item[0]))
    for folder, (files, size) in ordered[:_ROWS]:
        head = f"  {human_bytes(size):>8}  {counted(files, 'file'):>10}  "
        yield head + page.shorten(page.name(folder), max((page.width or 0) - len(head), _NAME_CELLS))
    if len(ordered) > _ROWS:
        yield page.own(f"  … and {len(ordered) - _ROWS:,} more folders")
    yield ""


def plan_summary(plan: Plan) -> str:
    """Return in one line what a plan is about."""
    parts = [f"{counted(len(plan.going), 'file')} of {counted(len(plan.groups), 'group')} would go"]
    parts.append(human_bytes(plan.bytes_going))
    chosen = sum(going.verdict == "chosen" for going in plan.going)
    if chosen:
        parts.append(f"{chosen:,} by a person's choice")
    if plan.asked:
        parts.append(f"{counted(len(plan.asked), 'group')} to be looked at")
    if plan.held_back:
        parts.append(f"{counted(len(plan.held_back), 'file')} held back")
    return ", ".join(parts)


def plan_and_next_command(plan: Plan, file: bytes) -> str:
    """Return in one line what a plan is about, and how to carry it out from the file that it is in."""
    if not plan.groups:
        return plan_summary(plan)
    return f"{plan_summary(plan)}; `dupwatch apply {shlex.quote(printable(file))}` carries it out"


def action_lines(plan: Plan, action: Action, page: Page) -> list[str]:
    """Return in words what an apply does."""
    to = "" if action.to is None else f" to {page.name(action.to)}"
    files = plan.going if action.kind not in ("hardlink", "reflink") else _pictures(plan)
    size = sum(going.file.size_bytes for going in files)
    many = f"{counted(len(files), 'file')} of {counted(len(plan.groups), 'group')}, {human_bytes(size)},"
    chosen = sum(going.verdict == "chosen" for going in files)
    unproven = f"; {chosen:,} of them by a person's choice, without proof that they are copies" if chosen else ""
    what = f"{many} {'is' if len(files) == 1 else 'are'} {_WHAT_HAPPENS[action.kind]}{to}{unproven}"
    return _in_style(what, "head", page)


def summary_lines(summary: Summary, page: Page) -> Iterator[str]:
    """Yield what an apply did and what it skipped."""
    yield from _with_reasons("Skipped", summary.skipped, page)
    what = f"{counted(len(summary.done), 'file')} {_WHAT_HAPPENS[summary.action]}"
    parts = [what, human_bytes(summary.bytes_done)]
    if summary.skipped:
        parts.append(f"{len(summary.skipped):,} skipped")
    yield from _in_style(", ".join(parts), "head", page)
    yield from _ended_early(summary.halted, page)


def undone_lines(undone: Undone, page: Page) -> Iterator[str]:
    """Yield what an undo did and what it could not do."""
    yield from _with_reasons("Not put back", undone.skipped, page)
    changed = [(path, "it is not what it was when it went") for path in undone.changed]
    yield from _with_reasons("Put back, but changed in quarantine", changed, page)
    yield page.paint(f"{counted(len(undone.done), 'file')} put back", "head")
    yield from _ended_early(undone.halted, page)


def purged_lines(purged: Purged, page: Page) -> Iterator[str]:
    """Yield what a purge did and what it left."""
    yield from _with_reasons("Left in quarantine", purged.skipped, page)
    won = f"{counted(len(purged.done), 'file')} deleted, {human_bytes(purged.bytes_done)} won"
    yield from _in_style(won, "head", page)
    yield from _ended_early(purged.halted, page)


def entry_lines(found: Sequence[Entry], page: Page) -> Iterator[str]:
    """Yield what lies in quarantine, run by run, and how much it is."""
    run: Run | None = None
    for entry in found:
        if entry.run is not run:
            run = entry.run
            yield from _in_style(f"{run.id} ({_human_age(entry.run.age_seconds)} old)", "head", page)
        first, *others = _path_lines(entry.step.path, 12, page)
        yield f"  {human_bytes(entry.size_bytes):>8}  {first[12:]}"
        yield from others
    total = sum(entry.size_bytes for entry in found)
    yield from _in_style(f"{counted(len(found), 'file')} in quarantine, {human_bytes(total)}", "head", page)


def summary_document(summary: Summary) -> dict[str, Any]:
    """Return what an apply did as values for JSON."""
    return {
        "action": summary.action,
        "run": summary.run,
        "bytes": summary.bytes_done,
        "halted": summary.halted,
        "stopped": summary.is_stopped,
        "done_before": summary.done_before,
        "done": [{"path": path, "bytes": size} for path, size in summary.done],
        "skipped": _reasons_document(summary.skipped),
    }


def undone_document(undone: Undone) -> dict[str, Any]:
    """Return what an undo did as values for JSON."""
    return {
        "halted": undone.halted,
        "stopped": undone.is_stopped,
        "done": [{"path": path} for path in undone.done],
        "changed": [{"path": path} for path in undone.changed],
        "skipped": _reasons_document(undone.skipped),
    }


def purged_document(purged: Purged) -> dict[str, Any]:
    """Return what a purge did as values for JSON."""
    return {
        "bytes": purged.bytes_done,
        "halted": purged.halted,
        "stopped": purged.is_stopped,
        "done": [{"path": path, "bytes": size} for path, size in purged.done],
        "skipped": _reasons_document(purged.skipped),
    }


def entries_document(found: Sequence[Entry], hidden: Sequence[tuple[Step, str]]) -> dict[str, Any]:
    """Return what lies in quarantine, and what of it cannot be seen, as values for JSON."""
    return {
        "bytes": sum(entry.size_bytes for entry in found),
        "files": [
            {
                "run": entry.run.id,
                "path": entry.step.path,
                "held": entry.step.held,
                "bytes": entry.size_bytes,
                "age_seconds": round(entry.run.age_seconds),
                "kept": entry.step.kept,
            }
            for entry in found
        ],
        "out_of_reach": [{"path": step.path, "held": step.held, "because": why} for step, why in hidden],
    }


def _pictures(plan: Plan) -> list[GoingFile]:
    return [going for going in plan.going if going.goes_with is None]


def _reasons_document(skipped: Sequence[tuple[bytes, str]]) -> list[dict[str, Any]]:
    return [{"path": path, "because": why} for path, why in skipped]


def _why_it_goes(going: GoingFile) -> str:
    if going.goes_with is not None:
        reason = going.file.reason or ("" if going.held_by is not None else "nothing else holds it")
        return ", ".join(filter(None, ["goes along", reason]))
    lacks = f"; what stays lacks: {', '.join(going.lacks)}" if going.lacks else ""
    return f"{going.verdict}{lacks}"


def _file_line(mark: str, path: bytes, size: int, remark: str, page: Page) -> Iterator[str]:
    style = "keep" if mark == "stays" else "spare"
    room = max((page.width or 0) - 20, 20)
    yield f"  {page.paint(f'{mark:<5}', style)} {human_bytes(size):>8}  {page.shorten(page.name(path), room)}"
    if remark:
        yield from (page.paint(line, "remark") for line in page.words(page.name(remark), first=18, indent=18))


def _with_reasons(title: str, found: Sequence[tuple[bytes, str]], page: Page) -> Iterator[str]:
    if not found:
        return
    yield page.paint(f"{title}: {len(found):,}", "head")
    for path, why in found[:_ROWS]:
        yield from _path_lines(path, 2, page)
        yield from (page.paint(line, "trouble") for line in page.words(page.name(why), first=4, indent=4))
    if len(found) > _ROWS:
        yield page.own(f"  … and {len(found) - _ROWS:,} more: see --json")
    yield ""


def _ended_early(halted: str | None, page: Page) -> list[str]:
    return [] if halted is None else _in_style(f"Ended early: {page.name(halted)}", "trouble", page)


def _in_style(text: str, style: str, page: Page) -> list[str]:
    return [page.paint(line, style) for line in page.words(text)]


def _path_lines(path: bytes, indent: int, page: Page) -> list[str]:
    """Return a path, whole, in lines that fit; each begins with ``indent`` spaces."""
    room = None if page.width is None else page.width - indent
    return [" " * indent + piece for piece in fold(page.name(path), room)]


def _human_age(seconds: float) -> str:
    for name, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {name}"
    return f"{int(seconds)} seconds"
