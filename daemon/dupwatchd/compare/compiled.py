"""Compiles the few loops that numpy has no quick way for: the only home of numba."""

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic


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


def _fetch(_context: Any, array: Any, _row: Any, _byte: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        rows, row, byte = values
        number, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        made = context.make_array(signature.args[0])(context, builder, rows)
        offset = builder.add(builder.mul(builder.extract_value(made.strides, 0), row), byte)
        address = builder.gep(builder.bitcast(made.data, pointer), [offset])
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        builder.call(prefetch, [address, number(0), number(3), number(1)])  # to be read; to be kept near; data
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), generate


# In compiled code: fetch(array, row, byte) lets the processor load the 64 bytes around this byte of a row, of an array
# in C order, and go on meanwhile. It changes no result; a processor that cannot do that passes it over.
fetch: Any = intrinsic(_fetch)
