"""Copies that packing is made of, as vector code: runs with zeros around them, and transposed squares.

Numba lets an index be negative, and so does not vectorise `out[at + i] = x[from + i]`: a plain loop packs a column
block in 4 cycles an element, these in 0.6 (float32 on AVX-512, rows of 56 pixels).
"""

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .cache import kernel
from .simd import I64, VECTOR_BYTES, Vectors, index


@intrinsic
def copy_run(typingctx, out, at, count, x, start, stride, first, last):
    """out[at + i] = x[start + i·stride] for first ≤ i < last, 0 for the other i < count; count ≥ 1.

    Writes whole vectors: up to a vector less one element past the run is overwritten with anything.
    """
    i64 = types.int64
    signature = types.void(out, i64, i64, x, i64, i64, i64, i64)

    def codegen(context, builder, signature, args):
        out, at, count, x, start, stride, first, last = args
        emit = Vectors(builder, signature.args[0].dtype)
        out = emit.start(context, signature.args[0], out, at)
        x = emit.start(context, signature.args[3], x, start)

        def side_by_side(i):
            return emit.load(emit.at(x, i))

        def side_by_side_masked(i):
            return emit.masked_load(emit.at(x, i), emit.between(builder.sub(first, i), builder.sub(last, i)))

        def every_second(i):
            here = builder.mul(i, index(2))
            halves = [emit.load(emit.at(x, p)) for p in (here, builder.add(here, index(emit.lanes)))]
            return emit.shuffle(*halves, range(0, 2 * emit.lanes, 2))

        def every_second_masked(i):
            i2, two = builder.mul(i, index(2)), index(2)
            low, high = builder.mul(first, two), builder.sub(builder.mul(last, two), index(1))
            halves = []
            for here in (i2, builder.add(i2, index(emit.lanes))):
                mask = emit.between(builder.sub(low, here), builder.sub(high, here))
                halves.append(emit.masked_load(emit.at(x, here), mask))
            return emit.shuffle(*halves, range(0, 2 * emit.lanes, 2))

        def one_by_one(i):
            mask = emit.between(builder.sub(first, i), builder.sub(last, i))
            result = emit.zero
            for lane in range(emit.lanes):
                bit, lane_index = ir.Constant(ir.IntType(32), lane), builder.add(i, index(lane))
                inside = builder.extract_element(mask, bit)
                place = builder.select(inside, builder.mul(lane_index, stride), builder.mul(first, stride))
                with builder.if_else(builder.icmp_signed("<", first, last)) as (some, none):
                    with some:
                        loaded, some_block = builder.load(emit.at(x, place), typ=emit.scalar), builder.block
                    with none:
                        none_block = builder.block
                value = builder.phi(emit.scalar)
                value.add_incoming(loaded, some_block)
                value.add_incoming(ir.Constant(emit.scalar, 0.0), none_block)
                value = builder.select(inside, value, ir.Constant(emit.scalar, 0.0))
                result = builder.insert_element(result, value, bit)
            return result

        def loop(read, read_masked):
            """Whole vectors inside of the run need no masks, which cost more than the copy."""

            def body(i):
                end = builder.add(i, index(emit.lanes))
                inside = builder.and_(builder.icmp_signed("<=", first, i), builder.icmp_signed("<", end, last))
                with builder.if_else(inside) as (whole, partly):
                    with whole:
                        emit.store(read(i), emit.at(out, i))
                    with partly:
                        emit.store(read_masked(i), emit.at(out, i))

            by_vectors(emit, count, body)

        with builder.if_else(builder.icmp_signed("==", stride, index(1))) as (plain, strided):
            with plain:
                loop(side_by_side, side_by_side_masked)
            with strided, builder.if_else(builder.icmp_signed("==", stride, index(2))) as (two, more):
                with two:
                    loop(every_second, every_second_masked)
                with more:
                    loop(one_by_one, one_by_one)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def spread_run(typingctx, out, at, stride, count, x, start, accumulate):
    """out[at + i·stride] = x[start + i], or +=, for i < count. Reads whole vectors, past the run as well."""
    i64 = types.int64
    signature = types.void(out, i64, i64, i64, x, i64, types.boolean)

    def codegen(context, builder, signature, args):
        out, at, stride, count, x, start, accumulate = args
        emit = Vectors(builder, signature.args[0].dtype)
        out = emit.start(context, signature.args[0], out, at)
        x = emit.start(context, signature.args[4], x, start)
        lanes = emit.lanes

        def put(place, value, mask):
            with builder.if_else(accumulate) as (add, overwrite):
                with add:
                    emit.masked_store(builder.fadd(emit.masked_load(place, mask), value), place, mask)
                with overwrite:
                    emit.masked_store(value, place, mask)

        def side_by_side(i):
            place, value, left = emit.at(out, i), emit.load(emit.at(x, i)), builder.sub(count, i)
            with builder.if_else(builder.icmp_signed(">=", left, index(lanes))) as (whole, part):
                with whole, builder.if_else(accumulate) as (add, overwrite):
                    with add:
                        emit.store(builder.fadd(emit.load(place), value), place)
                    with overwrite:
                        emit.store(value, place)
                with part:
                    put(place, value, emit.between(0, left))

        def every_second(i):
            value, remaining = emit.load(emit.at(x, i)), builder.sub(count, i)
            to, left = emit.at(out, builder.mul(i, index(2))), builder.mul(remaining, index(2))
            # short of the end of the run the cells between may be stored back as they were, which needs no mask
            between = builder.and_(builder.icmp_signed(">", remaining, index(lanes)), builder.not_(accumulate))
            even = ir.Constant(ir.VectorType(ir.IntType(1), lanes), [1, 0] * (lanes // 2))
            for half in range(2):
                place = emit.at(to, half * lanes)
                from_value = [half * lanes // 2 + lane // 2 for lane in range(lanes)]
                with builder.if_else(between) as (whole, part):
                    with whole:
                        blend = [n if lane % 2 == 0 else lanes + lane for lane, n in enumerate(from_value)]
                        emit.store(emit.shuffle(value, emit.load(place), blend), place)
                    with part:
                        mask = builder.and_(emit.between(0, builder.sub(left, index(half * lanes))), even)
                        put(place, emit.shuffle(value, value, from_value), mask)

        def one_by_one(i):
            left = builder.sub(count, i)
            for lane in range(lanes):
                with builder.if_then(builder.icmp_signed("<", index(lane), left)):
                    here = builder.add(i, index(lane))
                    place = emit.at(out, builder.mul(here, stride))
                    value = builder.load(emit.at(x, here), typ=emit.scalar)
                    total = builder.fadd(builder.load(place, typ=emit.scalar), value)
                    builder.store(builder.select(accumulate, total, value), place)

        with builder.if_else(builder.icmp_signed("==", stride, index(1))) as (plain, strided):
            with plain:
                by_vectors(emit, count, side_by_side)
            with strided, builder.if_else(builder.icmp_signed("==", stride, index(2))) as (two, more):
                with two:
                    by_vectors(emit, count, every_second)
                with more:
                    by_vectors(emit, count, one_by_one)
        return context.get_dummy_value()

    return signature, codegen


def by_vectors(emit, count, body):
    """Emits `for i in range(0, count, lanes): body(i)` for count ≥ 1."""
    builder = emit.builder
    entry, here, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
    builder.branch(here)
    builder.position_at_end(here)
    i = builder.phi(I64)
    i.add_incoming(index(0), entry)
    body(i)
    following = builder.add(i, index(emit.lanes))
    i.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, count), here, after)
    builder.position_at_end(after)


@intrinsic
def _transpose_square(typingctx, out, out_at, out_row, x, x_at, x_row, rows, columns):
    i64 = types.int64
    signature = types.void(out, i64, i64, x, i64, i64, i64, i64)

    def codegen(context, builder, signature, args):
        out, out_at, out_row, x, x_at, x_row, rows, columns = args
        emit = Vectors(builder, signature.args[0].dtype)
        out = emit.start(context, signature.args[0], out, out_at)
        x = emit.start(context, signature.args[3], x, x_at)
        function = _square_function(builder.module, signature.args[0].dtype)
        builder.call(function, [out, out_row, x, x_row, rows, columns])
        return context.get_dummy_value()

    return signature, codegen


def _square_function(module, dtype):
    """Emitted once a module. Whole squares need no masks: 0.15 ns an element instead of 0.2 (float32, AVX2)."""
    name = f"minicnn_transpose_{dtype}"
    if name in module.globals:
        return module.globals[name]
    pointer = ir.PointerType()
    kinds = [pointer, I64, pointer, I64, I64, I64]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    out, out_row, x, x_row, rows, columns = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    emit = Vectors(builder, dtype)
    sources = [emit.at(x, builder.mul(x_row, index(i))) for i in range(emit.lanes)]
    targets = [emit.at(out, builder.mul(out_row, index(j))) for j in range(emit.lanes)]
    all_rows, all_columns = (builder.icmp_signed("==", n, index(emit.lanes)) for n in (rows, columns))
    with builder.if_else(builder.and_(all_rows, all_columns)) as (whole, part):
        with whole:
            for line, target in zip(_transposed(emit, [emit.load(source) for source in sources]), targets):
                emit.store(line, target)
        with part:
            mask = emit.between(0, columns)
            nothing = ir.Constant(mask.type, [0] * emit.lanes)
            lines = []
            for i, source in enumerate(sources):
                here = builder.select(builder.icmp_signed("<", index(i), rows), mask, nothing)
                lines.append(emit.masked_load(source, here))
            for j, (line, target) in enumerate(zip(_transposed(emit, lines), targets)):
                with builder.if_then(builder.icmp_signed("<", index(j), columns)):
                    emit.store_first(line, target, rows)
    builder.ret_void()
    return function


def _transposed(emit, lines):
    """A square of vectors transposed: in blocks of 16 bytes, then the blocks, each shuffle one instruction on x86."""
    lanes = emit.lanes
    side = min(lanes, 16 // emit.size)
    blocks = lanes // side

    def every_second(first):
        """Lanes of two vectors: in each block the even or odd ones of the first, then of the second."""
        half = list(range(first, side, 2))
        return [b * side + n for b in range(blocks) for n in (*half, *(lanes + n for n in half))]

    for _ in range(side.bit_length() - 1):
        squares = [lines[i : i + side] for i in range(0, lanes, side)]
        lines = [
            emit.shuffle(square[i], square[i + 1], every_second(first))
            for square in squares
            for first in (0, 1)
            for i in range(0, side, 2)
        ]
    for _ in range(blocks.bit_length() - 1):
        picks = [[b * side + n for b in range(first, 2 * blocks, 2) for n in range(side)] for first in (0, 1)]
        lines = [
            emit.shuffle(lines[i * side + n], lines[(i + 1) * side + n], pick)
            for pick in picks
            for i in range(0, blocks, 2)
            for n in range(side)
        ]
    return lines


@kernel
def transpose(out, out_at, out_row, x, x_at, x_row, rows, columns):
    """out[j·out_row + i] = x[i·x_row + j] for i < rows, j < columns. The last square of a line ends with it."""
    lanes = VECTOR_BYTES // out.itemsize
    for i0 in range(0, rows, lanes):
        i = max(0, min(i0, rows - lanes))
        for j0 in range(0, columns, lanes):
            j = max(0, min(j0, columns - lanes))
            _transpose_square(
                out, out_at + j * out_row + i, out_row, x, x_at + i * x_row + j, x_row,
                min(lanes, rows - i), min(lanes, columns - j),
            )  # fmt: skip


def _copy_run_python(out, at, count, x, start, stride, first, last):
    for i in range(count):
        out[at + i] = x[start + i * stride] if first <= i < last else 0


def _spread_run_python(out, at, stride, count, x, start, accumulate):
    for i in range(count):
        out[at + i * stride] = out[at + i * stride] + x[start + i] if accumulate else x[start + i]


def _transpose_square_python(out, out_at, out_row, x, x_at, x_row, rows, columns):
    for j in range(columns):
        for i in range(rows):
            out[out_at + j * out_row + i] = x[x_at + i * x_row + j]


if numba.config.DISABLE_JIT:
    copy_run, spread_run, _transpose_square = _copy_run_python, _spread_run_python, _transpose_square_python
