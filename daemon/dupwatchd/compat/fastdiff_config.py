"""The settings of fast-diff-py 1.0, under their names; what is wrong raises ValueError as soon as it is set.

`Config` holds a `FirstLoopConfig` (reading: thumbnails and hashes) and a `SecondLoopConfig` (comparing). The classes
with Runtime in their name add how far a step is. docs/fastdiff.md tells what each field does here; those that tune
what does not exist here are in `WITHOUT_MEANING`.
"""

import datetime as dt
import logging
import os
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from dupwatchd.compat.difpy_files import EXTENSIONS


class Progress(StrEnum):
    """How far a job is."""

    INIT = "init"
    INDEXED_DIRS = "indexed_dirs"
    FIRST_LOOP_IN_PROGRESS = "first_loop_in_progress"
    FIRST_LOOP_DONE = "first_loop_done"
    SECOND_LOOP_IN_PROGRESS = "second_loop_in_progress"
    SECOND_LOOP_DONE = "second_loop_done"


WITHOUT_MEANING = {
    "batch_size_dir": "files are written to the database at once",
    "batch_size_max_fl": "processes take files as they come",
    "batch_size_max_sl": "nothing is compared in blocks",
    "child_proc_timeout": "no process waits for another one in vain",
    "log_level_children": "processes that read files write no log",
    "batch_size": "nothing is read or compared in blocks",
    "preload_count": "there are no caches",
    "finished_cache_index": "there are no caches",
}


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _processors() -> int:
    return os.cpu_count() or 1


_Count = Annotated[int, Field(ge=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)

    def without_meaning(self) -> Iterator[str]:
        """Yield the names of fields that somebody has set although they have no meaning here."""
        yield from (name for name in sorted(self.model_fields_set) if name in WITHOUT_MEANING)


class FirstLoopConfig(_Model):
    """How pictures are read."""

    compress: bool = True
    compute_hash: bool = False
    shift_amount: Annotated[int, Field(ge=-7, le=7)] = 4
    parallel: bool = True
    elapsed_seconds: float = 0
    cpu_proc: _Count = Field(default_factory=_processors)


class FirstLoopRuntimeConfig(FirstLoopConfig):
    """How pictures are read, and how many are done."""

    batch_size: int | None = None
    start_dt: dt.datetime = Field(default_factory=_now)
    total: int = 0
    done: int = 0


class SecondLoopConfig(_Model):
    """How pictures are compared; thresholds are sums over the three channels of the mean squared difference."""

    skip_matching_hash: bool = False
    match_aspect_by: Annotated[float, Field(ge=1)] | Literal[0] | None = None
    make_diff_plots: bool = False
    plot_output_dir: str | None = None
    plot_threshold: Annotated[float, Field(ge=0)] | None = None
    parallel: bool = True
    batch_size: int | None = None
    diff_threshold: Annotated[float, Field(ge=0)] = 200.0
    gpu_proc: Annotated[int, Field(ge=0)] = 0
    cpu_proc: Annotated[int, Field(ge=0)] = Field(default_factory=_processors)
    keep_non_matching_aspects: bool = False
    preload_count: Annotated[int, Field(gt=1)] = 4
    elapsed_seconds: float = 0


class SecondLoopRuntimeConfig(SecondLoopConfig):
    """How pictures are compared, and how many pairs are done."""

    cache_index: int = 0  # the next file, if pairs are compared by a user's function
    finished_cache_index: int | None = None
    start_dt: dt.datetime = Field(default_factory=_now)
    total: int = 0
    done: int = 0


class Config(_Model):
    """All settings of a job; ``recursive`` is another name of ``recurse``."""

    compression_target: _Count = 64
    part_a: list[str] | str = Field(min_length=1)
    part_b: list[str] | str = Field(default_factory=list)
    dir_index_lookup: list[str] | None = None
    partition_swapped: bool = False
    dir_index_elapsed: float = 0
    recurse: bool = Field(default=True, validation_alias=AliasChoices("recurse", "recursive"))
    rotate: bool = True
    thumb_dir: str | None = None
    ignore_names: list[str] = Field(default_factory=list)
    ignore_paths: list[str] = Field(default_factory=list)
    allowed_file_extensions: list[str] = Field(default_factory=lambda: sorted("." + one for one in EXTENSIONS))
    batch_size_dir: int = 1000
    batch_size_max_fl: int = 100
    batch_size_max_sl: int = Field(default_factory=lambda: 250 * _processors())
    db_path: str | None = None
    config_path: str | None = None
    log_level: int = logging.INFO
    log_level_children: int = logging.INFO
    state: Progress = Progress.INIT
    retain_progress: bool = True
    cli_args: dict[str, Any] | None = None  # the command line, as JSON holds it
    first_loop: FirstLoopConfig | FirstLoopRuntimeConfig = Field(default_factory=FirstLoopConfig)
    second_loop: SecondLoopConfig | SecondLoopRuntimeConfig = Field(default_factory=SecondLoopConfig)
    do_second_loop: bool = True
    child_proc_timeout: int = 30
    delete_db: bool = True
    delete_thumb: bool = True

    @property
    def recursive(self) -> bool:
        """The name that the README of fast-diff-py has for ``recurse``."""
        return self.recurse

    @recursive.setter
    def recursive(self, value: bool) -> None:
        self.recurse = value

    @property
    def parts(self) -> tuple[list[str], list[str]]:
        """The directories of both partitions, as lists."""
        return _as_list(self.part_a), _as_list(self.part_b)


def _as_list(part: list[str] | str) -> list[str]:
    return [part] if isinstance(part, str) else part


def saved_config(path: str) -> Config:
    """Read the settings of an earlier job; raises OSError, and ValueError if the file holds none."""
    with open(path, "rb") as stream:
        try:
            return Config.model_validate_json(stream.read())
        except ValidationError as error:
            first = error.errors()[0]
            what = ": ".join([".".join(map(str, first["loc"])), first["msg"]]).removeprefix(": ")
            raise ValueError(f"{path} holds no settings of a job: {what}") from None
