"""Runs every step of the two ladders: checked against float64, then timed. GFLOP/s count the multiplications of the
definition, so that steps, and sizes, can be compared.

    python benchmarks/ladder/run.py              # both, on all threads
    python benchmarks/ladder/run.py --tiny       # only that they are right
"""

import argparse
import importlib
import sys
from pathlib import Path

import numpy as np

import minicnn
from minicnn.bench.harness import QUICK, error, interleaved
from minicnn.bench.peak import fma_peak

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


def steps(kind):
    """The modules of a ladder, from the first step to what ships."""
    return [importlib.import_module(path.stem) for path in sorted(HERE.glob(f"{kind}_[0-9]_*.py"))]


def gemm_call(step, tiny=False):
    """(call, the exact result, FLOPs)"""
    n = 48 if tiny else step.SIZE
    a, b = np.random.default_rng(0).standard_normal((2, n, n), np.float32)
    return lambda: step.multiply(a, b), a.astype(np.float64) @ b, 2 * n**3


def conv_call(step, tiny=False):
    """A 3×3 convolution of ResNet18's first stage, 64 channels on 56×56, of a few images; less for the slow steps."""
    images, channels, filters = (getattr(step, name, value) for name, value in
                                 (("BATCH", 8), ("CHANNELS", 64), ("FILTERS", 64)))  # fmt: skip
    side = getattr(step, "IMAGE", 58)
    if tiny:
        images, channels, filters, side = 1, 16, 16, 18
    rng = np.random.default_rng(0)
    x = np.zeros((images, channels, side, side), np.float32)
    x[:, :, 1:-1, 1:-1] = rng.standard_normal((images, channels, side - 2, side - 2), np.float32)
    weight = rng.standard_normal((filters, channels, 3, 3), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (3, 3), axis=(2, 3))
    exact = np.einsum("nchwpq,fcpq->nfhw", windows, weight, optimize=True)
    return lambda: step.convolve(x, weight), exact, 2 * exact.size * channels * 9


def run(tiny=False):
    """A line a step. `AssertionError` if one is wrong: nothing is timed before it is right."""
    peak = None if tiny else fma_peak(minicnn.get_num_threads())
    found = []
    for kind, prepare in (("gemm", gemm_call), ("conv", conv_call)):
        for step in steps(kind):
            call, exact, flop = prepare(step, tiny)
            off = error(call(), exact)
            assert off < 5e-5, f"{step.__name__} is off by {off:.1e} of the largest value"
            line = {"step": step.__name__, "error": off}
            if not tiny:
                seconds = interleaved([call], QUICK)[0]
                line |= {"seconds": seconds, "gflops": flop / seconds / 1e9, "of_peak": flop / seconds / 1e9 / peak}
            found.append(line)
    return found


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, not timed")
    for line in run(parser.parse_args(argv).tiny):
        text = f"{line['step']:20} error {line['error']:.0e}"
        if "seconds" in line:
            text += f" {line['seconds'] * 1e3:9.3f} ms {line['gflops']:9.3f} GFLOP/s {line['of_peak']:7.2%} of the peak"
        print(text)


if __name__ == "__main__":
    main()
