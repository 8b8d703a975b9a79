"""Libraries made from nothing: what the index says of them, and what is true of their files and pictures."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from dupwatchd.db import contents, files, parts, pictures
from dupwatchd.db.answers import Copy
from dupwatchd.db.connection import Database, open_database
from dupwatchd.db.contents import ContentLook
from dupwatchd.db.pictures import NewContent, NewPicture
from dupwatchd.model import NO_PART, VERSIONS, Facts, FileId, PartTold, PictureId, Stamp, Verdict
from dupwatchd.serve.clusters import LiveChecks, Measured, Pair
from dupwatchd.serve.ignored import NONE_IGNORED, IgnoredPairs
from dupwatchd.serve.spare import OtherName, SameFile

KEEP_MSE, KEEP_STRUCTURE = 6.0, 0.06  # the largest thresholds that can be asked for
HALF = 20
NO_FACTS = Facts()


class Match(NamedTuple):
    """A row as the database takes it."""

    a: int
    b: int
    mirrored: int
    mse: float
    structure: float
    custom: float | None = None


@dataclass(frozen=True)
class Picture:
    """What a picture shows, as two numbers; how far two of them are apart follows from these."""

    mse: int = 0
    structure: int = 0
    flat: bool = False
    has_proof: bool = True


class Seen(NamedTuple):
    """What a second look has found of a match."""

    near: bool = True  # else nobody looks at it
    verdict: Verdict | None = Verdict.SAME
    confirmed: bool | None = True
    nearer: int = 0
    part: PartTold = NO_PART
    by_part: bool = False  # it is no match, but both pictures show a part of one


@dataclass(frozen=True)
class Content:
    digest: bytes
    picture: int  # its place in the library, which is its id
    width: int = 400
    height: int = 300
    size_bytes: int = 1000
    way: int = 0
    damage: str | None = None
    frames: int = 1
    facts: Facts = NO_FACTS
    format: str = "JPEG"
    pixels: bytes = b""  # what tells it from other contents of its picture; empty: not known


@dataclass(frozen=True)
class File:
    folder: bytes
    name: bytes
    content: int  # its place in the library
    mtime_ns: int = 0
    inode: int | None = None  # None: one of its own
    body: int = 0  # files of one inode are one file if this is the same, too; the index does not know
    there: bool = True
    sidecar: bool = False
    how: SameFile = SameFile.LINK  # it is another name of an earlier file, if there is one

    @property
    def path(self) -> bytes:
        return self.folder.rstrip(b"/") + b"/" + self.name


@dataclass(frozen=True)
class Made:
    pictures: list[Picture]
    contents: list[Content]
    files: list[File]
    seen: dict[tuple[int, int, int], Seen] = field(default_factory=dict)  # by match; without an entry: the same
    parts: dict[Pair, Seen | None] = field(default_factory=dict)  # of pairs that share a part; None: not looked at yet
    ignored: IgnoredPairs = NONE_IGNORED
    at_contents: list[ContentLook] = field(default_factory=list)

    def seen_of(self, match: Match) -> Seen:
        return self.seen.get(match[:3], Seen())

    def measured(self, a: int, b: int, measure: str, mirrored: bool) -> Measured:
        """As the thumbnails would be measured; what shows a mirror image is turned as well."""
        upright, flipped = self._upright(a, b), self._flipped(a, b)
        if not mirrored:
            return Measured(*upright, 0, False, upright[1])
        better = flipped[measure == "structure"] < upright[measure == "structure"]
        mse, structure = min(upright[0], flipped[0]), min(upright[1], flipped[1])
        return Measured(mse, structure, 90 * better, better, structure)

    def _upright(self, a: int, b: int) -> tuple[float, float]:
        one, other = self.pictures[a], self.pictures[b]
        return float(abs(one.mse - other.mse)), abs(one.structure - other.structure) / 100

    def _flipped(self, a: int, b: int) -> tuple[float, float]:
        one, other = self.pictures[a], self.pictures[b]
        return float(abs(one.mse + other.mse - HALF)), abs(one.structure + other.structure - HALF) / 100

    def below(self, folders: Sequence[bytes]) -> "Made":
        """The same without the files elsewhere."""
        prefixes = tuple(folder.rstrip(b"/") + b"/" for folder in folders)
        inside = [file for file in self.files if file.path.startswith(prefixes)]
        return replace(self, files=inside)

    def matches(self) -> list[Match]:
        """All that are near enough to be kept; by the user's own measure they are as far apart as in structure."""
        plain = [place for place, picture in enumerate(self.pictures) if not picture.flat]
        return [
            Match(a, b, int(mirrored), *values, values[1] if values[1] <= KEEP_STRUCTURE else None)
            for a, b in itertools.combinations(plain, 2)
            for mirrored, values in ((False, self._upright(a, b)), (True, self._flipped(a, b)))
            if values[0] <= KEEP_MSE or values[1] <= KEEP_STRUCTURE
        ]

    def part_of(self, a: int, b: int) -> Seen | None:
        """What a look has found of two pictures, a < b, that share a part, if they are no match."""
        return None if self.is_match(a, b) else self.parts.get((a, b))

    def version_of(self, a: int, b: int) -> Verdict | None:
        """What a look has found of two pictures, a < b, that match and share a part, too, if one is a version."""
        if (a, b) not in self.parts or self.pictures[a].flat or self.pictures[b].flat or not self.is_match(a, b):
            return None
        seen = self.seen.get((a, b, 0), Seen())
        return seen.verdict if seen.near and seen.verdict in VERSIONS else None

    def is_match(self, a: int, b: int) -> bool:
        """Are two pictures near enough as they are, not mirrored?"""
        mse, structure = self._upright(a, b)
        return mse <= KEEP_MSE or structure <= KEEP_STRUCTURE

    def upright(self, a: int, b: int) -> tuple[float, float]:
        """How far two pictures are apart as they are, not mirrored."""
        return self._upright(a, b)

    def live_checks(self) -> LiveChecks:
        """Tells the truth."""
        by_path = {file.path: file for file in self.files}

        def measure_pairs(pairs: list[Pair], measure: str, mirrored: bool, turned: bool) -> list[Measured]:
            return [self.measured(a, b, measure, mirrored and turned) for a, b in pairs]

        def other_names(copies: Sequence[Copy]) -> list[OtherName | None]:
            return self.other_names([by_path[copy.path] for copy in copies])

        def has_sidecar(copy: Copy) -> bool:
            return by_path[copy.path].sidecar

        return LiveChecks(measure_pairs, lambda copy: by_path[copy.path].there, other_names, has_sidecar)

    def other_names(self, files: Sequence[File]) -> list[OtherName | None]:
        """For each file the first one that is the same."""
        firsts = [next(n for n, one in enumerate(files) if one is file or self.linked(one, file)) for file in files]
        return [
            None if first == place else OtherName(first, file.how)
            for place, (first, file) in enumerate(zip(firsts, files, strict=True))
        ]

    def linked(self, one: File, other: File) -> bool:
        """Are they names of one file?"""
        return one.inode is not None and (one.inode, one.body, one.content) == (other.inode, other.body, other.content)


