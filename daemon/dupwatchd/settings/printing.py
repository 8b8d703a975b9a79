"""The settings as text, for `dupwatchd config`: those in force, and an example file.

Both are TOML and can be read again. They are made from the declarations in `model`: names, docstrings, limits,
examples.
"""

import ast
import inspect
import json
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from dupwatch.terminal import printable
from dupwatchd.settings import LIVE, Loaded, Settings, fields, values


def as_document(loaded: Loaded) -> dict[str, Any]:
    """The settings in force, for programs: each with its value and where that came from."""
    settings = {name: {"value": value, "from": loaded.origins[name]} for name, value in values(loaded.settings).items()}
    return {"file": loaded.file, "settings": settings}


def in_force(loaded: Loaded) -> str:
    """The settings in force, as a settings file; a comment after each value says where it came from."""
    lines = [f"# in force with {printable(loaded.file) if loaded.file else 'no settings file'}"]
    now = values(loaded.settings)
    for section, names in _by_section():
        lines += ["", f"[{section}]"] if section else [""]
        for name in names:
            line = _assignment(name, now[name])
            lines.append(f"{line:<40}  # {printable(loaded.origins[name])}")
    return "\n".join(lines) + "\n"


def example() -> str:
    """A settings file with every setting, commented out: its default, or an example if the default is no value."""
    lines = [
        "# Settings of dupwatchd, as /etc/dupwatch/dupwatch.toml or, for your own service, in ~/.config/dupwatch.",
        "# Flags come before the environment (DUPWATCH_INDEX__WORKERS=1), that before this file, that before defaults.",
        "# Lines that set something are commented out: they show the default, or an example where it says so.",
        "# `dupwatchd config` shows what is in force; `systemctl reload dupwatchd` takes up changes.",
    ]
    known = fields()
    for section, names in _by_section():
        model = Settings.model_fields[section].annotation if section else Settings
        assert isinstance(model, type)
        said = _docstrings(model)
        lines += ["", "", f"# {model.__doc__}", f"[{section}]"] if section else []
        for name in names:
            lines += ["", f"# {said[name.rpartition('.')[2]]}", f"# {_remarks(known[name])}"]
            lines.append("#" + _assignment(name, _shown(known[name])).removeprefix("#"))
    return "\n".join(lines) + "\n"


def _by_section() -> Iterator[tuple[str, list[str]]]:
    names = list(fields())
    for section in dict.fromkeys(name.rpartition(".")[0] for name in names):
        yield section, [name for name in names if name.rpartition(".")[0] == section]


def _assignment(name: str, value: Any) -> str:
    """One line of TOML; commented out where there is no value, or none that TOML can hold."""
    key = name.rpartition(".")[2]
    if value is None:
        return f"#{key} ="
    text = _toml(value)
    try:
        text.encode()
    except UnicodeEncodeError:  # a path that is not UTF-8
        return f"#{key} = {printable(text)}"
    return f"{key} = {text}"


def _toml(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):  # JSON's notation of strings is valid in TOML, except for one character
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def _shown(field: FieldInfo) -> Any:
    return field.examples[0] if field.examples else field.default


def _remarks(field: FieldInfo) -> str:
    """What is allowed, whether the line is an example, and when a change takes effect."""
    allowed = _allowed(field)
    shown = "Not set; an example:" if field.examples else ""
    when = "A reload takes it up." if LIVE in field.metadata else "Needs a restart."
    return " ".join(part for part in (allowed, when, shown) if part)


def _allowed(field: FieldInfo) -> str:
    limits = {
        name: getattr(limit, name) for limit in field.metadata for name in ("ge", "gt", "le") if hasattr(limit, name)
    }
    low = f"At least {limits['ge']:g}" if "ge" in limits else f"More than {limits['gt']:g}" if "gt" in limits else ""
    high = f"at most {limits['le']:g}" if "le" in limits else ""
    choices = getattr(field.annotation, "__args__", ())
    if choices and not limits and all(isinstance(choice, str | int) for choice in choices):
        return "One of " + ", ".join(map(_toml, choices)) + "."
    return ", ".join(part for part in (low, high) if part) + "." if limits else ""


def _docstrings(model: type) -> dict[str, str]:
    """The docstring below each field of a model; pydantic would parse the source at each start for them."""
    [definition] = ast.parse(inspect.getsource(model)).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            found[field.target.id] = str(ast.literal_eval(below.value))
    return found
