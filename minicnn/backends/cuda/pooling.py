"""Pooling: a thread an output pixel forward, a thread an input pixel backward, which gathers from its windows.

So each sum has one order and needs no atomics. Windows of a whole plane (global average pooling) are summed by a warp.
"""

import numpy as np
from numba import cuda

from .arrays import BLOCK, blocks, flat, xp
from .launch import WARP, device, kernel, launch
from .planes import divide, launch_pixels, pixel
from .reduce import warp_sum


def max_pool2d_forward(x, kernel, stride, padding, dilation, out_size):
    """y = the largest pixel of each window, indices = its place in the H·W plane: the first of equals, the last NaN."""
    N, C, H, W = x.shape
    y = xp.empty((N, C, *out_size), x.dtype)
    indices = xp.empty(y.shape, np.int64)
    launch_pixels(
        _max, N * C, out_size, flat(x), y.reshape(-1), indices.reshape(-1), (H, W), tuple(out_size),
        _useful((H, W), kernel, padding), stride, padding, dilation,
    )  # fmt: skip
    return y, indices


def max_pool2d_input_grad(dy, indices, x_shape, window):
    # forward: y[n, c, p] = x[n, c, indices[n, c, p]], so each pixel gathers the dy of the windows whose maximum it was
    kernel, stride, padding, dilation = window
    dx = xp.empty(x_shape, dy.dtype)
    launch_pixels(
        _max_grad, x_shape[0] * x_shape[1], x_shape[2:], flat(dy), flat(indices), dx.reshape(-1), x_shape[2:],
        dy.shape[2:], kernel, stride, padding, dilation,
    )  # fmt: skip
    return dx


def avg_pool2d_forward(x, kernel, stride, padding, out_size, count_include_pad, divisor):
    """y = (sum of each window) / divisor"""
    N, C, H, W = x.shape
    y = xp.empty((N, C, *out_size), x.dtype)
    launch_pixels(
        _avg, N * C, out_size, flat(x), y.reshape(-1), (H, W), tuple(out_size), kernel, stride, padding,
        int(count_include_pad), divisor or 0,
    )  # fmt: skip
    return y


def avg_pool2d_input_grad(dy, x_shape, kernel, stride, padding, count_include_pad, divisor):
    # forward: y[p] = Σ x[pixels of window p] / divisor[p], so each pixel gathers dy / divisor of its windows
    dx = xp.empty(x_shape, dy.dtype)
    launch_pixels(
        _avg_grad, x_shape[0] * x_shape[1], x_shape[2:], flat(dy), dx.reshape(-1), x_shape[2:], dy.shape[2:],
        kernel, stride, padding, int(count_include_pad), divisor or 0,
    )  # fmt: skip
    return dx


def adaptive_avg_pool2d_forward(x, out_size):
    """y[n, c, p, q] = the mean over bin p of the rows and bin q of the columns"""
    N, C, H, W = x.shape
    y = xp.empty((N, C, *out_size), x.dtype)
    if tuple(out_size) == (1, 1):
        launch(_plane_mean, blocks(N * C * WARP, BLOCK), BLOCK, flat(x), y.reshape(-1), H * W)
    else:
        launch_pixels(_bin_mean, N * C, out_size, flat(x), y.reshape(-1), (H, W), tuple(out_size))
    return y


def adaptive_avg_pool2d_input_grad(dy, x_shape):
    # forward: y[p, q] = mean of x over bin (p, q), so each pixel gathers dy / size of its bins
    dx = xp.empty(x_shape, dy.dtype)
    launch_pixels(_bin_grad, x_shape[0] * x_shape[1], x_shape[2:], flat(dy), dx.reshape(-1), x_shape[2:], dy.shape[2:])
    return dx


def _useful(size, kernel, padding):
    """The kernel without the taps that lie behind the image wherever the window is."""
    return min(kernel[0], size[0] + padding[0]), min(kernel[1], size[1] + padding[1])


# ---- along one side ----


@device
def _reaching(place, extent, stride, padding, count):
    """The windows [first, last) that may reach a place: p·stride − padding ≤ place < p·stride − padding + extent."""
    end = place + padding
    last = min(count, divide(end, stride)[0] + 1)
    begin = end - extent + 1
    first = divide(begin + stride - 1, stride)[0] if begin > 0 else 0
    return first, last


@device
def _window(p, size, kernel, stride, padding):
    """(begin and end of window p within the image, its cells within the padded image)."""
    begin = p * stride - padding
    end = min(begin + kernel, size + padding)
    return max(begin, 0), min(end, size), end - begin


# ---- max ----


@kernel
def _max(tiles, width, x, y, indices, size, out_size, taps, stride, padding, dilation):
    plane, p, q = pixel(tiles, width)
    if p < out_size[0]:
        H, W = size
        base = plane * H * W
        row0, column0 = p * stride[0] - padding[0], q * stride[1] - padding[1]
        best, place = x.dtype.type(-np.inf), -1
        for i in range(taps[0]):
            row = row0 + i * dilation[0]
            if row >= 0 and row < H:
                for j in range(taps[1]):
                    column = column0 + j * dilation[1]
                    if column >= 0 and column < W:
                        at = row * W + column
                        v = x[base + at]
                        if v > best or v != v or place < 0:
                            best, place = v, at
        to = (plane * out_size[0] + p) * out_size[1] + q
        y[to] = best
        indices[to] = place


