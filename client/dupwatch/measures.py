"""Where an answer says how far two pictures are apart.

In: a file of an answer, and the measure that was asked for. Out: the value.
"""

from collections.abc import Mapping
from typing import Any

OWN_MEASURES = ("mse", "structure")


def distance_of(file: Mapping[str, Any], measure: str) -> float | None:
    """Return how far a file is from the one it is compared with, in the measure asked for; None if that is not told.

    What a measure of the user's own says (``package.module:name``) stands under "custom".
    """
    value: float | None = file.get(measure if measure in OWN_MEASURES else "custom")
    return value
