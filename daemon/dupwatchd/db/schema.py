"""The tables, and how an older database becomes a newer one: ordered steps, each applied with its own record."""

from collections.abc import Callable
from typing import TYPE_CHECKING

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


_STEPS: tuple[Callable[["Database"], None], ...] = (_create, _keep_forest, _call_it_custom)
VERSION = len(_STEPS)


def migrate(database: "Database") -> None:
    """Apply the steps that are missing; each one and its version number are committed together."""
    for version in range(database.value("PRAGMA user_version"), VERSION):
        with database.transaction():
            _STEPS[version](database)
            database.rows(f"PRAGMA application_id = {APPLICATION_ID}")
            database.rows(f"PRAGMA user_version = {version + 1}")
