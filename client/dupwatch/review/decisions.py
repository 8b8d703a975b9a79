"""What a person has decided, on disk at once: a journal that is only ever appended to.

In: decisions about groups, each with all of its files. Out: which groups are decided, and how; what the service was
not told yet.

The service remembers choices by content. That is not all a person says: of two files with equal bytes one goes, and
only paths tell which. So the page keeps a journal of its own in `$XDG_STATE_HOME/dupwatch/review`, and tells the
service what contents can tell. A decision counts for exactly the files it was made for: a group that has gained a
file is open again. Each line of the journal is one step, which may be many decisions, and is taken back as one.

The journal alone counts: several pages of the same groups, each a process of its own, write to one, and each takes in
what the others have written.
"""

import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from typing import Any, NamedTuple, Self

from dupwatch.client import Client
from dupwatch.errors import RequestFailedError
from dupwatch.review.library import REQUEST_PATHS, Group, path_of, requests_of, text_of


class WrongDecisionError(Exception):
    """A decision that cannot be taken, and why, for a person."""


class Decision(NamedTuple):
    """What becomes of the files of one group: paths with the digests of their contents."""

    key: str
    stays: dict[bytes, bytes]
    goes: dict[bytes, bytes]
    out: frozenset[bytes] = frozenset()  # of those that stay: no copies of the others

    @classmethod
    def of(cls, group: Group, told: Mapping[str, Any]) -> Self:
        """Return the decision that the page sent; raises WrongDecisionError."""
        try:
            stays, goes, out = ([path_of(path) for path in told.get(name, ())] for name in ("stays", "goes", "out"))
        except (ValueError, TypeError, AttributeError):
            raise WrongDecisionError("a decision names files by their paths") from None
        digests = {file.path: file.digest for file in group.files}
        if sorted([*stays, *goes]) != sorted(digests) or not set(out) <= set(stays):
            raise WrongDecisionError("the group has changed: its files are not those that were shown")
        if goes and not set(stays) - set(out):
            raise WrongDecisionError("at least one of the copies has to stay")
        return cls(
            group.key,
            {path: digests[path] for path in stays},
            {path: digests[path] for path in goes},
            frozenset(out),
        )

    @property
    def files(self) -> dict[bytes, bytes]:
        """Return the paths of the group, with their digests."""
        return {**self.stays, **self.goes}

    def is_about(self, group: Group) -> bool:
        """Return whether it was made for exactly these files."""
        return self.files == {file.path: file.digest for file in group.files}

    def as_json(self) -> dict[str, Any]:
        """Return it as it stands in the journal."""
        return {
            "key": self.key,
            "stays": {text_of(path): digest.hex() for path, digest in self.stays.items()},
            "goes": {text_of(path): digest.hex() for path, digest in self.goes.items()},
            "out": sorted(map(text_of, self.out)),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Return what `as_json` made."""
        stays, goes = (
            {path_of(path): bytes.fromhex(digest) for path, digest in told[name].items()} for name in ("stays", "goes")
        )
        return cls(told["key"], stays, goes, frozenset(map(path_of, told["out"])))


class Decisions:
    """The journal, and what follows from it; made for several threads."""

    def __init__(self, path: str) -> None:
        """Read the journal at ``path``, if there is one; raises OSError."""
        self._path = path
        self._lock = threading.Lock()
        self._steps: dict[int, list[Decision]] = {}  # in their order
        self._untold: set[int] = set()
        self._revision = 0
        self._taken_bytes = 0  # of the journal
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self.catch_up()

    @property
    def revision(self) -> int:
        """Return how often something was decided or taken back."""
        return self._revision

    def decided(self) -> dict[str, Decision]:
        """Return the decisions in force by the key of their group."""
        with self._lock:
            return {one.key: one for step in self._steps.values() for one in step}

    def sharing(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Return the decisions in force about groups that share a file with these."""
        paths = {path for one in decisions for path in one.files}
        return [one for one in self.decided().values() if not paths.isdisjoint(one.files)]

    def add(self, decisions: Sequence[Decision]) -> None:
        """Take decisions as one step; on return it is on disk."""
        with self._lock, self._opened() as write:
            step = max(time.time_ns(), max(self._steps, default=0) + 1)
            write({"step": step, "decisions": [one.as_json() for one in decisions]})

    def take_back(self, is_open: Callable[[Decision], bool]) -> list[Decision]:
        """Take back the last step that holds a decision for which ``is_open``, and return it; nothing if there is none.

        The others have been carried out: they are over.
        """
        with self._lock, self._opened() as write:
            step = max((step for step, made in self._steps.items() if any(map(is_open, made))), default=None)
            if step is None:
                return []
            taken = self._steps[step]
            write({"taken_back": step})
            return taken

    def tell(self, client: Client) -> None:
        """Tell the service what it was not told yet; raises ClientError, and tells the rest the next time."""
        with self._lock:
            untold = [(step, self._steps[step], self._replaced_by(step)) for step in sorted(self._untold)]
        for step, decisions, replaced in untold:
            _are_copies(client, replaced)
            _are_no_copies(client, self.sharing(replaced))
            tell(client, decisions)
            with self._lock, self._opened() as write:
                if step in self._untold:
                    write({"told": step})

    def _replaced_by(self, step: int) -> list[Decision]:
        """Return what was in force before a step for groups of the same files: somebody has changed his mind.

        A group that has lost a file may keep its key. Who took that file out, and then decides on the others, has not.
        """
        files = {one.key: one.files for one in self._steps[step]}
        made = (one for number in sorted(self._steps) if number < step for one in self._steps[number])
        return list({one.key: one for one in made if one.files == files.get(one.key)}.values())

    def catch_up(self) -> bool:
        """Take in what was written since; returns whether anything was decided or taken back. Raises OSError."""
        with self._lock:
            before = self._revision
            try:
                if os.stat(self._path).st_size != self._taken_bytes:
                    with FileIO(self._path) as file:
                        fcntl.flock(file, fcntl.LOCK_SH)
                        self._take_in(file)
            except FileNotFoundError:
                pass
            return self._revision != before

    @contextmanager
    def _opened(self) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Take in what others have written, and give a function that writes a line: it is on disk then, and in force.

        Nobody else writes until the block is left. Raises OSError, and what could not be written is not there.
        """
        with FileIO(self._path, "ab+", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._take_in(file)

            def write(line: Mapping[str, Any]) -> None:
                # What a power failure has cut off before must not take this line with it.
                text = b"\n" + json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"
                try:
                    _write_whole(file, text)
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(self._taken_bytes)
                    raise
                self._take_in(file)

            yield write

    def _take_in(self, file: FileIO) -> None:
        if os.fstat(file.fileno()).st_size < self._taken_bytes:
            self._taken_bytes = 0  # it was removed, and begun anew
        file.seek(self._taken_bytes)
        text = file.read()
        self._taken_bytes += len(text)
        for line in text.split(b"\n"):
            try:
                self._apply(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # empty, or cut off; the others stand for themselves

    def _apply(self, line: Mapping[str, Any]) -> None:
        if "decisions" in line:
            self._steps[line["step"]] = [Decision.from_json(told) for told in line["decisions"]]
            self._untold.add(line["step"])
            self._revision += 1
        elif "taken_back" in line:
            self._steps.pop(line["taken_back"], None)
            self._untold.discard(line["taken_back"])
            self._revision += 1
        else:
            self._untold.discard(line["told"])


def _write_whole(file: FileIO, text: bytes) -> None:
    if file.write(text) != len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def tell(client: Client, decisions: Sequence[Decision]) -> None:
    """Tell the service which contents stay and go, and which are no copies of each other; raises ClientError."""
    # Groups share files: what stays by one decision stays, and each is told once.
    kept = {digest for one in decisions for digest in one.stays.values()}
    _decide(client, "keep", list({path: None for one in decisions for path in one.stays}))
    go = {path: None for one in decisions for path, digest in one.goes.items() if digest not in kept}
    _decide(client, "go", list(go))
    _are_no_copies(client, decisions)


def tell_back(client: Client, decisions: Sequence[Decision]) -> None:
    """Tell the service that decisions were taken back; raises ClientError."""
    _decide(client, "forget", list({path: None for one in decisions for path in one.files}))
    _are_copies(client, decisions)


def _are_no_copies(client: Client, decisions: Sequence[Decision]) -> None:
    """Tell the service what decisions call no copies; raises ClientError."""
    for one in decisions:
        for paths in _no_copies(one):
            _ask(client, "ignore", paths)


def _are_copies(client: Client, decisions: Sequence[Decision]) -> None:
    """Tell the service that what decisions have called no copies may be copies again; raises ClientError."""
    for one in decisions:
        for paths in _no_copies(one):
            _ask(client, "unignore", paths)


def _no_copies(decision: Decision) -> Iterator[list[bytes]]:
    """Yield paths of which each two are no copies of each other, one path for a content."""
    contents = {digest: path for path, digest in decision.files.items()}
    if len(decision.out) == len(decision.stays) and not decision.goes:
        yield list(contents.values())[:REQUEST_PATHS]
        return
    for path in decision.out:
        for digest, other in contents.items():
            if digest != decision.stays[path]:
                yield [path, other]


def _decide(client: Client, choice: str, paths: Sequence[bytes]) -> None:
    for some in requests_of(paths):
        try:
            client.request("decide", None, **{choice: some})
        except RequestFailedError as error:
            if error.code != "unknown_file":
                raise
            middle = len(some) // 2  # of a file that the index does not know any more nothing is left to be decided
            if middle:
                _decide(client, choice, some[:middle])
                _decide(client, choice, some[middle:])


def _ask(client: Client, command: str, paths: Sequence[bytes]) -> None:
    if len(paths) < 2:
        return  # equal bytes are never apart
    try:
        client.request(command, paths=list(paths))
    except RequestFailedError as error:
        if error.code != "unknown_file":
            raise