@kernel
def _max_grad(tiles, width, dy, indices, dx, size, out_size, kernel, stride, padding, dilation):
    plane, row, column = pixel(tiles, width)
    if row < size[0]:
        own = row * size[1] + column
        top, bottom = _reaching(row, dilation[0] * (kernel[0] - 1) + 1, stride[0], padding[0], out_size[0])
        left, right = _reaching(column, dilation[1] * (kernel[1] - 1) + 1, stride[1], padding[1], out_size[1])
        total = dx.dtype.type(0)
        for p in range(top, bottom):
            base = (plane * out_size[0] + p) * out_size[1]
            for q in range(left, right):
                if indices[base + q] == own:
                    total += dy[base + q]
        dx[plane * size[0] * size[1] + own] = total


# ---- mean ----


@kernel
def _avg(tiles, width, x, y, size, out_size, kernel, stride, padding, count_include_pad, divisor):
    plane, p, q = pixel(tiles, width)
    if p < out_size[0]:
        H, W = size
        top, bottom, cells_h = _window(p, H, kernel[0], stride[0], padding[0])
        left, right, cells_w = _window(q, W, kernel[1], stride[1], padding[1])
        total = x.dtype.type(0)
        for row in range(top, bottom):
            for column in range(left, right):
                total += x[(plane * H + row) * W + column]
        cells = cells_h * cells_w if count_include_pad else (bottom - top) * (right - left)
        y[(plane * out_size[0] + p) * out_size[1] + q] = total / x.dtype.type(divisor if divisor else cells)


@kernel
def _avg_grad(tiles, width, dy, dx, size, out_size, kernel, stride, padding, count_include_pad, divisor):
    plane, row, column = pixel(tiles, width)
    if row < size[0]:
        H, W = size
        first_p, last_p = _reaching(row, kernel[0], stride[0], padding[0], out_size[0])
        first_q, last_q = _reaching(column, kernel[1], stride[1], padding[1], out_size[1])
        total = dx.dtype.type(0)
        for p in range(first_p, last_p):
            top, bottom, cells_h = _window(p, H, kernel[0], stride[0], padding[0])
            for q in range(first_q, last_q):
                left, right, cells_w = _window(q, W, kernel[1], stride[1], padding[1])
                cells = cells_h * cells_w if count_include_pad else (bottom - top) * (right - left)
                share = dx.dtype.type(divisor if divisor else cells)
                total += dy[(plane * out_size[0] + p) * out_size[1] + q] / share
        dx[(plane * H + row) * W + column] = total


# ---- adaptive: bin p covers floor(p·size / count) to ceil((p + 1)·size / count) ----


@device
def _bin(p, size, count):
    return p * size // count, ((p + 1) * size + count - 1) // count


@device
def _bins_with(place, size, count):
    """The bins [first, last) that hold a place."""
    first = (place * count) // size
    last = ((place + 1) * count + size - 1) // size
    # bin p begins at or before the place and ends after it
    while first > 0 and _bin(first - 1, size, count)[1] > place:
        first -= 1
    return first, min(last, count)


@kernel
def _plane_mean(x, y, pixels):
    plane, lane = cuda.grid(1) // WARP, cuda.threadIdx.x % WARP
    total = np.float64(0)
    if plane < y.size:
        for i in range(lane, pixels, WARP):
            total += np.float64(x[plane * pixels + i])
    total = warp_sum(total)
    if plane < y.size and lane == 0:
        y[plane] = total / pixels


@kernel
def _bin_mean(tiles, width, x, y, size, out_size):
    plane, p, q = pixel(tiles, width)
    if p < out_size[0]:
        H, W = size
        top, bottom = _bin(p, H, out_size[0])
        left, right = _bin(q, W, out_size[1])
        total = np.float64(0)
        for row in range(top, bottom):
            for column in range(left, right):
                total += np.float64(x[(plane * H + row) * W + column])
        y[(plane * out_size[0] + p) * out_size[1] + q] = total / ((bottom - top) * (right - left))


@kernel
def _bin_grad(tiles, width, dy, dx, size, out_size):
    plane, row, column = pixel(tiles, width)
    if row < size[0]:
        H, W = size
        total = dx.dtype.type(0)
        first_p, last_p = _bins_with(row, H, out_size[0])
        first_q, last_q = _bins_with(column, W, out_size[1])
        for p in range(first_p, last_p):
            top, bottom = _bin(p, H, out_size[0])
            for q in range(first_q, last_q):
                left, right = _bin(q, W, out_size[1])
                share = dx.dtype.type((bottom - top) * (right - left))
                total += dy[(plane * out_size[0] + p) * out_size[1] + q] / share
        dx[(plane * H + row) * W + column] = total
