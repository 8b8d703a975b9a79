"""Turns decisions into a plan: what the service's rules allow, as a person has decided.

In: decisions and the groups they were made for. Out: one page as of the service's command `plan`, for `act.planning`.

The service is asked with what a person keeps as files that stay, so that each file that goes is held by one of those.
What it would not let go, because nobody could be certain, a person has looked at and decided: such a file goes with the
verdict ``chosen``. A file that goes by one decision and stays by another stays, and so does what would have been held
by nothing. One that goes by several decisions, since a group of crops holds the copies as well, goes once, by the
surest of them.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dupwatch.act.plan_file import CHOSEN
from dupwatch.client import Client
from dupwatch.review.decisions import Decision
from dupwatch.review.library import LOOSE_CLASSES, Group, requests_of

MAY_BE_ASKED_FOR = ("cropped", "retouched", "recoloured")  # `similar` pictures go by a person's choice only
GROUPS_AT_ONCE = 200
PAGE = 10_000

Row = dict[str, Any]


def plan_page(client: Client, decided: Sequence[tuple[Group, Decision]], ask_when: Sequence[str]) -> dict[str, Any]:
    """Return the groups in which something goes by these decisions; raises ClientError.

    ``ask_when``: of the settings, by which the page has told what is held back for a sidecar.
    """
    status = client.request("status")
    head: dict[str, Any] = {"incomplete_because": []}
    groups: list[Row] = []
    settled = {path for _, decision in decided for path in decision.stays}
    for kind in ("", *LOOSE_CLASSES):
        of_kind = [
            (group, decision)
            for group, decision in decided
            if decision.goes and (group.kind == kind or (not kind and group.kind not in LOOSE_CLASSES))
        ]
        for some in _portions(of_kind):
            known, head = _asked(client, some, kind, head)
            for group, decision in some:
                goes = [path for path in decision.goes if path not in settled]
                made = _group(group, decision, known, goes)
                if made is not None:
                    groups.append(made)
                    settled.update(goes)
    return {
        "roots": [root["path"] for root in status["roots"]],
        "rules": ["decided on the page", *head.get("rules", ())],
        "verdicts": ["identical", "same", *MAY_BE_ASKED_FOR, CHOSEN],
        "incomplete_because": head["incomplete_because"],
        "ask_when": ask_when,
        "groups": groups,
    }


def _portions(decided: Sequence[tuple[Group, Decision]]) -> Iterator[list[tuple[Group, Decision]]]:
    """Yield decisions in portions whose paths fit into one request."""
    portion: list[tuple[Group, Decision]] = []
    for one in decided:
        paths = [path for _, decision in [*portion, one] for path in decision.stays]
        if portion and (len(portion) == GROUPS_AT_ONCE or len(requests_of(paths)) > 1):
            yield portion
            portion = []
        portion.append(one)
    if portion:
        yield portion


def _asked(
    client: Client, decided: Sequence[tuple[Group, Decision]], kind: str, head: Mapping[str, Any]
) -> tuple[dict[bytes, Row], dict[str, Any]]:
    """Return what the service says of the files of these groups, if the files that stay are kept; and its last page."""
    stays = [path for _, decision in decided for path in decision.stays if path not in decision.out]
    policy: dict[str, Any] = {"keep_files": stays[:1000], "ask_when": []}
    if kind in MAY_BE_ASKED_FOR:
        policy["also"] = kind
    page = client.request("plan", 60, policy=policy, files=[group.files[0].path for group, _ in decided], limit=PAGE)
    return {file["path"]: file for group in page["groups"] for file in group["files"]}, {**head, **page}


def _group(group: Group, decision: Decision, known: Mapping[bytes, Row], goes: Sequence[bytes]) -> Row | None:
    """Return the group as a plan has it if these files go, or None if nothing of it goes."""
    holders = [path for path in decision.stays if path not in decision.out]
    if not goes or not holders:
        return None
    files = {file.path: file for file in group.files}
    rows: list[Row] = []
    for path in [*decision.stays, *goes]:
        row = _row(files[path], path, known.get(path), goes=path in goes)
        if row is None:
            continue
        if row["goes"] and not (known.get(path, {}).get("goes") and row["held_by"] in holders):
            row |= _held_by_choice(path, decision, holders)
        rows.append(row)
    return {"id": group.key.partition("-")[0], "asked": None, "files": rows}


def _row(file: Any, path: bytes, known: Row | None, *, goes: bool) -> Row | None:
    if known is not None:
        row = dict(known)
    else:
        try:
            found = os.lstat(path)
        except OSError:
            return None  # it went meanwhile
        row = {
            "path": path, "bytes": file.bytes, "mtime_ns": file.mtime_ns, "device": found.st_dev,
            "inode": found.st_ino, "digest": file.digest, "verdict": None, "confirmed": None, "lacks": [],
            "held_by": None,
        }  # fmt: skip
    reason = f"decided on the page; {row['reason']}" if row.get("reason") else "decided on the page"
    return {**row, "goes": goes, "held_by": row["held_by"] if goes else None, "reason": reason}


def _held_by_choice(path: bytes, decision: Decision, holders: Sequence[bytes]) -> Row:
    digest = decision.goes[path]
    equal = next((holder for holder in holders if decision.stays[holder] == digest), None)
    if equal is not None:
        return {"held_by": equal, "verdict": "identical", "confirmed": True}
    return {"held_by": holders[0], "verdict": CHOSEN, "confirmed": None}
