"""The columns are never stored: a block of them is made in the cache, where the microkernel reads it, and overwritten
by the next (minicnn/backends/cpu/implicit.py). 325 GFLOP/s (see README.md)."""

import minicnn
from minicnn import functional as F


def convolve(x, weight):
    with minicnn.conv_algorithm("im2col"), minicnn.no_grad():
        return F.conv2d(x, weight)[0]
