"""The tables, and how an older database becomes a newer one: by the ordered steps that it lacks."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from dupwatchd.suffixes import claims_to_be_a_picture

if TYPE_CHECKING:
    from dupwatchd.db.connection import Database

APPLICATION_ID = 0x64757077  # "dupw", so that `file` and we ourselves can tell whose database this is

_FIRST = """
CREATE TABLE fact (           -- what holds for the whole state directory
    name TEXT PRIMARY KEY,
    value ANY
) STRICT, WITHOUT ROWID;

CREATE TABLE folder (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,
    device INTEGER NOT NULL,
    listing BLOB              -- digest of names and stamps as last committed; NULL: look again
) STRICT;

CREATE TABLE picture (        -- one distinct thumbnail; id is its slot in the blocks
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    flat INTEGER NOT NULL     -- 1: too little detail to tell copies from look-alikes; never matched
) STRICT;

CREATE TABLE free_slot (      -- slots of pictures that are gone, to be used again
    id INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE content (        -- one distinct file content, read in one way
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    way INTEGER NOT NULL,     -- camera raw and the like are known by their suffix, not by their bytes
    picture_id INTEGER REFERENCES picture(id),
    width INTEGER,
    height INTEGER,
    format TEXT,
    error TEXT,               -- why it could not be decoded
    foreign_kind INTEGER NOT NULL, -- 1: it is no image at all; an error only for names that promise one
    UNIQUE (digest, way),
    CHECK ((picture_id IS NULL) = (error IS NOT NULL))
) STRICT;
CREATE INDEX content_of_picture ON content(picture_id);

CREATE TABLE file (
    id INTEGER PRIMARY KEY,
    folder_id INTEGER NOT NULL REFERENCES folder(id),
    name BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    pending INTEGER NOT NULL, -- 1: seen, not yet read
    content_id INTEGER REFERENCES content(id),
    error TEXT,               -- why it could not be read at all
    UNIQUE (folder_id, name)
) STRICT;
CREATE INDEX file_of_content ON file(content_id);
CREATE INDEX file_pending ON file(id) WHERE pending = 1;
CREATE INDEX file_unreadable ON file(id) WHERE error IS NOT NULL;
CREATE INDEX content_failed ON content(id) WHERE error IS NOT NULL;

CREATE TABLE match (          -- a < b; the smallest value over the four turns, unmirrored or mirrored
    a INTEGER NOT NULL REFERENCES picture(id),
    b INTEGER NOT NULL REFERENCES picture(id),
    mirrored INTEGER NOT NULL,
    mse REAL NOT NULL,
    structure REAL NOT NULL,
    PRIMARY KEY (a, b, mirrored),
    CHECK (a < b)
) STRICT, WITHOUT ROWID;
CREATE INDEX match_reverse ON match(b, a);
"""


def _create(database: "Database") -> None:
    for statement in _FIRST.split(";\n"):
        if statement.strip():
            database.rows(statement)


def _keep_forest(database: "Database") -> None:
    """Of the matches only a spanning forest need be there; removing a picture may call for some to be found again."""
    database.rows("ALTER TABLE match ADD COLUMN own REAL")  # the user's own measure
    database.rows("CREATE TABLE rejoin (picture_id INTEGER PRIMARY KEY) STRICT")


def _call_it_custom(database: "Database") -> None:
    """The user's measure has the same name here as in the settings."""
    database.rows("ALTER TABLE match RENAME COLUMN own TO custom")
    database.rows(
        """UPDATE fact SET value = replace(replace(value, '"own"', '"custom"'), '"keep_own"', '"keep_custom"') """
        "WHERE name = 'compared'"
    )


_COUNTS = """
CREATE TABLE root (           -- the roots in force; id 0 stands for all that lies under none of them
    id INTEGER PRIMARY KEY,
    path BLOB UNIQUE,
    prefix BLOB,              -- the path with a slash at its end
    files INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO root (id) VALUES (0);

CREATE TABLE tally (          -- how many rows a table has
    name TEXT PRIMARY KEY,
    number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO tally VALUES ('picture', (SELECT count(*) FROM picture)), ('match', (SELECT count(*) FROM match));

ALTER TABLE folder ADD COLUMN root_id INTEGER NOT NULL DEFAULT 0;
ALTER TABLE file ADD COLUMN failed INTEGER NOT NULL DEFAULT 0; -- 1: to be told as a file that could not be read

CREATE TABLE loose_content (  -- contents that have lost a file and may have none any more
    id INTEGER PRIMARY KEY
) STRICT;
INSERT INTO loose_content SELECT id FROM content WHERE NOT EXISTS (SELECT 1 FROM file WHERE content_id = content.id);
DELETE FROM fact WHERE name = 'untidy';

CREATE INDEX file_failed ON file(id) WHERE failed = 1;
"""

_TRIGGERS = (
    """
    CREATE TRIGGER folder_added AFTER INSERT ON folder BEGIN
        UPDATE folder SET root_id = root.id FROM root
        WHERE folder.id = NEW.id
        AND (root.path = NEW.path OR root.prefix = substr(NEW.path, 1, length(root.prefix)));
    END
    """,
    """
    CREATE TRIGGER file_added AFTER INSERT ON file BEGIN
        UPDATE root SET files = files + 1, pending = pending + (NEW.pending > 0), failed = failed + NEW.failed
        WHERE id = (SELECT root_id FROM folder WHERE id = NEW.folder_id);
    END
    """,
    """
    CREATE TRIGGER file_removed AFTER DELETE ON file BEGIN
        UPDATE root SET files = files - 1, pending = pending - (OLD.pending > 0), failed = failed - OLD.failed
        WHERE id = (SELECT root_id FROM folder WHERE id = OLD.folder_id);
        INSERT INTO loose_content SELECT OLD.content_id
        WHERE OLD.content_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM loose_content WHERE id = OLD.content_id);
    END
    """,
    """
    CREATE TRIGGER file_replaced AFTER UPDATE OF content_id ON file
    WHEN OLD.content_id IS NOT NULL AND OLD.content_id IS NOT NEW.content_id
    AND NOT EXISTS (SELECT 1 FROM loose_content WHERE id = OLD.content_id) BEGIN
        INSERT INTO loose_content VALUES (OLD.content_id);
    END
    """,
    """
    CREATE TRIGGER file_changed AFTER UPDATE OF pending, failed ON file
    WHEN (OLD.pending > 0) != (NEW.pending > 0) OR OLD.failed != NEW.failed BEGIN
        UPDATE root SET pending = pending - (OLD.pending > 0) + (NEW.pending > 0),
            failed = failed - OLD.failed + NEW.failed
        WHERE id = (SELECT root_id FROM folder WHERE id = NEW.folder_id);
    END
    """,
    *(
        f"CREATE TRIGGER {table}_{what} AFTER {event} ON {table} BEGIN "
        f"UPDATE tally SET number = number {step} WHERE name = '{table}'; END"
        for table in ("picture", "match")
        for what, event, step in (("added", "INSERT", "+ 1"), ("removed", "DELETE", "- 1"))
    ),
)


def _count_as_it_goes(database: "Database") -> None:
    """What is asked for after every change is kept by triggers, so that it costs the same for any size of the library.

    That is how many files lie under each root, how many pictures and matches there are, and which contents may have
    lost their last file.
    """
    for statement in _COUNTS.split(";\n"):
        if statement.strip():
            database.rows(statement)
    broken = database.rows(
        "SELECT file.id, name, file.error, foreign_kind FROM file LEFT JOIN content ON content.id = content_id "
        "WHERE file.error IS NOT NULL OR content.error IS NOT NULL"
    )
    failed = [row[0] for row in broken if row[2] is not None or not row[3] or claims_to_be_a_picture(row[1])]
    database.many("UPDATE file SET failed = 1 WHERE id = ?", [(file_id,) for file_id in failed])
    database.rows(
        "UPDATE root SET (files, pending, failed) = "
        "(SELECT count(*), coalesce(sum(pending), 0), coalesce(sum(failed), 0) FROM file)"
    )
    for trigger in _TRIGGERS:
        database.rows(trigger)


_VERDICTS = """
ALTER TABLE content ADD COLUMN damage TEXT;      -- what is wrong with a file that could be read in spite of it
ALTER TABLE content ADD COLUMN frames INTEGER NOT NULL DEFAULT 1;
ALTER TABLE content ADD COLUMN camera TEXT NOT NULL DEFAULT '';
ALTER TABLE content ADD COLUMN captured TEXT NOT NULL DEFAULT '';
ALTER TABLE content ADD COLUMN has_place INTEGER NOT NULL DEFAULT 0;
ALTER TABLE content ADD COLUMN rating INTEGER NOT NULL DEFAULT 0;
ALTER TABLE content ADD COLUMN edited INTEGER NOT NULL DEFAULT 0;
ALTER TABLE content ADD COLUMN has_colour INTEGER NOT NULL DEFAULT 1;
ALTER TABLE content ADD COLUMN lossless INTEGER NOT NULL DEFAULT 0;
ALTER TABLE content ADD COLUMN jpeg_grid INTEGER NOT NULL DEFAULT 0;
ALTER TABLE content ADD COLUMN quality INTEGER NOT NULL DEFAULT 0;
ALTER TABLE content ADD COLUMN scan_digest BLOB NOT NULL DEFAULT x'';

ALTER TABLE match ADD COLUMN near INTEGER NOT NULL DEFAULT 0; -- 1: one is among the nearest of the other
ALTER TABLE match ADD COLUMN joins INTEGER NOT NULL DEFAULT 1; -- 1: it belongs to a spanning forest
ALTER TABLE match ADD COLUMN verdict INTEGER;    -- see `model.Verdict.code`; NULL: not looked at yet
ALTER TABLE match ADD COLUMN confirmed INTEGER;  -- by a closer look: 1 the same, 0 not; NULL: no answer
ALTER TABLE match ADD COLUMN closely INTEGER NOT NULL DEFAULT 0; -- a look at the photos: 1 wanted at once, 2 done
ALTER TABLE match ADD COLUMN nearer INTEGER;     -- nearer the original: -1 a, 1 b, 0 not shown; NULL: not looked at
CREATE INDEX match_joining ON match(a, b) WHERE joins = 1;
CREATE INDEX match_joining_reverse ON match(b, a) WHERE joins = 1;
CREATE INDEX match_to_look_at_closely ON match(a, b) WHERE closely = 1;
CREATE INDEX match_to_confirm ON match(a, b) WHERE verdict = 2 AND closely = 0;
CREATE INDEX match_to_look_at ON match(a, b) WHERE near = 1 AND verdict IS NULL;

-- picture.digest is that of thumbnail, proof and frames from now on: two pictures may have one thumbnail
ALTER TABLE picture ADD COLUMN thumbnail_digest BLOB NOT NULL DEFAULT x'';
UPDATE picture SET thumbnail_digest = digest;
ALTER TABLE picture ADD COLUMN proof_digest BLOB; -- NULL: there is no proof yet
CREATE INDEX picture_without_proof ON picture(id) WHERE proof_digest IS NULL;
"""


def _look_again(database: "Database") -> None:
    """Matches get a verdict by a second look; pictures of before have no proof, and are read again for one."""
    for statement in _VERDICTS.split(";\n"):
        if statement.strip():
            database.rows(statement)


_REMEMBERED = """
CREATE TABLE ignored_pair (   -- two contents of which somebody said that they are not duplicates; a < b
    a BLOB NOT NULL,
    b BLOB NOT NULL,
    made_at INTEGER NOT NULL, -- seconds since 1970
    PRIMARY KEY (a, b),
    CHECK (a < b)
) STRICT, WITHOUT ROWID;

CREATE TABLE decision (       -- what somebody wants to become of a content
    digest BLOB NOT NULL,
    path BLOB NOT NULL,       -- x'': every file with these bytes; else this one alone, for others have them, too
    choice TEXT NOT NULL CHECK (choice IN ('keep', 'go')),
    made_at INTEGER NOT NULL,
    PRIMARY KEY (digest, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE removed_content ( -- a content of which files were removed as duplicates
    digest BLOB PRIMARY KEY,
    stayed INTEGER NOT NULL,  -- how many files with these bytes were still there
    made_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""


def _remember_contents(database: "Database") -> None:
    """What people say of contents, and which ones were removed, is kept by the digest of their bytes.

    It refers to no row of another table, so that it survives renames, indexing anew and the loss of all files.
    """
    for statement in _REMEMBERED.split(";\n"):
        if statement.strip():
            database.rows(statement)


def _know_keywords(database: "Database") -> None:
    """Contents have keywords; NULL: it was decoded before they were read, and is read again for them."""
    database.rows("ALTER TABLE content ADD COLUMN keywords TEXT")
    database.rows("UPDATE content SET keywords = '' WHERE picture_id IS NULL")
    database.rows("CREATE INDEX content_without_keywords ON content(id) WHERE keywords IS NULL")


_PARTS = """
CREATE TABLE part_match (     -- two pictures that may share a part, found by their keypoints; a < b
    a INTEGER NOT NULL REFERENCES picture(id),
    b INTEGER NOT NULL REFERENCES picture(id),
    votes INTEGER NOT NULL,   -- keypoints that agree
    mse REAL NOT NULL,        -- as of `match`, unmirrored
    structure REAL NOT NULL,
    within INTEGER NOT NULL,  -- 1: within the limits of a match, and looked at as such
    verdict INTEGER,          -- see `model.Verdict.code`; 0: they share a part at most; NULL: not looked at yet
    turn INTEGER NOT NULL DEFAULT 0,       -- degrees by which the second is turned clockwise to lie on the first
    shows_more INTEGER NOT NULL DEFAULT 0, -- -1 a, 1 b, 0: neither
    framed INTEGER NOT NULL DEFAULT 0,     -- 1: what it shows more is only what lies around the picture
    outline TEXT,             -- where the other lies in it: corners in fractions of its width and height, as JSON
    PRIMARY KEY (a, b),
    CHECK (a < b)
) STRICT, WITHOUT ROWID;
CREATE INDEX part_match_reverse ON part_match(b, a);
CREATE INDEX part_match_joining ON part_match(a, b) WHERE within = 0 AND coalesce(verdict, -1) != 0;
CREATE INDEX part_match_to_look_at ON part_match(a, b) WHERE verdict IS NULL AND within = 0;

ALTER TABLE match ADD COLUMN shows_more INTEGER NOT NULL DEFAULT 0; -- of a cropped one; these three as of `part_match`
ALTER TABLE match ADD COLUMN framed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE match ADD COLUMN outline TEXT;

ALTER TABLE picture ADD COLUMN parted INTEGER NOT NULL DEFAULT 0; -- 1: what shares a part with it was searched
CREATE INDEX picture_to_part ON picture(id) WHERE parted = 0 AND flat = 0 AND proof_digest IS NOT NULL;
"""


def _find_parts(database: "Database") -> None:
    """Pictures that share a part are found by keypoints, which are made from the proofs that are there."""
    for statement in _PARTS.split(";\n"):
        if statement.strip():
            database.rows(statement)


OF_SEVERAL_CONTENTS = (
    "SELECT picture_id FROM content WHERE picture_id IS NOT NULL GROUP BY picture_id HAVING count(*) > 1"
)
_TELL_APART = f"""
ALTER TABLE content ADD COLUMN pixels BLOB; -- see `model.KIND_BYTES`; x'': nobody can tell; NULL: not read for that
CREATE INDEX content_with_pixels ON content(picture_id, pixels) WHERE pixels IS NOT NULL;

CREATE TABLE content_look (   -- two contents of one picture with other pixels, looked at themselves; a < b
    picture_id INTEGER NOT NULL REFERENCES picture(id) ON DELETE CASCADE,
    a BLOB NOT NULL,          -- `content.pixels`: what holds for one content holds for all that are equal to it
    b BLOB NOT NULL,
    verdict INTEGER NOT NULL, -- see `model.Verdict.code`
    confirmed INTEGER,        -- 1 the same, 0 not; NULL: it could not tell
    PRIMARY KEY (picture_id, a, b),
    CHECK (a < b)
) STRICT, WITHOUT ROWID;

CREATE TABLE picture_to_tell ( -- pictures whose contents are to be told apart
    picture_id INTEGER PRIMARY KEY REFERENCES picture(id) ON DELETE CASCADE
) STRICT;
INSERT INTO picture_to_tell {OF_SEVERAL_CONTENTS};
UPDATE content SET scan_digest = x'' WHERE format = 'JPEG'; -- they left out profiles, and films behind a JPEG
"""


def _to_tell(row: str) -> str:
    """The statement of a trigger: the picture of a row is to be told apart if it has several contents."""
    return (
        f"INSERT INTO picture_to_tell SELECT id FROM picture WHERE id = {row}.picture_id "
        f"AND NOT EXISTS (SELECT 1 FROM picture_to_tell WHERE picture_id = {row}.picture_id) "
        f"AND (SELECT count(*) FROM (SELECT 1 FROM content WHERE picture_id = {row}.picture_id LIMIT 2)) > 1; "
    )


_DROP_LOOKS = (
    "DELETE FROM content_look WHERE picture_id = OLD.picture_id AND OLD.pixels IN (a, b) "
    "AND NOT EXISTS (SELECT 1 FROM content WHERE picture_id = OLD.picture_id AND pixels = OLD.pixels); "
)
_TRIGGERS_TO_TELL_APART = (
    f"""
    CREATE TRIGGER content_added AFTER INSERT ON content WHEN NEW.picture_id IS NOT NULL BEGIN
        {_to_tell("NEW")}
    END
    """,
    f"""
    CREATE TRIGGER content_removed AFTER DELETE ON content WHEN OLD.picture_id IS NOT NULL BEGIN
        {_DROP_LOOKS}
        {_to_tell("OLD")}
    END
    """,
    f"""
    CREATE TRIGGER content_changed AFTER UPDATE OF picture_id, pixels ON content
    WHEN OLD.picture_id IS NOT NEW.picture_id OR (OLD.pixels IS NOT NULL AND NEW.pixels IS NULL) BEGIN
        {_DROP_LOOKS}
        {_to_tell("OLD")}
        {_to_tell("NEW")}
    END
    """,
)


def _tell_contents_apart(database: "Database") -> None:
    """What the contents of one picture are to each other is looked at; all there are wait for that."""
    for statement in _TELL_APART.split(";\n"):
        if statement.strip():
            database.rows(statement)
    for trigger in _TRIGGERS_TO_TELL_APART:
        database.rows(trigger)


def _know_places(database: "Database") -> None:
    """Contents have the place where they were taken; NULL: only that there is one is known, and it is read again."""
    database.rows("ALTER TABLE content ADD COLUMN place TEXT")
    database.rows("UPDATE content SET place = '' WHERE has_place = 0")
    database.rows("DROP INDEX content_without_keywords")
    database.rows("CREATE INDEX content_to_read_again ON content(id) WHERE keywords IS NULL OR place IS NULL")


_CAPTIONS = """
ALTER TABLE content ADD COLUMN captions TEXT;    -- NULL: it was decoded before these four were read, and is read again
ALTER TABLE content ADD COLUMN people TEXT NOT NULL DEFAULT '';
ALTER TABLE content ADD COLUMN bits INTEGER NOT NULL DEFAULT 8;
ALTER TABLE content ADD COLUMN transparent INTEGER NOT NULL DEFAULT 0;
UPDATE content SET captions = '' WHERE picture_id IS NULL;
DROP INDEX content_to_read_again;
CREATE INDEX content_to_read_again ON content(id) WHERE captions IS NULL;
"""


def _know_captions(database: "Database") -> None:
    """Contents have captions and people, and tell how finely they hold colours; what was there is read again."""
    for statement in _CAPTIONS.split(";\n"):
        if statement.strip():
            database.rows(statement)


def _forget_looks_not_wanted(database: "Database") -> None:
    """What was found of a match while it was near is not kept once it is near no more."""
    database.rows(
        "UPDATE match SET verdict = NULL, confirmed = NULL, closely = 0, nearer = NULL, shows_more = 0, framed = 0, "
        "outline = NULL WHERE near = 0 AND verdict IS NOT NULL"
    )


def _read_more(database: "Database") -> None:
    """Comments, and words in more formats, are captions; what has many bits a colour is told apart by them."""
    database.rows("UPDATE content SET captions = NULL WHERE picture_id IS NOT NULL")
    database.rows("UPDATE content SET pixels = NULL WHERE bits > 8")


_PAIRS_ANEW = """
UPDATE match SET verdict = NULL, confirmed = NULL, closely = 0, nearer = NULL, shows_more = 0, framed = 0,
    outline = NULL WHERE verdict IS NOT NULL;
UPDATE part_match SET verdict = NULL, turn = 0, shows_more = 0, framed = 0, outline = NULL WHERE verdict IS NOT NULL;
DELETE FROM content_look;
"""
_ANEW = f"""
{_PAIRS_ANEW.strip()}
UPDATE content SET pixels = NULL, scan_digest = x'' WHERE format IN ('PNG', 'TIFF', 'JPEG2000') OR frames > 1;
INSERT OR IGNORE INTO picture_to_tell {OF_SEVERAL_CONTENTS};
UPDATE content SET captions = NULL WHERE picture_id IS NOT NULL;
DELETE FROM fact WHERE name = 'decoders';
"""


def _tell_all_anew(database: "Database") -> None:
    """Looks have become stricter and tell more, and some formats are decoded otherwise; what was told is not kept.

    Pairs are looked at again by their proofs, and those that are the same also closely, before anything of them may go.
    Of formats whose colours or pages were taken for others, nothing stands for equal pixels until they were read again.
    So are all contents, since a file that lacks data may have passed for a whole one; and what was refused is tried.
    """
    _run_all(database, _ANEW)


def _run_all(database: "Database", statements: str) -> None:
    for statement in statements.split(";\n"):
        if statement.strip():
            database.rows(statement)


_HELD = f"""
{_PAIRS_ANEW.strip()}
INSERT OR IGNORE INTO picture_to_tell {OF_SEVERAL_CONTENTS};
ALTER TABLE content ADD COLUMN exposure TEXT NOT NULL DEFAULT '';
ALTER TABLE content ADD COLUMN holds TEXT NOT NULL DEFAULT '';
UPDATE content SET captions = NULL WHERE picture_id IS NOT NULL;
DELETE FROM fact WHERE name = 'decoders';
"""


def _know_what_is_held(database: "Database") -> None:
    """Contents tell what files hold beside the picture, such as a film, and how it was exposed.

    All are read again for that, and what was refused is tried again. Pairs are looked at again by their proofs: other
    shades before a coloured ground are told, and more enlargements.
    """
    _run_all(database, _HELD)


_STEPS: tuple[Callable[["Database"], None], ...] = (
    _create,
    _keep_forest,
    _call_it_custom,
    _count_as_it_goes,
    _look_again,
    _remember_contents,
    _know_keywords,
    _find_parts,
    _tell_contents_apart,
    _know_places,
    _know_captions,
    _forget_looks_not_wanted,
    _read_more,
    _tell_all_anew,
    _know_what_is_held,
)
VERSION = len(_STEPS)


def migrate(database: "Database") -> None:
    """Apply the steps that are missing, all in one transaction: an older database becomes one of today, or stays."""
    missing = _STEPS[database.value("PRAGMA user_version") :]
    if not missing:
        return
    with database.transaction():
        for step in missing:
            step(database)
        database.rows(f"PRAGMA application_id = {APPLICATION_ID}")
        database.rows(f"PRAGMA user_version = {VERSION}")
