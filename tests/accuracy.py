"""float32 against the truth, with PyTorch's own float32 error as the yardstick."""

import numpy as np

TIMES, ULPS = 4, 4


def assert_as_accurate(actual, truth, peer, what="result"):
    """|actual − truth| ≤ 4 · |peer − truth| + 4 ulp of the largest value, by the largest error of each.

    actual and peer: float32 results; truth: the same in float64, from the same float32 inputs.
    """
    assert actual.dtype == np.float32
    truth = np.asarray(truth, np.float64)
    largest = float(np.abs(truth).max(initial=0.0))
    error, allowed = np.abs(actual - truth), np.abs(np.asarray(peer, np.float64) - truth).max(initial=0.0)
    allowed = TIMES * allowed + ULPS * np.spacing(np.float32(largest))
    worst = np.unravel_index(int(np.argmax(error)), error.shape) if error.size else ()
    assert error.size == 0 or error[worst] <= allowed, (
        f"{what}: {actual[worst]!r} at {tuple(map(int, worst))}, truth {truth[worst]!r}: "
        f"off by {error[worst]:.2e}, allowed {allowed:.2e} ({TIMES} × PyTorch's error + {ULPS} ulp)"
    )
