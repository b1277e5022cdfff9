"""Elementwise nonlinearities, each with its derivative.

`plain` puts x in C order first: NumPy's elementwise functions keep the order of what they are given.
"""

import math

import numpy as np


def relu_forward(x):
    """y = max(x, 0), NaN kept"""
    x = plain(x)
    return np.where(x <= 0, x.dtype.type(0), x)


def relu_backward(dy, x):
    # forward: y = x where x > 0 (or NaN), else 0
    dy, x = plain(dy), plain(x)
    return np.where(x <= 0, dy.dtype.type(0), dy)


def leaky_relu_forward(x, slope):
    """y = x where x > 0, else slope · x"""
    x = plain(x)
    with np.errstate(invalid="ignore", over="ignore"):  # a slope may be infinite
        return np.where(x > 0, x, x.dtype.type(slope) * x)


def leaky_relu_backward(dy, x, slope):
    # forward: y = x where x > 0, else slope · x
    dy, x = plain(dy), plain(x)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(x > 0, dy, dy.dtype.type(slope) * dy)


def sigmoid_forward(x):
    """y = σ(x) = 1 / (1 + exp(−x)) = exp(x) / (1 + exp(x)): the one whose exp cannot overflow"""
    x = plain(x)
    e = np.exp(-abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def sigmoid_backward(dy, x):
    # forward: y = σ(x), and σ'(x) = σ(x) · (1 − σ(x)) = σ(x) · σ(−x)
    with np.errstate(invalid="ignore"):  # inf · 0 is NaN
        return np.asarray(plain(dy) * sigmoid_forward(x) * sigmoid_forward(-x))


def tanh_forward(x):
    """y = tanh(x)"""
    return np.asarray(np.tanh(plain(x)))


def tanh_backward(dy, x):
    # forward: y = tanh(x), and tanh'(x) = 1 − tanh(x)²
    with np.errstate(invalid="ignore"):
        return np.asarray(plain(dy) * (1 - tanh_forward(x) ** 2))


def silu_forward(x):
    """y = x · σ(x)   (Elfwing et al. 2018; Ramachandran et al. 2017 call it swish)"""
    with np.errstate(invalid="ignore"):  # −inf · 0 is NaN
        return np.asarray(plain(x) * sigmoid_forward(x))


def silu_backward(dy, x):
    # forward: y = x · σ(x), and dy/dx = σ(x) + x · σ(x) · σ(−x)
    with np.errstate(invalid="ignore"):
        return np.asarray(plain(dy) * sigmoid_forward(x) * (1 + plain(x) * sigmoid_forward(-x)))


def gelu_forward(x, approximate):
    """y = x · Φ(x), Φ the distribution function of the normal distribution   (Hendrycks & Gimpel 2016)

    approximate "tanh": Φ(x) ≈ σ(2u(x)) = ½ (1 + tanh(u(x))) with u(x) = √(2/π) · (x + 0.044715 x³)
    """
    x = plain(x)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(x * (normal_cdf(x) if approximate == "none" else sigmoid_forward(2 * gelu_inner(x))))


def gelu_backward(dy, x, approximate):
    # forward: y = x · Φ(x), so dy/dx = Φ(x) + x · Φ'(x)
    dy, x = plain(dy), plain(x)
    with np.errstate(invalid="ignore", over="ignore"):
        if approximate == "none":
            slope = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)  # Φ' is the normal density
            return np.asarray(dy * (normal_cdf(x) + x * slope))
        u = gelu_inner(x)
        du = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
        phi = sigmoid_forward(2 * u)
        slope = phi * sigmoid_forward(-2 * u) * 2 * du
        return np.asarray(dy * (phi + x * slope))


def gelu_inner(x):
    """u(x) = √(2/π) · (x + 0.044715 x³)"""
    return np.asarray(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))


def normal_cdf(x):
    """Φ(x) = ½ erfc(−x/√2), in float64: erfc keeps its digits where 1 + erf would cancel."""
    erfc = np.frompyfunc(math.erfc, 1, 1)
    return np.asarray(0.5 * np.asarray(erfc(-x.astype(np.float64) / math.sqrt(2)), np.float64), x.dtype)


def plain(x):
    """x in C order, as a plain array."""
    return np.asarray(x, order="C")
