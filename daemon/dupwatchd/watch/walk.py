"""Walks the roots: every folder at and below them, with the stamps of its picture files.

In go a root and the rules, out comes one `Listing` for each folder. Symbolic links are never followed, in no part of a
path: loops do no harm, and a folder that is swapped for a link during the walk leads nowhere. A folder that cannot be
listed is reported in its listing, not raised. Memory is needed for one folder and for the list of folders that are
still to be visited.
"""

import hashlib
import marshal
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from dupwatch.quarantine_name import is_quarantine
from dupwatch.suffixes import suffix_of_name
from dupwatchd.model import within_int64
from dupwatchd.opening import open_folder
from dupwatchd.watch.ignore import IgnoredNames

Entry = tuple[bytes, int, int, int, int]  # name, size_bytes, mtime_ns, device, inode
_ENTRIES_AT_ONCE = 10_000  # bounds memory in a folder of millions
# name, size_bytes, mtime_ns, inode; the name is text, because os.fsencode costs as much as a stat
_Seen = tuple[str, int, int, int]

# Their drivers give other inode numbers after a remount or under memory pressure: only size and time are compared.
_UNSTABLE_INODES = ("vfat", "exfat", "msdos", "ntfs", "ntfs3", "fuseblk", "fuse", "cifs", "smb3", "9p", "virtiofs")


@dataclass(frozen=True)
class WalkRules:
    """What the walk takes up."""

    suffixes: frozenset[bytes]  # lower case, with dot; b"" stands for names without one
    ignore: tuple[str, ...]  # globs, see `IgnoredNames`
    left_out: frozenset[bytes] = field(default_factory=frozenset)  # absolute paths never entered: our own state

    @cached_property
    def ignored(self) -> IgnoredNames:
        """The globs, compiled."""
        return IgnoredNames(self.ignore)

    @cached_property
    def suffixes_as_text(self) -> frozenset[str]:
        """As a folder's entries are named."""
        return frozenset(os.fsdecode(suffix) for suffix in self.suffixes)

    def leaves_out(self, path: bytes, root: bytes) -> bool:
        """Is a folder below the root one that is never entered, or does it lie in such a one?"""
        skip = len(root.rstrip(b"/")) + 1
        while len(path) > len(root):
            if self.never_enters(os.path.basename(path), path, skip):
                return True
            path = os.path.dirname(path)
        return False

    def never_enters(self, name: bytes, path: bytes, skip: int) -> bool:
        """Is a folder one that is not looked into? ``skip`` bytes of its path stand before the part below the root.

        A quarantine is one as long as its marker lies in it: this is looked up on the disk, but only for its name.
        """
        return path in self.left_out or self.ignored.covers(name, path[skip:]) or is_quarantine(path)

    @cached_property
    def signature(self) -> bytes:
        """Changes when other files would be taken up."""
        return repr((sorted(self.suffixes), self.ignore)).encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Listing:
    """One folder: its picture files, or why it could not be listed."""

    path: bytes
    digest: bytes  # of all names and stamps: equal digests mean that nothing has changed
    inodes_are_stable: bool
    error: str | None
    device: int
    folders: list[bytes]  # paths of the folders below that are walked, too
    is_empty: bool  # nothing at all lies in it
    _seen: list[_Seen]
    _root: bytes
    _rules: WalkRules

    @property
    def seen_files(self) -> int:
        """How many files have a wanted suffix, ignored names included."""
        return len(self._seen)

    def entries(self) -> list[Entry]:
        """The files to be taken up; worked out only for folders that changed, as it costs more than the listing."""
        skip = len(self._root.rstrip(b"/")) + 1
        prefix = self.path.rstrip(b"/") + b"/"
        covers = self._rules.ignored.covers
        entries = [
            (os.fsencode(name), size_bytes, within_int64(mtime_ns), self.device, within_int64(inode))
            for name, size_bytes, mtime_ns, inode in self._seen
        ]
        return [entry for entry in entries if not covers(entry[0], (prefix + entry[0])[skip:])]


def walk(root: bytes, rules: WalkRules, below: Sequence[bytes] | None = None) -> Iterator[Listing]:
    """List each folder at and below the root once; the root is absolute and resolved.

    Or only these folders ``below`` it, none inside another, and what is below them; one that is not there is passed
    over, while a root that is not there is told.
    """
    unstable = _devices_with_unstable_inodes()
    folders = [root] if below is None else list(below)
    while folders:
        path = folders.pop()
        listing = _listing(path, root, rules, unstable)
        if listing is not None:
            yield listing
            folders += listing.folders


def is_empty_folder(path: bytes) -> bool:
    """Does nothing at all lie in a folder, or can it not be listed? Reads the first entry only."""
    try:
        return folder_device(path)[1]
    except OSError:
        return True


def folder_device(path: bytes) -> tuple[int, bool]:
    """The device of a folder, and whether it is empty; raises OSError. Costs the same however much lies in it."""
    descriptor = open_folder(path)
    try:
        with os.scandir(descriptor) as entries:
            return within_int64(os.fstat(descriptor).st_dev), next(entries, None) is None
    finally:
        os.close(descriptor)


def list_folder(path: bytes, root: bytes, rules: WalkRules) -> Listing | None:
    """One folder at or below the root; None if it is not there, and not the root."""
    return _listing(path, root, rules, _devices_with_unstable_inodes())


