"""Losses, one value a position. Logits are (N, C, L), class indices (N, L), class probabilities (N, C, L).

See the reference for the formulas. Rows are taken as in softmax.py, C being the axis: a warp a row for (N, C) logits,
a thread for images of them. Sums are float64.
"""

import numpy as np
from numba import cuda

from .arrays import BLOCK, VECTOR, blocks, flat, on_device, xp
from .elementary import exp, log, log1p, sigmoid
from .launch import device, kernel, launch
from .maps import apply, binary
from .softmax import lanes_of, row_max_and_sum, row_of, row_sum


def cross_entropy_forward(logits, target, weight, ignore_index, label_smoothing):
    """loss_n = −Σ_c weight[c] · q[n, c] · log softmax(logits)[n, c], and what each position adds to the divisor."""
    N, _, L = logits.shape
    losses, weights = xp.empty((N, L), logits.dtype), xp.empty((N, L), logits.dtype)
    row_kernel = _probability_loss if target.ndim == 3 else _index_loss
    outputs = losses.reshape(-1), weights.reshape(-1)
    _run(row_kernel, logits, target, weight, ignore_index, label_smoothing, *outputs)
    return losses, weights


def cross_entropy_backward(scale, logits, target, weight, ignore_index, label_smoothing):
    # forward: loss_n = −Σ_c wq[n, c] · log p[n, c], so dL/dlogit_j = dL/dloss_n · (p_j · Σ_c wq[n, c] − wq[n, j])
    dlogits = xp.empty(logits.shape, logits.dtype)
    row_kernel = _probability_grad if target.ndim == 3 else _index_grad
    _run(row_kernel, logits, target, weight, ignore_index, label_smoothing, flat(scale), dlogits.reshape(-1))
    return dlogits


def nll_loss_forward(log_probs, target, weight, ignore_index):
    """loss_n = −weight[target_n] · log_probs[n, target_n], 0 where the target is ignored."""
    N, C, L = log_probs.shape
    losses, weights = xp.empty((N, L), log_probs.dtype), xp.empty((N, L), log_probs.dtype)
    has_weight = int(weight is not None)
    launch(
        _nll_loss, blocks(losses.size, BLOCK), BLOCK, flat(log_probs), _targets(target), _or(weight, log_probs),
        losses.reshape(-1), weights.reshape(-1), (N, C, L), ignore_index, has_weight,
    )  # fmt: skip
    return losses, weights


def nll_loss_backward(scale, x_shape, target, weight, ignore_index):
    # forward: loss_n = −weight[t] · x[n, t]: only the entry of the target class has a gradient
    dx = xp.empty(x_shape, scale.dtype)
    has_weight = int(weight is not None)
    launch(
        _nll_grad, blocks(dx.size, BLOCK), BLOCK, flat(scale), _targets(target), _or(weight, scale), dx.reshape(-1),
        tuple(x_shape), ignore_index, has_weight,
    )  # fmt: skip
    return dx


def mse_loss_forward(x, target):
    """loss = (x − target)²"""
    return apply(_squared, x, target)


def mse_loss_backward(scale, x, target):
    # forward: loss = (x − target)²; scale is one number or of the shape of x
    return _scaled(_squared_grad, scale, x, target)


def bce_with_logits_forward(x, target):
    """loss = −t · log σ(x) − (1 − t) · log(1 − σ(x)) = (1 − t) · x + log(1 + exp(−x)) for x ≥ 0, …"""
    return apply(_bce, x, target)


def bce_with_logits_backward(scale, x, target):
    # forward: loss = −t · log σ(x) − (1 − t) · log(1 − σ(x)), so dloss/dx = σ(x) − t
    return _scaled(_bce_grad, scale, x, target)


def _run(row_kernel, logits, target, weight, ignore_index, label_smoothing, *outputs):
    N, C, L = logits.shape
    lanes = lanes_of(L)
    launch(
        row_kernel, blocks(N * L * lanes, BLOCK), BLOCK, flat(logits), _targets(target), _or(weight, logits),
        int(weight is not None), ignore_index, float(label_smoothing), *outputs, N, C, L, lanes,
    )  # fmt: skip


def _targets(target):
    return flat(on_device(target))


def _or(array, other):
    """An array for the kernel where there is none."""
    return flat(other if array is None else array)


@device
def _class_weight(weight, has_weight, c):
    return np.float64(weight[c]) if has_weight else np.float64(1)


# ---- class indices ----


@kernel
def _index_loss(x, target, weight, has_weight, ignore_index, smoothing, losses, weights, N, C, L, lanes):
    row, lane, start = row_of(C, L, lanes)
    own = lane if row < N * L else C  # a thread without a row still takes part in the shuffles
    m, total = row_max_and_sum(x, start, C, L, own, lanes)
    log_total = log(total)
    uniform = np.float64(0)
    if smoothing > 0:
        for c in range(own, C, lanes):
            log_p = np.float64(x[start + c * L] - m) - log_total
            uniform -= _class_weight(weight, has_weight, c) * log_p
        uniform = row_sum(uniform, lanes) / C
    if own == 0:
        t = target[row]
        if t == ignore_index:
            losses[row], weights[row] = 0, 0
        else:
            w = _class_weight(weight, has_weight, t)
            loss = -w * (np.float64(x[start + t * L] - m) - log_total)
            losses[row] = (1 - smoothing) * loss + smoothing * uniform if smoothing > 0 else loss
            weights[row] = w


