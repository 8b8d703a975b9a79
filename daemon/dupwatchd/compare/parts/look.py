"""What two pictures that seem to share a part are to one another: as they are, or by what lies within a frame."""

from dataclasses import replace

from dupwatchd.compare.parts.agreement import Placement
from dupwatchd.compare.parts.placed import NOTHING_DIFFERS, PartSeen, look_as_placed
from dupwatchd.compare.parts.within import Inner, look_within, look_within_circle, look_within_frame
from dupwatchd.compare.verdict.verdict import WHOLE
from dupwatchd.model import Verdict
from dupwatchd.pixels.proof import Proof


def look_at_part(first: Proof, second: Proof, placement: Placement) -> PartSeen:
    """Compares two proofs of which the second lies on the first as the placement says.

    The outline is that of the one that shows less within the other: x and y of its upper left, upper right, lower right
    and lower left corner, as fractions of the width and the height of the other. If neither shows more, it is that of
    the second within the first. Of one that was cut and then framed, or of two in different frames, it is that of what
    lies within the frame.
    """
    seen = look_as_placed(first, second, placement)
    whole = seen.seen is not None and min(seen.seen.shared) >= WHOLE  # what differs may be written on a margin
    if seen.verdict in NOTHING_DIFFERS or whole:
        return seen
    inner = [Inner.of(proof) for proof in (first, second)]
    if not all(one.is_whole for one in inner):
        within = look_within(inner[0], inner[1], placement)
        if within is not None:
            if seen.is_framed and within.shows_more == 0:  # beside a frame it was laid a little less well
                return replace(seen, verdict=Verdict.CROPPED, seen=within.seen)
            return within
    return look_within_frame(first, second, seen) or look_within_circle(first, second, placement) or seen
