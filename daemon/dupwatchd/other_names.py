"""Which of several paths lead to one file, through hard links or through mounts.

In: files of one cluster. Out: for each of them the earlier one that it is another name of. Whoever deletes one of two
paths to one file has lost the photo, so what is not certain is told as such.

Paths with one device and one inode number are one file. Some file systems show files of others under numbers of their
own: overlays and some kinds of FUSE, whose layers the mount table names, and shares of other machines, which may be
mounted twice. There the path on the file system below, or on the other machine, decides. Where even that is not known,
two files of one name, size, time of change and content, on two mounts, may be one file; and so may two on one mount
whose paths differ only in upper and lower case or in the Unicode form, for some file systems number files by path.
"""

import os
import socket
import unicodedata
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import NamedTuple

from dupwatchd.db.answers import Copy
from dupwatchd.serve.spare import OtherName, SameFile
from dupwatchd.watch.mounts import Mount, current_mounts, mount_of, unescaped

_DEPTH_MAX = 8  # of overlays over overlays
_INODE_BITS = (1 << 32) - 1  # an overlay may use the upper ones to tell its layers


class _Trace(NamedTuple):
    """Where a path leads to, at this moment."""

    status: os.stat_result  # of the file below, as far as it is known
    real: bytes  # its path
    mount: Mount | None
    is_certain: bool  # else it may be a file that has another number elsewhere
    far: Hashable | None = None  # what a share of another machine calls it

    @property
    def keys(self) -> tuple[Hashable, ...]:
        """Paths of which one of these is equal are likely one file."""
        inode = (self.status.st_dev, self.status.st_ino)
        return (inode,) if self.far is None else (inode, self.far)


class OtherNames:
    """Looks at the mount table once; made anew for each answer."""

    def __init__(self, mounts: Callable[[], list[Mount]] = current_mounts) -> None:
        self._read_mounts = mounts
        self._mount_of_folder: dict[bytes, Mount | None] = {}

    def __call__(self, copies: Sequence[Copy]) -> list[OtherName | None]:
        """For each of these files the earlier one that is, or may be, the same file; None for a file of its own."""
        traces = [self._traced(copy.path) for copy in copies]
        first: dict[Hashable, int] = {}
        found: list[OtherName | None] = []
        for place, trace in enumerate(traces):
            found.append(None if trace is None else _earlier(place, trace, traces, first))
            if trace is not None and found[-1] is None:
                for key in trace.keys:
                    first.setdefault(key, place)
        if not all(trace is None or trace.is_certain for trace in traces):
            _add_doubts(copies, traces, found)
        return found

    @cached_property
    def _mounts(self) -> list[Mount]:
        return self._read_mounts()

    def _mount(self, path: bytes) -> Mount | None:
        folder = os.path.dirname(path)
        if folder not in self._mount_of_folder:
            self._mount_of_folder[folder] = mount_of(path, self._mounts)
        return self._mount_of_folder[folder]

    def _traced(self, path: bytes, depth: int = 0) -> _Trace | None:
        """Where a path leads to; None if there is nothing."""
        try:
            status = os.lstat(path)
        except OSError:
            return None
        mount = self._mount(path)
        if mount is None or not (mount.is_layered or mount.is_remote):
            return _Trace(status, path, mount, is_certain=True)
        inner = mount.root.rstrip(b"/") + path[len(mount.place.rstrip(b"/")) :]  # the path within the file system
        if mount.is_layered or mount.is_fuse:  # both show files of other file systems
            for layer in _layers(mount) if depth < _DEPTH_MAX else ():
                below = self._traced(layer.rstrip(b"/") + inner, depth + 1)
                if below is not None and below.status.st_size == status.st_size:
                    return below._replace(mount=mount)
        is_share = not mount.is_layered and (b":/" in mount.source or mount.source.startswith(b"//"))
        far = (mount.family, mount.source.rstrip(b"/") + inner) if is_share else None
        return _Trace(status, path, mount, is_certain=False, far=far)


def _layers(mount: Mount) -> list[bytes]:
    """The folders that a file system shows as one, the first one on top; none if it does not say."""
    if not mount.is_layered:  # of a share the source names another machine first
        return mount.source.split(b":") if mount.source.startswith(b"/") else []
    return [unescaped(layer) for layer in _named_layers(mount) if layer.startswith(b"/")]


