"""Matrix products of the fully connected layer, and the sums over channels that biases need."""

import numpy as np
from numba import prange

from . import few_rows
from .arrays import canonical
from .cache import kernel
from .gemm import gemm
from .threads import launch

CHUNK = 16  # channels a task where they lie side by side: a cache line of float32


def linear_forward(x, weight, bias):
    """y = x @ weight.T + bias"""
    if few_rows.pays_forward(x.shape[0], weight.size) and x.size:
        return few_rows.rows_by_rows(x, weight, bias)
    y = gemm(x, weight.T)  # (M, K) @ (K, O) -> (M, O)
    if bias is not None:
        add_channel_bias(y, bias)
    return y


def linear_input_grad(dy, weight):
    # forward: y = x @ weight.T, so dL/dx = dL/dy @ weight
    product = few_rows.combine if dy.shape[0] <= few_rows.ROWS_BACKWARD else gemm
    return product(dy, weight)  # (M, O) @ (O, K) -> (M, K)


def linear_weight_grad(dy, x):
    # forward: y = x @ weight.T, so dL/dweight = (dL/dy).T @ x
    few = dy.shape[0] <= few_rows.ROWS_BACKWARD and dy.shape[1] * x.shape[1] <= few_rows.SMALL
    return (few_rows.combine if few else gemm)(dy.T, x)  # (O, M) @ (M, K) -> (O, K)


def channel_sum(dy):
    # forward: y[:, c] = … + bias[c], so dL/dbias[c] is the sum of dy over everything but c
    dy = canonical(dy)
    dbias = np.zeros(dy.shape[1], dy.dtype)
    if dy.size:
        launch(_channel_sum, dy.reshape(dy.shape[0], dy.shape[1], -1), dbias)
    return dbias


@kernel(parallel=True, fast=True)
def _channel_sum(dy, dbias):
    """Sums a plane, then the planes: short sums lose few digits."""
    N, C, L = dy.shape
    for chunk in prange((C + CHUNK - 1) // CHUNK):
        first, last = chunk * CHUNK, min(C, (chunk + 1) * CHUNK)
        for n in range(N):
            if L == 1:
                for c in range(first, last):
                    dbias[c] += dy[n, c, 0]
            else:
                for c in range(first, last):
                    of_plane = dbias.dtype.type(0)
                    for i in range(L):
                        of_plane += dy[n, c, i]
                    dbias[c] += of_plane


def add_channel_bias(y, bias):
    """y[:, c] += bias[c], in place."""
    if y.size:
        launch(_add_channel_bias, y.reshape(y.shape[0], y.shape[1], -1), canonical(bias))


@kernel(parallel=True)
def _add_channel_bias(y, bias):
    N, C, L = y.shape
    for n in prange(N):
        for c in range(C):
            for i in range(L):
                y[n, c, i] += bias[c]
