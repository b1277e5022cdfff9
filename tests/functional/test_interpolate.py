"""interpolate: torch as truth, the given scale used as it is."""

import checks
import numpy as np
import pytest
import torch
from cases import DTYPES, RESIZES, each, settings_of, some_infinite, some_nan
from contract import assert_contract
from refusals import check_refusals
from tolerance import assert_close

from minicnn import functional as F

MODES = [("nearest", False), ("bilinear", False), ("bilinear", True)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("mode", "align_corners"), MODES, ids=["nearest", "bilinear", "bilinear-aligned"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (0, 2, 5, 7), (1, 1, 1, 7)], ids=str)
@each(RESIZES)
def test_torch_agrees(backend, case, shape, mode, align_corners, dtype):
    if shape[2] == 1 and isinstance(case.scale_factor, tuple):
        case = case._replace(scale_factor=case.scale_factor[::-1])  # 0.6 of one row is none
        shape = (*shape[:2], 2, shape[3])
    checks.interpolate(shape, mode=mode, align_corners=align_corners, **settings_of(case), dtype=np.dtype(dtype).type)


def test_nearest_rounds_as_torch(backend):
    """The source index is rounded down after a float32 product: every size up to 40."""
    for size in range(1, 41):
        x = np.arange(float(size)).reshape(1, 1, 1, size)
        for count in range(1, 41):
            truth = torch.nn.functional.interpolate(torch.tensor(x), size=(1, count))
            np.testing.assert_array_equal(F.interpolate(x, (1, count))[0], truth.numpy())


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("values", [some_nan, some_infinite])
def test_nan_and_infinities(backend, mode, values, rng):
    x = values((2, 2, 6, 5), rng)
    truth = torch.nn.functional.interpolate(torch.tensor(x), size=(4, 9), mode=mode)
    assert_close(F.interpolate(x, (4, 9), mode=mode)[0], truth.numpy(), 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_contract(backend, mode, rng, dtype):
    def interpolate(x):
        return F.interpolate(x, (7, 3), mode=mode)

    assert_contract(interpolate, F.interpolate_backward, [rng.standard_normal((2, 3, 4, 5)).astype(dtype)], rng)


X = np.zeros((2, 3, 5, 4))
REFUSED = [
    ("x-none", {"x": None}, TypeError, "x"),
    ("x-integers", {"x": X.astype(int)}, TypeError, "x"),
    ("x-unbatched", {"x": X[0]}, ValueError, "x"),
    ("x-no-rows", {"x": X[:, :, :0]}, ValueError, "x"),
    ("size-none", {"size": None}, ValueError, "size"),
    ("size-and-scale", {"scale_factor": 2}, ValueError, "scale_factor"),
    ("size-zero", {"size": 0}, ValueError, "size"),
    ("size-float", {"size": 2.0}, TypeError, "size"),
    ("size-huge", {"size": 2**62}, ValueError, "size"),
    ("size-triple", {"size": (1, 1, 1)}, ValueError, "size"),
    ("scale-zero", {"size": None, "scale_factor": 0.0}, ValueError, "scale_factor"),
    ("scale-negative", {"size": None, "scale_factor": -1}, ValueError, "scale_factor"),
    ("scale-nan", {"size": None, "scale_factor": float("nan")}, ValueError, "scale_factor"),
    ("scale-infinite", {"size": None, "scale_factor": float("inf")}, ValueError, "scale_factor"),
    ("scale-huge", {"size": None, "scale_factor": 1e30}, ValueError, "scale_factor"),
    ("scale-large", {"size": None, "scale_factor": 1e15}, ValueError, "scale_factor"),
    ("scale-too-small", {"size": None, "scale_factor": 0.2}, ValueError, "scale_factor"),
    ("scale-string", {"size": None, "scale_factor": "2"}, TypeError, "scale_factor"),
    ("scale-bool", {"size": None, "scale_factor": True}, TypeError, "scale_factor"),
    ("scale-triple", {"size": None, "scale_factor": (1, 2, 3)}, ValueError, "scale_factor"),
    ("mode-name", {"mode": "bicubic"}, ValueError, "mode"),
    ("mode-none", {"mode": None}, TypeError, "mode"),
    ("align-corners-int", {"mode": "bilinear", "align_corners": 1}, TypeError, "align_corners"),
    ("align-corners-nearest", {"align_corners": True}, ValueError, "align_corners"),
    ("dy-shape", {"dy": X}, ValueError, "dy"),
    ("dy-dtype", {"dy": np.zeros((2, 3, 3, 3), np.float32)}, TypeError, "dy"),
    ("ctx-none", {"ctx": None}, TypeError, "ctx"),
]
test_refusals = check_refusals(F.interpolate, F.interpolate_backward, {"x": X, "size": 3}, REFUSED)
