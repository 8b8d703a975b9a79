"""A function of the user's: found by its name, called with copies, and never believed.

Whatever goes wrong with it is the user's to mend: a UsageError with one line that names it.
"""

import difflib
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Thumbnails
from dupwatchd.compare.dense.device import Device
from dupwatchd.errors import UsageError

_LARGEST = 1e100  # in size; squares of much more are beyond float64

Hash = int | str | bytes


class UserFunction:
    """A function named as ``package.module:name``; with an attribute ``gpu = True`` it wants arrays of cupy."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._function = _found(name)

    def takes(self, count: int) -> bool:
        """Whether it can be called with so many arguments, as far as can be told."""
        try:
            inspect.signature(self._function).bind(*[None] * count)
        except TypeError:
            return False
        except ValueError:  # some functions written in C do not say
            pass
        return True

    def __call__(self, *stacks: Thumbnails, device: Device | None = None) -> Any:
        """What it gives for stacks of thumbnails, each (N, S, S, 3); nothing of it lies on the device."""
        try:
            if device is None or not getattr(self._function, "gpu", False):
                return self._function(*(stack.copy() for stack in stacks))
            return device.run(
                lambda: device.to_host(self._function(*(device.to_device(stack.copy()) for stack in stacks)))
            )
        except Exception as error:
            what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise self.wrong(f"raised {what} (called with {len(stacks[0])} thumbnails)") from error

    def numbers(self, result: Any, expected: str, *shape: int | None) -> NDArray[np.float64]:
        """A result as float64, if it has this shape (None: any length from 1) and is real, finite and not huge."""
        array = as_array(result)
        right = len(array.shape) == len(shape) and all(
            length == wanted if wanted is not None else length > 0
            for length, wanted in zip(array.shape, shape, strict=True)
        )
        if not right or array.dtype.kind not in "biuf":
            raise self.wrong(f"gives {_described(result)}, not {expected}")
        numbers = array.astype(np.float64)
        wrong = numbers[~(np.abs(numbers) < _LARGEST)]
        if len(wrong):
            raise self.wrong(f"gives {wrong[0]:g}, not finite numbers below 1e100")
        return numbers

    def hashes(self, result: Any, expected: str, count: int) -> list[Hash]:
        """A result as plain Python values, if it is so many whole numbers, str or bytes."""
        items = result.tolist() if isinstance(result, np.ndarray) and result.ndim == 1 else result
        if not isinstance(items, (list, tuple)) or len(items) != count:
            raise self.wrong(f"gives {_described(result)}, not {expected}")
        plain = [int(item) if isinstance(item, np.integer) else item for item in items]
        for item in plain:
            if isinstance(item, bool) or not isinstance(item, (int, str, bytes)):
                raise self.wrong(f"gives {_described(result)}, not {expected}")
        return plain

    def wrong(self, text: str) -> UsageError:
        """The error that says so of this function."""
        return UsageError(f"compare.measure: {self.name} {text}")


def rounding_of(result: Any) -> float:
    """By what share numbers may change when sums are taken in another order: none if they are whole numbers.

    2**-16 allows for sums of thousands of float32, also where these were made float64 afterwards.
    """
    kind = as_array(result).dtype
    return max(2.0**-16, 4 * float(np.finfo(kind).eps)) if kind.kind == "f" else 0.0


def _found(name: str) -> Callable[..., Any]:
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise UsageError(f"compare.measure: {name!r} is none of our own and not package.module:name")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UsageError(f"compare.measure: {module_name} cannot be imported ({what})") from error
    for part in path.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), 1)
            hint = f"; is {near[0]} meant?" if near else ""
            raise UsageError(f"compare.measure: there is no {path} in {module_name}{hint}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"compare.measure: {name} is no function but {_described(found)}")
    function: Callable[..., Any] = found
    return function


def as_array(result: Any) -> NDArray[Any]:
    """A result as numpy sees it."""
    try:
        return np.asarray(result)
    except Exception:  # noqa: BLE001 - rows of different lengths, and what other libraries' arrays raise
        return np.empty((), object)


def _described(value: Any) -> str:
    """What came, in few words."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    if isinstance(value, (list, tuple)):
        kinds = sorted({type(item).__name__ for item in value})
        return f"a {type(value).__name__} of {len(value)} {' and '.join(kinds)}".rstrip()
    return f"{type(value).__name__} {value!r:.40}"
