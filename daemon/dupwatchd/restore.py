"""`dupwatchd restore FILE`: puts the index of a backup in place of the one of a state directory.

Going in: the settings, which name the state directory, and the file. Coming out: what the index holds now, and where
the one is that was there before. All of the backup is read and verified before anything is replaced; a state directory
that is in use is not touched. How the replacing itself survives a kill is in `replacing_index`.
"""

import os
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from dupwatchd.backup import Contents, contents_of
from dupwatchd.backup_file import INDEX, PROOFS, THUMBNAILS, BackupReader, copied
from dupwatchd.blocks.store import BlockStore, Stores
from dupwatchd.check import Findings, verify
from dupwatchd.db import facts, parts, pictures, roots, schema, upkeep
from dupwatchd.db.connection import FILE_NAME, Database, open_database
from dupwatchd.db.proofs import Proofs
from dupwatchd.errors import DamagedStateError, UsageError
from dupwatchd.interruption import stoppable
from dupwatchd.model import PictureId, Progress
from dupwatchd.replacing_index import abandon_replacing, begin_replacing, disk_errors, replace
from dupwatchd.settings import Settings
from dupwatchd.state import act_as_owner, locked_state, stores_of

_AT_ONCE = 1024
_PROOFS_AT_ONCE_BYTES = 16 << 20


@dataclass(frozen=True)
class Restored:
    """What `restore` has put in place."""

    state: str
    file: str
    made_at: str  # the backup
    holds: Contents
    replaced: str | None  # where the index is that was there before
    is_roots: bool  # root has made the state directory, where only root may make one


def restore(settings: Settings, file: str, progress: Progress) -> Restored:
    """Put the index of a backup in place.

    Run by root, it goes on with the rights of the owner of the state directory, or of the folder that it is made in.
    Raises UsageError if the file cannot be opened, StateError if it is damaged or another process holds the state
    directory; then nothing was changed.
    """
    try:
        stream = open(file, "rb")  # noqa: SIM115 - it is opened with the caller's rights, and closed below
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    with stream:
        reader = BackupReader(stream, file)
        if reader.header.schema > schema.VERSION:
            raise reader.newer()
        is_new = not os.path.isdir(settings.state)
        act_as_owner(settings.state)
        with locked_state(settings.state) as state:
            try:
                with stoppable("interrupted: the index is as it was"):
                    holds = _unpack(reader, begin_replacing(state), progress)
            except BaseException:
                abandon_replacing(state)
                raise
            replaced = replace(state)
            return Restored(state, file, reader.header.made_at, holds, replaced, is_new and os.geteuid() == 0)


def _unpack(reader: BackupReader, folder: str, progress: Progress) -> Contents:
    """Make an index of the members of a backup, and verify all of it; when this returns it is closed and on disk."""
    path = os.path.join(folder, FILE_NAME)
    progress.stage("database", None, "bytes")
    with reader.member(INDEX) as member, disk_errors(os.path.dirname(folder)), open(path, "xb") as target:
        for part_bytes in copied(member, target):
            progress.advance(part_bytes)
    try:
        with closing(open_database(folder)) as database:
            side = int(facts.read(database).get("thumbnail_px", 1))
            stores = stores_of(folder, side)
            with closing(Proofs(folder)) as proofs:
                _unpack_thumbnails(reader, database, stores.thumbnails, side, progress)
                _unpack_proofs(reader, database, proofs, progress)
                # They are made again from the thumbnails, which takes 13 s for a million.
                facts.write(database, {"descriptors": None})
                with database.transaction():
                    parts.search_all_again(database)  # keypoints are made again from the proofs
                _verify(reader, database, stores, proofs, progress)
            return contents_of(database)
    except DamagedStateError as error:
        raise reader.damaged(str(error)) from error


def _unpack_thumbnails(
    reader: BackupReader, database: Database, thumbnails: BlockStore, side: int, progress: Progress
) -> None:
    progress.stage("thumbnails", roots.count_pictures(database), "pictures")
    thumbnails.extend(pictures.count_slots(database))  # free slots have nothing in the backup
    with reader.member(THUMBNAILS) as member:
        for rows in upkeep.pictures_in_parts(database, _AT_ONCE):
            data = reader.exactly(member, len(rows) * side * side * 3)
            values = np.frombuffer(data, np.uint8).reshape(-1, side, side, 3)
            thumbnails.write([picture_id for picture_id, _ in rows], values)
            progress.advance(len(rows))
    thumbnails.sync()


def _unpack_proofs(reader: BackupReader, database: Database, proofs: Proofs, progress: Progress) -> None:
    progress.stage("proofs", roots.count_pictures(database), "pictures")
    waiting: dict[PictureId, bytes] = {}
    waiting_bytes = 0
    with reader.member(PROOFS) as member:
        for picture_id, proof in reader.proofs(member):
            waiting[picture_id] = proof
            waiting_bytes += len(proof)
            progress.advance(1)
            if waiting_bytes > _PROOFS_AT_ONCE_BYTES:
                proofs.write(waiting)
                waiting, waiting_bytes = {}, 0
    proofs.write(waiting)


def _verify(reader: BackupReader, database: Database, stores: Stores, proofs: Proofs, progress: Progress) -> None:
    progress.stage("verifying", None)
    findings = Findings()
    verify(database, stores, proofs, findings)
    if findings.faults:
        raise reader.damaged(findings.faults[0])
