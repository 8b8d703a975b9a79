"""What the parameters of difPy may be: values go in as difPy takes them, checked values and notes come out.

Raises what difPy raises: FileNotFoundError for a directory that is not there, else ValueError with one line that names
the parameter.
"""

import math
import os
from typing import get_args

import click

from dupwatchd.settings.model import IndexSettings

PRESETS: dict[str, float] = {"duplicates": 0, "similar": 5}  # what the words for `similarity` mean
DEFAULT_PX = 50
_PX_RANGE = (10, 5000)
_SIDES: tuple[int, ...] = get_args(IndexSettings.model_fields["thumbnail_px"].annotation)


def note(text: str) -> None:
    """Tell a person something beside the answer, on stderr; names of files in it must be printable already."""
    click.echo(f"dupwatch-difpy: {text}", err=True)


def directories(given: tuple[object, ...]) -> list[str]:
    """All arguments as texts or all as lists of texts; in order of names, as difPy searches them."""
    if given and all(isinstance(one, list | tuple) for one in given):
        names: list[object] = [name for some in given if isinstance(some, list | tuple) for name in some]
    else:
        names = list(given)
    texts = [name for name in names if isinstance(name, str)]
    if not texts or len(texts) < len(names):
        raise ValueError("directory: name at least one, as texts or as lists of texts")
    for name in texts:
        if not (os.path.isdir(name) or os.path.isfile(name)):
            raise FileNotFoundError(f'directory: "{name}" does not exist')
    if len(set(texts)) < len(texts):
        raise ValueError("directory: one is named twice")
    return sorted(texts)


def truth(name: str, given: object) -> bool:
    """A truth value."""
    if not isinstance(given, bool):
        raise ValueError(f"{name}: must be True or False, not {given!r}")  # noqa: TRY004 - one kind of error for all
    return given


def in_folder(given: object) -> bool | str:
    """A truth value, or ``"each"``: every single folder for itself, as difPy did before 4.1.2."""
    return "each" if given == "each" else truth("in_folder", given)


def similarity(given: object) -> float:
    """A threshold of mse: a number from 0 on, also as text, or one of the words."""
    if isinstance(given, str) and given in PRESETS:
        return PRESETS[given]
    threshold = math.nan
    if isinstance(given, str | int | float) and not isinstance(given, bool):
        try:
            threshold = float(given)
        except ValueError:
            pass  # a word that is neither
    if not threshold >= 0:
        raise ValueError(f"similarity: must be {' or '.join(map(repr, PRESETS))} or a number from 0 on, not {given!r}")
    return threshold


def whole_number(name: str, given: object, least: int, most: int | None = None) -> int:
    """A whole number in a range."""
    if isinstance(given, bool) or not isinstance(given, int) or given < least or (most is not None and given > most):
        limits = f"from {least} on" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name}: must be a whole number {limits}, not {given!r}")
    return given


def px_size(given: object) -> int:
    """The side of the compared pictures in px, as difPy takes it."""
    return whole_number("px_size", given, *_PX_RANGE)


def thumbnail_px(px: int) -> int:
    """The nearest side that thumbnails can have here; of two the larger one."""
    return min(_SIDES, key=lambda side: (abs(side - px), -side))


def processes(given: object) -> int:
    """How many worker processes; None: as many as there are processors."""
    most = os.cpu_count() or 1
    return most if given is None else whole_number("processes", given, 1, most)


def chunksize(given: object) -> int | None:
    """A number that had a meaning in difPy."""
    return None if given is None else whole_number("chunksize", given, 1)
