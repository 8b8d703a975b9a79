"""Pairs of pictures that may share a part, found by their keypoints, and which pictures were searched for such.

Of each picture the pairs with most votes are stored, see `compare.parts.nearest`. What a look says of a pair is stored
with it. A pair that also lies within the limits of a match is looked at as a match, and is only kept here because it
counts among those with most votes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dupwatchd.db.connection import Database
from dupwatchd.model import Limits, PartTold, PictureId, Verdict

PartKey = tuple[int, int]  # a < b
Voted = tuple[int, int, int]  # a, b, votes
StoredPart = tuple[int, int, int, float, float]  # a, b, votes, mse, structure
PartRow = tuple[int, int, int, float, float, int]  # a, b, votes, mse, structure, 1 if within the limits of a match

AT_MOST_A_PART = 0  # in place of the code of a verdict

_TO_PART = "FROM picture WHERE parted = 0 AND flat = 0 AND proof_digest IS NOT NULL"
_TO_LOOK_AT = (
    "SELECT a, b, first.proof_digest, second.proof_digest FROM part_match "
    "JOIN picture AS first ON first.id = a JOIN picture AS second ON second.id = b "
    "WHERE verdict IS NULL AND within = 0 AND first.proof_digest IS NOT NULL AND second.proof_digest IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class PartToLookAt:
    """A pair without a verdict, whose two pictures have proofs."""

    key: PartKey
    proof_digests: tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class ToldPart:
    """A picture that shares a part with one that was asked about."""

    other: int
    verdict: Verdict
    mse: float
    structure: float
    turn_degrees: int  # the one asked about is turned clockwise by these to lie on the other


def any_to_search(database: Database) -> bool:
    """Is there a picture with a proof that was not searched for others that share a part with it?"""
    return bool(database.rows(f"SELECT 1 {_TO_PART} LIMIT 1"))


def count_to_search(database: Database) -> int:
    """How many such pictures there are."""
    return int(database.value(f"SELECT count(*) {_TO_PART}"))


def to_search(database: Database, limit: int) -> dict[PictureId, bytes]:
    """Some of these pictures, in order, with the digests of their proofs."""
    rows = database.rows(f"SELECT id, proof_digest {_TO_PART} ORDER BY id LIMIT ?", (limit,))
    return {PictureId(one): digest for one, digest in rows}


def searched(database: Database, after: int, limit: int) -> dict[PictureId, bytes]:
    """Pictures that were searched, in order, from the first one behind ``after``, with the digests of their proofs."""
    rows = database.rows(
        "SELECT id, proof_digest FROM picture WHERE parted = 1 AND flat = 0 AND proof_digest IS NOT NULL AND id > ? "
        "ORDER BY id LIMIT ?",
        (after, limit),
    )
    return {PictureId(one): digest for one, digest in rows}


def searched_among(database: Database, picture_ids: Iterable[int]) -> dict[PictureId, bytes]:
    """Those of these pictures that were searched, with the digests of their proofs."""
    rows = database.rows(
        "SELECT picture.id, proof_digest FROM json_each(?) JOIN picture ON picture.id = value "
        "WHERE parted = 1 AND flat = 0 AND proof_digest IS NOT NULL",
        (json.dumps(list(picture_ids)),),
    )
    return {PictureId(one): digest for one, digest in rows}


def in_parts(database: Database, size: int) -> Iterator[list[StoredPart]]:
    """All stored pairs, ``size`` at a time."""
    last = (-1, -1)
    while rows := database.rows(
        "SELECT a, b, votes, mse, structure FROM part_match WHERE (a, b) > (?, ?) ORDER BY a, b LIMIT ?", (*last, size)
    ):
        yield rows
        last = rows[-1][:2]


def mark_searched(database: Database, picture_ids: Iterable[int]) -> None:
    """These pictures were searched. Within the caller's transaction, which stores what was found."""
    database.many("UPDATE picture SET parted = 1 WHERE id = ?", [(one,) for one in picture_ids])


def search_again(database: Database, picture_ids: Iterable[int]) -> None:
    """These pictures are to be searched again; what was found of them stays. Within the caller's transaction."""
    database.many("UPDATE picture SET parted = 0 WHERE id = ? AND parted = 1", [(one,) for one in picture_ids])


def search_all_again(database: Database) -> None:
    """All pictures are to be searched again."""
    database.rows("UPDATE picture SET parted = 0 WHERE parted = 1")


def forget_all(database: Database) -> None:
    """Forget all pairs; all pictures are to be searched again. Within the caller's transaction."""
    database.rows("DELETE FROM part_match")
    search_all_again(database)


def begin_anew(database: Database, picture_ids: Iterable[int], count: int) -> None:
    """Forget what was found of pictures whose proofs or digests are others now; they are to be searched again.

    As are those beside them of which ``count`` pairs or more are stored: another one may take the place. Within the
    caller's transaction.
    """
    ids = list(picture_ids)
    search_again(database, crowded_beside(database, ids, count))
    remove_of(database, ids)
    search_again(database, ids)


def remove_of(database: Database, picture_ids: Iterable[int]) -> None:
    """Remove all pairs of these pictures. Within the caller's transaction."""
    gone = [(one,) for one in picture_ids]
    for end in ("a", "b"):
        database.many(f"DELETE FROM part_match WHERE {end} = ?", gone)


