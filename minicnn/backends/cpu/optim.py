"""Steps of the optimisers: one parallel call and one pass over memory for all parameters of a model.

The signatures are those of the reference. A kernel gets a table with a row for each parameter: the addresses of its
arrays and its size. A call for each parameter would cost 4 µs, half of the step of a small network. A task is one chunk
of one parameter.
"""

import ctypes
import math

import numba
import numpy as np
from numba import carray, prange, types
from numba.extending import intrinsic

from .arrays import canonical
from .cache import kernel
from .threads import launch

CHUNK = 4096  # elements a task: with four arrays of float32 64 KiB, which stays in L2
SIZE, END = -2, -1  # columns of the table behind the addresses: elements, and chunks up to and with this parameter


def sgd_step(parameters, grads, buffers, first, lr, momentum, dampening, weight_decay, nesterov, maximize):
    """b = momentum·b + (1 − dampening)·g, in the first step b = g;  p −= lr·b, nesterov: p −= lr·(g + momentum·b)"""
    numbers = [
        (lr, momentum, 1 - dampening, weight_decay, -1.0 if maximize else 1.0, nesterov, is_first) for is_first in first
    ]
    in_place(_sgd, parameters, grads, (buffers,), numbers)


def adam_step(parameters, grads, means, squares, largest, steps, lr, betas, eps, weight_decay, decoupled, maximize):
    """m = β₁m + (1 − β₁)g,  v = β₂v + (1 − β₂)g²,  p −= lr · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + eps)"""
    beta1, beta2 = betas
    shrink = 1 - lr * weight_decay if decoupled else 1.0
    decay, sign = 0.0 if decoupled else weight_decay, -1.0 if maximize else 1.0
    numbers = [
        (shrink, decay, 1 - beta1, beta2, 1 - beta2, lr / (1 - beta1**t), math.sqrt(1 - beta2**t), eps, sign)
        for t in steps
    ]
    in_place(_adam, parameters, grads, (means, squares, largest), numbers)


def rmsprop_step(parameters, grads, squares, buffers, averages, lr, alpha, eps, weight_decay, momentum, maximize):
    """v = αv + (1 − α)g²,  p −= lr · g / (√v + eps);  centred: √(v − a²), a the running mean of g"""
    numbers = [(lr, alpha, 1 - alpha, eps, weight_decay, momentum, -1.0 if maximize else 1.0)] * len(parameters)
    in_place(_rmsprop, parameters, grads, (squares, buffers, averages), numbers)


# A loop over one chunk is a kernel of its own, from 0 to the size of slices: then LLVM knows that no index is negative.
# It runs a loop over vectors only where at most eight comparisons of addresses prove that no array that the loop writes
# overlaps another: so the loops are cut until each writes few arrays.


@kernel(parallel=True)
def _sgd(table, numbers):
    for chunk in prange(table[-1, END]):
        row, begin = chunk_at(table, chunk)
        p, g = array_at(table, row, 0, begin, numbers), array_at(table, row, 1, begin, numbers)
        _sgd_chunk(p, g, array_at(table, row, 2, begin, numbers), numbers[row])


@kernel
def _sgd_chunk(p, g, b, numbers):
    lr, momentum, undamped, decay, sign = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    nesterov, first, ahead = numbers[5] != 0, numbers[6] != 0, numbers[1]
    if b.size == 0:
        for i in range(p.size):
            p[i] -= lr * gradient(p[i], g[i], sign, decay)
        return
    if first:  # b = g
        momentum, undamped = numbers.dtype.type(0), numbers.dtype.type(1)
        for i in range(b.size):
            b[i] = 0  # whatever it held
    for i in range(b.size):  # b first, then p: one loop for both is not run over vectors, 620 µs where this takes 130
        b[i] = momentum * b[i] + undamped * gradient(p[i], g[i], sign, decay)
    if nesterov:
        for i in range(p.size):
            p[i] -= lr * (gradient(p[i], g[i], sign, decay) + ahead * b[i])
    else:
        for i in range(p.size):
            p[i] -= lr * b[i]


@kernel(parallel=True)
def _adam(table, numbers):
    for chunk in prange(table[-1, END]):
        row, begin = chunk_at(table, chunk)
        p, g = array_at(table, row, 0, begin, numbers), array_at(table, row, 1, begin, numbers)
        m, v = array_at(table, row, 2, begin, numbers), array_at(table, row, 3, begin, numbers)
        _adam_chunk(p, g, m, v, array_at(table, row, 4, begin, numbers), numbers[row])


