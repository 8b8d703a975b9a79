"""The values at some places of sorted values, by the bits that they begin with.

numpy's partition takes ten times as long where many values are equal, as what is left between a picture and its plain
copy is. Whole numbers of 16 bits are sorted by counting, whose time does not depend on what they are. A few values are
sorted as a whole, before all that would have begun.
"""

import numpy as np

from dupwatchd.pixels.levels import Floats

_UNSIGNED = np.uint32(0x7FFFFFFF)
_FEW = 1024


def at_places(values: Floats, *places: int) -> list[float]:
    """What stands at these places of the values (N,) once they are sorted; none of them is below 0."""
    assert values.dtype == np.float32
    bits = values.view(np.uint32) & _UNSIGNED  # floats of one sign are in the order of their bits
    if len(bits) <= _FEW:
        bits.sort()
        few: list[float] = bits[list(places)].view(np.float32).tolist()
        return few
    upper = (bits >> np.uint32(16)).astype(np.uint16)
    in_order = np.sort(upper, kind="stable")
    found = np.empty(len(places), np.uint32)
    for number, place in enumerate(places):
        begin = in_order[place]
        alike = np.sort(bits[upper == begin].astype(np.uint16), kind="stable")
        found[number] = (int(begin) << 16) | int(alike[place - in_order.searchsorted(begin)])
    values_there: list[float] = found.view(np.float32).tolist()
    return values_there


def at_place(values: Floats, place: int) -> float:
    """What stands at one of them."""
    return at_places(values, place)[0]
