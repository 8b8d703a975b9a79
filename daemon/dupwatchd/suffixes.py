"""What the suffix of a path promises, for the service; the suffixes themselves are those of `dupwatch.suffixes`."""

import os
from functools import lru_cache

from dupwatch.suffixes import IMAGE_SUFFIXES, RAW_SUFFIXES, suffix_of_name


@lru_cache(maxsize=4096)  # of a file that is taken in it is asked for six times
def suffix(path: bytes) -> bytes:
    """The lower-case suffix of a path with its dot, or nothing; a number behind it does not count."""
    return os.fsencode(suffix_of_name(os.fsdecode(path[path.rfind(b"/") + 1 :])))


def claims_to_be_a_picture(path: bytes) -> bool:
    """Whether the suffix of a path is one of pictures."""
    return suffix(path) in IMAGE_SUFFIXES or suffix(path) in RAW_SUFFIXES


def way_of_reading(path: bytes) -> int:
    """Which reading a name asks for that the bytes do not tell: 1 camera raw, 2 Targa, 0 all else."""
    if suffix(path) in RAW_SUFFIXES:
        return 1
    return 2 if suffix(path) in (b".tga", b".tpic") else 0
