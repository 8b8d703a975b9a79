"""One root's share of inotify: a watch on every folder, and its events turned into hints. The library's only home.

An event never says what is on disk now, only where to look. The table of watches is right in the end because
1. a folder is watched before it is listed, so whatever comes into it later has an event of its own;
2. a folder that is moved is forgotten where it was, with all below it, and watched anew where it comes up: no
   pairing of the two events, no path that lags behind;
3. each folder taken up or forgotten is a hint for its whole tree, given after its watch stands.

Not thread-safe: one thread owns it.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from inotify_simple import Event, INotify, flags

from dupwatchd.suffixes import suffix
from dupwatchd.watch.hints import Hints
from dupwatchd.watch.walk import WalkRules

# What is read is not asked for: our own reading would come back. MODIFY is, as it tells who is still writing.
_MASK = int(
    flags.CREATE | flags.MODIFY | flags.CLOSE_WRITE | flags.ATTRIB | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO
    | flags.ONLYDIR | flags.DONT_FOLLOW | flags.EXCL_UNLINK
)  # fmt: skip
# plain numbers: operators of the library's IntEnum take 20 times as long
_Q_OVERFLOW, _IGNORED, _UNMOUNT, _ISDIR = map(int, (flags.Q_OVERFLOW, flags.IGNORED, flags.UNMOUNT, flags.ISDIR))
_MODIFY, _ATTRIB = map(int, (flags.MODIFY, flags.ATTRIB))
_CAME = int(flags.CREATE | flags.MOVED_TO)
_WENT = int(flags.DELETE | flags.MOVED_FROM)
_SELF_WENT = int(flags.DELETE_SELF | flags.MOVE_SELF)  # asked for of the root alone: others are told of above
# A watch given back leaves an event in the queue: those of a large tree at once would make it run over.
_GIVEN_BACK_AT_ONCE = 2_000


class WatchesRanOut(Exception):  # noqa: N818 - it is the state of the machine, not an error
    """The kernel gives no more watches; the message names the setting to be raised."""


@dataclass(slots=True, eq=False)
class _Folder:
    watch: int
    path: bytes
    above: "_Folder | None"
    below: dict[bytes, "_Folder"] = field(default_factory=dict)  # by path


class TreeWatch:
    """Watches a root and all folders below it, but for those the rules leave out and those ``skipped``."""

    def __init__(
        self, root: bytes, rules: WalkRules, skipped: frozenset[bytes], hints: Hints, going_on: Callable[[], None]
    ) -> None:
        """Returns when all watches stand; ``going_on`` is called for every folder, and may raise to give up.

        Raises WatchesRanOut, or OSError if the root itself cannot be watched.
        """
        self.root = root
        self.lost_events = False  # the kernel's queue ran over
        self.is_stale = False  # the root, or a disk below it, went: a new TreeWatch is needed
        self.doubled: bytes | None = None  # a folder that lies elsewhere, too, and is heard only there
        self._rules = rules
        self._skipped = skipped | rules.left_out
        self._hints = hints
        self._going_on = going_on
        self._skip = len(root.rstrip(b"/")) + 1
        self._folders: dict[int, _Folder] = {}
        self._forgotten: set[int] = set()  # watches of folders that moved; they come up elsewhere, or are given back
        try:
            self._inotify = INotify()
        except OSError as error:
            raise WatchesRanOut(_limit_reached(error)) from error
        try:
            watch = self._add_watch(root, _MASK | _SELF_WENT)
            self._top = self._folders[watch] = _Folder(watch, root, None)
            self._take_up_below(self._top)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """What to poll for."""
        return int(self._inotify.fileno())

    def __len__(self) -> int:
        """How many folders are watched."""
        return len(self._folders)

    def close(self) -> None:
        """Give all watches back."""
        self._inotify.close()
        self._folders.clear()

    def read(self) -> int:
        """Turn all waiting events into hints; returns how many there were. Raises WatchesRanOut."""
        events = self._inotify.read(timeout=0)
        files: dict[tuple[int, str], bool] = {}  # closed? A thousand writes to one file are one hint
        for event in events:
            if event.mask & (_ISDIR | _IGNORED | _Q_OVERFLOW | _SELF_WENT | _UNMOUNT):
                self._hint_files(files)  # while the paths are still those the events meant
                files.clear()
                self._handle_folder(event)
            else:
                files[event.wd, event.name] = not event.mask & _MODIFY
        self._hint_files(files)
        for _ in range(min(len(self._forgotten), _GIVEN_BACK_AT_ONCE)):
            self._give_back(self._forgotten.pop())  # which wakes us for the next ones
        return len(events)

    def _hint_files(self, files: dict[tuple[int, str], bool]) -> None:
        for (watch, name), closed in files.items():
            folder = self._folders.get(watch)
            if folder is not None and name:
                raw = os.fsencode(name)
                path = _joined(folder.path, raw)
                if self._is_wanted(raw, path):
                    self._hints.touched(path, closed)

    def _is_wanted(self, name: bytes, path: bytes) -> bool:
        wanted = self._rules.suffixes
        return (suffix(name) in wanted or name[name.rfind(b".") :] in wanted) and not self._is_left_out(name, path)

    def _is_left_out(self, name: bytes, path: bytes) -> bool:
        return path in self._skipped or self._rules.ignored.covers(name, path[self._skip :])

    def _handle_folder(self, event: Event) -> None:
        if event.mask & _Q_OVERFLOW:
            self.lost_events = True
            return
        if event.mask & _IGNORED:
            self._forgotten.discard(event.wd)
        folder = self._folders.get(event.wd)
        if folder is None:  # forgotten since
            return
        if event.mask & _UNMOUNT or (folder is self._top and event.mask & (_SELF_WENT | _IGNORED)):
            self.is_stale = True
        elif event.mask & _IGNORED:
            self._forget(folder)
        elif event.name:
            self._handle_folder_below(folder, event.mask, os.fsencode(event.name))

    def _handle_folder_below(self, above: _Folder, mask: int, name: bytes) -> None:
        path = _joined(above.path, name)
        if self._is_left_out(name, path):
            return
        if mask & _WENT:
            if path in above.below:
                self._forget(above.below[path])
            self._hints.tree(path)
        elif mask & _CAME or path not in above.below:  # the latter: it may be readable now
            self._take_up(path, above)
            self._hints.tree(path)
        elif mask & _ATTRIB:
            self._hints.folder(path)

    def _take_up(self, path: bytes, above: _Folder) -> None:
        """Watch a folder and all below it, unless it is known here already, and so was listed after it was watched."""
        folder = self._watch(path, above)
        if folder is not None:
            self._take_up_below(folder)

    def _take_up_below(self, top: _Folder) -> None:
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            self._going_on()
            found = [self._watch(path, folder) for path in self._folders_in(folder.path)]
            waiting += [below for below in found if below is not None]

    def _folders_in(self, path: bytes) -> list[bytes]:
        try:
            with os.scandir(path) as entries:
                below = [(entry.name, entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise WatchesRanOut(f"the folders in it cannot be listed: {error.strerror}") from error
            return []  # it went, or may not be read, which the look at it will tell
        return [path for name, path in below if not self._is_left_out(name, path)]

    def _watch(self, path: bytes, above: _Folder) -> _Folder | None:
        """Watch a folder; None if it is watched already, or cannot be, as it went or may not be read."""
        try:
            watch = self._add_watch(path)
        except OSError:
            return None
        known = self._folders.get(watch)
        if known is not None and known is above.below.get(path):
            return None
        if known is not None and _are_one(known.path, path):
            self.doubled = path
            return None
        if known is not None:  # it was moved here from there
            self._forget(known)
        if path in above.below:  # another folder lies here by now
            self._forget(above.below[path])
        return self._record(watch, path, above)

    def _record(self, watch: int, path: bytes, above: _Folder) -> _Folder | None:
        if self._folders.get(above.watch) is not above:  # forgotten just now: its own events are still to come
            self._forgotten.add(watch)
            return None
        self._forgotten.discard(watch)
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

    def _forget(self, top: _Folder) -> None:
        if top.above is not None:
            del top.above.below[top.path]
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            waiting += folder.below.values()
            del self._folders[folder.watch]
            self._forgotten.add(folder.watch)

    def _give_back(self, watch: int) -> None:
        try:
            self._inotify.rm_watch(watch)
        except OSError:
            pass  # the kernel has removed it, as the folder is gone


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
