"""Elementwise nonlinearities. See the reference for the formulas.

Each loop is at the speed of memory for large arrays: elementary.py keeps the functions in vector registers.
"""

import math

import numpy as np
from numba import prange

from .arrays import canonical
from .cache import kernel
from .elementary import exp, normal_cdf, sigmoid, tanh
from .threads import launch

CHUNK = 8192  # elements a task: 32 KiB of float32, so that x and y of one task stay in L1/L2


def relu_forward(x):
    """y = max(x, 0), NaN kept"""
    return _forward(_relu_forward, x)


def relu_backward(dy, x):
    # forward: y = x where x > 0 (or NaN), else 0
    return _backward(_relu_backward, dy, x)


def leaky_relu_forward(x, slope):
    """y = x where x > 0, else slope · x"""
    return _forward(_leaky_relu_forward, x, x.dtype.type(slope))


def leaky_relu_backward(dy, x, slope):
    # forward: y = x where x > 0, else slope · x
    return _backward(_leaky_relu_backward, dy, x, x.dtype.type(slope))


def sigmoid_forward(x):
    """y = σ(x) = 1 / (1 + exp(−x))"""
    return _forward(_sigmoid_forward, x)


def sigmoid_backward(dy, x):
    # forward: y = σ(x), and σ'(x) = σ(x) · σ(−x)
    return _backward(_sigmoid_backward, dy, x)


def tanh_forward(x):
    """y = tanh(x)"""
    return _forward(_tanh_forward, x)


def tanh_backward(dy, x):
    # forward: y = tanh(x), and tanh'(x) = 1 − tanh(x)²
    return _backward(_tanh_backward, dy, x)


def silu_forward(x):
    """y = x · σ(x)"""
    return _forward(_silu_forward, x)


def silu_backward(dy, x):
    # forward: y = x · σ(x), and dy/dx = σ(x) · (1 + x · σ(−x))
    return _backward(_silu_backward, dy, x)


def gelu_forward(x, approximate):
    """y = x · Φ(x), or with "tanh" x · σ(2u(x))"""
    return _forward(_gelu_forward if approximate == "none" else _gelu_tanh_forward, x)


def gelu_backward(dy, x, approximate):
    # forward: y = x · Φ(x), so dy/dx = Φ(x) + x · Φ'(x)
    return _backward(_gelu_backward if approximate == "none" else _gelu_tanh_backward, dy, x)


def _forward(loop, x, *settings):
    x = canonical(x)
    y = np.empty_like(x)
    launch(loop, x.reshape(-1), y.reshape(-1), *settings)
    return y


def _backward(loop, dy, x, *settings):
    dy, x = canonical(dy), canonical(x)
    dx = np.empty_like(dy)
    launch(loop, dy.reshape(-1), x.reshape(-1), dx.reshape(-1), *settings)
    return dx


# ---- the loops, over flat arrays of one size ----


@kernel(parallel=True)
def _relu_forward(x, y):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            y[i] = 0 if x[i] <= 0 else x[i]


@kernel(parallel=True)
def _relu_backward(dy, x, dx):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            dx[i] = 0 if x[i] <= 0 else dy[i]


@kernel(parallel=True)
def _leaky_relu_forward(x, y, slope):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            y[i] = x[i] if x[i] > 0 else slope * x[i]


@kernel(parallel=True)
def _leaky_relu_backward(dy, x, dx, slope):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            dx[i] = dy[i] if x[i] > 0 else slope * dy[i]


@kernel(parallel=True)
def _sigmoid_forward(x, y):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            y[i] = sigmoid(x[i])


@kernel(parallel=True)
def _sigmoid_backward(dy, x, dx):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            dx[i] = dy[i] * sigmoid(x[i]) * sigmoid(-x[i])


@kernel(parallel=True)
def _tanh_forward(x, y):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            y[i] = tanh(x[i])


@kernel(parallel=True)
def _tanh_backward(dy, x, dx):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            y = tanh(x[i])
            dx[i] = dy[i] * (x.dtype.type(1) - y * y)


@kernel(parallel=True)
def _silu_forward(x, y):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            y[i] = x[i] * sigmoid(x[i])


@kernel(parallel=True)
def _silu_backward(dy, x, dx):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            dx[i] = dy[i] * sigmoid(x[i]) * (x.dtype.type(1) + x[i] * sigmoid(-x[i]))


@kernel(parallel=True)
def _gelu_forward(x, y):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            y[i] = x[i] * normal_cdf(x[i])


@kernel(parallel=True)
def _gelu_backward(dy, x, dx):
    half, height = x.dtype.type(-0.5), x.dtype.type(1 / math.sqrt(2 * math.pi))
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            density = height * exp(half * x[i] * x[i])  # Φ'
            dx[i] = dy[i] * (normal_cdf(x[i]) + x[i] * density)


GELU_SCALE, GELU_CUBE = 2 * math.sqrt(2 / math.pi), 0.044715  # 2u(x) = SCALE · (x + CUBE · x³)


@kernel(parallel=True)
def _gelu_tanh_forward(x, y):
    scale, cube = x.dtype.type(GELU_SCALE), x.dtype.type(GELU_CUBE)
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            y[i] = x[i] * sigmoid(scale * (x[i] + cube * x[i] * x[i] * x[i]))


@kernel(parallel=True)
def _gelu_tanh_backward(dy, x, dx):
    scale, cube, slope_cube = x.dtype.type(GELU_SCALE), x.dtype.type(GELU_CUBE), x.dtype.type(3 * GELU_CUBE)
    one = x.dtype.type(1)
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            v = x[i]
            u2 = scale * (v + cube * v * v * v)
            phi = sigmoid(u2)
            dx[i] = dy[i] * (phi + v * phi * sigmoid(-u2) * scale * (one + slope_cube * v * v))
