"""A power cut at any moment: what was written since the last sync of a file is lost, or torn, and no more than that."""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import pytest

from dupwatchd.db import facts
from dupwatchd.db.connection import FILE_NAME, open_database

Write = tuple[int, bytes | None]  # where, and what; None: the file was cut there
_SECTOR_BYTES = 512


@dataclass
class Disk:
    """What happens to the files of one database, in order: (name, "write", "sync" or "delete", Write)."""

    steps: list[tuple[str, str, Write]] = field(default_factory=list)

    def after_cut(self, moment: int, keeps: Callable[[], float]) -> dict[str, bytes]:
        """The files after a power cut; ``keeps`` gives the share of each unsynced write that had reached the disk."""
        durable: dict[str, bytearray] = {}
        unsynced: dict[str, list[Write]] = {}
        for name, what, write in self.steps[:moment]:
            if what == "delete":
                durable.pop(name, None)
                unsynced.pop(name, None)
                continue
            durable.setdefault(name, bytearray())
            if what == "write":
                unsynced.setdefault(name, []).append(write)
            for one in unsynced.pop(name, []) if what == "sync" else []:
                _write(durable[name], one)
        for name, writes in unsynced.items():
            for place, data in writes:
                share = keeps()
                if data is not None and share < 1:
                    data = data[: int(share * len(data)) // _SECTOR_BYTES * _SECTOR_BYTES]
                if share:
                    _write(durable[name], (place, data))
        return {name: bytes(data) for name, data in durable.items() if not name.endswith("-shm")}


def _write(file: bytearray, write: Write) -> None:
    place, data = write
    if data is None:
        del file[place:]
        return
    file.extend(bytes(max(0, place + len(data) - len(file))))
    file[place : place + len(data)] = data


def recorded(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all databases be written through a file system that records what is written, and when it is synced."""

    class File(apsw.VFSFile):
        def __init__(self, name: str | apsw.URIFilename, flags: list[int]) -> None:
            super().__init__("", name, flags)
            self._name = os.path.basename(name if isinstance(name, str) else name.filename())

        def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - its name in SQLite
            disk.steps.append((self._name, "write", (offset, bytes(data))))
            super().xWrite(data, offset)

        def xTruncate(self, newsize: int) -> None:  # noqa: N802 - its name in SQLite
            disk.steps.append((self._name, "write", (newsize, None)))
            super().xTruncate(newsize)

        def xSync(self, flags: int) -> None:  # noqa: N802 - its name in SQLite
            disk.steps.append((self._name, "sync", (0, None)))
            super().xSync(flags)

    class Recorder(apsw.VFS):
        def __init__(self) -> None:
            super().__init__("recorder", "")

        def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - its name in SQLite
            assert name is not None
            return File(name, flags)

        def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - its name in SQLite
            disk.steps.append((os.path.basename(filename), "delete", (0, None)))
            super().xDelete(filename, syncdir)

    recorder = Recorder()

    class Connection(apsw.Connection):
        def __init__(self, path: str) -> None:
            self.kept = recorder  # for as long as a connection needs it
            super().__init__(path, vfs="recorder")

    monkeypatch.setattr(apsw, "Connection", Connection)


def test_no_power_cut_loses_a_commit_or_makes_the_database_be_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, committed = Disk(), []
    (tmp_path / "first" / "blocks").mkdir(parents=True)
    with monkeypatch.context() as patch:
        recorded(disk, patch)
        for run in range(3):
            database = open_database(str(tmp_path / "first"))
            for number in range(5):
                facts.write(database, {f"{run} {number} {one}": "x" * 300 for one in range(20)})
                committed.append((len(disk.steps), f"{run} {number} 19"))
            database.close()
    dice = random.Random(1)
    moments = [place for place, step in enumerate(disk.steps) if step[1] != "write"]
    moments += dice.sample(range(len(disk.steps)), 60)
    for number, moment in enumerate(moments):
        state = tmp_path / f"cut {number}"
        (state / "blocks").mkdir(parents=True)
        for name, data in disk.after_cut(moment, lambda: dice.choice([0, 0, 0.5, 1, 1])).items():
            (state / name).write_bytes(data)
        database = open_database(str(state))
        there = facts.read(database)
        assert [name for before, name in committed if before <= moment and name not in there] == []
        assert database.value("PRAGMA integrity_check") == "ok"
        database.close()


def test_a_database_that_is_still_whole_in_its_log_is_not_called_damaged(tmp_path: Path) -> None:
    """A disk that does not keep the order of writes may have the log, and of the file itself nothing yet."""
    blocks, cut = tmp_path / "first" / "blocks", tmp_path / "cut"
    blocks.mkdir(parents=True)
    database = open_database(str(tmp_path / "first"))
    facts.write(database, {"a": 1})
    (cut / "blocks").mkdir(parents=True)
    (cut / "blocks" / "000000.thumbnails").write_bytes(b"x")
    (cut / FILE_NAME).write_bytes(b"")
    log = f"{FILE_NAME}-wal"
    (cut / log).write_bytes((tmp_path / "first" / log).read_bytes())
    database.close()
    again = open_database(str(cut))
    assert facts.read(again)["a"] == 1
    assert again.value("PRAGMA integrity_check") == "ok"
    again.close()
