"""Where settings come from: flags, environment, file; each is read into values by name, and knows where they stood.

Names are dotted: ``index.workers``. Whether a value is allowed is not decided here (see ``settings``).
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from dupwatchd.errors import UsageError

PREFIX = "DUPWATCH_"
FILE_NAME = "dupwatch.toml"
_NO_SETTINGS = {"DUPWATCH_CONFIG"}  # ours too, but not a setting


class Source(NamedTuple):
    """Values by name, and where each was written."""

    values: dict[str, Any]
    where: Callable[[str], str]


def find_file(given: str | None, *, service: bool = False) -> str | None:
    """The settings file: the one given, else ``$DUPWATCH_CONFIG``, else, for the service, the installed one if there.

    One-shot commands do not read the service's file unasked: the state it names belongs to somebody else.
    """
    named = given or os.environ.get(PREFIX + "CONFIG")
    if named or not service:
        return named or None
    own = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    # systemd names the folder that belongs to the unit; without it, the user's own file comes before the system's
    handed = os.environ.get("CONFIGURATION_DIRECTORY", "").partition(":")[0]
    folders = [handed] if handed else [os.path.join(own, "dupwatch"), "/etc/dupwatch"]
    return next((path for folder in folders if os.path.exists(path := os.path.join(folder, FILE_NAME))), None)


def from_flags(flags: Mapping[str, Any]) -> Source:
    """The flags of the command line, nested as the settings are."""
    return Source(_by_name(flags), lambda _name: "flag")


def from_environment(names: Iterable[str], lists: Collection[str]) -> Source:
    """The variables that set one of the ``names``; those of ``lists`` hold a JSON list.

    Raises UsageError for a variable of ours that sets nothing.
    """
    variables = {_variable(name): name for name in names}
    values: dict[str, Any] = {}
    for variable, text in os.environ.items():
        name = variables.get(variable)
        if name is not None:
            values[name] = _json_list(variable, text) if name in lists else text
        elif variable.startswith(PREFIX) and variable not in _NO_SETTINGS:
            raise UsageError(f"environment: no setting is called {variable}{meant(variable, variables)}")
    return Source(values, lambda name: f"environment {_variable(name)}")


def from_file(path: str) -> Source:
    """A TOML file; raises UsageError with file and line for one that cannot be read."""
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8")
        values = _by_name(tomllib.loads(text))
    except OSError as error:
        raise UsageError(f"cannot read the settings file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: the settings file is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(_broken(path, str(error), text)) from error

    def where(name: str) -> str:
        line = _line_of(text, name)
        return f"{path}:{line}" if line else path

    return Source(values, where)


def meant(name: str, known: Collection[str]) -> str:
    """A suggestion, to be put behind "no such setting"; empty if nothing is near."""
    near = difflib.get_close_matches(name, known, 1)
    last = name.rpartition(".")[2]
    near = near or [other for other in known if other.rpartition(".")[2] == last]  # right key, wrong section
    return f"; is {near[0]} meant?" if near else ""


def _variable(name: str) -> str:
    return PREFIX + name.replace(".", "__").upper()


def _by_name(nested: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping) and value:
            values.update({f"{name}.{key}": inner for key, inner in value.items()})
        else:
            values[name] = value
    return values


def _json_list(variable: str, text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list):
        raise UsageError(f'environment: {variable} must be a JSON list such as ["one", "two"], not {text!r}')
    return value


def _broken(path: str, message: str, text: str) -> str:
    said, place, _ = message.partition(" (at ")
    line = re.search(r"line (\d+)", message)
    number = int(line[1]) if line else len(text.splitlines())
    return f"{path}:{number}: this is not TOML: {said[:1].lower()}{said[1:]}" if place else f"{path}: {message}"


def _line_of(text: str, name: str) -> int | None:
    """The line that sets a name, or opens its section; a key inside a string of several lines may fool it."""
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
            section = _plain(header[1])
            found = section
        elif entry := re.match(r"\s*([\w\"'. -]+?)\s*=", line):
            found = f"{section}.{_plain(entry[1])}".lstrip(".")
        else:
            continue
        if found == name or (found + ".").startswith(name + "."):
            return number
    return None


def _plain(key: str) -> str:
    return re.sub(r"[\"' ]", "", key)
