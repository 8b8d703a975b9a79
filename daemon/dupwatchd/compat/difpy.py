"""The Python interface of difPy 4 over this engine: ``import dupwatchd.compat.difpy as difPy``.

    dif = difPy.build("photos")
    search = difPy.search(dif, similarity="similar")
    search.result, search.lower_quality, search.stats
    search.move_to("elsewhere"); search.delete()

`docs/difpy.md` says what each parameter does here, and where results differ from those of difPy. Wrong parameters raise
ValueError or FileNotFoundError, a state directory that cannot be used DupwatchError. To be called from the main thread.
"""

import datetime as dt
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Sequence
from typing import Any

import click
from numpy.typing import NDArray

from dupwatch.act.apply import Action, check_action
from dupwatch.act.plan_file import Plan
from dupwatch.errors import WrongUsageError
from dupwatch.progress import progress
from dupwatch.terminal import counted, printable
from dupwatchd.compat import difpy_options as options
from dupwatchd.compat.difpy_acting import Done, Prepared, carry_out, prepare
from dupwatchd.compat.difpy_files import find_files
from dupwatchd.compat.difpy_matching import Group, Searched, groups_of
from dupwatchd.compat.difpy_options import note
from dupwatchd.compat.difpy_rereading import NEAR_MSE, Rereading
from dupwatchd.compat.file_index import Index
from dupwatchd.compat.pairs import pairs_within
from dupwatchd.db.answers import Copy
from dupwatchd.model import PictureId
from dupwatchd.settings import load

__all__ = ["build", "search"]

_NO_PICTURE = "UnidentifiedImageError: file could not be identified as image."


class build:  # noqa: N801 - difPy's name
    """The pictures of some directories and files, ready to be searched."""

    def __init__(
        self,
        *directory: str | list[str],
        recursive: bool = True,
        in_folder: bool | str = False,
        limit_extensions: bool = True,
        px_size: int = options.DEFAULT_PX,
        show_progress: bool = True,
        processes: int | None = None,
        state: str | None = None,
        logs: object = None,
    ) -> None:
        """With ``state`` the index is kept in that directory, and only what is new is read the next time."""
        start = dt.datetime.now()
        directories = options.directories(directory)
        parameters = {
            "recursive": options.truth("recursive", recursive),
            "in_folder": options.in_folder(in_folder),
            "limit_extensions": options.truth("limit_extensions", limit_extensions),
            "px_size": options.px_size(px_size),
            "processes": options.processes(processes),
        }
        options.truth("show_progress", show_progress)
        _note_logs(logs)
        self.in_folder = parameters["in_folder"]
        side = options.thumbnail_px(px_size)
        if px_size not in (side, options.DEFAULT_PX):
            note(f"px_size {px_size}: pictures are compared at {side} px, the nearest side there is")
        settings = load(
            {"state": state or _temporary_state(self), "index": {"thumbnail_px": side, "workers": processes or 0}}
        )
        self._files = find_files(
            directories, recursive=recursive, in_folder=in_folder, limit_extensions=limit_extensions
        )
        left = "what was read is kept" if state else "nothing is kept; with a state directory it could go on"
        self._index = Index(settings, self._files.roots, [file.path for file in self._files.files], left)
        with progress(sys.stderr, quiet=not show_progress) as bars, self._index.opened(bars, update=True) as index:
            copies, failures = index.copies(), index.failures()
        invalid = dict(self._files.left_out)
        invalid |= {
            file.shown: failures.get(file.path, _NO_PICTURE) for file in self._files.files if file.path not in copies
        }
        valid = sum(file.path in copies for file in self._files.files)
        self.stats: dict[str, Any] = {
            "directory": directories,
            "total_files": valid + len(invalid),
            "invalid_files": {"count": len(invalid), "logs": invalid},
            "process": {"build": {"duration": _duration(start), "parameters": parameters}},
        }

    @property
    def roots(self) -> list[bytes]:
        """The folders below which all files lie."""
        return self._files.roots

    def searched(self, copies: dict[bytes, Copy]) -> list[Searched]:
        """The files of the index that show a picture, in the order of results."""
        return [
            Searched(
                file.shown,
                file.path,
                file.folder,
                copy.picture_id,
                _sorted(copy.width, copy.height),
                copy.size_bytes,
                copy.jpeg_grid,
            )
            for file in self._files.files
            if (copy := copies.get(file.path)) is not None
        ]

    @property
    def _filename_dictionary(self) -> dict[int, str]:
        """The path of each picture by number, as difPy documents it."""
        with self._index.opened(progress(sys.stderr, quiet=True)) as index:
            return {number: file.shown for number, file in enumerate(self.searched(index.copies()))}

    @property
    def _tensor_dictionary(self) -> dict[int, NDArray[Any]]:
        """The thumbnail (S, S, 3) uint8 RGB of each picture by number, as difPy documents it."""
        with self._index.opened(progress(sys.stderr, quiet=True)) as index:
            found = self.searched(index.copies())
            return {number: index.read_thumbnails([file.picture])[0] for number, file in enumerate(found)}


