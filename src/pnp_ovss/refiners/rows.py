"""What the compiled Dense CRF is built of: `jit`, and rows of float32 numbers as values of numba.

A row is a vector of LLVM, an operation on it one instruction; all of its lanes go through the same arithmetic. Numba's own loops
over a few channels stay scalar: its compiler runs without LLVM's SLP vectoriser. Numba's cache does not notice a change of this
file: then delete `__pycache__`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from pnp_ovss.refiners.densecrf import NEGLIGIBLE_Q

FLOAT, INT = ir.FloatType(), ir.IntType(32)


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled at first use and kept on disk, where numba finds a folder that it may write to."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no such folder: a read-only installation without a home
        return njit(nogil=True)(function)


class Row(types.Type):
    """The type of a row."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Row({lanes})")


@register_model(Row)
class _RowModel(models.PrimitiveModel):
    def __init__(self, manager: Any, row: Row) -> None:
        super().__init__(manager, row, ir.VectorType(FLOAT, row.lanes))


def _constant(row: ir.VectorType, value: float) -> ir.Constant:
    return ir.Constant(row, [value] * row.count)


def _shuffled(builder: ir.IRBuilder, row: Any, places: list[int]) -> Any:
    return builder.shuffle_vector(row, row, ir.Constant(ir.VectorType(INT, len(places)), places))


def _llvm(builder: ir.IRBuilder, name: str, *rows: Any) -> Any:
    kind = rows[0].type
    signature = ir.FunctionType(kind, [kind] * len(rows))
    return builder.call(
        cgutils.get_or_insert_function(builder.module, signature, f"llvm.{name}.v{kind.count}f32"), rows
    )


def _address(context: Any, builder: ir.IRBuilder, signature: Any, args: Any, lanes: int) -> Any:
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    at = context.cast(builder, args[1], signature.args[1], types.intp)
    first = cgutils.gep_inbounds(builder, data, builder.mul(at, at.type(lanes)))
    return builder.bitcast(first, ir.VectorType(FLOAT, lanes).as_pointer())


@intrinsic(prefer_literal=True)
def load(_, array, at, lanes):
    """Row `at` of a contiguous float32 array, aligned to a row's size, seen as rows of `lanes`, a constant."""
    row = Row(lanes.literal_value)
    return row(array, at, lanes), lambda context, builder, signature, args: builder.load(
        _address(context, builder, signature, args, row.lanes), align=4 * row.lanes
    )


@intrinsic
def store(_, array, at, row):
    """Put `row` where `load` would find it."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        builder.store(args[2], _address(context, builder, signature, args, row.lanes), align=4 * row.lanes)
        return context.get_dummy_value()

    return types.void(array, at, row), generate


@intrinsic(prefer_literal=True)
def zeros(_, lanes):
    """A row of zeros."""
    row = Row(lanes.literal_value)
    return row(lanes), lambda *_: _constant(ir.VectorType(FLOAT, row.lanes), 0.0)


@intrinsic
def add_scaled(_, row, other, factor):  # noqa: ARG001
    """row + factor · other."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        alone = builder.insert_element(_constant(args[0].type, 0.0), args[2], INT(0))
        return _llvm(builder, "fmuladd", args[1], _shuffled(builder, alone, [0] * row.lanes), args[0])

    return row(row, other, types.float32), generate


def _elementwise(operands: int, operation: Callable[..., Any]) -> Any:
    """The intrinsic of an operation (builder, *rows) → row."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        return operation(builder, *args)

    typings = {
        1: lambda _, a: (a(a), generate),
        2: lambda _, a, b: (a(a, b), generate),
        3: lambda _, a, b, c: (a(a, b, c), generate),
    }
    return intrinsic(typings[operands])


def _larger(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _exp(builder: ir.IRBuilder, x: Any) -> Any:
    """e^x for x ≤ 0 as 2^k · e^r: the Taylor series of e^r, |r| ≤ log(2) / 2, is exact to float32 after seven terms."""
    kind, high = x.type, 0.693359375  # log 2 in few bits, so that k · high is exact
    k = _llvm(
        builder,
        "nearbyint",
        builder.fmul(_larger(builder, x, _constant(kind, -87.0)), _constant(kind, 1 / math.log(2))),
    )
    r = _llvm(builder, "fmuladd", k, _constant(kind, -high), _larger(builder, x, _constant(kind, -87.0)))
    r = _llvm(builder, "fmuladd", k, _constant(kind, high - math.log(2)), r)
    series = _constant(kind, 1 / math.factorial(7))
    for order in range(6, -1, -1):
        series = _llvm(builder, "fmuladd", series, r, _constant(kind, 1 / math.factorial(order)))
    integer = ir.VectorType(INT, kind.count)
    exponent = builder.add(builder.fptosi(k, integer), ir.Constant(integer, [127] * kind.count))
    return builder.fmul(series, builder.bitcast(builder.shl(exponent, ir.Constant(integer, [23] * kind.count)), kind))


def _flushed(builder: ir.IRBuilder, q: Any) -> Any:
    kept = builder.fcmp_ordered(">", q, _constant(q.type, NEGLIGIBLE_Q))
    return builder.select(kept, q, _constant(q.type, 0.0))


add = _elementwise(2, lambda builder, a, b: builder.fadd(a, b))
subtract = _elementwise(2, lambda builder, a, b: builder.fsub(a, b))
divide = _elementwise(2, lambda builder, a, b: builder.fdiv(a, b))
larger = _elementwise(2, _larger)
add_product = _elementwise(3, lambda builder, a, b, c: _llvm(builder, "fmuladd", b, c, a))
exp = _elementwise(1, _exp)
flushed = _elementwise(1, _flushed)


def _over_groups(combine: Callable[..., Any]) -> Any:
    """The intrinsic that gives every lane what `combine` makes of its group of lanes, a power of two."""

    def typing(_, row, group):
        def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> Any:
            found, step = args[0], 1
            while step < group.literal_value:
                found = combine(builder, found, _shuffled(builder, found, [lane ^ step for lane in range(row.lanes)]))
                step *= 2
            return found

        return row(row, group), generate

    return intrinsic(prefer_literal=True)(typing)


largest_of_group = _over_groups(_larger)
sum_of_group = _over_groups(lambda builder, a, b: builder.fadd(a, b))
