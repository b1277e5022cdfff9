"""Pooling, one kernel tap at a time.

Output (p, q) looks at pixel (p·stride_h − padding_h + i·dilation_h, q·stride_w − padding_w + j·dilation_w) through tap
(i, j). For one tap this is a grid of pixels, each seen by one output: forward reads it, backward adds to it.
"""

import numpy as np


def max_pool2d_forward(x, kernel, stride, padding, dilation, out_size):
    """y = the largest pixel of each window, indices = its place in the H·W plane: the first of equals, the last NaN."""
    W = x.shape[3]
    y = np.full((*x.shape[:2], *out_size), -np.inf, x.dtype)
    indices = np.full(y.shape, -1, np.int64)
    for outputs, (rows, columns) in taps(x.shape[2:], kernel, stride, padding, dilation, out_size):
        pixels, best, place = x[:, :, rows, columns], y[:, :, *outputs], indices[:, :, *outputs]
        better = (pixels > best) | np.isnan(pixels) | (place < 0)
        y[:, :, *outputs] = np.where(better, pixels, best)
        indices[:, :, *outputs] = np.where(better, rows * W + columns, place)
    return y, indices


def max_pool2d_input_grad(dy, indices, x_shape, window):
    # forward: y[n, c, p] = x[n, c, indices[n, c, p]], so each dy goes to that pixel; index −1: there was none
    N, C, H, W = x_shape
    dx = np.zeros(x_shape, dy.dtype)
    n, c, _, _ = np.indices(indices.shape, sparse=True)
    n, c, place = (a[indices >= 0] for a in np.broadcast_arrays(n, c, indices))
    np.add.at(dx.reshape(N, C, H * W), (n, c, place), dy[indices >= 0])
    return dx


@np.errstate(invalid="ignore", over="ignore")
def avg_pool2d_forward(x, kernel, stride, padding, out_size, count_include_pad, divisor):
    """y = (sum of each window) / divisor"""
    y = np.zeros((*x.shape[:2], *out_size), x.dtype)
    for outputs, pixels in taps(x.shape[2:], kernel, stride, padding, (1, 1), out_size):
        y[:, :, *outputs] += x[:, :, *pixels]
    return y / divisors(x, kernel, stride, padding, out_size, count_include_pad, divisor)


@np.errstate(invalid="ignore", over="ignore")
def avg_pool2d_input_grad(dy, x_shape, kernel, stride, padding, count_include_pad, divisor):
    # forward: y[p] = Σ x[pixels of window p] / divisor[p], so each pixel collects dy / divisor of its windows
    dx = np.zeros(x_shape, dy.dtype)
    share = dy / divisors(dx, kernel, stride, padding, dy.shape[2:], count_include_pad, divisor)
    for outputs, pixels in taps(x_shape[2:], kernel, stride, padding, (1, 1), dy.shape[2:]):
        dx[:, :, *pixels] += share[:, :, *outputs]
    return dx


def adaptive_avg_pool2d_forward(x, out_size):
    """y[n, c, p, q] = the mean over bin p of the rows and bin q of the columns"""
    y = np.empty((*x.shape[:2], *out_size), x.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        for p, rows in enumerate(bins(x.shape[2], out_size[0])):
            for q, columns in enumerate(bins(x.shape[3], out_size[1])):
                y[:, :, p, q] = x[:, :, rows, columns].mean(axis=(2, 3))
    return y


def adaptive_avg_pool2d_input_grad(dy, x_shape):
    # forward: y[p, q] = mean of x over bin (p, q), so each pixel collects dy / size of its bins
    dx = np.zeros(x_shape, dy.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        for p, rows in enumerate(bins(x_shape[2], dy.shape[2])):
            for q, columns in enumerate(bins(x_shape[3], dy.shape[3])):
                size = (rows.stop - rows.start) * (columns.stop - columns.start)
                dx[:, :, rows, columns] += dy[:, :, p, q, None, None] / size
    return dx


def taps(size, kernel, stride, padding, dilation, out_size):
    """For each tap, row by row: the outputs that see a pixel through it, and these pixels, as (rows, columns) grids."""
    across = [
        seen(size[1], j, stride[1], padding[1], dilation[1], out_size[1]) for j in useful(size, kernel, padding, 1)
    ]
    for i in useful(size, kernel, padding, 0):
        out_rows, rows = seen(size[0], i, stride[0], padding[0], dilation[0], out_size[0])
        for out_columns, columns in across:
            yield (out_rows[:, None], out_columns), (rows[:, None], columns)


def useful(size, kernel, padding, side):
    """The taps of a side, without those that lie behind the image wherever the window is."""
    return range(min(kernel[side], size[side] + padding[side]))


def seen(size, tap, stride, padding, dilation, count):
    """Along one side: the outputs whose tap falls into the image, and where it falls."""
    pixels = np.arange(count) * stride - padding + tap * dilation
    outputs = np.flatnonzero((pixels >= 0) & (pixels < size))
    return outputs, pixels[outputs]


def divisors(x, kernel, stride, padding, out_size, count_include_pad, divisor):
    """What each window's sum is divided by, (oh, ow), in the dtype of x."""
    if divisor is not None:
        return x.dtype.type(divisor)
    lengths = []
    for side in (0, 1):
        size, pad = x.shape[2 + side], padding[side]
        start = np.arange(out_size[side]) * stride[side] - pad
        end = np.minimum(start + kernel[side], size + pad)  # cut to the padded image
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, size)  # cut to the image
        lengths.append(end - start)
    return np.multiply.outer(*lengths).astype(x.dtype)


def bins(size, count):
    """floor(p·size / count) to ceil((p + 1)·size / count), for p = 0 … count − 1"""
    return [slice(p * size // count, -(-(p + 1) * size // count)) for p in range(count)]
