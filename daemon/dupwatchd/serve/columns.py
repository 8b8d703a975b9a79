"""Reads what is known of the files that may be copies of others, as columns of numbers.

In: the database. Out: `Columns`, about 100 bytes a file, which nobody changes any more.

A *unit* is what no question takes apart: a picture with all its files or, of a picture of which only equal bytes are
copies, one content with all its files. These are flat pictures and those of which there is no proof yet. The numbers of
units mean something within one `Columns` only; all else is named by its id in the database.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupwatchd.db import answers
from dupwatchd.db.connection import Database, Row
from dupwatchd.model import Verdict
from dupwatchd.serve.keep import ranks
from dupwatchd.serve.plan_families import RAW

_LAST = np.iinfo(np.int64).max  # the rank of a file that is none
_OWN_MEASURES = ("mse", "structure")
_MEASURES = (*_OWN_MEASURES, "custom")  # in the order of a row of `answers.matches_in_parts`
_DOES_NOT_COUNT = -1.0  # in place of a value
_FOLDER = 3  # the place of the folder in a row of `answers.numbers_of_files`
_NOT_LOOKED_AT, _NOT_TO_BE_LOOKED_AT = 0, -1  # in place of the code of a verdict

Whole = NDArray[np.int64]
Units = NDArray[np.int32]  # numbers of units


@dataclass(frozen=True, slots=True)
class Matches:
    """Matches between units, in the order of one measure, so that those within a threshold are the first ones.

    Those found by a part that both show count however far they are apart, and come before all others.
    """

    value: NDArray[np.float64]  # (M,) ascending; -1 if it does not count
    a: Units  # (M,)
    b: Units  # (M,)
    mirrored: NDArray[np.bool_]  # (M,)
    verdict: NDArray[np.int8]  # (M,) codes; 0: not looked at yet; -1: each of the two has many that are nearer

    def within(self, threshold: float, *, mirrored: bool, verdicts: Collection[Verdict] | None) -> tuple[Units, Units]:
        """The matches within a threshold that have one of these verdicts (None: any, or none yet), a (K,) and b (K,).

        Those of mirror images only if asked for.
        """
        wanted = self._of(threshold, mirrored=mirrored)
        if verdicts is not None:
            wanted = wanted[np.isin(self.verdict[wanted], [verdict.code for verdict in verdicts])]
        return self.a[wanted], self.b[wanted]

    def count_not_looked_at(self, threshold: float, *, mirrored: bool) -> tuple[int, int]:
        """How many pairs within a threshold were not looked at yet, and how many will not be."""
        verdicts = self.verdict[self._of(threshold, mirrored=mirrored)]
        return int(np.count_nonzero(verdicts == _NOT_LOOKED_AT)), int(
            np.count_nonzero(verdicts == _NOT_TO_BE_LOOKED_AT)
        )

    def _of(self, threshold: float, *, mirrored: bool) -> NDArray[np.intp]:
        count = int(np.searchsorted(self.value, threshold, side="right"))
        return np.arange(count) if mirrored else np.flatnonzero(~self.mirrored[:count])


@dataclass(frozen=True, slots=True)
class Columns:
    """U units, their F files and the matches between them."""

    picture: Whole  # (U,) id
    content: Whole  # (U,) id of the content where only equal bytes are copies, else -1
    files: NDArray[np.int32]  # (U,) how many; 0 for a picture that no file shows any more
    free_bytes: Whole  # (U,) the most that its files can free if the unit is looked at alone; see `ranking`
    shown_nearer: NDArray[np.bool_]  # (U,) whether it may be shown to be nearer the original than another one
    digest: NDArray[np.uint64]  # (U,) first 8 bytes of the smallest digest of a content
    file_unit: Units  # (F,)
    file_folder: Whole  # (F,) id
    file_bytes: Whole  # (F,)
    file_pixels: Whole  # (F,)
    file_rank: Whole  # (F,) as one to keep, see `keep.ranks`
    not_looked_at: int  # contents that may show what another one shows, but there is no proof of their picture yet
    matches: dict[str, Matches]  # by measure
    raw_folders: Mapping[bytes, int]  # the ids of folders that hold RAW photos, by path

    @property
    def memory_bytes(self) -> int:
        """How much memory the columns take."""
        columns = [getattr(self, name) for name in self.__slots__]
        columns += [getattr(some, name) for some in self.matches.values() for name in some.__slots__]
        return sum(column.nbytes for column in columns if isinstance(column, np.ndarray))


def load_columns(database: Database, roots: Sequence[bytes] | None = None) -> Columns:
    """Read all that any question may need; of files below the ``roots`` only, or of all (None). Raises StateError."""
    with database.snapshot():
        matched = _read_matches(database)
        shared = np.array(answers.shared_pictures(database), np.int64)
        pictures = _distinct(np.concatenate([matched.pictures.ravel(), shared]))
        apart = _Apart(
            np.array(answers.flat_pictures(database), np.int64),
            np.array(answers.pictures_without_proof(database), np.int64),
        )
        known = _Known(
            np.array(answers.pictures_known_the_same(database), np.int64),
            np.array(answers.pictures_shown_nearer(database) + answers.pictures_cropped(database), np.int64),
        )
        folders = None if roots is None else np.array(answers.folders_under(database, roots), np.int64)
        files = _read_files(database, pictures, folders)
        raw_folders = {path: number for number, path in answers.folders_of_format(database, RAW).items()}
    return _arranged(files, apart, known, matched, raw_folders)


def units_at(columns: Columns, contents: Sequence[tuple[int, int]]) -> list[int]:
    """The unit of each content, given as the ids of its picture and itself; -1 if it belongs to none."""
    pictures = np.array([picture for picture, _ in contents], np.int64)
    starts = np.searchsorted(columns.picture, pictures)
    ends = np.searchsorted(columns.picture, pictures, side="right")
    return [
        next((unit for unit in range(start, end) if columns.content[unit] in (-1, content)), -1)
        for (_, content), start, end in zip(contents, starts.tolist(), ends.tolist(), strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Apart:
    """The pictures of which only equal bytes are copies."""

    flat: Whole
    without_proof: Whole


@dataclass(frozen=True, slots=True)
class _Known:
    """The pictures that a closer look has found to be the same as another one, and those that may come before one."""

    the_same: Whole
    nearer: Whole


@dataclass(frozen=True, slots=True)
class _Matched:
    pictures: Whole  # (M, 2)
    mirrored: NDArray[np.bool_]  # (M,)
    values: NDArray[np.float64]  # (M, measures); -1 if it does not count
    verdict: NDArray[np.int8]  # (M,) codes, or 0, or -1; see `Matches`


def _read_matches(database: Database) -> _Matched:
    parts = [np.array(rows, np.float64) for rows in answers.matches_in_parts(database)]
    rows = np.concatenate([np.empty((0, 5 + len(_MEASURES))), *parts])  # float64 holds ids exactly
    values, verdict, by_parts = rows[:, 3:-2], rows[:, -2].astype(np.int8), rows[:, -1] > 0
    values[by_parts, : len(_OWN_MEASURES)] = _DOES_NOT_COUNT
    return _Matched(rows[:, :2].astype(np.int64), rows[:, 2] > 0, values, verdict)


@dataclass(frozen=True, slots=True)
class _Files:
    """A row for each file, and one with content -1 for each matched picture that no file shows any more."""

    picture: Whole  # (F,) as all others
    content: Whole
    size: Whole
    folder: Whole
    pixels: Whole
    rank: Whole  # as one to keep, see `keep.ranks`
    digest: NDArray[np.uint64]
    coded: NDArray[np.uint64]  # equal for files of one picture that hold it bit by bit


def _read_files(database: Database, pictures: Whole, folders: Whole | None) -> _Files:
    """The files that show the ``pictures``, of all folders (None) or of some."""
    parts = [_as_columns(rows) for rows in answers.numbers_of_files(database, pictures.tolist()) if rows]
    if folders is not None:
        parts = [tuple(column[np.isin(part[_FOLDER], folders)] for column in part) for part in parts]
    shown = np.concatenate([np.empty(0, np.int64), *(part[0] for part in parts)])
    lost = pictures[~np.isin(pictures, shown)]
    nothing = np.full(len(lost), -1)
    heads = nothing.astype(np.uint64)
    parts.append((lost, nothing, 0 * nothing, nothing, 0 * nothing, 0 * nothing + _LAST, heads, heads))
    return _Files(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _as_columns(rows: list[Row]) -> tuple[NDArray[Any], ...]:
    *numbers, formats, digests, coded = zip(*rows, strict=True)
    heads = (np.frombuffer(b"".join(some), ">u8").astype(np.uint64) for some in (digests, coded))
    picture, content, size, folder, damaged, frames, has_colour, from_camera, edited, jpeg_grid, lossless, pixels = (
        np.array(column, np.int64) for column in numbers
    )
    rank = ranks(damaged, frames, has_colour, from_camera, edited, jpeg_grid, lossless, pixels, formats)
    return picture, content, size, folder, pixels, rank, *heads


def _distinct(ids: Whole) -> Whole:
    """Sorted, each once; twenty times as fast as `np.unique` of NumPy 2.4 on a million."""
    ascending = np.sort(ids)
    return np.compress(np.diff(ascending, prepend=-1), ascending)


def _arranged(
    files: _Files, apart: _Apart, known: _Known, matched: _Matched, raw_folders: Mapping[bytes, int]
) -> Columns:
    by_content = np.isin(files.picture, np.concatenate([apart.flat, apart.without_proof]))
    content = np.where(by_content, files.content, -1)
    order = np.lexsort((files.size, files.coded, content, files.picture))  # of equal coded pixels the smallest first
    picture, content = files.picture[order], content[order]
    new = (np.diff(picture, prepend=-1) != 0) | (np.diff(content, prepend=-2) != 0)
    starts = np.flatnonzero(new)
    size, first = files.size[order], order[starts]
    first_coded = new | (np.diff(files.coded[order], prepend=np.uint64(0)) != 0)
    all_bytes = np.add.reduceat(size, starts)
    kept = np.add.reduceat(np.where(first_coded, size, 0), starts)
    digest = np.minimum.reduceat(files.digest[order], starts)
    number_of_files = np.add.reduceat(files.content[order] >= 0, starts, dtype=np.int32)
    all_free = np.isin(picture[starts], known.the_same) | _has_a_digest_of_another(files, order, starts)
    without_proof = np.isin(picture[starts], apart.without_proof)
    columns = Columns(
        picture=picture[starts],
        content=content[starts],
        files=number_of_files,
        free_bytes=np.where(all_free, all_bytes, all_bytes - kept),
        shown_nearer=np.isin(picture[starts], known.nearer) & (number_of_files > 0),
        digest=digest,
        file_unit=np.repeat(np.arange(len(starts), dtype=np.int32), np.diff(starts, append=len(order))),
        file_folder=files.folder[order],
        file_bytes=size,
        file_pixels=files.pixels[order],
        file_rank=files.rank[order],
        not_looked_at=int(without_proof.sum() - len(_distinct(files.picture[first][without_proof]))),
        matches={},
        raw_folders=raw_folders,
    )
    _add_matches(columns, apart, matched)
    return columns


def _has_a_digest_of_another(files: _Files, order: Whole, starts: Whole) -> NDArray[np.bool_]:
    """Which units (U,) may have a file with the bytes of a file of another unit, read in another way."""
    counts = np.diff(starts, append=len(order))
    unit, digest = np.repeat(np.arange(len(starts)), counts), files.digest[order]
    by_digest = np.lexsort((unit, digest))
    unit, digest = unit[by_digest], digest[by_digest]
    elsewhere = (np.diff(digest) == 0) & (np.diff(unit) != 0)
    found = np.zeros(len(starts), bool)
    found[unit[:-1][elsewhere]] = True
    found[unit[1:][elsewhere]] = True
    return found


def _add_matches(columns: Columns, apart: _Apart, matched: _Matched) -> None:
    """Put the matches of each measure in order.

    Our own measures only find what is to be looked at. So there are no matches of pictures that no file shows, nor of
    those without a proof: what was found of them before the proof was lost counts again once it is there.
    """
    plain = np.flatnonzero((columns.content < 0) & (columns.files > 0))
    for place, measure in enumerate(_OWN_MEASURES):
        _add(columns, measure, plain, matched, matched.values[:, place])
    not_flat = np.flatnonzero(~np.isin(columns.picture, apart.flat))
    first_of_picture = not_flat[np.flatnonzero(np.diff(columns.picture[not_flat], prepend=-1))]
    _add(columns, "custom", first_of_picture, matched, matched.values[:, 2])
    _join_files_of_one_picture(columns, not_flat)


def _add(
    columns: Columns,
    measure: str,
    units: NDArray[np.intp],
    matched: _Matched,
    value: NDArray[np.float64],
) -> None:
    """Add those of the matches that have a value and join two of the units, of which no two show one picture."""
    pictures = columns.picture[units]  # ascending, as units are
    known = ~np.isnan(value) & np.isin(matched.pictures, pictures).all(axis=1)
    ends = units[np.searchsorted(pictures, matched.pictures[known])].astype(np.int32)  # (M, 2)
    order = np.argsort(value[known], kind="stable")
    a, b = ends[order, 0], ends[order, 1]
    columns.matches[measure] = Matches(
        value[known][order], a, b, matched.mirrored[known][order], matched.verdict[known][order]
    )


def _join_files_of_one_picture(columns: Columns, units: NDArray[np.intp]) -> None:
    """For a measure of the user's own, which knows thumbnails only, files of one thumbnail are not apart."""
    neighbours = np.flatnonzero(np.diff(columns.picture[units]) == 0)
    a, b = units[neighbours].astype(np.int32), units[neighbours + 1].astype(np.int32)
    known, none = columns.matches["custom"], np.zeros(len(a), np.int8)
    columns.matches["custom"] = Matches(
        np.concatenate([np.full(len(a), -np.inf), known.value]),
        np.concatenate([a, known.a]),
        np.concatenate([b, known.b]),
        np.concatenate([none.astype(bool), known.mirrored]),
        np.concatenate([none, known.verdict]),
    )
