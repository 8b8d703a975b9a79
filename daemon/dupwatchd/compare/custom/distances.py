"""Calls the user's distance function for every new picture with every known one: there is no way around that.

On the device, if the function says so; otherwise on the CPU.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Thumbnails
from dupwatchd.compare.custom.measure import CustomMatches, DistanceMeasure, parts_of
from dupwatchd.compare.dense.device import Device
from dupwatchd.compare.measures.exact import ReadThumbnails

_PAIRS_AT_ONCE = 1024  # 6 MB at 32 px
_READ_AT_ONCE = 1024


class DistanceSearch:
    """All known pictures, by their ids alone: thumbnails are read anew each time. Used by one thread."""

    def __init__(
        self, measure: DistanceMeasure, keep: float, mirrored: bool, read_thumbnails: ReadThumbnails, device: Device
    ) -> None:
        self._measure = measure.on(device)
        self._keep = keep
        self._flips = (False, True) if mirrored else (False,)
        self._read_thumbnails = read_thumbnails
        self._known: dict[int, None] = {}  # a set that keeps its order: neighbours in the blocks are read together

    def add(self, ids: Sequence[int], thumbnails: Thumbnails) -> None:  # noqa: ARG002 - the other kinds need them
        """Make pictures known."""
        self._known.update(dict.fromkeys(ids))

    def remove(self, ids: Sequence[int]) -> CustomMatches:
        """Forget pictures."""
        for picture_id in ids:
            self._known.pop(picture_id, None)
        return CustomMatches.none()

    def match(self, ids: Sequence[int], thumbnails: Thumbnails) -> Iterator[CustomMatches]:
        """All matches of pictures with the known ones and with each other, each once, some at a time."""
        new, asked = np.array(ids, np.int64), set(ids)
        known = np.array([picture_id for picture_id in self._known if picture_id not in asked], np.int64)
        stacks = [_Stack(new[part], thumbnails[part]) for part in parts_of(thumbnails)]
        for start in range(0, len(known) if stacks else 0, _READ_AT_ONCE):
            some = known[start : start + _READ_AT_ONCE]
            others = _Stack(some, self._read_thumbnails(some.tolist()))
            for stack in stacks:
                yield from self._between(stack, others, *_all_pairs(len(stack.ids), len(some)))
        for place, stack in enumerate(stacks):
            yield from self._between(stack, stack, *np.triu_indices(len(stack.ids), 1))
            for others in stacks[place + 1 :]:
                yield from self._between(stack, others, *_all_pairs(len(stack.ids), len(others.ids)))

    def _between(
        self, first: "_Stack", second: "_Stack", rows: NDArray[np.intp], columns: NDArray[np.intp]
    ) -> Iterator[CustomMatches]:
        for start in range(0, len(rows), _PAIRS_AT_ONCE):
            i, j = rows[start : start + _PAIRS_AT_ONCE], columns[start : start + _PAIRS_AT_ONCE]
            for flip in self._flips:
                values, _ = self._measure.best(first.thumbnails[i], second.thumbnails[j], mirrored=flip)
                near = values <= self._keep
                if near.any():
                    yield CustomMatches.of(first.ids[i[near]], second.ids[j[near]], flip, values[near])


class _Stack(NamedTuple):
    ids: NDArray[np.int64]  # (N,)
    thumbnails: Thumbnails


def _all_pairs(first: int, second: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows, columns = np.indices((first, second))
    return rows.ravel(), columns.ravel()
