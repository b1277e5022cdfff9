"""The few numbers that a batch leaves behind: its loss, the divisor of the mean, the statistics of a batch norm.

They stay on the GPU, in one or two launches each: a step then waits for nothing, and can be captured in a graph.
Sums are float64, in a fixed order.
"""

import numpy as np
from numba import cuda

from .arrays import BLOCK, blocks, canonical, empty, flat
from .launch import SIMULATED, kernel, launch
from .reduce import block_sum

PER_PART = BLOCK * (1 if SIMULATED else 64)  # values a block sums
MOST_PARTS = 1024


def reduce_losses(losses, weights, mean):
    """(Σ losses, divided by the divisor for the mean; the divisor Σ weights, or weights where it is a number)."""
    summed = hasattr(weights, "shape") and weights.ndim > 0
    loss, divisor = empty((), losses.dtype), empty((), np.float64)
    values = flat(losses)
    parts = max(1, min(blocks(values.size, PER_PART), MOST_PARTS))
    partial = empty((2 * parts,), np.float64)
    launch(_sum_parts, parts, BLOCK, values, flat(weights) if summed else values, partial)
    constant = 0.0 if summed else float(weights)
    launch(_finish, 1, BLOCK, partial, loss.reshape(1), divisor.reshape(1), parts, constant, int(summed), int(mean))
    return loss, divisor


def loss_scale(dy, divisor, shape):
    """dy (0-d) / divisor in every place of an array of that shape."""
    scale = empty(shape, dy.dtype)
    launch(_scale, blocks(scale.size, BLOCK), BLOCK, dy.reshape(1), divisor.reshape(1), scale.reshape(-1))
    return scale


def batch_norm_move(running_mean, running_var, mean, var, momentum, correction):
    """new = (1 − momentum) · old + momentum · batch, in place; the variance of the batch times the correction."""
    moved = canonical(running_mean), canonical(running_var)
    launch(_move, blocks(mean.size, BLOCK), BLOCK, *moved, flat(mean), flat(var), float(momentum), float(correction))
    for running, new in zip((running_mean, running_var), moved):
        if new is not running:
            running[...] = new


@kernel
def _sum_parts(losses, weights, partial):
    """partial[part], partial[parts + part] = the sums of a block's losses and weights."""
    total, weight = np.float64(0), np.float64(0)
    for i in range(cuda.grid(1), losses.size, cuda.gridDim.x * cuda.blockDim.x):
        total += losses[i]
        weight += weights[i]
    total, weight = block_sum(total), block_sum(weight)
    if cuda.threadIdx.x == 0:
        partial[cuda.blockIdx.x] = total
        partial[cuda.gridDim.x + cuda.blockIdx.x] = weight


@kernel
def _finish(partial, loss, divisor, parts, constant, summed, mean):
    total, weight = np.float64(0), np.float64(0)
    for part in range(cuda.threadIdx.x, parts, BLOCK):
        total += partial[part]
        weight += partial[parts + part]
    total, weight = block_sum(total), block_sum(weight)
    if cuda.threadIdx.x == 0:
        weight = weight if summed else constant
        divisor[0] = weight
        loss[0] = total / weight if mean else total


@kernel
def _scale(dy, divisor, scale):
    i = cuda.grid(1)
    if i < scale.size:
        scale[i] = np.float64(dy[0]) / divisor[0]


@kernel
def _move(running_mean, running_var, mean, var, momentum, correction):
    c = cuda.grid(1)
    if c < mean.size:
        running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean[c]
        running_var[c] = (1 - momentum) * running_var[c] + momentum * (var[c] * correction)
