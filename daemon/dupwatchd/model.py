"""The values that steps and stores hand to each other; no behaviour beyond what follows from the fields.

Paths are bytes everywhere: a file name on Linux need not be text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, NewType, Protocol

if TYPE_CHECKING:
    from dupwatchd.arrays import Thumbnail

FileId = NewType("FileId", int)
PictureId = NewType("PictureId", int)


def within_int64(number: int) -> int:
    """SQLite keeps 64 bits with a sign; some inodes use the 64th, and the year 2300 has more nanoseconds."""
    return (number + 2**63) % 2**64 - 2**63


@dataclass(frozen=True, slots=True)
class Stamp:
    """What stat says of a file; while it stays equal the file counts as unchanged."""

    size_bytes: int
    mtime_ns: int
    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class Job:
    """One file to be read."""

    file_id: FileId
    path: bytes
    stamp: Stamp  # as the walk saw it


class ReadStatus(Enum):
    """What came of reading one file."""

    DECODED = "decoded"  # a content not seen before, with its thumbnail
    KNOWN = "known"  # its content is known already: nothing was decoded
    FAILED = "failed"  # the content cannot be decoded; `error` says why
    NOT_A_PICTURE = "not a picture"  # no image at all; a failure only if its name promises one
    UNREADABLE = "unreadable"  # the file could not be read; `error` says why; there is no digest
    VANISHED = "vanished"  # it is gone since the walk
    CHANGED = "changed"  # it kept changing while it was read


class Verdict(Enum):
    """What a look at two pictures says of them; the value is the word that is told everywhere."""

    IDENTICAL = "identical"  # their files are equal byte by byte
    SAME = "same"  # one picture: re-encoded, resized, turned, toned
    CROPPED = "cropped"  # one shows a part of the other, or the other within a frame
    RETOUCHED = "retouched"  # the same but in places: a caption, a watermark, another number
    RECOLOURED = "recoloured"  # the same shapes in other colours, or in none
    SIMILAR = "similar"  # another shot, another page: never a copy

    @property
    def code(self) -> int:
        """The number that stands for it in the database, from 1; it never changes."""
        return list(Verdict).index(self) + 1


# What tells the contents of one picture apart, if that is known, see `index.all_pixels`: two of them are equal in every
# pixel of every frame if theirs are. It begins with bytes of what a file holds beside its colours (opacity, a profile,
# frames, what follows a JPEG but films): only if these are equal, too, can a look at the colours say that two show the
# same.
KIND_BYTES, PIXELS_BYTES = 8, 24

VERSIONS = (Verdict.CROPPED, Verdict.RETOUCHED, Verdict.RECOLOURED)  # of a picture: joined only if they are asked for


class CloserLook(IntEnum):
    """How it stands with looking at the photos of a pair themselves, as stored with a match."""

    LATER = 0  # the proofs tell as much as they can: before one of both may go
    AT_ONCE = 1  # the proofs cannot tell
    DONE = 2  # or of no use: what one sees of a photo is not what the pair may differ in


@dataclass(frozen=True, slots=True)
class PartTold:
    """How one of two pictures lies in the other, of which it shows a part or which shows it within a frame."""

    turn_degrees: int = 0  # the second is turned clockwise by these to lie on the first
    shows_more: int = 0  # -1: the first does, 1: the second; 0: neither
    is_framed: bool = False  # what it shows more is only what lies around the picture: a border, bars, a caption
    outline: tuple[float, ...] = ()  # x, y of the other's four corners in it, in fractions of its width and height

    @property
    def corners(self) -> list[tuple[float, float]] | None:
        """The outline as answers tell it."""
        return list(zip(self.outline[::2], self.outline[1::2], strict=True)) or None

    @property
    def share(self) -> float:
        """How much of the one that shows more the other one takes up, of its area; 0 if that is not known."""
        x, y = self.outline[::2], self.outline[1::2]
        return abs(sum(x[n - 1] * y[n] - x[n] * y[n - 1] for n in range(len(x)))) / 2


NO_PART = PartTold()


BYTE_BITS = 8
RAW_BITS = 16  # of what a sensor has measured; cameras write 12 or 14, and nothing developed from that holds more


@dataclass(frozen=True, slots=True)
class Facts:
    """What tells originals from what was made of them; all of it is read from the bytes of one file."""

    camera: str = ""  # make and model; empty: not known
    captured: str = ""  # when the photo was taken, as ISO 8601; empty: not known
    has_place: bool = False
    rating: int = 0
    edited: bool = False  # an editor or a messenger has put its name into the metadata
    has_colour: bool = True
    lossless: bool = False  # the format stores pixels as they were given to it
    jpeg_grid: bool = False  # lossless pixels that carry the 8 × 8 blocks of a JPEG
    quality: int = 0  # of a JPEG, 1 … 100 by its quantisation; 0: not known
    # Of the coded pixels of a JPEG, else of the decoded ones, without metadata: equal ones are one picture, bit by bit.
    # Empty: not known.
    scan_digest: bytes = b""
    keywords: str = ""  # in alphabetical order, one a line
    place: str = ""  # latitude and longitude in degrees: "48.13715, 11.57540"; empty: not known
    captions: str = ""  # titles, descriptions and comments, likewise in order, one a line
    people: str = ""  # names of those in the picture, likewise
    bits: int = 8  # a colour of a pixel has in the file
    transparent: bool = False  # something behind the picture could be seen
    exposure: str = ""  # "t=0.01 f=2.8 iso=100 ev=-1 id=…", as far as it is told; the last is the camera's number of it
    holds: str = ""  # what the file holds beside it, one a line: "film (1a2b3c4d5e6f7081)", see `index.held_beside`


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded content: its thumbnail and what the full picture is like."""

    thumbnail: Thumbnail
    width: int  # px, upright: EXIF orientation applied
    height: int
    format: str  # "JPEG", "HEIF", ...
    damage: str | None = None  # what is wrong with a file that could be read in spite of it; one line
    proof: bytes = b""  # what the picture is looked at again with, see `proof.Proof`
    frames: int = 1  # pictures in the file: frames of an animation, pages
    frames_digest: bytes = b""  # 16 bytes that tell the frames and their durations; empty for a single picture
    facts: Facts = field(default_factory=Facts)
    keypoints: bytes = b""  # of the proof, see `keypoints.Keypoints`; empty unless they were asked for


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one `Job`."""

    job: Job
    status: ReadStatus
    stamp: Stamp | None = None  # of the bytes that were read; None if nothing was read
    digest: bytes | None = None  # BLAKE3, 32 bytes, of the whole file
    decoded: Decoded | None = None
    error: str | None = None  # one line, no path in it


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as a match: any measure within its limit."""

    keep_mse: float
    keep_structure: float
    mirrored: bool  # also look for mirror images
    custom: str = ""  # the user's own measure, as package.module:name; empty: none
    keep_custom: float = 0.0
    looks_per_picture: int = 0  # so many of the nearest matches of each picture are kept, to be looked at again

    def widened(self, other: Limits) -> Limits:
        """What both ask for: matches that are kept are not forgotten because less is asked for today.

        But those of a measure that is the user's own are, unless it is still in use: new pictures would lack them.
        """
        return Limits(
            max(self.keep_mse, other.keep_mse),
            max(self.keep_structure, other.keep_structure),
            self.mirrored or other.mirrored,
            self.custom,
            max(self.keep_custom, other.keep_custom) if self.custom == other.custom else self.keep_custom,
            self.looks_per_picture,
        )


class Progress(Protocol):
    """Who is told how far the work is."""

    def stage(self, description: str, total: int | None, unit: str = "files") -> None:
        """A new stage begins; ``total`` steps are expected, None if unknown, each of them one ``unit``."""

    def advance(self, steps: int) -> None:
        """So many further steps are done."""
