"""Facts: the few values that hold for the whole state directory (thumbnail side, what was compared, versions)."""

import json
from dataclasses import asdict
from typing import Any

from dupwatchd.db.connection import Database
from dupwatchd.model import Limits


def read(database: Database) -> dict[str, Any]:
    """All facts by name."""
    return dict(database.rows("SELECT name, value FROM fact"))


def write(database: Database, facts: dict[str, Any]) -> None:
    """Set facts; part of the caller's transaction if there is one."""
    database.many(
        "INSERT INTO fact VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", list(facts.items())
    )


def compared_within(database: Database) -> Limits | None:
    """What the stored matches were compared with; None if nothing was yet, or a repair asks for all anew."""
    stored = read(database).get("compared")
    try:
        return Limits(**json.loads(stored)) if stored else None
    except (TypeError, ValueError) as error:
        raise database.damaged(f"fact compared is {stored!r}") from error


def write_compared(database: Database, limits: Limits | None) -> None:
    """All pictures have been compared with these limits; None: they are to be compared anew."""
    write(database, {"compared": json.dumps(asdict(limits)) if limits else None})
