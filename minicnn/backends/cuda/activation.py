"""Elementwise nonlinearities. See the reference for the formulas. Each is bound by memory: one read of every input."""

import math

from .elementary import exp, normal_cdf, sigmoid, tanh
from .launch import device
from .maps import apply, binary, unary


def relu_forward(x):
    """y = max(x, 0), NaN kept"""
    return apply(_relu, x)


def relu_backward(dy, x):
    # forward: y = x where x > 0 (or NaN), else 0
    return apply(_relu_grad, dy, x)


def leaky_relu_forward(x, slope):
    """y = x where x > 0, else slope · x"""
    return apply(_leaky_relu, x, setting=slope)


def leaky_relu_backward(dy, x, slope):
    # forward: y = x where x > 0, else slope · x
    return apply(_leaky_relu_grad, dy, x, setting=slope)


def sigmoid_forward(x):
    """y = σ(x) = 1 / (1 + exp(−x))"""
    return apply(_sigmoid, x)


def sigmoid_backward(dy, x):
    # forward: y = σ(x), and σ'(x) = σ(x) · σ(−x)
    return apply(_sigmoid_grad, dy, x)


def tanh_forward(x):
    """y = tanh(x)"""
    return apply(_tanh, x)


def tanh_backward(dy, x):
    # forward: y = tanh(x), and tanh'(x) = 1 − tanh(x)²
    return apply(_tanh_grad, dy, x)


def silu_forward(x):
    """y = x · σ(x)"""
    return apply(_silu, x)


def silu_backward(dy, x):
    # forward: y = x · σ(x), and dy/dx = σ(x) · (1 + x · σ(−x))
    return apply(_silu_grad, dy, x)


def gelu_forward(x, approximate):
    """y = x · Φ(x), or with "tanh" x · σ(2u(x))"""
    return apply(_gelu if approximate == "none" else _gelu_tanh, x)


def gelu_backward(dy, x, approximate):
    # forward: y = x · Φ(x), so dy/dx = Φ(x) + x · Φ'(x)
    return apply(_gelu_grad if approximate == "none" else _gelu_tanh_grad, dy, x)


# ---- one value; the second argument of each is the upstream gradient's or the slope of leaky_relu ----


@unary
def _relu(x, _):
    zero = type(x)(0)
    return zero if x <= zero else x


@binary
def _relu_grad(dy, x, _):
    return type(dy)(0) if x <= type(x)(0) else dy


@unary
def _leaky_relu(x, slope):
    return x if x > 0 else slope * x


@binary
def _leaky_relu_grad(dy, x, slope):
    return dy if x > 0 else slope * dy


@unary
def _sigmoid(x, _):
    return sigmoid(x)


@binary
def _sigmoid_grad(dy, x, _):
    return dy * sigmoid(x) * sigmoid(-x)


@unary
def _tanh(x, _):
    return tanh(x)


@binary
def _tanh_grad(dy, x, _):
    y = tanh(x)
    return dy * (type(x)(1) - y * y)


@unary
def _silu(x, _):
    return x * sigmoid(x)


@binary
def _silu_grad(dy, x, _):
    return dy * sigmoid(x) * (type(x)(1) + x * sigmoid(-x))


@unary
def _gelu(x, _):
    return x * normal_cdf(x)


@binary
def _gelu_grad(dy, x, _):
    density = exp(type(x)(-0.5) * x * x) * type(x)(1 / math.sqrt(2 * math.pi))  # Φ'
    return dy * (normal_cdf(x) + x * density)


@device
def _twice_inner(x):
    """2u(x) = 2 √(2/π) · (x + 0.044715 x³)"""
    return type(x)(2 * math.sqrt(2 / math.pi)) * (x + type(x)(0.044715) * x * x * x)


@unary
def _gelu_tanh(x, _):
    return x * sigmoid(_twice_inner(x))


@binary
def _gelu_tanh_grad(dy, x, _):
    v = _twice_inner(x)
    phi = sigmoid(v)
    dv = type(x)(2 * math.sqrt(2 / math.pi)) * (type(x)(1) + type(x)(3 * 0.044715) * x * x)
    return dy * (phi + x * phi * sigmoid(-v) * dv)
