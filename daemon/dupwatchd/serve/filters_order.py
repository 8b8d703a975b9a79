"""In which order clusters are shown, other than by what they free.

In: a question and the database. Out: for each cluster that somebody has looked at a whole number, larger ones first;
and for those that nobody has looked at yet a bound that this number cannot exceed. See `ranking` for what it is for.
"""

import datetime as dt
import os
from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dupwatchd.db import answers
from dupwatchd.db.answers import Copy
from dupwatchd.db.connection import Database
from dupwatchd.serve.clusters import Order
from dupwatchd.serve.columns import Columns, Units
from dupwatchd.serve.groups import Group
from dupwatchd.serve.rows import Whole

_EARLIEST = -(2**62)


class Ordering(NamedTuple):
    """What clusters are put in order by, the largest first."""

    value: Callable[[Group], int]
    bound: Callable[[Units], Whole] | None = None
    """The cluster of each unit (U,) → the most its value can be, (U,) by the unit that names it; None: bytes freed."""


def ordering(order: Order, columns: Columns, database: Database) -> Ordering:
    """How clusters are put in order. Raises StateError."""
    if order is Order.BYTES:
        return Ordering(lambda group: group.freed_bytes())
    if order is Order.FILES:
        return Ordering(lambda group: len(group.copies), lambda joined: _sums(columns.files, joined))
    if order is Order.FOLDER:
        return _by_folder(columns, database)
    latest = _latest_dates(columns, database)
    return Ordering(lambda group: date_seconds(group.copies[0]), lambda joined: _largest(latest, joined))


def date_seconds(copy: Copy) -> int:
    """When a photo was taken, by the clock of its camera, else when the file was modified, UTC: seconds since 1970."""
    return _seconds(copy.captured) if copy.captured else copy.mtime_ns // 10**9


def _seconds(captured: str) -> int:
    try:
        return int(dt.datetime.fromisoformat(captured).replace(tzinfo=dt.UTC).timestamp())
    except ValueError:
        return 0


def _by_folder(columns: Columns, database: Database) -> Ordering:
    known = answers.paths_of_folders(database)
    paths = sorted(known.values())
    place = {path: number for number, path in enumerate(paths)}
    ids = np.array(sorted(known), np.int64)
    places = np.array([place[known[number]] for number in ids.tolist()], np.int64)
    is_file = columns.file_folder >= 0  # else of a picture that no file shows
    of_file = np.full(len(columns.file_folder), _EARLIEST)
    of_file[is_file] = -places[np.searchsorted(ids, columns.file_folder[is_file])]

    def bound(joined: Units) -> Whole:
        first = np.full(len(joined), _EARLIEST)
        np.maximum.at(first, joined[columns.file_unit], of_file)
        return first

    return Ordering(lambda group: -bisect_left(paths, os.path.dirname(group.copies[0].path)), bound)


def _latest_dates(columns: Columns, database: Database) -> Whole:
    """The latest date of a file of each unit's picture: (U,)."""
    dates = {
        picture: max(_seconds(captured) if captured else _EARLIEST, _EARLIEST if mtime is None else mtime // 10**9)
        for picture, captured, mtime in answers.latest_dates_of_pictures(database)
    }
    return np.array([dates.get(picture, _EARLIEST) for picture in columns.picture.tolist()], np.int64)


def _sums(of_units: "np.typing.NDArray[np.int32]", joined: Units) -> Whole:
    sums: Whole = np.bincount(joined, of_units, len(joined)).astype(np.int64)
    return sums


def _largest(of_units: Whole, joined: Units) -> Whole:
    largest = np.full(len(joined), _EARLIEST)
    np.maximum.at(largest, joined, of_units)
    return largest
