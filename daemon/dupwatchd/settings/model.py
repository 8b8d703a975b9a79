"""The settings: which there are, what is allowed, and how a flag, the environment, a file and a default are combined.

They are read once, into frozen objects. A flag comes before the environment, that before the file, that before the
default. Unknown keys are errors. A setting marked `LIVE` takes effect when the service reloads; the others need a
restart.
"""

import datetime as dt
import os
import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from dupwatch.endpoints import SYSTEM_SOCKET, checked, is_local
from dupwatch.errors import WrongUsageError
from dupwatchd.errors import UsageError
from dupwatchd.settings.library import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from dupwatchd.settings.sources import SYSTEM_FOLDER, Environment, File, Flags, Source, by_name, meant

Measure = Literal["mse", "structure"]
_NODE = re.compile(r"(tcp|tls)://(\[[0-9A-Fa-f:.]+\]|[^/:\s\[\]]+):(\d{1,5})")  # where a Dask scheduler listens
SYSTEM_STATE = "/var/lib/dupwatch"  # what systemd makes for the service of the whole machine
DEFAULT_THRESHOLDS: dict[str, float] = {"structure": 0.02, "mse": 25.0}


class Live:
    """Marks a setting that a reload can change."""


LIVE = Live()


class _Section(BaseModel):
    # Sections are only ever validated as parts of `Settings`: no time is spent on a validator for each of them.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class WatchSettings(_Section):
    """Which files are taken up, and when."""

    ignore: Annotated[tuple[str, ...], LIVE] = ()
    """Further names and globs to leave alone; with a slash they are held against the path below the root."""
    ignore_junk: Annotated[bool, LIVE] = True
    """Leave alone what NAS systems, sync tools and trash cans put among the photos."""
    suffixes: Annotated[tuple[str, ...], LIVE] = ()
    """Only files with these suffixes; empty: all that can be decoded, and files without a suffix."""
    settle_seconds: Annotated[float, Field(ge=0.05, le=3600), LIVE] = 2.0
    """A changed file is read once nothing has been written to it for so many seconds."""
    longest_wait_seconds: Annotated[float, Field(ge=1, le=86_400), LIVE] = 60.0
    """A folder in which something changes all the time is looked at after so many seconds all the same."""
    rescan_hours: Annotated[float, Field(ge=0.01, le=8760), LIVE] = 6.0
    """All roots are looked through every so many hours, to find what the kernel did not report."""
    poll_seconds: Annotated[float, Field(ge=1, le=86_400), LIVE] = 300.0
    """Roots that cannot be watched (network drives, FUSE) are looked through every so many seconds."""
    hold_back_share: Annotated[float, Field(gt=0, le=1), LIVE] = 0.5
    """If this share of a root vanishes at once, it is forgotten only after a second look."""

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
    """Decoding a file is given up after so many seconds."""
    memory_mb: Annotated[int, Field(ge=64)] = 1536
    """Memory in MB that decoding one file may take, beyond what an idle worker has."""
    max_pixels: Annotated[int, Field(ge=1)] = 300_000_000
    """A picture with more pixels is refused unread."""
    max_file_mb: Annotated[int, Field(ge=1)] = 1024
    """A file with more megabytes is refused unread."""
    frames: bool = True
    """Whether crops, pictures in a frame or with a caption, and screenshots of pictures are found."""
    nice: Annotated[int, Field(ge=0, le=19)] = 10
    """How far the priority of the service's workers for the processor is lowered, as by nice(1)."""
    io_class: Literal["idle", "best-effort", "none"] = "idle"
    """Priority of the service's workers for the disk, as by ionice(1); none: it is not lowered."""
    load_window: Annotated[str, Field(examples=["22:00-06:00"]), LIVE] = ""
    """The service indexes only between these times of day, and answers always; empty: at any time."""

    @field_validator("thumbnail_px", mode="before")
    @classmethod
    def _from_text(cls, side: object) -> object:
        return int(side) if isinstance(side, str) and side.isdecimal() else side  # the environment holds only text

    @field_validator("load_window")
    @classmethod
    def _two_times(cls, window: str) -> str:
        if window and _window_minutes(window) is None:
            raise ValueError("it should be two times such as 22:00-06:00, or empty")
        return window

    def may_run_at(self, clock: dt.time) -> bool:
        """Whether `load_window` is open at this local time: from its start, and until just before its end.

        A window whose end is earlier than its start reaches over midnight.
        """
        window = _window_minutes(self.load_window)
        if window is None:
            return True
        start, end = window
        now = clock.hour * 60 + clock.minute
        return start <= now < end if start < end else now >= start or now < end


