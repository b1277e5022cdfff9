"""Steps of the optimisers: one launch for all parameters of a dtype, however many. See the reference for the formulas.

The kernel is given a table: for each parameter its first block, its size, and the addresses of its data, gradient and
state. A block looks up which parameter it works on (a binary search of a few steps) and takes CHUNK elements of it.
"""

import numpy as np
from numba import cuda

from .arrays import BLOCK, blocks, constant, varying, xp
from .elementary import sqrt
from .launch import SIMULATED, device, kernel, launch
from .memory import read, write

CHUNK = BLOCK if SIMULATED else 2048  # elements a block


def sgd_step(parameters, grads, buffers, first, lr, momentum, dampening, weight_decay, nesterov, maximize):
    """b = momentum·b + (1 − dampening)·g, in the first step b = g;  p −= lr·b, nesterov: p −= lr·(g + momentum·b)"""
    numbers = lr, momentum, 1 - dampening, weight_decay, -1 if maximize else 1
    flags = int(buffers[0] is not None), int(nesterov)
    _step(_sgd, [parameters, grads, buffers], [1 if new else 0 for new in first], numbers, flags)


def adam_step(parameters, grads, means, squares, largest, steps, lr, betas, eps, weight_decay, decoupled, maximize):
    """m = β₁m + (1 − β₁)g,  v = β₂v + (1 − β₂)g²,  p −= lr · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + eps)"""
    beta1, beta2 = betas
    rates = [lr / (1 - beta1**t) for t in steps]
    roots = [float(np.sqrt(1 - beta2**t)) for t in steps]
    shrink, decay = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    numbers = 1 - beta1, beta2, 1 - beta2, eps, decay, shrink, -1 if maximize else 1
    flags = (int(largest[0] is not None),)
    _step(_adam, [parameters, grads, means, squares, largest], list(zip(rates, roots)), numbers, flags)


def rmsprop_step(parameters, grads, squares, buffers, averages, lr, alpha, eps, weight_decay, momentum, maximize):
    """v = αv + (1 − α)g²,  p −= lr · g / (√v + eps);  centred: √(v − a²), a the running mean of g"""
    numbers = lr, alpha, 1 - alpha, eps, weight_decay, momentum, -1 if maximize else 1
    flags = int(buffers[0] is not None), int(averages[0] is not None)
    _step(_rmsprop, [parameters, grads, squares, buffers, averages], [0] * len(parameters), numbers, flags)


def _step(step_kernel, lists, own, numbers, flags):
    """One launch a dtype. lists: arrays by role, None where a role is not used; own: the numbers of each parameter."""
    for dtype in sorted({p.dtype for p in lists[0]}, key=str):
        chosen = [i for i, p in enumerate(lists[0]) if p.dtype == dtype and p.size]
        if not chosen:
            continue
        with _InPlace() as contiguous:
            roles = [
                [None if arrays[i] is None else contiguous(arrays[i], changes=role != 1) for i in chosen]
                for role, arrays in enumerate(lists)
            ]
            starts, table = _table(roles)
            settings = varying(np.array([*numbers], dtype))
            each = varying(np.array([own[i] for i in chosen], dtype).reshape(len(chosen), -1))
            launch(step_kernel, int(starts[-1]), BLOCK, constant(starts), varying(table), each, settings, *flags)


def _table(roles):
    """(the first block of each parameter and the number of blocks, the size and addresses of each), int64."""
    sizes = [p.size for p in roles[0]]
    starts = np.cumsum([0, *(blocks(size, CHUNK) for size in sizes)]).astype(np.int64)
    addresses = [[0 if array is None else _address(array) for array in arrays] for arrays in roles]
    return starts, np.array([sizes, *addresses], np.int64)


def _address(array):
    return array.ctypes.data if SIMULATED else array.data.ptr


class _InPlace:
    """Hands out C-contiguous arrays to work in, and at the end copies back those that had to be copied."""

    def __enter__(self):
        self._copies = []
        return self._contiguous

    def _contiguous(self, array, changes):
        if array.flags.c_contiguous:
            return array
        copy = xp.array(array, order="C")
        self._copies.append((array if changes else None, copy))
        return copy

    def __exit__(self, *problem):
        for original, copy in self._copies:
            if original is not None:
                original[...] = copy


@device
def _place(starts):
    """(the parameter of this block, the first element that this thread takes)."""
    low, high = 0, starts.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if starts[middle] <= cuda.blockIdx.x:
            low = middle
        else:
            high = middle
    return low, (cuda.blockIdx.x - starts[low]) * CHUNK + cuda.threadIdx.x


@device
def _decayed(p, g, weight_decay, sign):
    """The gradient of the loss (of its negative, to maximise) plus weight_decay/2 · ‖p‖²."""
    return sign * g + weight_decay * p if weight_decay != 0 else sign * g


@kernel
def _sgd(starts, table, is_first, settings, has_buffer, nesterov):
    k, begin = _place(starts)
    lr, momentum, damped, weight_decay, sign = settings[0], settings[1], settings[2], settings[3], settings[4]
    data, grad, buffer = table[1, k], table[2, k], table[3, k]
    for i in range(begin, min(begin + CHUNK - cuda.threadIdx.x, table[0, k]), BLOCK):
        p = read(data, i, lr)
        g = _decayed(p, read(grad, i, lr), weight_decay, sign)
        if has_buffer:
            b = g if is_first[k, 0] else momentum * read(buffer, i, lr) + damped * g
            write(buffer, i, b)
            g = g + momentum * b if nesterov else b
        write(data, i, p - lr * g)


@kernel
def _adam(starts, table, rates, settings, has_largest):
    k, begin = _place(starts)
    share1, beta2, share2, eps = settings[0], settings[1], settings[2], settings[3]
    weight_decay, shrink, sign = settings[4], settings[5], settings[6]
    data, grad, mean, square, largest = table[1, k], table[2, k], table[3, k], table[4, k], table[5, k]
    rate, root = rates[k, 0], rates[k, 1]
    for i in range(begin, min(begin + CHUNK - cuda.threadIdx.x, table[0, k]), BLOCK):
        p = read(data, i, eps) * shrink
        g = _decayed(p, read(grad, i, eps), weight_decay, sign)
        m, v = read(mean, i, eps), read(square, i, eps)
        m = m + share1 * (g - m)
        v = beta2 * v + share2 * g * g
        write(mean, i, m)
        write(square, i, v)
        if has_largest:
            most = read(largest, i, eps)
            v = v if v > most or v != v else most
            write(largest, i, v)
        write(data, i, p - rate * (m / (sqrt(v) / root + eps)))


@kernel
def _rmsprop(starts, table, unused, settings, has_buffer, has_average):
    k, begin = _place(starts)
    lr, alpha, share, eps = settings[0], settings[1], settings[2], settings[3]
    weight_decay, momentum, sign = settings[4], settings[5], settings[6]
    data, grad, square, buffer, average = table[1, k], table[2, k], table[3, k], table[4, k], table[5, k]
    for i in range(begin, min(begin + CHUNK - cuda.threadIdx.x, table[0, k]), BLOCK):
        p = read(data, i, lr)
        g = _decayed(p, read(grad, i, lr), weight_decay, sign)
        v = alpha * read(square, i, lr) + share * g * g
        write(square, i, v)
        if has_average:
            a = read(average, i, lr)
            a = a + share * (g - a)
            write(average, i, a)
            v = v - a * a
        g = g / (sqrt(v) + eps)
        if has_buffer:
            g = momentum * read(buffer, i, lr) + g
            write(buffer, i, g)
        write(data, i, p - lr * g)
