"""Where a photo was taken, from the fractions that EXIF holds."""

import struct

import pytest

from dupwatchd.index.places import is_place, is_zero, place

NORTH, EAST = (48, 1, 8, 1, 1374, 100), (11, 1, 34, 1, 3144, 100)


def fractions(*numbers: int, order: str = "<") -> bytes:
    return struct.pack(f"{order}{len(numbers)}I", *numbers)


def test_a_place_is_in_degrees_in_either_order_of_bytes() -> None:
    for order in "<>":
        north, east = (fractions(*one, order=order) for one in (NORTH, EAST))
        assert place(order, north, b"N\0", east, b"E\0") == "48.13715, 11.57540"
        assert place(order, north, b"S", east, b"W") == "-48.13715, -11.57540"


def test_zeros_are_what_a_device_writes_that_does_not_know_where_it_is() -> None:
    assert is_zero(None)
    assert is_zero(fractions(0, 1, 0, 1, 0, 1))
    assert is_zero(fractions(0, 0, 0, 0))
    assert not is_zero(fractions(0, 1, 0, 1, 1, 100))


@pytest.mark.parametrize(
    ("north", "east", "expected"),
    [
        ((4813715, 100000), (1157540, 100000), "48.13715, 11.57540"),  # degrees alone
        ((48, 1, 822, 100), (11, 1, 3452, 100, 0, 0), "48.13700, 11.57533"),  # no seconds, or none that are known
        ((0, 1, 0, 1, 0, 1), (0, 1, 0, 1, 0, 1), ""),
        ((0, 0, 0, 0, 0, 0), EAST, ""),
        ((48, 1, 8, 0, 0, 1), EAST, ""),
        ((91, 1), EAST, ""),
        (NORTH, (2**32 - 1, 1), ""),
        ((), EAST, ""),
        (NORTH, (11,), ""),
    ],
)
def test_what_makes_no_sense_is_no_place(north: tuple[int, ...], east: tuple[int, ...], expected: str) -> None:
    found = place("<", fractions(*north), b"N", fractions(*east), b"E")
    assert found == expected
    assert is_place(found)


def test_without_its_hemispheres_a_place_is_not_known() -> None:
    north, east = fractions(*NORTH), fractions(*EAST)
    assert {place("<", north, side, east, b"E") for side in (None, b"", b"X", 7)} == {""}
    assert place("<", None, b"N", east, b"E") == place("<", 48, b"N", 11, b"E") == ""
    assert not any(map(is_place, (None, 7, "48", "48.13715,11.57540", "48.13715, 11.57540 ", "x" * 99)))
