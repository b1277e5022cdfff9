"""linear: torch as truth, x of any rank, empty sides."""

import checks
import numpy as np
import pytest
import torch
from cases import DTYPES
from contract import assert_contract
from refusals import check_refusals
from tolerance import assert_close

from minicnn import functional as F

SHAPES = [(4,), (1, 4), (5, 4), (2, 3, 4), (2, 1, 3, 4), (0, 4), (2, 0, 4), (129, 67), (3, 300)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_torch_agrees(backend, shape, bias, dtype):
    checks.linear(shape, outputs=7, bias=bias, dtype=np.dtype(dtype).type)


@pytest.mark.parametrize(("inputs", "outputs"), [(0, 3), (3, 0), (0, 0)])
def test_empty_sides(backend, inputs, outputs):
    """No inputs: y is the bias. No outputs: dx is zero."""
    x, weight, bias = np.ones((2, inputs)), np.ones((outputs, inputs)), np.arange(1.0, outputs + 1)
    y, ctx = F.linear(x, weight, bias)
    np.testing.assert_array_equal(y, np.tile(bias, (2, 1)))
    dx, dweight, dbias = F.linear_backward(np.ones_like(y), ctx)
    np.testing.assert_array_equal(dx, np.zeros((2, inputs)))
    assert dweight.shape == weight.shape
    np.testing.assert_array_equal(dbias, np.full(outputs, 2.0))


@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_nan_and_infinities_spread_as_in_torch(backend, rng, special):
    x, weight = rng.standard_normal((3, 4)), rng.standard_normal((5, 4))
    x[1, 2], weight[:, 1], weight[2, 2] = special, 0.0, 0.0
    y, _ = F.linear(x, weight)
    assert_close(y, torch.nn.functional.linear(torch.tensor(x), torch.tensor(weight)).numpy(), 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_contract(backend, rng, dtype):
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in ((2, 3, 5), (4, 5), (4,))]
    assert_contract(F.linear, F.linear_backward, arrays, rng)


X, WEIGHT = np.zeros((2, 4)), np.zeros((3, 4))
GOOD = {"x": X, "weight": WEIGHT, "bias": np.zeros(3)}
REFUSED = [
    ("x-none", {"x": None}, TypeError, "x"),
    ("x-list", {"x": X.tolist()}, TypeError, "x"),
    ("x-integers", {"x": X.astype(int)}, TypeError, "x"),
    ("x-scalar", {"x": np.zeros(())}, ValueError, "x"),
    ("x-width", {"x": np.zeros((2, 5))}, ValueError, "x"),
    ("weight-none", {"weight": None}, TypeError, "weight"),
    ("weight-rank", {"weight": WEIGHT[0]}, ValueError, "weight"),
    ("weight-dtype", {"weight": WEIGHT.astype(np.float32)}, TypeError, "weight"),
    ("bias-shape", {"bias": np.zeros(4)}, ValueError, "bias"),
    ("bias-dtype", {"bias": np.zeros(3, np.float32)}, TypeError, "bias"),
    ("dy-shape", {"dy": np.zeros((2, 4))}, ValueError, "dy"),
    ("dy-dtype", {"dy": np.zeros((2, 3), np.float32)}, TypeError, "dy"),
    ("ctx-none", {"ctx": None}, TypeError, "ctx"),
]
test_refusals = check_refusals(F.linear, F.linear_backward, GOOD, REFUSED)
