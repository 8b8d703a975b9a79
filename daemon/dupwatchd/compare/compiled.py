"""Compiles the few loops that numpy has no quick way for: the only home of numba."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(signature: str, *, any_order: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compiles a function for arguments of these types; it releases the interpreter's lock.

    With ``any_order`` it may sum floats in another order than it says. What was compiled is kept in numba's cache where
    one can be written.
    """
    # without "nnan" and "ninf", so that comparisons with such values stay defined
    options: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "contract", "nsz"} if any_order else False}

    def compile_now(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            made: Callable[..., Any] = numba.njit(signature, cache=True, **options)(function)
        except RuntimeError:  # no cache can be written: each process compiles anew
            made = numba.njit(signature, **options)(function)
        return made

    return compile_now
