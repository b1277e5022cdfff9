"""Batch normalisation of x (N, C, L), over N and L (Ioffe & Szegedy 2015). See the reference for the formulas.

A task takes one channel: its statistics first, then y, while its values are still in the cache. A batch of few channels
is cut across the planes as well, in two passes. Statistics are those of pieces of a plane, in the dtype of x, merged
in float64 in a fixed order. A mean is carried as two numbers, hi + lo, so that x − mean keeps its digits
when the mean is large: x − hi is exact there, and only lo is rounded.
"""

import math

import numpy as np
from numba import prange

from .arrays import canonical
from .cache import kernel
from .memory import empty_like
from .threads import launch

PIECE = 4096  # values of a plane that are summed at a time: they stay in L1 for the second look
SHORT = 128  # planes below this length are put side by side first, so that a loop has something to run over
TINY = 32  # the same where there are no sums
FEW = 8  # fewer channels than this are cut across the planes


def batch_norm_train_forward(x, weight, bias, eps):
    """y, and the mean and biased variance of the batch, (C,), in float64. Of no values they are NaN."""
    if x.shape[2] < SHORT and x.shape[0] > 1 and x.shape[1] < FEW:
        y, mean, var = batch_norm_train_forward(_joined(x), weight, bias, eps)
        return _split(y, x.shape), mean, var
    x = canonical(x)
    C = x.shape[1]
    y, mean, var = empty_like(x), np.full(C, np.nan), np.full(C, np.nan)
    if x.size and C >= FEW:
        launch(_train_forward, x, *_affine(weight, bias, C, x.dtype), float(eps), y, mean, var)
    elif x.size:
        partial = np.empty((C, x.shape[0] * math.ceil(x.shape[2] / PIECE), 3))
        launch(_statistics, x, partial)
        merge(partial, mean, var)
        launch(_normalise, x, mean, var, *_affine(weight, bias, C, x.dtype), float(eps), y)
    return y, mean, var


@kernel(parallel=True)
def _train_forward(x, weight, bias, eps, y, mean, var):
    N, C, L = x.shape
    for c in prange(C):
        count, channel_mean, m2 = 0.0, 0.0, 0.0
        if L < SHORT and N > 1:
            values = side_by_side(x, c)
            for start in range(0, N * L, PIECE):
                size, piece_mean, piece_m2 = moments(values[start : start + PIECE])
                count, channel_mean, m2 = merged(count, channel_mean, m2, size, piece_mean, piece_m2)
            mean[c], var[c] = channel_mean, m2 / count
            out = np.empty_like(values)  # not in place: a loop over vectors wants arrays that do not overlap
            affine(values, mean[c], 1 / math.sqrt(var[c] + eps), weight[c], bias[c], out)
            put_back(out, y, c)
            continue
        for n in range(N):
            for start in range(0, L, PIECE):
                values, piece_mean, piece_m2 = moments(x[n, c, start : start + PIECE])
                count, channel_mean, m2 = merged(count, channel_mean, m2, values, piece_mean, piece_m2)
        mean[c], var[c] = channel_mean, m2 / count
        for n in range(N):
            affine(x[n, c], mean[c], 1 / math.sqrt(var[c] + eps), weight[c], bias[c], y[n, c])


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
    pieces = (L + PIECE - 1) // PIECE
    for task in prange(N * C * pieces):
        n, c, piece = task // (C * pieces), task // pieces % C, task % pieces
        start = piece * PIECE
        count, mean, m2 = moments(x[n, c, start : start + PIECE])
        partial[c, n * pieces + piece, 0] = count
        partial[c, n * pieces + piece, 1] = mean
        partial[c, n * pieces + piece, 2] = m2


@kernel
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
def moments(x):
    """(count, mean, Σ (x − mean)²) of a piece: a first mean, then the sums of the differences to it."""
    count = np.float64(x.size)
    first, _ = difference_sums(x, x[0])
    near = x.dtype.type(np.float64(x[0]) + first / count)
    rest, squares = difference_sums(x, near)
    return count, np.float64(near) + rest / count, squares - rest * (rest / count)


@kernel(fast=True)
def difference_sums(x, shift):
    """Σ (x − shift) and Σ (x − shift)²"""
    total, squares = x.dtype.type(0), x.dtype.type(0)
    for i in range(x.size):
        d = minus(x[i], shift)
        total += d
        squares += d * d
    return np.float64(total), np.float64(squares)


@kernel
def minus(a, b):
    """a − b, rounded once: compiled without `reassoc`, so that a loop of sums does not take it apart."""
    return a - b


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
    pieces = (L + PIECE - 1) // PIECE
    for task in prange(N * C * pieces):
        n, c, start = task // (C * pieces), task // pieces % C, task % pieces * PIECE
        inv_std = 1 / math.sqrt(var[c] + eps)
        piece, out = x[n, c, start : start + PIECE], y[n, c, start : start + PIECE]
        affine(piece, mean[c], inv_std, weight[c], bias[c], out)


@kernel
def affine(x, mean, inv_std, weight, bias, y):
    """y = (x − mean) · (inv_std · weight) + bias"""
    hi, lo = in_two(x, mean)
    scale = x.dtype.type(inv_std * weight)
    for i in range(x.size):
        y[i] = ((x[i] - hi) - lo) * scale + bias


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


