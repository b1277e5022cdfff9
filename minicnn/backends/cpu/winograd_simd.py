"""The transforms of Winograd's F(4×4, 3×3) on vectors of tiles.

A tile of 4×4 outputs of a 3×3 correlation needs 36 products instead of 144 (Lavin & Gray 2015, arXiv 1509.09308):

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A        d 6×6 inputs, g 3×3 weights, Y 4×4 outputs

See ../winograd_points.py for the matrices.

A lane is a tile: a strip of up to `lanes` tiles side by side is read as rows of 4·lanes + 2 pixels, transformed along y
as they lie, then cut into every fourth pixel, so that the transform along x is again one of whole vectors.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..winograd_points import AT, BT, G
from .simd import Vectors, index
from .winograd_plan import LANES


def _apply(emit, matrix, vectors):
    """matrix @ vectors. What the points +p and −p share is computed once: even powers agree, odd ones change sign."""
    rows, columns = matrix.shape
    results = {}
    if rows >= columns:  # Bᵀ, A, G: rows 1, 2 and 3, 4 are such pairs: even ± odd
        for row in (1, 3):
            even = _sum(emit, matrix[row], vectors, range(0, columns, 2))
            odd_part = [j for j in range(1, columns, 2) if matrix[row, j]]
            leading = matrix[row, odd_part[-1]]
            odd = _sum(emit, matrix[row] / leading, vectors, odd_part)
            results[row] = emit.multiply_add(emit.constant(leading), odd, even)
            results[row + 1] = emit.multiply_add(emit.constant(-leading), odd, even)
        for row in (0, 5):
            results[row] = _sum(emit, matrix[row], vectors, range(columns))
    else:  # Aᵀ, Gᵀ: the same for columns: even rows take the sum of a pair, odd ones the difference
        fadd, fsub = emit.builder.fadd, emit.builder.fsub
        v0, v1, v2, v3, v4, v5 = vectors
        sums, differences = [v0, fadd(v1, v2), fadd(v3, v4), v5], [v0, fsub(v1, v2), fsub(v3, v4), v5]
        for row in range(rows):
            results[row] = _sum(emit, matrix[row, [0, 1, 3, 5]], differences if row % 2 else sums, range(4))
    return [results[row] for row in range(rows)]


def _sum(emit, coefficients, vectors, terms):
    """Σ coefficient · vector over the terms whose coefficient is not 0."""
    total = None
    for j in sorted((j for j in terms if coefficients[j]), key=lambda j: coefficients[j] != 1):
        factor = emit.constant(coefficients[j])
        if total is None:
            total = vectors[j] if coefficients[j] == 1 else emit.builder.fmul(factor, vectors[j])
        else:
            total = emit.multiply_add(factor, vectors[j], total)
    return total


def _take_apart(emit, vectors):
    """Four vectors of 4·lanes pixels in a row, to every fourth pixel from 0, 1, 2 and 3."""
    even, odd = range(0, 2 * emit.lanes, 2), range(1, 2 * emit.lanes, 2)
    v0, v1, v2, v3 = vectors
    a, c = emit.shuffle(v0, v1, even), emit.shuffle(v2, v3, even)
    b, d = emit.shuffle(v0, v1, odd), emit.shuffle(v2, v3, odd)
    return [emit.shuffle(a, c, even), emit.shuffle(b, d, even), emit.shuffle(a, c, odd), emit.shuffle(b, d, odd)]


def _put_together(emit, phases):
    """The opposite of _take_apart."""
    half = emit.lanes // 2
    low = [n for i in range(half) for n in (i, emit.lanes + i)]
    high = [n + half for n in low]
    p0, p1, p2, p3 = phases
    a, c = emit.shuffle(p0, p2, low), emit.shuffle(p0, p2, high)
    b, d = emit.shuffle(p1, p3, low), emit.shuffle(p1, p3, high)
    return [emit.shuffle(a, b, low), emit.shuffle(a, b, high), emit.shuffle(c, d, low), emit.shuffle(c, d, high)]


def _for_lanes(context, builder, lanes, body):
    """Emits `body` once for each number of lanes and the choice between them."""
    done = builder.append_basic_block("done")
    for count in LANES:
        here, other = builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed("==", lanes, index(count)), here, other)
        builder.position_at_end(here)
        body(Vectors(builder, types.float32, count))
        builder.branch(done)
        builder.position_at_end(other)
    builder.branch(done)
    builder.position_at_end(done)
    return context.get_dummy_value()


def _tiles_in(name, size, matrix, doc):
    """An intrinsic that reads tiles of size × size pixels, 4 apart, and stores matrix · d · matrixᵀ.

    All lanes are stored as far as there is `room` in v, which costs less than to mask those past the last tile: the
    next strip overwrites them.
    """

    def declaration(typingctx, x, x_at, image, top, left, v, v_at, step, room, lanes):
        i64 = types.int64
        signature = types.void(x, i64, image, i64, i64, v, i64, i64, i64, i64)

        def codegen(context, builder, signature, args):
            x, x_at, image, top, left, v, v_at, step, room, lanes = args
            height, width = (builder.extract_value(image, i) for i in range(2))

            def body(emit):
                plane = emit.start(context, signature.args[0], x, x_at)
                out = emit.start(context, signature.args[5], v, v_at)
                pieces = 4 if size == 4 else 5  # vectors a row: 4·lanes pixels, and 2 more for tiles of 6
                lefts = [builder.add(left, index(j * emit.lanes)) for j in range(pieces)]
                masks = [emit.between(builder.neg(p), builder.sub(width, p)) for p in lefts]
                nothing = ir.Constant(masks[0].type, [0] * emit.lanes)
                columns = [[] for _ in range(pieces)]
                for i in range(size):
                    y = builder.add(top, index(i))
                    inside = builder.icmp_unsigned("<", y, height)
                    line = emit.at(plane, builder.mul(y, width))
                    for j in range(pieces):
                        mask = builder.select(inside, masks[j], nothing)
                        columns[j].append(emit.masked_load(emit.at(line, lefts[j]), mask))
                columns = [_apply(emit, matrix, column) for column in columns]
                for i in range(6):
                    row = [column[i] for column in columns]
                    phases = _take_apart(emit, row[:4])
                    if size == 6:  # pixels 4 and 5 of a tile are pixels 0 and 1 of the next
                        following = range(1, emit.lanes)
                        phases += [emit.shuffle(phases[j], row[4], [*following, emit.lanes + j]) for j in range(2)]
                    for j, value in enumerate(_apply(emit, matrix, phases)):
                        emit.store_first(value, emit.at(out, builder.mul(step, index(6 * i + j))), room)

            return _for_lanes(context, builder, lanes, body)

        return signature, codegen

    declaration.__name__, declaration.__doc__ = name, doc
    return intrinsic(declaration)


input_tiles = _tiles_in("input_tiles", 6, BT, "v[e·step + t] = (Bᵀ d B)[e] for tiles t < room from pixel (top, left).")
dy_tiles = _tiles_in("dy_tiles", 4, AT.T, "v[e·step + t] = (A dy Aᵀ)[e] for tiles t < room from pixel (top, left).")


@intrinsic
def output_tiles(typingctx, m, m_at, step, bias, residual, residual_too, relu, y, y_at, image, top, left, count, lanes):
    """y = [relu](Aᵀ m A + bias [+ residual]) for `count` tiles t of m[e·step + t].

    From pixel (top, left) as far as y goes. residual is laid out as y; without `residual_too` it is not read.
    """
    i64, flag = types.int64, types.boolean
    signature = types.void(m, i64, i64, types.float32, residual, flag, flag, y, i64, image, i64, i64, i64, i64)

    def codegen(context, builder, signature, args):
        m, m_at, step, bias, residual, residual_too, relu, y, y_at, image, top, left, count, lanes = args
        height, width = (builder.extract_value(image, i) for i in range(2))

        def body(emit):
            source = emit.start(context, signature.args[0], m, m_at)
            plane = emit.start(context, signature.args[7], y, y_at)
            other_plane = emit.start(context, signature.args[4], residual, y_at)
            floor = builder.select(relu, emit.constant(0.0), emit.constant(float("-inf")))
            columns = []
            for j in range(6):
                column = [emit.load(emit.at(source, builder.mul(step, index(6 * i + j)))) for i in range(6)]
                columns.append(_apply(emit, AT, column))
            bias_vector = emit.splat(bias)
            pixels, room = builder.mul(count, index(4)), builder.sub(width, left)
            pixels = builder.select(builder.icmp_signed("<", pixels, room), pixels, room)
            masks = [emit.between(0, builder.sub(pixels, index(j * emit.lanes))) for j in range(4)]
            nothing = ir.Constant(masks[0].type, [0] * emit.lanes)
            for i in range(4):
                line_y = builder.add(top, index(i))
                with builder.if_then(builder.icmp_signed("<", line_y, height)):
                    values = [builder.fadd(v, bias_vector) for v in _apply(emit, AT, [c[i] for c in columns])]
                    start = builder.add(builder.mul(line_y, width), left)
                    line, other = emit.at(plane, start), emit.at(other_plane, start)
                    for j, value in enumerate(_put_together(emit, values)):
                        read = builder.select(residual_too, masks[j], nothing)
                        addend = emit.masked_load(emit.at(other, j * emit.lanes), read, -0.0)  # v + −0 is v, 0 as well
                        value = builder.fadd(value, addend)
                        positive = builder.fcmp_unordered(">", value, floor)  # or NaN, which passes through
                        value = builder.select(positive, value, floor)
                        left_over = builder.sub(pixels, index(j * emit.lanes))
                        emit.store_first(value, emit.at(line, j * emit.lanes), left_over)

        return _for_lanes(context, builder, lanes, body)

    return signature, codegen


def _square(name, matrix, doc):
    """An intrinsic that transforms a square of whole vectors: out = matrix · in · matrixᵀ."""

    def declaration(typingctx, source, source_at, source_step, out, out_at, out_step):
        i64 = types.int64
        signature = types.void(source, i64, i64, out, i64, i64)

        def codegen(context, builder, signature, args):
            source, source_at, source_step, out, out_at, out_step = args
            emit = Vectors(builder, types.float32)
            source = emit.start(context, signature.args[0], source, source_at)
            out = emit.start(context, signature.args[3], out, out_at)
            rows, size = matrix.shape
            columns = []
            for j in range(size):
                places = [builder.mul(source_step, index(i * size + j)) for i in range(size)]
                columns.append(_apply(emit, matrix, [emit.load(emit.at(source, place)) for place in places]))
            for i in range(rows):
                for j, value in enumerate(_apply(emit, matrix, [column[i] for column in columns])):
                    emit.store(value, emit.at(out, builder.mul(out_step, index(i * rows + j))))
            return context.get_dummy_value()

        return signature, codegen

    declaration.__name__, declaration.__doc__ = name, doc
    return intrinsic(declaration)


weight_square = _square(
    "weight_square", G, "out[e·out_step + lane] = (G g Gᵀ)[e] of g[k·source_step + lane], k = 3·i + j."
)
dweight_square = _square("dweight_square", G.T, "out[k·out_step + lane] = (Gᵀ u G)[k] of u[e·source_step + lane].")