@kernel
def _adam_chunk(p, g, m, v, v_max, numbers):
    shrink, decay, one_beta1, beta2, one_beta2 = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    lr, root_bias, eps, sign = numbers[5], numbers[6], numbers[7], numbers[8]
    if v_max.size == 0:
        for i in range(p.size):
            shrunk = p[i] * shrink
            grad = gradient(shrunk, g[i], sign, decay)
            m[i] += one_beta1 * (grad - m[i])
            v[i] = beta2 * v[i] + one_beta2 * grad * grad
            p[i] = shrunk - lr * (m[i] / (np.sqrt(v[i]) / root_bias + eps))
        return
    for i in range(p.size):
        p[i] *= shrink
        grad = gradient(p[i], g[i], sign, decay)
        m[i] += one_beta1 * (grad - m[i])
        v[i] = beta2 * v[i] + one_beta2 * grad * grad
    for i in range(p.size):
        v_max[i] = v[i] if v[i] > v_max[i] or np.isnan(v[i]) else v_max[i]
    for i in range(p.size):
        p[i] -= lr * (m[i] / (np.sqrt(v_max[i]) / root_bias + eps))


@kernel(parallel=True)
def _rmsprop(table, numbers):
    for chunk in prange(table[-1, END]):
        row, begin = chunk_at(table, chunk)
        p, g = array_at(table, row, 0, begin, numbers), array_at(table, row, 1, begin, numbers)
        v, b = array_at(table, row, 2, begin, numbers), array_at(table, row, 3, begin, numbers)
        _rmsprop_chunk(p, g, v, b, array_at(table, row, 4, begin, numbers), numbers[row])


@kernel
def _rmsprop_chunk(p, g, v, b, a, numbers):
    lr, alpha, one_alpha, eps = numbers[0], numbers[1], numbers[2], numbers[3]
    decay, momentum, sign = numbers[4], numbers[5], numbers[6]
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


# ---- the table ----


def in_place(step, parameters, grads, states, numbers):
    """Run a kernel on all parameters of one dtype after the other.

    states: lists of arrays or None, like the parameters. numbers: what the kernel needs for each parameter, in its
    dtype so that float32 arithmetic stays float32. An array that is not C-contiguous is worked on as a copy, put back.
    """
    for dtype in {p.dtype: None for p in parameters}:
        table, settings, copies, read, end = [], [], [], [], 0
        for p, g, own, *state in zip(parameters, grads, numbers, *states):
            if p.dtype == dtype:
                end += -(-p.size // CHUNK)
                table += address(p, copies), address(g, read), *[address(each, copies) for each in state], p.size, end
                settings += own
        launch(step, _rows(table, np.int64, len(states) + 4), _rows(settings, dtype, len(numbers[0])))
        for array, copy in copies:
            array[...] = copy


def _rows(values, dtype, width):
    """A list as an array of rows. 2 µs, np.array of lists 6."""
    return np.fromiter(values, dtype, len(values)).reshape(-1, width)


_place, _first_of = ctypes.addressof, ctypes.c_char.from_buffer


def address(array, copies):
    """Where its elements begin, or those of a C-contiguous copy, which goes to the list as (array, copy).

    0 for an array that is left out or has none. 0.4 µs, array.ctypes.data 1.3.
    """
    if array is None or array.size == 0:
        return 0
    worked = canonical(array)
    if worked is not array:
        copies.append((array, worked))
    return _place(_first_of(worked))


@kernel
def chunk_at(table, chunk):
    """(row, begin): the parameter to which this chunk belongs, and its first element there."""
    row = 0
    while table[row, END] <= chunk:
        row += 1
    before = table[row - 1, END] if row > 0 else 0
    return row, (chunk - before) * CHUNK


@kernel
def array_at(table, row, column, begin, like):
    """The chunk of an array of the table that begins there, empty for one that is left out; of the dtype of `like`."""
    start = table[row, column]
    size = min(CHUNK, table[row, SIZE] - begin) if start != 0 else 0
    return view(start + begin * like.itemsize, size, like)


@intrinsic
def _pointer(typingctx, place, like):
    """An address as a pointer to elements of the dtype of `like`."""
    signature = types.CPointer(like.dtype)(types.int64, like)

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return signature, codegen


@kernel
def view(place, size, like):
    return carray(_pointer(place, like), (size,), like.dtype)


def _view_python(place, size, like):
    """The same without the compiler, for NUMBA_DISABLE_JIT=1."""
    memory = (ctypes.c_char * int(size * like.itemsize)).from_address(int(place))
    return np.frombuffer(memory, like.dtype) if size else np.empty(0, like.dtype)


if numba.config.DISABLE_JIT:
    view = _view_python