def written(made: Made, state: Path, matches: list[Match] | None = None) -> Database:
    """A database that holds the library; ``matches`` instead of all matches."""
    (state / "blocks").mkdir(parents=True)
    database = open_database(str(state))
    database.rows("PRAGMA synchronous = OFF")
    with database.transaction():
        pictures.add_pictures(
            database,
            [
                NewPicture(PictureId(n), n.to_bytes(16, "big"), picture.flat, b"", b"p" if picture.has_proof else None)
                for n, picture in enumerate(made.pictures)
            ],
        )
        stored = made.matches() if matches is None else matches
        pictures.add_matches(database, [(*match, int(made.seen_of(match).near), 1) for match in stored])
        _add_looks(database, made, stored)
        _add_parts(database, made)
        content_ids = [
            pictures.add_content(
                database,
                NewContent(
                    (c.digest, c.way),
                    PictureId(c.picture),
                    c.width,
                    c.height,
                    c.format,
                    None,
                    damage=c.damage,
                    frames=c.frames,
                    facts=c.facts,
                ),
            )
            for c in made.contents
        ]
        for content_id, content in zip(content_ids, made.contents, strict=True):
            contents.give_pixels(database, content_id, content.pixels)
        for look in made.at_contents:
            contents.give_look(database, look)
        by_folder: dict[bytes, list[tuple[int, File]]] = defaultdict(list)
        for number, file in enumerate(made.files):
            by_folder[file.folder].append((number, file))
        for folder, members in by_folder.items():
            _add_folder(database, made, folder, members, content_ids)
    return database


def _add_looks(database: Database, made: Made, matches: list[Match]) -> None:
    database.many(
        "UPDATE match SET verdict = ?, confirmed = ?, nearer = ?, shows_more = ?, framed = ?, outline = ? "
        "WHERE a = ? AND b = ? AND mirrored = ?",
        [
            (
                seen.verdict and seen.verdict.code,
                seen.confirmed,
                seen.nearer,
                *parts.bindings_of(seen.part),
                *match[:3],
            )
            for match in matches
            for seen in [made.seen_of(match)]
        ],
    )


def _add_parts(database: Database, made: Made) -> None:
    pairs = [pair for pair in made.parts if not any(made.pictures[one].flat for one in pair)]
    parts.store(database, [(*pair, 2, *made.upright(*pair), int(made.is_match(*pair))) for pair in pairs], [])
    seen = {pair: one for pair in pairs if (one := made.parts[pair]) is not None}
    parts.give(database, {pair: (one.verdict, one.part) for pair, one in seen.items()})


def _add_folder(
    database: Database, made: Made, folder: bytes, members: list[tuple[int, File]], content_ids: list[int]
) -> None:
    stamps = {
        file.name: Stamp(
            made.contents[file.content].size_bytes,
            file.mtime_ns,
            7,
            1_000_000 + number if file.inode is None else file.inode,
        )
        for number, file in members
    }
    listed = [(name, s.size_bytes, s.mtime_ns, s.device, s.inode) for name, s in stamps.items()]
    files.record_folder(database, folder, 7, None, listed, [])
    folder_id = files.known_folders(database, folder)[folder].folder_id
    known = files.files_of_folder(database, folder_id)
    for _, file in members:
        file_id = FileId(known[file.name].file_id)
        files.settle(database, file_id, stamps[file.name], content_ids[file.content], None)
