"""The Python interface of fast-diff-py 1.0 over this engine.

    from dupwatchd.compat.fastdiff import Config, FastDifPy
    fdo = FastDifPy(config=Config(part_a="photos", part_b="phone"), purge=True)
    fdo.full_index(); fdo.first_loop(); fdo.second_loop(); fdo.commit()
    for head, matches in fdo.get_diff_clusters(): ...
    fdo.cleanup()

`docs/fastdiff.md` says what each setting does here, and where results differ from those of fast-diff-py. Wrong settings
raise ValueError or FileNotFoundError, a state directory that cannot be used DupwatchError; Ctrl-C raises Interrupted,
and the same steps go on from there. To be called from the main thread.
"""

import datetime as dt
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from dupwatch.progress import Bars, progress
from dupwatch.replacing import check_replaceable
from dupwatch.terminal import counted, human_bytes
from dupwatchd.compat.difpy_options import thumbnail_px
from dupwatchd.compat.fastdiff_comparing import Comparing
from dupwatchd.compat.fastdiff_config import (
    WITHOUT_MEANING,
    Config,
    FirstLoopConfig,
    FirstLoopRuntimeConfig,
    Progress,
    SecondLoopConfig,
    SecondLoopRuntimeConfig,
    saved_config,
)
from dupwatchd.compat.fastdiff_db import SQLiteDB, is_fastdiff_db
from dupwatchd.compat.fastdiff_files import check_directories, listed, real_paths, walk
from dupwatchd.compat.fastdiff_pairs import Difference
from dupwatchd.compat.fastdiff_reading import (
    HashFunction,
    Row,
    files_of,
    hashes_of,
    index_of,
    is_of_a_job,
    make_folder,
    sizes_and_failures,
)
from dupwatchd.state import locked_state

__all__ = [
    "Config",
    "FastDifPy",
    "FirstLoopConfig",
    "FirstLoopRuntimeConfig",
    "Progress",
    "SQLiteDB",
    "SecondLoopConfig",
    "SecondLoopRuntimeConfig",
]

_COMMIT_SECONDS = 5.0


