"""A function of the user's: found by its name, called with copies of thumbnails; what it gives is always checked.

Whatever goes wrong is for the user to mend: a UsageError whose one line names the function.
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

_LARGEST = 1e100  # in size; the squares of much larger numbers do not fit into float64

Hash = int | str | bytes


class UserFunction:
    """The function ``package.module:name``; an attribute ``gpu = True`` says that it takes arrays of cupy.

    Raises UsageError if there is no such function.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._function = _found(name)

    def takes(self, count: int) -> bool:
        """Whether it can be called with so many arguments; true if that cannot be told."""
        try:
            inspect.signature(self._function).bind(*[None] * count)
        except TypeError:
            return False
        except ValueError:  # some functions written in C do not say what they take
            pass
        return True

    def __call__(self, *stacks: Thumbnails, device: Device | None = None) -> Any:
        """What the function gives for stacks of thumbnails (N, S, S, 3), with arrays of numpy. Raises UsageError."""
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
        """A result as float64; None in ``shape`` is any length from 1. Raises UsageError if it is not ``expected``."""
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
        """A result as plain Python values. Raises UsageError if it is not so many whole numbers, str or bytes."""
        items = result.tolist() if isinstance(result, np.ndarray) and result.ndim == 1 else result
        if not isinstance(items, (list, tuple)) or len(items) != count:
            raise self.wrong(f"gives {_described(result)}, not {expected}")
        plain = [int(item) if isinstance(item, np.integer) else item for item in items]
        for item in plain:
            if isinstance(item, bool) or not isinstance(item, (int, str, bytes)):
                raise self.wrong(f"gives {_described(result)}, not {expected}")
        return plain

    def wrong(self, text: str) -> UsageError:
        """The error that says this of the function."""
        return UsageError(f"compare.measure: {self.name} {text}")


def rounding_of(result: Any) -> float:
    """By what share the numbers of a result may differ when sums are taken in another order; 0 for whole numbers.

    2**-16 allows for sums of thousands of float32, also if these were converted to float64 afterwards.
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
    """A result as an array of numpy; one of no dimension where numpy cannot make one."""
    try:
        return np.asarray(result)
    except Exception:  # noqa: BLE001 - rows of different lengths, and what other libraries' arrays raise
        return np.empty((), object)


def _described(value: Any) -> str:
    """A value in few words, for an error."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    if isinstance(value, (list, tuple)):
        kinds = sorted({type(item).__name__ for item in value})
        return f"a {type(value).__name__} of {len(value)} {' and '.join(kinds)}".rstrip()
    return f"{type(value).__name__} {value!r:.40}"
