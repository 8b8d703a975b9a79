"""The frames of an animation, or the pages of a file: the file goes in, what tells them from others' comes out.

Looked at are at most 256 frames and 100 million pixels of a file. If that is not all of it, the digest is that of the
whole file: nobody can say of two such files that their frames are equal, unless the files are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray
from PIL import Image

from dupwatchd.index.pillow_formats import load_still
from dupwatchd.index.reasons import DecodeError
from dupwatchd.index.thumbnail import to_bytes
from dupwatchd.pixels import levels
from dupwatchd.pixels.frames import DIGEST_BYTES, GREY_PX, MAX_KEPT, Frames

MAX_LOOKED_AT = 256
MAX_PIXELS = 100_000_000
MAX_COUNT = 65_535

_ANIMATIONS = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
_PAGES = frozenset({"TIFF", "HEIF", "MPO"})
_COUNTED_BY_READING = frozenset({"GIF", "TIFF"})  # Pillow reads through the file to count, and stands elsewhere then
_FLAT_LEVELS = 16  # between the darkest and the brightest pixel of a frame that shows nothing
_KIND, _OLD_KIND = 254, 255  # what a directory of a TIFF file is for
_SMALLER, _MASK, _OLD_SMALLER = 0b001, 0b100, 2
_CLEARLY_SMALLER = 3 / 4  # of the width of the page itself; usual versions have half of it, or less
_VIEWS, _VIEW = 0xB002, "Multi-Frame Image"  # of a JPEG file with several

Open = Callable[[], Image.Image]


@dataclass(frozen=True, slots=True)
class _Look:
    """One frame."""

    index: int
    digest: bytes
    milliseconds: int
    grey: NDArray[np.uint8]  # (8, 8)
    flat: bool


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of a TIFF file, and what the file says it is for."""

    width: int  # px
    height: int
    is_smaller: bool
    is_mask: bool

    def is_smaller_version_of(self, other: "_Page | None") -> bool:
        """Whether it is said to be a smaller version or a mask, and can be one of this page."""
        is_said = self.is_smaller or self.is_mask
        return other is not None and is_said and self._fits(other) and self.width <= other.width * _CLEARLY_SMALLER

    def is_mask_of(self, other: "_Page | None") -> bool:
        """Whether it can be a mask of this page, all of which it may cover."""
        return other is not None and self.is_mask and self._fits(other) and self.width <= other.width

    def _fits(self, other: "_Page") -> bool:
        """Has it the same shape, apart from a pixel that was rounded?"""
        return abs(self.width * other.height - self.height * other.width) <= max(other.width, other.height)


def count_frames(image: Image.Image, reopen: Open) -> tuple[Image.Image, list[int]] | None:
    """The file opened again, and the indexes of its frames or pages; None if there is but one, and it is the first.

    Smaller versions and masks of other pages do not count. ``image`` is not moved. Raises MemoryError only: a file
    whose first picture can be decoded counts as it is.
    """
    name = str(image.format)
    if name not in _ANIMATIONS and name not in _PAGES:
        return None
    try:
        sequence = reopen() if name in _COUNTED_BY_READING or getattr(image, "n_frames", 1) > 1 else None
        indexes = _indexes(sequence, name) if sequence else []
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - broken files make decoders raise anything
        return None
    # A thumbnail may stand in front of the only page.
    return None if sequence is None or not indexes or indexes == [image.tell()] else (sequence, indexes)


def shows_nothing(sequence: Image.Image, index: int) -> bool:
    """Whether a frame is black, white, or of any other single colour; raises what decoders raise."""
    sequence.seek(index)
    return _look(sequence, index).flat


def look_at_frames(image: Image.Image, reopen: Open, data: bytes) -> tuple[Frames | None, int] | None:
    """What is known of all pictures of a file, and the index of the one that stands for it; None: there is but one.

    Of one picture behind a thumbnail only the index is told. ``image`` is not moved. Raises MemoryError only: a file
    whose first picture can be decoded counts as it is.
    """
    counted = count_frames(image, reopen)
    if counted is None:
        return None
    (sequence, indexes), name = counted, str(image.format)
    if len(indexes) == 1:
        return None, indexes[0]
    looks, is_damaged = _looks(sequence, _chosen(indexes, sequence, pages=name in _PAGES))
    whole = len(looks) == len(indexes)
    frames = Frames(
        len(indexes),
        whole,
        name in _PAGES,
        min(sum(look.milliseconds for look in looks), 2**32 - 1),
        _digest(looks, len(indexes)) if whole else blake3(data).digest(length=DIGEST_BYTES),
        np.array([looks[at].grey for at in _spread(len(looks), MAX_KEPT)], np.uint8).reshape(-1, GREY_PX, GREY_PX),
        is_damaged,
    )
    return frames, _standing_for_all(looks, usual_index(image, indexes))


def usual_index(image: Image.Image, indexes: list[int]) -> int:
    """The frame or page at which the file was opened, unless that is the thumbnail of one."""
    return image.tell() if image.tell() in indexes else indexes[0]


