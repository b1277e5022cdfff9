"""How far a result may be from the truth. One bound for all tests, so that none is widened to pass.

A sum of n products in floating point is off by at most about n·eps·Σ|products|; with random signs the error grows like
sqrt(n). Tests allow `SAFETY·sqrt(n)·eps` of the largest value, n the length of the longest reduction in the operation.
"""

import numpy as np

SAFETY = 8


def bound(dtype, length=1):
    """Largest allowed error relative to the largest value, for sums of `length` terms."""
    return SAFETY * np.sqrt(max(1, length)) * np.finfo(dtype).eps


def assert_close(actual, expected, length=1, dtype=None, what="result"):
    """Compare with the truth (any precision); a failure names the worst index and both values."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    if actual.size == 0:
        return
    allowed = bound(dtype or actual.dtype, length)
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    finite = np.isfinite(expected)
    scale = max(1e-30, float(np.abs(expected[finite]).max(initial=0.0)))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(actual.astype(np.float64) - expected) / scale)
    error = np.where(np.isnan(error), np.inf, error)
    worst = np.unravel_index(int(np.argmax(error)), error.shape)
    assert error[worst] <= allowed, (
        f"{what}: {actual[worst]!r} at {tuple(map(int, worst))}, expected {expected[worst]!r}: "
        f"off by {error[worst]:.2e} of the largest value, allowed {allowed:.2e}"
    )