def crowded_beside(database: Database, picture_ids: Iterable[int], count: int) -> list[int]:
    """The pictures in a pair with one of these of which ``count`` pairs or more are stored; not these themselves.

    Of whoever has fewer, all pairs are stored.
    """
    ids = json.dumps(list(picture_ids))
    return [
        row[0]
        for row in database.rows(
            "WITH given(id) AS (SELECT value FROM json_each(?)), "
            "beside(id) AS (SELECT b FROM given JOIN part_match ON a = id "
            "UNION SELECT a FROM given JOIN part_match ON b = id) "
            "SELECT id FROM beside WHERE id NOT IN (SELECT id FROM given) "
            "AND (SELECT count(*) FROM part_match WHERE a = beside.id) "
            "+ (SELECT count(*) FROM part_match WHERE b = beside.id) >= ?",
            (ids, count),
        )
    ]


def beside(database: Database, picture_ids: Iterable[int]) -> list[Voted]:
    """All stored pairs of these pictures; a pair of two of them comes twice."""
    ids = json.dumps(list(picture_ids))
    return database.rows(
        "SELECT a, b, votes FROM json_each(?) JOIN part_match ON a = value "
        "UNION ALL SELECT a, b, votes FROM json_each(?) JOIN part_match ON b = value",
        (ids, ids),
    )


def reach(database: Database, count: int) -> dict[int, int]:
    """Of each picture with ``count`` stored pairs or more, how many votes the weakest of so many best ones has."""
    return dict(
        database.rows(
            "WITH ends(id, votes) AS (SELECT a, votes FROM part_match UNION ALL SELECT b, votes FROM part_match), "
            "ranked AS (SELECT id, votes, row_number() OVER (PARTITION BY id ORDER BY votes DESC) AS place FROM ends) "
            "SELECT id, votes FROM ranked WHERE place = ?",
            (count,),
        )
    )


def digests(database: Database, picture_ids: Iterable[int]) -> dict[int, bytes]:
    """The digests of pictures."""
    return dict(
        database.rows(
            "SELECT picture.id, digest FROM json_each(?) JOIN picture ON picture.id = value",
            (json.dumps(list(picture_ids)),),
        )
    )


def store(database: Database, new: Iterable[PartRow], needless: Iterable[PartKey]) -> None:
    """Add and remove pairs. Within the caller's transaction."""
    database.many("DELETE FROM part_match WHERE a = ? AND b = ?", needless)
    database.many("INSERT INTO part_match (a, b, votes, mse, structure, within) VALUES (?, ?, ?, ?, ?, ?)", new)


def limits_changed(database: Database, limits: Limits) -> None:
    """Tell anew which pairs are matches, and search for more of each picture if fewer were kept before."""
    database.rows(
        "UPDATE part_match SET within = (mse <= ? OR structure <= ?)", (limits.keep_mse, limits.keep_structure)
    )
    search_all_again(database)


def to_look_at(database: Database, after: PartKey, limit: int) -> list[PartToLookAt]:
    """Pairs in the order of their keys, from the first one behind ``after``."""
    rows = database.rows(f"{_TO_LOOK_AT} AND (a, b) > (?, ?) ORDER BY a, b LIMIT ?", (*after, limit))
    return [PartToLookAt(row[:2], row[2:]) for row in rows]


def to_look_at_among(database: Database, keys: Iterable[PartKey]) -> list[PartToLookAt]:
    """Those of these pairs that are to be looked at and can be."""
    found = [row for key in keys for row in database.rows(f"{_TO_LOOK_AT} AND a = ? AND b = ?", key)]
    return [PartToLookAt(row[:2], row[2:]) for row in found]


def any_to_look_at(database: Database) -> bool:
    """Whether any pair can be looked at now."""
    return bool(database.rows(f"{_TO_LOOK_AT} LIMIT 1"))


def count_not_looked_at(database: Database) -> int:
    """How many pairs are to be looked at, whether or not their pictures have proofs."""
    return int(database.value("SELECT count(*) FROM part_match WHERE verdict IS NULL AND within = 0"))


def give(database: Database, told: Mapping[PartKey, tuple[Verdict | None, PartTold]]) -> None:
    """Store what pairs are to each other; None: they share a part at most. Within the caller's transaction."""
    database.many(
        "UPDATE part_match SET verdict = ?, turn = ?, shows_more = ?, framed = ?, outline = ? "
        "WHERE a = ? AND b = ? AND verdict IS NULL",
        [
            (AT_MOST_A_PART if verdict is None else verdict.code, part.turn_degrees, *bindings_of(part), *key)
            for key, (verdict, part) in told.items()
        ],
    )


def told_of(database: Database, picture_id: int) -> list[ToldPart]:
    """What was told of a picture and those that share a part with it: strongest verdict first, then most votes.

    Those that share a part at most are left out, and those within the limits of a match, which is told of as such.
    """
    rows = database.rows(
        "SELECT b, verdict, mse, structure, (360 - turn) % 360, votes FROM part_match "
        "WHERE a = ?1 AND within = 0 AND verdict > 0 "
        "UNION ALL SELECT a, verdict, mse, structure, turn, votes FROM part_match "
        "WHERE b = ?1 AND within = 0 AND verdict > 0 ORDER BY verdict, votes DESC",
        (picture_id,),
    )
    return [
        ToldPart(other, list(Verdict)[code - 1], mse, structure, turn) for other, code, mse, structure, turn, _ in rows
    ]


def bindings_of(part: PartTold | None) -> tuple[int, int, str | None]:
    """What the columns shows_more, framed and outline hold."""
    if part is None:
        return 0, 0, None
    return part.shows_more, int(part.is_framed), json.dumps(part.outline) if part.outline else None


def outline_of(stored: str | None) -> tuple[float, ...]:
    """What was stored as an outline."""
    return tuple(json.loads(stored)) if stored else ()
