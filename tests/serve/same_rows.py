"""Whether rows that were read step by step are those that are read at once, and make the same columns."""

from dataclasses import fields

import numpy as np

from dupwatchd.serve.columns import Columns, arranged
from dupwatchd.serve.rows import Rows


def assert_same(one: Rows, other: Rows) -> None:
    for part in fields(Rows):
        mine, theirs = getattr(one, part.name), getattr(other, part.name)
        if part.name == "files":
            assert sorted(zip(*as_lists(mine), strict=True)) == sorted(zip(*as_lists(theirs), strict=True))
        elif part.name == "matched":
            assert list(map(repr, as_lists(mine))) == list(map(repr, as_lists(theirs)))
        elif part.name == "raw_folders":
            assert mine == theirs
        else:
            np.testing.assert_array_equal(mine, theirs)
    assert as_told(arranged(one)) == as_told(arranged(other))


def as_lists(table: object) -> list[list[object]]:
    return [getattr(table, name).tolist() for name in table.__slots__]  # type: ignore[attr-defined]


def as_told(columns: Columns) -> dict[str, object]:
    """The columns; the files of a unit, of which the order says nothing, in one that does not depend on it."""
    told = {one.name: getattr(columns, one.name) for one in fields(Columns)}
    files = [told.pop(name) for name in ("file_unit", "file_folder", "file_bytes", "file_pixels", "file_rank")]
    matches = {name: repr(as_lists(some)) for name, some in told.pop("matches").items()}
    lists = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in told.items()}
    return {**lists, "files": sorted(zip(*(column.tolist() for column in files), strict=True)), "matches": matches}
