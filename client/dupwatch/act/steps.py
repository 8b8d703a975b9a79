"""Does what an action means for one file: takes it away, or puts a link or a clone in its place.

In: a file that was read a moment ago, and the file that stays for it, both open. Out: the step, done and noted; or
SkipError and the file is where it was; or HaltError and no other file may be acted on. Each step is in the journal
before it begins (`intents`), and can be put back from any moment (`undo`), but for a deletion that is complete.
"""

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, NoReturn

from dupwatch.act.content import KeptLost, OpenFile, digest_of, is_listed, look_again, put_on_disk, stamp_of
from dupwatch.act.errors import HaltError, SkipError
from dupwatch.act.folders import Place, make_below, open_below, open_folder, parts_below, status_at
from dupwatch.act.journal import Journal
from dupwatch.act.kernel import asked_ctime_ns, exchange, share_blocks
from dupwatch.act.moving import is_same_file, put, remove_empty_folders, take
from dupwatch.act.quarantine import Quarantine, Quarantines
from dupwatch.act.runs import Step
from dupwatch.act.traits import Traits, give_traits
from dupwatch.act.trash import check_trash, put_into_trash
from dupwatch.act.undo import put_back_from_quarantine
from dupwatch.terminal import printable

MOVING_ACTIONS = ("quarantine", "move", "trash", "delete")
SHARING_ACTIONS = ("hardlink", "reflink")

# These concern the disk and not the one file: nothing that follows would fare better.
_DISK_ERRORS = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV, errno.ESTALE, errno.ENXIO])


class Holder(NamedTuple):
    """The file that stays for one that goes."""

    file: OpenFile
    path: bytes
    root: bytes


class Going(NamedTuple):
    """A file that goes, which was read a moment ago, and what stays for it."""

    file: OpenFile
    step: Step
    holder: Holder | None  # None: a sidecar that nothing else holds
    others: tuple[Holder, ...]  # what stays for others with the content of this one

    @property
    def path(self) -> bytes:
        """Where it is."""
        return self.step.path


