"""Tells the contents of one picture apart: are all their pixels equal, and where not, do they show the same?

Their thumbnails, proofs and frames are equal, and yet a digit may differ that no proof shows. So the pixels of each
content are read in full and digested; equal ones are the same, whatever their number of frames. Of contents with one
frame and other pixels that hold the same beside their colours, the photos are looked at as those of two pictures are:
also of one with more bits a colour beside one with 8, which can go for it, but not the other way round.
What a file holds beside them and the other lacks (opacity, a colour profile, a gain map behind a JPEG) no look can make
up for: these are never called the same. A film is no part of what is seen; a file that has one goes for none without
it, so that nothing is read here of a content of which it may not be known yet what it holds.

Which pairs are looked at follows from the set of contents alone: each one beside the first few, in the order in which
they are most likely to be kept. All is stored as it is found, so that whoever is interrupted or killed goes on there.
"""

from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto
from functools import partial
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare import search
from dupwatchd.db import contents
from dupwatchd.db.connection import Database
from dupwatchd.db.contents import ContentLook, PixelsPair, SoundContent
from dupwatchd.index.messages import AllPixels, Detail, Looked, NotDecoded, PixelsRead
from dupwatchd.model import BYTE_BITS, KIND_BYTES, Verdict

LOOKED_BESIDE = 4  # contents, each of which all others are looked at beside
_FILES_TRIED = 3
_KEPT = LOOKED_BESIDE + 1  # photos of 1,600 px, up to 8 MB each

ReadPixels = Callable[[bytes, bytes], PixelsRead]  # takes the path of a file and the digest that its content must have
ReadDetail = Callable[[bytes, int, bytes], Looked]  # takes the longest side in px as well


class Told(Enum):
    """How it stands with a picture."""

    APART = auto()  # all is known of its contents
    NOT_YET = auto()  # there was no time for more
    IN_VAIN = auto()  # a file is away


class TellingApart:
    """Tells contents of one state directory apart; used by the thread that writes to the database."""

    def __init__(self, database: Database, read_pixels: ReadPixels, read_detail: ReadDetail) -> None:
        self._database = database
        self._read_pixels = read_pixels
        self._read_detail = read_detail
        self._in_vain: set[bytes | PixelsPair] = set()  # contents that could not be read, and pairs of them

    def try_again(self) -> None:
        """Files that were away may be back."""
        self._in_vain.clear()

    def tell(self, picture_id: int, may_go_on: Callable[[], bool]) -> Told:
        """Tell the contents of a picture apart; ``may_go_on`` is asked before each file but the first."""
        if not contents.is_to_tell(self._database, picture_id):
            return Told.APART
        for is_first, step in zip(chain([True], repeat(False)), self._steps(picture_id), strict=False):
            if not (is_first or may_go_on()):
                return Told.NOT_YET
            step()
        sound = contents.sound_contents(self._database, picture_id)
        wanted = pairs_to_look_at(sound)
        if not self._in_vain.isdisjoint([*wanted, *(one.digest for one in sound)]):
            return Told.IN_VAIN
        contents.told_apart(self._database, picture_id, [_in_order(pair) for pair in wanted])
        return Told.APART

    def _steps(self, picture_id: int) -> Iterator[Callable[[], None]]:
        """What is left to do for a picture, one file or pair after the other."""
        sound = contents.sound_contents(self._database, picture_id)
        if len({content.scan_digest or content.digest for content in sound}) > 1:
            for content in sound:
                if content.pixels is None and not content.is_to_read_again and content.digest not in self._in_vain:
                    yield partial(self._read, content)
        sound = contents.sound_contents(self._database, picture_id)
        known = contents.pairs_looked_at(self._database, picture_id)
        photos: dict[bytes, NDArray[np.uint8]] = {}
        for pair in pairs_to_look_at(sound):
            if _in_order(pair) not in known and pair not in self._in_vain:
                yield partial(self._look, picture_id, pair, sound, photos)

    def _read(self, content: SoundContent) -> None:
        """Read all pixels of a content."""
        for path in contents.files_of(self._database, content.content_id, _FILES_TRIED):
            read = self._read_pixels(path, content.digest)
            if isinstance(read, AllPixels):
                contents.give_pixels(self._database, content.content_id, read.pixels)
                return
            # It may take too much to decode all of it; or the file has changed, and this is what it became.
            if isinstance(read, NotDecoded) and isinstance(self._read_detail(path, 1, content.digest), Detail):
                contents.give_pixels(self._database, content.content_id, b"")
                return
        self._in_vain.add(content.digest)

    def _look(
        self, picture_id: int, pair: PixelsPair, sound: Sequence[SoundContent], photos: dict[bytes, NDArray[np.uint8]]
    ) -> None:
        """Look at two contents, given by their pixels."""
        rgb = []
        for pixels in pair:
            if pixels not in photos:
                photo = self._photo(content for content in sound if content.pixels == pixels)
                if photo is None:
                    self._in_vain.add(pair)
                    return
                photos[pixels] = photo
            rgb.append(photos[pixels])
        if len(photos) > _KEPT:
            del photos[pair[1]]
        verdict, confirmed = search.look_closely(rgb[0], rgb[1], 0, mirrored=False, suspect=False)
        if verdict is None:
            verdict, confirmed = Verdict.SAME, None
        contents.give_look(self._database, ContentLook(picture_id, *_in_order(pair), verdict, confirmed))

    def _photo(self, equal: Iterator[SoundContent]) -> NDArray[np.uint8] | None:
        for content in equal:
            for path in contents.files_of(self._database, content.content_id, _FILES_TRIED):
                detail = self._read_detail(path, search.CLOSE_PX, content.digest)
                if isinstance(detail, Detail):
                    return detail.rgb
        return None


def pairs_to_look_at(sound: Sequence[SoundContent]) -> list[PixelsPair]:
    """Which contents of a picture are to be looked at beside each other, by their pixels, in the order in which to."""
    alike: dict[bytes, list[bytes]] = {}
    deep = {content.pixels for content in sound if content.bits > BYTE_BITS}
    for content in sound:
        if content.pixels and content.frames == 1:
            some = alike.setdefault(content.pixels[:KIND_BYTES], [])
            if content.pixels not in some:
                some.append(content.pixels)
    return [
        (first, second)
        for some in alike.values()
        for place, first in enumerate(some[:LOOKED_BESIDE])
        for second in some[place + 1 :]
        if not {first, second} <= deep  # a look sees 8 bits, and of two finer files each may hold what the other lacks
    ]


def _in_order(pair: PixelsPair) -> PixelsPair:
    first, second = sorted(pair)
    return first, second
