"""The vector microkernel: a small block of a matrix product held in registers.

    C[i, j] (+)= Σ_k A[i, k] · B[k, j]        i < rows ≤ MR, j < columns ≤ NR

One step of k is a rank-1 update: each of MR values of A is copied to all lanes of a vector and multiplied with the
NR values of a row of B, NR being up to NV vectors. The MR·NV accumulators live in registers for the whole loop, so a
step loads MR + NV times and multiplies MR·NV times (BLIS: Van Zee & van de Geijn 2015). An `@intrinsic` emits the
vector code itself, since no auto-vectoriser finds this loop: 8×48 float32 on AVX-512 runs at the peak of the FMA units.
"""

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .processor import MR, NV, VECTOR_BYTES
from .processor import NR32 as NR32

I32, I64 = ir.IntType(32), ir.IntType(64)


@intrinsic
def tile_product(typingctx, k, a, a_at, a_row, a_step, b, b_at, b_step, c, c_at, c_row, rows, columns, accumulate):
    """C (rows, columns) = A (rows, k) · B (k, columns), or += where `accumulate`.

    a, b, c are flat arrays of one dtype; `…_at` is where the block starts. Element (i, k) of A is i·a_row + k·a_step
    further on, (k, j) of B k·b_step + j, (i, j) of C i·c_row + j. 1 ≤ rows ≤ MR, 1 ≤ columns ≤ NR, k ≥ 0. A row of B
    is read in whole vectors: up to a vector less one element past `columns` must be readable.
    """
    i64 = types.int64
    signature = types.void(i64, a, i64, i64, i64, b, i64, i64, c, i64, i64, i64, i64, types.boolean)

    def codegen(context, builder, signature, args):
        (k, a, a_at, a_row, a_step, b, b_at, b_step, c, c_at, c_row, rows, columns, accumulate) = args
        kinds = signature.args
        emit = Vectors(builder, kinds[1].dtype)
        a, b, c = (
            emit.start(context, *operand) for operand in ((kinds[1], a, a_at), (kinds[5], b, b_at), (kinds[8], c, c_at))
        )
        function = tile_function(builder.module, kinds[1].dtype, StridedTile)
        builder.call(function, [k, a, a_row, a_step, b, b_step, c, c_row, rows, columns, accumulate])
        return context.get_dummy_value()

    return signature, codegen


def tile_function(module, dtype, kind):
    """The microkernel as a function of its own: emitted once a module, called with pointers."""
    name = f"minicnn_{kind.__name__}_{dtype}"
    if name in module.globals:
        return module.globals[name]
    pointer = ir.PointerType()
    kinds = [I64, *kind.operand, pointer, I64, pointer, I64, I64, I64, ir.IntType(1)]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    k, *a, b, b_step, c, c_row, rows, columns, accumulate = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    emit = kind(builder, dtype)
    emit.begin(rows, *a)
    emit.prefetch_tile(c, c_row, rows)
    for vectors in range(emit.nv, 0, -1):  # the body with as many vectors as the columns need
        body, narrower = builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed(">", columns, index((vectors - 1) * emit.lanes)), body, narrower)
        builder.position_at_end(body)
        tile = emit.products(vectors, k, b, b_step)
        emit.store_tile(tile, vectors, c, c_row, rows, columns, accumulate)
        builder.ret_void()
        builder.position_at_end(narrower)
    builder.ret_void()
    return function


