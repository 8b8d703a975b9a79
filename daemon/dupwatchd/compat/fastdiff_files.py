"""Which files the directories of fast-diff-py mean: directories go in, files come out, those passed over as well.

Links are not followed, and are passed over: what lies behind a link is another name of a file, and of two names of one
file none is a copy. (So a loop of links is no trouble.)
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dupwatchd.compat.fastdiff_config import Config
from dupwatchd.paths import outermost


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as the table `directory` has it."""

    path: str
    allowed: bool  # whether it is read
    size_bytes: int = -1
    created: float = -1  # st_ctime, s since 1970
    dir_index: int = -1  # of the directory it was found under; -1: of none


def check_directories(config: Config) -> None:
    """Raise FileNotFoundError for what is no directory, ValueError if one is named twice or lies in another one."""
    directories = [os.path.realpath(one) for part in config.parts for one in part]
    for directory in directories:
        if not os.path.isdir(directory):
            raise FileNotFoundError(f"no such directory: {directory}")
    for place, one in enumerate(directories):
        for other in directories[place + 1 :]:
            if one == other:
                raise ValueError(f"{one} is named twice")
            inside = [tuple(sorted((one, other), key=len))] if config.recurse else []
            for outer, inner in inside:
                if inner.startswith(outer.rstrip("/") + "/"):
                    raise ValueError(f"{inner} lies inside {outer}: all files in it would be read twice")


def walk(directory: str, dir_index: int, config: Config) -> Iterator[Listed]:
    """Yield all files of a directory, those of each folder in order of names and before those of folders below it."""
    ignored_paths, ignored_names = set(config.ignore_paths), set(config.ignore_names)
    suffixes = {one.lower() for one in config.allowed_file_extensions}
    unlisted: list[OSError] = []
    for parent, folders, names in os.walk(os.path.abspath(directory), onerror=unlisted.append):
        links = [one for one in folders if os.path.islink(os.path.join(parent, one))]
        for name in sorted([*names, *links]):
            path = os.path.join(parent, name)
            is_meant = name not in ignored_names and path not in ignored_paths
            yield _listed(path, dir_index, is_wanted=is_meant and os.path.splitext(name)[1].lower() in suffixes)
        left_out = {os.path.abspath(config.thumb_dir)} if config.thumb_dir else set()
        folders[:] = sorted(
            one
            for one in folders
            if config.recurse
            and one not in ignored_names
            and not {path := os.path.join(parent, one)} & (ignored_paths | left_out)
            and not os.path.islink(path)
        )
    for error in unlisted:
        yield Listed(os.fspath(error.filename), allowed=False, dir_index=dir_index)


def listed(paths: Iterable[str], suffixes: Sequence[str] | None) -> Iterator[Listed]:
    """Yield files that are named one by one; ``suffixes`` None: whatever their names end with."""
    wanted = None if suffixes is None else {one.lower() for one in suffixes}
    for path in paths:
        yield _listed(path, -1, is_wanted=wanted is None or os.path.splitext(path)[1].lower() in wanted)


def real_paths(paths: Iterable[str]) -> list[bytes]:
    """Return paths without links in their folders, as the index knows them."""
    real: dict[str, bytes] = {}  # each folder is looked up once
    found = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in real:
            real[folder] = os.fsencode(os.path.realpath(folder))
        found.append(os.path.join(real[folder], os.fsencode(name)))
    return found


def roots_of(paths: Iterable[bytes]) -> list[bytes]:
    """Return folders below which all these files lie, none inside another."""
    return outermost({os.path.dirname(path) for path in paths})


def _listed(path: str, dir_index: int, *, is_wanted: bool) -> Listed:
    try:
        status = os.lstat(path)
    except OSError:
        return Listed(path, allowed=False, dir_index=dir_index)
    return Listed(path, is_wanted and stat.S_ISREG(status.st_mode), status.st_size, status.st_ctime, dir_index)