class search:  # noqa: N801 - difPy's name
    """The matches among the pictures of a `build`: `result`, `lower_quality` and `stats`."""

    def __init__(
        self,
        difpy_obj: build,
        similarity: str | float = "duplicates",
        rotate: bool = True,
        same_dim: bool = True,
        show_progress: bool = True,
        processes: int | None = None,
        chunksize: int | None = None,
        *,
        lazy: bool | None = None,
        in_folder: bool | str | None = None,
        logs: object = None,
    ) -> None:
        start = dt.datetime.now()
        if not isinstance(difpy_obj, build):
            raise ValueError(f"difpy_obj: must be what build() has made, not {difpy_obj!r}")  # noqa: TRY004 - one kind of error for all
        if lazy is not None:
            note("lazy is called same_dim since difPy 4.2")
            same_dim = options.truth("lazy", lazy)
        if options.chunksize(chunksize) is not None:
            note("chunksize has no meaning here: nothing is compared in chunks")
        if in_folder is not None and options.in_folder(in_folder) != difpy_obj.in_folder:
            raise ValueError("in_folder: say it to build(), which finds out which files lie in which folder")
        _note_logs(logs)
        self._threshold = options.similarity(similarity)
        parameters = {
            "similarity_mse": self._threshold,
            "rotate": options.truth("rotate", rotate),
            "same_dim": options.truth("same_dim", same_dim),
            "processes": options.processes(processes),
            "chunksize": chunksize,
        }
        self._show_progress = options.truth("show_progress", show_progress)
        self._dif = difpy_obj
        self.failed_to_act = False  # whether something that was planned could not be moved or deleted
        with (
            progress(sys.stderr, quiet=not show_progress) as bars,
            difpy_obj._index.opened(bars) as index,  # noqa: SLF001 - both are one interface
        ):
            copies = index.copies()
            files = difpy_obj.searched(copies)
            pictures = sorted({PictureId(file.picture) for file in files})
            rereading = Rereading(index, copies.values(), rotate=rotate)
            near = pairs_within(index, pictures, max(self._threshold, NEAR_MSE), bars, rotate=rotate, warn=note)
            pairs = (rereading.measured(some).within(self._threshold) for some in near)
            self._groups = groups_of(files, pairs, same_dim=same_dim)
        self.result: dict[str, Any] = _by_folder(self._groups) if difpy_obj.in_folder else _as_result(self._groups)
        self._lower = list({file.path: file for group in self._groups for file in group.lower_quality()}.values())
        self.lower_quality: list[str] = [file.shown for file in self._lower]
        values = [mse for group in self._groups for _, mse in group.matches]
        duplicates = values.count(0.0)
        found = {
            "duration": _duration(start),
            "parameters": parameters,
            "files_searched": len(files),
            "matches_found": {"duplicates": duplicates, "similar": len(values) - duplicates},
        }
        self.stats: dict[str, Any] = {
            **difpy_obj.stats,
            "process": {**difpy_obj.stats["process"], "search": found},
        }

    def move_to(self, destination_path: str) -> None:
        """Move the files of lower quality there, each with its whole path, and tell which stay, and why.

        `dupwatch undo --last` puts them back. Raises ValueError for a destination that will not do.
        """
        action = move_action(destination_path, self._dif.roots)
        done = self._carry_out(self._prepared(), action)
        moved = {path for path, _ in done.summary.done}
        self.lower_quality = [
            os.path.normpath(f"{destination_path}/{os.fsdecode(file.path)}") if file.path in moved else file.shown
            for file in self._lower
        ]
        click.echo(f'Moved {len(moved)} file(s) to "{printable(os.path.normpath(destination_path))}"')

    def delete(self, silent_del: bool = False) -> None:
        """Delete the files of lower quality, after a question unless ``silent_del``, and tell which stay, and why."""
        options.truth("silent_del", silent_del)
        prepared = self._prepared()
        files = len(prepared.plan.going)
        if files and not silent_del and not _agrees(files):
            click.echo("Deletion canceled.")
            return
        done = self._carry_out(prepared, Action("delete"))
        click.echo(f"Deleted {len(done.summary.done)} file(s)")

    def _prepared(self) -> Prepared:
        with (
            progress(sys.stderr, quiet=not self._show_progress) as bars,
            self._dif._index.opened(bars, update=True, verdicts=True) as index,  # noqa: SLF001 - both are one interface
        ):
            return prepare(index, self._groups, self._lower, self._threshold)

    def _carry_out(self, prepared: Prepared, action: Action) -> Done:
        with progress(sys.stderr, quiet=not self._show_progress) as bars:
            done = carry_out(prepared, action, bars)
        self.failed_to_act |= not done.summary.is_complete
        for path, why in sorted(done.stays.items()):
            note(f"{printable(path)} stays: {why}")
        return done


