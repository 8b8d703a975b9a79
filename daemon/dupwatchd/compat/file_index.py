"""An index of chosen files: files go in, contents, pictures and thumbnails come out, for matching and for acting.

The state directory is locked while an index is open. Only the chosen files are taken up; what else was in a state
directory below the same folders is no longer in it afterwards.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from dupwatch.progress import Bars
from dupwatch.suffixes import suffix_of_name
from dupwatchd.arrays import Thumbnails
from dupwatchd.assembly import limits_of, processors, search_opener, worker_pool
from dupwatchd.db import answers, facts, files, pictures
from dupwatchd.db.answers import Copy
from dupwatchd.db.connection import Database, open_database
from dupwatchd.index.pool import WorkerPool
from dupwatchd.interruption import stoppable
from dupwatchd.model import Limits, PictureId
from dupwatchd.settings import Settings
from dupwatchd.state import decoders, locked_state, retry_after_upgrade, stores_of, thumbnail_px_of, thumbnails_of
from dupwatchd.update.changes import Survey
from dupwatchd.update.intake import Intake
from dupwatchd.update.pipeline import IntakeOnDemand, bring_up_to_date
from dupwatchd.watch.ignore import IgnoredNames
from dupwatchd.watch.walk import WalkRules


class _AllBut(IgnoredNames):
    """Passes over every file but those that have one of these paths below their root."""

    def __init__(self, below: frozenset[bytes]) -> None:
        super().__init__(())
        self._below = below

    def covers(self, name: bytes, path_below_root: bytes) -> bool:  # noqa: ARG002 - as its base has it
        return path_below_root not in self._below


@dataclass(frozen=True)
class _Chosen(WalkRules):
    """Takes up chosen files, and enters only the folders in which they lie."""

    below: frozenset[bytes] = frozenset()  # paths of the files below their roots
    folders: frozenset[bytes] = frozenset()  # absolute

    @cached_property
    def ignored(self) -> IgnoredNames:
        return _AllBut(self.below)

    @cached_property
    def signature(self) -> bytes:
        return b"\0".join(sorted(self.below))

    def never_enters(self, name: bytes, path: bytes, skip: int) -> bool:  # noqa: ARG002 - as its base has it
        return path not in self.folders


def _rules(roots: Sequence[bytes], paths: frozenset[bytes]) -> WalkRules:
    """What the walk takes up; a file is known by its path below its root, so that of equal paths all are taken up."""
    below: set[bytes] = set()
    folders: set[bytes] = set()
    tops = [root.rstrip(b"/") + b"/" for root in roots]
    for path in paths:
        top = next(one for one in tops if path.startswith(one))
        below.add(path[len(top) :])
        folder = os.path.dirname(path)
        while folder not in folders and folder.startswith(top):
            folders.add(folder)
            folder = os.path.dirname(folder)
    suffixes = {os.fsencode(suffix_of_name(os.fsdecode(os.path.basename(path)))) for path in paths}
    return _Chosen(frozenset(suffixes), (), frozenset(), frozenset(below), frozenset(folders))


@dataclass
class OpenIndex:
    """An index that is open and locked."""

    settings: Settings
    state: str
    database: Database
    thumbnail_px: int
    roots: Sequence[bytes]
    pool: WorkerPool  # reads files
    intake: IntakeOnDemand
    survey: Survey = field(default_factory=Survey)

    @cached_property
    def read_thumbnails(self) -> Callable[[Sequence[int]], Thumbnails]:
        """Reads the thumbnails of pictures: (N, S, S, 3) uint8."""
        return thumbnails_of(self.state, self.thumbnail_px).read

    def copies(self) -> dict[bytes, Copy]:
        """All files that show a picture, by path; only chosen ones are in the index."""
        ids = {*pictures.searchable(self.database), *map(PictureId, answers.flat_pictures(self.database))}
        tops = tuple(root.rstrip(b"/") + b"/" for root in self.roots)
        return {copy.path: copy for copy in answers.copies_of(self.database, sorted(ids)) if copy.path.startswith(tops)}

    def failures(self) -> dict[bytes, str]:
        """Why files could not be read, by path."""
        return {one.path: one.error for root in self.roots for one in files.failures(self.database, root)}


class Index:
    """The index of some files in a state directory."""

    def __init__(self, settings: Settings, roots: Sequence[bytes], paths: Iterable[bytes], if_stopped: str) -> None:
        """``paths`` are absolute and without links, each below one of ``roots``, none of which lies inside another.

        ``if_stopped`` says what is left if the user stops it.
        """
        self.settings = settings
        self._if_stopped = f"interrupted: {if_stopped}"
        self._roots, self._paths = roots, frozenset(paths)

    @contextmanager
    def opened(self, progress: Bars, *, update: bool = False, verdicts: bool = False) -> Iterator[OpenIndex]:
        """Open it, locked. Raises DupwatchError, Interrupted if it is to stop.

        With ``update`` it is first made to agree with the files. With ``verdicts`` all pairs that may be the same are
        looked at again then, which takes about as long as reading the files, and serves acting alone.
        """
        settings, roots = self.settings, self._roots
        with ExitStack() as stack:
            stack.enter_context(stoppable(self._if_stopped))
            state = stack.enter_context(locked_state(settings.state))
            database = open_database(state)
            stack.callback(database.close)
            side = thumbnail_px_of(database, settings)
            limits = limits_of(settings)
            if not verdicts:  # what was looked at before is kept
                limits = facts.compared_within(database) or Limits(0.0, 0.0, mirrored=False)

            # it starts processes when it has something to do
            pool = stack.enter_context(worker_pool(settings, side, frames=False))

            def open_intake() -> Intake:
                facts.write(database, {"decoders": decoders(settings)})
                stores = stores_of(state, side)
                opener = search_opener(settings, side)
                return Intake(database, stores, pool, limits, opener, progress, processors(), frames=False)

            index = OpenIndex(settings, state, database, side, roots, pool, IntakeOnDemand(open_intake))
            if update:
                retry_after_upgrade(database, settings)
                index.survey, _ = bring_up_to_date(
                    database, roots, _rules(roots, self._paths), limits, index.intake, progress, frames=False
                )
            yield index
