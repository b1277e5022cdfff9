"""Batch normalisation of x (N, C, L), over N and L (Ioffe & Szegedy 2015). See the reference for the formulas.

A task takes one channel: its statistics first, then y, while its values are still in the cache. A batch of few channels
is cut across the planes as well, in two passes. Statistics are those of pieces of a plane, in the dtype of x, merged
in float64 in a fixed order. A mean is carried as two numbers, hi + lo, so that x − mean keeps its digits
when the mean is large: x − hi is exact there, and only lo is rounded.
"""

import math

import numpy as np
from numba import prange

from .activation import relu_backward, relu_forward
from .arrays import canonical
from .cache import kernel
from .elementwise import add_forward
from .memory import empty_like
from .threads import launch

RUN = 256  # values summed in their own dtype, even if one by one; sums of sums are float64
PIECE = 4096  # values of a plane that are summed at a time: they stay in L1 for the second look
# planes below this length are put side by side first, so that a loop has something to run over (32 images with 256
# channels of 14×14: 0.85 ms, now 0.66)
SHORT = 256
TINY = 32  # the same where there are no sums
FEW = 8  # fewer channels than this are cut across the planes
VALUES = 512  # a task of small channels, about (512 channels of 7×7: 18.6 µs, with one a task 25.7)


def batch_norm_train_forward(x, weight, bias, eps):
    """y, and the mean and biased variance of the batch, (C,), in float64. Of no values they are NaN."""
    return _train(x, weight, bias, eps, np.empty((1, 1, 0), x.dtype), False)


def batch_norm_relu_forward(x, residual, weight, bias, eps):
    """The same with y = relu(y + residual), to the bit what one operation after the other gives; residual may be None.

    Few channels, and none of the cases where planes are joined, are worth a kernel of their own.
    """
    if x.shape[1] >= FEW:
        residual = np.empty((1, 1, 0), x.dtype) if residual is None else canonical(residual)
        return _train(x, weight, bias, eps, residual, True)
    y, mean, var = batch_norm_train_forward(x, weight, bias, eps)
    return relu_forward(y if residual is None else add_forward(y, residual)), mean, var


def _train(x, weight, bias, eps, residual, relu):
    if x.shape[2] < SHORT and x.shape[0] > 1 and x.shape[1] < FEW:
        y, mean, var = _train(_joined(x), weight, bias, eps, residual, relu)
        return _split(y, x.shape), mean, var
    x = canonical(x)
    C = x.shape[1]
    if x.size == 0:
        return empty_like(x), np.full(C, np.nan), np.full(C, np.nan)
    y, mean, var = empty_like(x), np.empty(C), np.empty(C)
    if C >= FEW:
        launch(_train_forward, x, residual, relu, *_affine(weight, bias, C, x.dtype), float(eps), y, mean, var)
    else:
        partial = np.empty((C, x.shape[0] * math.ceil(x.shape[2] / PIECE), 3))
        launch(_statistics, x, partial)
        merge(partial, mean, var)
        launch(_normalise, x, mean, var, *_affine(weight, bias, C, x.dtype), float(eps), y)
    return y, mean, var