class Steps:
    """Does the steps of one run."""

    def __init__(self, action: str, to: bytes | None, journal: Journal, quarantines: Quarantines) -> None:
        self._action, self._to = action, to
        self._journal, self._quarantines = journal, quarantines
        self._to_status = None if to is None else os.stat(to)
        self._cut_off: set[int] = set()  # numbers of steps that were ended in the middle
        self._listed: set[tuple[bytes, bytes]] = (
            set()
        )  # folders of what goes and what stays: one was listed after a step
        self._to_list: list[tuple[Step, Holder]] = []  # what stays, and is still to be looked for in its folder
        self._do: Callable[[Going, Quarantine, Place], None] = {
            "quarantine": self._keep_in_quarantine,
            "move": self._move,
            "trash": self._trash,
            "delete": self._delete,
            "hardlink": self._share,
            "reflink": self._share,
        }[action]

    def intend(self, steps: Sequence[Step]) -> None:
        """Note what is about to be done; raises HaltError."""
        paths = dict.fromkeys(step.quarantine for step in steps)
        self._journal.intend(steps, {path: self._quarantines.opened(path) for path in paths})

    def act_on(self, going: Going) -> None:
        """Act on one file as was noted; raises SkipError and HaltError."""
        try:
            quarantine = self._quarantines.opened(going.step.quarantine)
            if not quarantine.is_there():  # its disk was taken away, or it was renamed
                raise HaltError(f"the quarantine {printable(quarantine.path)} is gone")
            place = quarantine.place(self._journal.run.id, going.path)
        except OSError as error:
            self._fail(error, going)
        self._cut_off.add(going.step.number)
        try:
            self._do(going, quarantine, place)
        except SkipError:
            self._cut_off.discard(going.step.number)
            raise
        except OSError as error:
            raise_if_disk_error(error)
            self._cut_off.discard(going.step.number)
            self._fail(error, going)
        finally:
            os.close(place.folder)
        self._cut_off.discard(going.step.number)

    def what_is_lost(self) -> list[tuple[Step, KeptLost]]:
        """Return the steps whose file that stays is not listed any more, with the reason; they may be put back.

        Some file systems answer from memory that a file is there, and listing a large folder after each step takes
        longer than all else. So it is listed after the first step between two folders, and then once for many steps.
        That is for what lies in quarantine only: whatever is deleted, or goes elsewhere, waits for a listing.
        """
        waiting, self._to_list = self._to_list, []
        names: dict[bytes, set[bytes]] = {}
        lost = []
        for step, holder in waiting:
            folder, name = os.path.split(holder.path)
            if folder not in names:
                names[folder] = _names_below(holder.root, folder)
            if name not in names[folder]:
                lost.append((step, KeptLost(f"{printable(holder.path)} is gone", is_gone=True)))
        return lost

    def _is_listed(self, going: Going, holder: Holder, place: Place) -> bool:
        between = os.path.dirname(going.path), os.path.dirname(holder.path)
        if self._action == "quarantine" and between in self._listed:
            self._to_list.append((going.step, holder))
            return True
        self._listed.add(between)
        return is_listed(place)

    def put_back(self, step: Step, why: str) -> None:
        """Put back what lies in quarantine by a step that was done; raises SkipError, OSError, HaltError."""
        put_back_from_quarantine(step, self._journal.run)
        self._journal.note(step, "skipped", self._quarantines.opened(step.quarantine), because=why)

    def give_up(self, steps: Sequence[Step], why: str) -> None:
        """Note that steps are not done after all, but not of files that may lie elsewhere; raises HaltError."""
        for step in steps:
            if (
                self._journal.run.states.get(step.number) == "begun"
                and step.number not in self._cut_off
                and self._is_surely_not_held(step)
            ):
                self._journal.note(step, "skipped", self._quarantines.opened(step.quarantine), because=why)

    def _is_surely_not_held(self, step: Step) -> bool:
        try:
            os.lstat(step.held)
        except FileNotFoundError:
            return self._quarantines.opened(step.quarantine).is_there()
        except OSError:
            pass
        return False

    def _keep_in_quarantine(self, going: Going, quarantine: Quarantine, place: Place) -> None:
        self._take(going, quarantine, place)
        self._journal.note(going.step, "done", quarantine)

    def _delete(self, going: Going, quarantine: Quarantine, place: Place) -> None:
        assert going.holder is not None
        put_on_disk(going.holder.file)
        self._take(going, quarantine, place)
        os.unlink(place.name, dir_fd=place.folder)
        self._journal.note(going.step, "deleted", quarantine)

    def _move(self, going: Going, quarantine: Quarantine, place: Place) -> None:
        assert self._to is not None
        self._take(going, quarantine, place)
        try:
            top = self._opened_target()
            try:
                *parts, name = going.path[1:].split(b"/")
                folder = make_below(top, parts)
            finally:
                os.close(top)
            try:
                target = Place(folder, name, self._to.rstrip(b"/") + going.path)
                put(place, target, going.file.traits, going.step.partial_name(self._journal.run.id))
            finally:
                os.close(folder)
        except OSError as error:
            remove_empty_folders(self._to.rstrip(b"/") + os.path.dirname(going.path), self._to.rstrip(b"/"))
            self._put_back(going, quarantine, place, f"cannot be moved: {error.strerror}", error)
        self._journal.note(going.step, "done", quarantine)

    def _opened_target(self) -> int:
        """Open the folder to move to; raises OSError (ENODEV if it is another one: its disk was taken away)."""
        assert self._to is not None
        assert self._to_status is not None
        top = open_folder(self._to)
        if not os.path.samestat(os.fstat(top), self._to_status):
            os.close(top)
            raise OSError(errno.ENODEV, f"the disk at {printable(self._to)} is gone")
        return top

    def _trash(self, going: Going, quarantine: Quarantine, place: Place) -> None:
        """The file is taken into the quarantine first: the library moves whatever has its name at that moment."""
        check_trash(going.path)
        self._take(going, quarantine, place)
        try:
            trashed = put_into_trash(place.path, going.path)
        except OSError as error:
            why = f"cannot be put into the trash: {error.strerror or error}"
            self._put_back(going, quarantine, place, why, error)
        self._journal.note(going.step, "done", quarantine, trashed=trashed)

    def _share(self, going: Going, quarantine: Quarantine, place: Place) -> None:
        """Put a link or a clone in the file's place, in one exchange: its content is there at every moment."""
        assert going.holder is not None
        kept = going.holder.file
        if going.file.digest != kept.digest:
            raise SkipError(f"{printable(going.path)} is not equal byte by byte to {printable(going.holder.path)}")
        try:
            if self._action == "hardlink":
                put_on_disk(kept)
                os.link(
                    kept.place.name, place.name, src_dir_fd=kept.place.folder, dst_dir_fd=place.folder,
                    follow_symlinks=False,
                )  # fmt: skip
            else:
                _clone(kept, place, going.file.traits)
            new = _made(place, kept if self._action == "hardlink" else None)
            exchange(going.file.place.folder, going.file.place.name, place.folder, place.name)
        except (OSError, SkipError) as error:
            with suppress(FileNotFoundError):
                os.unlink(place.name, dir_fd=place.folder)
            if isinstance(error, OSError):
                raise_if_disk_error(error)
                raise SkipError(f"no {self._action} can be made of {printable(going.path)}: {error.strerror}") from None
            raise
        self._finish_sharing(going, new, quarantine, place)

    def _finish_sharing(self, going: Going, new: os.stat_result, quarantine: Quarantine, place: Place) -> None:
        """Check both sides of an exchange, and remove the old file; or exchange back."""
        now = status_at(going.file.place)
        if not is_same_file(place, going.file.stamp, going.file.digest):
            why: str | None = f"{printable(going.path)} was replaced meanwhile"
        elif now is None or not os.path.samestat(now, new):
            raise HaltError(
                f"{printable(going.path)} was replaced meanwhile; what it was lies in {printable(place.path)}"
            )
        else:
            lost = self._lost_for(going, linked=self._action == "hardlink")
            why = None if lost is None else lost.because
        if why is None:
            os.unlink(place.name, dir_fd=place.folder)
            self._journal.note(going.step, "done", quarantine)
            return
        exchange(going.file.place.folder, going.file.place.name, place.folder, place.name)
        ours = status_at(place)
        if ours is None or not os.path.samestat(ours, new):
            raise HaltError(f"{why}; a file that was there for a moment lies in {printable(place.path)}")
        os.unlink(place.name, dir_fd=place.folder)
        raise SkipError(why)

    def _take(self, going: Going, quarantine: Quarantine, place: Place) -> None:
        """Take a file into the quarantine, and make sure that it is this one and that the other one is still there."""
        changed_ns = asked_ctime_ns(going.file.descriptor)  # asked first, so that the rest is not from memory
        if (changed_ns, stamp_of(os.fstat(going.file.descriptor))) != (going.file.stamp.ctime_ns, going.file.stamp):
            raise SkipError(f"{printable(going.path)} has just changed")
        take(going.file.place, place)
        if not is_same_file(place, going.file.stamp, going.file.digest):
            self._put_back(going, quarantine, place, "was replaced or changed meanwhile")
        lost = self._lost_for(going)
        if lost is not None:
            self._put_back(going, quarantine, place, f"stays, for {lost.because}", halt=lost.is_gone)

    def _lost_for(self, going: Going, linked: bool = False) -> KeptLost | None:
        """Return what is wrong with one of the files that stay for one that goes; None: nothing."""
        for one in going.others if going.holder is None else (going.holder, *going.others):
            lost = look_again(one.path, one.root, one.file, linked, partial(self._is_listed, going, one))
            if lost is not None:
                return lost
        return None

    def _put_back(
        self,
        going: Going,
        quarantine: Quarantine,
        place: Place,
        why: str,
        error: OSError | None = None,
        halt: bool = False,
    ) -> NoReturn:
        """Put back what was taken; raises SkipError, or HaltError if nothing else may be done."""
        name = printable(going.path)
        try:
            put(place, going.file.place, going.file.traits, going.step.partial_name(self._journal.run.id))
        except OSError as second:
            where = f"it lies in {printable(place.path)}, and `dupwatch undo` puts it back"
            raise HaltError(f"{name} {why}; it could not be put back ({second.strerror}): {where}") from None
        self._journal.note(going.step, "skipped", quarantine, because=why)
        if halt:
            raise HaltError(f"{name} {why}")
        if error is not None:
            raise_if_disk_error(error)
        raise SkipError(f"{name} {why}")

    def _fail(self, error: OSError, going: Going) -> NoReturn:
        raise_if_disk_error(error)
        raise SkipError(f"{printable(going.path)} cannot be moved: {error.strerror or error}") from None


