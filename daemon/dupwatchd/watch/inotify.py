"""One root under inotify: a watch on every folder in it, and what the kernel tells as watchdog's events.

In go the root and the rules; out come events, through a function given by the caller (`emitter.py`). The caller owns
a TreeWatch and uses it from one thread at a time. This module is the only home of the library inotify_simple.

An event never says what is on disk now; it says where something changed. Three rules keep the table of watches right:
1. A folder is watched before it is listed, so whatever comes into it afterwards has an event of its own.
2. A folder that is moved is dropped from the table with all folders below it, and watched anew where it turns up.
   Nothing depends on pairing the two halves of a move, and no folder is known under an outdated path.
3. For each folder that is taken up or dropped an event is emitted after its watch stands; whoever gets it is to look
   at the whole tree below.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from inotify_simple import Event, INotify, flags
from watchdog.events import (
    DirAttribEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileSystemEvent,
)

from dupwatchd.opening import open_folder
from dupwatchd.watch.walk import WalkRules

# Reading is not asked for, because our own reading would be reported. MODIFY tells that somebody is still writing.
_MASK = int(
    flags.CREATE | flags.MODIFY | flags.CLOSE_WRITE | flags.ATTRIB | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO
    | flags.ONLYDIR | flags.DONT_FOLLOW | flags.EXCL_UNLINK
)  # fmt: skip
# Plain numbers, because the operators of the library's IntEnum take 20 times as long.
_Q_OVERFLOW, _IGNORED, _UNMOUNT, _ISDIR = map(int, (flags.Q_OVERFLOW, flags.IGNORED, flags.UNMOUNT, flags.ISDIR))
_ATTRIB = int(flags.ATTRIB)
_CAME = int(flags.CREATE | flags.MOVED_TO)
_WENT = int(flags.DELETE | flags.MOVED_FROM)
_SELF_WENT = int(
    flags.DELETE_SELF | flags.MOVE_SELF
)  # only for the root; a folder below is reported by the one above it
_FILE_EVENTS: dict[int, type[FileSystemEvent]] = {
    int(flags.CREATE): FileCreatedEvent,
    int(flags.MOVED_TO): FileCreatedEvent,
    int(flags.MODIFY): FileModifiedEvent,
    int(flags.CLOSE_WRITE): FileClosedEvent,
    int(flags.ATTRIB): FileAttribEvent,
    int(flags.DELETE): FileDeletedEvent,
    int(flags.MOVED_FROM): FileDeletedEvent,
}
# The kernel queues an event for each watch that is removed: those of a large tree at once would overflow its queue.
_REMOVED_AT_ONCE = 2_000


class WatchesRanOut(Exception):  # noqa: N818 - it is the state of the machine, not an error
    """The kernel gives no more watches; the message names the setting to be raised."""


@dataclass(slots=True, eq=False)
class _Folder:
    watch: int
    path: bytes
    above: "_Folder | None"
    below: dict[bytes, "_Folder"] = field(default_factory=dict)  # by path


class TreeWatch:
    """Watches a root and all folders below it, except those that the rules leave out and those in ``skipped``."""

    def __init__(
        self,
        root: bytes,
        rules: WalkRules,
        skipped: frozenset[bytes],
        emit: Callable[[FileSystemEvent], None],
        going_on: Callable[[], None],
    ) -> None:
        """Returns when all watches stand. ``emit`` takes the events (paths as bytes) of `read`.

        ``going_on`` is called for every folder that is taken up; what it raises ends the work and reaches the caller.
        Raises WatchesRanOut, or OSError if the root itself cannot be watched.
        """
        self.lost_events = False  # the kernel's queue overflowed
        self.is_stale = False  # the root, or a disk below it, is gone: a new TreeWatch is needed
        self.mounted_twice: bytes | None = (
            None  # a folder that is mounted in two places of the root; events name the other
        )
        self._rules = rules
        self._skipped = skipped | rules.left_out
        self._emit = emit
        self._going_on = going_on
        self._skip = len(root.rstrip(b"/")) + 1
        self._folders: dict[int, _Folder] = {}
        # Watches of folders that moved: they are used again if the folder turns up elsewhere, else removed.
        self._dropped: set[int] = set()
        try:
            self._inotify = INotify()
        except OSError as error:
            raise WatchesRanOut(_limit_reached(error)) from error
        try:
            watch = self._add_watch(root, _MASK | _SELF_WENT)
            self._top = self._folders[watch] = _Folder(watch, root, None)
            self._watch_below(self._top)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """The descriptor that is readable when events wait."""
        return int(self._inotify.fileno())

    def __len__(self) -> int:
        """How many folders are watched."""
        return len(self._folders)

    def close(self) -> None:
        """Remove all watches."""
        self._inotify.close()
        self._folders.clear()

    def read(self) -> int:
        """Emit all events that wait in the kernel; returns how many there were. Raises WatchesRanOut."""
        events = self._inotify.read(timeout=0)
        files: dict[tuple[int, str], int] = {}  # the last event of each file: a thousand writes to it are told once
        for event in events:
            if event.mask & (_ISDIR | _IGNORED | _Q_OVERFLOW | _SELF_WENT | _UNMOUNT):
                self._emit_files(files)  # before the table of watches changes
                files.clear()
                self._handle_folder(event)
            else:
                files[event.wd, event.name] = event.mask
        self._emit_files(files)
        for _ in range(min(len(self._dropped), _REMOVED_AT_ONCE)):
            self._remove_watch(self._dropped.pop())  # its event wakes the caller, who calls again for the next ones
        return len(events)

    def _emit_files(self, files: dict[tuple[int, str], int]) -> None:
        for (watch, name), mask in files.items():
            folder = self._folders.get(watch)
            event_class = _FILE_EVENTS.get(mask)
            if folder is not None and name and event_class is not None:
                self._emit(event_class(_joined(folder.path, os.fsencode(name))))

    def _is_left_out(self, name: bytes, path: bytes) -> bool:
        return path in self._skipped or self._rules.never_enters(name, path, self._skip)

    def _handle_folder(self, event: Event) -> None:
        if event.mask & _Q_OVERFLOW:
            self.lost_events = True
            return
        if event.mask & _IGNORED:
            self._dropped.discard(event.wd)
        folder = self._folders.get(event.wd)
        if folder is None:  # dropped meanwhile
            return
        if event.mask & _UNMOUNT or (folder is self._top and event.mask & (_SELF_WENT | _IGNORED)):
            self.is_stale = True
        elif event.mask & _IGNORED:
            self._drop(folder)
        elif event.name:
            self._handle_folder_below(folder, event.mask, os.fsencode(event.name))

    def _handle_folder_below(self, above: _Folder, mask: int, name: bytes) -> None:
        path = _joined(above.path, name)
        if self._is_left_out(name, path):
            return
        if mask & _WENT:
            if path in above.below:
                self._drop(above.below[path])
            self._emit(DirDeletedEvent(path))
        elif mask & _CAME or path not in above.below:  # not known: it may have become readable now
            self._watch_tree(path, above)
            self._emit(DirCreatedEvent(path))
        elif mask & _ATTRIB:
            self._emit(DirAttribEvent(path))

    def _watch_tree(self, path: bytes, above: _Folder) -> None:
        """Watch a folder and all below it; nothing is to be done for a folder that is in the table at this path."""
        folder = self._watch(path, above)
        if folder is not None:
            self._watch_below(folder)

    def _watch_below(self, top: _Folder) -> None:
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            self._going_on()
            found = [self._watch(path, folder) for path in self._folders_in(folder.path)]
            waiting += [below for below in found if below is not None]

    def _folders_in(self, path: bytes) -> list[bytes]:
        try:
            descriptor = open_folder(path)  # by its path it could have become a link to a tree outside the root
            try:
                with os.scandir(descriptor) as entries:
                    names = [os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise WatchesRanOut(f"the folders in it cannot be listed: {error.strerror}") from error
            return []  # it is gone or may not be read: whoever looks at it finds that out
        below = [(name, _joined(path, name)) for name in names]
        return [whole for name, whole in below if not self._is_left_out(name, whole)]

    def _watch(self, path: bytes, above: _Folder) -> _Folder | None:
        """Watch a folder; None if it is watched already, is gone, or may not be read."""
        try:
            watch = self._add_watch(path)
        except OSError:
            return None
        known = self._folders.get(watch)
        if known is not None and known is above.below.get(path):
            return None
        if known is not None and _are_one(known.path, path):
            self.mounted_twice = path
            return None
        if known is not None:  # it was moved here from there
            self._drop(known)
        if path in above.below:  # another folder lies here by now
            self._drop(above.below[path])
        return self._record(watch, path, above)

    def _record(self, watch: int, path: bytes, above: _Folder) -> _Folder | None:
        if self._folders.get(above.watch) is not above:  # dropped in this very call: its own events are still to come
            self._dropped.add(watch)
            return None
        self._dropped.discard(watch)
        folder = self._folders[watch] = above.below[path] = _Folder(watch, path, above)
        return folder

    def _add_watch(self, path: bytes, mask: int = _MASK) -> int:
        try:
            watch: int = self._inotify.add_watch(path, mask)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.ENOMEM):
                raise WatchesRanOut(_limit_reached(error)) from error
            raise
        return watch

    def _drop(self, top: _Folder) -> None:
        if top.above is not None:
            del top.above.below[top.path]
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            waiting += folder.below.values()
            del self._folders[folder.watch]
            self._dropped.add(folder.watch)

    def _remove_watch(self, watch: int) -> None:
        try:
            self._inotify.rm_watch(watch)
        except OSError:
            pass  # the kernel removed it, because the folder is gone


def _are_one(one: bytes, other: bytes) -> bool:
    """Does a folder lie in two places, now? A bind mount does that."""
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except OSError:
        return False


def _joined(folder: bytes, name: bytes) -> bytes:
    return folder + name if folder.endswith(b"/") else folder + b"/" + name


def _limit_reached(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        setting = "fs.inotify.max_user_watches"
        return f"the kernel gives no more watches; raise sysctl {setting}{_now(setting)}"
    if error.errno == errno.EMFILE:
        setting = "fs.inotify.max_user_instances"
        return f"the kernel gives no inotify instance; raise sysctl {setting}{_now(setting)}"
    return error.strerror or str(error)


def _now(setting: str) -> str:
    try:
        with open("/proc/sys/" + setting.replace(".", "/"), encoding="ascii") as file:
            return f" (now {file.read().strip()})"
    except OSError:
        return ""