class Vectors:
    """Emits LLVM code on vectors of a few lanes. They are loaded and stored with the alignment of their elements."""

    def __init__(self, builder, dtype, lanes=None):
        self.builder = builder
        self.size = 4 if dtype == types.float32 else 8
        self.scalar = ir.FloatType() if dtype == types.float32 else ir.DoubleType()
        self.lanes = lanes or VECTOR_BYTES // self.size
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.name = f"v{self.lanes}f{8 * self.size}"
        self.zero = self.constant(0.0)

    def start(self, context, array_type, array, offset):
        """Where element `offset` of a flat array lies: an untyped pointer, to scalars and vectors alike."""
        data = context.make_array(array_type)(context, self.builder, array).data
        return self.at(self.builder.inttoptr(self.builder.ptrtoint(data, I64), ir.PointerType()), offset)

    def at(self, pointer, offset):
        return self.builder.gep(pointer, [index(offset)], source_etype=self.scalar)

    def function(self, name, result, arguments):
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, arguments), name)

    def constant(self, value):
        return ir.Constant(self.vector, [float(value)] * self.lanes)

    def splat(self, value):
        return self._splat(value, self.vector)

    def _splat(self, value, vector):
        lane0 = self.builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(I32, 0))
        return self.shuffle(lane0, lane0, [0] * self.lanes)

    def shuffle(self, a, b, lanes):
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))

    def multiply_add(self, a, b, c):
        # fmuladd, not fma: without FMA units the latter is a call of the C library for each element
        return self.builder.call(self.function(f"llvm.fmuladd.{self.name}", self.vector, [self.vector] * 3), [a, b, c])

    def load(self, pointer):
        value = self.builder.load(pointer, typ=self.vector)
        value.align = self.size
        return value

    def store(self, value, pointer, mask=None):
        """All lanes, or those of a mask. AMD's AVX2 takes a dozen cycles for a masked store, even of all lanes."""
        if mask is None:
            self.builder.store(value, pointer).align = self.size
        else:
            self.masked_store(value, pointer, mask)

    def store_first(self, value, pointer, count):
        """The lanes below `count`, which may be any number."""
        builder = self.builder
        with builder.if_else(builder.icmp_signed(">=", count, index(self.lanes))) as (whole, part):
            with whole:
                self.store(value, pointer)
            with part, builder.if_then(builder.icmp_signed(">", count, index(0))):
                self.masked_store(value, pointer, self.between(0, count))

    def prefetch(self, pointer, to_write=False):
        """Asks for a cache line, to be kept in L1; a place outside of the array does no harm."""
        fetch = self.function("llvm.prefetch.p0", ir.VoidType(), [ir.PointerType(), I32, I32, I32])
        self.builder.call(fetch, [pointer, *(ir.Constant(I32, value) for value in (int(to_write), 3, 1))])

    def between(self, first, last):
        """A mask of the lanes first ≤ lane < last."""
        wide = ir.VectorType(I32, self.lanes)
        lane = ir.Constant(wide, list(range(self.lanes)))
        mask = self.builder.icmp_signed("<", lane, self._splat(self.builder.trunc(index(last), I32), wide))
        if not (isinstance(first, int) and first == 0):
            low = self._splat(self.builder.trunc(index(first), I32), wide)
            mask = self.builder.and_(mask, self.builder.icmp_signed(">=", lane, low))
        return mask

    def masked_load(self, pointer, mask, otherwise=0.0):
        """The lanes of the mask; the others are `otherwise` and not touched in memory."""
        load = self.function(
            f"llvm.masked.load.{self.name}.p0", self.vector, [ir.PointerType(), I32, mask.type, self.vector]
        )
        return self.builder.call(load, [pointer, ir.Constant(I32, self.size), mask, self.constant(otherwise)])

    def masked_store(self, value, pointer, mask):
        store = self.function(
            f"llvm.masked.store.{self.name}.p0", ir.VoidType(), [self.vector, ir.PointerType(), I32, mask.type]
        )
        self.builder.call(store, [value, pointer, ir.Constant(I32, self.size), mask])


def index(value):
    """An LLVM index from a Python int or an LLVM value."""
    return ir.Constant(I64, value) if isinstance(value, int) else value


def _one_step_a_round(module):
    """Metadata of a loop that LLVM shall not unroll.

    For Zen 4 and 5 it took two steps a round. The 8×2 tile then wants 36 registers of 32, and two of its sums went
    through memory: their chain of two FMAs, a store and a load is as long as all 32 FMAs of the round take.
    """
    never = module.add_metadata(["llvm.loop.unroll.disable"])
    loop = module.add_metadata([never])
    loop.operands = (loop, never)  # what describes a loop begins with itself
    return loop


