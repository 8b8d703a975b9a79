"""Finds all candidates: pairs of pictures that may share a part.

Keypoints go in, pairs with their votes come out: exactly those for which `agreement.placement_of` finds a placement.
Among few pictures keypoints are compared one by one (`few`), for there it would take longer to load the compiler, and
much longer to compile; among many, or if very many of few share a part, trees find the keypoints (`trees`). Both give
the same, so that the library may grow and shrink across the bound.

What it costs. A known picture takes 2 KB of memory. Of unrelated pictures few keypoints meet: a new one is looked up
in 6 milliseconds among a million, and in 3.4 with many others. In a crowd of pictures that all show one thing, such as
the frames of a film, each pair is a candidate indeed. Memory hardly grows with their number but time does, by 4
microseconds a pair if only the best of each picture are asked for, and by more otherwise.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatchd import imports
from dupwatchd.compare.parts import few
from dupwatchd.compare.parts.packed import Alive, Found, Growing, Packed, Rows
from dupwatchd.model import PictureId
from dupwatchd.pixels.keypoints import MOST_KEYPOINTS, Keypoints

if TYPE_CHECKING:  # numba takes 0.4 s to load, and the first time 5 s to compile
    from dupwatchd.compare.parts.trees import Trees

_FEW_KEYPOINTS = 1 << 15  # of some 1,000 pictures: to compare all with all takes as long as to load the compiler
_FEW_PAIRS = 4096  # that vote: likewise
_FEWEST_OF_MOST = 20  # keypoints that most pictures have

Candidate = tuple[PictureId, PictureId, int]  # pictures a < b, votes


class PartSearch:
    """The keypoints of all known pictures; used by one thread at a time."""

    def __init__(self) -> None:
        self._rows: Rows = np.empty(0, np.int64)  # by id; -1: not known
        self._living = 0
        self._pictures = _Pictures()

    def __len__(self) -> int:
        return self._living

    def add(self, ids: Sequence[PictureId], keypoints: Sequence[Keypoints], reach: Sequence[int] | None = None) -> None:
        """Make pictures known that are not.

        ``reach`` (N,) says for each how many votes the weakest of its best candidates has, 0 where that is not known or
        it has too few of them: see `match`.
        """
        self._add(Packed.of(ids, keypoints), reach)

    def add_stored(self, ids: Sequence[PictureId], stored: Sequence[bytes], reach: Sequence[int]) -> None:
        """Likewise, from what `Keypoints.to_bytes` gave of each; raises ValueError if these are not such bytes."""
        self._add(Packed.stored(ids, stored), reach)

    def _add(self, new: Packed, reach: Sequence[int] | None) -> None:
        if not len(new):
            return
        most = int(new.ids.max())
        if most >= len(self._rows):
            more = np.full(max(most + 1, 5 * len(self._rows) // 4) - len(self._rows), -1, np.int64)
            self._rows = np.concatenate([self._rows, more])
        self._rows[new.ids] = len(self._pictures) + np.arange(len(new))
        self._living += len(new)
        self._pictures.add(new, np.zeros(len(new), np.int16) if reach is None else np.asarray(reach, np.int16))

    def remove(self, ids: Sequence[PictureId]) -> None:
        """Make pictures unknown; what is not known is passed over. Their ids may be added again."""
        gone = np.unique(np.asarray(ids, np.int64))
        gone = gone[(gone >= 0) & (gone < len(self._rows))]
        rows = self._rows[gone]
        self._pictures.alive[rows[rows >= 0]] = False
        self._rows[gone] = -1
        self._living -= int((rows >= 0).sum())
        if self._living < len(self._pictures) // 2:
            self._pictures = self._pictures.living()
            living = self._pictures.known.ids
            self._rows[living] = np.arange(len(living))

    def be_ready(self) -> None:
        """Build trees if they are needed, so that the next search need not wait for that, nor for the compiler."""
        if len(self._pictures.known.coefficients) > _FEW_KEYPOINTS:
            self._pictures.trees().build()

    def match(
        self, ids: Sequence[PictureId], keypoints: Sequence[Keypoints], best: int = 0, expected: int = 0
    ) -> Iterator[Candidate]:
        """All candidates of new pictures with the known ones and with each other, smaller id first; adds nothing.

        A pair comes once, with its votes. So many further pictures are ``expected`` soon: if there will be many, trees
        are made at once, and nothing is compared one by one before.

        With ``best``, fewer may come of pictures that have very many: of a new and a known picture only if not so many
        other pictures have more votes with the new one, or if the votes are not below the known one's reach. What is
        among the best of a picture when all are known has been so before, and therefore comes, in whatever order
        pictures are added. If one of them is removed, those must be searched again that it was among the best of.
        """
        themselves = _Pictures()
        themselves.add(Packed.of(ids, keypoints), np.zeros(len(ids), np.int16))
        new = themselves.known
        searched = (
            _Searched(self._pictures, np.full(len(new), len(self._pictures))),
            _Searched(themselves, np.arange(len(new))),
        )
        found = self._found_among_few(new, searched, expected)
        for known, (rows, others, votes) in _found_by_trees(new, searched, best) if found is None else found:
            ends = new.ids[rows], known.ids[others]
            lower, higher = np.minimum(*ends).tolist(), np.maximum(*ends).tolist()
            yield from zip(map(PictureId, lower), map(PictureId, higher), votes.tolist(), strict=True)

    def _found_among_few(
        self, new: Packed, searched: "Sequence[_Searched]", expected: int
    ) -> list[tuple[Packed, Found]] | None:
        """What is found without trees; None if they are needed."""
        soon = len(self._pictures.known.coefficients) + len(new.coefficients) + _FEWEST_OF_MOST * expected
        if soon > _FEW_KEYPOINTS:
            return None
        found = []
        for pictures, before in searched:
            some = few.candidates(new, pictures.known, before, pictures.alive, _FEW_PAIRS)
            if some is None:
                return None
            found.append((pictures.known, some))
        return found


class _Pictures:
    """Known pictures by row; a removed one keeps its row."""

    def __init__(self) -> None:
        self.known = Packed()
        self._alive = Growing((), np.bool_)
        self._reach = Growing((), np.int16)
        self._trees: Trees | None = None

    def __len__(self) -> int:
        return len(self.known)

    @property
    def alive(self) -> Alive:
        """Which have not been removed (N,); may be written to."""
        return self._alive.rows

    @property
    def reach(self) -> NDArray[np.int16]:
        """The votes of the weakest of the best candidates of each (N,); may be written to."""
        return self._reach.rows

    def trees(self) -> "Trees":
        """Trees over them, made when they are first asked for."""
        if self._trees is None:
            with imports.what_stays():
                from dupwatchd.compare.parts.trees import Trees

            self._trees = Trees(self.known)
        return self._trees

    def add(self, new: Packed, reach: NDArray[np.int16]) -> None:
        """Further rows."""
        self.known.extend(new)
        self._reach.append(reach)
        self._alive.append(np.ones(len(new), np.bool_))

    def living(self) -> "_Pictures":
        """Those that have not been removed, in their order."""
        rows = np.flatnonzero(self.alive)
        made = _Pictures()
        made.add(self.known.chosen(rows), self._reach.rows[rows])
        return made


class _Searched(NamedTuple):
    """Pictures that new ones are compared with: for each new one, those before a row."""

    pictures: _Pictures
    before: Rows


def _found_by_trees(new: Packed, searched: Sequence[_Searched], best: int) -> Iterator[tuple[Packed, Found]]:
    seen = np.zeros((len(new), MOST_KEYPOINTS + 1), np.int64)  # candidates by votes, for `join`
    for pictures, before in searched:
        for found in pictures.trees().candidates(new, before, pictures.alive, pictures.reach, best, seen):
            yield pictures.known, found
