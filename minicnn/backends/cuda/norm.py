"""Batch normalisation of x (N, C, L). See the reference for the formulas.

Bound by memory: forward reads x twice and writes y, backward reads dy and x twice and writes dx. A warp takes a piece
of up to 1024 values of one channel of one image. Sums are float64; a block sums a part of a channel whose size depends
on the shape alone, and the parts are added in order: no atomics.

Mean and variance take one pass, as sums of x − p and (x − p)² with p a value of the channel. (mean − p)² is at most
N·L times the variance, so that unlike with E[x²] − E[x]² a large mean costs no digits (Chan, Golub & LeVeque 1983).
"""

import math

import numpy as np
from numba import cuda

from .activation import relu_backward, relu_forward
from .arrays import BLOCK, VECTOR, blocks, flat, xp
from .elementwise import add_forward
from .launch import SIMULATED, WARP, device, kernel, launch
from .reduce import WARPS, block_sum, warp_sum
from .vector import load4, store4

PIECE = 1024  # values that a warp takes at once
SUM_BLOCKS = 4 if SIMULATED else 1024  # blocks that sum, about: several for each multiprocessor


def batch_norm_train_forward(x, weight, bias, eps):
    """y, and the mean and biased variance of the batch, (C,), in float64. Of no values they are NaN."""
    N, C, L = x.shape
    if x.size == 0:
        return xp.empty(x.shape, x.dtype), xp.full(C, math.nan), xp.full(C, math.nan)
    values = flat(x)
    parts, per_part, pieces = _parts(N, C, L)
    partial, mean, var = xp.empty((2, C, parts), np.float64), xp.empty(C, np.float64), xp.empty(C, np.float64)
    launch(_moments, C * parts, BLOCK, values, partial, (N, C, L), pieces, parts, per_part)
    launch(_mean_and_var, blocks(C, WARPS), BLOCK, values, partial, mean, var, (N, C, L), parts)
    return _normalised(values, (N, C, L), mean, var, weight, bias, eps), mean, var


def batch_norm_train_backward(dy, x, weight, mean, var, eps):
    # forward: y = x̂ · weight + bias, x̂ = (x − mean) / √(var + eps), where mean and var depend on x too
    return _backward(dy, x, weight, mean, var, eps, training=1)


def batch_norm_relu_forward(x, residual, weight, bias, eps):
    """relu(y + residual), mean and var; residual may be None. One operation after the other, as in the reference."""
    y, mean, var = batch_norm_train_forward(x, weight, bias, eps)
    return relu_forward(y if residual is None else add_forward(y, residual)), mean, var


def batch_norm_relu_backward(dy, y, x, weight, mean, var, eps, wanted):
    # forward: y = relu(batch_norm(x) + residual), so g = dy where the ReLU let something pass, to both of them
    g = relu_backward(dy, y)
    return *batch_norm_train_backward(g, x, weight, mean, var, eps), g if wanted else None


def batch_norm_eval_forward(x, mean, var, weight, bias, eps):
    """y with the given statistics."""
    return _normalised(flat(x), x.shape, flat(mean), flat(var), weight, bias, eps)


def batch_norm_eval_backward(dy, x, weight, mean, var, eps):
    # forward: y = (x − mean) / √(var + eps) · weight + bias, where mean and var are constants
    return _backward(dy, x, weight, flat(mean), flat(var), eps, training=0)


def _normalised(x, shape, mean, var, weight, bias, eps):
    y = xp.empty(shape, x.dtype)
    launch(
        _affine, _rows_grid(shape), BLOCK, x, mean, var, _or(weight, x), _or(bias, x), y.reshape(-1), shape,
        blocks(shape[2], PIECE), float(eps), int(weight is not None), int(bias is not None),
    )  # fmt: skip
    return y


def _backward(dy, x, weight, mean, var, eps, training):
    N, C, L = shape = x.shape
    dx, dweight, dbias = xp.empty(shape, x.dtype), xp.zeros(C, x.dtype), xp.zeros(C, x.dtype)
    if x.size == 0:
        return dx, dweight, dbias
    dy, x = flat(dy), flat(x)
    parts, per_part, pieces = _parts(N, C, L)
    partial, sums = xp.empty((2, C, parts), np.float64), xp.empty((2, C), np.float64)
    launch(_grad_sums, C * parts, BLOCK, dy, x, mean, var, partial, shape, pieces, parts, per_part, float(eps))
    launch(_add_parts, blocks(C, WARPS), BLOCK, partial, sums, dweight, dbias, C, parts)
    launch(
        _input_grad, _rows_grid(shape), BLOCK, dy, x, mean, var, _or(weight, x), sums, dx.reshape(-1), shape,
        pieces, float(eps), int(weight is not None), training,
    )  # fmt: skip
    return dx, dweight, dbias


