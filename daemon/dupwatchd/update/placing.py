"""Finds or makes the picture of each decoded content: thumbnails, descriptors and proofs are written here.

Decoded contents go in. Out come the pictures they show; the new ones among them lie in the stores, durably, and count
once the caller's transaction has added them to the database.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Thumbnails
from dupwatchd.blocks.store import Digests, Stores, as_digests, picture_digest, thumbnail_digest
from dupwatchd.compare.measures import descriptors, exact
from dupwatchd.compare.measures.descriptors import Descriptors
from dupwatchd.db import pictures
from dupwatchd.db.connection import Database
from dupwatchd.db.pictures import NewPicture
from dupwatchd.db.proofs import proof_digest
from dupwatchd.model import Decoded, PictureId

# Steps from one cell of a proof to the next one, in a thousand cells. A line of text on a page makes 4 to 8, two words
# of 24 px on a page of 1,240 px 1.7; a dozen specks of dust 1.1; noise of 20 grey levels, skies and black frames none.
_STEP_GREY_LEVELS = 24
_STEPS_PER_MILLE = 1.5


@dataclass(frozen=True)
class Placed:
    """The pictures of some decoded contents."""

    ids: list[PictureId]  # of each content, in order
    fresh: list[NewPicture]  # those that are to be added
    thumbnails: Thumbnails  # (N, S, S, 3) of the fresh ones
    described: Descriptors  # (N, 32)
    digests: Digests  # (N,) of their thumbnails
    proved: dict[PictureId, bytes]  # known pictures that had no proof and have one now, with its digest

    @property
    def searchable(self) -> NDArray[np.bool_]:
        """Which of the fresh ones are compared: (N,) bool."""
        return np.array([not picture.flat for picture in self.fresh], bool)

    @property
    def searchable_ids(self) -> list[PictureId]:
        """The ids of those."""
        return [picture.picture_id for picture in self.fresh if not picture.flat]

    def add_to(self, database: Database) -> None:
        """Add what is new to the database, within the caller's transaction."""
        pictures.add_pictures(database, self.fresh)
        pictures.give_proofs(database, self.proved)


def place(database: Database, stores: Stores, decoded: list[Decoded]) -> Placed:
    """The picture of each decoded content; raises StateError or UsageError if the stores cannot be written."""
    digests = [picture_digest(one) for one in decoded]
    of_digest = dict(zip(digests, decoded, strict=True))
    ids = pictures.picture_ids(database, set(digests))
    proofs = _lost_proofs(database, ids, of_digest)
    proved = {picture_id: proof_digest(proof) for picture_id, proof in proofs.items()}
    fresh = {digest: one for digest, one in of_digest.items() if digest not in ids}
    made, thumbnails, described, checked = _written(database, stores, fresh)
    proofs |= {picture.picture_id: fresh[picture.digest].proof for picture in made if picture.proof_digest}
    stores.proofs.write(proofs)
    ids.update((picture.digest, picture.picture_id) for picture in made)
    return Placed([ids[digest] for digest in digests], made, thumbnails, described, checked, proved)


def is_flat(decoded: Decoded) -> bool:
    """Whether a picture shows too little detail to be compared, on its thumbnail and on its proof.

    A thumbnail does not show the one line of text on a page, and its proof does.
    """
    return _are_flat([decoded], decoded.thumbnail[None])[0]


def _are_flat(decoded: Sequence[Decoded], thumbnails: Thumbnails) -> list[bool]:
    """`is_flat` of each; their thumbnails are (N, S, S, 3)."""
    return [
        flat and not (one.proof and _shows_lines(one.proof))
        for one, flat in zip(decoded, exact.flat(thumbnails).tolist(), strict=True)
    ]


def _shows_lines(proof: bytes) -> bool:
    from dupwatchd.pixels.proof import Proof  # OpenCV takes a tenth of a second to load

    luma = Proof.from_bytes(proof).luma.astype(np.int16)
    steps = sum(np.count_nonzero(np.abs(np.diff(luma, axis=axis)) >= _STEP_GREY_LEVELS) for axis in (0, 1))
    return bool(1000 * steps >= _STEPS_PER_MILLE * luma.size)


def _lost_proofs(
    database: Database, ids: dict[bytes, PictureId], decoded: dict[bytes, Decoded]
) -> dict[PictureId, bytes]:
    """The proofs of known pictures that have lost theirs."""
    lost = pictures.without_proof(database, ids.values())
    return {
        picture_id: decoded[digest].proof
        for digest, picture_id in ids.items()
        if picture_id in lost and decoded[digest].proof
    }


def _written(
    database: Database, stores: Stores, fresh: dict[bytes, Decoded]
) -> tuple[list[NewPicture], Thumbnails, Descriptors, Digests]:
    if not fresh:
        nothing = stores.thumbnails.read([])
        return [], nothing, descriptors.describe(nothing), as_digests([])
    slots = pictures.next_slots(database, len(fresh))
    thumbnails = np.stack([one.thumbnail for one in fresh.values()])
    described = descriptors.describe(thumbnails)
    flat = _are_flat(list(fresh.values()), thumbnails)
    checked = [thumbnail_digest(thumbnail) for thumbnail in thumbnails]
    stores.thumbnails.write(slots, thumbnails)
    stores.descriptors.write(slots, described, as_digests(checked))
    stores.thumbnails.sync()
    stores.descriptors.sync()
    made = [
        NewPicture(
            slot,
            digest,
            without_detail,
            of_thumbnail,
            proof_digest(one.proof) if one.proof else None,
        )
        for slot, (digest, one), of_thumbnail, without_detail in zip(slots, fresh.items(), checked, flat, strict=True)
    ]
    return made, thumbnails, described, as_digests(checked)