class CompareSettings(_Section):
    """What counts as a match."""

    measure: str = "structure"
    """What is asked for if a query does not say: structure, mse, or one of your own as package.module:name."""
    threshold: Annotated[float | None, Field(ge=0, examples=[0.02])] = None
    """How far copies may differ if a query does not say; unset: 0.02 for structure, 25 for mse; your own needs one."""
    keep_mse: Annotated[float, Field(ge=0, le=65025)] = 50.0
    """The largest threshold of mse that can be asked for later."""
    keep_structure: Annotated[float, Field(ge=0, le=4)] = 0.04
    """The largest threshold of structure that can be asked for later."""
    keep_custom: Annotated[float | None, Field(ge=0, examples=[0.1])] = None
    """The largest threshold of a measure of your own that can be asked for later; unset: its threshold."""
    mirrored: bool = False
    """Mirror images are copies too."""
    looks_per_picture: Annotated[int, Field(ge=1, le=1000)] = 12
    """So many of the nearest matches of each picture are looked at again for a verdict."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where pictures are compared all with all; auto: on a GPU if there is one that works."""
    device_memory_mb: Annotated[int | None, Field(ge=64, examples=[4096])] = None
    """Memory of the GPU in MB that may be taken; unset: what is free."""

    @field_validator("measure")
    @classmethod
    def _known_or_own(cls, measure: str) -> str:
        module, colon, name = measure.partition(":")
        custom = colon and all(part.isidentifier() for part in [*module.split("."), name])
        if measure not in DEFAULT_THRESHOLDS and not custom:
            raise ValueError("it should be structure, mse or package.module:name")
        return measure

    @property
    def is_custom(self) -> bool:
        """Whether `measure` names a function of the user's."""
        return self.measure not in DEFAULT_THRESHOLDS

    @property
    def kept(self) -> float | None:
        """The largest threshold of `measure` that can be asked for."""
        if self.is_custom:
            return self.threshold if self.keep_custom is None else self.keep_custom
        return self.keep_mse if self.measure == "mse" else self.keep_structure


class PlanSettings(_Section):
    """Which files are kept and which go, in plans and wherever it is told what may go."""

    keep: Annotated[
        tuple[str, ...], Field(examples=[["folder /srv/photos/best /srv/photos", "format raw heic"]]), LIVE
    ] = ()
    """Rules that decide which of two copies is kept, before the default order does; the first difference counts."""
    protect: Annotated[tuple[str, ...], Field(examples=[["/srv/photos/albums"]]), LIVE] = ()
    """Folders that never lose a file."""
    reference: Annotated[tuple[str, ...], Field(examples=[["/srv/archive"]]), LIVE] = ()
    """Folders that others are held against: files in them stay, and others go only for the sake of those."""
    ask_when: Annotated[
        tuple[
            Literal[
                "enlarged",
                "saved with less loss",
                "capture times differ",
                "metadata conflict",
                "lacks metadata",
                "below same",
            ],
            ...,
        ],
        LIVE,
    ] = ("saved with less loss", "capture times differ", "metadata conflict", "lacks metadata")
    """What makes a group one that a person has to look at before anything of it goes."""
    bursts: Annotated[bool, LIVE] = False
    """Photos that one camera took seconds apart, or with other exposures, may be copies of each other."""
    pairs: Annotated[bool, LIVE] = False
    """A RAW photo and the JPEG beside it may be copies of each other."""

    @field_validator("protect", "reference")
    @classmethod
    def _absolute(cls, folders: tuple[str, ...]) -> tuple[str, ...]:
        return _absolute_paths(folders)


