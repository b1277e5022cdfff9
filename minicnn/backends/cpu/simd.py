"""The vector microkernel: a small block of a matrix product held in registers.

    C[i, j] (+)= Σ_k A[i, k] · B[k, j]        i < rows ≤ MR, j < columns ≤ NR

One step of k is a rank-1 update: each of MR values of A is copied to all lanes of a vector and multiplied with the
NR values of a row of B, NR being up to NV vectors. The MR·NV accumulators live in registers for the whole loop, so a
step loads MR + NV times and multiplies MR·NV times (BLIS: Van Zee & van de Geijn 2015). An `@intrinsic` emits the
vector code itself, since no auto-vectoriser finds this loop: 8×48 float32 on AVX-512 runs at the peak of the FMA units.
"""

import os

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from .cache import kernel

# Processors with AVX-512 that NUMBA_CPU_NAME may name; Numba keeps the features of the host for a named processor.
AVX512_NAMES = (
    "skylake-avx512", "cascadelake", "cooperlake", "cannonlake", "icelake", "tigerlake", "rocketlake", "sapphirerapids",
    "emeraldrapids", "graniterapids", "knl", "knm", "znver4", "znver5", "znver6", "x86-64-v4",
)  # fmt: skip


def _tile() -> tuple[int, int, int]:
    """(bytes of a vector, MR, NV): as many accumulators as the registers hold beside NV vectors of B and one of A."""
    features = f",{cpu_target.target_context.codegen()._get_host_cpu_features()},"
    named = os.environ.get("NUMBA_CPU_NAME")
    if ",+avx512f," in features and (not named or named.startswith(AVX512_NAMES)):
        return 64, 8, 3  # 24 + 3 + 1 of 32 registers
    if ",+avx2," in features and ",+fma," in features:
        return 32, 4, 3  # 12 + 3 + 1 of 16
    if ",+neon," in features:
        return 16, 8, 3  # 24 + 3 + 1 of 32
    return 16, 4, 2  # SSE2 and the unknown: no FMA, a product needs a register of its own


VECTOR_BYTES, MR, NV = _tile()
NR32, NR64 = NV * VECTOR_BYTES // 4, NV * VECTOR_BYTES // 8  # columns of a tile in float32 and float64
I32, I64 = ir.IntType(32), ir.IntType(64)


@intrinsic
def _microkernel(typingctx, k, a, a_at, a_row, a_step, b, b_at, b_step, c, c_at, c_row, rows, columns, accumulate):
    index = types.int64
    signature = types.void(
        index, a, index, index, index, b, index, index, c, index, index, index, index, types.boolean
    )  # fmt: skip

    def codegen(context, builder, signature, args):
        scalar = ir.FloatType() if signature.args[1].dtype == types.float32 else ir.DoubleType()
        size = 4 if signature.args[1].dtype == types.float32 else 8
        (k, a, a_at, a_row, a_step, b, b_at, b_step, c, c_at, c_row, rows, columns, accumulate) = args

        def start(array, argument, offset):
            data = context.make_array(signature.args[argument])(context, builder, array).data
            untyped = builder.inttoptr(builder.ptrtoint(data, I64), ir.PointerType())  # scalars and vectors alike
            return builder.gep(untyped, [offset], source_etype=scalar)

        a, b, c = start(a, 1, a_at), start(b, 5, b_at), start(c, 8, c_at)
        emit = _Tile(builder, scalar, size)
        a_rows = emit.row_pointers(a, a_row, rows)
        done = builder.append_basic_block("done")
        lanes = VECTOR_BYTES // size
        for vectors in range(NV, 0, -1):  # the body with as many vectors as the columns need
            body, narrower = builder.append_basic_block(), builder.append_basic_block()
            more = builder.icmp_signed(">", columns, ir.Constant(I64, (vectors - 1) * lanes))
            builder.cbranch(more, body, narrower)
            builder.position_at_end(body)
            tile = emit.products(vectors, k, a_rows, a_step, b, b_step)
            emit.store(tile, vectors, c, c_row, rows, columns, accumulate)
            builder.branch(done)
            builder.position_at_end(narrower)
        builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, codegen


