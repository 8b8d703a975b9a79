"""Reads what is known of the files that may be copies of others, as columns of numbers.

In: the database. Out: `Columns`, about 80 bytes a file, which nobody changes any more.

A *unit* is what no threshold takes apart: a picture with all its files or, of a flat picture, one content with all
its files. Units are numbered in such a way that in any cluster the unit with the file to keep has the smallest number.
The numbers of units mean something within one `Columns` only; all else is named by its id in the database.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupwatchd.db import answers
from dupwatchd.db.connection import Database, Row

_MEASURES = ("mse", "structure", "custom")  # in the order of a row of `answers.matches_in_parts`
_FOLDER = 4  # the place of the folder in a row of `answers.numbers_of_files`

Whole = NDArray[np.int64]
Units = NDArray[np.int32]  # numbers of units


@dataclass(frozen=True, slots=True)
class Matches:
    """Matches between units, in the order of one measure, so that those within a threshold are the first ones."""

    value: NDArray[np.float64]  # (M,) ascending
    a: Units  # (M,)
    b: Units  # (M,)
    mirrored: NDArray[np.bool_]  # (M,)

    def within(self, threshold: float, *, mirrored: bool) -> tuple[Units, Units]:
        """The matches within a threshold, a (K,) and b (K,); those of mirror images only if asked for."""
        count = int(np.searchsorted(self.value, threshold, side="right"))
        wanted = slice(count) if mirrored else np.flatnonzero(~self.mirrored[:count])
        return self.a[wanted], self.b[wanted]


@dataclass(frozen=True, slots=True)
class Columns:
    """U units, their F files and the matches between them."""

    picture: Whole  # (U,) id
    content: Whole  # (U,) id of the content of a flat picture, else -1
    files: NDArray[np.int32]  # (U,) how many; 0 for a picture that no file shows any more
    kept_bytes: Whole  # (U,) size of the file to keep: of those with most pixels the largest
    all_bytes: Whole  # (U,) size of all files
    digest: NDArray[np.uint64]  # (U,) first 8 bytes of the smallest digest of a content
    file_unit: Units  # (F,)
    file_folder: Whole  # (F,) id
    matches: dict[str, Matches]  # by measure

    @property
    def memory_bytes(self) -> int:
        """How much memory the columns take."""
        columns = [getattr(self, name) for name in self.__slots__ if name != "matches"]
        columns += [getattr(some, name) for some in self.matches.values() for name in some.__slots__]
        return sum(column.nbytes for column in columns)


def load_columns(database: Database, roots: Sequence[bytes] | None = None) -> Columns:
    """Read all that any question may need; of files below the ``roots`` only, or of all (None). Raises StateError."""
    with database.snapshot():
        matched = _read_matches(database)
        shared = np.array(answers.shared_pictures(database), np.int64)
        pictures = _distinct(np.concatenate([matched.pictures.ravel(), shared]))
        flat = np.array(answers.flat_pictures(database), np.int64)
        folders = None if roots is None else np.array(answers.folders_under(database, roots), np.int64)
        files = _read_files(database, pictures, folders)
    return _arranged(files, flat, matched)


@dataclass(frozen=True, slots=True)
class _Matched:
    pictures: Whole  # (M, 2)
    mirrored: NDArray[np.bool_]  # (M,)
    values: NDArray[np.float64]  # (M, measures)


def _read_matches(database: Database) -> _Matched:
    parts = [np.array(rows, np.float64) for rows in answers.matches_in_parts(database)]
    rows = np.concatenate([np.empty((0, 3 + len(_MEASURES))), *parts])  # float64 holds ids exactly
    return _Matched(rows[:, :2].astype(np.int64), rows[:, 2] > 0, rows[:, 3:])


@dataclass(frozen=True, slots=True)
class _Files:
    """A row for each file, and one with content -1 for each matched picture that no file shows any more."""

    picture: Whole  # (F,) as all others
    content: Whole
    pixels: Whole
    size: Whole
    folder: Whole
    digest: NDArray[np.uint64]


def _read_files(database: Database, pictures: Whole, folders: Whole | None) -> _Files:
    """The files that show the ``pictures``, of all folders (None) or of some."""
    parts = [_as_columns(rows) for rows in answers.numbers_of_files(database, pictures.tolist()) if rows]
    if folders is not None:
        parts = [tuple(column[np.isin(part[_FOLDER], folders)] for column in part) for part in parts]
    shown = np.concatenate([np.empty(0, np.int64), *(part[0] for part in parts)])
    lost = pictures[~np.isin(pictures, shown)]
    nothing = np.full(len(lost), -1)
    parts.append((lost, nothing, nothing, 0 * nothing, nothing, nothing.astype(np.uint64)))
    return _Files(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _as_columns(rows: list[Row]) -> tuple[NDArray[Any], ...]:
    *numbers, _device, _inode, digests = zip(*rows, strict=True)
    digest = np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)
    return *(np.array(column, np.int64) for column in numbers), digest


def _distinct(ids: Whole) -> Whole:
    """Sorted, each once; twenty times as fast as `np.unique` of NumPy 2.4 on a million."""
    ascending = np.sort(ids)
    return np.compress(np.diff(ascending, prepend=-1), ascending)


def _arranged(files: _Files, flat: Whole, matched: _Matched) -> Columns:
    content = np.where(np.isin(files.picture, flat), files.content, -1)
    order = np.lexsort((-files.size, -files.pixels, content, files.picture))  # of each unit the file to keep first
    picture, content = files.picture[order], content[order]
    starts = np.flatnonzero((np.diff(picture, prepend=-1) != 0) | (np.diff(content, prepend=-1) != 0))
    kept = order[starts]
    by_rank = np.lexsort((-files.size[kept], -files.pixels[kept]))
    number = np.empty(len(kept), np.int32)
    number[by_rank] = np.arange(len(kept))
    counts = np.diff(starts, append=len(order))
    columns = Columns(
        picture=files.picture[kept][by_rank],
        content=content[starts][by_rank],
        files=np.add.reduceat(files.content[order] >= 0, starts, dtype=np.int32)[by_rank],
        kept_bytes=files.size[kept][by_rank],
        all_bytes=np.add.reduceat(files.size[order], starts)[by_rank],
        digest=np.minimum.reduceat(files.digest[order], starts)[by_rank],
        file_unit=np.repeat(number, counts),
        file_folder=files.folder[order],
        matches={},
    )
    _add_matches(columns, matched)
    return columns


def _add_matches(columns: Columns, matched: _Matched) -> None:
    joining = np.flatnonzero(columns.content < 0)  # flat pictures match nothing
    by_picture = joining[np.argsort(columns.picture[joining])].astype(np.int32)
    pictures = columns.picture[by_picture]
    known = np.isin(matched.pictures, pictures).all(axis=1)
    ends = by_picture[np.searchsorted(pictures, matched.pictures[known])]  # (M, 2)
    for place, measure in enumerate(_MEASURES):
        value = matched.values[known, place]
        if measure == "custom" and np.isnan(value).all():
            value = value[:0]  # there is no such measure
        order = np.argsort(value, kind="stable")
        columns.matches[measure] = Matches(value[order], ends[order, 0], ends[order, 1], matched.mirrored[known][order])
