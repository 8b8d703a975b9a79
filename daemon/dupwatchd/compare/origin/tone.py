"""The tone curve that brings one picture's grey levels to another's: pictures may have been made brighter."""

import numpy as np

from dupwatchd.pixels.blocks import Floats

MIN_PIXELS = 500
MIN_LEVELS = 12
SAME_TONE = 1.0  # grey levels: less than this anywhere in the middle of the tones is no change
_LEVELS = np.arange(256, dtype=np.float32)


def toned(source: Floats, curve: Floats | None) -> Floats:
    """``source`` (any shape, 0 … 255) along a curve of `tone_curve`; itself for None."""
    if curve is None:
        return source
    result: Floats = np.polyval(curve, (source - 128) / 128).astype(np.float32)
    return result


def tone_curve(source: Floats, target: Floats) -> Floats | None:
    """The cubic that brings levels of one to those of the other; None where they agree or cannot be told.

    Both of one shape, 0 … 255. By medians, so that a caption does not bend it.
    """
    s, t = (np.rint(levels.ravel()[::3]).astype(np.int64) for levels in (source, target))
    inside = (s > 4) & (s < 251) & (t > 4) & (t < 251)  # clipped levels say nothing
    s, t = s[inside], t[inside]
    if len(s) < MIN_PIXELS:
        return None
    counts, means = _mean_levels(s, t)
    used = counts >= 8
    if used.sum() < MIN_LEVELS:
        return None
    x = (_LEVELS[used] - 128) / 128
    # The noise of the source bends the ends of the scale towards the middle: no more freedom than a cubic has.
    curve = np.polyfit(x, means[used], 3 if used.sum() >= 64 else 1, w=np.sqrt(counts[used]))
    levels = (np.quantile(s, [0.1, 0.3, 0.5, 0.7, 0.9]) - 128) / 128
    if np.abs(np.polyval(curve, levels) - (levels * 128 + 128)).max() < SAME_TONE:
        return None
    return curve.astype(np.float32)


def _mean_levels(s: np.ndarray, t: np.ndarray) -> tuple[Floats, Floats]:
    """For each source level: how many pixels, and the mean target level of those near its median."""
    table = (
        np.bincount(np.clip(s, 0, 255) * 256 + np.clip(t, 0, 255), minlength=65536).reshape(256, 256).astype(np.float32)
    )
    total = table.sum(axis=1)
    median = (table.cumsum(axis=1) >= total[:, None] / 2).argmax(axis=1)
    near = table * (np.abs(_LEVELS[None, :] - median[:, None]) <= 12)
    counts = near.sum(axis=1)
    return counts, (near @ _LEVELS) / np.maximum(counts, 1)