def batch_norm_eval_backward(dy, x, weight, mean, var, eps):
    # forward: y = (x − mean) · inv_std · weight + bias, where mean and var are constants
    return _backward(dy, x, weight, mean, var, eps, False)


def _backward(dy, x, weight, mean, var, eps, training):
    if x.shape[2] < SHORT and x.shape[0] > 1 and x.shape[1] < FEW:
        dx, dweight, dbias = _backward(_joined(dy), _joined(x), weight, mean, var, eps, training)
        return _split(dx, x.shape), dweight, dbias
    dy, x = canonical(dy), canonical(x)
    C = x.shape[1]
    dx, dweight, dbias = empty_like(x), np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    statistics = mean.astype(np.float64), var.astype(np.float64), _affine(weight, None, C, x.dtype)[0], float(eps)
    if x.size and C >= FEW:
        launch(_channel_backward, dy, x, *statistics, training, dx, dweight, dbias)
    elif x.size:
        partial = np.empty((C, x.shape[0] * math.ceil(x.shape[2] / PIECE), 2))
        launch(_gradient_sums, dy, x, statistics[0], partial)
        sums = partial.sum(axis=1)
        launch(_input_grad, dy, x, *statistics, training, sums, dx)
        dbias[:], dweight[:] = sums[:, 0], sums[:, 1] / np.sqrt(statistics[1] + eps)
    return dx, dweight, dbias


@kernel(parallel=True)
def _channel_backward(dy, x, mean, var, weight, eps, training, dx, dweight, dbias):
    N, C, L = x.shape
    for c in prange(C):
        total, projected = 0.0, 0.0
        inv_std = 1 / math.sqrt(var[c] + eps)
        if L < SHORT and N > 1:
            upstream, values = side_by_side(dy, c), side_by_side(x, c)
            for start in range(0, N * L, PIECE):
                stop = start + PIECE
                piece_total, piece_projected = product_sums(upstream[start:stop], values[start:stop], mean[c])
                total += piece_total
                projected += piece_projected
            dbias[c], dweight[c] = total, projected * inv_std
            means = total / (N * L), projected / (N * L)
            out = np.empty_like(values)
            piece_grad(upstream, values, mean[c], inv_std, weight[c], training, means, out)
            put_back(out, dx, c)
            continue
        for n in range(N):
            for start in range(0, L, PIECE):
                stop = start + PIECE
                piece_total, piece_projected = product_sums(dy[n, c, start:stop], x[n, c, start:stop], mean[c])
                total += piece_total
                projected += piece_projected
        dbias[c], dweight[c] = total, projected * inv_std
        means = total / (N * L), projected / (N * L)
        for n in range(N):
            piece_grad(dy[n, c], x[n, c], mean[c], inv_std, weight[c], training, means, dx[n, c])


@kernel(parallel=True)
def _gradient_sums(dy, x, mean, partial):
    """partial[c, piece] = (Σ dy, Σ dy · (x − mean))"""
    N, C, L = x.shape
    pieces = (L + PIECE - 1) // PIECE
    for task in prange(N * C * pieces):
        n, c, piece = task // (C * pieces), task // pieces % C, task % pieces
        start = piece * PIECE
        total, projected = product_sums(dy[n, c, start : start + PIECE], x[n, c, start : start + PIECE], mean[c])
        partial[c, n * pieces + piece, 0] = total
        partial[c, n * pieces + piece, 1] = projected


@kernel(parallel=True)
def _input_grad(dy, x, mean, var, weight, eps, training, sums, dx):
    N, C, L = x.shape
    pieces = (L + PIECE - 1) // PIECE
    for task in prange(N * C * pieces):
        n, c, start = task // (C * pieces), task // pieces % C, task % pieces * PIECE
        stop = start + PIECE
        inv_std = 1 / math.sqrt(var[c] + eps)
        means = sums[c, 0] / (N * L), sums[c, 1] / (N * L)
        pieces_here = dy[n, c, start:stop], x[n, c, start:stop]
        piece_grad(*pieces_here, mean[c], inv_std, weight[c], training, means, dx[n, c, start:stop])


@kernel(fast=True)
def product_sums(dy, x, mean):
    """Σ dy and Σ dy · (x − mean)"""
    hi, lo = in_two(x, mean)
    total, projected = x.dtype.type(0), x.dtype.type(0)
    for i in range(x.size):
        total += dy[i]
        projected += dy[i] * minus(minus(x[i], hi), lo)
    return np.float64(total), np.float64(projected)


@kernel
def piece_grad(dy, x, mean, inv_std, weight, training, means, dx):
    """dx = weight · inv_std · (dy − means[0] − (x − mean) · inv_std² · means[1]), the means 0 unless training"""
    hi, lo = in_two(x, mean)
    scale = x.dtype.type(inv_std * weight)
    if training:
        through_mean, through_var = x.dtype.type(means[0]), x.dtype.type(means[1] * inv_std * inv_std)
        for i in range(x.size):
            dx[i] = scale * (dy[i] - through_mean - ((x[i] - hi) - lo) * through_var)
    else:
        for i in range(x.size):
            dx[i] = scale * dy[i]


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
