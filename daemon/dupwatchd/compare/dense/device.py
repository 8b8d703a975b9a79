"""Where arrays are computed by one code: on the CPU with numpy, or on a GPU with cupy, which only this module loads.

A GPU is never needed. If it fails, at the start or in the middle of work, one line says why; the work in hand is done
again on the CPU, and all later work is done there.
"""

import importlib
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from dupwatchd.arrays import Thumbnails

_CPU_BYTES = 256 << 20  # for a piece of work; larger pieces are no faster
_SHARE_OF_FREE = 0.5  # of a GPU's memory: other programs use it, and cupy needs room to multiply
_TRIED_SIDE = 512  # rows and columns of the matrices that are multiplied to try a GPU

Warn = Callable[[str], None]
Result = TypeVar("Result")


class Device:
    """A GPU for as long as it works, otherwise the CPU; used by one thread."""

    def __init__(self, name: str, xp: Any, memory_bytes: int, warn: Warn) -> None:
        self.name = name  # shown to users: "cpu", or "cuda: " and the name of the model
        self.xp = xp  # numpy or cupy
        self.memory_bytes = memory_bytes  # how much a piece of work may use
        self._warn = warn

    def run(self, work: Callable[[], Result]) -> Result:
        """What ``work`` returns, which uses `xp` and `memory_bytes` as they are when it is called.

        If a GPU fails, ``work`` is called again on the CPU. What it returns must not lie on the GPU.
        """
        if self.xp is np:
            return work()
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - a fault of ours, not of the GPU, comes again on the CPU
            reason = _one_line(error)
        self._leave(reason)
        return work()

    def to_device(self, array: Thumbnails) -> Any:
        """The array as one of `xp`."""
        return self.xp.asarray(array)

    def to_host(self, array: Any) -> Any:
        """An array of `xp` as one of numpy; anything else unchanged."""
        return self.xp.asnumpy(array) if self.xp is not np and isinstance(array, self.xp.ndarray) else array

    def _leave(self, reason: str) -> None:
        self._warn(f"{self.name} failed ({reason}); the CPU goes on with comparing")
        try:
            self.xp.get_default_memory_pool().free_all_blocks()
        except Exception:  # noqa: BLE001, S110 - of a GPU that is gone nothing can be given back
            pass
        self.name, self.xp = "cpu", np
        self.memory_bytes = min(self.memory_bytes, _CPU_BYTES)


class _NoGpuError(Exception):
    """There is no GPU, or nothing to use it with."""


def open_device(wanted: str, memory_mb: int | None = None, warn: Warn = lambda _: None) -> Device:
    """The device for ``auto``, ``cpu`` or ``cuda``; never fails, at worst it is the CPU.

    ``memory_mb`` limits what a piece of work may use; by default half of a GPU's free memory, or 256 MB on the CPU.
    ``warn`` is called with one line if a GPU does not work; with ``auto`` not if there is none, or no cupy.
    """
    bound = None if memory_mb is None else memory_mb << 20
    if wanted != "cpu":
        try:
            return _tried(_load_cupy(), bound, warn)
        except _NoGpuError as error:
            if wanted == "cuda":
                warn(f"{error}; the CPU does the comparing")
        except Exception as error:  # noqa: BLE001 - drivers and libraries fail in every way there is
            warn(f"the GPU cannot be used ({_one_line(error)}); the CPU does the comparing")
    return Device("cpu", np, _CPU_BYTES if bound is None else bound, warn)


def _load_cupy() -> Any:
    """Cupy, if it finds a GPU."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of paths that are not set, even where none is needed
            cupy = importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise
        raise _NoGpuError("cupy is not installed, and no GPU can be used without it") from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except RuntimeError as error:  # no driver, or an old one
        raise _NoGpuError(f"no GPU was found ({_one_line(error)})") from error
    if not count:
        raise _NoGpuError("no GPU was found")
    return cupy


def _tried(cupy: Any, bound: int | None, warn: Warn) -> Device:
    """The first GPU, if it multiplies and compiles as it should."""
    free = int(cupy.cuda.runtime.memGetInfo()[0] * _SHARE_OF_FREE)
    random = np.random.default_rng(0)
    first, second = (random.integers(0, most, (_TRIED_SIDE,) * 2).astype(np.float32) for most in (4096, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # numbers of 12 bits: TF32 keeps 11 of them, and all bounds are those of float32
        product = cupy.asarray(first) @ cupy.asarray(second)
        apart = float(cupy.abs(product - cupy.asarray(first @ second)).max())
    if apart:
        raise ArithmeticError("it multiplies less exactly than float32; is CUPY_TF32 set?")
    name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())["name"].decode(errors="replace")
    return Device(f"cuda: {name}", cupy, free if bound is None else min(free, bound), warn)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
