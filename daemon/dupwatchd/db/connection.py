"""Opening the database, its pragmas, and the one place where SQLite's errors become ours."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import apsw

from dupwatchd.db import schema
from dupwatchd.db.change_log import ChangeLog
from dupwatchd.errors import DamagedStateError, Interrupted, StateError, StateLockedError, UsageError

FILE_NAME = "dupwatch.sqlite"
BUSY_TIMEOUT_MS = 5_000  # a reader may hold up a checkpoint for a moment; the lock file keeps second writers out
# Of each connection for questions, of which there may be a dozen: the upper levels of the tables of a million pictures.
# What is not in it the system has in memory: with 16 MB questions were as slow (1.2 ms of CPU for 60 pictures).
READER_CACHE_KIB = 4_000
JOURNAL_LIMIT_BYTES = 64 << 20  # what a long reader let the WAL grow to is given back at the next checkpoint

_PAGES_AT_ONCE = 2_000  # of a copy, between two signs of progress

_WAL_HEADER_BYTES = 32  # see "WAL File Format" in SQLite's documentation
_WAL_FRAME_HEADER_BYTES = 24

Row = tuple[Any, ...]


class Database:
    """One connection to ``dupwatch.sqlite``; not to be shared between threads."""

    def __init__(self, connection: apsw.Connection, path: str, cure: str | None = None) -> None:
        self._connection = connection
        self.path = path
        self._cure = cure or _CURE  # what to do if it is damaged
        self._identity = _identity(path)
        self._change_log: ChangeLog | None = None

    def note_changes(self) -> ChangeLog:
        """What this connection changes from now on; to be called once, by the only one that writes."""
        tell = getattr(self._connection, "preupdate_hook", None)
        self._change_log = ChangeLog(is_told=tell is not None)
        if tell is not None:  # else it is SQLite of a system that was built without
            tell(self._change_log.row_changes)
        return self._change_log

    def rows(self, sql: str, bindings: Any = None) -> list[Row]:
        """All rows of a query, or of a statement without any."""
        with self._errors(), self._noted():
            return self._connection.execute(sql, bindings).fetchall()

    def row(self, sql: str, bindings: Any = None) -> Row | None:
        """The first row, or None."""
        rows = self.rows(sql, bindings)
        return rows[0] if rows else None

    def value(self, sql: str, bindings: Any = None) -> Any:
        """The first column of the first row; there must be one."""
        return self.rows(sql, bindings)[0][0]

    def many(self, sql: str, bindings: Any) -> None:
        """Run one statement for each item of ``bindings``."""
        with self._errors(), self._noted():
            self._connection.executemany(sql, bindings).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; on disk when the block is left (``synchronous=FULL``).

        IMMEDIATE, so that a write can never fail half-way because somebody else wrote in between.
        """
        log = self._change_log
        self.rows("BEGIN IMMEDIATE")
        try:
            with log.transaction() if log is not None else nullcontext():
                yield
            with log.committing() if log is not None else nullcontext():
                self.rows("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read inside was true at one time, whoever commits meanwhile; nothing is locked."""
        if self._connection.in_transaction:
            yield
            return
        self.rows("BEGIN")
        try:
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def begin_reading(self) -> None:
        """Let a snapshot begin now, which else begins when something is read for the first time."""
        self.rows("SELECT count(*) FROM sqlite_master")

    def copy_into(self, target: "Database", copied: Callable[[int, int], None]) -> None:
        """Make ``target`` equal to this database as it is at one moment, whoever commits meanwhile.

        ``copied`` is told how many pages are copied, and of how many.
        """
        with self._errors(), self.snapshot():
            self.begin_reading()
            with target._connection.backup("main", self._connection, "main") as copying:  # noqa: SLF001 - our own class
                while not copying.done:
                    copying.step(_PAGES_AT_ONCE)
                    copied(copying.page_count - copying.remaining, copying.page_count)

    def interrupt(self) -> None:
        """Let the statement that another thread runs at the moment raise Interrupted."""
        self._connection.interrupt()

    def close(self) -> None:
        """Close the connection; calling it again does nothing."""
        with self._errors():
            self._connection.close()

    def is_in_place(self) -> bool:
        """Whether the path still leads to the file that was opened; any thread may call."""
        return _identity(self.path) == self._identity

    def damaged(self, what: str) -> DamagedStateError:
        """The error to raise for what cannot be true of a sound database."""
        return DamagedStateError(f"{self.path} is damaged ({what}); {self._cure}")

    def _full(self) -> StateError:
        return StateError(f"no space left for {self.path}: what was committed is safe; make room and run again")

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self._change_log is not None:
                self._change_log.statement_is_over()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise self.damaged(str(error)) from error
        except apsw.FullError as error:
            raise self._full() from error
        except apsw.InterruptError as error:
            raise Interrupted("interrupted") from error
        except (apsw.BusyError, apsw.ProtocolError) as error:  # the latter: of its log, even to read it
            raise StateLockedError(f"{self.path} is locked by another program; close it and run again") from error
        except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError) as error:
            raise UsageError(f"cannot write {self.path}: {error}; check the rights of its folder") from error
        except (apsw.ConstraintError, apsw.MismatchError) as error:
            raise self.damaged(str(error)) from error
        except apsw.SQLError as error:
            if "no such" not in str(error):
                raise  # our own mistake
            raise self.damaged(str(error)) from error
        except apsw.IOError as error:
            if _is_full(self.path):  # what lies beside the database, such as its index in memory, fails otherwise
                raise self._full() from error
            raise StateError(f"cannot read or write {self.path}: {error}; check the disk and run again") from error


