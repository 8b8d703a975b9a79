"""The way of a change, on one page: watch → index → blocks → compare → db.

    survey          walk the roots; new and changed files become pending, gone ones are removed
    index_pending   read, hash and decode what is pending; each batch is made durable with its matches, all or nothing
    tidy            forget contents and pictures that no file shows any more (a moved file keeps its picture until then)

Order of a batch: thumbnails are written and synced, then one transaction names them. Killed at any point, the next
run finds the files of unfinished batches pending and ends in the same state as an undisturbed run.
Everything here runs in one thread; the worker processes are behind `Pool`.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

import numpy as np

from dupwatchd.blocks.store import BlockStore, thumbnail_digest
from dupwatchd.compare import measures
from dupwatchd.compare.matcher import Limits, Matcher
from dupwatchd.db import facts, files, pictures
from dupwatchd.db.connection import Database
from dupwatchd.db.pictures import NewContent, NewPicture
from dupwatchd.model import Decoded, FileId, Job, Outcome, PictureId, Verdict
from dupwatchd.watch.walk import Listing, WalkRules, walk

_BATCH_SECONDS = 2.0  # what a kill costs at most, beside the files in work
_BATCH_PICTURES = 1024  # thumbnails held in memory: 3 MB at 32 px
_SURVEY_FILES = 20_000  # changed files per transaction of a survey
_JOBS_AT_ONCE = 1000
_COMPARE_AT_ONCE = 1024
_PASSES = 3


class Progress(Protocol):
    """Who is told how far the work is."""

    def stage(self, description: str, total: int | None) -> None:
        """A new stage begins; ``total`` steps are expected, None if unknown."""

    def advance(self, steps: int) -> None:
        """So many further steps are done."""


class Pool(Protocol):
    """Reads and decodes files, see `index.pool.WorkerPool`."""

    def index(self, jobs: Iterable[Job], known: Callable[[bytes], bool]) -> Iterator[Outcome]:
        """What came of each job, in any order."""


@dataclass
class Survey:
    """What a walk over the roots found."""

    files: int = 0
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)  # folders and why
    offline: list[bytes] = field(default_factory=list)  # roots that are empty though files are known there


class Pipeline:
    """The steps over one state directory; the caller holds its lock."""

    def __init__(self, database: Database, blocks: BlockStore, limits: Limits, progress: Progress) -> None:
        self._database = database
        self._blocks = blocks
        self._wanted_limits = limits
        self._progress = progress
        self._matcher: Matcher | None = None
        self._no_pictures: set[bytes] = set()  # contents this run found to be something else

    # ---- watch -> db

    def survey(self, roots: Sequence[bytes], rules: WalkRules) -> Survey:
        """Walk the roots and take over what is new, changed and gone."""
        found = Survey()
        known = files.folder_listings(self._database, roots)
        files.retry_unreadable(self._database, roots)
        self._progress.stage("looking for photos", None)
        for root in roots:
            self._survey_root(root, rules, {path: at for path, at in known.items() if _at_or_below(path, root)}, found)
        return found

    def _survey_root(
        self, root: bytes, rules: WalkRules, known: dict[bytes, tuple[int, bytes | None]], found: Survey
    ) -> None:
        missing = set(known)
        changes: list[Listing] = []
        files_before = found.files
        for listing in walk([root], rules):
            if listing.error is not None:
                found.unreadable.append((listing.path, listing.error))
                missing = {path for path in missing if not _at_or_below(path, listing.path)}
                continue
            missing.discard(listing.path)
            found.files += listing.seen_files
            self._progress.advance(listing.seen_files)
            if known.get(listing.path, (0, None))[1] != listing.digest:
                changes.append(listing)
                if sum(change.seen_files for change in changes) >= _SURVEY_FILES:
                    self._take_over(changes, known)
                    changes = []
        if found.files == files_before and files.count(self._database, [root]):
            # An empty folder where photos are known is a mount point without its disk: nothing is forgotten.
            found.offline.append(root)
            return
        self._take_over(changes, known)
        if missing:
            with self._database.transaction():
                files.forget_folders(self._database, [known[path][0] for path in missing])
                facts.write(self._database, {"untidy": 1})

    def _take_over(self, listings: list[Listing], known: dict[bytes, tuple[int, bytes | None]]) -> None:
        if not listings:
            return
        with self._database.transaction():
            untidy = False
            for listing in listings:
                before = known.get(listing.path)
                rows = files.files_of_folder(self._database, before[0]) if before else {}
                changed = []
                for entry in listing.entries():
                    row = rows.pop(entry[0], None)
                    same = row is not None and (row.size_bytes, row.mtime_ns) == entry[1:3]
                    if not (same and row is not None and (row.inode == entry[4] or not listing.inodes_are_stable)):
                        changed.append(entry)
                        untidy |= row is not None
                untidy |= bool(rows)
                gone = [row.file_id for row in rows.values()]
                files.record_folder(self._database, listing.path, listing.digest, changed, gone)
            if untidy:
                facts.write(self._database, {"untidy": 1})

    # ---- index -> blocks -> compare -> db

    def index_pending(self, roots: Sequence[bytes], pool: Pool) -> int:
        """Read all pending files under the roots; returns how many were still being written and stay pending."""
        total = files.count_pending(self._database, roots)
        if not total:
            return 0
        self._progress.stage("indexing", total)
        self._prepare_matcher()
        for _ in range(_PASSES):
            unsettled = self._index_once(roots, pool)
            if not unsettled.deferred:  # else who was to decode their content changed or vanished meanwhile
                break
        return unsettled.changing + unsettled.deferred

    def _index_once(self, roots: Sequence[bytes], pool: Pool) -> "_Unsettled":
        claimed: set[bytes] = set()  # contents that somebody decodes in this pass
        batch: list[Outcome] = []
        unsettled = _Unsettled()
        decoded = 0
        deadline = time.monotonic() + _BATCH_SECONDS

        def known(digest: bytes) -> bool:
            if digest in claimed or pictures.content_ids(self._database, [digest]):
                return True
            claimed.add(digest)
            return False

        outcomes = pool.index(self._pending(roots), known)
        try:
            for outcome in outcomes:
                batch.append(outcome)
                decoded += outcome.verdict is Verdict.DECODED
                unsettled.changing += outcome.verdict is Verdict.CHANGED
                self._progress.advance(1)
                if decoded >= _BATCH_PICTURES or time.monotonic() >= deadline:
                    batch = self._commit(batch)
                    decoded = 0
                    deadline = time.monotonic() + _BATCH_SECONDS
        finally:
            # also when interrupted: what has come in is kept
            close = getattr(outcomes, "close", None)
            if close:
                close()
            unsettled.deferred = len(self._commit(batch))
        return unsettled

    def _pending(self, roots: Sequence[bytes]) -> Iterator[Job]:
        last = FileId(-1)
        while jobs := files.pending_jobs(self._database, roots, last, _JOBS_AT_ONCE):
            yield from jobs
            last = jobs[-1].file_id

    def _commit(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Make a batch durable; returns those outcomes whose content somebody else is still decoding."""
        new = [(outcome, outcome.decoded) for outcome in outcomes if outcome.decoded is not None]
        picture_of, fresh = self._place([decoded for _, decoded in new])
        matcher = self._matcher
        assert matcher is not None, "index_pending prepares it"
        ids = [picture.picture_id for picture, _ in fresh if not picture.flat]
        thumbnails = np.stack([decoded.thumbnail for picture, decoded in fresh if not picture.flat]) if ids else None
        matches = matcher.match(ids, thumbnails) if thumbnails is not None else []
        contents = {
            outcome.digest: NewContent(outcome.digest, picture_id, decoded.width, decoded.height, decoded.format, None)
            for (outcome, decoded), picture_id in zip(new, picture_of, strict=True)
            if outcome.digest is not None
        } | {
            outcome.digest: NewContent(outcome.digest, None, None, None, None, outcome.error)
            for outcome in outcomes
            if outcome.verdict is Verdict.FAILED and outcome.digest is not None
        }
        with self._database.transaction():
            pictures.add_pictures(self._database, [picture for picture, _ in fresh])
            deferred = self._settle(outcomes, contents)
            pictures.add_matches(self._database, matches)
        if thumbnails is not None:
            matcher.add(ids, thumbnails)
        return deferred

    def _place(self, decoded: list[Decoded]) -> tuple[list[PictureId], list[tuple[NewPicture, Decoded]]]:
        """Find or make the picture of each decoded content; new thumbnails are in the blocks, durable, afterwards."""
        digests = [thumbnail_digest(one.thumbnail) for one in decoded]
        ids = pictures.picture_ids(self._database, set(digests))
        fresh = {digest: one for digest, one in zip(digests, decoded, strict=True) if digest not in ids}
        made: list[tuple[NewPicture, Decoded]] = []
        if fresh:
            slots = pictures.next_slots(self._database, len(fresh))
            thumbnails = np.stack([one.thumbnail for one in fresh.values()])
            self._blocks.write(list(slots), thumbnails)
            self._blocks.sync()
            flat = measures.flat(thumbnails)
            for slot, digest, is_flat in zip(slots, fresh, flat, strict=True):
                ids[digest] = slot
                made.append((NewPicture(slot, digest, bool(is_flat)), fresh[digest]))
        return [ids[digest] for digest in digests], made

    def _settle(self, outcomes: list[Outcome], contents: dict[bytes, NewContent]) -> list[Outcome]:
        """Write what became of each file; returns those that wait for a content not here yet."""
        database = self._database
        content_ids = pictures.content_ids(database, {o.digest for o in outcomes if o.digest is not None})
        self._no_pictures.update(o.digest for o in outcomes if o.verdict is Verdict.NOT_A_PICTURE and o.digest)
        deferred: list[Outcome] = []
        for outcome in outcomes:
            file_id, stamp, digest = outcome.job.file_id, outcome.stamp or outcome.job.stamp, outcome.digest
            match outcome.verdict:
                case Verdict.VANISHED:
                    files.remove(database, file_id)
                case Verdict.UNREADABLE:
                    files.settle(database, file_id, stamp, None, outcome.error)
                case Verdict.NOT_A_PICTURE:
                    files.settle(database, file_id, stamp, None, None)
                case Verdict.CHANGED:
                    pass  # stays pending
                case Verdict.DECODED | Verdict.FAILED | Verdict.KNOWN if digest is not None:
                    if digest not in content_ids and digest in contents:
                        content_ids[digest] = pictures.add_content(database, contents[digest])
                    if digest in content_ids:
                        files.settle(database, file_id, stamp, content_ids[digest], None)
                    elif digest in self._no_pictures:
                        files.settle(database, file_id, stamp, None, None)
                    else:
                        deferred.append(outcome)
                case _:
                    raise AssertionError(outcome)
        return deferred

    # ---- compare

    def _prepare_matcher(self) -> Matcher:
        """The matcher with all known pictures; compares everything anew if more is asked for than was kept."""
        if self._matcher is not None:
            return self._matcher
        compared = self._compared()
        limits = _wider(self._wanted_limits, compared) if compared else self._wanted_limits
        self._matcher = Matcher(limits, self._blocks.read)
        known = pictures.searchable(self._database)
        if compared == limits:
            for ids in _parts(known):
                self._matcher.add(ids, self._blocks.read(list(ids)))
            return self._matcher
        if known:
            self._progress.stage("comparing", len(known))
        with self._database.transaction():
            pictures.remove_matches(self._database)
            for ids in _parts(known):
                thumbnails = self._blocks.read(list(ids))
                pictures.add_matches(self._database, self._matcher.match(ids, thumbnails))
                self._matcher.add(ids, thumbnails)
                self._progress.advance(len(ids))
            facts.write(self._database, {"compared": json.dumps(asdict(limits))})
        return self._matcher

    def compare_if_needed(self) -> None:
        """Compare everything anew if the settings ask for more (thresholds, mirror images) than was compared."""
        compared = self._compared()
        if compared is None or _wider(self._wanted_limits, compared) != compared:
            if pictures.count_pictures(self._database):
                self._prepare_matcher()

    def _compared(self) -> Limits | None:
        """What the stored matches were compared with; None if nothing was, or a repair asks for all anew."""
        stored = facts.read(self._database).get("compared")
        return Limits(**json.loads(stored)) if stored else None

    # ---- db

    def tidy(self) -> None:
        """Forget contents and pictures no file shows any more; does nothing if nothing went."""
        if facts.read(self._database).get("untidy"):
            with self._database.transaction():
                pictures.remove_unused(self._database)
                facts.write(self._database, {"untidy": 0})


@dataclass
class _Unsettled:
    changing: int = 0
    deferred: int = 0


def _at_or_below(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _parts(ids: list[PictureId]) -> Iterator[list[PictureId]]:
    for start in range(0, len(ids), _COMPARE_AT_ONCE):
        yield ids[start : start + _COMPARE_AT_ONCE]


def _wider(one: Limits, other: Limits) -> Limits:
    """What both ask for: a state directory never forgets matches just because less is asked for today."""
    return Limits(
        max(one.keep_mse, other.keep_mse), max(one.keep_structure, other.keep_structure), one.mirrored or other.mirrored
    )