class ServeSettings(_Section):
    """How questions are answered."""

    threads: Annotated[int, Field(ge=1, le=64)] = 4
    """How many questions are answered at once."""
    curve_keys: Annotated[str | None, Field(examples=["/etc/dupwatch/keys"])] = None
    """Folder with the keys of this server and of its clients; needed for an endpoint beyond this machine."""


class ClusterSettings(_Section):
    """Reading on many machines by way of Dask; needs the extra cluster. The same file may serve all of them."""

    scheduler: Annotated[str | None, Field(examples=["tls://nas.lan:8786"])] = None
    """Where the scheduler listens: tls://host:port, or tcp://127.0.0.1:port; unset: all is read on this machine."""
    tls_ca: Annotated[str | None, Field(examples=["/etc/dupwatch/ca.pem"])] = None
    """The certificate of your own authority, in PEM; every machine must show one that it has signed."""
    tls_cert: Annotated[str | None, Field(examples=["/etc/dupwatch/node.pem"])] = None
    """The certificate of this machine, in PEM."""
    tls_key: Annotated[str | None, Field(examples=["/etc/dupwatch/node.key"])] = None
    """The key of this machine's certificate, in PEM."""
    paths: Annotated[tuple[str, ...], Field(examples=[["/srv/photos=/mnt/nas/photos"]])] = ()
    """Where a worker on this machine finds the photos, each as the name that the service has = the name here."""
    batch_files: Annotated[int, Field(ge=1, le=1024)] = 128
    """So many files at most are handed to a machine at once."""
    batch_mb: Annotated[int, Field(ge=1, le=1024)] = 32
    """So many megabytes of files at most are handed to a machine at once, if it is more than one file."""
    min_pending: Annotated[int, Field(ge=1)] = 500
    """Fewer files than these are read on this machine, for that is quicker."""
    worker_lost_seconds: Annotated[float, Field(ge=2, le=3600)] = 15.0
    """A machine that is silent for so long is given up, and what it had is read elsewhere."""
    when_lost: Literal["local", "stop"] = "local"
    """What happens while the cluster cannot be used: the photos are read on this machine, or reading stops."""

    @field_validator("scheduler")
    @classmethod
    def _a_node(cls, address: str | None) -> str | None:
        found = None if address is None else _NODE.fullmatch(address)
        if address is not None and (found is None or not 0 < int(found[3]) < 65536):
            raise ValueError("it should be tls://host:port, or tcp://host:port for this machine alone")
        return address

    @field_validator("paths")
    @classmethod
    def _two_names(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for both in paths:
            names = both.split("=")
            if len(names) != 2 or not all(map(os.path.isabs, names)):
                raise ValueError("each should be two absolute paths such as /srv/photos=/mnt/nas/photos")
        return paths

    @property
    def has_tls(self) -> bool:
        """Whether connections are encrypted, and both ends show a certificate."""
        return self.scheduler is not None and self.scheduler.startswith("tls://")


class Settings(BaseSettings):
    """All settings; in the environment as ``DUPWATCH_STATE``, ``DUPWATCH_INDEX__WORKERS`` and so on."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, case_sensitive=True, validate_default=False
    )

    state: Annotated[str, Field(examples=["/var/lib/dupwatch"])] = Field(default_factory=lambda: default_state())
    """The state directory: database, blocks, lock. Unset: what systemd hands over, else ~/.local/state/dupwatch."""
    roots: Annotated[tuple[str, ...], Field(examples=[["/srv/photos"]]), LIVE] = ()
    """The folders to watch, with all below them."""
    endpoint: Annotated[str | None, Field(examples=[f"ipc://{SYSTEM_SOCKET}"])] = None
    """Where the service listens: ipc:///path, or tcp://address:port. Unset: query.sock in the runtime directory."""
    socket_group: Annotated[str | None, Field(min_length=1, examples=["photos"])] = None
    """The group whose members may ask; unset: the service's own group."""
    watch: WatchSettings = Field(default_factory=WatchSettings)
    index: IndexSettings = Field(default_factory=IndexSettings)
    compare: CompareSettings = Field(default_factory=CompareSettings)
    plan: PlanSettings = Field(default_factory=PlanSettings)
    serve: ServeSettings = Field(default_factory=ServeSettings)
    cluster: ClusterSettings = Field(default_factory=ClusterSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library calls it with these names
        init_settings: PydanticBaseSettingsSource,
        *_others: PydanticBaseSettingsSource,
        **_more: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing by itself: `load_with_origins` asks the sources one by one, to know what came from where."""
        return (init_settings,)

    @field_validator("state")
    @classmethod
    def _at_home(cls, path: str) -> str:
        if not path:  # min_length in the field would make pydantic refuse paths that are not UTF-8
            raise ValueError("it should name a folder")
        return os.path.expanduser(path)

    @field_validator("roots")
    @classmethod
    def _absolute(cls, roots: tuple[str, ...]) -> tuple[str, ...]:
        return _absolute_paths(roots)

    @field_validator("endpoint")
    @classmethod
    def _one_that_a_client_accepts(cls, endpoint: str | None) -> str | None:
        try:
            return None if endpoint is None else checked(endpoint)
        except WrongUsageError as error:
            raise ValueError(str(error)) from error

    @property
    def threshold(self) -> float:
        """The threshold of `compare.measure` that is asked for if a query does not say."""
        chosen = self.compare.threshold
        return DEFAULT_THRESHOLDS[self.compare.measure] if chosen is None else chosen


class Loaded(NamedTuple):
    """The settings in force, and where each value came from: default, flag, environment VARIABLE, or FILE:LINE."""

    settings: Settings
    origins: dict[str, str]
    file: str | None


class Reloaded(NamedTuple):
    """The settings in force after a reload; those that need a restart have kept their old values in them."""

    settings: Settings
    applied: list[str]
    need_restart: list[str]


def default_state(file: str | None = None) -> str:
    """Where the state lies if no setting names it: in the service manager's directory, else in the user's.

    Whoever reads the system's settings file means the system's service, whose directory systemd makes.
    Raises UsageError if there is no home folder.
    """
    if given := os.environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        chosen = given
    elif file is not None and os.path.dirname(os.path.abspath(file)) == SYSTEM_FOLDER:
        chosen = SYSTEM_STATE
    else:
        base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        chosen = os.path.join(base, "dupwatch")
    if not os.path.isabs(chosen):  # it would lie wherever the caller happens to be, among the photos at worst
        raise UsageError("there is no home folder to keep the index in; name a place with --state DIR")
    return chosen


def fields() -> dict[str, FieldInfo]:
    """All settings by dotted name, in the order in which they are declared."""
    found: dict[str, FieldInfo] = {}
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, _Section):
            found.update({f"{name}.{key}": inner for key, inner in section.model_fields.items()})
        else:
            found[name] = field
    return found


def values(settings: Settings) -> dict[str, Any]:
    """The value of every setting by dotted name."""
    found: dict[str, Any] = {}
    for name in fields():
        section, dot, key = name.rpartition(".")
        found[name] = getattr(getattr(settings, section) if dot else settings, key)
    return found


def load(flags: dict[str, Any], file: str | None = None) -> Settings:
    """Settings from ``flags`` (nested as the settings are), the environment, ``file`` (if any), and the defaults.

    Raises UsageError with one line that names the setting, where it stands and what is wrong with it.
    """
    return load_with_origins(flags, file).settings


def load_with_origins(flags: dict[str, Any], file: str | None = None) -> Loaded:
    """Like `load`, and says where each value came from."""
    known = fields()
    chosen: dict[str, Any] = {}
    origins = dict.fromkeys(known, "default")
    # the one place that says what comes before what: a later source replaces the values of an earlier one
    places: tuple[Source, ...] = (
        *([File(Settings, file)] if file else []),
        Environment(Settings, known),
        Flags(Settings, flags),
    )
    for source in places:
        for name, value in by_name(source()).items():
            if name in known:
                chosen[name], origins[name] = value, source.where(name)
            elif value != {} or not _is_section(name):  # an empty section sets nothing
                raise UsageError(_unknown(name, source.where(name)))
    chosen.setdefault("state", default_state(file))
    return Loaded(_validated(chosen, origins), origins, file)


def reload(old: Settings, flags: dict[str, Any], file: str | None) -> Reloaded:
    """Read the settings again, with the flags and the file of the start; what needs a restart keeps its value.

    Raises UsageError if they are wrong now; the ``old`` ones then stay in force.
    """
    loaded = load_with_origins(flags, file)
    before, after = values(old), values(loaded.settings)
    changed = [name for name in after if after[name] != before[name]]
    live = {name for name, field in fields().items() if LIVE in field.metadata}
    applied = [name for name in changed if name in live]
    settings = _validated({**before, **{name: after[name] for name in applied}}, loaded.origins)
    return Reloaded(settings, applied, [name for name in changed if name not in live])


def _validated(chosen: dict[str, Any], origins: dict[str, str]) -> Settings:
    nested: dict[str, Any] = {name.partition(".")[0]: {} for name in fields() if "." in name}
    for name, value in chosen.items():
        section, dot, key = name.rpartition(".")
        (nested.setdefault(section, {}) if dot else nested)[key] = value
    try:
        settings = Settings.model_validate(nested)
    except ValidationError as error:
        raise UsageError(_wrong(error, origins)) from error
    _check_together(settings)
    return settings


def _wrong(error: ValidationError, origins: dict[str, str]) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"] if not isinstance(part, int))
    said = first["msg"].removeprefix("Value error, ").replace("valid tuple", "valid list")
    given = repr(first["input"])
    shown = "" if given in said else f", not {given}"
    return f"{_place(origins[name])}setting {name}: {said[:1].lower()}{said[1:]}{shown}"


def _unknown(name: str, origin: str) -> str:
    if _is_section(name):
        return f"{_place(origin)}setting {name}: it is a section; write [{name}] above its settings"
    return f"{_place(origin)}setting {name}: there is no such setting{meant(name, list(fields()))}"


def _is_section(name: str) -> bool:
    return any(known.startswith(name + ".") for known in fields())


def _place(origin: str) -> str:
    return "" if origin in ("flag", "default") else f"{origin}: "


def _check_together(settings: Settings) -> None:
    """Check what depends on several settings; raises UsageError."""
    compare = settings.compare
    if compare.is_custom and compare.threshold is None:
        raise UsageError(f"setting compare.threshold: the measure {compare.measure} is your own and needs one")
    if compare.kept is not None and settings.threshold > compare.kept:
        keep = "keep_custom" if compare.is_custom else f"keep_{compare.measure}"
        raise UsageError(
            f"threshold {settings.threshold:g} is above compare.{keep} = {compare.kept:g}, the largest kept; "
            f"ask for less, or set compare.{keep} (DUPWATCH_COMPARE__{keep.upper()}), which compares everything anew"
        )
    if settings.endpoint and not settings.serve.curve_keys and not is_local(settings.endpoint):
        raise UsageError(
            f"setting endpoint: {settings.endpoint} can be reached from other machines; that needs serve.curve_keys"
        )
    _check_cluster(settings.cluster)


def _check_cluster(cluster: ClusterSettings) -> None:
    """Check who may reach the machines of a cluster; raises UsageError."""
    if cluster.scheduler is None:
        return
    if not cluster.has_tls and not is_local(cluster.scheduler):
        raise UsageError(
            f"setting cluster.scheduler: {cluster.scheduler} can be reached from other machines, and whoever reaches a "
            "machine of a cluster can run programs on it; write tls:// and set tls_ca, tls_cert and tls_key"
        )
    for name in ("tls_ca", "tls_cert", "tls_key") if cluster.has_tls else ():
        file = getattr(cluster, name)
        if file is None:
            raise UsageError(f"setting cluster.{name}: it is needed for {cluster.scheduler}; docs/cluster.md says how")


def _absolute_paths(folders: tuple[str, ...]) -> tuple[str, ...]:
    """With the home folder filled in; raises ValueError for others: nobody knows where a service is at work."""
    expanded = tuple(map(os.path.expanduser, folders))
    if not all(map(os.path.isabs, expanded)):
        raise ValueError("they should be absolute paths")
    return expanded


def _window_minutes(window: str) -> tuple[int, int] | None:
    """Start and end in minutes after midnight; None if the text is no window."""
    found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", window)
    if not found:
        return None
    start, end = (int(found[at]) * 60 + int(found[at + 1]) for at in (1, 3))
    return (start, end) if start != end else None
