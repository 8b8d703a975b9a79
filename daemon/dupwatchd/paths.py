"""Which path lies below which; paths are absolute bytes."""

from collections.abc import Iterable


def at_or_below(path: bytes, folder: bytes) -> bool:
    """Is it this folder, or does it lie in it, however deep?"""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def outermost(paths: Iterable[bytes]) -> list[bytes]:
    """Sorted, without those inside another."""
    kept: list[bytes] = []
    for path in sorted(set(paths)):
        if not any(at_or_below(path, other) for other in kept):
            kept.append(path)
    return kept