@kernel
def _index_grad(x, target, weight, has_weight, ignore_index, smoothing, scale, dx, N, C, L, lanes):
    row, lane, start = row_of(C, L, lanes)
    own = lane if row < N * L else C
    m, total = row_max_and_sum(x, start, C, L, own, lanes)
    weight_sum = np.float64(C)
    if smoothing > 0 and has_weight:
        weight_sum = np.float64(0)
        for c in range(own, C, lanes):
            weight_sum += np.float64(weight[c])
        weight_sum = row_sum(weight_sum, lanes)
    if own < C:
        t, upstream = target[row], np.float64(scale[row])
        ignored = t == ignore_index
        share = smoothing / C
        wq_sum = np.float64(0)
        if not ignored:
            wq_sum = (1 - smoothing) * _class_weight(weight, has_weight, t) + share * weight_sum
        for c in range(own, C, lanes):
            i = start + c * L
            if ignored:
                dx[i] = 0
            else:
                q = (1 - smoothing) * (1 if c == t else 0) + share
                p = np.float64(exp(x[i] - m)) / total
                dx[i] = upstream * (p * wq_sum - _class_weight(weight, has_weight, c) * q)


# ---- class probabilities ----


@kernel
def _probability_loss(x, target, weight, has_weight, ignore_index, smoothing, losses, weights, N, C, L, lanes):
    row, lane, start = row_of(C, L, lanes)
    own = lane if row < N * L else C
    m, total = row_max_and_sum(x, start, C, L, own, lanes)
    log_total = log(total)
    loss = np.float64(0)
    for c in range(own, C, lanes):
        i = start + c * L
        q = (1 - smoothing) * np.float64(target[i]) + smoothing / C
        loss -= _class_weight(weight, has_weight, c) * q * (np.float64(x[i] - m) - log_total)
    loss = row_sum(loss, lanes)
    if own == 0:
        losses[row], weights[row] = loss, 1


@kernel
def _probability_grad(x, target, weight, has_weight, ignore_index, smoothing, scale, dx, N, C, L, lanes):
    row, lane, start = row_of(C, L, lanes)
    own = lane if row < N * L else C
    m, total = row_max_and_sum(x, start, C, L, own, lanes)
    wq_sum = np.float64(0)
    for c in range(own, C, lanes):
        q = (1 - smoothing) * np.float64(target[start + c * L]) + smoothing / C
        wq_sum += _class_weight(weight, has_weight, c) * q
    wq_sum = row_sum(wq_sum, lanes)
    for c in range(own, C, lanes):
        i = start + c * L
        q = (1 - smoothing) * np.float64(target[i]) + smoothing / C
        p = np.float64(exp(x[i] - m)) / total
        dx[i] = np.float64(scale[row]) * (p * wq_sum - _class_weight(weight, has_weight, c) * q)


# ---- negative log-likelihood: a thread a position, and a thread an entry of the gradient ----


@kernel
def _nll_loss(x, target, weight, losses, weights, shape, ignore_index, has_weight):
    N, C, L = shape
    row = cuda.grid(1)
    if row < N * L:
        t = target[row]
        if t == ignore_index:
            losses[row], weights[row] = 0, 0
        else:
            w = weight[t] if has_weight else x.dtype.type(1)
            losses[row] = -w * x[(row // L * C + t) * L + row % L]
            weights[row] = w


@kernel
def _nll_grad(scale, target, weight, dx, shape, ignore_index, has_weight):
    N, C, L = shape
    i = cuda.grid(1)
    if i < N * C * L:
        c, row = i // L % C, i // (C * L) * L + i % L
        zero = dx.dtype.type(0)
        if target[row] == c and c != ignore_index:
            dx[i] = -scale[row] * weight[c] if has_weight else -scale[row]
        else:
            dx[i] = zero


# ---- between two arrays of one shape ----


def _scaled(function_kernel, scale, x, target):
    """A new array of scale · function(x, target), scale one number (a 0-d array) or an array like x."""
    scale, dx = flat(on_device(scale, x.dtype)), xp.empty(x.shape, x.dtype)
    launch(
        function_kernel, blocks(dx.size, VECTOR * BLOCK), BLOCK, scale, flat(x), flat(target), dx.reshape(-1),
        int(scale.size > 1 or x.size == 1),
    )  # fmt: skip
    return dx


def _gradient(function):
    """The kernel dx[i] = scale[i or 0] · function(x[i], target[i]); neighbouring threads take neighbouring elements."""
    f = device(function)

    @kernel
    def scaled(scale, x, target, dx, one_each):
        first = cuda.blockIdx.x * cuda.blockDim.x * VECTOR + cuda.threadIdx.x
        for k in range(VECTOR):
            i = first + k * cuda.blockDim.x
            if i < dx.size:
                dx[i] = scale[i if one_each else 0] * f(x[i], target[i])

    return scaled


@binary
def _squared(x, target, _):
    return (x - target) * (x - target)


@_gradient
def _squared_grad(x, target):
    return type(x)(2) * (x - target)


@binary
def _bce(x, target, _):
    linear = (type(x)(1) - target) * x if x >= 0 else -target * x
    return linear + log1p(exp(-abs(x)))


@_gradient
def _bce_grad(x, target):
    return sigmoid(x) - target
