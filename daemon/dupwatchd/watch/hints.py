"""What may have changed and has not been looked at yet. Hints go in, and come out once nothing more is said of them.

A hint is no more than a path; nothing here touches the disk. Whoever takes a hint compares the place with what is
known. While a file is being written each write puts its hint off, but not beyond the longest wait. Any thread may
call anything here. A hint is for one of

    file    look at this one path
    folder  look at the files that lie directly in it
    tree    look at everything at and below it
    root    likewise, for a whole root
"""

import heapq
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf

# A file that is still open for writing waits so many times longer, as the upload may only have stalled.
_PATIENCE_WHILE_OPEN = 5
# What is due so soon after something else is handed out with it, so that both halves of a move are looked at together,
# and told as a move; but no sooner than after half of the settling time.
_TOGETHER_SECONDS = 0.05
# About 350 bytes each. Beyond that number, a survey of the root costs less than looking at the paths one by one.
_MOST_HINTS = 50_000


@dataclass(frozen=True, slots=True)
class Due:
    """What to look at now. Nothing in it lies at or below one of its trees or roots."""

    files: list[bytes] = field(default_factory=list)
    folders: list[bytes] = field(default_factory=list)
    trees: list[bytes] = field(default_factory=list)
    roots: list[bytes] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.files or self.folders or self.trees or self.roots)


class _Hint:
    """One path that waits. Times are seconds of the clock."""

    __slots__ = ("first", "home", "is_open", "last", "path", "wake_at")

    def __init__(self, home: "_Kind", path: bytes, now: float) -> None:
        self.home = home  # the dictionary that holds it, by its path
        home[path] = self
        self.path = path
        self.first = self.last = now
        self.is_open = False
        self.wake_at = inf  # entries of the queue with another time than this are out of date


_Kind = dict[bytes, _Hint]