class Tile(Vectors):
    """The microkernel for a fixed number of vectors a row. How A is read is the matter of the classes below it.

    They have `operand`, the types of the arguments that describe A; `begin(rows, *operand)`, once before the loop over
    k; and `a_values(step)`, the addresses of the mr values of one step.
    """

    mr, nv = MR, NV
    operand: tuple = ()

    def row_numbers(self, rows):
        """Rows past the last are read as the last one, and their products never stored."""
        last = self.builder.sub(rows, index(1))
        return [
            self.builder.select(self.builder.icmp_signed("<", index(i), last), index(i), last) for i in range(self.mr)
        ]

    def prefetch_tile(self, c, c_row, rows):
        """Asks for the lines of C while the products are made."""
        for row in self.row_numbers(rows):
            line = self.at(c, self.builder.mul(row, c_row))
            for j in range(self.nv):
                self.prefetch(self.at(line, j * self.lanes), to_write=True)

    def products(self, vectors, k, b, b_step):
        """The loop over k; returns mr × vectors accumulators."""
        builder = self.builder
        entry, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed(">", k, index(0)), loop, after)
        builder.position_at_end(loop)
        step = builder.phi(I64)
        step.add_incoming(index(0), entry)
        tile = [builder.phi(self.vector) for _ in range(self.mr * vectors)]
        b_row = self.at(b, builder.mul(step, b_step))
        b_vectors = [self.load(self.at(b_row, j * self.lanes)) for j in range(vectors)]
        updated = []
        for i, place in enumerate(self.a_values(step)):
            value = self.splat(builder.load(place, typ=self.scalar))
            for vector, accumulator in zip(b_vectors, tile[i * vectors :]):
                updated.append(self.multiply_add(value, vector, accumulator))
        following = builder.add(step, index(1))
        step.add_incoming(following, builder.block)
        for accumulator, value in zip(tile, updated):
            accumulator.add_incoming(self.zero, entry)
            accumulator.add_incoming(value, builder.block)
        again = builder.cbranch(builder.icmp_signed("<", following, k), loop, after)
        if VECTOR_BYTES == 64:
            again.set_metadata("llvm.loop", _one_step_a_round(builder.module))
        builder.position_at_end(after)
        results = []
        for value in updated:
            result = builder.phi(self.vector)
            result.add_incoming(self.zero, entry)
            result.add_incoming(value, loop)
            results.append(result)
        return results

    def store_tile(self, tile, vectors, c, c_row, rows, columns, accumulate):
        """C = tile or C += tile; C is not read in the first case. The last vector of a row is masked to the columns."""
        builder = self.builder
        last_columns = builder.sub(columns, index((vectors - 1) * self.lanes))
        mask = self.between(0, last_columns)
        with builder.if_else(builder.icmp_signed("==", last_columns, index(self.lanes))) as (whole, part):
            with whole:
                self._store_rows(tile, vectors, c, c_row, rows, accumulate, None)
            with part:
                self._store_rows(tile, vectors, c, c_row, rows, accumulate, mask)

    def _store_rows(self, tile, vectors, c, c_row, rows, accumulate, mask):
        """The rows of a tile; mask: of the last vector, None if it is whole."""
        builder = self.builder
        for i in range(self.mr):
            with builder.if_then(builder.icmp_signed("<", index(i), rows)):
                row = self.at(c, builder.mul(c_row, index(i)))
                places = [self.at(row, j * self.lanes) for j in range(vectors)]
                masks = [None] * (vectors - 1) + [mask]
                with builder.if_else(accumulate) as (add, overwrite):
                    with add:
                        for place, value, some in zip(places, tile[i * vectors :], masks):
                            before = self.load(place) if some is None else self.masked_load(place, some)
                            self.store(builder.fadd(before, value), place, some)
                    with overwrite:
                        for place, value, some in zip(places, tile[i * vectors :], masks):
                            self.store(value, place, some)


class StridedTile(Tile):
    """A in memory at fixed steps: operand (a, a_row, a_step)."""

    operand = (ir.PointerType(), I64, I64)

    def begin(self, rows, a, a_row, a_step):
        self.a_step = a_step
        self.rows = [self.at(a, self.builder.mul(row, a_row)) for row in self.row_numbers(rows)]

    def a_values(self, step):
        offset = self.builder.mul(step, self.a_step)
        return [self.at(row, offset) for row in self.rows]


def _tile_product_numpy(k, a, a_at, a_row, a_step, b, b_at, b_step, c, c_at, c_row, rows, columns, accumulate):
    """The same in NumPy, for NUMBA_DISABLE_JIT=1."""
    i, j, step = np.arange(rows)[:, None], np.arange(columns)[None, :], np.arange(k)
    with np.errstate(all="ignore"):
        product = a[a_at + i * a_row + step * a_step] @ b[b_at + step[:, None] * b_step + j]
    places = c_at + i * c_row + j
    c[places] = c[places] + product if accumulate else product


if numba.config.DISABLE_JIT:
    tile_product = _tile_product_numpy
