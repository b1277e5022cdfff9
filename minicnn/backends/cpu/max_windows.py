"""Max pooling of 2×2 and 3×3 windows, stride 2: a vector of whole windows at a time, in registers from x to y.

Tap by tap (pooling.py) every pixel is copied once and every maximum read and written for each tap. On 2 cores, AVX2, a
batch of 32 with 32 channels of 28×28, 2×2: 89 µs instead of 518; one image of 64×112×112, 3×3: 193 instead of 822.
"""

import numba
import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic

from .cache import kernel
from .moves import by_vectors
from .simd import I32, I64, Vectors, index
from .threads import launch

OUTPUTS = 4096  # a task, about
LEAST = 4  # windows side by side, for vector code


def fits(size, stride, dilation):
    """Whether `max_of_windows` serves windows of this kernel, stride and dilation, pairs all of them."""
    return size in ((2, 2), (3, 3)) and stride == (2, 2) and dilation == (1, 1)


def max_of_windows(x, y, indices, size, padding):
    """y (P, oh, ow) and indices (int32), flat in the H·W plane, of x (P, H, W); size is 2 or 3."""
    launch(_max_of_windows, x, y, indices, size, padding)


@kernel(parallel=True)
def _max_of_windows(x, y, indices, size, padding):
    P, H, W = x.shape
    oh, ow = y.shape[1:]
    upper, lower = whole_windows(H, oh, size, padding[0])
    left, right = whole_windows(W, ow, size, padding[1])
    if right - left < LEAST:
        left, right = ow, ow
    flat_x, flat_y, flat_indices = x.reshape(-1), y.reshape(-1), indices.reshape(-1)
    rows = max(1, OUTPUTS // ow)  # of y a task, over the borders of planes
    for task in prange((P * oh + rows - 1) // rows):
        plane, oy = task * rows // oh, task * rows % oh
        for row in range(task * rows, min(P * oh, (task + 1) * rows)):
            top = 2 * oy - padding[0]
            first, last = (left, right) if upper <= oy < lower else (ow, ow)
            if first < last:
                corner = top * W + 2 * first - padding[1]
                whole_row(
                    flat_y, flat_indices, row * ow + first, last - first, flat_x, plane * H * W + corner, W, corner,
                    size == 3,
                )  # fmt: skip
            for ox in range(first):
                y[plane, oy, ox], indices[plane, oy, ox] = cut_window(x, plane, top, 2 * ox - padding[1], size)
            for ox in range(last, ow):
                y[plane, oy, ox], indices[plane, oy, ox] = cut_window(x, plane, top, 2 * ox - padding[1], size)
            oy += 1
            if oy == oh:
                plane, oy = plane + 1, 0


@kernel
def whole_windows(pixels, count, size, padding):
    """The outputs first ≤ o < last whose windows lie inside of the image."""
    first = min(count, (padding + 1) // 2)
    return first, max(first, min(count, (pixels + padding - size) // 2 + 1))


@kernel
def cut_window(x, plane, top, left, size):
    """The largest pixel of a window that may reach over the border, and its place."""
    _, H, W = x.shape
    row, column = max(0, top), max(0, left)
    best, place = x[plane, row, column], row * W + column
    for i in range(row, min(H, top + size)):
        for j in range(column, min(W, left + size)):
            pixel = x[plane, i, j]
            if pixel > best or pixel != pixel:  # of equals the first, of NaNs the last
                best, place = pixel, i * W + j
    return best, place


@intrinsic
def whole_row(typingctx, y, indices, at, count, x, start, width, corner, three):
    """Windows side by side, two pixels apart: y[at + o], indices[at + o] for 0 ≤ o < count, count ≥ LEAST.

    The first window begins at x[start], its rows are `width` apart, and its place in the plane is `corner`. Windows are
    3×3 where `three`, else 2×2.
    """
    i64 = types.int64
    signature = types.void(y, indices, i64, i64, x, i64, i64, i64, types.boolean)

    def codegen(context, builder, signature, args):
        y, indices, at, count, x, start, width, corner, three = args
        kinds = signature.args
        places = builder.ptrtoint(context.make_array(kinds[1])(context, builder, indices).data, I64)
        for lanes in (8, LEAST):
            emit = _Windows(builder, kinds[0].dtype, lanes)
            emit.y, emit.x = emit.start(context, kinds[0], y, at), emit.start(context, kinds[4], x, start)
            emit.places = emit.place(builder.inttoptr(places, ir.PointerType()), at)
            emit.count, emit.width, emit.corner = count, width, corner
            fits = builder.icmp_signed(">=", count, index(lanes))
            if lanes > LEAST:
                fewer = builder.icmp_signed("<", count, index(lanes))
                with builder.if_then(fits):
                    emit.row(three)
            else:
                with builder.if_then(builder.and_(fits, fewer)):
                    emit.row(three)
        return context.get_dummy_value()

    return signature, codegen


class _Windows(Vectors):
    """Emits the code of vectors of windows."""

    def row(self, three):
        """All windows of the row. The last vector ends with it, and computes some windows a second time: no masks."""
        with self.builder.if_else(three) as (nine, four):
            with nine:
                by_vectors(self, self.count, lambda o: self.windows(o, 3))
            with four:
                by_vectors(self, self.count, lambda o: self.windows(o, 2))

    def windows(self, o, size):
        """y and indices of a vector of windows: of equal pixels the first is the largest, of NaNs the last."""
        builder, best, code = self.builder, None, None
        last = builder.sub(self.count, index(self.lanes))
        o = builder.select(builder.icmp_signed("<", o, last), o, last)
        codes = ir.VectorType(I32, self.lanes)
        for i in range(size):
            below = builder.mul(self.width, index(i))
            row = self.at(self.x, builder.add(builder.mul(o, index(2)), below))
            below = self._splat(builder.trunc(below, I32), codes)
            for j, pixels in enumerate(self.taps(row, size)):
                here = builder.add(below, ir.Constant(codes, [j] * self.lanes))
                if best is None:
                    best, code = pixels, here
                    continue
                larger = builder.fcmp_ordered(">", pixels, best)
                better = builder.or_(larger, builder.fcmp_unordered("uno", pixels, pixels))
                best, code = builder.select(better, pixels, best), builder.select(better, here, code)
        first = builder.trunc(builder.add(self.corner, builder.mul(o, index(2))), I32)
        steps = ir.Constant(codes, [2 * lane for lane in range(self.lanes)])
        place = builder.add(builder.add(code, self._splat(first, codes)), steps)
        self.store(best, self.at(self.y, o))
        builder.store(place, self.place(self.places, o)).align = 4

    def taps(self, row, size):
        """Vectors of the pixels 0, 2, 4, …, then 1, 3, 5, …, then for 3×3 windows 2, 4, 6, … of a row."""
        even, odd = self.every_second(row)
        return (even, odd) if size == 2 else (even, *self.every_second(self.at(row, 1)))

    def every_second(self, place):
        """The even and the odd ones of two vectors."""
        halves = self.load(place), self.load(self.at(place, self.lanes))
        return tuple(self.shuffle(*halves, range(first, 2 * self.lanes, 2)) for first in (0, 1))

    def place(self, pointer, offset):
        """Where an index lies."""
        return self.builder.gep(pointer, [offset], source_etype=I32)


def _whole_row_python(y, indices, at, count, x, start, width, corner, three):
    """The same without the compiler, for NUMBA_DISABLE_JIT=1."""
    size = 3 if three else 2
    for o in range(count):
        best = code = None
        for offset in (i * width + j for i in range(size) for j in range(size)):
            pixel = x[start + 2 * o + offset]
            if best is None or pixel > best or np.isnan(pixel):
                best, code = pixel, offset
        y[at + o], indices[at + o] = best, corner + 2 * o + code


if numba.config.DISABLE_JIT:
    whole_row = _whole_row_python