class Hints:
    """Collects hints and hands them out when they are due."""

    def __init__(
        self,
        settle_seconds: float,
        longest_wait_seconds: float,
        most_files_per_folder: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settle_seconds = settle_seconds
        self._longest_wait_seconds = longest_wait_seconds
        self._most_files_per_folder = most_files_per_folder
        self._clock = clock
        self._changed = threading.Condition()
        self._is_sooner = False  # something is due sooner than `seconds_until_due` last said
        self._is_woken = False  # by `wake`, for the `wait` to come
        self._files: dict[bytes, _Kind] = {}  # by folder, then by path
        self._folders: _Kind = {}
        self._trees: _Kind = {}
        self._roots: _Kind = {}
        self._number_of_files = 0
        # (time, number, hint), the time never later than the hint is due. It is often earlier, because a hint that is
        # put off stays where it is; `_peek` gives it its right place when its turn comes.
        self._queue: list[tuple[float, int, _Hint]] = []
        self._queued = 0

    def touched(self, path: bytes, closed: bool) -> None:
        """A file was made, written, moved or removed; ``closed`` unless somebody is known to be writing to it."""
        with self._changed:
            now = self._clock()
            folder = _parent(path)
            cover = self._folders.get(folder) or self._cover(path)
            if cover is not None:
                cover.last = now
                return
            beside = self._files.setdefault(folder, {})
            hint = beside.get(path)
            if hint is None:
                hint = _Hint(beside, path, now)
                self._number_of_files += 1
            hint.last, hint.is_open = now, not closed
            if len(beside) > self._most_files_per_folder:
                self._add(self._folders, folder, now)
            else:
                self._schedule(hint)

    def folder(self, path: bytes) -> None:
        """The files directly in a folder may have changed."""
        with self._changed:
            self._add(self._folders, path, self._clock())

    def tree(self, path: bytes) -> None:
        """Anything at or below a path may have changed; it may be a new folder, or one that is gone."""
        with self._changed:
            self._add(self._trees, path, self._clock())

    def everything(self, root: bytes) -> None:
        """Anything at or below a root may have changed."""
        with self._changed:
            self._add(self._roots, root, self._clock())
            self._absorb_all_below(self._roots[root])

    def due(self) -> Due:
        """Take out what has been quiet for the settling time, or has waited for the longest time.

        With it comes what would be due a moment later.
        """
        with self._changed:
            now = self._clock()
            due = Due()
            if (first := self._peek()) is not None and first.wake_at <= now:
                now += min(_TOGETHER_SECONDS, self._settle_seconds / 2)
            lists = {id(self._folders): due.folders, id(self._trees): due.trees, id(self._roots): due.roots}
            while (hint := self._next(now)) is not None:
                self._drop(hint)
                cover = None if hint.home is self._roots else self._cover(hint.path)
                if cover is not None:
                    self._absorb(cover, hint)
                else:
                    lists.get(id(hint.home), due.files).append(hint.path)
            return _without_covered(due)

    def put_back(self, due: Due) -> None:
        """Let what could not be dealt with wait again, as if it had just been seen."""
        for path in due.files:
            self.touched(path, closed=True)
        for paths, add in ((due.folders, self.folder), (due.trees, self.tree), (due.roots, self.everything)):
            for path in paths:
                add(path)

    def seconds_until_due(self) -> float | None:
        """How long until `due` has something, if nothing more happens; None while nothing is pending."""
        with self._changed:
            self._is_sooner = False
            hint = self._peek()
            return None if hint is None else max(0.0, hint.wake_at - self._clock())

    def wait(self, timeout: float | None) -> None:
        """Return after ``timeout`` seconds, or as soon as the last answer of `seconds_until_due` is too long."""
        with self._changed:
            if not self._is_sooner and not self._is_woken:
                self._changed.wait(timeout)
            self._is_sooner = self._is_woken = False

    def wake(self) -> None:
        """End a `wait`, or the next one."""
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def pending(self) -> int:
        """How many hints wait."""
        with self._changed:
            return self._number_of_files + len(self._folders) + len(self._trees) + len(self._roots)

    @property
    def are_too_many(self) -> bool:
        """Is it time to call `everything` for the root, so that memory stays bounded?"""
        return self.pending() > _MOST_HINTS

    def _add(self, kind: _Kind, path: bytes, now: float) -> None:
        cover = kind.get(path) or (self._cover(path) if kind is not self._roots else None)
        if cover is not None:
            cover.last = now
            return
        hint = _Hint(kind, path, now)
        for file in list(self._files.get(path, {}).values()):
            self._drop(file)
            self._absorb(hint, file)
        self._schedule(hint)

    def _absorb_all_below(self, root: _Hint) -> None:
        """Replace all hints below a root by that of the root; goes through all hints."""
        below = root.path.rstrip(b"/") + b"/"
        kinds = [self._folders, self._trees, *self._files.values()]
        for hint in [hint for kind in kinds for hint in kind.values() if (hint.path + b"/").startswith(below)]:
            self._drop(hint)
            self._absorb(root, hint)
        self._queue = [item for item in self._queue if item[2].wake_at == item[0]]
        heapq.heapify(self._queue)

    def _absorb(self, cover: _Hint, hint: _Hint) -> None:
        """Let ``cover`` stand for ``hint``, too: the first mention of either counts, and the last one of either."""
        cover.first = min(cover.first, hint.first)
        cover.last = max(cover.last, hint.last)
        self._schedule(cover)

    def _cover(self, path: bytes) -> _Hint | None:
        """The waiting tree or root at or above a path, if there is one."""
        if not self._trees and not self._roots:
            return None
        while True:
            hint = self._roots.get(path) or self._trees.get(path)
            if hint is not None or path == b"/":
                return hint
            path = _parent(path)

    def _drop(self, hint: _Hint) -> None:
        hint.wake_at = inf  # its entries in the queue are out of date from now on
        del hint.home[hint.path]
        folder = _parent(hint.path)
        if self._files.get(folder) is hint.home:
            self._number_of_files -= 1
            if not hint.home:
                del self._files[folder]

    def _deadline(self, hint: _Hint) -> float:
        quiet_seconds = self._settle_seconds * (_PATIENCE_WHILE_OPEN if hint.is_open else 1)
        return min(hint.last + quiet_seconds, hint.first + self._longest_wait_seconds)

    def _schedule(self, hint: _Hint) -> None:
        """Enter a hint in the queue, unless it is there with an earlier time."""
        deadline = self._deadline(hint)
        if deadline >= hint.wake_at:
            return
        hint.wake_at = deadline
        self._queued += 1
        heapq.heappush(self._queue, (deadline, self._queued, hint))
        if self._queue[0][2] is hint:
            self._is_sooner = True
            self._changed.notify_all()

    def _peek(self) -> _Hint | None:
        """The hint that is due first; entries out of date are removed, and hints that were put off get their time."""
        while self._queue:
            wake_at, _, hint = self._queue[0]
            deadline = self._deadline(hint)
            if wake_at == hint.wake_at and deadline <= wake_at:
                return hint
            if wake_at != hint.wake_at:
                heapq.heappop(self._queue)
                continue
            hint.wake_at = deadline
            self._queued += 1
            heapq.heapreplace(self._queue, (deadline, self._queued, hint))
        return None

    def _next(self, now: float) -> _Hint | None:
        """The hint that is due first, if it is due now, taken from the queue."""
        hint = self._peek()
        if hint is None or hint.wake_at > now:
            return None
        heapq.heappop(self._queue)
        return hint


def _parent(path: bytes) -> bytes:
    return path[: path.rfind(b"/")] or b"/"


def _without_covered(due: Due) -> Due:
    tops = {*due.trees, *due.roots}
    if not tops:
        return due

    def outside(paths: Iterable[bytes], tops: set[bytes]) -> list[bytes]:
        return [path for path in paths if not _is_below(path, tops)]

    files = [path for path in outside(due.files, tops) if path not in tops]
    folders = [path for path in outside(due.folders, tops) if path not in tops]
    trees = [path for path in outside(due.trees, tops) if path not in due.roots]
    return Due(files, folders, trees, due.roots)


def _is_below(path: bytes, tops: set[bytes]) -> bool:
    while path != b"/":
        path = _parent(path)
        if path in tops:
            return True
    return False