def _named_layers(mount: Mount) -> list[bytes]:
    """The folders of an overlay as whoever mounted it wrote them."""
    named = dict(option.partition(b"=")[::2] for option in mount.options)
    upper = [named[b"upperdir"]] if b"upperdir" in named else []
    return upper + named.get(b"lowerdir", b"").split(b":")


def _names_its_layers(mount: Mount) -> bool:
    """Can the folders be found? Not if they are told as seen from where whoever mounted it stood."""
    return all(layer.startswith(b"/") for layer in _named_layers(mount))


def _earlier(
    place: int, trace: _Trace, traces: Sequence[_Trace | None], first: dict[Hashable, int]
) -> OtherName | None:
    for key in trace.keys:
        other = first.get(key)
        known = None if other is None else traces[other]
        if other is not None and known is not None and other != place:
            return OtherName(other, _how(trace, known))
    return None


def _how(one: _Trace, other: _Trace) -> SameFile:
    """A hard link is another entry of a folder; else it is the same entry, seen through another mount."""
    if not os.path.samestat(one.status, other.status):
        return SameFile.ALIAS  # one path on another machine
    if one.status.st_nlink == 1:
        return SameFile.ALIAS  # a single file that was mounted elsewhere
    (folder, name), (other_folder, other_name) = os.path.split(one.real), os.path.split(other.real)
    try:
        is_one_folder = os.path.samefile(folder, other_folder)
    except OSError:
        is_one_folder = False
    return SameFile.ALIAS if name == other_name and is_one_folder else SameFile.LINK


def _add_doubts(copies: Sequence[Copy], traces: Sequence[_Trace | None], found: list[OtherName | None]) -> None:
    """Find what may be one file on two mounts, or under two spellings on one, where at least one does not tell."""
    looks_like: dict[Hashable, dict[int, int]] = {}  # the first file that looks so, by mount
    spelled: dict[Hashable, int] = {}  # the first file that looks so and whose path is spelled so, or otherwise
    for place, (copy, trace) in enumerate(zip(copies, traces, strict=True)):
        if trace is None or trace.mount is None:
            continue
        seconds = copy.mtime_ns // 10**9  # some shares tell no more
        key = (_folded(os.path.basename(copy.path)), copy.size_bytes, seconds, copy.content_digest)
        on_mount = looks_like.setdefault(key, {})
        for number, other in on_mount.items():
            known = traces[other]
            if found[place] is None and number != trace.mount.number and known is not None and _may_be(trace, known):
                found[place] = OtherName(other, SameFile.MAYBE)
        on_mount.setdefault(trace.mount.number, place)
        if not trace.is_certain:
            same = spelled.setdefault((trace.mount.number, _folded(copy.path), key), place)
            if same != place and found[place] is None:
                found[place] = OtherName(same, SameFile.MAYBE)


def _folded(path: bytes) -> str:
    """A path as a file system sees it that ignores case and the Unicode form."""
    text = unicodedata.normalize("NFD", os.fsdecode(path)).casefold()
    return unicodedata.normalize("NFD", text)


def _may_be(one: _Trace, other: _Trace) -> bool:
    """May two files that look alike, on different mounts, be one?"""
    unknown = [trace for trace in (one, other) if not trace.is_certain]
    if not unknown:
        return False
    mounts = [trace.mount for trace in unknown if trace.mount is not None]
    if layered := [mount for mount in mounts if mount.is_layered]:
        # Overlays keep the number of below, also for a file that was changed since and now is another one on top.
        is_one_number = (one.status.st_ino ^ other.status.st_ino) & _INODE_BITS == 0
        return is_one_number or not all(map(_names_its_layers, layered))
    if len(unknown) == 2 or any(mount.is_fuse for mount in mounts):
        return True
    return any(_is_this_machine(mount.source) for mount in mounts)


def _is_this_machine(source: bytes) -> bool:
    """Does a share come from this machine itself?"""
    host = source.lstrip(b"/").partition(b":/")[0].partition(b"/")[0].rpartition(b"@")[2].decode("ascii", "replace")
    names = {"localhost", "::1", "[::1]", socket.gethostname(), socket.gethostname().partition(".")[0]}
    return host in names or host.startswith("127.")