def move_action(destination: object, roots: Sequence[bytes]) -> Action:
    """Return the action that moves files below these roots to a folder, which is made if need be; raises ValueError."""
    if not isinstance(destination, str):
        raise ValueError(f"move_to: must be a text, not {destination!r}")  # noqa: TRY004 - one kind of error for all
    if not destination:  # else it would be the working directory
        raise ValueError("move_to: no folder is named: the name is empty")
    to = os.fsencode(os.path.realpath(destination))
    is_new = not os.path.lexists(to)
    try:
        os.makedirs(to, exist_ok=True)
        check_action(Plan("", tuple(roots), (), (), ()), action := Action("move", to))
    except OSError as error:
        raise ValueError(f"move_to: cannot make {printable(to)}: {error.strerror}") from None
    except WrongUsageError as error:
        if is_new:
            os.rmdir(to)
        raise ValueError(f"move_to: {error}") from None
    return action


def _agrees(files: int) -> bool:
    """Ask whether to delete; anything but a `y` is a no, and so is a closed standard input."""
    click.echo(f"Delete {counted(files, 'file')}? This cannot be undone. (y/n) ", err=True, nl=False)
    return sys.stdin.readline().strip().lower() == "y"


def _as_result(groups: Sequence[Group]) -> dict[str, list[list[str | float]]]:
    return {group.first.shown: [[file.shown, mse] for file, mse in group.matches] for group in groups}


def _by_folder(groups: Sequence[Group]) -> dict[str, dict[str, list[list[str | float]]]]:
    folders: dict[str, list[Group]] = {}
    for group in groups:
        folders.setdefault(group.first.folder, []).append(group)
    return {folder: _as_result(some) for folder, some in folders.items()}


def _duration(start: dt.datetime) -> dict[str, str | float]:
    end = dt.datetime.now()
    seconds = round((end - start).total_seconds(), 4)
    return {"start": start.isoformat(), "end": end.isoformat(), "seconds_elapsed": seconds}


def _temporary_state(owner: build) -> str:
    """Make a state directory that goes with its owner, or with the process."""
    folder = tempfile.mkdtemp(prefix="dupwatch-difpy-")
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder


def _sorted(width: int, height: int) -> tuple[int, int]:
    return min(width, height), max(width, height)


def _note_logs(logs: object) -> None:
    if logs is not None:
        note("logs has no meaning since difPy 4.1: what could not be read is always in the statistics")