@kernel(parallel=True)
def _train_forward(x, residual, relu, weight, bias, eps, y, mean, var):
    """Some channels a task: first the statistics of all, so that the divisions of one do not wait for another's."""
    N, C, L = x.shape
    flat_x, flat_residual, flat_y = x.reshape(-1), residual.reshape(-1), y.reshape(-1)
    together = max(1, VALUES // (N * L))
    for task in prange((C + together - 1) // together):
        channels = range(task * together, min(C, (task + 1) * together))
        if L < SHORT and N > 1:
            for c in channels:
                joined_planes(x, residual, relu, c, weight[c], bias[c], eps, y, mean, var)
            continue
        for c in channels:
            so_far = 0.0, 0.0, 0.0
            for n in range(N):
                so_far = with_moments(flat_x, (n * C + c) * L, L, so_far)
            mean[c], var[c] = so_far[1], so_far[2] / so_far[0]
        for c in channels:
            inv_std = 1 / math.sqrt(var[c] + eps)
            for n in range(N):
                finish(flat_x, flat_residual, relu, (n * C + c) * L, L, mean[c], inv_std, weight[c], bias[c], flat_y)


@kernel
def joined_planes(x, residual, relu, c, weight, bias, eps, y, mean, var):
    """A channel of short planes, which are put side by side."""
    values = side_by_side(x, c)
    count, mean[c], m2 = with_moments(values, 0, values.size, (0.0, 0.0, 0.0))
    var[c] = m2 / count
    out = np.empty_like(values)  # not in place: a loop over vectors wants arrays that do not overlap
    other = side_by_side(residual, c) if residual.size else residual.reshape(-1)
    finish(values, other, relu, 0, values.size, mean[c], 1 / math.sqrt(var[c] + eps), weight, bias, out)
    put_back(out, y, c)


@kernel
def finish(x, residual, relu, at, size, mean, inv_std, weight, bias, y):
    """A run of the batch norm, or relu of it, or relu of it + residual, where the residual is not empty."""
    if not relu:
        affine(x, at, size, mean, inv_std, weight, bias, y)
        return
    hi, lo = in_two(x, mean)
    scale, zero = x.dtype.type(inv_std * weight), x.dtype.type(0)
    if residual.size:
        for i in range(size):
            here = np.uintp(at + i)  # unsigned: no test for a negative index, which would keep the loop from vectors
            value = (((x[here] - hi) - lo) * scale + bias) + residual[here]
            y[here] = zero if value <= zero else value
    else:
        for i in range(size):
            here = np.uintp(at + i)
            value = ((x[here] - hi) - lo) * scale + bias
            y[here] = zero if value <= zero else value


@kernel
def side_by_side(x, c):
    """The planes of channel c behind each other, in an array of their own."""
    N, _, L = x.shape
    values = np.empty(N * L, x.dtype)
    for n in range(N):
        for i in range(L):
            values[np.uintp(n * L + i)] = x[n, c, i]
    return values


@kernel
def put_back(values, y, c):
    """The other way."""
    N, _, L = y.shape
    for n in range(N):
        for i in range(L):
            y[n, c, i] = values[np.uintp(n * L + i)]


@kernel(parallel=True)
def _statistics(x, partial):
    """partial[c, piece] = (count, mean, Σ (x − mean)²)"""
    N, C, L = x.shape
    flat = x.reshape(-1)
    pieces = (L + PIECE - 1) // PIECE
    for task in prange(N * C * pieces):
        n, c, piece = task // (C * pieces), task // pieces % C, task % pieces
        start = piece * PIECE
        count, mean, m2 = moments(flat, (n * C + c) * L + start, min(PIECE, L - start))
        partial[c, n * pieces + piece, 0] = count
        partial[c, n * pieces + piece, 1] = mean
        partial[c, n * pieces + piece, 2] = m2


@kernel(whole=True)
def merge(partial, mean, var):
    for c in range(partial.shape[0]):
        count, channel_mean, m2 = 0.0, 0.0, 0.0
        for piece in range(partial.shape[1]):
            values, piece_mean, piece_m2 = partial[c, piece]
            count, channel_mean, m2 = merged(count, channel_mean, m2, values, piece_mean, piece_m2)
        mean[c], var[c] = channel_mean, m2 / count


@kernel
def merged(count, mean, m2, other_count, other_mean, other_m2):
    """(count, mean, Σ (x − mean)²) of two sets of values together (Chan, Golub & LeVeque 1979)."""
    total = count + other_count
    delta = other_mean - mean
    return total, mean + delta * (other_count / total), m2 + other_m2 + delta * delta * (count * other_count / total)


@kernel
def with_moments(x, at, size, so_far):
    """(count, mean, Σ (x − mean)²) of the values so far and of x[at : at + size], piece by piece."""
    count, mean, m2 = so_far
    for start in range(at, at + size, PIECE):
        count, mean, m2 = merged(count, mean, m2, *moments(x, start, min(PIECE, at + size - start)))
    return count, mean, m2


@kernel
def moments(x, at, size):
    """(count, mean, Σ (x − mean)²) of a piece: a first mean, then the sums of the differences to it."""
    count = np.float64(size)
    first, _ = difference_sums(x, at, size, x[at])
    near = x.dtype.type(np.float64(x[at]) + first / count)
    rest, squares = difference_sums(x, at, size, near)
    return count, np.float64(near) + rest / count, squares - rest * (rest / count)


@kernel(fast=True)
def difference_sums(x, at, size, shift):
    """Σ (x − shift) and Σ (x − shift)² of a run"""
    total, squares = 0.0, 0.0
    for start in range(0, size, RUN):
        part, part_squares = x.dtype.type(0), x.dtype.type(0)
        for i in range(start, min(size, start + RUN)):
            d = minus(x[np.uintp(at + i)], shift)
            part += d
            part_squares += d * d
        total, squares = total + np.float64(part), squares + np.float64(part_squares)
    return total, squares


@kernel
def minus(a, b):
    """a − b, rounded once: compiled without `reassoc`, so that a loop of sums does not take it apart."""
    return a - b


def batch_norm_move(running_mean, running_var, mean, var, momentum, correction):
    """new = (1 − momentum) · old + momentum · batch, in place; the variance of the batch times the correction."""
    plain = canonical(running_mean), canonical(running_var)
    move(*plain, mean, var, float(momentum), momentum * correction)
    for running, moved in zip((running_mean, running_var), plain):
        if running is not moved:
            running[:] = moved


@kernel(whole=True)
def move(running_mean, running_var, mean, var, momentum, rate):
    keep = running_mean.dtype.type(1 - momentum)
    for c in range(mean.size):
        running_mean[c] = keep * running_mean[c] + running_mean.dtype.type(momentum * mean[c])
        running_var[c] = keep * running_var[c] + running_var.dtype.type(rate * var[c])


def batch_norm_eval_forward(x, mean, var, weight, bias, eps):
    """y with the given statistics."""
    if x.shape[2] < TINY and x.shape[0] > 1:
        return _split(batch_norm_eval_forward(_joined(x), mean, var, weight, bias, eps), x.shape)
    x = canonical(x)
    y = empty_like(x)
    mean, var = mean.astype(np.float64), var.astype(np.float64)
    launch(_normalise, x, mean, var, *_affine(weight, bias, x.shape[1], x.dtype), float(eps), y)
    return y


@kernel(parallel=True)
def _normalise(x, mean, var, weight, bias, eps, y):
    N, C, L = x.shape
    flat_x, flat_y = x.reshape(-1), y.reshape(-1)
    pieces = (L + PIECE - 1) // PIECE
    for task in prange(N * C * pieces):
        plane, start = task // pieces, task % pieces * PIECE
        c, size = plane % C, min(PIECE, L - start)
        inv_std = 1 / math.sqrt(var[c] + eps)
        affine(flat_x, plane * L + start, size, mean[c], inv_std, weight[c], bias[c], flat_y)


@kernel
def affine(x, at, size, mean, inv_std, weight, bias, y):
    """A run of y = (x − mean) · (inv_std · weight) + bias"""
    hi, lo = in_two(x, mean)
    scale = x.dtype.type(inv_std * weight)
    for i in range(size):
        here = np.uintp(at + i)
        y[here] = ((x[here] - hi) - lo) * scale + bias


@kernel
def in_two(x, mean):
    """mean as the sum of two numbers of the dtype of x; a mean that is not finite has no second part."""
    hi = x.dtype.type(mean)
    lo = x.dtype.type(mean - np.float64(hi))
    return hi, lo if math.isfinite(mean) else x.dtype.type(0)


def batch_norm_train_backward(dy, x, weight, mean, var, eps):
    # forward: y = x̂ · weight + bias, x̂ = (x − mean) · inv_std, where mean and var depend on x too: with m values
    # dL/dx = weight · inv_std · (dy − (Σ dy) / m − x̂ · (Σ dy · x̂) / m): the value's own, through mean, through var
    return _backward(dy, x, weight, mean, var, eps, True)


def batch_norm_relu_backward(dy, y, x, weight, mean, var, eps, wanted):
    # forward: y = relu(batch_norm(x) + residual), so g = dy where the ReLU let something pass, to both of them
    """(dx, dweight, dbias, g), g None unless wanted, to the bit what one operation after the other gives."""
    if x.shape[1] < FEW or x.size == 0:
        g = relu_backward(dy, y)
        return *batch_norm_train_backward(g, x, weight, mean, var, eps), g if wanted else None
    dy, y, x = canonical(dy), canonical(y), canonical(x)
    g = empty_like(x) if wanted else np.empty((1, 1, 0), x.dtype)
    gradients = _by_channels(dy, y, x, weight, mean, var, eps, True, g)
    return *gradients, g if wanted else None


def _by_channels(dy, y, x, weight, mean, var, eps, training, g):
    C = x.shape[1]
    dx, dweight, dbias = empty_like(x), np.empty(C, x.dtype), np.empty(C, x.dtype)
    statistics = mean.astype(np.float64), var.astype(np.float64), _affine(weight, None, C, x.dtype)[0], float(eps)
    launch(_channel_backward, dy, y, x, *statistics, training, g, dx, dweight, dbias)
    return dx, dweight, dbias


def batch_norm_eval_backward(dy, x, weight, mean, var, eps):
    # forward: y = (x − mean) · inv_std · weight + bias, where mean and var are constants
    return _backward(dy, x, weight, mean, var, eps, False)


def _backward(dy, x, weight, mean, var, eps, training):
    if x.shape[2] < SHORT and x.shape[0] > 1 and x.shape[1] < FEW:
        dx, dweight, dbias = _backward(_joined(dy), _joined(x), weight, mean, var, eps, training)
        return _split(dx, x.shape), dweight, dbias
    dy, x = canonical(dy), canonical(x)
    C = x.shape[1]
    if x.size and C >= FEW:
        nothing = np.empty((1, 1, 0), x.dtype)
        return _by_channels(dy, nothing, x, weight, mean, var, eps, training, nothing)
    dx, dweight, dbias = empty_like(x), np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    if x.size:
        mean, var = mean.astype(np.float64), var.astype(np.float64)
        partial = np.empty((C, x.shape[0] * math.ceil(x.shape[2] / PIECE), 2))
        launch(_gradient_sums, dy, x, mean, partial)
        sums = partial.sum(axis=1)
        scales = _affine(weight, None, C, x.dtype)[0], float(eps)
        launch(_input_grad, dy, x, mean, var, *scales, training, sums, dx)
        dbias[:], dweight[:] = sums[:, 0], sums[:, 1] / np.sqrt(var + eps)
    return dx, dweight, dbias


@kernel(parallel=True)
def _channel_backward(dy, y, x, mean, var, weight, eps, training, g, dx, dweight, dbias):
    """y: what a ReLU behind made of it, or empty. g: where to store what the ReLU let pass, or empty."""
    N, C, L = x.shape
    flat_dy, flat_y, flat_x = dy.reshape(-1), y.reshape(-1), x.reshape(-1)
    flat_g, flat_dx = g.reshape(-1), dx.reshape(-1)
    for c in prange(C):
        total, projected = 0.0, 0.0
        inv_std = 1 / math.sqrt(var[c] + eps)
        if L < SHORT and N > 1:
            upstream, values = side_by_side(dy, c), side_by_side(x, c)
            out = np.empty_like(values)
            if y.size:
                pass_on(upstream, side_by_side(y, c), 0, N * L, out, 0)
                upstream, out = out, upstream
                if g.size:
                    put_back(upstream, g, c)
            for start in range(0, N * L, PIECE):
                piece = product_sums(upstream, start, values, start, min(PIECE, N * L - start), mean[c])
                total, projected = total + piece[0], projected + piece[1]
            dbias[c], dweight[c] = total, projected * inv_std
            means = total / (N * L), projected / (N * L)
            piece_grad(upstream, 0, values, 0, N * L, mean[c], inv_std, weight[c], training, means, out)
            put_back(out, dx, c)
            continue
        own = np.empty(PIECE if y.size else 0, x.dtype)
        for n in range(N):
            for start in range(0, L, PIECE):
                at, size = (n * C + c) * L + start, min(PIECE, L - start)
                upstream, first = flat_dy, at
                if y.size:
                    upstream, first = (flat_g, at) if g.size else (own, 0)
                    pass_on(flat_dy, flat_y, at, size, upstream, first)
                piece = product_sums(upstream, first, flat_x, at, size, mean[c])
                total, projected = total + piece[0], projected + piece[1]
        dbias[c], dweight[c] = total, projected * inv_std
        means = total / (N * L), projected / (N * L)
        for n in range(N):
            for start in range(0, L, PIECE):
                at, size = (n * C + c) * L + start, min(PIECE, L - start)
                upstream, first = (flat_g if g.size else flat_dy), at
                if y.size and g.size == 0:
                    pass_on(flat_dy, flat_y, at, size, own, 0)
                    upstream, first = own, 0
                piece_grad(upstream, first, flat_x, at, size, mean[c], inv_std, weight[c], training, means, flat_dx)


@kernel
def pass_on(dy, y, at, size, g, first):
    """A run of g = dy where the ReLU that made y let something pass; g begins at `first`"""
    zero = y.dtype.type(0)
    for i in range(size):
        here = np.uintp(at + i)
        g[np.uintp(first + i)] = zero if y[here] <= zero else dy[here]


@kernel(parallel=True)
def _gradient_sums(dy, x, mean, partial):
    """partial[c, piece] = (Σ dy, Σ dy · (x − mean))"""
    N, C, L = x.shape
    flat_dy, flat_x = dy.reshape(-1), x.reshape(-1)
    pieces = (L + PIECE - 1) // PIECE
    for task in prange(N * C * pieces):
        n, c, piece = task // (C * pieces), task // pieces % C, task % pieces
        at, size = (n * C + c) * L + piece * PIECE, min(PIECE, L - piece * PIECE)
        total, projected = product_sums(flat_dy, at, flat_x, at, size, mean[c])
        partial[c, n * pieces + piece, 0] = total
        partial[c, n * pieces + piece, 1] = projected


@kernel(parallel=True)
def _input_grad(dy, x, mean, var, weight, eps, training, sums, dx):
    N, C, L = x.shape
    flat_dy, flat_x, flat_dx = dy.reshape(-1), x.reshape(-1), dx.reshape(-1)
    pieces = (L + PIECE - 1) // PIECE
    for task in prange(N * C * pieces):
        plane, start = task // pieces, task % pieces * PIECE
        c, at, size = plane % C, plane * L + start, min(PIECE, L - start)
        inv_std = 1 / math.sqrt(var[c] + eps)
        means = sums[c, 0] / (N * L), sums[c, 1] / (N * L)
        piece_grad(flat_dy, at, flat_x, at, size, mean[c], inv_std, weight[c], training, means, flat_dx)


@kernel(fast=True)
def product_sums(dy, first, x, at, size, mean):
    """Σ dy and Σ dy · (x − mean) of a run; dy begins at `first`"""
    hi, lo = in_two(x, mean)
    total, projected = 0.0, 0.0
    for start in range(0, size, RUN):
        part, part_projected = x.dtype.type(0), x.dtype.type(0)
        for i in range(start, min(size, start + RUN)):
            upstream = dy[np.uintp(first + i)]
            part += upstream
            part_projected += upstream * minus(minus(x[np.uintp(at + i)], hi), lo)
        total, projected = total + np.float64(part), projected + np.float64(part_projected)
    return total, projected


@kernel
def piece_grad(dy, first, x, at, size, mean, inv_std, weight, training, means, dx):
    """dx = weight · inv_std · (dy − means[0] − (x − mean) · inv_std² · means[1]), the means 0 unless training.

    A run of it; dy begins at `first`.
    """
    hi, lo = in_two(x, mean)
    scale = x.dtype.type(inv_std * weight)
    if training:
        through_mean, through_var = x.dtype.type(means[0]), x.dtype.type(means[1] * inv_std * inv_std)
        for i in range(size):
            here = np.uintp(at + i)
            dx[here] = scale * (dy[np.uintp(first + i)] - through_mean - ((x[here] - hi) - lo) * through_var)
    else:
        for i in range(size):
            dx[np.uintp(at + i)] = scale * dy[np.uintp(first + i)]


# ---- arrays as the kernels want them ----


def _affine(weight, bias, channels, dtype):
    """weight and bias, or what stands for one that was left out."""
    weight = np.ones(channels, dtype) if weight is None else canonical(weight)
    return weight, np.zeros(channels, dtype) if bias is None else canonical(bias)


def _joined(x):
    """(N, C, L) as (1, C, N · L), a copy: the short planes of each channel side by side."""
    return np.ascontiguousarray(x.transpose(1, 0, 2)).reshape(1, x.shape[1], x.shape[0] * x.shape[2])


def _split(y, shape):
    """The other way, to an array of `shape` (N, C, L)."""
    N, C, L = shape
    return np.ascontiguousarray(y.reshape(C, N, L).transpose(1, 0, 2))
