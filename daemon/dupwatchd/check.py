"""`dupwatchd check`: verifies a state directory and mends what can be mended, from the photos if need be.

Verified are, one after the other: that the database is sound in itself; that every thumbnail and every proof is the
one that the database means (by its digest); that descriptors and stored matches follow from the thumbnails, and pairs
that share a part from keypoints and thumbnails. Repair never touches a photo and throws nothing away that could not be
made again: a database beyond help is set aside under another name, and the next scan starts anew; what people said of
pictures is taken over if it can be read.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

import numpy as np

from dupwatchd.arrays import Thumbnail
from dupwatchd.assembly import worker_pool
from dupwatchd.blocks.store import BlockStore, Stores, as_digests, thumbnail_digest
from dupwatchd.check_parts import mend_parts, wrong_parts
from dupwatchd.compare.measures import descriptors, exact
from dupwatchd.db import contents, facts, pictures, remembered, upkeep
from dupwatchd.db.connection import Database, open_database, open_for_reading
from dupwatchd.db.proofs import FILE_NAME as PROOFS_NAME
from dupwatchd.db.proofs import Proofs
from dupwatchd.errors import DamagedBlocksError, DamagedStateError, StateError
from dupwatchd.index.pool import WorkerPool
from dupwatchd.interruption import stoppable
from dupwatchd.model import FileId, Job, PictureId, Progress, Stamp
from dupwatchd.replacing_index import DAMAGED, abandon_replacing, begin_replacing, replace
from dupwatchd.settings import Settings
from dupwatchd.state import act_as_owner, locked_state, require_index, stores_of
from dupwatchd.update.mending import wrong_thumbnails

_AT_ONCE = 1024

# path of a file of the picture -> its thumbnail, or None if it cannot be had any more
MakeThumbnail = Callable[[bytes], Thumbnail | None]


@dataclass
class Findings:
    """What a check found; each item of the lists is one line for a person."""

    faults: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)  # what is still wrong after repair
    pictures: int = 0
    matches: int = 0


def check(settings: Settings, *, repair: bool, progress: Progress) -> Findings:
    """Verify a state directory, and mend it if asked.

    Run by root, it goes on with the rights of the directory's owner. Raises UsageError if there is no index, StateError
    if another process holds it.
    """
    require_index(settings.state)
    act_as_owner(settings.state)
    findings = Findings()
    with ExitStack() as stack:
        stack.enter_context(stoppable())
        state = stack.enter_context(locked_state(settings.state))
        progress.stage("checking", None)
        try:
            database = open_database(state)
        except DamagedStateError as error:
            findings.faults.append(str(error))
            if repair:
                findings.mended.append(start_anew(state))
            return findings
        stack.callback(database.close)
        proofs = Proofs(state)
        stack.callback(proofs.close)
        try:
            side = int(facts.read(database).get("thumbnail_px", settings.index.thumbnail_px))
            stores = stores_of(state, side)
            bad = verify(database, stores, proofs, findings)
            if repair and findings.faults:
                pool = stack.enter_context(worker_pool(settings, side))
                mend(database, stores.thumbnails, bad, _thumbnail_maker(pool), findings)
                mend_proofs(database, proofs, findings)
                mended = mend_parts(database, stores.thumbnails, proofs)
                if mended:
                    findings.mended.append(mended)
                after = Findings()
                verify(database, stores, proofs, after)
                findings.left = after.faults
        except DamagedBlocksError as error:  # the database is not in question
            findings.faults.append(str(error))
            findings.left = findings.faults
        except (DamagedStateError, ValueError) as error:
            findings.faults.append(str(error))
            if repair:
                proofs.close()
                database.close()
                findings.mended.append(start_anew(state))
    return findings


def verify(database: Database, stores: Stores, proofs: Proofs, findings: Findings) -> list[PictureId]:
    """Check everything; returns the pictures whose thumbnails are not what they should be."""
    findings.pictures = findings.matches = 0
    findings.faults += upkeep.faults(database)
    facts.compared_within(database)  # raises DamagedStateError
    blocks = stores.thumbnails
    bad = list(_wrong_thumbnails(database, blocks, findings))
    if bad:
        findings.faults.append(f"{len(bad)} thumbnails in the blocks are missing or damaged")
    wrong = _wrong_descriptors(database, stores, set(bad))
    if wrong:
        findings.faults.append(f"{wrong} descriptors in the blocks are missing, or differ from what thumbnails say")
    wrong = len(_lost_proofs(database, proofs, findings))
    if wrong:
        findings.faults.append(f"{wrong} proofs are missing or damaged")
    wrong = _wrong_matches(database, blocks, set(bad), findings)
    if wrong:
        findings.faults.append(f"{wrong} stored matches differ from what their thumbnails say")
    parts = wrong_parts(database, blocks, proofs, set(bad))
    if parts.keypoints:
        findings.faults.append(f"keypoints of {len(parts.keypoints)} pictures are missing or damaged")
    if parts.pairs:
        findings.faults.append(f"{parts.pairs} stored pairs that share a part differ from what their pictures say")
    return bad


def mend(
    database: Database, blocks: BlockStore, bad: list[PictureId], make_thumbnail: MakeThumbnail, findings: Findings
) -> None:
    """Make the thumbnails of the ``bad`` pictures again from their photos.

    Pictures whose photos no longer give the same thumbnail are removed; their files are read anew by the next scan.
    """
    upkeep.rebuild_indexes(database)
    blocks.extend(pictures.count_slots(database))
    remade, lost = 0, []
    for picture_id in bad:
        digest = upkeep.picture_digest(database, picture_id)
        thumbnail = next(_thumbnails_with(digest, upkeep.paths_of_picture(database, picture_id), make_thumbnail), None)
        if thumbnail is None:
            lost.append(picture_id)
        else:
            blocks.write([picture_id], thumbnail[None])
            remade += 1
    blocks.sync()
    if remade:
        findings.mended.append(f"{remade} thumbnails were made again from their photos")
    with database.transaction():
        upkeep.forget_contents(database, lost)
        pictures.remove(database, lost)
        if lost:
            findings.mended.append(f"{len(lost)} pictures will be read again by the next scan")
        orphans = upkeep.drop_dangling(database)
        if orphans:
            findings.mended.append(f"{orphans} rows that pointed nowhere were removed")
        if findings.faults:
            # All are compared anew by the next scan. To find out which matches are right would cost more.
            pictures.remove_all_matches(database)
            facts.write_compared(database, None)
            contents.forget_all(database)
            facts.write(database, {"descriptors": None})
            findings.mended.append("all pictures will be compared anew by the next scan")


def mend_proofs(database: Database, proofs: Proofs, findings: Findings) -> None:
    """Forget proofs that are lost, and remove those that no picture has.

    Scan and service make lost ones again from the photos.
    """
    before = Findings()
    lost = _lost_proofs(database, proofs, before)
    if before.faults:
        proofs.start_anew()
    with database.transaction():
        pictures.forget_proofs(database, lost)
    if lost:
        findings.mended.append(f"{len(lost)} proofs will be made again from their photos")
    proofs.remove({*proofs.ids()} - upkeep.all_pictures(database))


def start_anew(state: str) -> str:
    """Put an empty index, which holds what people said, in place of one beyond help; returns a line about it.

    That one is set aside and never deleted; the next scan starts anew from the photos. Whoever is killed leaves the old
    index or the new one, and loses nothing that was said.
    """
    folder = begin_replacing(state)
    try:
        with closing(open_database(folder)) as database:
            about_said = _take_over(state, database)
    except BaseException:
        abandon_replacing(state)
        raise
    aside = replace(state, aside=DAMAGED)
    return f"set aside as {aside}; the next scan starts anew from the photos{about_said}"


def _take_over(state: str, database: Database) -> str:
    """Take over what people said from an index beyond help; returns what is to be told of that."""
    said = "what people said of pictures (not duplicates, decisions)"
    try:
        with closing(open_for_reading(state)) as damaged:
            tables = remembered.everything(damaged)
    except StateError:
        return f"; {said} cannot be read from it"
    if not any(tables.values()):
        return ""
    try:
        remembered.take_over(database, tables)
    except DamagedStateError:
        return f"; {said} cannot be read from it"
    return f"; {said} was taken over"


def _wrong_thumbnails(database: Database, blocks: BlockStore, findings: Findings) -> Iterator[PictureId]:
    for rows in upkeep.pictures_in_parts(database, _AT_ONCE):
        findings.pictures += len(rows)
        yield from wrong_thumbnails(blocks, rows)


def _lost_proofs(database: Database, proofs: Proofs, findings: Findings) -> list[PictureId]:
    """The pictures whose proofs cannot be read as they were stored."""
    try:
        findings.faults += [f"{PROOFS_NAME}: {fault}" for fault in proofs.faults()]
        return [
            picture_id
            for part in upkeep.proofs_in_parts(database, _AT_ONCE)
            for picture_id in sorted(part.keys() - {one for one, _ in proofs.read(part)})
        ]
    except DamagedStateError as error:
        findings.faults.append(str(error))
        return [picture_id for part in upkeep.proofs_in_parts(database, _AT_ONCE) for picture_id in part]


def _wrong_descriptors(database: Database, stores: Stores, bad: set[PictureId]) -> int:
    if facts.read(database).get("descriptors") != descriptors.VERSION:
        return 0  # they will be made anew before they are used
    wrong = 0
    searched = [picture_id for picture_id in pictures.searchable(database) if picture_id not in bad]
    for start in range(0, len(searched), _AT_ONCE):
        ids = searched[start : start + _AT_ONCE]
        expected = descriptors.describe(stores.thumbnails.read(ids))
        found, sound = stores.descriptors.read(ids, as_digests(pictures.thumbnail_digests(database, ids)))
        wrong += int(np.count_nonzero(~(sound & descriptors.alike(found, expected))))
    return wrong


def _wrong_matches(database: Database, blocks: BlockStore, bad: set[PictureId], findings: Findings) -> int:
    wrong = 0
    there = upkeep.all_pictures(database)  # matches of missing pictures are reported as faults of the database
    for matches in upkeep.matches_in_parts(database, _AT_ONCE):
        findings.matches += len(matches)
        for mirrored in (False, True):
            some = [
                (a, b, mse, structure)
                for a, b, flip, mse, structure, *_ in matches
                if flip == mirrored and {a, b} <= there and not {a, b} & bad
            ]
            values = exact.measure_pairs(
                blocks.read([a for a, *_ in some]), blocks.read([b for _, b, *_ in some]), mirrored=mirrored
            )
            stored = np.array([row[2:] for row in some]).reshape(-1, 2)
            # structure involves a square root, which another machine may round differently
            same = (stored[:, 0] == values.mse) & (np.abs(stored[:, 1] - values.structure) < 1e-9)
            wrong += int(np.count_nonzero(~same))
    return wrong


def _thumbnails_with(digest: bytes, paths: list[bytes], make_thumbnail: MakeThumbnail) -> Iterator[Thumbnail]:
    for path in paths:
        thumbnail = make_thumbnail(path)
        if thumbnail is not None and thumbnail_digest(thumbnail) == digest:
            yield thumbnail


def _thumbnail_maker(pool: WorkerPool) -> MakeThumbnail:
    """Decode one file at a time in a worker process, as a scan would."""

    def make(path: bytes) -> Thumbnail | None:
        try:
            status = os.stat(path)
        except OSError:
            return None
        job = Job(FileId(0), path, Stamp(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino))
        [outcome] = list(pool.index([job], lambda *_: False))
        return outcome.decoded.thumbnail if outcome.decoded else None

    return make
