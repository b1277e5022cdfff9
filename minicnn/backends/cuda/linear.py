"""Matrix products of the fully connected layer, and the sums over channels that biases need."""

from numba import cuda

from .arrays import BLOCK, blocks, canonical, empty, zeros
from .gemm import gemm
from .launch import kernel, launch
from .reduce import block_sum

PART = 1 << 16  # numbers of a channel that one block sums


def linear_forward(x, weight, bias):
    """y = x @ weight.T + bias"""
    return gemm(x, weight.T, bias)  # (M, K) @ (K, O) -> (M, O)


def linear_input_grad(dy, weight):
    # forward: y = x @ weight.T, so dL/dx = dL/dy @ weight
    return gemm(dy, weight)  # (M, O) @ (O, K) -> (M, K)


def linear_weight_grad(dy, x):
    # forward: y = x @ weight.T, so dL/dweight = (dL/dy).T @ x
    return gemm(dy.T, x)  # (O, M) @ (M, K) -> (O, K)


def channel_sum(dy):
    # forward: y[:, c] = … + bias[c], so dL/dbias[c] is the sum of dy over everything but c
    dy = canonical(dy)
    C = dy.shape[1]
    if dy.size == 0:
        return zeros((C,), dy.dtype)
    dbias, of_channel = empty((C,), dy.dtype), dy.size // C
    sizes = of_channel, C, of_channel // dy.shape[0]
    if sizes[2] == 1:
        launch(_column_sum, blocks(C, BLOCK), BLOCK, dy.reshape(-1), dbias, sizes)
        return dbias
    parts = blocks(of_channel, PART)
    sums = empty((parts * C,), "float64")
    launch(_part_sum, (C, parts), BLOCK, dy.reshape(-1), sums, sizes)
    launch(_sum_of_parts, blocks(C, BLOCK), BLOCK, sums, dbias, parts)
    return dbias


@kernel
def _column_sum(dy, dbias, sizes):
    """A thread a column of (N, C): neighbours read neighbours."""
    rows, C, _ = sizes
    c = cuda.grid(1)
    if c < C:
        total = 0.0
        for n in range(rows):
            total += dy[n * C + c]
        dbias[c] = total


@kernel
def _part_sum(dy, sums, sizes):
    """A block a part of a channel of (N, C, L)."""
    of_channel, C, L = sizes
    c, part = cuda.blockIdx.x, cuda.blockIdx.y
    total = 0.0
    for i in range(part * PART + cuda.threadIdx.x, min((part + 1) * PART, of_channel), BLOCK):
        total += dy[(i // L * C + c) * L + i % L]
    total = block_sum(total)
    if cuda.threadIdx.x == 0:
        sums[part * C + c] = total


@kernel
def _sum_of_parts(sums, dbias, parts):
    c = cuda.grid(1)
    if c < dbias.size:
        total = 0.0
        for part in range(parts):
            total += sums[part * dbias.size + c]
        dbias[c] = total


def add_channel_bias(y, bias):
    """y[:, c] += bias[c], in place; y is C-contiguous."""
    L = y.size // max(1, y.shape[0] * y.shape[1])
    launch(_add_channel_bias, blocks(y.size, BLOCK), BLOCK, y.reshape(-1), canonical(bias), L)


@kernel
def _add_channel_bias(y, bias, L):
    at = cuda.grid(1)
    if at < y.size:
        y[at] += bias[at // L % bias.size]
