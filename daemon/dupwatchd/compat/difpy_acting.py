"""Moves and deletes what difPy calls files of lower quality, as far as that loses nothing.

In: an index, and the files that are to go. Out: a plan, carried out by `dupwatch.act`, and for each file that stays the
reason. A file goes only if it is equal byte by byte to a file that stays, or confirmed to be the same picture as one by
a close look. All files that are not to go are pinned, so that nothing else can go for them.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from dupwatch.act.apply import Action, Summary, apply_plan
from dupwatch.act.plan_file import Plan
from dupwatch.act.planning import make_plan
from dupwatch.progress import Bars
from dupwatch.terminal import printable
from dupwatchd.compat.difpy_index import OpenIndex
from dupwatchd.compat.difpy_matching import Group, Searched
from dupwatchd.db import answers, pictures, remembered
from dupwatchd.db.answers import Copy
from dupwatchd.live_checks import measurer, presence
from dupwatchd.model import Verdict
from dupwatchd.other_names import OtherNames
from dupwatchd.serve.clusters import LiveChecks, Question
from dupwatchd.serve.ignored import IgnoredPairs
from dupwatchd.serve.library import Library
from dupwatchd.serve.plan_policy import Policy, policy_of
from dupwatchd.serve.spare import Looks

_VERDICTS = (Verdict.IDENTICAL.value, Verdict.SAME.value)


@dataclass
class Done:
    """What became of the files that were to go."""

    summary: Summary
    stays: dict[bytes, str] = field(default_factory=dict)  # path → why


@dataclass
class Prepared:
    """A plan, and why the other files are not in it."""

    plan: Plan
    stays: dict[bytes, str]


def prepare(index: OpenIndex, groups: Sequence[Group], going: Sequence[Searched], threshold: float) -> Prepared:
    """Plan what may go of these files; looks closely at all pairs that seem to be the same. Raises DupwatchError."""
    wanted = {file.path for file in going}
    copies = index.copies()
    _look_closely(index, {copies[path].picture_id for path in wanted if path in copies})
    keep_files = frozenset(path for path in copies if path not in wanted)
    policy = policy_of(index.settings.plan)
    policy = Policy(keep_files=keep_files, ask_when=policy.ask_when, bursts=policy.bursts, pairs=policy.pairs)
    ignored = IgnoredPairs.of(remembered.ignored_pairs(index.database))
    near = min(threshold, index.settings.compare.keep_mse)
    question = Question("mse", near, False, policy=policy, ignored=ignored)
    checks = LiveChecks(
        measurer(index.settings, index.state, index.thumbnail_px, partial(pictures.thumbnail_digests, index.database)),
        presence(index.survey.offline, inside=index.roots),
        OtherNames(),
    )
    _, found = Library.load(index.database, index.roots).plan_page(index.database, question, checks, limit=None)
    plan = make_plan([{"groups": found, "rules": policy.in_words, "roots": index.roots, "verdicts": _VERDICTS}])
    assert all(one.goes_with is not None or one.file.path in wanted for one in plan.going)
    stays = _reasons(index, groups, wanted, copies, ignored)
    stays |= {file.path: asked.because for asked in plan.asked for file in asked.files if file.path in wanted}
    stays |= {one.path: one.because for one in plan.held_back}
    for one in plan.going:
        stays.pop(one.file.path, None)
    return Prepared(plan, stays)


def carry_out(prepared: Prepared, action: Action, progress: Bars) -> Done:
    """Move or delete what is planned; raises ClientError, and then nothing was touched."""
    summary = apply_plan(prepared.plan, action, progress)
    stays = prepared.stays | dict(summary.skipped)
    if summary.halted is not None:
        gone = {path for path, _ in summary.done}
        stays |= {one.file.path: summary.halted for one in prepared.plan.going if one.file.path not in gone}
    return Done(summary, stays)


def _look_closely(index: OpenIndex, wanted: set[int]) -> None:
    pairs = [pair for pair in answers.pairs_to_confirm(index.database, index.roots) if wanted & {*pair[:2]}]
    if pairs:
        index.intake().looking.confirm(pairs)


def _reasons(
    index: OpenIndex, groups: Sequence[Group], wanted: set[bytes], copies: dict[bytes, Copy], ignored: IgnoredPairs
) -> dict[bytes, str]:
    """Why a file would stay that is in no plan: what it is to the files of its groups that stay."""
    ids = {copies[file.path].picture_id for group in groups for file in group.files if file.path in copies}
    looks = Looks(
        answers.looks_between(index.database, ids),
        mirrored=False,
        without_proof=set(answers.pictures_without_proof(index.database)),
        ignored=ignored,
    )
    found = dict.fromkeys(wanted, "it is not there any more, or has changed to something that cannot be read")
    for group in groups:
        staying = [file for file in group.files if file.path not in wanted and file.path in copies]
        for file in group.files:
            if file.path in wanted and file.path in copies:
                found[file.path] = _why_not(copies[file.path], [copies[one.path] for one in staying], looks)
    return found


def _why_not(copy: Copy, staying: Sequence[Copy], looks: Looks) -> str:
    """Say what a file lacks to go for one of those that stay."""
    if not staying:
        return "no file of its group stays"
    kept = staying[0]
    told, name = looks.told(kept, copy), printable(os.path.basename(kept.path))
    if told.verdict is None:
        return f"it lies within the threshold of {name}, but was not found to be the same picture"
    if told.verdict is Verdict.SAME and told.confirmed is not True:
        return f"it seems to be the same picture as {name}, but a close look could not confirm that"
    if told.verdict in (Verdict.SAME, Verdict.IDENTICAL):
        return f"it is {told.verdict.value} with {name}, but holds what that one has not, or is another name of it"
    return f"it is {told.verdict.value}, not the same picture as {name}"
