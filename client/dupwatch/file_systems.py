"""What kinds of file systems are mounted: one asks for that where their numbers of files are no more than a hint."""

import os


def kinds_by_device() -> dict[int, str]:
    """Return the kind, such as "ext4" or "overlay", of each device that is mounted; raises OSError."""
    kinds = {}
    with open("/proc/self/mountinfo", "rb") as lines:
        for line in lines:
            before, _, after = line.partition(b" - ")
            major, _, minor = before.split(b" ")[2].partition(b":")
            kinds[os.makedev(int(major), int(minor))] = after.split(b" ", 1)[0].decode("ascii", "replace")
    return kinds
