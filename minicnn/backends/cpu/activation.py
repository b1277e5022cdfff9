"""Elementwise nonlinearities."""

import numpy as np
from numba import prange

from .arrays import canonical
from .cache import kernel
from .threads import launch

CHUNK = 8192  # elements a task: 32 KiB of float32, so that x and y of one task stay in L1/L2


def relu_forward(x):
    """y = max(x, 0), NaN kept"""
    x = canonical(x)
    y = np.empty_like(x)
    launch(_relu_forward, x.reshape(-1), y.reshape(-1))
    return y


@kernel(parallel=True)
def _relu_forward(x, y):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            y[i] = 0 if x[i] <= 0 else x[i]


def relu_backward(dy, x):
    # forward: y = x where x > 0 (or NaN), else 0
    dy, x = canonical(dy), canonical(x)
    dx = np.empty_like(dy)
    launch(_relu_backward, dy.reshape(-1), x.reshape(-1), dx.reshape(-1))
    return dx


@kernel(parallel=True)
def _relu_backward(dy, x, dx):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            dx[i] = 0 if x[i] <= 0 else dy[i]
