"""What ships (minicnn/backends/cpu/gemm.py): blocks for each cache around the microkernel, and b packed into panels
that it reads one after the other. 152 GFLOP/s (see README.md)."""

from minicnn.backends.cpu.gemm import gemm

SIZE = 2048


def multiply(a, b):
    return gemm(a, b)
