"""What the machine can do, measured in the same run: multiply-adds in registers and copying through memory."""

import time
from collections.abc import Callable
from threading import Thread

import numpy as np

DEPTH, REPEATS = 256, 40_000  # 20 ms: of 2 ms the start of two threads took a quarter


def peaks(threads: int, rounds: int = 5) -> dict[str, float]:
    """{"GFLOP/s": of the vector microkernel on data in the L1 cache, "GB/s": of copying arrays larger than caches}."""
    return {"GFLOP/s": fma_peak(threads, rounds), "GB/s": copy_bandwidth(threads, rounds)}


def fma_peak(threads: int, rounds: int = 5) -> float:
    """GFLOP/s: each thread multiplies an MR × 256 by a 256 × NR matrix over and over, float32. The best round."""
    import numba

    from ..backends.cpu.simd import MR, NR32, tile_product

    @numba.njit(nogil=True)
    def work(a, b, c):
        for _ in range(REPEATS):
            tile_product(DEPTH, a, 0, DEPTH, 1, b, 0, NR32, c, 0, NR32, MR, NR32, False)

    operands = [[np.zeros(DEPTH * size, np.float32) for size in (MR, NR32, NR32)] for _ in range(threads)]
    work(*operands[0])  # compiles
    seconds = _on_threads(lambda t: work(*operands[t]), threads, rounds)
    return threads * REPEATS * 2 * DEPTH * MR * NR32 / seconds / 1e9


def copy_bandwidth(threads: int, rounds: int = 5, megabytes: int = 128) -> float:
    """GB/s read and written by copying arrays of this size, a part of them each thread. The best of the rounds."""
    source = np.ones(megabytes * 250_000, np.float32)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads)))

    def work(t: int) -> None:
        np.copyto(parts[t][1], parts[t][0])  # without the GIL

    return 2 * source.nbytes / _on_threads(work, threads, rounds) / 1e9


def _on_threads(work: Callable[[int], object], threads: int, rounds: int) -> float:
    """The least seconds that work(0) … work(threads − 1) took side by side."""
    best = float("inf")
    for _ in range(rounds):
        workers = [Thread(target=work, args=(t,)) for t in range(threads)]
        began = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        best = min(best, time.perf_counter() - began)
    return best
