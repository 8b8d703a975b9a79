"""Every match by whatever is compared with: our two measures, and the user's own if there is one.

Our own two are searched in the index (`matcher`), or, where a GPU is asked for, by comparing all with all (`dense`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from dupwatchd.arrays import Matches, Thumbnails
from dupwatchd.compare.custom.search import CustomMatches, CustomMeasure, CustomSearch
from dupwatchd.compare.dense.device import Device
from dupwatchd.compare.dense.matcher import DenseMatcher
from dupwatchd.compare.measures import exact
from dupwatchd.compare.measures.descriptors import Descriptors
from dupwatchd.compare.measures.exact import ReadThumbnails
from dupwatchd.compare.tree.matcher import Matcher
from dupwatchd.model import Limits, PictureId

_AT_ONCE = 8192
_MEASURED_AT_ONCE = 2048


class Search:
    """All known pictures; used by one thread at a time."""

    def __init__(
        self,
        limits: Limits,
        read_thumbnails: ReadThumbnails,
        custom: CustomMeasure | None,
        device: Device,
        *,
        on_device: bool,
    ) -> None:
        """With ``on_device`` our own measures are compared there, all with all."""
        self._limits = limits
        self._read_thumbnails = read_thumbnails
        self._indexed = None if on_device else Matcher(limits, read_thumbnails)
        self._dense = DenseMatcher(limits, read_thumbnails, device) if on_device else None
        self._custom = (
            CustomSearch(custom, limits.keep_custom, limits.mirrored, read_thumbnails, device) if custom else None
        )
        self._ids: dict[PictureId, None] = {}  # of those known, in order; only if not all is in the index

    def add(self, ids: Sequence[PictureId], described: Descriptors) -> None:
        """Make pictures known, from their descriptors (N, 32)."""
        if self._indexed is not None:
            self._indexed.add(ids, described)
        self._add_elsewhere(ids)

    def remove(self, ids: Sequence[PictureId]) -> None:
        """Make pictures unknown; what is not known is passed over. Their ids may be added again."""
        if self._indexed is not None:
            self._indexed.remove(ids)
        self._remove_elsewhere([one for one in ids if one in self._ids])

    def match(self, ids: Sequence[PictureId], thumbnails: Thumbnails, described: Descriptors) -> Iterator[Matches]:
        """All matches of new pictures with the known ones and with each other, some at a time; adds nothing.

        Takes their thumbnails (N, S, S, 3) and descriptors (N, 32). A pair may come twice, the own measure apart.
        """
        if self._indexed is not None:
            yield from self._indexed.match(ids, thumbnails, described)
        yield from self._match_elsewhere(ids, thumbnails)

    def match_known(self, ids: Sequence[PictureId], threads: int) -> Iterator[Matches]:
        """All matches of known pictures with all known ones; what is not known (any more) is passed over."""
        if self._indexed is not None:
            yield from self._indexed.match_known(ids, threads=threads)
        if self._dense is not None or self._custom is not None:
            again = [one for one in ids if one in self._ids]
            self._remove_elsewhere(again)
            yield from self._match_elsewhere(again, self._read_thumbnails(list(again)))
            self._add_elsewhere(again)

    def match_all(self, ids: Sequence[PictureId], threads: int) -> Iterator[tuple[int, Iterable[Matches]]]:
        """All matches of all known pictures, which are these, part by part: how many pictures, and their matches."""
        if self._indexed is not None:
            in_order: list[PictureId] = self._indexed.known().tolist()
            for some in _parts(in_order):
                yield len(some), self._indexed.match_known(some, only_earlier=True, threads=threads)
        if self._dense is None and self._custom is None:
            return
        self._remove_elsewhere(ids)
        for some in _parts(ids):
            yield 0 if self._indexed else len(some), self._match_elsewhere(some, self._read_thumbnails(list(some)))
            self._add_elsewhere(some)

    def _add_elsewhere(self, ids: Sequence[PictureId]) -> None:
        if self._dense is None and self._custom is None:
            return
        self._ids.update(dict.fromkeys(ids))
        if self._dense is not None:
            self._dense.add(ids)
        if self._custom is not None:
            for some in _parts(ids):
                self._custom.add(some, self._read_thumbnails(list(some)))

    def _remove_elsewhere(self, ids: Sequence[PictureId]) -> None:
        for one in ids:
            self._ids.pop(one, None)
        if self._dense is not None:
            self._dense.remove(ids)
        if self._custom is not None:
            self._custom.remove(ids)  # what only they linked is searched again, as for every measure

    def _match_elsewhere(self, ids: Sequence[PictureId], thumbnails: Thumbnails) -> Iterator[Matches]:
        if self._dense is not None:
            yield from self._dense.match(ids, thumbnails)
        if self._custom is not None:
            new = dict(zip(ids, thumbnails, strict=True))
            for found in self._custom.match(ids, thumbnails):
                yield from self._with_all_values(found, lambda asked: self._read(asked, new))

    def _read(self, ids: Sequence[int], new: dict[PictureId, "np.ndarray"]) -> Thumbnails:
        """Thumbnails, of which the new ones need not be in the blocks yet."""
        known = [one for one in ids if one not in new]
        stored = dict(zip(known, self._read_thumbnails(known), strict=True))
        return np.stack([new[PictureId(one)] if one in new else stored[one] for one in ids])

    def _with_all_values(self, found: CustomMatches, read: Callable[[Sequence[int]], Thumbnails]) -> Iterator[Matches]:
        for mirrored in (False, True):
            which = np.flatnonzero(found.mirrored == mirrored)
            for start in range(0, len(which), _MEASURED_AT_ONCE):
                rows = which[start : start + _MEASURED_AT_ONCE]
                a, b = found.a[rows], found.b[rows]
                (of_a, a_places), (of_b, b_places) = (np.unique(one, return_inverse=True) for one in (a, b))
                values = exact.measure_chosen(
                    read(of_a.tolist()), read(of_b.tolist()), a_places, b_places, mirrored=mirrored
                )
                kept = np.full(len(rows), mirrored)
                yield Matches(a, b, kept, values.mse, values.structure, np.asarray(found.value[rows]))


def _parts(ids: Sequence[PictureId]) -> Iterator[Sequence[PictureId]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]