def _names_below(root: bytes, folder: bytes) -> set[bytes]:
    """Return the names in a folder below a root; none if it cannot be listed."""
    try:
        descriptor = open_below(root, parts_below(folder, root))
    except OSError:
        return set()
    try:
        return set(map(os.fsencode, os.listdir(descriptor)))
    except OSError:
        return set()
    finally:
        os.close(descriptor)


def raise_if_disk_error(error: OSError) -> None:
    """Raise HaltError if an error concerns the disk and not one file."""
    if error.errno in _DISK_ERRORS:
        raise HaltError(f"the disk refuses: {error.strerror}") from None


def _made(place: Place, linked: OpenFile | None) -> os.stat_result:
    """Return what was made at a place; raises SkipError if it is no link to the open file."""
    made = status_at(place)
    if made is None or (linked is not None and not os.path.samestat(made, linked.status)):
        raise SkipError("the file that stays was replaced meanwhile")
    return made


def _clone(kept: OpenFile, place: Place, traits: Traits) -> None:
    """Make a file that shares the blocks of another one, with traits of its own, and read it back."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(place.name, flags, 0o600, dir_fd=place.folder)
    try:
        share_blocks(kept.descriptor, descriptor)
        give_traits(descriptor, traits)
        os.fsync(descriptor)
        if digest_of(descriptor) != kept.digest or not kept.stamp.is_renamed(stamp_of(os.fstat(kept.descriptor))):
            raise OSError(errno.EIO, "the clone differs from its original")
    finally:
        os.close(descriptor)
