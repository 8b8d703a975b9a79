"""What is mounted where, and which file systems do not tell of all changes."""

import re
from dataclasses import dataclass

from dupwatchd.paths import at_or_below

# Other machines may change them without an event here; so may what is behind `fuse` (sshfs, rclone, mergerfs ...).
_REMOTE = frozenset([
    "9p", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse",
    "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs",
    "prl_fs", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
])  # fmt: skip
_LAYERED = frozenset(["overlay", "aufs"])  # no event for what is written to a layer directly


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the kernel's list."""

    number: int  # another one after every mount
    place: bytes
    kind: str
    root: bytes = b"/"  # the folder of the file system that is seen there
    source: bytes = b""  # a device, `server:/path`, or whatever the file system calls itself
    options: tuple[bytes, ...] = ()  # of the file system, as written in the list

    @property
    def is_remote(self) -> bool:
        """May others change it, or may it hang?"""
        return self.kind.partition(".")[0] in _REMOTE

    @property
    def is_fuse(self) -> bool:
        """Is a program behind it, which may show files of other file systems?"""
        return self.kind.partition(".")[0] == "fuse"

    @property
    def family(self) -> str:
        """The same word for the versions of one protocol."""
        return {"nfs4": "nfs", "smb2": "smb", "smb3": "smb", "smbfs": "smb", "cifs": "smb"}.get(self.kind, self.kind)

    @property
    def is_layered(self) -> bool:
        """Is it made of other file systems, which may change by themselves?"""
        return self.kind in _LAYERED


def current_mounts() -> list[Mount]:
    """All mounts, those that lie over others last; nothing where there is no /proc."""
    try:
        with open("/proc/self/mountinfo", "rb") as lines:
            return [_parsed(line) for line in lines]
    except OSError:
        return []


def mount_of(path: bytes, mounts: list[Mount]) -> Mount | None:
    """The mount a path lies on."""
    above = [mount for mount in mounts if at_or_below(path, mount.place)]
    longest = max((len(mount.place) for mount in above), default=0)
    return next((mount for mount in reversed(above) if len(mount.place) == longest), None)


def mounts_below(path: bytes, mounts: list[Mount]) -> list[Mount]:
    """The mounts that lie below a path, not at it."""
    return [mount for mount in mounts if mount.place != path and at_or_below(mount.place, path)]


def _parsed(line: bytes) -> Mount:
    before, _, after = line.rstrip(b"\n").partition(b" - ")
    fields = before.split(b" ")
    kind, source, options = (*after.split(b" "), b"", b"")[:3]
    return Mount(
        int(fields[0]),
        unescaped(fields[4]),
        kind.decode("ascii", "replace"),
        unescaped(fields[3]),
        unescaped(source),
        tuple(options.split(b",")),
    )


def unescaped(text: bytes) -> bytes:
    """A field of the kernel's list, in which blanks and the like are written as octal numbers."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), text)
