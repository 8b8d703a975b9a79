"""What is kept of a file with several pictures, so that two can be compared: frames of an animation, or pages.

The decode worker makes a `Frames`; it is stored as a part of the proof. `agreement` compares two.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GREY_PX = 8  # side of what is kept of a frame
MAX_KEPT = 32  # frames, evenly spread over those that were looked at
DIGEST_BYTES = 16

_HEADER = struct.Struct(f"<IBBIB{DIGEST_BYTES}s")  # count, whole, pages, milliseconds, frames kept, digest
# Lossy conversions of an animation move a cell of 8 × 8 by a grey level or two; another one moves whole cells.
_MOST_LEVELS = 12  # in one cell of one frame
_MEAN_LEVELS = 3.0  # over all
# A conversion moves each frame about as far: by 9 levels at most if 4 are usual, by 2 if 1 is. A frame that moves
# further beside the others shows something else, such as a caption.
_LEVELS_BESIDE, _TIMES_USUAL = 2, 2
_DURATION_SHARE = 0.1  # GIF counts in hundredths of a second, and programs round


@dataclass(frozen=True, eq=False)
class Frames:
    """What is known of all pictures in a file of several."""

    count: int
    whole: bool  # the digest covers the pixels of every one of them
    pages: bool  # pages or single photos; frames of an animation if not
    milliseconds: int  # how long the animation takes, as far as it was looked at
    digest: bytes  # of all pixels and durations, or, if those were not all looked at, of the file
    greys: NDArray[np.uint8]  # (n, 8, 8), n ≤ MAX_KEPT
    is_damaged: bool = False  # one of them is broken, or missing; it is told with the file, and not stored here

    def to_bytes(self) -> bytes:
        """To be read by `from_bytes`; about 2 KB at most."""
        head = _HEADER.pack(self.count, self.whole, self.pages, self.milliseconds, len(self.greys), self.digest)
        return head + self.greys.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Frames":
        """Raises ValueError if these are not the bytes of such a record."""
        if len(data) < _HEADER.size:
            raise ValueError("what is kept of the frames is cut short")
        count, whole, pages, milliseconds, kept, digest = _HEADER.unpack_from(data)
        if len(data) != _HEADER.size + kept * GREY_PX**2 or kept > MAX_KEPT or count < 2:
            raise ValueError("what is kept of the frames does not have the size that it names")
        greys = np.frombuffer(data, np.uint8, offset=_HEADER.size).reshape(kept, GREY_PX, GREY_PX)
        return cls(count, bool(whole), bool(pages), milliseconds, digest, greys)


def agreement(a: Frames | None, b: Frames | None) -> bool | None:
    """Whether two files hold the same pictures besides the first; None stands for a file with a single one.

    True: the same, pixel by pixel. None: animations that seem to be the same, such as a GIF and the WebP made from it;
    neither may go on that ground alone. False: they differ, or one holds more than the other. Pages are the same only
    if their pixels are: a digit on one of them cannot be seen in what is kept.
    """
    if a is None or b is None:
        return a is b
    if a.count != b.count or a.pages != b.pages:
        return False
    if a.digest == b.digest:
        return True
    if a.pages or a.greys.shape != b.greys.shape or not len(a.greys):
        return False
    if abs(a.milliseconds - b.milliseconds) > _DURATION_SHARE * max(a.milliseconds, b.milliseconds):
        return False
    differences = np.abs(a.greys.astype(np.int16) - b.greys)
    worst = np.sort(differences.max(axis=(1, 2)))  # (n,) of each frame
    most = min(_MOST_LEVELS, _LEVELS_BESIDE + _TIMES_USUAL * int(worst[(len(worst) - 1) // 2]))
    return None if worst[-1] <= most and differences.mean() <= _MEAN_LEVELS else False
