"""Gives proofs to pictures that have none: their files are decoded again, those that match others first.

An index made before there were proofs is opened as it is, and brought up to date here, some pictures at a time, each
part in a transaction of its own. A picture keeps its place and its matches if all contents that show it turn out to be
one picture still; else they get new pictures, and the old one goes when no content shows it. A file that is away is
left for another time, and one that cannot be decoded any more is told as damaged. After them come the contents that
are to be read again, for metadata that were not read before, or since they may be decoded otherwise today: of most only
what is known beside the picture becomes another, and a picture that they do not show any more is renewed in whole.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TYPE_CHECKING

from dupwatchd.blocks.store import Stores, picture_digest, thumbnail_digest
from dupwatchd.db import parts, pictures, renewing
from dupwatchd.db.connection import Database
from dupwatchd.db.pictures import ContentKey, NewContent
from dupwatchd.db.proofs import proof_digest
from dupwatchd.db.renewing import OldPicture, ToRead
from dupwatchd.model import Decoded, PictureId, Progress, ReadStatus
from dupwatchd.suffixes import way_of_reading
from dupwatchd.update.comparing import Comparing
from dupwatchd.update.looking import Looking
from dupwatchd.update.placing import is_flat, place
from dupwatchd.update.tidy import remove_pictures

if TYPE_CHECKING:
    from dupwatchd.update.intake import Pool

_Contents = dict[int, PictureId]  # contents, and the picture that each of them shows

_PICTURES_AT_ONCE = 64  # a few seconds of decoding, which a kill loses
_PICTURES_AT_A_TIME = 8  # when there is nothing else to do: a new photo waits for no more of them


@dataclass(frozen=True)
class _Read:
    """A content that was decoded again."""

    source: ToRead
    decoded: Decoded

    @property
    def digest(self) -> bytes:
        return picture_digest(self.decoded)

    def content(self, picture_id: PictureId) -> NewContent:
        return NewContent.of(_key(self.source), picture_id, self.decoded)


@dataclass(frozen=True)
class _Refused:
    """A content that was decoded once, and cannot be any more."""

    source: ToRead
    error: str
    is_image: bool

    def content(self) -> NewContent:
        return NewContent(_key(self.source), None, None, None, None, self.error, self.is_image)


class Renewal:
    """Renews the pictures of one state directory; used by the thread that writes to the database."""

    def __init__(
        self,
        database: Database,
        stores: Stores,
        pool: "Pool",
        comparing: Comparing,
        looking: Looking,
        progress: Progress,
    ) -> None:
        self._database = database
        self._stores = stores
        self._pool = pool
        self._comparing = comparing
        self._looking = looking
        self._progress = progress
        self.begin_round()

    def renew_all(self, roots: Sequence[bytes]) -> None:
        """Renew all pictures with a file under these roots, which are in force."""
        self._progress.stage("reading again", renewing.count_without_proof(self._database), "pictures")
        for ids in self._in_parts(_PICTURES_AT_ONCE):
            self._renew(ids, roots)
            self._progress.advance(len(ids))
        self._progress.stage("reading contents again", renewing.count_to_read_again(self._database), "pictures")
        for contents in self._contents_in_parts(_PICTURES_AT_ONCE):
            self._read_again(contents, roots)
            self._progress.advance(len(contents))

    def begin_round(self) -> None:
        """Let `renew_some` try all pictures without a proof, and all contents to be read again, once."""
        self._round = self._in_parts(_PICTURES_AT_A_TIME)
        self._contents_round = self._contents_in_parts(_PICTURES_AT_A_TIME)

    def renew_some(self, roots: Sequence[bytes]) -> bool:
        """Renew some pictures; returns whether this round has any left."""
        ids = next(self._round, None)
        if ids is None:
            return self._read_some_again(roots)
        try:
            self._renew(ids, roots)
        except BaseException:
            self._round = chain([ids], self._round)
            raise
        return True

    def _in_parts(self, size: int) -> Iterator[list[PictureId]]:
        for matched in (True, False):
            last = PictureId(-1)
            while ids := renewing.without_proof(self._database, last, size, matched=matched):
                yield ids
                last = ids[-1]

    def _read_some_again(self, roots: Sequence[bytes]) -> bool:
        contents = next(self._contents_round, None)
        if contents is None:
            return False
        try:
            self._read_again(contents, roots)
        except BaseException:
            self._contents_round = chain([contents], self._contents_round)
            raise
        return True

    def _contents_in_parts(self, size: int) -> Iterator[_Contents]:
        for matched in (True, False):
            last = -1
            while contents := renewing.contents_to_read_again(self._database, last, size, matched=matched):
                yield dict(contents)
                last = contents[-1][0]

    def _read_again(self, contents: _Contents, roots: Sequence[bytes]) -> None:
        """Decode contents again, from files under these roots."""
        sources = renewing.to_read(self._database, sorted(set(contents.values())), roots)
        read, refused = self._decoded([source for source in sources if source.content_id in contents])
        others = {content.source.picture_id for content in read if content.digest != content.source.picture_digest}
        others |= {content.source.picture_id for content in refused}
        with self._database.transaction():
            for content in read:
                if content.source.picture_id not in others:
                    picture_id = content.source.picture_id
                    renewing.renew_content(self._database, content.source.content_id, content.content(picture_id))
            renewing.decode_anew(self._database, others)
        self._looking.expect_contents()
        if others:
            self._renew(sorted(others), roots)

    def _renew(self, ids: list[PictureId], roots: Sequence[bytes]) -> None:
        read, refused = self._decoded(renewing.to_read(self._database, ids, roots))
        if not (read or refused):
            return
        known = pictures.picture_ids(self._database, {content.digest for content in read})
        kept = _that_stay(renewing.details(self._database, ids), read, refused, known)
        self._stores.proofs.write({one: content.decoded.proof for one, content in kept.items()})
        moved = [content for content in read if content.source.picture_id not in kept]
        placed = place(self._database, self._stores, [content.decoded for content in moved])
        gathering = self._comparing.gathered(placed)
        with self._comparing.transaction():
            placed.add_to(self._database)
            for picture_id, content in kept.items():
                proof = proof_digest(content.decoded.proof)
                renewing.renew_picture(self._database, picture_id, content.digest, proof)
            homes = dict(zip((content.source.content_id for content in moved), placed.ids, strict=True))
            for content in read:
                home = homes.get(content.source.content_id, content.source.picture_id)
                renewing.renew_content(self._database, content.source.content_id, content.content(home))
            for failed in refused:
                renewing.renew_content(self._database, failed.source.content_id, failed.content())
            self._comparing.store(gathering)
            left = {content.source.picture_id for content in moved} | {one.source.picture_id for one in refused}
            gone = renewing.unused(self._database, left)
            remove_pictures(self._database, gone, self._comparing.limits)
            # Which of equally near pictures is among the nearest depends on their digests, and those have changed.
            looks = self._comparing.limits.looks_per_picture
            pictures.add_to_rejoin(self._database, pictures.crowded_beside(self._database, kept, looks))
            parts.begin_anew(self._database, kept, looks)
        self._comparing.add(placed)
        self._stores.proofs.remove(gone)
        self._comparing.forget(gone)
        self._look_at([*kept, *placed.proved])

    def _decoded(self, sources: list[ToRead]) -> tuple[list[_Read], list[_Refused]]:
        """What of these contents, as far as they are still what the index knows, could be decoded, and what not."""
        by_file = {source.job.file_id: source for source in sources}
        read, refused = [], []
        with closing(self._pool.index([source.job for source in sources], lambda *_: False)) as outcomes:
            for outcome in outcomes:
                source = by_file[outcome.job.file_id]
                decoded = outcome.decoded
                if outcome.digest != source.content_digest:
                    continue
                if decoded is not None and decoded.proof:
                    read.append(_Read(source, decoded))
                elif outcome.status in (ReadStatus.FAILED, ReadStatus.NOT_A_PICTURE):
                    is_image = outcome.status is not ReadStatus.NOT_A_PICTURE
                    refused.append(_Refused(source, outcome.error or "", is_image))
        return sorted(read, key=lambda one: one.source.content_id), refused

    def _look_at(self, picture_ids: list[PictureId]) -> None:
        if pictures.to_rejoin(self._database):
            self._comparing.rejoin()
        beside = pictures.matches_beside(self._database, picture_ids)
        self._looking.expect([row[:3] for row in beside if row[6]])
        self._looking.look_at_all()


def _that_stay(
    old: list[OldPicture], read: list[_Read], refused: list[_Refused], known: dict[bytes, PictureId]
) -> dict[PictureId, _Read]:
    """The pictures that stay what they are but for their proof, each with a content that shows it."""
    shown_by: dict[bytes, set[PictureId]] = {}
    for content in read:
        shown_by.setdefault(content.digest, set()).add(content.source.picture_id)
    details = {picture.picture_id: picture for picture in old}
    cannot_be_read = {content.source.content_id for content in refused}
    stay = {}
    for picture_id, group in groupby(sorted(read, key=_picture), _picture):
        contents = list(group)
        first, before = contents[0], details[picture_id]
        if (
            before.content_ids - cannot_be_read == {content.source.content_id for content in contents}
            and {content.digest for content in contents} == {first.digest}
            and shown_by[first.digest] == {picture_id}
            and known.get(first.digest, picture_id) == picture_id
            and thumbnail_digest(first.decoded.thumbnail) == before.thumbnail_digest
            and is_flat(first.decoded) == before.flat
        ):
            stay[picture_id] = first
    return stay


def _key(source: ToRead) -> ContentKey:
    return source.content_digest, way_of_reading(source.job.path)


def _picture(content: _Read) -> PictureId:
    return content.source.picture_id
