"""Steps of the optimisers: one pass over memory for each parameter. The signatures are those of the reference."""

import math

import numpy as np
from numba import prange

from .arrays import canonical
from .cache import kernel
from .threads import launch

CHUNK = 4096  # elements a task: with four arrays of float32 64 KiB, which stays in L2

# stands for an array that is left out
NONE = {np.dtype(np.float32): np.empty(0, np.float32), np.dtype(np.float64): np.empty(0)}


def sgd_step(parameters, grads, buffers, first, lr, momentum, dampening, weight_decay, nesterov, maximize):
    """b = momentum·b + (1 − dampening)·g, in the first step b = g;  p −= lr·b, nesterov: p −= lr·(g + momentum·b)"""
    for p, g, b, is_first in zip(parameters, grads, buffers, first):
        numbers = scalars(p, lr, momentum, 1 - dampening, weight_decay, -1.0 if maximize else 1.0)
        in_place(_sgd, p, g, (b,), numbers, nesterov, is_first)


def adam_step(parameters, grads, means, squares, largest, steps, lr, betas, eps, weight_decay, decoupled, maximize):
    """m = β₁m + (1 − β₁)g,  v = β₂v + (1 − β₂)g²,  p −= lr · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + eps)"""
    beta1, beta2 = betas
    for p, g, m, v, v_max, t in zip(parameters, grads, means, squares, largest, steps):
        shrink = 1 - lr * weight_decay if decoupled else 1.0
        decay = 0.0 if decoupled else weight_decay
        numbers = scalars(
            p, shrink, decay, 1 - beta1, beta2, 1 - beta2, lr / (1 - beta1**t), math.sqrt(1 - beta2**t), eps,
            -1.0 if maximize else 1.0,
        )  # fmt: skip
        in_place(_adam, p, g, (m, v, v_max), numbers)


def rmsprop_step(parameters, grads, squares, buffers, averages, lr, alpha, eps, weight_decay, momentum, maximize):
    """v = αv + (1 − α)g²,  p −= lr · g / (√v + eps);  centred: √(v − a²), a the running mean of g"""
    for p, g, v, b, a in zip(parameters, grads, squares, buffers, averages):
        numbers = scalars(p, lr, alpha, 1 - alpha, eps, weight_decay, momentum, -1.0 if maximize else 1.0)
        in_place(_rmsprop, p, g, (v, b, a), numbers)


# A loop over one chunk is a kernel of its own, from 0 to the size of slices: then LLVM knows that no index is negative.
# It runs a loop over vectors only where at most eight comparisons of addresses prove that no array that the loop writes
# overlaps another: so the loops are cut until each writes few arrays.


@kernel(parallel=True)
def _sgd(p, g, b, numbers, nesterov, first):
    for chunk in prange((p.size + CHUNK - 1) // CHUNK):
        begin, end = chunk * CHUNK, min(p.size, (chunk + 1) * CHUNK)
        _sgd_chunk(p[begin:end], g[begin:end], b[begin:end], numbers, nesterov, first)


@kernel
def _sgd_chunk(p, g, b, numbers, nesterov, first):
    lr, momentum, undamped, decay, sign = numbers
    if b.size == 0:
        for i in range(p.size):
            p[i] -= lr * gradient(p[i], g[i], sign, decay)
        return
    for i in range(p.size):
        grad = gradient(p[i], g[i], sign, decay)
        b[i] = grad if first else momentum * b[i] + undamped * grad
        p[i] -= lr * (grad + momentum * b[i] if nesterov else b[i])


@kernel(parallel=True)
def _adam(p, g, m, v, v_max, numbers):
    for chunk in prange((p.size + CHUNK - 1) // CHUNK):
        begin, end = chunk * CHUNK, min(p.size, (chunk + 1) * CHUNK)
        _adam_chunk(p[begin:end], g[begin:end], m[begin:end], v[begin:end], v_max[begin:end], numbers)


@kernel
def _adam_chunk(p, g, m, v, v_max, numbers):
    shrink, decay, one_beta1, beta2, one_beta2, lr, root_bias, eps, sign = numbers
    for i in range(p.size):
        p[i] *= shrink
        grad = gradient(p[i], g[i], sign, decay)
        m[i] += one_beta1 * (grad - m[i])
        v[i] = beta2 * v[i] + one_beta2 * grad * grad
    square = v
    if v_max.size > 0:
        square = v_max
        for i in range(p.size):
            v_max[i] = v[i] if v[i] > v_max[i] or np.isnan(v[i]) else v_max[i]
    for i in range(p.size):
        p[i] -= lr * (m[i] / (np.sqrt(square[i]) / root_bias + eps))


@kernel(parallel=True)
def _rmsprop(p, g, v, b, a, numbers):
    for chunk in prange((p.size + CHUNK - 1) // CHUNK):
        begin, end = chunk * CHUNK, min(p.size, (chunk + 1) * CHUNK)
        _rmsprop_chunk(p[begin:end], g[begin:end], v[begin:end], b[begin:end], a[begin:end], numbers)


@kernel
def _rmsprop_chunk(p, g, v, b, a, numbers):
    lr, alpha, one_alpha, eps, decay, momentum, sign = numbers
    step = np.empty_like(p)
    for i in range(p.size):
        grad = gradient(p[i], g[i], sign, decay)
        v[i] = alpha * v[i] + one_alpha * grad * grad
        step[i] = v[i]
    if a.size > 0:
        for i in range(p.size):
            a[i] += one_alpha * (gradient(p[i], g[i], sign, decay) - a[i])
            step[i] -= a[i] * a[i]
    for i in range(p.size):
        step[i] = gradient(p[i], g[i], sign, decay) / (np.sqrt(step[i]) + eps)
    if b.size > 0:
        for i in range(p.size):
            b[i] = momentum * b[i] + step[i]
            step[i] = b[i]
    for i in range(p.size):
        p[i] -= lr * step[i]


@kernel
def gradient(p, g, sign, decay):
    """With sign −1 to maximise, and weight decay; without decay p counts nothing, be it infinite."""
    return sign * g + decay * p if decay != 0 else sign * g


def scalars(p, *numbers):
    """The numbers of a step in the dtype of p, so that float32 arithmetic stays float32."""
    return tuple(p.dtype.type(number) for number in numbers)


def in_place(step, p, g, state, *settings):
    """Run a kernel on flat views of the arrays; one that is not C-contiguous is worked on as a copy and put back."""
    changed = [p, *(array for array in state if array is not None)]
    plain = [canonical(array) for array in changed]
    flat = iter([array.reshape(-1) for array in plain[1:]])
    states = [NONE[p.dtype] if array is None else next(flat) for array in state]
    launch(step, plain[0].reshape(-1), canonical(g).reshape(-1), *states, *settings)
    for array, copy in zip(changed, plain):
        if copy is not array:
            array[...] = copy