def _parts(N, C, L):
    """How a channel is cut for its sums: (parts, pieces a part, pieces of one image)."""
    pieces = blocks(L, PIECE)
    parts = max(1, min(blocks(N * pieces, WARPS), blocks(SUM_BLOCKS, C)))
    return parts, blocks(N * pieces, parts), pieces


def _rows_grid(shape):
    """Blocks for one warp a piece of all the images and channels."""
    N, C, L = shape
    return blocks(N * C * blocks(L, PIECE), WARPS)


def _or(array, other):
    """An array for the kernel where there is none."""
    return other if array is None else flat(array)


@device
def _pivot(x, c, L):
    """A value of the channel, 0 where it is not finite."""
    p = np.float64(x[c * L])
    return p if p - p == 0 else np.float64(0)


@kernel(threads=BLOCK)
def _moments(x, partial, shape, pieces, parts, per_part):
    """partial[:, c, part] = Σ (x − p), Σ (x − p)²"""
    N, C, L = shape
    c, part = cuda.blockIdx.x // parts, cuda.blockIdx.x % parts
    warp, lane = cuda.threadIdx.x // WARP, cuda.threadIdx.x % WARP
    p = _pivot(x, c, L)
    s, q = np.float64(0), np.float64(0)
    for piece in range(part * per_part + warp, min((part + 1) * per_part, N * pieces), WARPS):
        n, begin = piece // pieces, piece % pieces * PIECE
        end, base = min(L, begin + PIECE), (n * C + c) * L
        if L % VECTOR == 0:
            for i in range(begin + VECTOR * lane, end, VECTOR * WARP):
                v0, v1, v2, v3 = load4(x, base + i)
                d0, d1 = np.float64(v0) - p, np.float64(v1) - p
                d2, d3 = np.float64(v2) - p, np.float64(v3) - p
                s += (d0 + d1) + (d2 + d3)
                q += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
        else:
            for i in range(begin + lane, end, WARP):
                d = np.float64(x[base + i]) - p
                s += d
                q += d * d
    s, q = block_sum(s), block_sum(q)
    if cuda.threadIdx.x == 0:
        partial[0, c, part] = s
        partial[1, c, part] = q


@kernel
def _mean_and_var(x, partial, mean, var, shape, parts):
    """A warp a channel adds its parts."""
    N, C, L = shape
    c, lane = cuda.grid(1) // WARP, cuda.threadIdx.x % WARP
    s, q = np.float64(0), np.float64(0)
    if c < C:
        for part in range(lane, parts, WARP):
            s += partial[0, c, part]
            q += partial[1, c, part]
    s, q = warp_sum(s), warp_sum(q)
    if c < C and lane == 0:
        values = np.float64(N * L)
        mean[c] = _pivot(x, c, L) + s / values
        variance = (q - s * s / values) / values
        var[c] = np.float64(0) if variance < 0 else variance  # rounding may leave it just below 0


@device
def _shift_and_scale(mean, var, weight, c, eps, has_weight):
    """mean and weight / √(var + eps), in float64."""
    scale = np.float64(1) / math.sqrt(np.float64(var[c]) + eps)
    return np.float64(mean[c]), scale * np.float64(weight[c]) if has_weight else scale


@kernel(threads=BLOCK)
def _affine(x, mean, var, weight, bias, y, shape, pieces, eps, has_weight, has_bias):
    """y = (x − mean) · scale + bias, a warp a piece."""
    N, C, L = shape
    piece, lane = cuda.grid(1) // WARP, cuda.threadIdx.x % WARP
    row, begin = piece // pieces, piece % pieces * PIECE
    if row < N * C:
        c, base, end = row % C, row * L, min(L, begin + PIECE)
        m, scale = _shift_and_scale(mean, var, weight, c, eps, has_weight)
        b = np.float64(bias[c]) if has_bias else np.float64(0)
        as_y = y.dtype.type
        if L % VECTOR == 0:
            for i in range(begin + VECTOR * lane, end, VECTOR * WARP):
                v0, v1, v2, v3 = load4(x, base + i)
                store4(
                    y, base + i, as_y((np.float64(v0) - m) * scale + b), as_y((np.float64(v1) - m) * scale + b),
                    as_y((np.float64(v2) - m) * scale + b), as_y((np.float64(v3) - m) * scale + b),
                )  # fmt: skip
        else:
            for i in range(begin + lane, end, WARP):
                y[base + i] = as_y((np.float64(x[base + i]) - m) * scale + b)


