import ctypes
import resource
import subprocess
import sys

import pytest

from dupwatchd.heap import Heap, anonymous_bytes

_LIBRARY = ctypes.CDLL(None)
_LIBRARY.malloc.restype = ctypes.c_void_p
_LIBRARY.malloc.argtypes = (ctypes.c_size_t,)
_LIBRARY.free.argtypes = (ctypes.c_void_p,)
_BLOCK_BYTES = 8000  # smaller than what the C library asks the system for as a piece of its own
_BLOCKS = 4000
_ONE_IN = 16  # stays

pytestmark = pytest.mark.skipif(not hasattr(_LIBRARY, "mallinfo2"), reason="needs glibc 2.33")


def test_what_is_free_between_blocks_in_use_goes_back_and_nothing_else() -> None:
    heap = Heap()
    heap.give_back()  # what other tests have left
    blocks = [_filled() for _ in range(_BLOCKS)]
    assert heap.give_back() == 0  # all of it is in use
    for number, block in enumerate(blocks):
        if number % _ONE_IN:
            _LIBRARY.free(block)
    before = anonymous_bytes()
    free_bytes = _BLOCKS * _BLOCK_BYTES * (_ONE_IN - 1) // _ONE_IN
    assert heap.give_back() > 0.9 * free_bytes
    assert before - anonymous_bytes() > 0.9 * free_bytes
    assert all(ctypes.string_at(block, _BLOCK_BYTES) == b"x" * _BLOCK_BYTES for block in blocks[::_ONE_IN])
    assert heap.give_back() == 0  # there is nothing more
    for block in blocks[::_ONE_IN]:
        _LIBRARY.free(block)


def test_what_was_given_back_can_be_had_again_and_goes_back_again() -> None:
    heap = Heap()
    heap.give_back()
    for _ in range(2):
        blocks = [_filled() for _ in range(_BLOCKS)]
        for block in blocks[1:-1]:
            _LIBRARY.free(block)
        assert heap.give_back() > 0.9 * (_BLOCKS - 2) * _BLOCK_BYTES
        _LIBRARY.free(blocks[0])
        _LIBRARY.free(blocks[-1])


def test_what_is_large_goes_back_when_it_is_freed() -> None:
    subprocess.run([sys.executable, "-c", _LARGE_AND_SMALL], check=True)


def test_nothing_is_given_back_when_no_file_can_be_opened() -> None:
    heap = Heap()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        assert heap.give_back() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


_LARGE_AND_SMALL = """
import ctypes
from dupwatchd.heap import Heap, anonymous_bytes

Heap().set_up()
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
library.free.argtypes = (ctypes.c_void_p,)
library.free(library.malloc(30 << 20))  # left to itself glibc takes it that such blocks come again
blocks = []
for _ in range(40):
    blocks.append(library.malloc(1 << 20))
    ctypes.memset(blocks[-1], 1, 1 << 20)
    library.malloc(1000)  # stays behind it
before = anonymous_bytes()
for block in blocks:
    library.free(block)
assert before - anonymous_bytes() > 38 << 20
"""


def _filled() -> int:
    block = _LIBRARY.malloc(_BLOCK_BYTES)
    ctypes.memset(block, ord("x"), _BLOCK_BYTES)
    return int(block)
