"""Reads what is known of the files that may be copies of others: once all of it, then what has changed.

In: the database, and which pictures were changed since it was read last. Out: `Rows`, about 100 bytes a file, which
nobody changes any more. `fed` gives what `read_rows` would, but for the order of files, at the cost of what has
changed and of copying the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dupwatchd.db import answers
from dupwatchd.db.change_log import Changed
from dupwatchd.db.connection import Database, Row
from dupwatchd.serve.keep import ranks
from dupwatchd.serve.plan_families import RAW

OWN_MEASURES = ("mse", "structure")
MEASURES = (*OWN_MEASURES, "custom")  # in the order of a row of `answers.matches_in_parts`
_DOES_NOT_COUNT = -1.0  # in place of a value
_FOLDER = 3  # the place of the folder in a row of `answers.numbers_of_files`
_ID_BITS = 30  # of a picture, which is a place in the blocks

Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Matched:
    """Matches (M) that may join two pictures, first those that are, then what is none; each by (a, b, mirrored)."""

    a: Whole  # id
    b: Whole
    mirrored: NDArray[np.bool_]
    values: NDArray[np.float64]  # (M, measures); -1 if it does not count
    verdict: NDArray[np.int8]  # codes, or 0, or -1; see `columns.Matches`
    is_none: NDArray[np.bool_]  # no match, but found by a part that both show


@dataclass(frozen=True, slots=True)
class Files:
    """The files (F) that show a picture which is matched, or shown by several."""

    picture: Whole  # id
    content: Whole  # id
    size: Whole  # bytes
    folder: Whole  # id
    pixels: Whole
    rank: Whole  # as one to keep, see `keep.ranks`
    digest: NDArray[np.uint64]  # of the content, the first 8 bytes
    coded: NDArray[np.uint64]  # equal for files of one picture that hold it bit by bit


@dataclass(frozen=True, slots=True)
class Rows:
    """What columns are made of; sets of pictures are ids, ascending, each once."""

    matched: Matched
    shared: Whole  # shown by more than one file
    flat: Whole
    without_proof: Whole
    the_same: Whole  # a closer look has found them to be the same as another one
    nearer: Whole  # they may come before another one
    files: Files
    raw_folders: dict[bytes, int]  # the ids of folders that hold RAW photos, by path

    @property
    def pictures(self) -> Whole:
        """Those of which the files are there, ascending."""
        return distinct(np.concatenate([self.matched.a, self.matched.b, self.shared]))


_OneOf = TypeVar("_OneOf", Matched, Files)

_SETS: dict[str, Callable[[Database, Sequence[int] | None], list[int]]] = {
    "shared": answers.shared_pictures,
    "flat": answers.flat_pictures,
    "without_proof": answers.pictures_without_proof,
    "the_same": answers.pictures_known_the_same,
    "nearer": lambda database, among: (
        answers.pictures_shown_nearer(database, among) + answers.pictures_cropped(database, among)
    ),
}


def read_rows(database: Database, roots: Sequence[bytes] | None) -> Rows:
    """Read all; of files below the ``roots`` only, or of all (None). Raises StateError."""
    with database.snapshot():
        matched = _joined(Matched, [_as_matched([]), *map(_as_matched, answers.matches_in_parts(database))])
        sets = {name: distinct(np.array(read(database, None), np.int64)) for name, read in _SETS.items()}
        pictures = distinct(np.concatenate([matched.a, matched.b, sets["shared"]]))
        return Rows(
            matched=matched,
            files=_read_files(database, pictures, _folders(database, roots)),
            raw_folders=_raw_folders(database),
            **sets,
        )


def fed(before: Rows, database: Database, roots: Sequence[bytes] | None, changed: Changed) -> Rows:
    """What `read_rows` would read now, the ``roots`` being the same as before. Raises StateError."""
    with database.snapshot():
        # a content that showed another picture before was changed itself, and so that picture is among the changed ones
        among = sorted({*changed.pictures, *answers.pictures_of_contents(database, changed.contents)})
        changed_pictures = np.array(among, np.int64)

        kept = ~(np.isin(before.matched.a, changed_pictures) | np.isin(before.matched.b, changed_pictures))
        new = _as_matched(answers.matches_of(database, among))
        matched = _joined(Matched, [_some(before.matched, kept), new])
        matched = _some(matched, np.argsort(_place(matched), kind="stable"))

        sets = {}
        for name, read in _SETS.items():
            known: Whole = getattr(before, name)
            known = known[~np.isin(known, changed_pictures)]
            sets[name] = distinct(np.concatenate([known, np.array(read(database, among), np.int64)]))

        pictures = distinct(np.concatenate([matched.a, matched.b, sets["shared"]]))
        read_anew = changed_pictures[np.isin(changed_pictures, pictures)]
        files = _joined(
            Files,
            [
                _some(before.files, ~np.isin(before.files.picture, changed_pictures)),
                _read_files(database, read_anew, _folders(database, roots)),
            ],
        )
        return Rows(matched=matched, files=files, raw_folders=_raw_folders(database), **sets)


def distinct(ids: Whole) -> Whole:
    """Sorted, each once; twenty times as fast as `np.unique` of NumPy 2.4 on a million."""
    ascending = np.sort(ids)
    return np.compress(np.diff(ascending, prepend=-1), ascending)


def _folders(database: Database, roots: Sequence[bytes] | None) -> Whole | None:
    return None if roots is None else np.array(answers.folders_under(database, roots), np.int64)


def _raw_folders(database: Database) -> dict[bytes, int]:
    return {path: number for number, path in answers.folders_of_format(database, RAW).items()}


def _joined(kind: type[_OneOf], parts: list[_OneOf]) -> _OneOf:
    return kind(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(kind)))


def _some(rows: _OneOf, chosen: NDArray[Any]) -> _OneOf:
    return type(rows)(*(getattr(rows, one.name)[chosen] for one in fields(rows)))


def _as_matched(rows: list[Row]) -> Matched:
    table = np.array(rows, np.float64).reshape(-1, 6 + len(MEASURES))  # float64 holds ids exactly
    values, verdict, by_part, is_none = table[:, 3:-3], table[:, -3], table[:, -2] > 0, table[:, -1] > 0
    values[by_part, : len(OWN_MEASURES)] = _DOES_NOT_COUNT
    ends = table[:, :2].astype(np.int64)
    return Matched(ends[:, 0], ends[:, 1], table[:, 2] > 0, values, verdict.astype(np.int8), is_none)


def _place(matched: Matched) -> Whole:
    """Ascending in the order of `Matched`."""
    place: Whole = matched.is_none.astype(np.int64) << (2 * _ID_BITS + 1)
    place |= matched.a << (_ID_BITS + 1)
    place |= matched.b << 1
    place |= matched.mirrored
    return place


def _read_files(database: Database, pictures: Whole, folders: Whole | None) -> Files:
    """The files that show the ``pictures``, of all folders (None) or of some."""
    parts = [_as_columns(rows) for rows in answers.numbers_of_files(database, pictures.tolist()) if rows]
    if folders is not None:
        parts = [tuple(column[np.isin(part[_FOLDER], folders)] for column in part) for part in parts]
    nothing = (*[np.empty(0, np.int64)] * 6, *[np.empty(0, np.uint64)] * 2)
    return Files(*(np.concatenate(column) for column in zip(nothing, *parts, strict=True)))


def _as_columns(rows: list[Row]) -> tuple[NDArray[Any], ...]:
    *numbers, formats, digests, coded = zip(*rows, strict=True)
    heads = (np.frombuffer(b"".join(some), ">u8").astype(np.uint64) for some in (digests, coded))
    picture, content, size, folder, damaged, frames, has_colour, from_camera, edited, jpeg_grid, lossless, pixels = (
        np.array(column, np.int64) for column in numbers
    )
    rank = ranks(damaged, frames, has_colour, from_camera, edited, jpeg_grid, lossless, pixels, formats)
    return picture, content, size, folder, pixels, rank, *heads
