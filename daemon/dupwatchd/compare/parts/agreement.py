"""When the keypoints of two pictures show that the pictures may share a part, and how one then lies on the other.

A keypoint of one picture and a keypoint of another *meet* if the squared distance of their coefficients is at most
`MOST_DISTANCE`. A meeting says by how many quarter turns, at what scale and where one picture would lie on the other.
Unrelated pictures have meetings too, but theirs contradict each other. Two meetings of the same two pictures *agree* if
they are of different keypoints in both pictures and

- need the same quarter turn,
- need scales whose ratio is at most 1.19, a quarter of an octave,
- and, after that turn, the way from the one keypoint to the other is the same in both pictures. Ways are measured in
  units of the two keypoints' mean scale in that picture, so that no scale has to be assumed. They may differ by 1.2
  units, or by two hundredths of the longer side of one of the pictures, whichever is more.

Two pictures are *candidates* if two of their meetings agree. The votes of a meeting are the keypoints, in the picture
that has fewer of them, of the meetings that agree with it, and its own; the meeting with most votes, and of several the
one with the smallest squared distance, tells how the pictures lie on each other.

A keypoint that meets more than `MOST_ALIKE` others of its own picture says nothing about where it is, and takes no
part: in stripes, dots and lines of text each keypoint would meet all those of every other such picture. That is the
case for 2 of 100,000 keypoints of photos.

All of this is decided in whole numbers, by the two pictures alone, and is the same whichever of them comes first.
"""

from dataclasses import dataclass

from dupwatchd.pixels.keypoints import Keypoints

MOST_DISTANCE = 161  # squared, of 16 coefficients: a hundredth of the square of 127
MOST_ALIKE = 3


@dataclass(frozen=True, slots=True)
class Placement:
    """How the second of two pictures lies on the first, in pixels of their proofs.

    The second is mirrored left to right if ``mirrored``, turned clockwise about its centre, and enlarged. Then its
    centre lies by ``dx`` widths of the first to the right of the first one's centre, and by ``dy`` heights below it.
    """

    turn_degrees: int  # 0, 90, 180 or 270
    mirrored: bool
    scale: float  # pixels of the first for each pixel of the second
    dx: float
    dy: float
    votes: int  # keypoints that agree on it; 2 or more
    distance: int  # the squared distances of the meetings that agree on it, summed


def placement_of(first: Keypoints, second: Keypoints) -> Placement | None:
    """How the second picture lies on the first; None if they are no candidates.

    With the pictures exchanged it is the inverse, apart from rounding.
    """
    # numba takes 0.3 s to load
    from dupwatchd.compare.parts.packed import Packed
    from dupwatchd.compare.parts.voting import placed

    both = Packed.of((0, 1), (first, second))
    return placed(both.picture(0), both.picture(1))