def open_database(state: str) -> Database:
    """Open or create the database in the state directory ``state`` and bring its schema up to date.

    Raises UsageError if it cannot be written, StateError if it was made by a newer version, DamagedStateError
    if it is no database of ours. The caller holds the lock of the state directory.
    """
    path, blocks = os.path.join(state, FILE_NAME), os.path.join(state, "blocks")
    fresh = not os.path.lexists(path)
    if not fresh and not os.path.isfile(path):
        raise DamagedStateError(f"{path} is no file but something else of that name; {_CURE}")
    if not fresh and os.path.getsize(path) == 0 and not _first_page_restored(path) and os.listdir(blocks):
        # SQLite takes an empty file for a new database, and all that was known would be gone without a word.
        raise DamagedStateError(f"{path} is empty though pictures are stored beside it; {_CURE}")
    try:
        connection = apsw.Connection(path)
        os.chmod(path, 0o600)  # it names every photo; SQLite gives its journal the same rights
    except (apsw.Error, OSError) as error:
        raise UsageError(f"cannot open {path}: {error}; check the rights of its folder") from error
    database = Database(connection, path)
    try:
        _prepare(database)
    except BaseException:
        connection.close()
        raise
    return database


def open_beside(path: str, application_id: int, tables: Sequence[str], cure: str) -> Database:
    """Open or create a database beside the index; ``tables`` are the statements that make its tables if need be.

    ``cure`` says what to do if it is damaged. Raises UsageError if it cannot be written, DamagedStateError if it is not
    what it should be.
    """
    try:
        database = Database(apsw.Connection(path), path, cure)
        os.chmod(path, 0o600)
    except (apsw.Error, OSError) as error:
        raise UsageError(f"cannot open {path}: {error}; check the rights of its folder") from error
    try:
        _set_up(database)
        found_id = database.value("PRAGMA application_id")
        if found_id in (0, application_id):
            for table in tables:
                database.rows(table)
        if found_id == 0:
            database.rows(f"PRAGMA application_id = {application_id}")
    except BaseException:
        database.close()
        raise
    if found_id not in (0, application_id):
        database.close()
        raise DamagedStateError(f"{path} is not a database of dupwatch; {cure}")
    return database


