"""Carries out a plan: each file that goes is read again, with the file that stays for it, and then acted on.

In: a plan, an action, and how far to go on. Out: a summary of what was done, what was skipped and why. A file that has
changed, is gone, or whose copy has changed or is gone stays where it is, with its sidecars; the rest goes on.

Some dozens of pictures are noted in the journal at once (`intents`), then each is read, acted on (`steps`), and noted
as done.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from dupwatch.act.content import KeptFiles, OpenFile, unchanged
from dupwatch.act.earlier import Earlier, earlier, left_of
from dupwatch.act.errors import HaltError, SkipError
from dupwatch.act.folders import forget_mounts, root_above
from dupwatch.act.intents import Intents, is_as_intended
from dupwatch.act.journal import Journal
from dupwatch.act.plan_file import GoingFile, Plan, PlannedFile, PlannedGroup
from dupwatch.act.plan_reading import check_links
from dupwatch.act.quarantine import Quarantines, tidy_all
from dupwatch.act.runs import Step
from dupwatch.act.steps import MOVING_ACTIONS, SHARING_ACTIONS, Going, Holder, Steps
from dupwatch.beside import NOT_KNOWN
from dupwatch.errors import WrongUsageError
from dupwatch.families import FolderNames
from dupwatch.progress import Bars
from dupwatch.terminal import printable

_FAMILIES_AT_ONCE = 64  # noted in the journal with one sync
ACTIONS = (*MOVING_ACTIONS, *SHARING_ACTIONS)


@dataclass(frozen=True)
class Action:
    """What to do with files that go; ``to`` is the folder of `move`."""

    kind: str = "quarantine"
    to: bytes | None = None


@dataclass
class Summary:
    """What an apply did."""

    action: str
    run: str | None = None  # names it for `undo`
    done: list[tuple[bytes, int]] = field(default_factory=list)  # path, bytes
    digests: list[bytes] = field(default_factory=list)  # of pictures that are gone from their places
    skipped: list[tuple[bytes, str]] = field(default_factory=list)  # path, why
    halted: str | None = None  # why it ended before its time
    is_stopped: bool = False  # whether the caller ended it
    done_before: int = 0  # files that an earlier apply of this plan has taken away

    @property
    def bytes_done(self) -> int:
        """The size of the files acted on."""
        return sum(size for _, size in self.done)

    @property
    def is_complete(self) -> bool:
        """Whether everything was done."""
        return not (self.skipped or self.halted or self.is_stopped)


def apply_plan(
    plan: Plan,
    action: Action,
    progress: Bars | None = None,
    stop: Callable[[], bool] = lambda: False,
    before: Earlier | None = None,
) -> Summary:
    """Carry out what earlier applies have left of a plan; ``stop`` is asked between two pictures.

    ``before``: what they have done, if that is known already.

    Raises PlanError for a plan that leads through links, WrongUsageError for an action that cannot be, and ActError if
    no journal can be written or another run is at work: then nothing has been touched.
    """
    forget_mounts()
    check_action(plan, action)
    check_links(plan)
    before = before or earlier(plan)
    summary = Summary(action.kind, done_before=len(before.paths))
    plan = left_of(plan, before.paths)
    if not plan.groups:
        return summary
    quarantines = Quarantines()
    with Journal.begun(action.kind, before.plan) as journal:
        summary.run = journal.run.id
        try:
            intents = Intents(action.kind, action.to, journal, quarantines)
            steps = Steps(action.kind, action.to, journal, quarantines)
            _Apply(plan, intents, steps, summary, progress or Bars(), stop).run()
        finally:
            quarantines.close()
            journal.leave_quarantines()
            tidy_all(journal.run.quarantines, journal.run.id)
        journal.end()
    return summary


def check_action(plan: Plan, action: Action) -> None:
    """Raise WrongUsageError if an action cannot be carried out for a plan."""
    if action.kind not in ACTIONS:
        raise WrongUsageError(f"there is no action {action.kind!r}; choose from {', '.join(ACTIONS)}")
    if (action.kind == "move") != (action.to is not None):
        raise WrongUsageError("`move` needs the folder to move to, and no other action takes one: --to DIR")
    if action.to is None:
        return
    if not os.path.isdir(action.to) or not action.to.startswith(b"/"):
        raise WrongUsageError(f"{printable(action.to)} is no folder; make it first")
    root = root_above(action.to, plan.roots)
    if root is not None:
        raise WrongUsageError(
            f"{printable(action.to)} lies under {printable(root)}: the files would be found there again"
        )


@dataclass
class _Family:
    """A picture that goes, and what goes with it; or a sidecar alone, whose picture went before."""

    group: PlannedGroup
    going: GoingFile
    along: list[GoingFile]
    steps: list[Step] = field(default_factory=list)  # of the picture first
    why_not: str | None = None


class _Apply:
    """One apply, from the first group to the last."""

    def __init__(
        self,
        plan: Plan,
        intents: Intents,
        steps: Steps,
        summary: Summary,
        progress: Bars,
        stop: Callable[[], bool],
    ) -> None:
        self._plan, self._intents, self._steps = plan, intents, steps
        self._summary, self._progress, self._stop = summary, progress, stop
        self._kept_files = KeptFiles()
        self._names: dict[bytes, FolderNames] = {}  # of folders, when they were first needed
        self._named = {going.file.path for going in plan.going}
        self._pictures = {file.path for group in plan.groups for file in group.stays}
        self._pictures |= {file.path for group in plan.asked for file in group.files}
        self._holders: dict[bytes, dict[bytes, PlannedFile]] = {}  # by content and path: for which others go
        for group in plan.groups:
            for going in group.goes:
                if going.held_by is not None:
                    kept = _kept_of(group, going)
                    self._holders.setdefault(kept.blake3, {})[going.held_by] = kept

    def run(self) -> None:
        self._progress.stage("acting", total=len(self._plan.going), unit="files")
        families = list(self._families())
        for first in range(0, len(families), _FAMILIES_AT_ONCE):
            some = families[first : first + _FAMILIES_AT_ONCE]
            try:
                self._act_on_some(some)
            except HaltError as error:
                self._summary.halted = str(error)
            if self._summary.halted is not None or self._summary.is_stopped:
                with suppress(HaltError):  # an undo finds out by itself what was not done
                    self._steps.give_up([step for family in some for step in family.steps], "the apply ended before")
                return

    def _act_on_some(self, families: Sequence[_Family]) -> None:
        for family in families:
            self._prepare(family)
        self._steps.intend([step for family in families for step in family.steps])
        try:
            for family in families:
                if self._stop():
                    self._summary.is_stopped = True
                    return
                if family.why_not is None:
                    self._act_on(family)
                else:
                    self._summary.skipped.append((family.going.file.path, family.why_not))
                self._progress.advance(1 + len(family.along))
        finally:
            self._put_back_what_is_lost(families)

    def _put_back_what_is_lost(self, families: Sequence[_Family]) -> None:
        """Put back whatever was moved for the sake of a file that is gone now; then the apply ends."""
        lost = self._steps.what_is_lost()
        because = {step.number: one.because for step, one in lost}
        failures = []  # one that cannot be put back keeps none of the others in quarantine
        for family in families:
            why = next((because[step.number] for step in family.steps if step.number in because), None)
            if why is not None:
                for step in reversed(family.steps):
                    try:
                        self._take_back(step, f"stays, for {why}")
                    except HaltError as error:
                        failures.append(str(error))
        if failures:
            raise HaltError("; ".join(failures))
        if lost:
            raise HaltError(f"{printable(lost[0][0].path)} stays, for {lost[0][1].because}")

    def _take_back(self, step: Step, why: str) -> None:
        if all(path != step.path for path, _ in self._summary.done):
            return
        try:
            self._steps.put_back(step, why)
        except (SkipError, OSError) as error:
            where = f"it lies in {printable(step.held)}, and `dupwatch undo` puts it back"
            raise HaltError(f"{printable(step.path)} {why}; it could not be put back ({error}): {where}") from None
        self._summary.done = [one for one in self._summary.done if one[0] != step.path]
        self._summary.skipped.append((step.path, why))
        if step.goes_with is None:
            self._summary.digests.remove(step.digest)

    def _families(self) -> Iterator[_Family]:
        moves_sidecars = self._summary.action in MOVING_ACTIONS  # a link stays where the file was
        for group in self._plan.groups:
            pictures = {one.file.path for one in group.goes if one.goes_with is None}
            for going in group.goes:
                if going.goes_with is None:
                    along = [one for one in group.goes if moves_sidecars and one.goes_with == going.file.path]
                    yield _Family(group, going, along)
                elif moves_sidecars and going.goes_with not in pictures:  # an earlier apply took the picture alone
                    yield _Family(group, going, [])

    def _prepare(self, family: _Family) -> None:
        """Make the steps of a family; if one cannot be made, it has none and a reason."""
        try:
            if self._summary.action == "delete":
                _check_nothing_is_lost((family.going, *family.along))
            family.steps = [self._step(family.group, one) for one in (family.going, *family.along)]
        except SkipError as error:
            family.why_not = str(error)
        except OSError as error:
            family.why_not = f"{printable(family.going.file.path)} cannot be moved: {error.strerror}"

    def _step(self, group: PlannedGroup, going: GoingFile) -> Step:
        root = self._plan.root_of(going.file.path)
        held_by = None if going.held_by is None else (going.held_by, _kept_of(group, going).blake3)
        return self._intents.step(going.file, root, held_by, going.goes_with)

    def _act_on(self, family: _Family) -> None:
        """Act on a picture and what goes with it: all of them are read before the first is moved."""
        try:
            with ExitStack() as stack:
                going = (family.going, *family.along)
                members = [
                    self._read(family.group, one, step, stack) for one, step in zip(going, family.steps, strict=True)
                ]
                if members[0].step.goes_with is not None:
                    self._check_share(members[0])
                elif self._summary.action in MOVING_ACTIONS:
                    self._check_family(members[0].path)
                self._act_on_member(members[0])
                for member in members[1:]:
                    try:
                        self._check_share(member)
                        self._act_on_member(member)
                    except SkipError as error:
                        self._summary.skipped.append((member.path, str(error)))
                        self._steps.give_up([member.step], str(error))
        except SkipError as error:
            self._summary.skipped.append((family.going.file.path, str(error)))
            self._steps.give_up(family.steps, str(error))

    def _act_on_member(self, member: Going) -> None:
        self._steps.act_on(member)
        self._note_done(member)

    def _check_share(self, member: Going) -> None:
        """Raise SkipError if a sidecar or movie belongs to another picture as well, which is still there."""
        assert member.step.goes_with is not None
        folder, picture = os.path.split(member.step.goes_with)
        for other in self._names_in(folder).sharing(picture, os.path.basename(member.path)):
            if os.path.lexists(os.path.join(folder, other)):
                raise SkipError(f"{printable(member.path)} belongs to {printable(other)} as well, which stays")

    def _check_family(self, path: bytes) -> None:
        """Raise SkipError if something belongs to a picture alone that the plan does not name: it would be parted."""
        folder, picture = os.path.split(path)
        names = self._names_in(folder)
        if not names.lists(picture):
            raise SkipError(f"{NOT_KNOWN}: {printable(folder)} lists it by another name, or no more")

        def stays(name: bytes) -> bool:
            other = os.path.join(folder, name)
            return other not in self._named and os.path.lexists(other)

        for one in names.companions(picture):
            if os.path.join(folder, one.name) in self._pictures or not stays(one.name):
                continue
            if not any(map(stays, names.sharing(picture, one.name))):
                what = f"its {one.kind.value} {printable(one.name)}"
                raise SkipError(f"{what} is not in the plan, and would be left alone: make the plan anew")

    def _names_in(self, folder: bytes) -> FolderNames:
        if folder not in self._names:
            try:
                self._names[folder] = FolderNames(os.listdir(folder))
            except OSError as error:
                why = f"{printable(folder)} cannot be listed: {error.strerror}"
                raise SkipError(f"{NOT_KNOWN}, for {why}") from None
        return self._names[folder]

    def _note_done(self, member: Going) -> None:
        status = member.file.status
        frees = status.st_nlink == 1
        self._summary.done.append((member.path, status.st_size if frees else 0))
        if self._summary.action in MOVING_ACTIONS and member.step.goes_with is None:
            self._summary.digests.append(member.file.digest)
        elif self._summary.action == "hardlink" and member.holder is not None:
            self._kept_files.relinked(member.holder.path, member.holder.file)

    def _read(self, group: PlannedGroup, going: GoingFile, step: Step, stack: ExitStack) -> Going:
        """Read a file that goes and the one that stays for it; raises SkipError."""
        holder = self._read_holder(group, going, stack)
        planned = going.file
        file = stack.enter_context(unchanged(planned.path, step.root, planned.size_bytes, planned.blake3))
        if not is_as_intended(step, file.status):
            raise SkipError(f"{printable(planned.path)} has just changed")
        if holder is not None and os.path.samestat(holder.file.status, file.status):
            raise SkipError(f"{printable(planned.path)} is the same file as {printable(holder.path)}, not a copy of it")
        return Going(file, step, holder, self._read_others(going, holder, file, stack))

    def _read_others(
        self, going: GoingFile, holder: Holder | None, file: OpenFile, stack: ExitStack
    ) -> tuple[Holder, ...]:
        """Read what stays for others with the content of a file that goes for another content, or for none.

        The file could be one of them by another path.
        """
        if holder is not None and holder.file.digest == file.digest:
            return ()
        found = []
        for path, kept in self._holders.get(file.digest, {}).items():
            other = self._opened_holder(going, path, kept, stack)
            if os.path.samestat(other.file.status, file.status):
                raise SkipError(f"{printable(going.file.path)} is the same file as {printable(path)}, which stays")
            found.append(other)
        return tuple(found)

    def _read_holder(self, group: PlannedGroup, going: GoingFile, stack: ExitStack) -> Holder | None:
        if going.held_by is None:
            return None
        return self._opened_holder(going, going.held_by, _kept_of(group, going), stack)

    def _opened_holder(self, going: GoingFile, path: bytes, kept: PlannedFile, stack: ExitStack) -> Holder:
        root = self._plan.root_of(path)
        try:
            opening = self._kept_files.unchanged(path, root, kept.size_bytes, kept.blake3)
            return Holder(stack.enter_context(opening), path, root)
        except SkipError as error:
            raise SkipError(f"{printable(going.file.path)} may be the last copy: {error}") from None


def _kept_of(group: PlannedGroup, going: GoingFile) -> PlannedFile:
    """Return what the file that stays for another one must be: for a sidecar, its equal."""
    if going.goes_with is not None:
        return going.file
    return next(file for file in group.stays if file.path == going.held_by)


def _check_nothing_is_lost(family: Sequence[GoingFile]) -> None:
    for one in family:
        if one.goes_with is not None and one.held_by is None:
            raise SkipError(f"its sidecar {printable(one.file.path)} would be lost: no equal one stays")
