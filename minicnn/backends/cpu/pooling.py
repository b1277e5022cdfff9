"""Pooling. A task owns some rows of y in the forward, a whole plane of dx in the backward: no two add to one pixel.

A row of outputs is computed tap by tap: for one tap the inner loop runs over the outputs, without a branch, and so
over vectors. `first[j]` and `last[j]` are the outputs that see a pixel through tap j, the same for every row, so that
the loops need no check of bounds.
"""

from functools import lru_cache

import numpy as np
from numba import prange

from . import max_windows, prepared_pooling
from .arrays import canonical
from .cache import kernel
from .memory import empty
from .moves import copy_run
from .threads import launch

OUTPUTS = 4096  # a task, about: enough to pay for its start, few enough for all cores
BAND = 2**17  # pixels of the lines of a band, at most: they stay in L2
MARGIN = 64  # behind the last line: `copy_run` writes whole vectors


def max_pool2d_forward(x, kernel, stride, padding, dilation, out_size):
    """y = the largest pixel of each window, indices = its place in the H·W plane: the first of equals, the last NaN."""
    x = canonical(x)
    y = empty((*x.shape[:2], *out_size), x.dtype)
    # int32 wherever it holds them: of 3×3 windows, stride 2, int64 indices would be a quarter of all bytes
    indices = empty(y.shape, np.int32 if x.shape[2] * x.shape[3] < 2**31 else np.int64)
    if y.size == 0:
        return y, indices
    planes = _planes(x), _planes(y), _planes(indices)
    if indices.dtype == np.int32 and max_windows.fits(kernel, stride, dilation):
        max_windows.max_of_windows(*planes, kernel[0], padding)
        return y, indices
    kernel = _useful(x.shape[2:], kernel, padding, dilation)
    rows = min(out_size[0], max(1, OUTPUTS // out_size[1]))
    band = _band_size(rows, kernel, stride, dilation) * out_size[1]
    settings = *planes, kernel, stride, padding, dilation
    launch(*((_max_by_bands, *settings, rows) if band <= BAND else (_max_by_rows, *settings)))
    return y, indices


def _band_size(rows, kernel, stride, dilation):
    """How many lines of one pixel an output the windows of so many rows of outputs read."""
    lines = (rows - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1
    return kernel[1] * stride[0] * -(-lines // stride[0])


@kernel(parallel=True)
def _max_by_bands(x, y, indices, kernel, stride, padding, dilation, rows):
    """Small kernels. The pixels that tap column j sees are laid side by side first, one line for each row of pixels,
    lines `stride` rows apart behind each other. Then what a tap sees in a whole band of outputs is one run, and so is
    the loop that compares: no loop is shorter than a plane or a band.
    """
    P, H, W = x.shape
    oh, ow = y.shape[1:]
    (kh, kw), (stride_h, stride_w) = kernel, stride
    first, last = _ranges(W, ow, kw, stride_w, padding[1], dilation[1])
    first_row, last_row = _ranges(H, oh, kh, stride_h, padding[0], dilation[0])
    earliest, earliest_row = _earliest(first, last, ow), _earliest(first_row, last_row, oh)
    start, corner, gaps = np.empty(oh * ow, np.int32), np.empty(oh * ow, np.int64), False
    for oy in range(oh):
        for ox in range(ow):
            start[oy * ow + ox] = earliest_row[oy] * dilation[0] * W + earliest[ox] * dilation[1]
            corner[oy * ow + ox] = (oy * stride_h - padding[0]) * W + ox * stride_w - padding[1]
            gaps |= earliest[ox] < 0 or earliest_row[oy] < 0
    bands = (oh + rows - 1) // rows  # a plane
    together = max(1, OUTPUTS // (rows * ow))  # bands a task
    depth = ((rows - 1) * stride_h + (kh - 1) * dilation[0]) // stride_h + 1  # lines of one phase
    flat_x, flat_y, flat_indices = x.reshape(-1), y.reshape(-1), indices.reshape(-1)
    for task in prange((P * bands + together - 1) // together):
        lines = np.empty(kw * stride_h * depth * ow + MARGIN, x.dtype)  # (kw, stride_h, depth, ow)
        offset = np.empty(rows * ow, np.int32)  # of the maximum so far from the corner of its window, in pixels
        for each in range(task * together, min(P * bands, (task + 1) * together)):
            plane, top = each // bands, each % bands * rows
            size = min(rows, oh - top) * ow
            for j in range(kw):
                for phase in range(stride_h):
                    for line in range(depth):
                        row = (top + line) * stride_h + phase - padding[0]
                        at = ((j * stride_h + phase) * depth + line) * ow
                        run = last[j] - first[j] if 0 <= row < H else 0
                        if run > 0:
                            pixel = (plane * H + row) * W + first[j] * stride_w + j * dilation[1] - padding[1]
                            copy_run(lines, at + first[j], run, flat_x, pixel, stride_w, 0, run)
                        for o in range(first[j] if run > 0 else ow):
                            lines[np.uintp(at + o)] = -np.inf
                        for o in range(last[j] if run > 0 else ow, ow):
                            lines[np.uintp(at + o)] = -np.inf
            begin = (plane * oh + top) * ow
            for o in range(size):
                flat_y[np.uintp(begin + o)] = -np.inf
                offset[np.uintp(o)] = start[np.uintp(top * ow + o)]
            for i in range(kh):
                phase, line = i * dilation[0] % stride_h, i * dilation[0] // stride_h
                for j in range(kw):
                    at = ((j * stride_h + phase) * depth + line) * ow
                    code = np.int32(i * dilation[0] * W + j * dilation[1])
                    keep_larger(lines, at, code, flat_y, begin, offset, size)
            for o in range(size):
                flat_indices[np.uintp(begin + o)] = corner[np.uintp(top * ow + o)] + offset[np.uintp(o)]
            if gaps:
                for o in range(size):
                    if earliest[(top * ow + o) % ow] < 0 or earliest_row[(top * ow + o) // ow] < 0:
                        flat_indices[begin + o] = -1


@kernel
def keep_larger(pixels, at, code, best, begin, offset, size):
    """One tap: where a pixel > best, or is NaN, it is the new best. Unsigned indices: none is tested for a sign."""
    for o in range(size):
        b, p = np.uintp(begin + o), np.uintp(o)
        pixel, largest, number = pixels[np.uintp(at + o)], best[b], offset[p]
        better = (pixel > largest) | (pixel != pixel)
        best[b] = pixel if better else largest
        offset[p] = code if better else number


@kernel(parallel=True)
def _max_by_rows(x, y, indices, kernel, stride, padding, dilation):
    """Any kernel."""
    P, H, W = x.shape
    oh, ow = y.shape[1:]
    kh, kw = kernel
    first, last = _ranges(W, ow, kw, stride[1], padding[1], dilation[1])
    first_row, last_row = _ranges(H, oh, kh, stride[0], padding[0], dilation[0])
    earliest = _earliest(first, last, ow)  # tap column of the first pixel of a window, −1: there is none
    earliest_row = _earliest(first_row, last_row, oh)
    offsets = np.empty(kh * kw, np.int64)  # of each tap from the corner of the window, in pixels
    for i in range(kh):
        for j in range(kw):
            offsets[i * kw + j] = i * dilation[0] * W + j * dilation[1]
    rows = max(1, OUTPUTS // ow)  # of y a task, over the borders of planes
    for task in prange((P * oh + rows - 1) // rows):
        tap = np.empty(ow, np.int32)  # the tap that holds the maximum so far, i·kw + j
        for row in range(task * rows, min(P * oh, (task + 1) * rows)):
            plane, oy = row // oh, row % oh
            best, place = y[plane, oy], indices[plane, oy]
            for ox in range(ow):
                best[ox] = -np.inf
                tap[ox] = earliest[ox] + earliest_row[oy] * kw
            top = oy * stride[0] - padding[0]
            for i in range(kh):
                if first_row[i] <= oy < last_row[i]:
                    line = x[plane, top + i * dilation[0]]
                    for j in range(kw):
                        _keep_larger(
                            line, j * dilation[1] - padding[1], stride[1], first[j], last[j], i * kw + j, best, tap
                        )
            corner = top * W - padding[1]
            for ox in range(ow):
                place[ox] = corner + ox * stride[1] + offsets[np.uintp(max(0, tap[ox]))]
            for ox in range(ow):
                if earliest[ox] < 0 or earliest_row[oy] < 0:
                    place[ox] = -1


@kernel
def _keep_larger(line, shift, stride, first, last, number, best, tap):
    """One tap: where pixel > best, or is NaN, it is the new best. Constant strides 1 and 2 make vector loads."""
    if stride == 1:
        _keep_larger_every(line, shift, 1, first, last, number, best, tap)
    elif stride == 2:
        _keep_larger_every(line, shift, 2, first, last, number, best, tap)
    else:
        _keep_larger_every(line, shift, stride, first, last, number, best, tap)


@kernel
def _keep_larger_every(line, shift, stride, first, last, number, best, tap):
    code = np.int32(number)
    for ox in range(first, last):
        o = np.uintp(ox)  # unsigned: no test for a negative index, which would keep the loop from vectors
        pixel, largest, number = line[np.uintp(ox * stride + shift)], best[o], tap[o]
        better = (pixel > largest) | (pixel != pixel)
        best[o] = pixel if better else largest
        tap[o] = code if better else number


def max_pool2d_input_grad(dy, indices, x_shape, window):
    # forward: y[n, c, p] = x[n, c, indices[n, c, p]], so each dy goes to that pixel; index −1: there was none
    dx = empty(x_shape, dy.dtype)
    P, size = x_shape[0] * x_shape[1], x_shape[2] * x_shape[3]
    dy, indices = canonical(dy), canonical(indices)
    count = dy.shape[2] * dy.shape[3]
    launch(_max_input_grad, dy.reshape(P, count), indices.reshape(P, count), dx.reshape(P, size))
    return dx


@kernel(parallel=True)
def _max_input_grad(dy, indices, dx):
    for plane in prange(dy.shape[0]):
        for pixel in range(dx.shape[1]):
            dx[plane, pixel] = 0
        for p in range(dy.shape[1]):
            pixel = indices[plane, p]
            if pixel >= 0:
                dx[plane, pixel] += dy[plane, p]


@kernel
def _ranges(size, count, taps, stride, padding, dilation):
    """For each tap: its outputs first ≤ o < last, those for which 0 ≤ o·stride − padding + tap·dilation < size."""
    first, last = np.empty(taps, np.int64), np.empty(taps, np.int64)
    for tap in range(taps):
        shift = tap * dilation - padding
        first[tap] = 0 if shift >= 0 else min(count, (stride - 1 - shift) // stride)
        last[tap] = max(first[tap], min(count, (size - shift + stride - 1) // stride))
    return first, last


@kernel
def _earliest(first, last, count):
    """For each output its first tap that sees a pixel, or −1."""
    earliest = np.full(count, -1, np.int32)
    for tap in range(first.size - 1, -1, -1):
        for o in range(first[tap], last[tap]):
            earliest[o] = tap
    return earliest


def avg_pool2d_forward(x, kernel, stride, padding, out_size, count_include_pad, divisor):
    """y = (sum of each window) / divisor"""
    windows = _windows(x.shape[2:], kernel, stride, padding, out_size, count_include_pad, divisor, x.dtype)
    return _mean_forward(x, out_size, *windows)


def avg_pool2d_input_grad(dy, x_shape, kernel, stride, padding, count_include_pad, divisor):
    # forward: y[p] = Σ x[pixels of window p] / divisor[p], so each pixel collects dy / divisor of its windows
    windows = _windows(x_shape[2:], kernel, stride, padding, dy.shape[2:], count_include_pad, divisor, dy.dtype)
    return _mean_input_grad(dy, x_shape, *windows)


def adaptive_avg_pool2d_forward(x, out_size):
    """y[n, c, p, q] = the mean over bin p of the rows and bin q of the columns"""
    if out_size == (1, 1):
        y = empty((*x.shape[:2], 1, 1), x.dtype)
        prepared_pooling.mean(canonical(x), y)
        return y
    return _mean_forward(x, out_size, *_bins(x.shape[2:], out_size, x.dtype))


def adaptive_avg_pool2d_input_grad(dy, x_shape):
    # forward: y[p, q] = mean of x over bin (p, q), so each pixel collects dy / size of its bins
    return _mean_input_grad(dy, x_shape, *_bins(x_shape[2:], dy.shape[2:], dy.dtype))


@lru_cache(maxsize=64)  # 0.5 µs instead of 20, more than a small kernel takes
def _windows(size, kernel, stride, padding, out_size, count_include_pad, divisor, dtype):
    """(size, rows, columns) with (start, end, length) for both sides: the pixels of each window, and what its length
    counts as in the divisor."""
    sides = []
    for side in (0, 1):
        pad = padding[side]
        start = np.arange(out_size[side]) * stride[side] - pad
        end = np.minimum(start + kernel[side], size[side] + pad)  # cut to the padded image
        inside, inside_end = np.maximum(start, 0), np.minimum(end, size[side])
        length = end - start if count_include_pad else inside_end - inside
        if divisor is not None:
            length = np.full(out_size[side], divisor if side else 1)
        sides.append((inside, inside_end, length.astype(dtype)))
    return _whole_as_row(size, *sides)


@lru_cache(maxsize=64)
def _bins(size, out_size, dtype):
    """The same of bins: bin p covers floor(p·size / count) to ceil((p + 1)·size / count)."""
    sides = []
    for pixels, count in zip(size, out_size):
        p = np.arange(count)
        start, end = p * pixels // max(1, count), -(-(p + 1) * pixels // max(1, count))
        sides.append((start, end, (end - start).astype(dtype)))
    return _whole_as_row(size, *sides)


def _whole_as_row(size, rows, columns):
    """One window over the whole plane: as a single long row, which is quicker to sum."""
    H, W = size
    if rows[0].size == 1 == columns[0].size and rows[1][0] - rows[0][0] == H and columns[1][0] - columns[0][0] == W:
        zero, one = np.zeros(1, np.int64), np.ones(1, np.int64)
        return (1, H * W), (zero, one, rows[2]), (zero, one * (H * W), columns[2])
    return size, rows, columns


def _mean_forward(x, out_size, size, rows, columns):
    x = canonical(x)
    y = empty((*x.shape[:2], *out_size), x.dtype)
    planes = x.shape[0] * x.shape[1]
    launch(_mean, x.reshape(planes, *size), _planes(y), *rows, *columns)
    return y


@kernel(parallel=True, fast=True)
def _mean(x, y, row_start, row_end, row_length, column_start, column_end, column_length):
    """Sum the rows of a window first, which are contiguous, then along the sum."""
    P, H, W = x.shape
    oh, ow = y.shape[1:]
    rows = max(1, OUTPUTS * max(1, oh) // (H * W))  # of y a task, over the borders of planes
    for task in prange((P * oh + rows - 1) // rows):
        line = np.empty(W, x.dtype)
        for each in range(task * rows, min(P * oh, (task + 1) * rows)):
            plane, p = each // oh, each % oh
            for column in range(W):
                line[column] = x[plane, row_start[p], column]
            for row in range(row_start[p] + 1, row_end[p]):
                source = x[plane, row]
                for column in range(W):
                    line[column] += source[column]
            for q in range(ow):
                total = line[column_start[q]]
                for column in range(column_start[q] + 1, column_end[q]):
                    total += line[np.uintp(column)]
                y[plane, p, q] = total / (row_length[p] * column_length[q])


def _mean_input_grad(dy, x_shape, size, rows, columns):
    dy = canonical(dy)
    dx = empty(x_shape, dy.dtype)
    planes = x_shape[0] * x_shape[1]
    launch(_mean_grad, _planes(dy), dx.reshape(planes, *size), *rows, *columns)
    return dx


@kernel(parallel=True, fast=True)
def _mean_grad(dy, dx, row_start, row_end, row_length, column_start, column_end, column_length):
    """Spread a row of dy along the columns first, then add it to the rows of its windows."""
    P, H, W = dx.shape
    oh, ow = dy.shape[1:]
    planes = max(1, OUTPUTS // (H * W))  # a task
    for task in prange((P + planes - 1) // planes):
        line = np.empty(W, dy.dtype)
        for plane in range(task * planes, min(P, (task + 1) * planes)):
            for row in range(H):
                for column in range(W):
                    dx[plane, row, column] = 0
            for p in range(oh):
                for column in range(W):
                    line[column] = 0
                for q in range(ow):
                    share = dy[plane, p, q] / (row_length[p] * column_length[q])
                    for column in range(column_start[q], column_end[q]):
                        line[np.uintp(column)] += share
                for row in range(row_start[p], row_end[p]):
                    target = dx[plane, row]
                    for column in range(W):
                        target[column] += line[column]


def _planes(x):
    """(N, C, H, W) as (P, H, W)."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _useful(size, kernel, padding, dilation):
    """The kernel without the taps that lie behind the image wherever the window is."""
    return tuple(min(kernel[side], (size[side] + padding[side] - 1) // dilation[side] + 1) for side in (0, 1))
