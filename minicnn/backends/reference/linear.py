"""Matrix products of the fully connected layer. Infinities and NaN pass as in any product, without a warning."""

import numpy as np


@np.errstate(invalid="ignore", over="ignore")
def linear_forward(x, weight, bias):
    """y = x @ weight.T + bias"""
    y = x @ weight.T  # (M, K) @ (K, O) -> (M, O)
    return y if bias is None else y + bias


@np.errstate(invalid="ignore", over="ignore")
def linear_input_grad(dy, weight):
    # forward: y = x @ weight.T, so dL/dx = dL/dy @ weight
    return np.ascontiguousarray(dy @ weight)  # (M, O) @ (O, K) -> (M, K)


@np.errstate(invalid="ignore", over="ignore")
def linear_weight_grad(dy, x):
    # forward: y = x @ weight.T, so dL/dweight = (dL/dy).T @ x
    return np.ascontiguousarray(dy.T @ x)  # (O, M) @ (M, K) -> (O, K)


@np.errstate(invalid="ignore", over="ignore")
def channel_sum(dy):
    # forward: y[:, c] = … + bias[c], so dL/dbias[c] is the sum of dy over everything but c
    return dy.sum(axis=(0, *range(2, dy.ndim)))


def add_channel_bias(y, bias):
    """y[:, c] += bias[c], in place."""
    y += bias.reshape(-1, *[1] * (y.ndim - 2))
