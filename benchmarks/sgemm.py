"""Matrix products beside torch (MKL) and NumPy (OpenBLAS), in one process and in turns.

    python benchmarks/sgemm.py

Each product is validated against float64 before it is timed; "ratio" is the time of torch and of NumPy by ours.
"""

import argparse
import os

os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")  # else NumPy's idle threads spin while others are timed

import numpy as np
import torch
from conv_layers import interleaved

import minicnn
from minicnn.backends.cpu.gemm import gemm
from minicnn.bench.peak import fma_peak

SHAPES = [(n, n, n) for n in (512, 768, 1024, 1536, 2048)] + [(128, 1000, 512), (32, 10, 3136), (1, 1000, 512)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    options = parser.parse_args()
    threads = minicnn.get_num_threads()
    torch.set_num_threads(threads)
    print(f"{threads} threads, float32 FMA peak {fma_peak(threads):.0f} GFLOP/s, {options.dtype}")
    print(f"{'M':>6}{'N':>6}{'K':>6}{'GFLOP/s':>9}{'torch':>7}{'numpy':>7}{'ratio':>7}{'ratio':>7}{'error':>9}")
    rng = np.random.default_rng(0)
    for M, N, K in SHAPES:
        a, b = (rng.standard_normal(shape).astype(options.dtype) for shape in ((M, K), (K, N)))
        truth = a.astype(np.float64) @ b.astype(np.float64)
        error = float(np.abs(gemm(a, b) - truth).max() / np.abs(truth).max())
        assert error < 1e-5, f"{M} x {N} x {K}: the error is {error:.1e} of the largest value"
        ta, tb = torch.from_numpy(a), torch.from_numpy(b)
        calls = [lambda: gemm(a, b), lambda: ta @ tb, lambda: a @ b]  # noqa: B023
        seconds = interleaved(calls, options.rounds)
        ours, theirs, numpys = (2 * M * N * K / s / 1e9 for s in seconds)
        print(
            f"{M:6}{N:6}{K:6}{ours:9.0f}{theirs:7.0f}{numpys:7.0f}{ours / theirs:7.2f}{ours / numpys:7.2f}{error:9.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
