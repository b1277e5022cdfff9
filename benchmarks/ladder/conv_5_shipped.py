"""What ships: here Winograd's F(4×4, 3×3), which computes 16 outputs with 36 multiplications instead of 144, around
the same microkernel (minicnn/backends/cpu/winograd.py). 340 GFLOP/s (see README.md)."""

import minicnn
from minicnn import functional as F


def convolve(x, weight):
    with minicnn.conv_algorithm("auto"), minicnn.no_grad():
        return F.conv2d(x, weight)[0]
