"""One case measured: checked against float64 first, then timed in turns with its peers."""

import contextlib
import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
Call = Callable[[], tuple]
OURS = "minicnn"
SETTLE = 0.005  # seconds without work before a turn: the threads of the library before go to sleep
PEER_ALLOWED = 1e-3  # error of a peer: whoever computes something else would be no peer
LEAST = 0.001  # a sample repeats its call until it takes so many seconds


class Case(NamedTuple):
    """One thing to measure. A call returns what it computed: arrays, or the peer's tensors."""

    group: str  # the cases of a group share a geometric mean
    name: str
    batch: int | None
    phase: str  # "forward", "backward", "step" or "predict"
    work: float  # floating-point operations, or the bytes that have to be moved, of one call
    unit: str  # "GFLOP/s" or "GB/s"
    calls: dict[str, Call]  # "minicnn" first, then its peers
    truth: Callable[[], tuple]  # the same in float64
    allowed: float  # error of minicnn relative to the largest value of each array


class Effort(NamedTuple):
    """How long a case is measured."""

    rounds: int  # turns of each call
    samples: int  # timed in a turn; calls of more than 50 ms once
    seconds: float  # of one call in all: long calls get fewer rounds, but at least 3


THOROUGH, QUICK = Effort(9, 5, 4.0), Effort(3, 3, 1.0)


def measure(case: Case, peaks: dict[str, float], effort: Effort = THOROUGH) -> dict[str, Any]:
    """The figures of a case. `ArithmeticError` if a result is wrong: nothing is timed before it is right.

    "compile" is what the first call took longer than a later one: compiling, or loading from the cache of kernels.
    "ratio" is the time of the fastest peer by ours: above 1 minicnn is faster.
    """
    truth = case.truth()
    began = time.perf_counter()
    results = case.calls[OURS]()
    first = time.perf_counter() - began
    errors = {OURS: checked(case, OURS, results, truth, case.allowed)}
    for who, call in case.calls.items():
        if who != OURS:
            errors[who] = checked(case, who, call(), truth, max(PEER_ALLOWED, case.allowed))
    del truth, results
    seconds = dict(zip(case.calls, interleaved(list(case.calls.values()), effort)))
    ours = seconds[OURS]
    peers = {who: each for who, each in seconds.items() if who != OURS}
    best = min(peers, key=peers.__getitem__, default=None)
    rate = case.work / ours / 1e9
    return {
        "group": case.group, "case": case.name, "batch": case.batch, "phase": case.phase,
        "compile": max(0.0, first - ours), "seconds": ours, "rate": rate, "unit": case.unit,
        "of_peak": rate / peaks[case.unit], "error": errors[OURS], "errors": errors, "peers": peers, "peer": best,
        "peer_seconds": peers.get(best), "ratio": peers[best] / ours if best else None,
    }  # fmt: skip


def checked(case: Case, who: str, results: tuple, truth: tuple, allowed: float) -> float:
    """The largest error, relative to the largest value of its array."""
    worst = max((error(as_array(result), as_array(true)) for result, true in zip(results, truth)), default=0.0)
    if len(results) != len(truth) or not worst <= allowed:
        raise ArithmeticError(
            f"{case.name}, {case.phase}, batch {case.batch}: {who} is off by {worst:.1e} of the largest value, "
            f"allowed {allowed:.1e}"
        )
    return worst


def error(result: Array, truth: Array) -> float:
    """max |result - truth| / max |truth|; infinite where shapes differ.

    >>> error(np.array([1.0, 2.5]), np.array([1.0, 2.0]))
    0.25
    """
    if result.shape != truth.shape:
        return math.inf
    if truth.size == 0:
        return 0.0
    largest = max(float(np.abs(truth).max()), float(np.finfo(np.float32).tiny))
    return float(np.abs(result - truth).max()) / largest


def as_array(value: Any) -> Array:
    """An array from an array, a number or a tensor of torch."""
    return np.asarray(value.detach().numpy() if hasattr(value, "detach") else value)


def interleaved(calls: Sequence[Callable[[], Any]], effort: Effort = THOROUGH) -> list[float]:
    """The median seconds of each call, taken in turns, without the garbage collector.

    A turn begins with a pause and a call that is not timed, so that caches and threads are the call's own.

    >>> fast, slow = interleaved([lambda: sum(range(10)), lambda: sum(range(10_000))], QUICK)
    >>> fast < slow
    True
    """
    with no_collector():
        repeats = [_repeats(call) for call in calls]
        longest = max((seconds for _, seconds in repeats), default=0.0)
        samples = 1 if longest > 0.05 else effort.samples
        rounds = min(effort.rounds, max(3, int(effort.seconds / ((samples + 1) * max(longest, LEAST)))))
        times: list[list[float]] = [[] for _ in calls]
        for _ in range(rounds):
            for call, (number, _), mine in zip(calls, repeats, times):
                time.sleep(SETTLE)
                _sample(call, number)
                mine += [_sample(call, number) for _ in range(samples)]
    return [float(np.median(mine)) for mine in times]


def _repeats(call: Callable[[], Any]) -> tuple[int, float]:
    """(how many calls make a sample, about how long one call takes)"""
    _sample(call, 1)
    once = _sample(call, 1)
    number = 1 if once >= LEAST else max(1, math.ceil(LEAST / max(1e-7, min(once, _sample(call, 3)))))
    return number, once


def _sample(call: Callable[[], Any], number: int) -> float:
    """Seconds of one call, as the mean of `number`."""
    began = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - began) / number


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    """Python's garbage collector must not run while something is timed."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def geometric_mean(ratios: Sequence[float]) -> float:
    """
    >>> geometric_mean([0.5, 2.0, 8.0])
    2.0
    """
    return math.exp(math.fsum(math.log(ratio) for ratio in ratios) / len(ratios))
