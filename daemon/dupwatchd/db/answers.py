"""What a question about copies reads from the database; nothing here writes."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dupwatchd.db.connection import Database, Row
from dupwatchd.db.files import under
from dupwatchd.db.parts import outline_of
from dupwatchd.model import NO_PART, VERSIONS, CloserLook, PartTold, PictureId, Verdict

_CHUNK = 500
_ROWS_AT_ONCE = 50_000  # 15 MB of rows as Python objects

# Pictures of two contents, and of two files of one content; each reads one index only.
_OF_SOME_CONTENTS = (
    "SELECT picture_id FROM content WHERE picture_id IS NOT NULL GROUP BY picture_id HAVING count(*) > 1"
)
_OF_SOME_FILES = (
    "SELECT picture_id FROM content WHERE picture_id IS NOT NULL AND id IN "
    "(SELECT content_id FROM file WHERE content_id IS NOT NULL GROUP BY content_id HAVING count(*) > 1)"
)

# Lossless pixels that were a JPEG before carry its blocks, or are those of a JPEG, WebP, AVIF or HEIF of the picture. A
# logo on transparency, which may be of one colour that any format keeps as it is, tells nothing.
_JPEG_GRID = (
    "(content.jpeg_grid OR (content.lossless AND length(content.pixels) > 0 AND EXISTS (SELECT 1 FROM content AS lossy "
    "WHERE lossy.picture_id = content.picture_id AND lossy.pixels = content.pixels AND NOT lossy.lossless "
    "AND (lossy.format = 'JPEG' OR (lossy.format IN ('WEBP', 'AVIF', 'HEIF') AND NOT lossy.transparent)))))"
)
_COPY = (
    "SELECT folder.path, file.name, file.size_bytes, file.mtime_ns, file.device, file.inode, content.id, "
    "content.digest, content.picture_id, content.width, content.height, content.format, content.damage, "
    "content.frames, content.camera, content.captured, content.edited, content.has_colour, content.lossless, "
    f"{_JPEG_GRID}, content.quality, content.scan_digest, content.has_place, content.rating, content.keywords, "
    "coalesce(content.pixels, x''), content.place, content.captions, content.people, content.bits, "
    "content.transparent, content.exposure, content.holds "
    "FROM content JOIN file ON file.content_id = content.id JOIN folder ON folder.id = file.folder_id"
)

_IN_FORCE = "folder.root_id != 0"  # the file lies under a root in force, see `roots`


@dataclass(frozen=True, slots=True)
class Copy:
    """One file that shows a picture, as the index knows it; the last ones are facts of its content, see `Facts`."""

    path: bytes
    size_bytes: int
    mtime_ns: int
    device: int
    inode: int
    content_id: int
    content_digest: bytes
    picture_id: int
    width: int  # px, upright
    height: int
    format: str
    damage: str | None = None  # what is wrong with it although it could be read
    frames: int = 1
    camera: str = ""
    captured: str = ""
    edited: bool = False
    has_colour: bool = True
    lossless: bool = False
    jpeg_grid: bool = False
    quality: int = 0
    scan_digest: bytes = b""
    has_place: bool = False
    rating: int = 0  # stars; 0: none
    keywords: str | None = ""  # one a line; None: to be read again
    pixels: bytes = b""  # what tells it from other contents of its picture, see `model.KIND_BYTES`; empty: not known
    place: str | None = ""  # latitude and longitude, in degrees; empty: not known; None: to be read again
    captions: str | None = ""  # one a line; None: of an older index, and all metadata are to be read again
    people: str = ""  # one a line
    bits: int = 8  # a colour of a pixel has
    transparent: bool = False
    exposure: str = ""
    holds: str = ""  # what it holds beside the picture, one a line

    @property
    def damaged(self) -> bool:
        """Could it be read only in part?"""
        return self.damage is not None


class Look(NamedTuple):
    """What a second look at two pictures, a < b, has found."""

    a: int
    b: int
    mirrored: bool
    mse: float
    structure: float
    verdict: Verdict
    confirmed: bool | None  # by a look at many more pixels; None: there was none, or it could not tell
    nearer: int  # nearer the original is -1: a, 1: b; 0: not shown
    by_parts: bool = False  # no match, but found by a part that both show
    part: PartTold = NO_PART  # of what is cropped: which shows more, and where the other lies in it
    at_any_distance: bool = False  # how far they are apart as wholes does not count; see `_SHARES_PART`


# What shares a part at most joins nothing. A pair within the limits of a match is looked at as a match.
_FOUND_BY_PARTS = "FROM part_match WHERE within = 0 AND coalesce(verdict, -1) != 0"
# Of a match whose keypoints agree as well, one being a version of the other: how far a crop, a captioned or a
# recoloured copy is as a whole from its original says nothing.
_SHARES_PART = (
    f"(verdict IN ({','.join(str(one.code) for one in VERSIONS)}) AND near = 1 "
    "AND mirrored = 0 AND EXISTS (SELECT 1 FROM part_match WHERE part_match.a = match.a AND part_match.b = match.b))"
)
_VERDICTS = {verdict.code: verdict for verdict in Verdict}


def any_copies(database: Database, measure: str, threshold: float, *, mirrored: bool) -> bool:
    """Can there be any cluster: two pictures within the threshold of a measure, or two files of one picture?

    Of pictures that nobody has looked at this holds as well: the answer has to count them.
    """
    if measure not in ("mse", "structure", "custom"):
        raise ValueError(measure)
    matched = f"SELECT 1 FROM match WHERE {measure} <= ? AND mirrored <= ? LIMIT 1"
    return bool(
        database.row(matched, (threshold, int(mirrored)))
        or (measure != "custom" and database.row(f"SELECT 1 {_FOUND_BY_PARTS} LIMIT 1"))
        or (measure != "custom" and database.row(f"SELECT 1 FROM match WHERE {_SHARES_PART} LIMIT 1"))
        or database.row(f"{_OF_SOME_CONTENTS} LIMIT 1")
        or database.row(f"{_OF_SOME_FILES} LIMIT 1")
    )


def matches_in_parts(database: Database) -> Iterator[list[Row]]:
    """All matches that may join two pictures, some at a time, in the order of `matches_of`.

    Of each: the two pictures, whether mirrored, mse, structure, custom, the code of the verdict: 0 if the match is to
    be looked at and was not yet, -1 if it is not to be looked at, for each of the two has many that are nearer; 1 if it
    joins however far they are apart, because it was found by a part that both show; 1 if it is no match but for that.
    """
    last = (-1, -1, -1)
    while rows := database.rows(
        f"{_MATCHED} WHERE (a, b, mirrored) > (?, ?, ?) ORDER BY a, b, mirrored LIMIT ?", (*last, _ROWS_AT_ONCE)
    ):
        yield rows
        last = rows[-1][:3]
    last_part = (-1, -1)
    while rows := database.rows(f"{_PARTED} AND (a, b) > (?, ?) ORDER BY a, b LIMIT ?", (*last_part, _ROWS_AT_ONCE)):
        yield rows
        last_part = rows[-1][:2]


def matches_of(database: Database, picture_ids: Sequence[int]) -> list[Row]:
    """Those of `matches_in_parts` that join one of these pictures with any other one.

    First the matches, then what is none, each by (a, b, mirrored).
    """
    by_b = _only("b", picture_ids) + f" AND NOT (1{_only('a', picture_ids)})"
    return [
        row
        for begin in (f"{_MATCHED} WHERE 1", _PARTED)
        for row in sorted(
            database.rows(
                f"{begin}{_only('a', picture_ids)} UNION ALL {begin}{by_b}", {"among": _as_json(picture_ids)}
            ),
            key=lambda row: row[:3],
        )
    ]


_MATCHED = (
    "SELECT a, b, mirrored, mse, structure, custom, CASE near WHEN 1 THEN coalesce(verdict, 0) ELSE -1 END, "
    f"coalesce({_SHARES_PART}, 0), 0 FROM match"
)
_PARTED = f"SELECT a, b, 0, mse, structure, NULL, coalesce(verdict, 0), 1, 1 {_FOUND_BY_PARTS}"


def _only(column: str, picture_ids: Sequence[int] | None) -> str:
    """The end of a condition: of all pictures (None), or of some, which are bound as ``among``."""
    return "" if picture_ids is None else f" AND {column} IN (SELECT value FROM json_each(:among))"


def _as_json(picture_ids: Sequence[int] | None) -> str:
    return json.dumps(list(picture_ids or ()))


def _ids(database: Database, sql: str, among: Sequence[int] | None) -> list[int]:
    return [row[0] for row in database.rows(sql, {"among": _as_json(among)})]


def shared_pictures(database: Database, among: Sequence[int] | None = None) -> list[int]:
    """Pictures that more than one file shows, flat ones included; of all (None), or of some."""
    if among is None:
        return _ids(database, f"{_OF_SOME_CONTENTS} UNION {_OF_SOME_FILES}", None)
    return _ids(
        database,
        "SELECT picture_id FROM content LEFT JOIN file ON file.content_id = content.id "
        f"WHERE picture_id IS NOT NULL{_only('picture_id', among)} "
        "GROUP BY picture_id HAVING count(DISTINCT content.id) > 1 OR count(file.id) > 1",
        among,
    )


def flat_pictures(database: Database, among: Sequence[int] | None = None) -> list[int]:
    """Pictures with too little detail: only byte-equal files of them are copies; of all (None), or of some."""
    return _ids(database, f"SELECT id FROM picture WHERE flat = 1{_only('id', among)}", among)


def pictures_without_proof(database: Database, among: Sequence[int] | None = None) -> list[int]:
    """Pictures of which only the thumbnail is known, which may show less than all their files have in common.

    Of all (None), or of some.
    """
    return _ids(database, f"SELECT id FROM picture WHERE proof_digest IS NULL AND flat = 0{_only('id', among)}", among)


def pictures_known_the_same(database: Database, among: Sequence[int] | None = None) -> list[int]:
    """Pictures that a closer look has found to be the same as another one, or of which that holds for two contents.

    Of all (None), or of some.
    """
    confirmed = f"FROM match WHERE near = 1 AND verdict = {Verdict.SAME.code} AND confirmed = 1"
    of_some = _only("picture_id", among)
    equal = (
        f"SELECT picture_id FROM content WHERE length(pixels) > 0 AND pixels IS NOT NULL{of_some} "
        "GROUP BY picture_id, pixels HAVING count(*) > 1"
    )
    looked_at = f"SELECT picture_id FROM content_look WHERE verdict = {Verdict.SAME.code} AND confirmed = 1{of_some}"
    return _ids(
        database,
        f"SELECT a {confirmed}{_only('a', among)} UNION SELECT b {confirmed}{_only('b', among)} "
        f"UNION {equal} UNION {looked_at}",
        among,
    )


def pictures_shown_nearer(database: Database, among: Sequence[int] | None = None) -> list[int]:
    """Pictures that are shown to be nearer the original than another one that they are the same as, or recoloured.

    Of all (None), or of some.
    """
    found = f"FROM match WHERE near = 1 AND verdict IN ({Verdict.SAME.code}, {Verdict.RECOLOURED.code}) AND nearer"
    return _ids(
        database,
        f"SELECT a {found} = -1{_only('a', among)} UNION SELECT b {found} = 1{_only('b', among)}",
        among,
    )


def pictures_cropped(database: Database, among: Sequence[int] | None = None) -> list[int]:
    """Pictures that show a part of another one, or that another one shows a part of; of all (None), or of some."""
    cropped = f"WHERE verdict = {Verdict.CROPPED.code}"
    return _ids(
        database,
        " UNION ".join(
            f"SELECT {end} FROM {table} {cropped}{_only(end, among)}"
            for table in ("match", "part_match")
            for end in ("a", "b")
        ),
        among,
    )


def pictures_of_contents(database: Database, content_ids: Iterable[int]) -> list[int]:
    """The pictures that these contents show; of those that show one."""
    return _ids(
        database,
        "SELECT DISTINCT picture_id FROM content WHERE id IN (SELECT value FROM json_each(:among)) "
        "AND picture_id IS NOT NULL",
        list(content_ids),
    )


def looks_between(database: Database, picture_ids: Iterable[int]) -> list[Look]:
    """What was found of the pairs among these pictures that were looked at.

    A pair may be there twice: as it is, and with one of both mirrored.
    """
    wanted = set(picture_ids)
    return [
        Look(
            a, b, bool(mirrored), mse, structure, _VERDICTS[code], None if sure is None else bool(sure), nearer or 0,
            bool(by_parts), PartTold(turn, shows_more, bool(framed), outline_of(outline)), bool(at_any),
        )
        for chunk in _chunks(wanted)
        for a, b, mirrored, mse, structure, code, sure, nearer, by_parts, turn, shows_more, framed, outline, at_any
        in database.rows(
            "SELECT a, b, mirrored, mse, structure, verdict, confirmed, nearer, 0, 0, shows_more, framed, outline, "
            f"{_SHARES_PART} FROM match WHERE near = 1 AND verdict IS NOT NULL AND a IN ({','.join('?' * len(chunk))}) "
            "UNION ALL SELECT a, b, 0, mse, structure, verdict, NULL, 0, 1, turn, shows_more, framed, outline, 1 "
            f"{_FOUND_BY_PARTS} AND verdict IS NOT NULL AND a IN ({','.join('?' * len(chunk))})",
            (*chunk, *chunk),
        )
        if b in wanted
    ]  # fmt: skip


def numbers_of_files(database: Database, picture_ids: Iterable[int]) -> Iterator[list[Row]]:
    """The files that show one of these pictures, some at a time.

    Of each: picture, content, bytes, folder; facts by which one is kept: damaged, frames, in colour, from a camera,
    edited, saved with loss before, saved without loss, pixels, format; first 8 bytes of the content's digest, first 8
    bytes of what tells the contents that hold one picture bit by bit: the digest of their coded pixels, or of all their
    bytes.
    """
    for chunk in _chunks(picture_ids):
        yield database.rows(
            "SELECT content.picture_id, content.id, file.size_bytes, file.folder_id, damage IS NOT NULL, frames, "
            f"has_colour, camera != '' AND captured != '', edited, {_JPEG_GRID}, lossless, width * height, format, "
            "substr(content.digest, 1, 8), "
            "substr(CASE content.scan_digest WHEN x'' THEN content.digest ELSE content.scan_digest END, 1, 8) "
            "FROM content JOIN file ON file.content_id = content.id "
            f"WHERE content.picture_id IN ({','.join('?' * len(chunk))})",
            chunk,
        )


def copies_of(database: Database, picture_ids: Iterable[int]) -> list[Copy]:
    """All files that show one of these pictures."""
    return [
        _copy(row)
        for chunk in _chunks(picture_ids)
        for row in database.rows(f"{_COPY} WHERE content.picture_id IN ({','.join('?' * len(chunk))})", chunk)
    ]


def copies_named(database: Database, folder: bytes, stems: Iterable[bytes]) -> list[Copy]:
    """The files of a folder that show a picture and have one of these names, whatever their suffix."""
    found = {
        copy.path: copy
        for stem in stems
        for copy in map(
            _copy,
            database.rows(
                f"{_COPY} WHERE folder.path = ? AND file.name > ? AND file.name < ? AND content.picture_id IS NOT NULL",
                (folder, stem + b".", stem + b"/"),  # which comes after the dot
            ),
        )
        if os.path.splitext(os.path.basename(copy.path))[0] == stem
    }
    return sorted(found.values(), key=lambda copy: copy.path)


def folders_of_format(database: Database, name: str) -> dict[int, bytes]:
    """The folders that hold files of a format, by id."""
    return dict(
        database.rows(
            "SELECT folder.id, folder.path FROM folder WHERE id IN "
            "(SELECT file.folder_id FROM content JOIN file ON file.content_id = content.id WHERE content.format = ?)",
            (name,),
        )
    )


def pictures_of_files(database: Database, paths: Iterable[bytes]) -> list[int]:
    """The pictures that these files show; of those that show one."""
    found: set[int] = set()
    for path in paths:
        folder, _, name = path.rpartition(b"/")
        found.update(
            row[0]
            for row in database.rows(
                "SELECT content.picture_id FROM folder JOIN file ON file.folder_id = folder.id "
                "JOIN content ON content.id = file.content_id "
                "WHERE folder.path = ? AND file.name = ? AND content.picture_id IS NOT NULL",
                (folder or b"/", name),
            )
        )
    return sorted(found)


def any_copy_of(database: Database, picture_id: int) -> Copy | None:
    """Some file that shows a picture."""
    row = database.row(f"{_COPY} WHERE content.picture_id = ? AND {_IN_FORCE} LIMIT 1", (picture_id,))
    return None if row is None else _copy(row)


def copy_of_file(database: Database, file_id: int) -> Copy | None:
    """A file that shows a picture; None if it shows none."""
    row = database.row(f"{_COPY} WHERE file.id = ? AND content.picture_id IS NOT NULL", (file_id,))
    return None if row is None else _copy(row)


def another_copy(database: Database, copy: Copy, file_id: int) -> Copy | None:
    """Some other file under a root in force that shows the same picture; if that is flat, one of the same content."""
    row = database.row(
        f"{_COPY} JOIN picture ON picture.id = content.picture_id "
        f"WHERE content.picture_id = ? AND file.id != ? AND (NOT picture.flat OR content.id = ?) AND {_IN_FORCE} "
        "LIMIT 1",
        (copy.picture_id, file_id, copy.content_id),
    )
    return None if row is None else _copy(row)


def _copy(row: Row) -> Copy:
    folder, name, *rest = row
    return Copy(folder.rstrip(b"/") + b"/" + name, *rest)


def proof_digests(database: Database, picture_ids: Iterable[int]) -> dict[PictureId, bytes]:
    """The digests of the proofs of these pictures, for those that have one."""
    return {
        PictureId(picture_id): digest
        for chunk in _chunks(picture_ids)
        for picture_id, digest in database.rows(
            "SELECT id, proof_digest FROM picture WHERE proof_digest IS NOT NULL "
            f"AND id IN ({','.join('?' * len(chunk))})",
            chunk,
        )
    }


def pairs_to_confirm(database: Database, roots: Sequence[bytes]) -> list[tuple[int, int, int]]:
    """The pairs of pictures below these roots that are the same by their proofs alone: a, b, mirrored.

    Those first of which a copy takes the most bytes. Starts from the pairs, by their indexes: where there are none, as
    after most scans, it takes no time, however large the library is.
    """
    size = (
        "(SELECT max(file.size_bytes) FROM content JOIN file ON file.content_id = content.id "
        "WHERE content.picture_id = {} AND file.folder_id IN (SELECT value FROM json_each(?1)))"
    )
    unconfirmed = " UNION ALL ".join(
        f"SELECT a, b, mirrored FROM match WHERE near = 1 AND verdict = {Verdict.SAME.code} AND closely = {look.value}"
        for look in (CloserLook.LATER, CloserLook.AT_ONCE)
    )
    return database.rows(
        f"WITH pair AS (SELECT a, b, mirrored, {size.format('a')} AS one, {size.format('b')} AS other "
        f"FROM ({unconfirmed})) SELECT a, b, mirrored FROM pair WHERE one IS NOT NULL AND other IS NOT NULL "
        "ORDER BY min(one, other) DESC, a, b, mirrored",
        (json.dumps(folders_under(database, roots)),),
    )


def paths_of_folders(database: Database) -> dict[int, bytes]:
    """The paths of all folders, by id."""
    return dict(database.rows("SELECT id, path FROM folder"))


def latest_dates_of_pictures(database: Database) -> list[tuple[int, str, int | None]]:
    """Of each picture that a file shows: its id, when its files were taken last (empty: none tells), and a time in ns.

    That is when the latest of those that do not tell was modified, since 1970; None if all tell.
    """
    return database.rows(
        "SELECT picture_id, max(captured), max(CASE captured WHEN '' THEN mtime_ns END) "
        "FROM content JOIN file ON file.content_id = content.id WHERE picture_id IS NOT NULL GROUP BY picture_id"
    )


def folders_under(database: Database, paths: Iterable[bytes]) -> list[int]:
    """The ids of these folders and of all below them."""
    found: set[int] = set()
    for path in paths:
        where, bindings = under(path.rstrip(b"/") or b"/")
        found.update(row[0] for row in database.rows(f"SELECT id FROM folder WHERE {where}", bindings))
    return sorted(found)


def folders_of_files_at_or_under(database: Database, paths: Iterable[bytes]) -> list[int]:
    """The ids of the folders of all files that have one of these paths or lie below it."""
    paths = list(paths)
    found = set(folders_under(database, paths))
    for path in paths:
        folder, _, name = path.rpartition(b"/")
        found.update(
            row[0]
            for row in database.rows(
                "SELECT folder.id FROM folder JOIN file ON file.folder_id = folder.id "
                "WHERE folder.path = ? AND file.name = ?",
                (folder or b"/", name),
            )
        )
    return sorted(found)


def _chunks(picture_ids: Iterable[int]) -> Iterator[list[int]]:
    wanted = list(picture_ids)
    for start in range(0, len(wanted), _CHUNK):
        yield wanted[start : start + _CHUNK]


def matches_from_nearest(database: Database, picture_id: int) -> list[tuple[int, bool]]:
    """The stored matches of a picture, the nearest in structure first: the other one, and whether it is mirrored."""
    rows = database.rows(
        "SELECT b, structure, mirrored FROM match WHERE a = ? "
        "UNION ALL SELECT a, structure, mirrored FROM match WHERE b = ? ORDER BY 2",
        (picture_id, picture_id),
    )
    return [(other, bool(mirrored)) for other, _, mirrored in rows]


def copies_of_digest(database: Database, digest: bytes) -> list[Copy]:
    """All files with these very bytes that show a picture."""
    found = database.rows("SELECT DISTINCT picture_id FROM content WHERE digest = ? AND picture_id NOT NULL", (digest,))
    return [copy for copy in copies_of(database, [row[0] for row in found]) if copy.content_digest == digest]