def _indexes(sequence: Image.Image, name: str) -> list[int]:
    """Those pictures of a file that are pages, frames or views, not smaller versions or masks of others."""
    count = min(getattr(sequence, "n_frames", 1), MAX_COUNT)
    if name == "MPO":
        return _views(sequence)
    if name != "TIFF" or count == 1:
        return list(range(count))
    pages = []
    for index in range(count):
        sequence.seek(index)
        tags = getattr(sequence, "tag_v2", {})
        kind = tags.get(_KIND, 0)
        is_smaller = bool(kind & _SMALLER) or tags.get(_OLD_KIND) == _OLD_SMALLER
        pages.append(_Page(*sequence.size, is_smaller, bool(kind & _MASK)))
    return _not_versions(pages)


def _not_versions(pages: list[_Page]) -> list[int]:
    """The indexes of pages that are no versions of the page in front of them, or behind them.

    What a file says of them is not enough: whoever opens it is shown the first page, whatever that is said to be.
    """
    before: list[_Page | None] = []  # by page, the last one in front of it that is not said to be a version
    behind: list[_Page | None] = []  # likewise, from the last page on
    for order, nearest in ((pages, before), (pages[::-1], behind)):
        found = None
        for page in order:
            nearest.append(found)
            found = found if page.is_smaller or page.is_mask else page
    return [
        at
        for at, (page, first, then) in enumerate(zip(pages, before, behind[::-1], strict=True))
        if not (page.is_smaller_version_of(then) or page.is_smaller_version_of(first) or page.is_mask_of(first))
    ]


def _views(sequence: Image.Image) -> list[int]:
    """The first picture, and the views of a stereo camera, or from several places.

    Other pictures in a JPEG are previews and maps. The first is what every program shows, whatever it is said to be.
    """
    kinds = [entry["Attribute"]["MPType"] for entry in getattr(sequence, "mpinfo", {})[_VIEWS]][:MAX_COUNT]
    return [0, *(at for at, kind in enumerate(kinds) if at > 0 and kind.startswith(_VIEW) and _is_there(sequence, at))]


def _is_there(sequence: Image.Image, view: int) -> bool:
    """Does the file hold a view that its list names? Programs that write a photo anew often keep the list only."""
    try:
        sequence.seek(view)
    except ValueError:
        return False
    return True


def _chosen(indexes: list[int], sequence: Image.Image, *, pages: bool) -> list[int]:
    """Those to look at: of an animation among the first ones, because each frame needs all before it."""
    affordable = MAX_PIXELS // max(1, sequence.width * sequence.height)
    if pages:
        return [indexes[at] for at in _spread(len(indexes), min(MAX_LOOKED_AT, affordable))]
    within_reach = min(len(indexes), affordable)
    return [indexes[at] for at in _spread(within_reach, MAX_LOOKED_AT)]


def _spread(count: int, most: int) -> list[int]:
    """At most so many numbers below ``count``, evenly spread."""
    chosen: list[int] = np.unique(np.linspace(0, max(0, count - 1), min(count, most)).round().astype(int)).tolist()
    return chosen


def _looks(sequence: Image.Image, chosen: list[int]) -> tuple[list[_Look], bool]:
    """Fewer than chosen if one of them is damaged, which is told as well, or if pages are larger than the first one."""
    looks: list[_Look] = []
    pixels = 0
    for index in chosen:
        try:
            sequence.seek(index)
            pixels += sequence.width * sequence.height
            if pixels > MAX_PIXELS:
                break
            looks.append(_look(sequence, index))
        except MemoryError:
            raise
        except DecodeError:  # of a kind that nothing here reads
            break
        except Exception:  # noqa: BLE001 - as above
            return looks, True
    return looks, False


def _look(frame: Image.Image, index: int) -> _Look:
    small = to_bytes(load_still(frame).average(GREY_PX))
    deep = frame.mode.startswith("I") or frame.mode == "F"
    # With colours multiplied by alpha, what nobody sees does not count.
    seen = np.asarray(frame) if deep else np.asarray(frame.convert("RGBA").convert("RGBa"))
    size = np.array([*seen.shape, *frame.size], "<u4").tobytes()
    digest = blake3(size + seen.dtype.str.encode()).update(np.ascontiguousarray(seen).data).digest()
    levels_seen = seen if deep else np.asarray(frame.convert("L"))
    flat = float(levels_seen.max()) - float(levels_seen.min()) <= _FLAT_LEVELS
    duration = frame.info.get("duration", 0)
    milliseconds = round(duration) if isinstance(duration, int | float) and 0 <= duration < 1e9 else 0
    return _Look(index, digest, milliseconds, levels.grey(small), flat)


def _digest(looks: list[_Look], count: int) -> bytes:
    digest = blake3(count.to_bytes(4, "big"))
    for look in looks:
        digest.update(look.digest + look.milliseconds.to_bytes(4, "big"))
    return digest.digest(length=DIGEST_BYTES)


def _standing_for_all(looks: list[_Look], usual: int) -> int:
    """The index of the usual frame, or, if that is black as in a fade-in, of the first one that shows something."""
    if not looks or looks[0].index != usual or not looks[0].flat:
        return usual
    contrasts = [float(look.grey.std()) for look in looks]
    return next(look.index for look, contrast in zip(looks, contrasts, strict=True) if contrast >= max(contrasts) / 2)