class FastDifPy:
    """One job: directories or files in two partitions, or in one, whose pictures are compared."""

    hash_fn: HashFunction | None = None  # of a BGR thumbnail (S, S, 3) uint8, shifted and turned
    cpu_diff: Difference | None = None  # of two BGR thumbnails, and whether to turn them; smaller is more alike
    gpu_diff: Difference | None = None  # likewise, if gpu_proc is not 0
    gpu_worker_class: None = None  # not taken over

    default_config_file = ".task.json"
    default_db_file = ".fast_diff.db"
    default_thumb_dir = ".temp_thumb"

    def __init__(
        self,
        part_a: str | list[str] | None = None,
        part_b: str | list[str] | None = None,
        config: Config | None = None,
        default_cfg_path: str | None = None,
        purge: bool = False,
        test_mode: bool = False,
        db_inst: None = None,
        workdir: str | None = None,
        **settings: Any,  # fields of `Config`
    ) -> None:
        """Begin a job, or go on with one whose settings were saved.

        The settings are ``config``, else those saved in ``default_cfg_path``, else those saved in ``part_a`` or
        ``workdir``, else made of the other arguments. With ``purge`` what an earlier job has left goes first.
        """
        if test_mode or db_inst is not None:
            _refuse("db_inst" if db_inst is not None else "test_mode")
        self.logger = logging.getLogger("FastDiffPy_Main")
        self._start_logging()
        self.config, is_new = self._chosen_config(part_a, part_b, config, default_cfg_path, purge, workdir, settings)
        self._add_places(workdir or self.config.parts[0][0])
        self.logger.setLevel(self.config.log_level)
        if is_new:
            self._note_without_meaning(self.config, self.config.first_loop, self.config.second_loop)
        if purge:
            self._purge()
        self._check_own_db()
        self.db = SQLiteDB(self._place("db_path"))
        self._committed_at = time.monotonic()
        self.commit()

    # settings and places

    def _chosen_config(
        self,
        part_a: str | list[str] | None,
        part_b: str | list[str] | None,
        config: Config | None,
        saved: str | None,
        purge: bool,
        workdir: str | None,
        settings: dict[str, Any],
    ) -> tuple[Config, bool]:
        """The settings, and whether they were given just now, not saved earlier."""
        if config is not None:
            return config, True
        if saved is None and part_a:
            folder = workdir or (part_a if isinstance(part_a, str) else part_a[0])
            there = os.path.join(folder, self.default_config_file)
            saved = there if os.path.exists(there) and not purge else None
        if saved is not None:
            read = saved_config(saved)
            read.config_path = saved
            return read, False
        if not part_a:
            raise ValueError("name part_a, a config, or default_cfg_path")
        return Config(part_a=part_a, part_b=part_b or [], **settings), True

    def _add_places(self, folder: str) -> None:
        names = {
            "db_path": self.default_db_file, "thumb_dir": self.default_thumb_dir,
            "config_path": self.default_config_file,
        }  # fmt: skip
        for field, name in names.items():
            if getattr(self.config, field) is None:
                if not os.path.isdir(folder):
                    raise FileNotFoundError(f"no such directory: {folder}")
                setattr(self.config, field, os.path.join(folder, name))

    def _place(self, field: str) -> str:
        place = getattr(self.config, field)
        assert isinstance(place, str)  # `_add_places` has filled it in
        return place

    def _note_without_meaning(self, *configs: Config | FirstLoopConfig | SecondLoopConfig) -> None:
        for config in configs:
            for name in config.without_meaning():
                self.logger.info("%s has no meaning here: %s", name, WITHOUT_MEANING[name])

    def _start_logging(self) -> None:
        """Log to stderr; whoever wants it elsewhere adds handlers to `logger`."""
        self.logger.handlers.clear()
        self.logger.propagate = False
        self.handler = logging.StreamHandler(sys.stderr)
        self.handler.setFormatter(logging.Formatter("dupwatch-fastdiff: %(message)s"))
        self.logger.addHandler(self.handler)

    # beginning and end

    def commit(self) -> None:
        """Make the database durable, and save the settings if `retain_progress`."""
        self.db.commit()
        self._committed_at = time.monotonic()
        if not self.config.retain_progress:
            return
        path = self._place("config_path")
        _check_own_config(path)
        with tempfile.NamedTemporaryFile(
            "w", dir=os.path.dirname(path) or ".", prefix=".task", delete=False, encoding="utf-8"
        ) as stream:
            try:
                stream.write(self.config.model_dump_json())
                stream.flush()
                os.replace(stream.name, path)
            except BaseException:
                try:
                    os.unlink(stream.name)
                except FileNotFoundError:  # Ctrl-C came when it was in its place already
                    pass
                raise

    def cleanup(self) -> None:
        """End the job: what `delete_db`, `delete_thumb` and `retain_progress` do not keep is removed."""
        self.db.commit()
        self.db.close()
        if self.config.delete_db:
            self._remove_db()
        if self.config.delete_thumb:
            self._remove_index()
        if not self.config.retain_progress:
            self._remove_config()
        self.handler.flush()

    def test_cleanup(self) -> None:
        """End the job and remove all that it has made."""
        self.db.close()
        self._purge()

    def _purge(self) -> None:
        self._remove_db()
        self._remove_index()
        self._remove_config()
        self.config.state = Progress.INIT

    def _check_own_db(self) -> None:
        path = self._place("db_path")
        if os.path.lexists(path) and not is_fastdiff_db(path):
            raise ValueError(f"{path} is no database of fast-diff-py: it is neither filled nor removed")

    def _remove_db(self) -> None:
        self._check_own_db()
        if os.path.lexists(path := self._place("db_path")):
            os.remove(path)

    def _remove_index(self) -> None:
        folder = self._place("thumb_dir")
        if os.path.lexists(folder):
            if not os.listdir(folder):
                os.rmdir(folder)
                return
            if not is_of_a_job(folder):
                raise ValueError(f"{folder} was not made by a job of fast-diff-py: it is not removed")
            with locked_state(folder):  # another job may be at work there
                shutil.rmtree(folder)

    def _remove_config(self) -> None:
        path = self._place("config_path")
        if os.path.lexists(path):
            _check_own_config(path)
            os.remove(path)

    # indexing

    def full_index(self, ignore_thumbs: bool = True) -> None:  # noqa: ARG002 - the index never is a photo folder
        """List the files of all directories."""
        started = time.monotonic()
        check_directories(self.config)
        self.index_preamble()
        first, second = self.config.parts
        for place, directory in enumerate([*first, *second]):
            self.db.insert_files(walk(directory, place, self.config), part_b=place >= len(first))
        self.config.dir_index_lookup = [*first, *second]
        self.index_epilogue()
        self.config.dir_index_elapsed += time.monotonic() - started

    def index_preamble(self) -> None:
        """Make empty tables, to be filled by `populate_partition`."""
        self.db.create_tables()

    def populate_partition(self, paths: Iterable[str], part_a: bool = True, check_ext: bool = False) -> int:
        """Add files by name to a partition; returns how many. Those that are not there are noted as disallowed."""
        suffixes = self.config.allowed_file_extensions if check_ext else None
        return self.db.insert_files(listed(paths, suffixes), part_b=not part_a)

    def index_epilogue(self) -> None:
        """Number the files; the smaller partition becomes partition a."""
        if self.db.repopulate_directory_table():
            self.config.part_a, self.config.part_b = self.config.parts[::-1]
            self.config.partition_swapped = True
        self.config.state = Progress.INDEXED_DIRS
        self.commit()

    # the two loops

    def first_loop(self, config: FirstLoopConfig | None = None) -> None:
        """Read all files: thumbnails, sizes, and hashes if they are asked for."""
        if config is not None:
            self.config.first_loop = config
            self._note_without_meaning(config)
        loop = FirstLoopRuntimeConfig(**{**self.config.first_loop.model_dump(), "start_dt": _now()})
        if not (loop.compress or loop.compute_hash):
            raise ValueError("first_loop: set compress or compute_hash, or there is nothing to do")
        if self.config.state is Progress.INIT:
            raise ValueError("first_loop: list the files first, by full_index() or populate_partition()")
        rows = self._rows()
        loop.total = len(rows)
        self.config.first_loop, self.config.state = loop, Progress.FIRST_LOOP_IN_PROGRESS
        self.commit()
        started = time.monotonic()
        self._note_thumbnail_px()
        make_folder(self._place("thumb_dir"))
        with progress(sys.stderr) as bars, index_of(self.config, rows).opened(bars, update=True) as index:
            read, failed = sizes_and_failures(index, rows)
            hashes = hashes_of(index, rows, self.config, self.hash_fn, bars) if loop.compute_hash else {}
        self.db.write_first_loop(read, failed, hashes)
        self.config.first_loop = FirstLoopConfig(
            **{
                **loop.model_dump(include=set(FirstLoopConfig.model_fields)),
                "elapsed_seconds": loop.elapsed_seconds + time.monotonic() - started,
            }
        )
        self.config.state = Progress.FIRST_LOOP_DONE
        self.commit()
        self.logger.info("%s read, %d cannot be read", counted(len(read), "file"), len(failed))

    def second_loop(self, config: SecondLoopConfig | None = None) -> None:
        """Compare all pairs, and keep those up to `diff_threshold`."""
        if config is not None:
            self.config.second_loop = config
            self._note_without_meaning(config)
        loop = SecondLoopRuntimeConfig(**{**self.config.second_loop.model_dump(), "start_dt": _now()})
        if not self.config.do_second_loop:
            self.logger.info("second_loop: do_second_loop is off")
            return
        self._check_second_loop(loop)
        difference = self.gpu_diff if loop.gpu_proc and self.gpu_diff else self.cpu_diff
        if difference is None or self.config.state is not Progress.SECOND_LOOP_IN_PROGRESS:
            loop.cache_index = 0
            self.db.clear_differences()
        self.config.second_loop, self.config.state = loop, Progress.SECOND_LOOP_IN_PROGRESS
        self.commit()
        started = time.monotonic()
        rows = self._rows()
        with progress(sys.stderr) as bars, index_of(self.config, rows).opened(bars) as index:
            keys, files = files_of(index, rows, self.db.hash_keys())
            comparing = Comparing(
                index, self.db, keys, files, loop, self.config.rotate, difference, self.logger.warning, self._tick
            )
            comparing.run(bars)
        self.config.second_loop = SecondLoopConfig(
            **{
                **loop.model_dump(include=set(SecondLoopConfig.model_fields)),
                "elapsed_seconds": loop.elapsed_seconds + time.monotonic() - started,
            }
        )
        self.config.state = Progress.SECOND_LOOP_DONE
        self.commit()
        self.logger.info("%s of %d kept", counted(self.db.get_pair_count_diff(), "pair"), loop.total)

    def _check_second_loop(self, loop: SecondLoopConfig) -> None:
        """Raise ValueError for settings that do not go together."""
        done = (Progress.FIRST_LOOP_DONE, Progress.SECOND_LOOP_IN_PROGRESS, Progress.SECOND_LOOP_DONE)
        if self.config.state not in done:
            raise ValueError("second_loop: run first_loop() before, which reads the files")
        if not self.config.first_loop.compress:
            raise ValueError("second_loop: it needs thumbnails, so first_loop.compress must be on")
        if loop.skip_matching_hash and not self.config.first_loop.compute_hash:
            raise ValueError("skip_matching_hash: it needs first_loop.compute_hash")
        if loop.cpu_proc + loop.gpu_proc < 1:
            raise ValueError("cpu_proc and gpu_proc: one of them must be 1 at least")
        if self.gpu_worker_class is not None:
            _refuse("gpu_worker_class")
        if loop.make_diff_plots:
            if loop.plot_output_dir is None:
                raise ValueError("make_diff_plots: name plot_output_dir, where plots are written")
            os.makedirs(loop.plot_output_dir, exist_ok=True)

    def _rows(self) -> list[Row]:
        return [Row(*one) for one in self.db.allowed_files()]

    def _tick(self) -> None:
        if time.monotonic() - self._committed_at > _COMMIT_SECONDS:
            self.commit()

    def _note_thumbnail_px(self) -> None:
        asked, side = self.config.compression_target, thumbnail_px(self.config.compression_target)
        if side != asked:
            self.logger.info(
                "compression_target %d: pictures are compared at %d px, the nearest side there is", asked, side
            )

    # questions

    def get_diff_pairs(
        self, delta: float | None = None, matching_hash: bool = False
    ) -> Iterator[tuple[str, str, float]]:
        """Yield both paths and the difference of each pair up to ``delta``, by default up to `diff_threshold`."""
        return self.db.get_duplicate_pairs(self._delta(delta), matching_hash)

    def get_diff_clusters(
        self, delta: float | None = None, dir_a: bool = True, matching_hash: bool = False
    ) -> Iterator[tuple[str, list[tuple[str, float]]]]:
        """Yield each file of a partition that has matches up to ``delta``, with these."""
        return self.db.get_all_cluster(self._delta(delta), dir_a, matching_hash)

    def reduce_diff(self, threshold: float) -> None:
        """Forget the pairs that differ by more, and give back the room."""
        self.db.drop_diff(threshold)
        self.db.vacuum()

    def _delta(self, given: float | None) -> float:
        kept = self.config.second_loop.diff_threshold
        if given is not None and given > kept:
            self.logger.warning("pairs that differ by more than %g were not kept", kept)
        return kept if given is None else given

    def read_thumbnails(self, paths: Sequence[str]) -> NDArray[np.uint8]:
        """Return thumbnails (N, S, S, 3) RGB of files that were read; raises KeyError for one that was not."""
        with index_of(self.config, self._rows()).opened(Bars()) as index:
            copies = index.copies()
            return index.read_thumbnails([copies[path].picture_id for path in real_paths(paths)])

    def print_fs_usage(self, do_print: bool = True, verbose: bool = False) -> int:
        """Return how many bytes the thumbnails take, and log it; ``verbose``: of each directory as well."""
        side = thumbnail_px(self.config.compression_target)
        each = side * side * 3
        if verbose:
            for place, directory in enumerate(self.config.dir_index_lookup or []):
                self.logger.info("%s: %s", directory, human_bytes(each * self.db.get_directory_stats(place)))
        total = sum(self.estimate_disk_usage(print_results=False))
        if do_print:
            self.logger.info("thumbnails: %s", human_bytes(total))
        return total

    def estimate_disk_usage(self, print_results: bool = True) -> tuple[int, int]:
        """Return how many bytes the thumbnails of either partition take, as 0.2 does."""
        side = thumbnail_px(self.config.compression_target)
        in_a, in_b = (self.db.get_partition_entry_count(part_b) * side * side * 3 for part_b in (False, True))
        if print_results:
            self.logger.info("thumbnails: %s in partition a, %s in b", human_bytes(in_a), human_bytes(in_b))
        return in_a, in_b


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _check_own_config(path: str) -> None:
    try:
        check_replaceable(path, b'"compression_target"')
    except FileExistsError:
        raise ValueError(f"{path} holds no settings of fast-diff-py: it is neither replaced nor removed") from None


def _refuse(name: str) -> NoReturn:
    reasons = {
        "db_inst": "the database has one form here; ask in SQL what its functions do not answer",
        "gpu_worker_class": "pictures are not compared in worker processes; set gpu_diff to a function",
        "test_mode": "it served the tests of fast-diff-py",
    }
    raise ValueError(f"{name} is not taken over: {reasons[name]}")
