"""Notes of which pictures the commits of a connection change something, so that only those have to be read again.

In: what SQLite tells of each row that the one writing connection changes. Out: for a reader, what has changed between
two snapshots of its own; None if that is not known: after a start, and after very many changes. Then all has to be
read anew.

A commit and the beginning of a snapshot exclude each other, so that each snapshot holds exactly the commits that are
noted by then. What was noted of a transaction that is rolled back counts as changed as well, which does no harm.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import apsw

NOTED_MAX = 20_000  # pictures and contents; to read so many again takes about as long as to read all of a small library

# Where the ids stand in a row: of pictures, and of contents.
_PLACES = {
    "picture": ((0,), ()),
    "content": ((3,), ()),
    "file": ((), (8,)),
    "match": ((0, 1), ()),
    "part_match": ((0, 1), ()),
    "content_look": ((0,), ()),
}


class Changed(NamedTuple):
    """Something was changed of these pictures, their matches and contents, and of the files of these contents."""

    pictures: set[int]
    contents: set[int]  # which may show no picture, or are gone

    @property
    def size(self) -> int:
        """How many ids these are."""
        return len(self.pictures) + len(self.contents)


class ChangeLog:
    """What the latest commits have changed; all but `snapshot` belongs to the thread that writes.

    If it ``is_told`` of no row, nothing is ever known.
    """

    def __init__(self, *, is_told: bool = True) -> None:
        self._is_told = is_told
        self._lock = threading.Lock()  # held while a commit is made, and while a snapshot begins
        self._commits: deque[tuple[int, Changed]] = deque()  # by number, ascending
        self._size = 0  # of them all
        self._number = 0  # of the last commit
        self._known_from = 0  # what the commits after this one have changed is known
        self._is_in_transaction = False
        self._is_alone = False  # a statement outside of a transaction has begun to change rows; the lock is held
        self._pending: Changed | None = Changed(set(), set())  # None: too much

    def snapshot(self, begin: Callable[[], object], since: int | None) -> tuple[int, Changed | None]:
        """Let a snapshot ``begin`` between two commits; any thread may call.

        Gives the number of the last commit in it, and what was changed after the commit number ``since`` (None: all).
        """
        with self._lock:
            begin()
            if since is None or since < self._known_from or not self._is_told:
                return self._number, None
            found = Changed(set(), set())
            for number, changed in self._commits:
                if number > since:
                    found.pictures.update(changed.pictures)
                    found.contents.update(changed.contents)
            return self._number, found

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Around a transaction."""
        self._is_in_transaction = True
        try:
            yield
        finally:
            self._is_in_transaction = False

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Around the commit of a transaction."""
        with self._lock:
            self._take_down()
            yield

    def row_changes(self, row: apsw.PreUpdate) -> None:
        """A row is about to be changed."""
        places = _PLACES.get(row.table_name)
        if places is None:
            return
        if not self._is_in_transaction and not self._is_alone:
            self._lock.acquire()  # until `statement_is_over`: by then it is committed
            self._is_alone = True
        if self._pending is None:
            return
        for values in (row.old, row.new):
            if values is not None:
                _note(values, places[0], self._pending.pictures)
                _note(values, places[1], self._pending.contents)
        if self._pending.size > NOTED_MAX:
            self._pending = None

    def statement_is_over(self) -> None:
        """To be called after each statement, whatever has come of it."""
        if self._is_alone:
            self._take_down()
            self._is_alone = False
            self._lock.release()

    def _take_down(self) -> None:
        """Holding the lock: what is pending is the next commit."""
        self._number += 1
        changed, self._pending = self._pending, Changed(set(), set())
        if changed is None:
            self._commits.clear()
            self._size, self._known_from = 0, self._number
        elif changed.size:
            self._commits.append((self._number, changed))
            self._size += changed.size
            while self._size > NOTED_MAX:
                self._known_from, oldest = self._commits.popleft()
                self._size -= oldest.size


def _note(values: tuple[object, ...], places: tuple[int, ...], ids: set[int]) -> None:
    for place in places:
        number = values[place]
        if isinstance(number, int):  # None: no picture, or no content
            ids.add(number)
