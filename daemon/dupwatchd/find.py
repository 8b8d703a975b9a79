"""Which files show what one picture shows: bytes → thumbnail and proof → matches → a look at each → rows of the answer.

A picture of which a known one shows a part, or which is a part of one, is found by its keypoints.

Who may ask: whoever may ask anything. The bytes come from the client (`serve.uploads` keeps them in a file), so that
the service never opens a path for somebody who could not open it without the service.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dupwatchd.arrays import Matches, Thumbnail
from dupwatchd.blocks.store import CheckedThumbnails, as_digests, picture_digest
from dupwatchd.compare import search
from dupwatchd.compare.measures import exact
from dupwatchd.compare.origin.candidate import Candidate
from dupwatchd.db import answers, facts, pictures
from dupwatchd.db.answers import Copy
from dupwatchd.db.connection import Database
from dupwatchd.db.proofs import Proofs
from dupwatchd.decoding_for_requests import DecodingForRequests
from dupwatchd.index.messages import AllPixels, Detail
from dupwatchd.model import (
    KIND_BYTES,
    NO_PART,
    VERSIONS,
    Decoded,
    FileId,
    Job,
    Outcome,
    PartTold,
    PictureId,
    Stamp,
    Verdict,
)
from dupwatchd.pixels.proof import wants_a_closer_look
from dupwatchd.serve.clusters import ITSELF, LiveChecks, Measured, Question, as_turned, found_file
from dupwatchd.serve.lacks import LOWER_QUALITY, shows_less
from dupwatchd.serve.plan_doubts import exposed_apart, of_one_burst
from dupwatchd.serve.request_queue import OpenRequest, RequestError
from dupwatchd.serve.results import FoundCopy
from dupwatchd.serve.spare import Told
from dupwatchd.settings import Settings
from dupwatchd.state import thumbnails_of

if TYPE_CHECKING:
    from dupwatchd.pixels.keypoints import Keypoints
    from dupwatchd.pixels.proof import Proof

# Contents whose pixels are read for one question, with those of the picture that was sent, for each of two reasons: to
# tell whether a file of its picture holds all of it, and whether one that lost more has its pixels all the same.
_MOST_READ = 4
_MOST_LOOKED_AT = 3  # copies that are looked at so for one question, the nearest ones
_NOT_CERTAIN = Told(Verdict.SAME, None)
_ASKED = -1  # stands for the picture that was sent, among the ids of those that are known


class Finder:
    """Answers `find` for the service, with a decode process of its own, which decodes one picture at a time."""

    def __init__(
        self,
        settings: Settings,
        state: str,
        thumbnail_px: int,
        search: Callable[[Thumbnail], Matches | None],
        search_parts: "Callable[[Keypoints], list[tuple[PictureId, int]]]",
        live_checks: Callable[[], LiveChecks],
    ) -> None:
        """``search`` gives the matches of a thumbnail among the known pictures, None while they are being loaded.

        ``search_parts`` gives the pictures that may share a part with one, and their votes.
        """
        self._state, self._thumbnail_px = state, thumbnail_px
        self._looks_per_picture = settings.compare.looks_per_picture
        self._search = search
        self._search_parts = search_parts
        self._live_checks = live_checks
        self._decoding = DecodingForRequests(settings, thumbnail_px)

    def close(self) -> None:
        """End the decode process, once a picture that is being decoded was given up."""
        self._decoding.close()

    def find(self, reader: Database, path: bytes, question: Question, request: OpenRequest) -> list[FoundCopy]:
        """The files that show what this one does, and are there at this moment; the best first, then the nearest.

        Files of which a look, or somebody, says that they show something else are left out. With ``enough`` among the
        arguments of the request nothing is read of other photos once one is known that is as good. Raises RequestError
        if it is no picture, if the index is being loaded, or if nobody waits for the answer any more; StateError.
        """
        outcome, decoded = self._decoded(path, request)
        asked = _as_copy(outcome, decoded)
        is_there = self._live_checks().is_there
        thumbnail = decoded.thumbnail
        sharing: set[int] = set()
        if exact.flat(thumbnail[None])[0]:
            copies = [copy for copy in answers.copies_of_digest(reader, asked.content_digest) if is_there(copy)]
            measured = [ITSELF] * len(copies)
        else:
            near = self._near(reader, thumbnail, question)
            sharing = self._sharing(decoded, question) - set(near)
            copies = [
                copy
                for copy in answers.copies_of(reader, sorted({*near, *sharing}))
                if is_there(copy) and not question.ignored.holds(copy.content_digest, asked.content_digest)
            ]
            measured = self._measured(reader, thumbnail, copies, question)
        proofs = self._proofs(reader, {copy.picture_id for copy in copies})
        looking = _Looking(asked, decoded, proofs, partial(self._pixels, request), partial(self._detail, request))
        known = pictures.picture_ids(reader, [picture_digest(decoded)]).values()
        limits = facts.compared_within(reader)
        rows: list[FoundCopy] = []

        def order(one: tuple[Copy, Measured]) -> tuple[bool, bool, float, bytes]:
            """What is as good for certain comes first, then what is nearest."""
            copy, values = one
            is_other = copy.content_digest != asked.content_digest
            return is_other, copy.picture_id not in known, values.structure, copy.path

        for copy, values in sorted(zip(copies, measured, strict=True), key=order):
            is_enough = request.args.get("enough", False) and any(row["as_good"] for row in rows)
            if copy.picture_id not in sharing:
                told = looking.told(copy, values, is_its_picture=copy.picture_id in known)
            elif limits is None or values.mse <= limits.keep_mse or values.structure <= limits.keep_structure:
                # a match, though not within the threshold, which counts only for what is the same
                told = looking.told(copy, values, is_its_picture=copy.picture_id in known)
                if told.verdict not in VERSIONS:
                    continue
            else:
                told = looking.told_by_part(copy)
                if told.verdict is None:
                    continue
                values = as_turned(values, looking.part(copy).turn_degrees)
            is_same_scan = asked.scan_digest == copy.scan_digest != b""  # then a clock was put right, at most
            is_same_shot = is_same_scan or not (of_one_burst(copy, asked) or exposed_apart(copy, asked))
            if told.verdict is Verdict.SAME and not is_same_shot:
                told = _NOT_CERTAIN  # as far as one can see; but it is another shot
            lacks = None if told.verdict is Verdict.IDENTICAL else shows_less(copy, asked)
            # A PNG made of a JPEG's pixels has lost nothing more than that, and shows nothing more.
            may_have_them = lacks == LOWER_QUALITY and told.verdict is Verdict.SAME and not is_enough
            if may_have_them and looking.has_its_pixels(copy):
                told, lacks = Told(Verdict.SAME, confirmed=True), None
            is_near = copy.picture_id not in known  # else what tells it apart is not seen by a look
            if is_near and is_same_shot and told == _NOT_CERTAIN and lacks is None and not is_enough:
                told = looking.told_closely(copy, values)
            rows.append(_found(copy, values, told, lacks, looking.part(copy)))
        wanted = [row for row in rows if row["verdict"] != Verdict.SIMILAR.value]
        return sorted(wanted, key=lambda row: (not row["as_good"], row["structure"], row["path"]))

    def _proofs(self, reader: Database, picture_ids: set[int]) -> dict[PictureId, bytes]:
        """The proofs of these pictures, as far as there are any."""
        expected = answers.proof_digests(reader, picture_ids)
        if not expected:
            return {}
        with closing(Proofs(self._state)) as proofs:  # a connection is for one thread
            return dict(proofs.read(expected))

    def _decoded(self, path: bytes, request: OpenRequest) -> tuple[Outcome, Decoded]:
        status = os.stat(path)
        job = Job(FileId(0), path, Stamp(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino))
        [outcome] = self._decoding.run(request, lambda pool: list(pool.index([job], lambda *_: False)))
        if outcome.digest is None:
            raise RequestError("unreadable", outcome.error or "it cannot be read")
        if outcome.decoded is None:
            raise RequestError("not_a_picture", outcome.error or "it is no picture")
        return outcome, outcome.decoded

    def _pixels(self, request: OpenRequest, copy: Copy) -> bytes:
        """What tells a file from others of its picture; empty if nobody can, or it cannot be read."""
        read = self._decoding.run(request, lambda pool: pool.pixels(copy.path, copy.content_digest))
        return read.pixels if isinstance(read, AllPixels) else b""

    def _detail(self, request: OpenRequest, copy: Copy) -> Detail | None:
        """The photo in a file, to be looked at closely; None if it cannot be read."""
        expected = copy.content_digest
        looked = self._decoding.run(request, lambda pool: pool.detail(copy.path, search.CLOSE_PX, expected))
        return looked if isinstance(looked, Detail) else None

    def _near(self, reader: Database, thumbnail: Thumbnail, question: Question) -> list[int]:
        """The ids of the known pictures within the threshold."""
        found = self._search(thumbnail)
        if found is None:
            if pictures.exist(reader):
                raise RequestError("starting", "what is known is still being loaded; ask again")
            return []
        near = getattr(found, question.measure) <= question.threshold
        if not question.mirrored:
            near &= ~found.mirrored
        # one end of each match is the picture asked for, whose id is smaller than all that are known
        return sorted({int(max(a, b)) for a, b in zip(found.a[near], found.b[near], strict=True)})

    def _sharing(self, decoded: Decoded, question: Question) -> set[int]:
        """The ids of the known pictures that are most likely to share a part with the one that was sent."""
        if question.measure == "custom" or not decoded.proof or decoded.frames > 1:
            return set()
        found = self._search_parts(_keypoints_of(decoded))
        found.sort(key=lambda one: (-one[1], one[0]))
        return {int(one) for one, _ in found[: self._looks_per_picture]}

    def _measured(
        self, reader: Database, thumbnail: Thumbnail, copies: list[Copy], question: Question
    ) -> list[Measured]:
        """How far each of the copies is from the picture asked for."""
        read = CheckedThumbnails(
            thumbnails_of(self._state, self._thumbnail_px),
            lambda ids: as_digests(pictures.thumbnail_digests(reader, ids)),
        ).read
        values = exact.measure_best(
            lambda ids: thumbnail[None].repeat(len(ids), axis=0) if ids and ids[0] == _ASKED else read(ids),
            [(_ASKED, copy.picture_id) for copy in copies],
            "structure" if question.measure == "custom" else question.measure,
            mirrored=question.mirrored,
        )
        return [Measured(*value) for value in values]


def _as_copy(outcome: Outcome, decoded: Decoded) -> Copy:
    """The picture that was sent, in the form of a known file."""
    stamp, digest = outcome.job.stamp, outcome.digest
    assert digest is not None  # or it would not have been decoded
    known = asdict(decoded.facts)
    facts = {name: known[name] for name in Copy.__dataclass_fields__ if name in known}
    return Copy(
        outcome.job.path, stamp.size_bytes, stamp.mtime_ns, stamp.device, stamp.inode, _ASKED, digest, _ASKED,
        decoded.width, decoded.height, decoded.format, decoded.damage, decoded.frames, **facts,
    )  # fmt: skip


class _Looking:
    """Looks at known files beside the picture that was sent."""

    def __init__(
        self,
        asked: Copy,
        decoded: Decoded,
        proofs: Mapping[PictureId, bytes],
        read_pixels: Callable[[Copy], bytes],
        read_detail: Callable[[Copy], Detail | None],
    ) -> None:
        self._asked, self._proofs = asked, proofs
        self._read_pixels, self._read_detail = read_pixels, read_detail
        self._detail: Detail | None = None  # of the picture that was sent, once a copy was looked at closely
        self._looked_at = 0
        self._pixels: dict[bytes, bytes] = {}  # by content, of those that were read
        self._read_for_all: set[bytes] = set()  # contents, see `_MOST_READ`
        self._read_for_loss: set[bytes] = set()
        self._proof = search.read_proof(decoded.proof) if decoded.proof else None
        self._parts: dict[int, tuple[Verdict | None, PartTold] | None] = {}  # by picture, of those that were looked at

    def told(self, copy: Copy, measured: Measured, *, is_its_picture: bool) -> Told:
        """What a known file is to the picture that was sent; confirmed if no look at the photos could say otherwise.

        ``is_its_picture``: its thumbnail, proof and frames are equal.
        """
        asked = self._asked
        if copy.content_digest == asked.content_digest:
            return Told(Verdict.IDENTICAL, confirmed=True)
        if is_its_picture and self._proof is not None:
            is_certain = asked.scan_digest == copy.scan_digest != b"" or self._holds_all(copy, self._proof)
            return Told(Verdict.SAME, True if is_certain else None)
        stored = self._proofs.get(PictureId(copy.picture_id))
        if stored is None or self._proof is None or copy.frames > 1 or asked.frames > 1:
            return Told(None, None)  # a look sees one frame only
        verdict, _ = search.look_again(
            self._proof, search.read_proof(stored), measured.turn, mirrored=measured.mirrored
        )
        if verdict is Verdict.CROPPED:
            self._look_for_part(copy)
        return Told(verdict, None)

    def told_closely(self, copy: Copy, measured: Measured) -> Told:
        """What a file is that seems the same, by the photos themselves: a proof shows neither small letters nor marks.

        Not confirmed if it cannot be told, or if too many were looked at already.
        """
        asked = self._asked
        if self._looked_at == _MOST_LOOKED_AT or asked.frames > 1 or copy.frames > 1:
            return _NOT_CERTAIN
        self._looked_at += 1
        self._detail = self._detail or self._read_detail(asked)
        detail = self._read_detail(copy) if self._detail is not None else None
        if self._detail is None or detail is None:
            return _NOT_CERTAIN
        verdict, confirmed = search.look_closely(
            self._detail.rgb, detail.rgb, measured.turn, mirrored=measured.mirrored, suspect=False
        )
        if verdict is not Verdict.SAME or not confirmed:
            return Told(verdict or Verdict.SAME, None)
        both = _candidate(asked, self._detail), _candidate(copy, detail)
        is_worse = search.lost_detail(*both) or search.may_be_worse(*both, search.nearer_the_original(*both))
        return Told(Verdict.SAME, None if is_worse else True)

    def _holds_all(self, copy: Copy, proof: "Proof") -> bool:
        """Does a known file of the picture that was sent hold all of it? False if too many were read to tell."""
        both = self._pixels_of_both(copy, self._read_for_all)
        if both is None:
            return False
        mine, its = both
        if mine and its and (mine == its or mine[:KIND_BYTES] != its[:KIND_BYTES]):
            return mine == its  # else one has a map behind it, transparency, or other colours
        return not wants_a_closer_look(proof)

    def has_its_pixels(self, copy: Copy) -> bool:
        """Is a known file equal to the one that was sent, in each pixel? False if too many were read to tell."""
        asked = self._asked
        if (asked.width, asked.height, asked.frames) != (copy.width, copy.height, copy.frames):
            return False
        both = self._pixels_of_both(copy, self._read_for_loss)
        return both is not None and both[0] == both[1] != b""

    def _pixels_of_both(self, copy: Copy, read: set[bytes]) -> tuple[bytes, bytes] | None:
        """What tells the picture that was sent and a known file from others; None if too many were read already."""
        for one in (self._asked, copy):
            content = one.content_digest
            if one.pixels:
                self._pixels[content] = one.pixels
            elif content not in self._pixels:
                if len(read) == _MOST_READ:
                    return None
                read.add(content)
                self._pixels[content] = self._read_pixels(one)
        return self._pixels[self._asked.content_digest], self._pixels[copy.content_digest]

    def told_by_part(self, copy: Copy) -> Told:
        """What a known file is to the picture that was sent if one shows a part of the other; None: it is not that."""
        found = self._look_for_part(copy) if copy.frames == 1 else None
        return Told(found[0] if found else None, None)

    def part(self, copy: Copy) -> PartTold:
        """How the picture that was sent, as the first, and a known file lie in each other, if that was found."""
        found = self._parts.get(copy.picture_id)
        return found[1] if found else NO_PART

    def _look_for_part(self, copy: Copy) -> tuple[Verdict | None, PartTold] | None:
        picture = copy.picture_id
        if picture not in self._parts:
            stored = self._proofs.get(PictureId(picture))
            self._parts[picture] = (
                search.look_for_part(self._proof, search.read_proof(stored)) if self._proof and stored else None
            )
        return self._parts[picture]


def _candidate(copy: Copy, detail: Detail) -> Candidate:
    """What tells which of two is nearer the original."""
    luma = np.zeros((0, 0), np.uint8) if detail.luma is None else detail.luma
    is_from_camera = bool(copy.camera and copy.captured and not copy.edited)
    return Candidate(
        luma, copy.format, copy.lossless, copy.has_colour, copy.jpeg_grid, detail.steps, copy.scan_digest,
        is_from_camera,
    )  # fmt: skip


def _keypoints_of(decoded: Decoded) -> "Keypoints":
    """Those that came with the picture; unless the index is told to do without them, which may hold older ones."""
    if decoded.keypoints:
        return search.read_keypoints(decoded.keypoints)
    return search.keypoints_of(search.read_proof(decoded.proof))


def _found(copy: Copy, measured: Measured, told: Told, lacks: str | None, part: PartTold) -> FoundCopy:
    is_same = told.verdict in (Verdict.IDENTICAL, Verdict.SAME)
    return {
        **found_file(copy, measured, told.verdict, part, shows_more=part.shows_more > 0),
        "lacks": lacks,
        "as_good": is_same and told.confirmed is True and lacks is None,
    }
