"""Looks at matches again: proofs in, verdicts out; and closely, at the photos themselves, where proofs cannot tell.

A verdict follows from the proofs of two pictures alone. Verdicts are stored some hundred at a time, so that whoever is
interrupted or killed goes on behind the last ones stored. A closer look reads two photos, and tells also which of them
is nearer the original; what it shows is stored pair by pair. A photo that is away is looked at when it is there again.
Contents of one picture are told apart in the same way, see `telling_apart`.

A pair that is the same by its proofs may turn out to be something else, or stay uncertain. One that seems to be changed
by its proofs becomes the same only if the closer look shows hardly any difference; else it stays what it was called.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dupwatchd.blocks.store import CheckedThumbnails, Stores, as_digests
from dupwatchd.compare import search
from dupwatchd.compare.measures import exact
from dupwatchd.compare.origin.candidate import Candidate
from dupwatchd.db import contents, parts, pictures, verdicts
from dupwatchd.db.connection import Database
from dupwatchd.db.parts import PartKey, PartToLookAt
from dupwatchd.db.verdicts import FileOfPicture, MatchKey, PairToLookAt
from dupwatchd.index.messages import Detail
from dupwatchd.model import NO_PART, CloserLook, PartTold, PictureId, Progress, Verdict
from dupwatchd.update.telling_apart import ReadDetail, ReadPixels, TellingApart, Told

if TYPE_CHECKING:
    from dupwatchd.pixels.keypoints import Keypoints
    from dupwatchd.pixels.proof import Proof

_PAIRS_AT_ONCE = 256  # with their proofs some 40 MB
# So many pairs that may soon be near no more are looked at at once, as those of a new frame in a crowd; more of them
# wait until everything has come in. Of 1,250 frames three looks in ten were at pairs that others then replaced.
_PASSING_AT_ONCE = 256
_FILES_TRIED = 3
_KEPT_BYTES = 96 << 20  # of the photos read last; one of 12 megapixels takes 18 MB, the largest ones 72 MB
_NO_LUMA = np.zeros((0, 0), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class _Photo:
    """One file of a picture, read to be looked at closely."""

    file: FileOfPicture
    detail: Detail

    @property
    def kept_bytes(self) -> int:
        return self.detail.rgb.nbytes + self.luma.nbytes

    @property
    def luma(self) -> NDArray[np.uint8]:
        """(H, W) at full size, as stored; empty if the file has none, or too large a one."""
        return _NO_LUMA if self.detail.luma is None else self.detail.luma

    def candidate(self) -> Candidate:
        """What tells which of two is nearer the original."""
        file = self.file
        return Candidate(
            self.luma,
            file.format,
            file.lossless,
            file.has_colour,
            file.jpeg_grid,
            self.detail.steps,
            file.scan_digest,
            file.from_camera,
        )


class Looking:
    """Gives the matches of one state directory their verdicts; used by the thread that writes to the database."""

    def __init__(
        self,
        database: Database,
        stores: Stores,
        read_detail: ReadDetail,
        read_pixels: ReadPixels,
        progress: Progress,
        threads: int,
    ) -> None:
        self._database = database
        self._stores = stores
        self._thumbnails = CheckedThumbnails(
            stores.thumbnails, lambda ids: as_digests(pictures.thumbnail_digests(database, ids))
        )
        self._read_detail = read_detail
        self._telling = TellingApart(database, read_pixels, read_detail)
        self._progress = progress
        self._threads = threads
        self._new: set[MatchKey] = set()  # stored since the last look
        self._passing: set[MatchKey] = set()  # likewise; pictures to come may take their place
        self._new_parts: set[PartKey] = set()  # likewise
        self._all_seen = False  # nothing but these can be without a verdict and yet have proofs
        self._in_vain: set[MatchKey] = set()  # pairs that could not be looked at closely: a file is away
        self._told_in_vain: set[int] = set()  # pictures whose contents could not be told apart: likewise
        # The rest of those found when this was filled last: pictures with several contents, and pairs of pictures.
        self._to_confirm: deque[int | MatchKey] = deque()
        self._any_to_confirm = True
        self.left_to_confirm: int | None = None  # pairs and pictures, see `confirm_for`; None: not counted yet
        self._recent: dict[tuple[PictureId, bytes], _Photo] = {}  # by picture and digest of the file, the oldest first

    def expect(self, keys: Iterable[MatchKey], passing: Iterable[MatchKey] = ()) -> None:
        """These matches are about to be stored and have no verdict yet, or their pictures have got proofs.

        ``passing`` are others likewise, which may be near no more once further pictures have come.
        """
        self._new.update(keys)
        self._passing.update(passing)

    def expect_parts(self, keys: Iterable[PartKey]) -> None:
        """These pairs, which may share a part, are stored and have no verdict yet."""
        self._new_parts.update(keys)

    def expect_any(self) -> None:
        """Any match may be without a verdict, and files that were away may be back."""
        self._all_seen = False
        self._in_vain.clear()
        self._told_in_vain.clear()
        self._telling.try_again()
        self._count_anew()

    def expect_contents(self) -> None:
        """Contents that are to be told apart may have come, or are about to be stored."""
        if contents.any_to_tell(self._database, self._told_in_vain):
            self._count_anew()

    def _count_anew(self) -> None:
        self._to_confirm.clear()  # else the next one would be counted down from a number that is not known
        self._any_to_confirm, self.left_to_confirm = True, None

    def look_at_new(self) -> None:
        """Look at what `expect` named, but for many that are passing. Quick; photos are not read."""
        passing, self._passing = self._passing, set()
        if len(passing) <= _PASSING_AT_ONCE:
            self._new |= passing
        else:
            self._all_seen = False  # `look_at_all` finds those that are still near
        keys, self._new = sorted(self._new), set()
        of_parts, self._new_parts = sorted(self._new_parts), set()
        try:
            for start in range(0, len(keys), _PAIRS_AT_ONCE):
                self._look(verdicts.to_look_at_among(self._database, keys[start : start + _PAIRS_AT_ONCE]))
            for start in range(0, len(of_parts), _PAIRS_AT_ONCE):
                some = of_parts[start : start + _PAIRS_AT_ONCE]
                self._look_for_parts(parts.to_look_at_among(self._database, some))
        except BaseException:
            self._all_seen = False
            raise

    def look_at_all(self) -> None:
        """Look at everything that has no verdict and can be looked at, and closely where proofs cannot tell."""
        self.expect_contents()
        self.look_at_new()
        if not self._all_seen:
            self._look_through()
            self._all_seen = True
        wanted = [key for key in verdicts.wanting_a_closer_look(self._database) if key not in self._in_vain]
        if wanted:
            self.confirm(wanted)

    def confirm(self, pairs: Sequence[MatchKey], several: Sequence[int] = ()) -> None:
        """Look closely at these pairs, in their order; those looked at closely already are passed over.

        Before that the contents of each of these pictures are told apart.
        """
        self._progress.stage("looking closely", len(several) + len(pairs), "pairs")
        for picture_id in several:
            self._telling.tell(picture_id, lambda: True)
            self._progress.advance(1)
        for key in pairs:
            self._look_closely(key)
            self._progress.advance(1)
        self._recent.clear()

    def confirm_for(self, seconds: float) -> bool:
        """Look for a while: at the contents of single pictures, and closely at pairs that are the same by their proofs.

        Of each those come first that free the most bytes. Returns whether any are left.
        """
        if not self._any_to_confirm:
            return False
        until = time.monotonic() + seconds
        while self._to_confirm:
            if not self._confirm_next(self._to_confirm[0], lambda: time.monotonic() < until):
                return True
            self._to_confirm.popleft()
            self.left_to_confirm = max((self.left_to_confirm or 0) - 1, 0)
            if time.monotonic() >= until:
                return True
        self._recent.clear()
        several = [one for one in contents.to_tell(self._database) if one not in self._told_in_vain]
        pairs = [key for key in verdicts.to_confirm(self._database) if key not in self._in_vain]
        self._to_confirm.extend([*several, *pairs])
        self._any_to_confirm, self.left_to_confirm = bool(self._to_confirm), len(self._to_confirm)
        return self._any_to_confirm

    def _confirm_next(self, one: int | MatchKey, may_go_on: Callable[[], bool]) -> bool:
        """Returns whether nothing is left to do of this picture or pair."""
        if not isinstance(one, int):
            self._look_closely(one)
            return True
        told = self._telling.tell(one, may_go_on)
        if told is Told.IN_VAIN:
            self._told_in_vain.add(one)
        return told is not Told.NOT_YET

    def _look_through(self) -> None:
        last = (-1, -1, -1)
        self._progress.stage("looking again", verdicts.count_not_looked_at(self._database), "pairs")
        while pairs := verdicts.to_look_at(self._database, last, _PAIRS_AT_ONCE):
            self._look(pairs)
            last = pairs[-1].key
            self._progress.advance(len(pairs))
        last_part = (-1, -1)
        self._progress.stage("looking for shared parts", parts.count_not_looked_at(self._database), "pairs")
        while some := parts.to_look_at(self._database, last_part, _PAIRS_AT_ONCE):
            self._look_for_parts(some)
            last_part = some[-1].key
            self._progress.advance(len(some))

    def _look(self, pairs: list[PairToLookAt]) -> None:
        """Look at some pairs on all processors, and store the verdicts."""
        if not pairs:
            return
        proofs, lost = self._proofs(_expected(pairs))
        there = [pair.key for pair in pairs if not lost & {*pair.key[:2]}]
        turns = self._turns(there)

        cropped: dict[MatchKey, PartTold] = {}

        def look(key: MatchKey, turn: int) -> tuple[MatchKey, Verdict, CloserLook]:
            first, second = (proofs[PictureId(one)] for one in key[:2])
            verdict, closer = search.look_again(first, second, turn, mirrored=bool(key[2]))
            if verdict is Verdict.CROPPED and (part := search.look_for_part(first, second)) is not None:
                cropped[key] = part[1]
            return key, verdict, closer

        with ThreadPoolExecutor(self._threads) as pool:
            found = list(pool.map(look, there, turns))
        with self._database.transaction():
            verdicts.give(self._database, found, cropped)
            self._any_to_confirm = True
            if self.left_to_confirm is not None:
                self.left_to_confirm += sum(
                    verdict is Verdict.SAME and closer is CloserLook.LATER for _, verdict, closer in found
                )
            pictures.forget_proofs(self._database, lost)  # they are made again from the photos

    def _look_for_parts(self, pairs: list[PartToLookAt]) -> None:
        """As `_look`, of pairs that may share a part."""
        if not pairs:
            return
        expected = _expected(pairs)
        proofs, lost = self._proofs(expected)
        there = [pair.key for pair in pairs if not lost & {*pair.key}]

        def look(key: PartKey) -> tuple[Verdict | None, PartTold]:
            first, second = map(PictureId, key)
            both = keypoints[first], keypoints[second]
            return search.look_for_part(proofs[first], proofs[second], both) or (None, NO_PART)

        with ThreadPoolExecutor(self._threads) as pool:
            keypoints = self._keypoints(expected)
            made = {one: proof for one, proof in proofs.items() if one not in keypoints}
            keypoints |= zip(made, pool.map(search.keypoints_of, made.values()), strict=True)
            found = dict(zip(there, pool.map(look, there), strict=True))
        with self._database.transaction():
            parts.give(self._database, found)
            pictures.forget_proofs(self._database, lost)

    def _proofs(self, expected: dict[PictureId, bytes]) -> tuple[dict[PictureId, "Proof"], set[PictureId]]:
        """The proofs that can be read, and the pictures whose proofs cannot."""
        proofs = {}
        for picture_id, data in self._stores.proofs.read(expected):
            try:
                proofs[picture_id] = search.read_proof(data)
            except ValueError:  # made by another version
                continue
        return proofs, expected.keys() - proofs.keys()

    def _keypoints(self, expected: dict[PictureId, bytes]) -> dict[PictureId, "Keypoints"]:
        """The stored keypoints of these pictures, as far as they can be read."""
        keypoints = {}
        for picture_id, data in self._stores.proofs.read_some_keypoints(expected):
            try:
                keypoints[picture_id] = search.read_keypoints(data)
            except ValueError:  # made by another version
                continue
        return keypoints

    def _turns(self, keys: list[MatchKey]) -> list[int]:
        """By how many degrees the second of each pair is turned clockwise to show the first."""
        turns = np.zeros(len(keys), np.int64)
        for mirrored in (0, 1):
            places = [place for place, key in enumerate(keys) if key[2] == mirrored]
            if places:
                first, second = (self._thumbnails.read([keys[place][end] for place in places]) for end in (0, 1))
                turns[places] = exact.measure_pairs(first, second, mirrored=bool(mirrored)).structure_turn
        return [int(turn) for turn in turns]

    def _look_closely(self, key: MatchKey) -> None:
        by_proofs = None if key in self._in_vain else verdicts.to_be_looked_at_closely(self._database, key)
        if by_proofs is None:
            return
        first, second = (self._photo(PictureId(one)) for one in key[:2])
        if first is None or second is None:
            self._in_vain.add(key)
            return
        [turn] = self._turns([key])
        suspect = by_proofs is not Verdict.SAME
        verdict, confirmed = search.look_closely(
            first.detail.rgb, second.detail.rgb, turn, mirrored=bool(key[2]), suspect=suspect
        )
        if verdict is None or (suspect and verdict is not Verdict.SAME):
            verdict, confirmed = by_proofs, None
        is_same = verdict is Verdict.SAME
        candidates = first.candidate(), second.candidate()
        nearer = search.nearer_the_original(*candidates) if is_same else None
        if confirmed and search.may_be_worse(*candidates, nearer):
            confirmed = None
        verdicts.give_closer(self._database, key, verdict, confirmed, nearer)

    def _photo(self, picture_id: PictureId) -> _Photo | None:
        """The first file of a picture that can be read."""
        for file in verdicts.files_showing(self._database, picture_id, _FILES_TRIED):
            key = (picture_id, file.content_digest)
            if key in self._recent:
                return self._recent[key]
            detail = self._read_detail(file.path, search.CLOSE_PX, file.content_digest)
            if isinstance(detail, Detail):
                photo = _Photo(file, detail)
                self._keep(key, photo)
                return photo
        return None

    def _keep(self, key: tuple[PictureId, bytes], photo: _Photo) -> None:
        """Keep a photo for the pairs that follow: those of one group come one after the other."""
        self._recent[key] = photo
        kept_bytes = sum(one.kept_bytes for one in self._recent.values())
        while kept_bytes > _KEPT_BYTES:
            oldest = next(iter(self._recent))
            kept_bytes -= self._recent.pop(oldest).kept_bytes


def _expected(pairs: Iterable[PairToLookAt | PartToLookAt]) -> dict[PictureId, bytes]:
    """The pictures of these pairs, with the digests of their proofs."""
    return {
        PictureId(one): digest for pair in pairs for one, digest in zip(pair.key[:2], pair.proof_digests, strict=True)
    }
