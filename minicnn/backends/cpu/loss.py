"""Losses, one value a position. See the reference for the formulas, softmax.py for the tiles.

A cross-entropy target is class indices or probabilities; the kernels get both, the one that is not given empty. Logits
(N, C) are worked on row by row, with loops over the classes: to gather tiles from rows took twice as long
(32 rows of 1000 classes: 61 µs, now 25).
"""

import math
from functools import lru_cache, partial

import numpy as np
from numba import prange

from .arrays import canonical, part, parts
from .cache import kernel
from .elementary import exp, log1p, sigmoid
from .memory import empty, empty_like
from .softmax import TILE, VALUES, exponentials, gather, row_exponentials, row_sum, scatter, tile_at, tiles
from .threads import launch


def cross_entropy_forward(logits, target, weight, ignore_index, label_smoothing):
    """loss_n = −Σ_c weight[c] · q[n, c] · log p[n, c], q = (1 − ε) · target + ε / C; and what counts in the mean."""
    N, C, L = logits.shape
    losses, weights = np.empty((2, N, L), logits.dtype)
    launch(
        _cross_entropy_rows_forward if L == 1 else _cross_entropy_forward,
        canonical(logits).ravel(), *_targets(target, logits.dtype),
        _class_weights(weight, C, logits.dtype), ignore_index, float(label_smoothing), N, C, L,
        losses.ravel(), weights.ravel(),
    )  # fmt: skip
    return losses, weights


@kernel(parallel=True)
def _cross_entropy_forward(logits, index, q, weight, ignore_index, smoothing, outer, C, inner, losses, weights):
    for task in prange(tiles(outer, inner)):
        position, first, count = tile_at(task, C, inner)
        tile, total = np.empty((C, TILE), logits.dtype), np.empty(TILE)
        gather(logits, first, count, inner, tile)
        exponentials(tile, count, total, False)
        for p in range(count):
            total[p] = math.log(total[p])  # log p[c] is tile[c] − total from here on
        spread = np.zeros(TILE)  # Σ_c weight[c] · q[c] · log p[c] of the given q, or of the uniform one
        if index.size == 0 or smoothing > 0:
            share = np.empty((C, TILE), logits.dtype)
            distribution(q, first, count, inner, smoothing, share)
            for c in range(C):
                for p in range(count):
                    log_p = np.float64(tile[c, p]) - total[p]
                    spread[p] += np.float64(weight[c]) * np.float64(share[c, p]) * log_p
        for p in range(count):
            losses[position + p] = -spread[p]
            weights[position + p] = 1
            if index.size > 0:
                t = index[position + p]
                if t == ignore_index:
                    losses[position + p] = 0
                    weights[position + p] = 0
                else:
                    hit = (1 - smoothing) * np.float64(weight[t]) * (np.float64(tile[t, p]) - total[p])
                    losses[position + p] = -(hit + spread[p])
                    weights[position + p] = weight[t]


def cross_entropy_backward(scale, logits, target, weight, ignore_index, label_smoothing):
    # forward: loss_n = −Σ_c wq[n, c] · log p[n, c], and d log p_c / d logit_j = [c = j] − p_j
    # so dL/dlogit_j = dL/dloss_n · (p_j · Σ_c wq[n, c] − wq[n, j])
    N, C, L = logits.shape
    dlogits = empty((N, C, L), logits.dtype)
    launch(
        _cross_entropy_rows_backward if L == 1 else _cross_entropy_backward,
        canonical(scale).reshape(-1), canonical(logits).reshape(-1),
        *_targets(target, logits.dtype), _class_weights(weight, C, logits.dtype), ignore_index, float(label_smoothing),
        N, C, L, dlogits.reshape(-1),
    )  # fmt: skip
    return dlogits


@kernel(parallel=True)
def _cross_entropy_backward(scale, logits, index, q, weight, ignore_index, smoothing, outer, C, inner, dlogits):
    hard = logits.dtype.type(1 - smoothing)
    for task in prange(tiles(outer, inner)):
        position, first, count = tile_at(task, C, inner)
        tile, share = np.empty((C, TILE), logits.dtype), np.zeros((C, TILE), logits.dtype)
        total, mass = np.empty(TILE), np.zeros(TILE)
        gather(logits, first, count, inner, tile)
        exponentials(tile, count, total, True)
        if index.size == 0 or smoothing > 0:
            distribution(q, first, count, inner, smoothing, share)
            for c in range(C):
                for p in range(count):
                    share[c, p] *= weight[c]
        if index.size > 0:
            for p in range(count):
                t = index[position + p]
                if t != ignore_index:
                    share[t, p] += hard * weight[t]
        for c in range(C):
            for p in range(count):
                mass[p] += np.float64(share[c, p])
        factor, upstream = np.empty(TILE, logits.dtype), np.empty(TILE, logits.dtype)
        for p in range(count):
            factor[p] = mass[p] / total[p]
            upstream[p] = scale[position + p]
        for c in range(C):
            for p in range(count):
                tile[c, p] = upstream[p] * (tile[c, p] * factor[p] - share[c, p])
        if index.size > 0:
            for p in range(count):
                if index[position + p] == ignore_index:
                    tile[:, p] = 0
        scatter(tile, first, count, inner, dlogits)


