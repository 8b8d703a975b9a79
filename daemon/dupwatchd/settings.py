"""The settings: read once into frozen objects; flag before environment before default; unknown keys are errors."""

import os
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from dupwatchd.errors import UsageError

Measure = Literal["mse", "structure"]
DEFAULT_THRESHOLDS: dict[Measure, float] = {"structure": 0.02, "mse": 25.0}
_PREFIX = "DUPWATCH_"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WatchSettings(_Section):
    """Which files are taken up."""

    ignore: tuple[str, ...] = ()
    """Further names and globs to leave alone; with a slash they are held against the path below the root."""
    ignore_junk: bool = True
    """Leave alone what NAS systems, sync tools and trash cans put among the photos."""
    suffixes: tuple[str, ...] = ()
    """Only files with these suffixes; empty: all that can be decoded, and files without a suffix."""

    @field_validator("suffixes")
    @classmethod
    def _with_dot(cls, suffixes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple("." + suffix.lower().lstrip(".") if suffix else "" for suffix in suffixes)


class IndexSettings(_Section):
    """How files are read and decoded."""

    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    """Worker processes; 0: one per processor this program may use."""
    thumbnail_px: Literal[16, 32, 48, 64, 80, 96, 112, 128] = 32
    """Side of the thumbnails; fixed once a state directory has pictures."""
    decode_seconds: Annotated[float, Field(gt=0, le=86_400)] = 30.0
    """A file that takes longer is given up."""
    memory_mb: Annotated[int, Field(ge=64)] = 1536
    """What decoding one file may take beyond what an idle worker has."""
    max_pixels: Annotated[int, Field(ge=1)] = 300_000_000
    """Larger pictures are refused unread."""
    max_file_mb: Annotated[int, Field(ge=1)] = 1024
    """Larger files are refused unread."""


class CompareSettings(_Section):
    """What counts as a match."""

    measure: Measure = "structure"
    """What is asked for if a query does not say."""
    threshold: Annotated[float, Field(ge=0)] | None = None
    """Likewise; empty: 0.02 for structure, 25 for mse."""
    keep_mse: Annotated[float, Field(ge=0, le=65025)] = 50.0
    """The largest threshold that can be asked for later."""
    keep_structure: Annotated[float, Field(ge=0, le=4)] = 0.04
    """Likewise."""
    mirrored: bool = False
    """Mirror images are copies too."""


class Settings(BaseSettings):
    """All settings; in the environment as ``DUPWATCH_STATE``, ``DUPWATCH_INDEX__WORKERS`` and so on."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
        frozen=True,
        extra="forbid",
    )

    state: Annotated[str, Field(min_length=1)] = Field(default_factory=lambda: default_state())
    """The state directory: database, blocks, lock."""
    watch: WatchSettings = WatchSettings()
    index: IndexSettings = IndexSettings()
    compare: CompareSettings = CompareSettings()

    @property
    def threshold(self) -> float:
        """The threshold of `compare.measure` that is asked for if a query does not say."""
        chosen = self.compare.threshold
        return DEFAULT_THRESHOLDS[self.compare.measure] if chosen is None else chosen


def default_state() -> str:
    """Where the state lies if nobody says: the service manager's directory, else the user's."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    chosen = given or os.path.join(base, "dupwatch")
    if not os.path.isabs(chosen):  # it would lie wherever the caller happens to be, among the photos at worst
        raise UsageError("there is no home folder to keep the index in; name a place with --state DIR")
    return chosen


def load(flags: dict[str, Any]) -> Settings:
    """Settings from ``flags`` (nested as the settings are), then the environment, then the defaults.

    Raises UsageError with one line that names the setting and what is wrong with it.
    """
    _refuse_unknown_variables()
    try:
        settings = Settings(**flags)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"setting {name}: {first['msg'].lower()}, not {first['input']!r}") from error
    except SettingsError as error:
        raise UsageError(f"environment: {error}") from error
    kept = settings.compare.keep_mse if settings.compare.measure == "mse" else settings.compare.keep_structure
    if settings.threshold > kept:
        raise UsageError(
            f"threshold {settings.threshold:g} is above compare.keep_{settings.compare.measure} = {kept:g}, "
            f"the largest kept; ask for less, or set DUPWATCH_COMPARE__KEEP_{settings.compare.measure.upper()}, "
            "which compares everything anew"
        )
    return settings


def _refuse_unknown_variables() -> None:
    known = [_PREFIX + name.upper() for name in ("endpoint", *Settings.model_fields)]
    for section, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, _Section):
            known += [f"{_PREFIX}{section}__{name}".upper() for name in field.annotation.model_fields]
    for name in os.environ:
        if name.startswith(_PREFIX) and name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, 1)
            raise UsageError(f"environment: no setting is called {name}" + (f"; is {near[0]} meant?" if near else ""))
