"""What `check` says of shared parts: whether the stored keypoints can be used, and stored pairs follow from them.

Keypoints that are missing, damaged, made from another proof or no keypoints at all are made again, and their pictures
searched again, by the next scan. If a stored pair is not what both pictures say, all pairs are found anew.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dupwatchd.blocks.store import BlockStore
from dupwatchd.compare import search
from dupwatchd.compare.measures import exact
from dupwatchd.db import facts, parts
from dupwatchd.db.connection import Database
from dupwatchd.db.parts import StoredPart
from dupwatchd.db.proofs import Proofs
from dupwatchd.errors import DamagedStateError
from dupwatchd.model import PictureId

if TYPE_CHECKING:  # OpenCV takes a tenth of a second to load
    from dupwatchd.pixels.keypoints import Keypoints

_AT_ONCE = 1024


class WrongParts(NamedTuple):
    """What was found."""

    keypoints: list[PictureId]  # pictures that were searched, without keypoints that can be used
    pairs: int  # stored pairs that differ from what keypoints and thumbnails say


def wrong_parts(database: Database, blocks: BlockStore, proofs: Proofs, bad: set[PictureId]) -> WrongParts:
    """Holds keypoints and pairs against proofs and thumbnails; ``bad``: pictures whose thumbnails are lost.

    Nothing is wrong with those of another version, which are made anew before they are used, nor with those in a file
    that cannot be read: that is told with the proofs.
    """
    if facts.read(database).get("keypoints") != search.keypoints_version():
        return WrongParts([], 0)
    try:
        return WrongParts(_lost_keypoints(database, proofs), _wrong_pairs(database, blocks, proofs, bad))
    except DamagedStateError:
        return WrongParts([], 0)


def mend_parts(database: Database, blocks: BlockStore, proofs: Proofs) -> str | None:
    """Marks what is wrong to be searched again, once thumbnails and proofs are mended; returns a line about it."""
    wrong = wrong_parts(database, blocks, proofs, set())
    with database.transaction():
        if wrong.pairs:
            parts.forget_all(database)
            return "shared parts of all pictures will be found anew by the next scan"
        if wrong.keypoints:
            parts.search_again(database, wrong.keypoints)
            return f"keypoints of {len(wrong.keypoints)} pictures will be made again by the next scan"
    return None


def _lost_keypoints(database: Database, proofs: Proofs) -> list[PictureId]:
    lost: list[PictureId] = []
    last = -1
    while expected := parts.searched(database, last, _AT_ONCE):
        last = max(expected)
        stored = dict(proofs.read_keypoints(expected))
        if not search.are_keypoints(list(stored.values())):
            stored = {one: data for one, data in stored.items() if search.are_keypoints([data])}
        lost += sorted(expected.keys() - stored.keys())
    return lost


def _wrong_pairs(database: Database, blocks: BlockStore, proofs: Proofs, bad: set[PictureId]) -> int:
    """How many; pairs of pictures that are to be searched again, or whose keypoints or thumbnails are lost, are not."""
    wrong = 0
    for pairs in parts.in_parts(database, _AT_ONCE):
        expected = parts.searched_among(database, {one for a, b, *_ in pairs for one in (a, b)} - bad)
        read = {one: _read(data) for one, data in proofs.read_some_keypoints(expected)}
        keypoints = {one: found for one, found in read.items() if found is not None}
        told = [pair for pair in pairs if {*pair[:2]} <= keypoints.keys()]
        votes = [search.votes_for_part(keypoints[PictureId(a)], keypoints[PictureId(b)]) for a, b, *_ in told]
        wrong += sum(pair[2] != count for pair, count in zip(told, votes, strict=True))
        wrong += _wrong_values([pair for pair, count in zip(told, votes, strict=True) if pair[2] == count], blocks)
    return wrong


def _wrong_values(pairs: Sequence[StoredPart], blocks: BlockStore) -> int:
    first = blocks.read([PictureId(a) for a, *_ in pairs])
    second = blocks.read([PictureId(b) for _, b, *_ in pairs])
    values = exact.measure_pairs(first, second, mirrored=False)
    stored = np.array([pair[3:] for pair in pairs]).reshape(-1, 2)
    # structure involves a square root, which another machine may round differently
    same = (stored[:, 0] == values.mse) & (np.abs(stored[:, 1] - values.structure) < 1e-9)
    return int(np.count_nonzero(~same))


def _read(data: bytes) -> "Keypoints | None":
    try:
        return search.read_keypoints(data)
    except ValueError:
        return None
