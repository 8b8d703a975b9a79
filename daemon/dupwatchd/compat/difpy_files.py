"""Which files the arguments of difPy mean: directories and files go in, the files to be searched come out.

Names with a leading dot are passed over, as by the patterns that difPy uses. Links are not followed: what lies behind a
link is another name of a file, and of two names of one file none is a copy. What is left out is told with its reason.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dupwatchd.paths import outermost

# The suffixes that difPy takes for those of pictures, without their dot.
EXTENSIONS = frozenset([
    "apng", "bw", "cdf", "cur", "dcx", "dds", "dib", "emf", "eps", "fli", "flc", "fpx", "ftex", "fits", "gd", "gd2",
    "gif", "gbr", "icb", "icns", "iim", "ico", "im", "imt", "j2k", "jfif", "jfi", "jif", "jp2", "jpe", "jpeg", "jpg",
    "jpm", "jpf", "jpx", "mic", "mpo", "msp", "nc", "pbm", "pcd", "pcx", "pgm", "png", "ppm", "psd", "pixar", "ras",
    "rgb", "rgba", "sgi", "spi", "spider", "sun", "tga", "tif", "tiff", "vda", "vst", "wal", "webp", "xbm", "xpm",
])  # fmt: skip
UNSUPPORTED = "Unsupported file type"
_LINK = "symbolic link: not followed"


@dataclass(frozen=True, slots=True)
class File:
    """A file to be searched."""

    shown: str  # as it is called in results: below the argument as it was given
    path: bytes  # absolute, without links
    folder: str = ""  # matches are looked for among files of one folder; empty: among all


@dataclass
class Files:
    """What the arguments mean."""

    files: list[File] = field(default_factory=list)  # in the order of results
    left_out: dict[str, str] = field(default_factory=dict)  # path as shown → why
    roots: list[bytes] = field(default_factory=list)  # folders below which the files lie, none inside another


def find_files(arguments: Sequence[str], *, recursive: bool, in_folder: bool | str, limit_extensions: bool) -> Files:
    """Find the files that are meant, those of the first argument first.

    Each folder comes in order of names, its own files before those of folders below it.
    ``in_folder`` True: each argument for itself; ``"each"``: every single folder. A file that two arguments mean is
    searched once, or once for each of them if they are searched apart.
    """
    found = Files(roots=roots_of(arguments))
    seen: set[tuple[bytes, str]] = set()
    for argument in arguments:
        is_folder = os.path.isdir(argument)
        for shown, path, why_not in _below(argument, recursive=recursive) if is_folder else [_one(argument)]:
            if why_not is None and limit_extensions and shown.rpartition(".")[2].lower() not in EXTENSIONS:
                why_not = UNSUPPORTED
            if why_not is not None:
                found.left_out[shown] = why_not
                continue
            folder = os.path.dirname(shown) if in_folder == "each" else os.path.normpath(argument) if in_folder else ""
            if (path, folder) not in seen:
                seen.add((path, folder))
                found.files.append(File(shown, path, folder))
    return found


def roots_of(arguments: Sequence[str]) -> list[bytes]:
    """Return the folders below which all files lie that the arguments may mean, none inside another."""
    folders = [one if os.path.isdir(one) else os.path.dirname(one) or "." for one in arguments]
    return outermost(os.fsencode(os.path.realpath(folder)) for folder in folders)


def _one(argument: str) -> tuple[str, bytes, str | None]:
    folder, name = os.path.split(os.path.normpath(argument))
    path = os.path.join(os.fsencode(os.path.realpath(folder or ".")), os.fsencode(name))
    return os.path.normpath(argument), path, _why_not(argument)


def _below(argument: str, *, recursive: bool) -> Iterator[tuple[str, bytes, str | None]]:
    """Yield of all that lies in a folder: the name in results, the path, and why it is left out, if it is."""
    top, real = os.path.normpath(argument), os.fsencode(os.path.realpath(argument))
    unlisted: list[OSError] = []
    for parent, folders, names in os.walk(argument, onerror=unlisted.append):
        folders[:] = sorted(_visible(folders)) if recursive else []
        below = os.path.relpath(parent, argument)
        for name in sorted([*_visible(names), *(one for one in folders if os.path.islink(os.path.join(parent, one)))]):
            whole = os.path.normpath(os.path.join(below, name))
            yield (
                os.path.normpath(os.path.join(top, whole)),
                os.path.join(real, os.fsencode(whole)),
                _why_not(os.path.join(parent, name)),
            )
    for error in unlisted:
        folder = os.path.normpath(str(error.filename))
        yield folder, os.fsencode(folder), f"cannot be listed: {error.strerror}"


def _visible(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith(".")]


def _why_not(path: str) -> str | None:
    try:
        mode = os.lstat(path).st_mode
    except OSError as error:
        return error.strerror or str(error)
    if stat.S_ISLNK(mode):
        return _LINK
    return None if stat.S_ISREG(mode) else "no regular file"
