"""Batch normalisation of x (N, C, L), over N and L (Ioffe & Szegedy 2015, algorithm 1 and section 3).

    x̂ = (x − mean) / √(var + eps)        y = x̂ · weight + bias

Sums are taken in float64 at least and the variance from the differences to the mean: with a large mean the digits of
E[x²] − E[x]² would cancel.
"""

import numpy as np

from .activation import relu_backward, relu_forward
from .elementwise import add_forward

OVER = (0, 2)  # the axes of a sum over one channel


def batch_norm_train_forward(x, weight, bias, eps):
    """y, and the mean and biased variance of the batch, (C,), in float64 at least. Of no values they are NaN."""
    wide = wider(x)
    values = x.shape[0] * x.shape[2]
    with np.errstate(all="ignore"):
        mean = wide.sum(axis=OVER) / np.float64(values)
        var = ((wide - mean[:, None]) ** 2).sum(axis=OVER) / np.float64(values)
    return batch_norm_eval_forward(x, mean, var, weight, bias, eps), mean, var


def batch_norm_move(running_mean, running_var, mean, var, momentum, correction):
    """new = (1 − momentum) · old + momentum · batch, in place; the variance of the batch times the correction."""
    with np.errstate(invalid="ignore", over="ignore"):
        for running, batch, rate in (running_mean, mean, momentum), (running_var, var, momentum * correction):
            running *= 1 - momentum
            running += (rate * batch).astype(running.dtype)


def batch_norm_train_backward(dy, x, weight, mean, var, eps):
    # forward: y = x̂ · weight + bias, where mean and var depend on x too. With g = dL/dx̂ = dy · weight and m values:
    #   dL/dvar  = −½ (var + eps)^(−3/2) · Σ g · (x − mean)
    #   dL/dmean = −(var + eps)^(−1/2) · Σ g
    #   dL/dx    = g · (var + eps)^(−1/2) + dL/dvar · 2 (x − mean) / m + dL/dmean / m
    dy_wide, x_hat, inv_std = wider(dy), normalised(x, mean, var, eps), inverse_std(x, var, eps)
    values = max(1, x.shape[0] * x.shape[2])
    with np.errstate(all="ignore"):
        dweight, dbias = (dy_wide * x_hat).sum(axis=OVER), dy_wide.sum(axis=OVER)
        # the same three terms with x̂ in them: g, what came through var, what came through mean
        dx = dy_wide - x_hat * dweight[:, None] / values - dbias[:, None] / values
        dx *= scale(weight, inv_std)[:, None]
        return narrower(dx, x), narrower(dweight, x), narrower(dbias, x)


def batch_norm_relu_forward(x, residual, weight, bias, eps):
    """relu(y + residual), mean and var; residual may be None. Here one operation after the other."""
    y, mean, var = batch_norm_train_forward(x, weight, bias, eps)
    return relu_forward(y if residual is None else add_forward(y, residual)), mean, var


def batch_norm_relu_backward(dy, y, x, weight, mean, var, eps, wanted):
    # forward: y = relu(batch_norm(x) + residual), so g = dy where the ReLU let something pass, to both of them
    g = relu_backward(dy, y)
    return *batch_norm_train_backward(g, x, weight, mean, var, eps), g if wanted else None


def batch_norm_eval_forward(x, mean, var, weight, bias, eps):
    """y with the given statistics."""
    with np.errstate(all="ignore"):
        y = normalised(x, mean, var, eps)
        if weight is not None:
            y = y * weight[:, None]
        if bias is not None:
            y = y + bias[:, None]
        return narrower(y, x)


def batch_norm_eval_backward(dy, x, weight, mean, var, eps):
    # forward: y = (x − mean) / √(var + eps) · weight + bias, where mean and var are constants
    dy_wide, inv_std = wider(dy), inverse_std(x, var, eps)
    with np.errstate(all="ignore"):
        dweight, dbias = (dy_wide * normalised(x, mean, var, eps)).sum(axis=OVER), dy_wide.sum(axis=OVER)
        dx = dy_wide * scale(weight, inv_std)[:, None]
        return narrower(dx, x), narrower(dweight, x), narrower(dbias, x)


def normalised(x, mean, var, eps):
    """x̂ = (x − mean) / √(var + eps)"""
    with np.errstate(all="ignore"):
        return (wider(x) - mean[:, None]) * inverse_std(x, var, eps)[:, None]


def inverse_std(x, var, eps):
    """1 / √(var + eps)"""
    with np.errstate(all="ignore"):
        return 1 / np.sqrt(var.astype(np.result_type(x.dtype, np.float64)) + eps)


def scale(weight, inv_std):
    """What dL/dy is multiplied by: weight / √(var + eps)."""
    return inv_std if weight is None else weight * inv_std


def wider(x):
    """x in float64, or in its own dtype if that is wider, and in C order: it decides how sums are grouped."""
    return np.asarray(x, np.result_type(x.dtype, np.float64), order="C")


def narrower(y, x):
    """y in the dtype of x and C order."""
    with np.errstate(over="ignore"):
        return np.asarray(y, x.dtype, order="C")
