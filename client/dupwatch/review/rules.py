"""Decides many groups at once by a rule, as a proposal that a person sees before it counts.

In: which groups, and a rule. Out: a decision for each group in which the rule lets something go, and which groups
need a look. The rule is a policy of the service's command `plan`, so that a page and `dupwatch plan` decide alike.
"""

import shlex
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from dupwatch.client import Client
from dupwatch.families import Folders
from dupwatch.marking import look_beside
from dupwatch.review.decisions import Decision
from dupwatch.review.library import LOOSE_CLASSES, Group, Library, path_of
from dupwatch.review.planned import MAY_BE_ASKED_FOR

PAGE = 1_000
KEEP_RULES = ("original", "pixels most", "bytes most", "taken earliest", "modified earliest", "path shortest")


class WrongRuleError(Exception):
    """A rule that cannot be, and why, for a person."""


class Rule(NamedTuple):
    """What decides: groups of these classes, by this policy, letting go files below ``inside`` only."""

    kinds: tuple[str, ...]
    policy: dict[str, Any]
    inside: bytes | None
    reference: bytes | None

    @classmethod
    def of(cls, kinds: Sequence[str], told: Mapping[str, Any]) -> "Rule":
        """Return the rule that the page sent, for groups of these classes; raises WrongRuleError."""
        keep, folder, inside, reference = (
            str(told.get(name) or "") for name in ("keep", "folder", "inside", "reference")
        )
        if keep and keep not in KEEP_RULES:
            raise WrongRuleError(f"there is no rule {keep!r}")
        for path in (folder, inside, reference):
            if path and not _is_full_path(path):
                raise WrongRuleError(f"{path!r} is no full path of a folder")
        if any("\udc80" <= one <= "\udcff" for one in folder):
            raise WrongRuleError("a folder whose name is not UTF-8 cannot come first: its groups have to be looked at")
        rules = [f"folder {shlex.quote(folder)}"] if folder else []
        policy: dict[str, Any] = {"keep": [*rules, keep]} if keep else {"keep": rules} if rules else {}
        if reference:
            policy["reference"] = [path_of(reference)]
        return cls(tuple(kinds), policy, path_of(inside) if inside else None, path_of(reference) if reference else None)

    def fits(self, group: Group) -> bool:
        """Return whether a group is one that the rule is about: it has files in both folders, if both are named."""
        inside = [file.path for file in group.files if self.inside is None or _is_below(file.path, self.inside)]
        others = [file.path for file in group.files if self.reference is None or _is_below(file.path, self.reference)]
        return bool(inside and others) and len({*inside, *others}) > 1


class Proposal(NamedTuple):
    """What a rule would decide."""

    decisions: list[Decision]
    files: int  # that go
    bytes: int
    unsure: int  # groups that fit, of which something may go only after a look
    decided: int  # groups that fit and are decided already: that stays as it is


def propose(
    client: Client, library: Library, rule: Rule, keys: Collection[str] | None, decided: Mapping[str, Decision]
) -> Proposal:
    """Return what a rule would decide of the groups with these keys, None for all; raises ClientError.

    ``decided``: decisions in force by key. What a person has said of a group by itself no rule changes.
    """
    wanted = [
        group
        for group in library.groups.values()
        if group.kind in rule.kinds and (keys is None or group.key in keys) and group.kind != "similar"
    ]
    groups = [group for group in wanted if group.key not in decided or not decided[group.key].is_about(group)]
    already = sum(map(rule.fits, wanted)) - sum(map(rule.fits, groups))
    decisions: list[Decision] = []
    freed_files = freed_bytes = unsure = 0
    for kind in ("", *MAY_BE_ASKED_FOR):
        of_kind = [one for one in groups if one.kind == kind or (not kind and one.kind not in LOOSE_CLASSES)]
        going = _going(client, rule, kind, library.ask_when) if of_kind else set()
        for group in of_kind:
            goes = {file.path: file.digest for file in group.files if file.path in going}
            if not goes:
                unsure += rule.fits(group)
                continue
            stays = {file.path: file.digest for file in group.files if file.path not in goes}
            decisions.append(Decision(group.key, stays, goes))
            freed_files += len(goes)
            freed_bytes += sum(file.bytes for file in group.files if file.path in goes)
    return Proposal(decisions, freed_files, freed_bytes, unsure, already)


def _going(client: Client, rule: Rule, kind: str, ask_when: Sequence[str]) -> set[bytes]:
    """Return the files that go by a policy, but for those that a plan would hold back for what lies beside them."""
    policy = {**rule.policy, **({"also": kind, "ask_when": []} if kind else {})}
    going: dict[bytes, bytes] = {}
    pictures: set[bytes] = set()
    offset = 0
    while True:
        page = client.request("plan", 60, policy=policy, under=rule.inside, limit=PAGE, offset=offset)
        for group in page["groups"]:
            goes = {file["path"]: file["held_by"] for file in group["files"] if file["goes"]}
            going |= {path: goes[path] for path in goes if rule.inside is None or _is_below(path, rule.inside)}
            pictures |= {file["path"] for file in group["files"]}
        offset += len(page["groups"])
        if not page["groups"] or offset >= page["total_groups"]:
            found = look_beside(going, pictures, ask_when, Folders())
            return {path for path in going if path not in found.objections or not found.objections[path].is_certain}


def _is_full_path(text: str) -> bool:
    with suppress(ValueError):
        return path_of(text).startswith(b"/")
    return False


def _is_below(path: bytes, folder: bytes) -> bool:
    return path.startswith(folder.rstrip(b"/") + b"/")