def open_for_reading(state: str) -> Database:
    """Another connection to a database that is open and up to date already; it sees what is committed.

    It may be used by one thread at a time.
    """
    path = os.path.join(state, FILE_NAME)
    try:
        database = Database(apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY), path)
    except apsw.Error as error:
        raise StateError(f"cannot open {path}: {error}") from error
    database.rows(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    database.rows(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
    return database


def open_second_writer(state: str) -> Database:
    """Another connection to a database that is open and up to date already, for what is not told by the photos.

    It waits for the other writer, whose transactions take moments, for up to 5 s; then StateError is raised. What it
    commits is on disk. It may be used by one thread at a time.
    """
    path = os.path.join(state, FILE_NAME)
    try:
        database = Database(apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE), path)
    except apsw.Error as error:
        raise StateError(f"cannot open {path}: {error}") from error
    _set_up(database)
    return database


def copy_database(state: str, folder: str, copied: Callable[[int, int], None]) -> Database:
    """Copy the database of a state directory as it is at one moment into an empty folder, and open the copy.

    A service may write meanwhile, and waits for nothing. The copy is brought up to date like any database. Raises
    as `open_database`.
    """
    path = os.path.join(folder, FILE_NAME)
    with closing(open_for_reading(state)) as source, closing(Database(apsw.Connection(path), path)) as target:
        target.rows("PRAGMA synchronous = OFF")  # it is synced, or thrown away, by whoever wanted it
        source.copy_into(target, copied)
    return open_database(folder)


def _first_page_restored(path: str) -> bool:
    """Whether an empty database could be given its first page back from its write-ahead log.

    After a power cut the log may hold all that was committed while the file itself is empty, if the disk did not keep
    the order in which it was told to write. SQLite would then delete the log; with a first page it reads it, and
    decides by its checksums what of it is valid.
    """
    try:
        with open(f"{path}-wal", "rb") as log, open(path, "r+b") as database:
            page_bytes = int.from_bytes(log.read(_WAL_HEADER_BYTES)[8:12])
            while len(frame := log.read(_WAL_FRAME_HEADER_BYTES)) == _WAL_FRAME_HEADER_BYTES and page_bytes:
                page = log.read(page_bytes)
                if int.from_bytes(frame[:4]) == 1 and len(page) == page_bytes:
                    database.write(page)
                    database.flush()
                    os.fsync(database.fileno())
                    return True
    except OSError:
        pass  # without a log there is nothing to be restored; what else is wrong, SQLite tells
    return False


def _is_full(path: str) -> bool:
    """Whether the disk of a file has no room for one page more."""
    try:
        disk = os.statvfs(os.path.dirname(path))
    except OSError:
        return False
    free_blocks = disk.f_bavail if os.geteuid() else disk.f_bfree  # root may fill what is kept back from others
    return disk.f_blocks > 0 and free_blocks * disk.f_frsize < _SHARED_PAGE_BYTES


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _prepare(database: Database) -> None:
    database.rows(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    found_id = database.value("PRAGMA application_id")
    found_version = database.value("PRAGMA user_version")
    if found_id not in (0, schema.APPLICATION_ID) or (found_id == 0 and database.value("PRAGMA schema_version")):
        raise DamagedStateError(f"{database.path} is not a database of dupwatch; {_CURE}")
    if found_version > schema.VERSION:
        raise StateError(
            f"{database.path} was made by a newer dupwatch (schema {found_version}, this one knows "
            f"{schema.VERSION}); install that version or name another --state"
        )
    _set_up(database)
    database.rows("PRAGMA foreign_keys = ON")
    database.rows("PRAGMA cache_size = -32000")
    database.rows("PRAGMA temp_store = MEMORY")
    schema.migrate(database)


def _set_up(database: Database) -> None:
    database.rows(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    database.rows("PRAGMA journal_mode = WAL")
    database.rows("PRAGMA synchronous = FULL")  # a committed row survives a power cut
    database.rows(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT_BYTES}")


_SHARED_PAGE_BYTES = 1 << 15  # by which SQLite's index of its log grows

_CURE = "run `dupwatchd check --repair` to set it aside and start anew from the photos"