@kernel(threads=BLOCK)
def _grad_sums(dy, x, mean, var, partial, shape, pieces, parts, per_part, eps):
    """partial[:, c, part] = Σ dy · x̂, Σ dy"""
    N, C, L = shape
    c, part = cuda.blockIdx.x // parts, cuda.blockIdx.x % parts
    warp, lane = cuda.threadIdx.x // WARP, cuda.threadIdx.x % WARP
    m, scale = _shift_and_scale(mean, var, mean, c, eps, 0)
    s, t = np.float64(0), np.float64(0)
    for piece in range(part * per_part + warp, min((part + 1) * per_part, N * pieces), WARPS):
        n, begin = piece // pieces, piece % pieces * PIECE
        end, base = min(L, begin + PIECE), (n * C + c) * L
        if L % VECTOR == 0:
            for i in range(begin + VECTOR * lane, end, VECTOR * WARP):
                v0, v1, v2, v3 = load4(x, base + i)
                g0, g1, g2, g3 = load4(dy, base + i)
                s += np.float64(g0) * (np.float64(v0) - m) + np.float64(g1) * (np.float64(v1) - m)
                s += np.float64(g2) * (np.float64(v2) - m) + np.float64(g3) * (np.float64(v3) - m)
                t += (np.float64(g0) + np.float64(g1)) + (np.float64(g2) + np.float64(g3))
        else:
            for i in range(begin + lane, end, WARP):
                g = np.float64(dy[base + i])
                s += g * (np.float64(x[base + i]) - m)
                t += g
    s, t = block_sum(s), block_sum(t)
    if cuda.threadIdx.x == 0:
        partial[0, c, part] = s * scale
        partial[1, c, part] = t


@kernel
def _add_parts(partial, sums, dweight, dbias, C, parts):
    """sums[:, c] = the sums over the parts, a warp a channel; dweight and dbias the same in their dtype."""
    c, lane = cuda.grid(1) // WARP, cuda.threadIdx.x % WARP
    s, t = np.float64(0), np.float64(0)
    if c < C:
        for part in range(lane, parts, WARP):
            s += partial[0, c, part]
            t += partial[1, c, part]
    s, t = warp_sum(s), warp_sum(t)
    if c < C and lane == 0:
        sums[0, c], sums[1, c] = s, t
        dweight[c], dbias[c] = s, t


@device
def _dx(dy, x, m, inv_std, through_var, through_mean, scale):
    """scale · (dy − x̂ · Σ dy x̂ / values − Σ dy / values)"""
    x_hat = (np.float64(x) - m) * inv_std
    return scale * (np.float64(dy) - x_hat * through_var - through_mean)


@kernel(threads=BLOCK)
def _input_grad(dy, x, mean, var, weight, sums, dx, shape, pieces, eps, has_weight, training):
    N, C, L = shape
    piece, lane = cuda.grid(1) // WARP, cuda.threadIdx.x % WARP
    row, begin = piece // pieces, piece % pieces * PIECE
    if row < N * C:
        c, base, end = row % C, row * L, min(L, begin + PIECE)
        m, inv_std = _shift_and_scale(mean, var, weight, c, eps, 0)
        scale = inv_std * np.float64(weight[c]) if has_weight else inv_std
        values = np.float64(N * L)
        by_var = sums[0, c] / values if training else np.float64(0)
        by_mean = sums[1, c] / values if training else np.float64(0)
        x_hat_scale = inv_std if training else np.float64(0)
        as_dx = dx.dtype.type
        if L % VECTOR == 0:
            for i in range(begin + VECTOR * lane, end, VECTOR * WARP):
                v0, v1, v2, v3 = load4(x, base + i)
                g0, g1, g2, g3 = load4(dy, base + i)
                store4(
                    dx, base + i, as_dx(_dx(g0, v0, m, x_hat_scale, by_var, by_mean, scale)),
                    as_dx(_dx(g1, v1, m, x_hat_scale, by_var, by_mean, scale)),
                    as_dx(_dx(g2, v2, m, x_hat_scale, by_var, by_mean, scale)),
                    as_dx(_dx(g3, v3, m, x_hat_scale, by_var, by_mean, scale)),
                )  # fmt: skip
        else:
            for i in range(begin + lane, end, WARP):
                dx[base + i] = as_dx(_dx(dy[base + i], x[base + i], m, x_hat_scale, by_var, by_mean, scale))