class _Tile:
    """Emits the LLVM code of one tile. Vectors are loaded and stored with the alignment of their elements."""

    def __init__(self, builder, scalar, size):
        self.builder, self.scalar, self.size = builder, scalar, size
        self.lanes = VECTOR_BYTES // size
        self.vector = ir.VectorType(scalar, self.lanes)
        self.name = f"v{self.lanes}f{8 * size}"

    def at(self, pointer, offset):
        return self.builder.gep(pointer, [offset], source_etype=self.scalar)

    def function(self, name, result, arguments):
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, arguments), name)

    def row_pointers(self, a, a_row, rows):
        """Rows past the last are read as the last one, and their products never stored."""
        last = self.builder.sub(rows, ir.Constant(I64, 1))
        pointers = []
        for i in range(MR):
            here = ir.Constant(I64, i)
            row = self.builder.select(self.builder.icmp_signed("<", here, last), here, last)
            pointers.append(self.at(a, self.builder.mul(row, a_row)))
        return pointers

    def products(self, vectors, k, a_rows, a_step, b, b_step):
        """The loop over k; returns MR × vectors accumulators."""
        builder = self.builder
        # fmuladd, not fma: without FMA units the latter is a call of the C library for each element
        multiply_add = self.function(f"llvm.fmuladd.{self.name}", self.vector, [self.vector] * 3)
        zero = ir.Constant(self.vector, [0.0] * self.lanes)
        entry, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed(">", k, ir.Constant(I64, 0)), loop, after)
        builder.position_at_end(loop)
        step = builder.phi(I64)
        step.add_incoming(ir.Constant(I64, 0), entry)
        tile = [builder.phi(self.vector) for _ in range(MR * vectors)]
        b_row = self.at(b, builder.mul(step, b_step))
        b_vectors = [self.load(self.at(b_row, ir.Constant(I64, j * self.lanes))) for j in range(vectors)]
        a_offset = builder.mul(step, a_step)
        updated = []
        for i in range(MR):
            value = self.splat(builder.load(self.at(a_rows[i], a_offset), typ=self.scalar))
            updated += [builder.call(multiply_add, [value, b_vectors[j], tile[i * vectors + j]]) for j in range(vectors)]
        following = builder.add(step, ir.Constant(I64, 1))
        step.add_incoming(following, builder.block)
        for accumulator, value in zip(tile, updated):
            accumulator.add_incoming(zero, entry)
            accumulator.add_incoming(value, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, k), loop, after)
        builder.position_at_end(after)
        results = []
        for value in updated:
            result = builder.phi(self.vector)
            result.add_incoming(zero, entry)
            result.add_incoming(value, loop)
            results.append(result)
        return results

    def load(self, pointer):
        value = self.builder.load(pointer, typ=self.vector)
        value.align = self.size
        return value

    def splat(self, value):
        lane0 = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), value, ir.Constant(I32, 0))
        return self.builder.shuffle_vector(lane0, lane0, ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes))

    def store(self, tile, vectors, c, c_row, rows, columns, accumulate):
        """C = tile or C += tile; C is not read in the first case. The last vector of a row is masked to the columns."""
        builder, vector = self.builder, self.vector
        bits = ir.VectorType(ir.IntType(1), self.lanes)
        wide = ir.VectorType(I64, self.lanes)
        left = builder.sub(columns, ir.Constant(I64, (vectors - 1) * self.lanes))
        lane0 = builder.insert_element(ir.Constant(wide, ir.Undefined), left, ir.Constant(I32, 0))
        left = builder.shuffle_vector(lane0, lane0, ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes))
        mask = builder.icmp_signed("<", ir.Constant(wide, list(range(self.lanes))), left)
        pointer = ir.PointerType()
        masked_store = self.function(f"llvm.masked.store.{self.name}.p0", ir.VoidType(), [vector, pointer, I32, bits])
        masked_load = self.function(f"llvm.masked.load.{self.name}.p0", vector, [pointer, I32, bits, vector])
        align, zero = ir.Constant(I32, self.size), ir.Constant(vector, [0.0] * self.lanes)
        for i in range(MR):
            with builder.if_then(builder.icmp_signed("<", ir.Constant(I64, i), rows)):
                row = self.at(c, builder.mul(c_row, ir.Constant(I64, i)))
                places = [self.at(row, ir.Constant(I64, j * self.lanes)) for j in range(vectors)]
                values = tile[i * vectors : (i + 1) * vectors]
                with builder.if_else(accumulate) as (add, overwrite):
                    for adding, branch in ((True, add), (False, overwrite)):
                        with branch:
                            for place, value in zip(places[:-1], values[:-1]):
                                value = builder.fadd(self.load(place), value) if adding else value
                                builder.store(value, place).align = self.size
                            value = values[-1]
                            if adding:
                                value = builder.fadd(builder.call(masked_load, [places[-1], align, mask, zero]), value)
                            builder.call(masked_store, [value, places[-1], align, mask])


def _microkernel_numpy(k, a, a_at, a_row, a_step, b, b_at, b_step, c, c_at, c_row, rows, columns, accumulate):
    """The same in NumPy, for NUMBA_DISABLE_JIT=1."""
    i, j, step = np.arange(rows)[:, None], np.arange(columns)[None, :], np.arange(k)
    product = a[a_at + i * a_row + step * a_step] @ b[b_at + step[:, None] * b_step + j]
    places = c_at + i * c_row + j
    c[places] = c[places] + product if accumulate else product


if numba.config.DISABLE_JIT:
    _microkernel = _microkernel_numpy


@kernel
def tile_product(k, a, a_at, a_row, a_step, b, b_at, b_step, c, c_at, c_row, rows, columns, accumulate):
    """C (rows, columns) = A (rows, k) · B (k, columns), or += where `accumulate`.

    a, b, c are flat arrays of one dtype; `…_at` is where the block starts. Element (i, k) of A is i·a_row + k·a_step
    further on, (k, j) of B k·b_step + j, (i, j) of C i·c_row + j. 1 ≤ rows ≤ MR, 1 ≤ columns ≤ NR, k ≥ 0. A row of B
    is read in whole vectors: up to a vector less one element past `columns` must be readable.
    """
    _microkernel(k, a, a_at, a_row, a_step, b, b_at, b_step, c, c_at, c_row, rows, columns, accumulate)
