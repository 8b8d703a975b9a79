"""Where settings come from: flags, environment, file. Each source reads its values and knows where each one stood.

Going in: the flags of the command line, the environment of the process, the path of a TOML file. Coming out: values
by dotted name (``index.workers``). Which source comes before which, and whether a value is allowed, is decided in
`model`. The sources are those of pydantic-settings, made stricter where the library passes over a mistake in silence.
"""

import json
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from pydantic.fields import FieldInfo

from dupwatchd.errors import UsageError
from dupwatchd.settings.library import BaseSettings, EnvSettingsSource, InitSettingsSource, TomlConfigSettingsSource

PREFIX = "DUPWATCH_"
FILE_NAME = "dupwatch.toml"
SYSTEM_FOLDER = "/etc/dupwatch"
_NOT_SETTINGS = {"DUPWATCH_CONFIG"}  # names the settings file


class Source(Protocol):
    """A place that settings come from."""

    def __call__(self) -> dict[str, Any]:
        """The values found there, nested as the settings are."""

    def where(self, name: str) -> str:
        """Where the value of a setting stands, to be shown to people."""


def find_file(given: str | None, *, service: bool = False) -> str | None:
    """The settings file: ``given``, else ``$DUPWATCH_CONFIG``, else, for the service, the installed one if any.

    Commands that run once do not read the service's file unasked: the state it names belongs to somebody else.
    """
    named = given or os.environ.get(PREFIX + "CONFIG")
    if named or not service:
        return named or None
    return next(iter(installed_files()), None)


def installed_files() -> list[str]:
    """The settings files that a service reads unasked and that exist: the first one is read."""
    own = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    # systemd names the folder that belongs to the unit; without it, the user's own file comes before the system's
    handed = os.environ.get("CONFIGURATION_DIRECTORY", "").partition(":")[0]
    folders = [handed] if handed else [os.path.join(own, "dupwatch"), SYSTEM_FOLDER]
    return [path for folder in folders if os.path.exists(path := os.path.join(folder, FILE_NAME))]


class Flags(InitSettingsSource):
    """The flags of the command line, nested as the settings are."""

    def where(self, name: str) -> str:  # noqa: ARG002 - every source is asked in the same way
        """Flags have no place of their own."""
        return "flag"


class Environment(EnvSettingsSource):
    """The variables ``DUPWATCH_…``; those of settings that are lists hold a JSON list.

    Raises UsageError for a variable of ours that sets nothing, also for one in small letters, which the library would
    take, and for a list that is none.
    """

    def __init__(self, settings: type[BaseSettings], known: Mapping[str, FieldInfo]) -> None:
        self._known = known
        variables = {_variable(name) for name in known}
        for variable in os.environ:
            ours = variable.upper().startswith(PREFIX)
            if ours and variable not in variables and variable not in _NOT_SETTINGS:
                raise UsageError(
                    f"environment: no setting is called {variable}{meant(variable.upper(), sorted(variables))}"
                )
        super().__init__(settings, case_sensitive=False, env_prefix=PREFIX, env_nested_delimiter="__")

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: str) -> Any:
        """Read a JSON list; the library's own error would not say which variable is meant."""
        variable = next((_variable(name) for name, known in self._known.items() if known is field), field_name)
        return _json_list(variable, value)

    def where(self, name: str) -> str:
        """The name of the variable."""
        return f"environment {_variable(name)}"


class File(TomlConfigSettingsSource):
    """A TOML file.

    Raises UsageError, with file and line where there is one, for a file that cannot be read or understood.
    """

    def __init__(self, settings: type[BaseSettings], path: str) -> None:
        self._path, self._text = path, _read(path)
        super().__init__(settings, path)

    def _read_files(self, *_arguments: object, **_options: object) -> dict[str, Any]:
        """The library would take a missing file, or a pipe, for an empty one; ours has been read already."""
        try:
            return tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(_broken(self._path, str(error), self._text)) from error

    def where(self, name: str) -> str:
        """The file, with the line that sets this name if it can be told."""
        line = _line_of(self._text, name)
        return f"{self._path}:{line}" if line else self._path


def by_name(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name; what is an empty section stays under the name of the section."""
    values: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping) and value:
            values.update({f"{name}.{key}": inner for key, inner in value.items()})
        else:
            values[name] = value
    return values


def meant(name: str, known: Collection[str]) -> str:
    """A suggestion, to be put behind "no such setting"; empty if nothing is near."""
    import difflib  # only mistakes need it

    near = difflib.get_close_matches(name, known, 1)
    last = name.rpartition(".")[2]
    near = near or [other for other in known if other.rpartition(".")[2] == last]  # right key, wrong section
    return f"; is {near[0]} meant?" if near else ""


def _variable(name: str) -> str:
    return PREFIX + name.replace(".", "__").upper()


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the settings file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: the settings file is not UTF-8 text") from error


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
    """The line that sets a name or opens its section.

    Lines are matched one by one, so a line inside a string of several lines can be taken for a setting.
    """
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
