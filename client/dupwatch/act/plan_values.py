"""Checks the single values of a plan that somebody may have written by hand.

In: what JSON has given, and the place where it stands, in words for people. Out: the value, or a PlanError of one line.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

from dupwatch.act.errors import PlanError
from dupwatch.terminal import printable

Value = TypeVar("Value")

_INTEGER_MAX = (1 << 64) - 1
INTEGER_LEAST = -_INTEGER_MAX  # times before 1970, and numbers that a signed integer could not hold


class Values:
    """Checks the values of one document, which errors call ``name``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def fail(self, where: str, what: str) -> NoReturn:
        """Raise PlanError for what stands somewhere."""
        raise PlanError(f"{self._name}: {where}: {what}; nothing was touched")

    def object_at(self, value: object, where: str, known: frozenset[str], needed: frozenset[str]) -> dict[str, Any]:
        """Return an object that has these entries."""
        if not isinstance(value, dict):
            self.fail(where, "must be an object")
        for key in value:
            if key not in known:
                self.fail(where, f"has an unknown entry {shown(key)}")
        for key in sorted(needed):
            if key not in value:
                self.fail(where, f"lacks `{key}`")
        return value

    def each(self, value: object, where: str, read: Callable[[object, str], Value]) -> tuple[Value, ...]:
        """Return a list, each of its values read."""
        if not isinstance(value, list):
            self.fail(where, "must be a list")
        return tuple(read(one, f"{where}[{number}]") for number, one in enumerate(value))

    def text(self, value: object, where: str) -> str:
        """Return a text."""
        if not isinstance(value, str):
            self.fail(where, "must be a text")
        return value

    def integer(self, value: object, where: str, least: int = 0) -> int:
        """Return a whole number of at most 64 bits."""
        if type(value) is not int or not least <= value <= _INTEGER_MAX:
            self.fail(where, "must be a whole number" + (", not negative" if least == 0 else ""))
        return value

    def path(self, value: object, where: str) -> bytes:
        """Return an absolute path in its shortest form."""
        text = self.text(value, where)
        try:
            path = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            self.fail(where, "is no path: it holds half a character")
        if not path.startswith(b"/"):
            self.fail(where, f"{shown(text)} is no absolute path")
        if b"\0" in path:
            self.fail(where, "is no path: it holds a NUL byte")
        if path != b"/" and any(part in (b"", b".", b"..") for part in path[1:].split(b"/")):
            self.fail(where, f"{shown(text)} holds `..`, `.` or an empty name")
        return path


def parsed_json(data: bytes, name: str) -> object:
    """Return what JSON says; raises PlanError if it is none, or not plain: NaN, entries that are there twice."""
    try:
        return json.loads(data, parse_constant=_refuse_constant, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{name} is no plan: it is not JSON ({in_words(error)})") from None


def _without_doubles(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the entry {shown(key)} is there twice")
        found[key] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def in_words(error: Exception) -> str:
    """Return what an error says, in one line."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return printable(str(error))


def shown(value: object) -> str:
    """Return a value of a document in at most 80 characters that are safe to show."""
    text = printable(repr(value))
    return text if len(text) <= 80 else text[:77] + "..."
