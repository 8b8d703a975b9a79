"""The memory of the C library: few heaps for all threads, and what nothing uses in them goes back to the system.

Messages, pages of the database and arrays come and go on all threads, between others that stay. The C library keeps
what is free between those: 134 MB after a minute of attacks, where 230 MB were in use.
"""

import ctypes
import os
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h
_HEAPS = 2
_LARGE_BYTES = 256 << 10  # pieces of files that are sent have 1 MB
_LARGEST_IN_HEAP_BYTES = 32 << 20  # glibc allows no more
_WORTH_BYTES = 16 << 20  # takes some 2 ms of CPU, in which whoever needs memory of a heap waits
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class _Mallinfo2(ctypes.Structure):
    """As in malloc.h."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


class Heap:
    """Of this process; used by one thread.

    Does nothing where the C library is not glibc; where that is older than 2.33 it is told less well what is worth it.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._least_bytes = 0  # not in use, when nothing more could be given back
        self._mallinfo2 = getattr(self._library, "mallinfo2", None)
        if self._mallinfo2 is not None:
            self._mallinfo2.restype = _Mallinfo2

    def set_up(self) -> None:
        """To be called before there are other threads.

        All threads take memory from few heaps: with one for each, what one frees another cannot use. What is large has
        a place of its own, which goes back when it is freed; glibc lets that be 32 MB or more after a while.
        """
        with suppress(AttributeError):
            self._library.mallopt(_M_ARENA_MAX, _HEAPS)
            self._library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
            self._library.mallopt(_M_TRIM_THRESHOLD, _WORTH_BYTES)  # left to itself it would be 128 KB now

    def give_back(self) -> int:
        """Give back what is free if that has become much since the last time; bytes, 0 if it is not worth it.

        Nothing is given back while it cannot be told: where there is no /proc, or when no file can be opened any more.
        """
        try:
            return self._give_back()
        except OSError:
            return 0

    def _give_back(self) -> int:
        before = self._unused_bytes()
        self._least_bytes = min(self._least_bytes, before)
        if before - self._least_bytes < _WORTH_BYTES:
            return 0
        with suppress(AttributeError):
            self._library.malloc_trim(ctypes.c_size_t(0))
        self._least_bytes = self._unused_bytes()
        return max(0, before - self._least_bytes)

    def _unused_bytes(self) -> int:
        """What is in memory and not known to be in use: free, or had without the heap, such as stacks."""
        return anonymous_bytes() - self._used_bytes()

    def _used_bytes(self) -> int:
        if self._mallinfo2 is None:
            return 0
        told = self._mallinfo2()
        return int(told.uordblks) + int(told.hblkhd)


def keep_large_pieces(kept_bytes: int) -> None:
    """Let this process use large pieces of memory again, and keep that much of what it does not use at the moment.

    For one that ends soon, or takes the same pieces again and again: of looks at large photos, new pages took a tenth.
    """
    library = ctypes.CDLL(None)
    with suppress(AttributeError):
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_IN_HEAP_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, kept_bytes)


def anonymous_bytes() -> int:
    """How much of this process is in memory, without what are pages of files; raises OSError."""
    with open("/proc/self/statm", "rb") as statm:
        _, resident, shared, *_ = map(int, statm.read().split())
    return (resident - shared) * _PAGE_BYTES
