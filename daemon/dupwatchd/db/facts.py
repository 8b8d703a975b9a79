"""Facts: the few values that hold for the whole state directory (thumbnail side, what was compared, versions)."""

from typing import Any

from dupwatchd.db.connection import Database


def read(database: Database) -> dict[str, Any]:
    """All facts by name."""
    return dict(database.rows("SELECT name, value FROM fact"))


def write(database: Database, facts: dict[str, Any]) -> None:
    """Set facts; part of the caller's transaction if there is one."""
    database.many(
        "INSERT INTO fact VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", list(facts.items())
    )
