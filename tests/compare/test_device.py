"""No GPU, a broken one, one that fails at work: the answer is always the CPU's, and one line says why."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dupwatchd.compare.dense.device import Device, open_device

KINDS = ["cpu", "apart", "cuda"]


class Apart(np.ndarray[Any, Any]):
    """An array that, like one on a GPU, does not mix with those of numpy."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if "out" in options:
            options["out"] = tuple(_plain(array) for array in options["out"])
        return _apart(getattr(ufunc, method)(*map(_plain, inputs), **options))

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} got an array of the device")


class ApartModule:
    """As much of cupy as is used, on the CPU."""

    ndarray = Apart

    def asarray(self, array: Any) -> Any:
        return _apart(np.array(array))

    def asnumpy(self, array: Any) -> Any:
        return np.array(array)

    def __getattr__(self, name: str) -> Any:
        if name not in ("abs", "concatenate", "einsum", "flatnonzero", "maximum", "sqrt"):
            raise AttributeError(name)
        return lambda *arguments, **options: _apart(
            getattr(np, name)(*map(_plain, arguments), **{key: _plain(value) for key, value in options.items()})
        )


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray) and not isinstance(value, Apart):
        raise TypeError("an array of numpy among those of the device")
    return value.view(np.ndarray) if isinstance(value, Apart) else value


def _apart(value: Any) -> Any:
    return value.view(Apart) if isinstance(value, np.ndarray) else value


def make_device(kind: str, memory_mb: int | None = None) -> Device:
    """A device to test with: numpy, numpy with arrays that do not mix, or a GPU; skips what is not there."""
    if kind == "apart":
        return Device("apart", ApartModule(), (memory_mb or 256) << 20, pytest.fail)
    said: list[str] = []
    device = open_device(kind, memory_mb, said.append)
    if kind == "cuda" and device.name == "cpu":
        pytest.skip(said[0])
    assert said == []
    return device


def cupy_that(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str) -> None:
    """Make this the source of the cupy that is imported."""
    (folder / "cupy.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setitem(sys.modules, "cupy", None)  # so that it is as it was when the test is over
    monkeypatch.delitem(sys.modules, "cupy")


def opened(wanted: str) -> tuple[Device, list[str]]:
    said: list[str] = []
    device = open_device(wanted, None, said.append)
    assert (device.name, device.xp) == ("cpu", np)
    return device, said


def test_the_cpu_is_had_for_the_asking() -> None:
    device, said = opened("cpu")
    assert device.memory_bytes == 256 << 20
    assert open_device("cpu", 100).memory_bytes == 100 << 20
    array = np.arange(3, dtype=np.uint8)
    assert device.to_host(device.to_device(array)) is array
    assert said == []


def test_what_there_is_here_is_used_or_named() -> None:
    said: list[str] = []
    device = open_device("cuda", None, said.append)
    if device.name == "cpu":
        (line,) = said
        assert line.endswith("; the CPU does the comparing")
        assert opened("auto")[1] == []
    else:
        assert device.name.startswith("cuda: ")
        assert (device.to_host(device.to_device(np.eye(3, dtype=np.uint8))) == np.eye(3)).all()
        assert said == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "cupy is not installed, and no GPU can be used without it"),
        (
            (
                "class cuda:\n class runtime:\n  def getDeviceCount():\n"
                "   raise RuntimeError('cudaErrorInsufficientDriver: too old')"
            ),
            "no GPU was found (cudaErrorInsufficientDriver: too old)",
        ),
        ("class cuda:\n class runtime:\n  def getDeviceCount(): return 0", "no GPU was found"),
    ],
)
def test_where_there_is_no_gpu_it_is_told_only_who_asked_for_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str | None, reason: str
) -> None:
    if source is None:
        monkeypatch.setitem(sys.modules, "cupy", None)  # what Python does where it finds nothing
    else:
        cupy_that(monkeypatch, tmp_path, source)
    assert opened("auto")[1] == opened("cpu")[1] == []
    assert opened("cuda")[1] == [f"{reason}; the CPU does the comparing"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise ImportError('libcublas.so.12:\\n  cannot open')", "libcublas.so.12: cannot open"),
        ("import nvidia_is_not_there", "No module named 'nvidia_is_not_there'"),
        (
            (
                "class cuda:\n class runtime:\n  def getDeviceCount(): return 1\n"
                "  def memGetInfo(): raise RuntimeError('cudaErrorDevicesUnavailable: busy or unavailable')"
            ),
            "cudaErrorDevicesUnavailable: busy or unavailable",
        ),
        (
            (
                "import numpy\nfrom numpy import abs\n"
                "def asarray(a): return (a.astype(int) & ~3).astype(a.dtype) if a.max() == 4095 else a\n"
                "class cuda:\n class runtime:\n  def getDeviceCount(): return 1\n  def memGetInfo(): return 8, 8"
            ),
            "it multiplies less exactly than float32; is CUPY_TF32 set?",
        ),
    ],
)
def test_a_gpu_that_is_there_and_does_not_work_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, reason: str
) -> None:
    cupy_that(monkeypatch, tmp_path, source)
    for wanted in ("auto", "cuda"):
        assert opened(wanted)[1] == [f"the GPU cannot be used ({reason}); the CPU does the comparing"]
    assert opened("cpu")[1] == []


def test_work_that_fails_on_the_gpu_is_done_again_on_the_cpu() -> None:
    said: list[str] = []
    device = Device("cuda: small", ApartModule(), 1 << 40, said.append)
    tried = []

    def work() -> int:
        tried.append(device.name)
        if device.xp is not np:
            raise MemoryError("Out of memory allocating 5 bytes")
        return int(device.to_host(device.to_device(np.arange(4, dtype=np.uint8)).sum()))

    assert (device.run(work), device.run(work)) == (6, 6)
    assert tried == ["cuda: small", "cpu", "cpu"]
    assert (device.name, device.xp, device.memory_bytes) == ("cpu", np, 256 << 20)
    assert said == ["cuda: small failed (Out of memory allocating 5 bytes); the CPU goes on with comparing"]


def test_a_mistake_of_the_work_itself_comes_to_light_on_the_cpu() -> None:
    def work() -> None:
        raise ZeroDivisionError

    device = Device("cuda: fine", ApartModule(), 1 << 40, lambda _: None)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            device.run(work)
