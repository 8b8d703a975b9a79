"""Reads databases of fast-diff-py for other programs: pairs and clusters as CSV or NDJSON, and known pairs verified.

In: a database, whichever program made it. Out: rows as dictionaries, and their text on a stream.
"""

import csv
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TextIO

from dupwatch.json_text import json_line
from dupwatch.progress import Bars
from dupwatchd.compat.difpy_options import thumbnail_px
from dupwatchd.compat.fastdiff_db import VIEWS, SQLiteDB
from dupwatchd.compat.fastdiff_files import real_paths, roots_of
from dupwatchd.compat.fastdiff_pairs import CHANNELS
from dupwatchd.compat.file_index import Index, OpenIndex
from dupwatchd.compat.pairs import mse_of
from dupwatchd.db import answers, contents
from dupwatchd.db.answers import Copy
from dupwatchd.serve.spare import Looks
from dupwatchd.settings import load

Row = Mapping[str, str | float | bool | None]
_PAIRS_AT_ONCE = 256
_KNOWN = ("path_a", "path_b", "dif")  # of a pair in a database
VERIFIED = (*_KNOWN, "dif_now", "verdict", "confirmed")  # the columns of `verified`


def columns_of(what: str) -> tuple[str, ...]:
    """Return the names of the columns of one of `VIEWS`."""
    empty = SQLiteDB(":memory:")
    empty.create_tables()
    return tuple(column for column, *_ in empty.connection.execute(VIEWS[what]).description)


def rows_of(database: SQLiteDB, what: str) -> Iterator[Row]:
    """Return the rows of one of `VIEWS`, by name of column; raises ValueError for a database without its tables."""
    if not database.dir_table_exists():
        raise ValueError(f"{database.path} is no database of fast-diff-py: it has no table of files")
    tables = {name for (name,) in database.connection.execute("SELECT name FROM sqlite_master")}
    needed = {"pairs": "dif_table", "clusters_a": "dif_table", "clusters_b": "dif_table", "hash_clusters": "hash_table"}
    if what in needed and needed[what] not in tables:
        return iter(())  # a job that did not come so far, or for which nobody asked for hashes
    found = database.connection.execute(VIEWS[what])
    names = [column for column, *_ in found.description]
    return (dict(zip(names, row, strict=True)) for row in found)


def verified(database: SQLiteDB, state: str | None, bars: Bars, side_px: int = 64) -> Iterator[Row]:
    """Yield the known pairs with their old difference, and what they are by our own look at the files as they are now.

    `dif_now` is the difference of thumbnails of this side in px, in the same unit; `verdict` and `confirmed` are as in
    `dupwatch clusters`; they are None if the pair was not found to be one picture, and so is `dif_now` if a file cannot
    be read. The index is kept in ``state``. Raises DupwatchError.
    """
    pairs = list(rows_of(database, "pairs"))
    paths = set(real_paths(str(row[name]) for row in pairs for name in ("path_a", "path_b")))
    with tempfile.TemporaryDirectory(prefix="dupwatch-fastdiff-") as temporary:
        settings = load({"state": state or temporary, "index": {"thumbnail_px": thumbnail_px(side_px)}})
        left = "what was read is kept" if state else "nothing is kept; with --temp_dir it could go on"
        index_of_files = Index(settings, roots_of(paths), paths, left)
        if not pairs:
            return
        with index_of_files.opened(bars, update=True, verdicts=True) as index:
            copies = index.copies()
            pairs_of_pictures = answers.pairs_to_confirm(index.database, index.roots)
            several = contents.to_tell(index.database, index.roots)
            if pairs_of_pictures or several:
                index.intake().looking.confirm(pairs_of_pictures, several)
            looks = _looks(index, copies)
            remaining = iter(pairs)
            while part := list(islice(remaining, _PAIRS_AT_ONCE)):
                yield from _verified(part, copies, looks, index)


def _looks(index: OpenIndex, copies: Mapping[bytes, Copy]) -> Looks:
    ids = {copy.picture_id for copy in copies.values()}
    without_proof = set(answers.pictures_without_proof(index.database))
    return Looks(
        answers.looks_between(index.database, ids),
        mirrored=False,
        without_proof=without_proof,
        of_contents=contents.looks_at_contents(index.database, ids),
    )


def _verified(pairs: list[Row], copies: Mapping[bytes, Copy], looks: Looks, index: OpenIndex) -> Iterator[Row]:
    first, second = (real_paths(str(row[name]) for row in pairs) for name in ("path_a", "path_b"))
    found = [(copies.get(one), copies.get(other)) for one, other in zip(first, second, strict=True)]
    both = [(one, other) for one, other in found if one is not None and other is not None]
    shown, others = (index.read_thumbnails([pair[place].picture_id for pair in both]) for place in (0, 1))
    measured = iter((CHANNELS * mse_of(shown, others, rotate=True)).tolist() if both else [])
    for row, (one, other) in zip(pairs, found, strict=True):
        known = {name: row[name] for name in _KNOWN}
        if one is None or other is None:
            yield {**known, "dif_now": None, "verdict": None, "confirmed": None}
            continue
        told = looks.told(one, other)
        yield {
            **known,
            "dif_now": next(measured),
            "verdict": None if told.verdict is None else told.verdict.value,
            "confirmed": told.confirmed,
        }


def write(rows: Iterable[Row], columns: Sequence[str], form: str, stream: TextIO) -> None:
    """Write rows as CSV with a header, also if there are none, or as a line of JSON each."""
    if form == "ndjson":
        stream.writelines(json_line(row) + "\n" for row in rows)
        return
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _csv_text(value) for name, value in row.items()})


def _csv_text(value: str | float | bool | None) -> str | float | None:
    return str(value).lower() if isinstance(value, bool) else value