@kernel
def distribution(q, first, count, inner, smoothing, share):
    """The smoothed target: (1 − ε) · q + ε / C, or ε / C alone without q."""
    hard, soft = share.dtype.type(1 - smoothing), share.dtype.type(smoothing / share.shape[0])
    if q.size > 0:
        gather(q, first, count, inner, share)
    for c in range(share.shape[0]):
        for p in range(count):
            share[c, p] = hard * share[c, p] + soft if q.size > 0 else soft


@kernel(parallel=True)
def _cross_entropy_rows_forward(logits, index, q, weight, ignore_index, smoothing, N, C, L, losses, weights):
    rows = max(1, VALUES // C)
    for task in prange((N + rows - 1) // rows):
        e, share = np.empty(C, logits.dtype), np.zeros(C, logits.dtype)
        for n in range(task * rows, min(N, (task + 1) * rows)):
            row = logits[n * C : (n + 1) * C]
            largest, total = row_exponentials(row, e)
            log_total = math.log(total)
            loss = 0.0
            if index.size == 0 or smoothing > 0:
                row_share(q[n * C : (n + 1) * C], weight, smoothing, share)
                loss = -row_loss(row, share, largest, log_total)
            counted = logits.dtype.type(1)
            if index.size > 0:
                t = index[n]
                if t == ignore_index:
                    loss, counted = 0.0, logits.dtype.type(0)
                else:
                    counted = weight[t]
                    log_p = np.float64(row[t] - largest) - log_total
                    loss -= (1 - smoothing) * np.float64(counted) * log_p
            losses[n], weights[n] = loss, counted


@kernel(parallel=True)
def _cross_entropy_rows_backward(scale, logits, index, q, weight, ignore_index, smoothing, N, C, L, dlogits):
    hard = logits.dtype.type(1 - smoothing)
    rows = max(1, VALUES // C)
    for task in prange((N + rows - 1) // rows):
        e, share = np.empty(C, logits.dtype), np.zeros(C, logits.dtype)
        for n in range(task * rows, min(N, (task + 1) * rows)):
            out = dlogits[n * C : (n + 1) * C]
            if index.size > 0 and index[n] == ignore_index:
                out[:] = 0
                continue
            _, total = row_exponentials(logits[n * C : (n + 1) * C], e)
            if index.size == 0 or smoothing > 0:
                row_share(q[n * C : (n + 1) * C], weight, smoothing, share)
            if index.size > 0:
                share[index[n]] += hard * weight[index[n]]
            mass = row_sum(share) if index.size == 0 or smoothing > 0 else np.float64(share[index[n]])
            factor, upstream = logits.dtype.type(mass / total), scale[n]
            for c in range(out.size):
                out[c] = upstream * (e[c] * factor - share[c])
            if index.size > 0:
                share[index[n]] = 0


@kernel
def row_share(q, weight, smoothing, share):
    """weight · the smoothed target of one row: (1 − ε) · q + ε / C, or ε / C alone without q."""
    hard, soft = share.dtype.type(1 - smoothing), share.dtype.type(smoothing / share.size)
    if q.size > 0:
        for c in range(share.size):
            share[c] = weight[c] * (hard * q[c] + soft)
    else:
        for c in range(share.size):
            share[c] = weight[c] * soft


@kernel(fast=True)
def row_loss(row, share, largest, log_total):
    """Σ share · log p"""
    total = 0.0
    for c in range(row.size):
        total += np.float64(share[c]) * (np.float64(row[c] - largest) - log_total)
    return total


def nll_loss_forward(log_probs, target, weight, ignore_index):
    """loss_n = −weight[target_n] · log_probs[n, target_n], 0 where the target is ignored."""
    N, C, L = log_probs.shape
    losses, weights = np.empty((N, L), log_probs.dtype), np.empty((N, L), log_probs.dtype)
    class_weights = _class_weights(weight, C, log_probs.dtype)
    launch(_nll_loss_forward, canonical(log_probs), canonical(target), class_weights, ignore_index, losses, weights)
    return losses, weights


@kernel(parallel=True)
def _nll_loss_forward(log_probs, target, weight, ignore_index, losses, weights):
    for n in prange(target.shape[0]):
        for i in range(target.shape[1]):
            t = target[n, i]
            if t == ignore_index:
                losses[n, i] = 0
                weights[n, i] = 0
            else:
                losses[n, i] = -weight[t] * log_probs[n, t, i]
                weights[n, i] = weight[t]


def nll_loss_backward(scale, x_shape, target, weight, ignore_index):
    # forward: loss_n = −weight[t] · x[n, t]: only the entry of the target class has a gradient
    dx = np.zeros(x_shape, scale.dtype)
    class_weights = _class_weights(weight, x_shape[1], scale.dtype)
    launch(_nll_loss_backward, canonical(scale), canonical(target), class_weights, ignore_index, dx)
    return dx


@kernel(parallel=True)
def _nll_loss_backward(scale, target, weight, ignore_index, dx):
    for n in prange(target.shape[0]):
        for i in range(target.shape[1]):
            t = target[n, i]
            if t != ignore_index:
                dx[n, t, i] = -scale[n, i] * weight[t]


def mse_loss_forward(x, target):
    """loss = (x − target)²"""
    return _pair(_mse_loss_forward, x, target)


@kernel(parallel=True)
def _mse_loss_forward(x, target, losses):
    for chunk in prange(parts(x.size)):
        xs, targets, out = part(x, chunk), part(target, chunk), part(losses, chunk)
        for i in range(xs.size):
            out[i] = (xs[i] - targets[i]) * (xs[i] - targets[i])


def mse_loss_backward(scale, x, target):
    # forward: loss = (x − target)²; scale is one number or of the shape of x
    return _pair(_mse_loss_backward, x, target, canonical(scale).reshape(-1), scale.ndim == 0)


@kernel(parallel=True)
def _mse_loss_backward(x, target, dx, scale, one):
    two = x.dtype.type(2)
    for chunk in prange(parts(x.size)):
        xs, targets, dxs = part(x, chunk), part(target, chunk), part(dx, chunk)
        for i in range(xs.size):
            dxs[i] = two * (xs[i] - targets[i])
        multiply(dxs, scale, one, chunk)


def bce_with_logits_forward(x, target):
    """loss = −t · log σ(x) − (1 − t) · log(1 − σ(x))"""
    return _pair(_bce_forward, x, target)


@kernel(parallel=True)
def _bce_forward(x, target, losses):
    one = x.dtype.type(1)
    for chunk in prange(parts(x.size)):
        xs, targets, out = part(x, chunk), part(target, chunk), part(losses, chunk)
        for i in range(xs.size):
            linear = (one - targets[i]) * xs[i] if xs[i] >= 0 else -targets[i] * xs[i]
            out[i] = linear + log1p(exp(-abs(xs[i])))


def bce_with_logits_backward(scale, x, target):
    # forward: loss = −t · log σ(x) − (1 − t) · log(1 − σ(x)), so dloss/dx = σ(x) − t
    return _pair(_bce_backward, x, target, canonical(scale).reshape(-1), scale.ndim == 0)


@kernel(parallel=True)
def _bce_backward(x, target, dx, scale, one):
    for chunk in prange(parts(x.size)):
        xs, targets, dxs = part(x, chunk), part(target, chunk), part(dx, chunk)
        for i in range(xs.size):
            dxs[i] = sigmoid(xs[i]) - targets[i]
        multiply(dxs, scale, one, chunk)


@kernel
def multiply(dxs, scale, one, chunk):
    """A chunk of dx times its part of scale, which is one number for all or one for each."""
    scales = part(scale, 0 if one else chunk)
    for i in range(dxs.size):
        dxs[i] *= scales[0 if one else i]


def _pair(loop, x, target, *settings):
    """A new array made by a loop over the flat x and target."""
    x, target = canonical(x), canonical(target)
    out = empty_like(x)
    launch(loop, x.reshape(-1), target.reshape(-1), out.reshape(-1), *settings)
    return out


def _targets(target, dtype):
    """(class indices, class probabilities), flat, one of them empty."""
    if target.ndim == 3:
        return _NO_INDEX, canonical(target).ravel()
    return canonical(target).ravel(), _nothing(dtype)


_NO_INDEX = np.empty(0, np.int64)
_nothing = lru_cache(partial(np.empty, 0))
_ones = lru_cache(maxsize=8)(np.ones)  # nobody changes them


def _class_weights(weight, classes, dtype):
    return _ones(classes, dtype) if weight is None else canonical(weight)
