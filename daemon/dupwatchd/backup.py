"""`dupwatchd backup FILE`: a copy of the index in one file, also while the service or a scan is at work.

Going in: the settings, which name the index, and the file. Coming out: what the copy holds.

The database is copied as it is at one moment. Thumbnails and proofs are read after that, when the service may have put
others into the slots of pictures that are gone meanwhile. So each is compared with its digest in the copy, and a
picture whose thumbnail is another one now is forgotten in the copy: its photos are read again after a restore. What
people said is in the database alone, and always complete.

The file is written beside the one that is there and renamed when it is on disk, so that a kill leaves the old backup or
the new one.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO

from dupwatch.replacing import check_replaceable
from dupwatchd import __version__
from dupwatchd.assembly import limits_of
from dupwatchd.backup_file import FORMAT, INDEX, MARK, PROOFS, THUMBNAILS, BackupWriter, Header, copied, write_proofs
from dupwatchd.backup_folder import folder_to_work_in, is_at, is_locked_now
from dupwatchd.db import answers, facts, pictures, remembered, roots, schema, upkeep
from dupwatchd.db.connection import FILE_NAME, Database, copy_database, open_for_reading
from dupwatchd.db.proofs import Proofs
from dupwatchd.errors import StateError, UsageError
from dupwatchd.interruption import stoppable
from dupwatchd.model import PictureId, Progress
from dupwatchd.replacing_index import is_replacing, sync_folder
from dupwatchd.settings import Settings
from dupwatchd.state import acting_as_owner, require_index, thumbnails_of
from dupwatchd.update.mending import forget_pictures, sound_thumbnails

_AT_ONCE = 1024


@dataclass(frozen=True)
class Contents:
    """What an index or a copy of it holds."""

    files: int
    pictures: int
    ignored_pairs: int
    decisions: int
    removed_contents: int


@dataclass(frozen=True)
class BackedUp:
    """What `backup` has written."""

    state: str
    file: str
    bytes: int
    made_at: str
    holds: Contents
    changed: int  # pictures that were replaced by others meanwhile: not in the copy, to be read again
    damaged: int  # thumbnails and proofs that are damaged in the index: likewise


def backup(settings: Settings, file: str, progress: Progress) -> BackedUp:
    """Write a copy of the index to ``file``, in place of an older backup; no other file is replaced.

    Run by root, it reads the index with the rights of its owner. Raises UsageError if there is no index or the file
    cannot be written, StateError if the index is damaged; then an older backup stays as it was.
    """
    require_index(settings.state)
    if is_replacing(settings.state):
        raise StateError(f"a restore of {settings.state} was not finished: `dupwatchd check` finishes it")
    state, file = os.path.realpath(settings.state), os.path.realpath(file)
    is_first = not os.path.lexists(file)
    with ExitStack() as stack:
        stack.enter_context(stoppable("interrupted: what was there stays as it was"))
        stream = stack.enter_context(_written_whole(file))
        with acting_as_owner(state), folder_to_work_in(state) as work:
            header = Header(FORMAT, schema.VERSION, __version__, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
            writer = BackupWriter(stream, header)
            stack.callback(writer.abandon)
            copy = _Copy(state, work, writer, progress)
            copy.write(settings)
        if copy.damaged and not is_first:
            raise StateError(
                f"{copy.damaged:,} thumbnails or proofs in {state} are damaged: the backup that is there stays as it "
                "is. Run `dupwatchd check --repair`, or name another file"
            )
        size_bytes = stream.tell()
    return BackedUp(state, file, size_bytes, header.made_at, copy.holds, copy.changed, copy.damaged)


class _Copy:
    """One copy in the making; ``holds``, ``changed`` and ``damaged`` are known after `write`."""

    def __init__(self, state: str, work: str, writer: BackupWriter, progress: Progress) -> None:
        self._state, self._work = state, work
        self._writer = writer
        self._progress = progress
        self.changed = self.damaged = 0

    def write(self, settings: Settings) -> None:
        with closing(open_for_reading(self._state)) as self._live:
            with closing(self._copied_database()) as database:
                if faults := upkeep.faults(database):
                    raise self._live.damaged(faults[0])
                total = roots.count_pictures(database)
                self._progress.stage("thumbnails", total, "pictures")
                with self._writer.member(THUMBNAILS) as stream:
                    lost = list(self._write_thumbnails(database, stream))
                forget_pictures(database, lost, limits_of(settings))
                self._progress.stage("proofs", roots.count_pictures(database), "pictures")
                with self._writer.member(PROOFS) as stream:
                    without = list(self._write_proofs(database, stream))
                with database.transaction():
                    pictures.forget_proofs(database, without)
                self.holds = contents_of(database)
            if not self._live.is_in_place():
                raise StateError(f"the index in {self._state} was replaced meanwhile; run the backup again")
        self._write_database()
        self._writer.close()

    def _copied_database(self) -> Database:
        done = 0

        def advance(pages: int, total: int) -> None:
            nonlocal done
            if not done:
                self._progress.stage("database", total, "pages")
            self._progress.advance(pages - done)
            done = pages

        return copy_database(self._state, self._work, advance)

    def _write_thumbnails(self, database: Database, stream: IO[bytes]) -> Iterator[PictureId]:
        """Write all thumbnails that are what they should be; gives the pictures of the others."""
        store = thumbnails_of(self._state, int(facts.read(database).get("thumbnail_px", 1)))
        for expected in upkeep.pictures_in_parts(database, _AT_ONCE):
            sound = dict(sound_thumbnails(store, expected))
            for thumbnail in sound.values():
                stream.write(thumbnail.tobytes())
            lost = [(one, digest) for one, digest in expected if one not in sound]
            self._count(lost, pictures.thumbnail_digests(self._live, [one for one, _ in lost]))
            yield from (one for one, _ in lost)
            self._progress.advance(len(expected))

    def _write_proofs(self, database: Database, stream: IO[bytes]) -> Iterator[PictureId]:
        """Write all proofs that are what they should be; gives the pictures of the others."""
        with closing(Proofs(self._state)) as store:
            for expected in upkeep.proofs_in_parts(database, _AT_ONCE):
                sound = dict(store.read(expected))
                write_proofs(stream, sound)
                lost = [(one, digest) for one, digest in expected.items() if one not in sound]
                now = answers.proof_digests(self._live, [one for one, _ in lost])
                self._count(lost, [now.get(one, b"") for one, _ in lost])
                yield from (one for one, _ in lost)
                self._progress.advance(len(expected))

    def _count(self, lost: list[tuple[PictureId, bytes]], now: list[bytes]) -> None:
        """Tell what is damaged from what the service has replaced: only the former is what it still should be."""
        damaged = sum(digest == digest_now for (_, digest), digest_now in zip(lost, now, strict=True))
        self.damaged += damaged
        self.changed += len(lost) - damaged

    def _write_database(self) -> None:
        path = os.path.join(self._work, FILE_NAME)
        self._progress.stage("packing the database", os.path.getsize(path), "bytes")
        with open(path, "rb") as source, self._writer.member(INDEX, packed=True) as stream:
            for part_bytes in copied(source, stream):
                self._progress.advance(part_bytes)


def contents_of(database: Database) -> Contents:
    """What an index holds."""
    return Contents(
        roots.count_files(database),
        roots.count_pictures(database),
        remembered.count_ignored(database),
        remembered.count_decisions(database),
        remembered.count_removed(database),
    )


@contextmanager
def _written_whole(file: str) -> Iterator[BinaryIO]:
    """A stream whose contents take the place of a file once the block is left without an error, on disk."""
    partial = f"{file}.partial"
    try:
        for path in (file, partial):
            check_replaceable(path, MARK)
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"cannot write {error.filename or file}: {error.strerror}") from error
    with _told_of(file), open(descriptor, "w+b") as stream:
        if os.fstat(descriptor).st_uid != os.geteuid():  # who could read what is written there
            raise UsageError(f"cannot write {partial}: it belongs to another user; name another file")
        os.fchmod(descriptor, 0o600)
        if not is_locked_now(descriptor) or not is_at(descriptor, partial):
            raise StateError(f"another backup is being written to {file}; wait for it, or name another file")
        try:
            stream.truncate()
            yield stream
            stream.flush()
            os.fsync(descriptor)
            os.rename(partial, file)
            sync_folder(os.path.dirname(file))
        except BaseException:
            if os.path.lexists(partial):
                os.unlink(partial)
            raise


@contextmanager
def _told_of(file: str) -> Iterator[None]:
    """Raise StateError for what goes wrong with a file, also while it is closed: that writes what is left of it."""
    try:
        yield
    except OSError as error:
        raise StateError(f"cannot write {file}: {error.strerror}; what was there stays as it was") from error
