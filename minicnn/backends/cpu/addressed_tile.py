"""The vector microkernel whose left operand is read through tables: A[i, k] = a[rows[i] + steps[k]].

The columns of a convolution are such a matrix: pixel q at tap k is x[places[q] + steps[k]]. So the microkernel takes
the pixels from where they lie, whatever the stride; a vector holds filters, and a pixel is copied to all its lanes,
which may be read from anywhere at no cost. An offset more a step is lost among the loads.
"""

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .processor import ADDRESSED_MR, ADDRESSED_NV
from .simd import I64, Tile, Vectors, tile_function


@intrinsic
def addressed_product(
    typingctx, k, a, a_at, rows, rows_at, steps, steps_at, b, b_at, b_step, c, c_at, c_row, count, columns, accumulate
):
    """C (count, columns) = A · B or += , as `tile_product`.

    A[i, k] = a[a_at + rows[rows_at + i] + steps[steps_at + k]]; rows and steps are flat int64 arrays. 1 ≤ count ≤
    ADDRESSED_MR, 1 ≤ columns ≤ ADDRESSED_NV vectors.
    """  # fmt: skip
    i64 = types.int64
    signature = types.void(i64, a, i64, rows, i64, steps, i64, b, i64, i64, c, i64, i64, i64, i64, types.boolean)

    def codegen(context, builder, signature, args):
        k, a, a_at, rows, rows_at, steps, steps_at, b, b_at, b_step, c, c_at, c_row, count, columns, accumulate = args
        kinds = signature.args
        emit = Vectors(builder, kinds[1].dtype)
        a, b, c = (
            emit.start(context, *operand)
            for operand in ((kinds[1], a, a_at), (kinds[7], b, b_at), (kinds[10], c, c_at))
        )
        tables = []
        for kind, table, first in ((kinds[3], rows, rows_at), (kinds[5], steps, steps_at)):
            data = builder.ptrtoint(context.make_array(kind)(context, builder, table).data, I64)
            tables.append(_entry(builder, builder.inttoptr(data, ir.PointerType()), first))
        function = tile_function(builder.module, kinds[1].dtype, AddressedTile)
        builder.call(function, [k, a, *tables, b, b_step, c, c_row, count, columns, accumulate])
        return context.get_dummy_value()

    return signature, codegen


def _entry(builder, table, number):
    return builder.gep(table, [number], source_etype=I64)


class AddressedTile(Tile):
    """A in memory where two tables say: operand (a, rows, steps)."""

    mr, nv = ADDRESSED_MR, ADDRESSED_NV
    operand = (ir.PointerType(),) * 3

    def begin(self, rows, a, row_table, step_table):
        builder = self.builder
        offsets = [builder.load(_entry(builder, row_table, row), typ=I64) for row in self.row_numbers(rows)]
        self.rows, self.steps = [self.at(a, offset) for offset in offsets], step_table

    def a_values(self, step):
        offset = self.builder.load(_entry(self.builder, self.steps, step), typ=I64)
        return [self.at(row, offset) for row in self.rows]


def _addressed_product_numpy(
    k, a, a_at, rows, rows_at, steps, steps_at, b, b_at, b_step, c, c_at, c_row, count, columns, accumulate
):
    """The same in NumPy, for NUMBA_DISABLE_JIT=1."""
    i, j, step = np.arange(count)[:, None], np.arange(columns)[None, :], np.arange(k)
    places = a_at + rows[rows_at : rows_at + count][:, None] + steps[steps_at : steps_at + k]
    with np.errstate(all="ignore"):
        product = a[places] @ b[b_at + step[:, None] * b_step + j]
    targets = c_at + i * c_row + j
    c[targets] = c[targets] + product if accumulate else product


if numba.config.DISABLE_JIT:
    addressed_product = _addressed_product_numpy
