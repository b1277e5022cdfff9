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


@kernel(parallel=True)
def _sgd(p, g, b, numbers, nesterov, first):
    lr, momentum, undamped, decay, sign = numbers
    for chunk in prange((p.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(p.size, (chunk + 1) * CHUNK)):
            step = sign * g[i]
            if decay != 0:
                step += decay * p[i]
            if b.size > 0:
                b[i] = step if first else momentum * b[i] + undamped * step
                step = step + momentum * b[i] if nesterov else b[i]
            p[i] -= lr * step


@kernel(parallel=True)
def _adam(p, g, m, v, v_max, numbers):
    shrink, decay, one_beta1, beta2, one_beta2, lr, root_bias, eps, sign = numbers
    for chunk in prange((p.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(p.size, (chunk + 1) * CHUNK)):
            p[i] *= shrink
            grad = sign * g[i]
            if decay != 0:
                grad += decay * p[i]
            m[i] += one_beta1 * (grad - m[i])
            v[i] = beta2 * v[i] + one_beta2 * grad * grad
            square = v[i]
            if v_max.size > 0:
                if square > v_max[i] or np.isnan(square):
                    v_max[i] = square
                square = v_max[i]
            p[i] -= lr * (m[i] / (np.sqrt(square) / root_bias + eps))


@kernel(parallel=True)
def _rmsprop(p, g, v, b, a, numbers):
    lr, alpha, one_alpha, eps, decay, momentum, sign = numbers
    for chunk in prange((p.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(p.size, (chunk + 1) * CHUNK)):
            grad = sign * g[i]
            if decay != 0:
                grad += decay * p[i]
            v[i] = alpha * v[i] + one_alpha * grad * grad
            variance = v[i]
            if a.size > 0:
                a[i] += one_alpha * (grad - a[i])
                variance -= a[i] * a[i]
            step = grad / (np.sqrt(variance) + eps)
            if b.size > 0:
                b[i] = momentum * b[i] + step
                step = b[i]
            p[i] -= lr * step


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