def stamped_files(
    folder: bytes, names: Iterable[bytes], root: bytes, rules: WalkRules
) -> tuple[int, bool, list[Entry]] | None:
    """Of some names in a folder, those that are files to be taken up.

    Returns the folder's device, whether its inode numbers are stable, and the entries; None if it cannot be opened.
    """
    skip = len(root.rstrip(b"/")) + 1
    prefix = folder.rstrip(b"/") + b"/"
    try:
        descriptor = open_folder(folder)
    except OSError:
        return None
    entries: list[Entry] = []
    try:
        device = os.fstat(descriptor).st_dev
        for name in names:
            if suffix_of_name(os.fsdecode(name)) not in rules.suffixes_as_text:
                continue
            if rules.ignored.covers(name, (prefix + name)[skip:]):
                continue
            try:
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except OSError:
                continue  # gone
            if stat.S_ISREG(found.st_mode):
                device_of_file, inode = within_int64(device), within_int64(found.st_ino)
                entries.append((name, found.st_size, within_int64(found.st_mtime_ns), device_of_file, inode))
    finally:
        os.close(descriptor)
    return within_int64(device), device not in _devices_with_unstable_inodes(), entries


def _listing(path: bytes, root: bytes, rules: WalkRules, unstable: frozenset[int]) -> Listing | None:
    try:
        device, seen, below, is_empty = _list_folder(path, rules.suffixes_as_text)
    except OSError as error:
        if path == root or not isinstance(error, FileNotFoundError | NotADirectoryError):
            return Listing(path, b"", True, error.strerror or str(error), 0, [], False, [], root, rules)
        return None  # it went since its parent was listed
    stable = device not in unstable
    wanted = _wanted_folders(path, root, below, rules)
    digest = _digest(seen, stable, root, rules)
    return Listing(path, digest, stable, None, within_int64(device), wanted, is_empty, seen, root, rules)


def _list_folder(path: bytes, suffixes: frozenset[str]) -> tuple[int, list[_Seen], list[str], bool]:
    """(device, files with one of the suffixes, folders, is it empty); raises OSError."""
    seen: list[_Seen] = []
    below: list[str] = []
    is_empty = True
    # Relative to an open folder a stat costs less than by its whole path.
    descriptor = open_folder(path)
    try:
        with os.scandir(descriptor) as found:
            while some := list(islice(found, _ENTRIES_AT_ONCE)):
                is_empty = False
                below += [entry.name for entry in some if entry.is_dir(follow_symlinks=False)]
                seen += _stamped([entry for entry in some if entry.is_file(follow_symlinks=False)], suffixes)
        return os.fstat(descriptor).st_dev, seen, below, is_empty
    finally:
        os.close(descriptor)


def _stamped(entries: list["os.DirEntry[str]"], suffixes: frozenset[str]) -> list[_Seen]:
    """The files with one of the suffixes; comprehensions, as this is most of what a scan without news does."""
    wanted = [
        entry
        for entry in entries
        if entry.name[entry.name.rfind(".") :] in suffixes or suffix_of_name(entry.name) in suffixes
    ]
    try:
        return [
            (entry.name, status.st_size, status.st_mtime_ns, status.st_ino)
            for entry in wanted
            for status in (entry.stat(follow_symlinks=False),)
        ]
    except FileNotFoundError:  # one of them went between listing and stat
        return _stamped([entry for entry in wanted if _is_there(entry)], suffixes)


def _is_there(entry: "os.DirEntry[str]") -> bool:
    try:
        entry.stat(follow_symlinks=False)  # which it remembers
    except FileNotFoundError:
        return False
    return True


def _digest(seen: list[_Seen], inodes_are_stable: bool, root: bytes, rules: WalkRules) -> bytes:
    known = seen if inodes_are_stable else [entry[:3] for entry in seen]
    # format 2 of marshal has no back references: equal values give equal bytes
    salt = rules.signature + (root if rules.ignored.knows_paths else b"")
    key = hashlib.blake2b(salt, digest_size=32).digest()
    return hashlib.blake2b(marshal.dumps(known, 2), key=key, digest_size=16).digest()


def _wanted_folders(path: bytes, root: bytes, below: list[str], rules: WalkRules) -> list[bytes]:
    """Folders to be visited, last one first."""
    skip = len(root.rstrip(b"/")) + 1
    prefix = path.rstrip(b"/") + b"/"
    wanted = []
    for name in sorted(map(os.fsencode, below), reverse=True):
        whole = prefix + name
        if not rules.never_enters(name, whole, skip):
            wanted.append(whole)
    return wanted


def _devices_with_unstable_inodes() -> frozenset[int]:
    devices = set()
    try:
        with open("/proc/self/mountinfo", "rb") as mounts:
            for line in mounts:
                before, _, after = line.partition(b" - ")
                kind = after.split(b" ", 1)[0].decode("ascii", "replace").partition(".")[0]
                if kind in _UNSTABLE_INODES:
                    major, _, minor = before.split(b" ")[2].partition(b":")
                    devices.add(os.makedev(int(major), int(minor)))
    except OSError:
        pass  # no /proc: then every inode counts, which costs a second reading at worst
    return frozenset(devices)
