"""ICC profiles made from nothing, and what colours they mean."""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

D50 = (0.9642, 1.0, 0.8249)
# Columns: what full red, green and blue are in XYZ, adapted to D50.
_SRGB_TO_XYZ = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
_P3_TO_XYZ = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
# Paper, and what full cyan, magenta, yellow and black add to it, in L*, a* and b*.
_PAPER = np.array([100.0, 0.0, 0.0])
_INKS = np.array([[-25.0, -30.0, -40.0], [-27.0, 60.0, -5.0], [-8.0, 0.0, 70.0], [-40.0, 0.0, 0.0]])


def display_p3() -> bytes:
    """The colours of newer telephones and screens."""
    curve = b"para" + struct.pack(">IHH5i", 0, 3, 0, *map(_fixed, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)))
    columns = {name: _xyz(_P3_TO_XYZ[:, n]) for n, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return _profile(b"mntr", b"RGB ", b"XYZ ", columns | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def in_srgb_from_p3(rgb: ArrayLike) -> NDArray[np.float64]:
    """What the levels (…, 3) of a picture in Display P3 are in sRGB."""
    return _srgb_levels(_linear(np.asarray(rgb, float) / 255) @ _P3_TO_XYZ.T)


def grey(gamma: float) -> bytes:
    """Grey levels with a gamma of their own."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256))})


def in_srgb_from_grey(levels: ArrayLike, gamma: float) -> NDArray[np.float64]:
    """What grey levels are in sRGB; one number each."""
    return 255 * _encoded((np.asarray(levels, float) / 255) ** gamma)


def four_inks() -> bytes:
    """A press whose inks add up."""
    nodes = [[c, m, y, k] for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    lab = np.clip(_PAPER + np.array(nodes) @ _INKS, [0, -128, -128], [100, 127, 127])
    cells = np.rint(np.column_stack([lab[:, 0] * 2.55, lab[:, 1:] + 128])).astype(np.uint8).tobytes()
    unit = struct.pack(">9i", *(_fixed(float(n % 4 == 0)) for n in range(9)))
    straight = bytes(range(256))
    table = b"mft1" + struct.pack(">IBBBx", 0, 4, 3, 2) + unit + 4 * straight + cells + 3 * straight
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


def in_srgb_from_inks(inks: ArrayLike) -> NDArray[np.float64]:
    """What amounts of ink (…, 4), 0 … 255, are in sRGB."""
    lightness, a, b = np.moveaxis(_PAPER + np.asarray(inks, float) / 255 @ _INKS, -1, 0)
    y = (lightness + 16) / 116
    steps = np.stack([y + a / 500, y, y - b / 200], -1)
    xyz = np.where(steps > 6 / 29, steps**3, 3 * (6 / 29) ** 2 * (steps - 4 / 29)) * D50
    return _srgb_levels(xyz)


def _srgb_levels(xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 255 * _encoded(np.clip(xyz @ np.linalg.inv(_SRGB_TO_XYZ).T, 0, 1))


def _encoded(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    encoded: NDArray[np.float64] = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return encoded


def _linear(values: NDArray[np.float64]) -> NDArray[np.float64]:
    linear: NDArray[np.float64] = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return linear


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    description = b"desc" + struct.pack(">II", 0, 5) + b"Test\0" + bytes(78)
    tags = {b"desc": description, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": _xyz(D50), **tags}
    at = 128 + 4 + 12 * len(tags)
    table, contents = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", at + len(contents), len(content))
        contents += content + bytes(-len(content) % 4)
    head = struct.pack(">I4xI", at + len(contents), 0x02400000) + kind + space + connection
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(D50)[8:]
    return head.ljust(128, b"\0") + table + contents


def _xyz(values: Sequence[float] | NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *map(_fixed, values))


def _fixed(value: float) -> int:
    return round(value * 65536)
