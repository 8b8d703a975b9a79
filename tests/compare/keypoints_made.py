"""Keypoints that no photo is needed for: scattered ones, parts of them, and such as a search might stumble over."""

import numpy as np

from dupwatchd.pixels.keypoints import Keypoints

KINDS = ["random", "crowded", "equal", "constant", "extreme"]  # of `hostile`

PLACES, SCALES = 8, 256  # a pixel


def scattered(seed: int, count: int, width: int, height: int) -> Keypoints:
    """Keypoints all over a picture, hardly any two of which meet."""
    random = np.random.default_rng(seed)
    return Keypoints(
        width,
        height,
        random.integers(0, PLACES * width, count).astype(np.int16),
        random.integers(0, PLACES * height, count).astype(np.int16),
        (SCALES * np.exp2(random.uniform(1, 3.5, count))).astype(np.int16),
        random.integers(0, 256, count).astype(np.uint8),
        np.clip(np.rint(random.normal(0, 20, (count, 16))), -127, 127).astype(np.int8),
    )


def cropped(keypoints: Keypoints, *, left: int, top: int, width: int, height: int, scale: float) -> Keypoints:
    """Those that lie in a part of a picture, in pixels; the part is enlarged."""
    x, y = scale * (keypoints.x / PLACES - left + 0.5) - 0.5, scale * (keypoints.y / PLACES - top + 0.5) - 0.5
    kept = np.flatnonzero((x >= 0) & (y >= 0) & (x <= scale * width - 1) & (y <= scale * height - 1))
    return Keypoints(
        round(scale * width),
        round(scale * height),
        np.rint(PLACES * x[kept]).astype(np.int16),
        np.rint(PLACES * y[kept]).astype(np.int16),
        np.rint(scale * keypoints.scale[kept]).astype(np.int16),
        keypoints.turn[kept],
        keypoints.coefficients[kept],
    )


def turned(keypoints: Keypoints, quarters: int) -> Keypoints:
    """Those of the picture after quarter turns clockwise."""
    for _ in range(quarters):
        keypoints = Keypoints(
            keypoints.height,
            keypoints.width,
            (PLACES * (keypoints.height - 1) - keypoints.y).astype(np.int16),
            keypoints.x,
            keypoints.scale,
            keypoints.turn - np.uint8(64),
            keypoints.coefficients,
        )
    return keypoints


def leaning(keypoints: Keypoints, degrees: float) -> Keypoints:
    """Those of the picture after a turn clockwise about its middle, as far as whole numbers tell, on larger ground."""
    side = 2 * max(keypoints.width, keypoints.height)
    middle = complex(keypoints.width - 1, keypoints.height - 1) / 2
    places = keypoints.x / PLACES + 1j * keypoints.y / PLACES - middle
    moved = places * np.exp(1j * np.radians(degrees)) + complex(side - 1, side - 1) / 2
    turn = (keypoints.turn - np.rint(degrees * 256 / 360).astype(int)) % 256
    return Keypoints(
        side,
        side,
        np.rint(PLACES * moved.real).astype(np.int16),
        np.rint(PLACES * moved.imag).astype(np.int16),
        keypoints.scale,
        turn.astype(np.uint8),
        keypoints.coefficients,
    )


def hostile(seed: int, kind: str) -> Keypoints:
    """Up to twelve keypoints of a kind that meets others too often, at the bounds, or with extreme values."""
    random = np.random.default_rng(seed)
    count = int(random.integers(0, 13))
    if kind == "extreme":
        most = 4096
        return Keypoints(
            most,
            most,
            random.choice(np.array([0, 1, 8 * most - 9, 8 * most - 1], np.int16), count),
            random.choice(np.array([0, 1, 8 * most - 9, 8 * most - 1], np.int16), count),
            random.choice(np.array([1, 2, 32767], np.int16), count),
            random.choice(np.array([0, 1, 6, 128, 255], np.uint8), count),
            np.resize(np.array([-127, 0, 127], np.int8), (count, 1)).repeat(16, axis=1),
        )
    width, height = random.integers(20, 260, 2).tolist()
    made = scattered(seed, count, width, height)
    spread = {"random": 4.2, "crowded": 1.7, "equal": 0.0, "constant": 0.0}[kind]
    # most keypoints meet one in four or five of all others
    middle = np.zeros((1, 16)) if kind == "constant" else np.eye(16)[: random.integers(4, 6)] * random.choice([60, 112])
    coefficients = np.rint(middle[np.arange(count) % len(middle)] + random.normal(0, spread, (count, 16)))
    # few scales and turns, so that many agree
    scale = (SCALES * 2 * np.exp2(random.integers(0, 9, count) / 16)).astype(np.int16)
    turn = random.choice(np.array([0, 0, 3, 5, 6, 64, 200, 254], np.uint8), count)
    return Keypoints(width, height, made.x, made.y, scale, turn, coefficients.astype(np.int8))
