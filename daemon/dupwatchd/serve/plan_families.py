"""Which files belong to one shot: a RAW photo and the pictures that the camera, or a program, has put beside it.

In: the names in a folder. Out: for a file the others of its shot, RAW ones of a picture and pictures of a RAW one.
"""

import os
from collections.abc import Iterator, Mapping, Sequence

from dupwatchd.db.answers import Copy

RAW = "RAW"


def shot_of(path: bytes) -> tuple[bytes, bytes]:
    """The folder of a file, and its name without suffix in small letters: what files of one shot have in common."""
    folder, name = os.path.split(path)
    return folder, os.path.splitext(name)[0].lower()


def spellings(stem: bytes) -> set[bytes]:
    """How cameras and programs write one name: as it is, in small letters, in capitals, with one capital."""
    return {stem, stem.lower(), stem.upper(), stem.capitalize()}


class Families:
    """The shots of some files."""

    def __init__(self, beside: Mapping[bytes, Sequence[Copy]]) -> None:
        """``beside``: for each file that is part of a shot the RAW photos, or else the pictures, of that; by path."""
        self._beside = beside

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._beside)

    def beside(self, path: bytes) -> Sequence[Copy]:
        """The RAW photos beside a picture, or the pictures beside a RAW photo."""
        return self._beside.get(path, ())

    def is_one_shot(self, path: bytes, other: bytes) -> bool:
        """Do these two belong to one shot?"""
        return path in self._beside and shot_of(path) == shot_of(other)


NO_FAMILIES = Families({})


def partners(files: Sequence[Copy]) -> Iterator[tuple[bytes, list[Copy]]]:
    """For each of the files of one shot the others that are of the other kind, if there are any."""
    for copy in files:
        others = [other for other in files if (other.format == RAW) != (copy.format == RAW)]
        if others:
            yield copy.path, others
