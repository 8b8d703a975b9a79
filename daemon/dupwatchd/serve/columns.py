"""Arranges what is known of the files that may be copies of others, as columns of numbers.

In: rows as `rows.py` reads them. Out: `Columns`, about 100 bytes a file, which nobody changes any more.

A *unit* is what no question takes apart: a picture with all its files or, of a picture of which only equal bytes are
copies, one content with all its files. These are flat pictures and those of which there is no proof yet. The numbers of
units mean something within one `Columns` only; all else is named by its id in the database.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from dupwatchd.db.connection import Database
from dupwatchd.model import Verdict
from dupwatchd.serve.rows import OWN_MEASURES, Files, Matched, Rows, Whole, distinct, read_rows

_LAST = np.iinfo(np.int64).max  # the rank of a file that is none
_NOT_LOOKED_AT, _NOT_TO_BE_LOOKED_AT = 0, -1  # in place of the code of a verdict

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
    return arranged(read_rows(database, roots))


def units_at(columns: Columns, contents: Sequence[tuple[int, int]]) -> list[int]:
    """The unit of each content, given as the ids of its picture and itself; -1 if it belongs to none."""
    pictures = np.array([picture for picture, _ in contents], np.int64)
    starts = np.searchsorted(columns.picture, pictures)
    ends = np.searchsorted(columns.picture, pictures, side="right")
    return [
        next((unit for unit in range(start, end) if columns.content[unit] in (-1, content)), -1)
        for (_, content), start, end in zip(contents, starts.tolist(), ends.tolist(), strict=True)
    ]


def arranged(rows: Rows) -> Columns:
    """The columns of these rows, of which each may hold more pictures than are matched or shared."""
    files = _with_lost_ones(rows)
    by_content = np.isin(files.picture, np.concatenate([rows.flat, rows.without_proof]))
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
    all_free = np.isin(picture[starts], rows.the_same) | _has_a_digest_of_another(files, order, starts)
    without_proof = np.isin(picture[starts], rows.without_proof)
    columns = Columns(
        picture=picture[starts],
        content=content[starts],
        files=number_of_files,
        free_bytes=np.where(all_free, all_bytes, all_bytes - kept),
        shown_nearer=np.isin(picture[starts], rows.nearer) & (number_of_files > 0),
        digest=digest,
        file_unit=np.repeat(np.arange(len(starts), dtype=np.int32), np.diff(starts, append=len(order))),
        file_folder=files.folder[order],
        file_bytes=size,
        file_pixels=files.pixels[order],
        file_rank=files.rank[order],
        not_looked_at=int(without_proof.sum() - len(distinct(files.picture[first][without_proof]))),
        matches={},
        raw_folders=rows.raw_folders,
    )
    _add_matches(columns, rows)
    return columns


def _with_lost_ones(rows: Rows) -> Files:
    """A row for each file, and one with content -1 for each matched picture that no file shows any more."""
    pictures, files = rows.pictures, rows.files
    lost = pictures[~np.isin(pictures, files.picture)]
    nothing = np.full(len(lost), -1)
    heads = nothing.astype(np.uint64)
    more = (lost, nothing, 0 * nothing, nothing, 0 * nothing, 0 * nothing + _LAST, heads, heads)
    return Files(
        *(np.concatenate([getattr(files, one.name), two]) for one, two in zip(fields(files), more, strict=True))
    )


def _has_a_digest_of_another(files: Files, order: Whole, starts: Whole) -> NDArray[np.bool_]:
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


def _add_matches(columns: Columns, rows: Rows) -> None:
    """Put the matches of each measure in order.

    Our own measures only find what is to be looked at. So there are no matches of pictures that no file shows, nor of
    those without a proof: what was found of them before the proof was lost counts again once it is there.
    """
    plain = np.flatnonzero((columns.content < 0) & (columns.files > 0))
    matched = rows.matched
    for place, measure in enumerate(OWN_MEASURES):
        _add(columns, measure, plain, matched, matched.values[:, place])
    not_flat = np.flatnonzero(~np.isin(columns.picture, rows.flat))
    first_of_picture = not_flat[np.flatnonzero(np.diff(columns.picture[not_flat], prepend=-1))]
    _add(columns, "custom", first_of_picture, matched, matched.values[:, 2])
    _join_files_of_one_picture(columns, not_flat)


def _add(
    columns: Columns,
    measure: str,
    units: NDArray[np.intp],
    matched: Matched,
    value: NDArray[np.float64],
) -> None:
    """Add those of the matches that have a value and join two of the units, of which no two show one picture."""
    pictures = columns.picture[units]  # ascending, as units are
    known = np.flatnonzero(~np.isnan(value) & np.isin(matched.a, pictures) & np.isin(matched.b, pictures))
    known = known[np.argsort(value[known], kind="stable")]
    a, b = (units[np.searchsorted(pictures, ends[known])].astype(np.int32) for ends in (matched.a, matched.b))
    columns.matches[measure] = Matches(value[known], a, b, matched.mirrored[known], matched.verdict[known])


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
