"""The first loop of fast-diff-py: files are read into an index, and hashes of their thumbnails are made if asked for.

In: the settings of a job, and its files. Out: an index of them, what is known of each file, and hashes.
"""

import hashlib
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatch.progress import Bars
from dupwatchd.arrays import Thumbnail
from dupwatchd.compat.difpy_options import thumbnail_px
from dupwatchd.compat.fastdiff_config import Config
from dupwatchd.compat.fastdiff_files import real_paths, roots_of
from dupwatchd.compat.fastdiff_pairs import Files
from dupwatchd.compat.file_index import Index, OpenIndex
from dupwatchd.db import pictures
from dupwatchd.db.answers import Copy
from dupwatchd.settings import Settings, load

HashFunction = Callable[[Thumbnail], str]
_PICTURES_AT_ONCE = 1024
_NO_PICTURE = "it is no picture that can be read"
_MARK = "fast-diff-py"  # a file in the directory for thumbnails that a job has made, and may remove


class Row(NamedTuple):
    """A file that is to be read, as the table of files has it."""

    key: int
    path: str
    part_b: bool


def is_of_a_job(folder: str) -> bool:
    """Whether a job has made this directory for thumbnails: an index of dupwatch holds what people said as well."""
    return os.path.lexists(os.path.join(folder, _MARK))


def make_folder(folder: str) -> None:
    """Make the directory for thumbnails, unless a job has; raises ValueError if it holds anything else."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if os.listdir(folder) and not is_of_a_job(folder):
        raise ValueError(f"thumb_dir: {folder} holds something else; name a directory that is new or empty")
    with open(os.path.join(folder, _MARK), "ab"):
        pass


def index_of(config: Config, rows: Sequence[Row]) -> Index:
    """Return the index of some files, in the directory for thumbnails; raises UsageError."""
    paths = real_paths(row.path for row in rows)
    return Index(_settings(config), roots_of(paths), paths, if_stopped(config))


def if_stopped(config: Config) -> str:
    """Return what the user is told if a job is to stop."""
    return f"what is done is kept; `dupwatch-fastdiff -R {shlex.quote(str(config.config_path))}` goes on"


def _settings(config: Config) -> Settings:
    reading, comparing = config.first_loop, config.second_loop
    return load(
        {
            "state": config.thumb_dir,
            "index": {
                "thumbnail_px": thumbnail_px(config.compression_target),
                "workers": reading.cpu_proc if reading.parallel else 1,
            },
            "compare": {"device": "cuda" if comparing.gpu_proc else "cpu"},
        }
    )


def sizes_and_failures(
    index: OpenIndex, rows: Sequence[Row]
) -> tuple[list[tuple[int, int, int]], list[tuple[int, str]]]:
    """Return key, height and width in px of each file that was read, and key and reason of each that was not."""
    copies, failures = index.copies(), index.failures()
    read, failed = list[tuple[int, int, int]](), list[tuple[int, str]]()
    for row, path in zip(rows, real_paths(row.path for row in rows), strict=True):
        copy = copies.get(path)
        if copy is None:
            failed.append((row.key, failures.get(path, _NO_PICTURE)))
        else:
            read.append((row.key, copy.height, copy.width))
    return read, failed


def hashes_of(
    index: OpenIndex, rows: Sequence[Row], config: Config, hash_fn: HashFunction | None, bars: Bars
) -> dict[int, list[str]]:
    """Return the hashes of the thumbnail of each file that was read, by quarter turns counter-clockwise, by key."""
    copies = index.copies()
    paths = real_paths(row.path for row in rows)
    shown = {row.key: copies[path].picture_id for row, path in zip(rows, paths, strict=True) if path in copies}
    turns = 4 if config.rotate else 1
    shift = config.first_loop.shift_amount
    by_picture: dict[int, list[str]] = {}
    ids = sorted(set(shown.values()))
    bars.stage("hashing", len(ids), "pictures")
    for start in range(0, len(ids), _PICTURES_AT_ONCE):
        part = ids[start : start + _PICTURES_AT_ONCE]
        for picture, thumbnail in zip(part, _shifted(index.read_thumbnails(part), shift), strict=True):
            bgr = thumbnail[..., ::-1]  # OpenCV's order of channels: for that functions of users are made
            by_picture[picture] = [
                (hash_fn or _sha1)(np.ascontiguousarray(np.rot90(bgr, quarters))) for quarters in range(turns)
            ]
        bars.advance(len(part))
    return {key: by_picture[picture] for key, picture in shown.items()}


def _shifted(thumbnails: NDArray[np.uint8], amount: int) -> NDArray[np.uint8]:
    """Keep the upper bits of each value, or, with a negative amount, the lower ones."""
    if amount >= 0:
        return np.right_shift(thumbnails, np.uint8(amount))
    return np.left_shift(thumbnails, np.uint8(-amount))


def _sha1(array: Thumbnail) -> str:
    return hashlib.sha1(array.data, usedforsecurity=False).hexdigest()


def files_of(
    index: OpenIndex, rows: Sequence[Row], hash_keys: Mapping[int, Sequence[int | None]]
) -> tuple[list[int], Files]:
    """Return the keys of all files that were read, and what comparing needs to know of them, in the order of keys."""
    copies = index.copies()
    paths = real_paths(row.path for row in rows)
    found = [(row, path, copies[path]) for row, path in zip(rows, paths, strict=True) if path in copies]
    shown: list[Copy] = [copy for *_, copy in found]
    ids = [copy.picture_id for copy in shown]
    keys = [row.key for row, *_ in found]
    hashes = [[-1 if one is None else one for one in hash_keys.get(key, ())] for key in keys]
    width = max(map(len, hashes), default=0)
    return keys, Files(
        [path for _, path, _ in found],
        np.array([row.part_b for row, *_ in found], bool),
        np.array(ids, np.int64),
        np.array(list(_numbered(pictures.thumbnail_digests(index.database, ids))), np.int64),
        np.array([copy.height for copy in shown], np.int64),
        np.array([copy.width for copy in shown], np.int64),
        np.array([[*some, *[-1] * (width - len(some))] for some in hashes], np.int64).reshape(len(keys), width),
    )


def _numbered(values: Sequence[bytes]) -> Iterator[int]:
    numbers: dict[bytes, int] = {}
    for value in values:
        yield numbers.setdefault(value, len(numbers))
