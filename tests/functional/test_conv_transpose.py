"""conv_transpose2d: torch and the convolution that it is the adjoint of as truth."""

import checks
import numpy as np
import pytest
import torch
from cases import DTYPES, TRANSPOSED, each, settings_of
from contract import assert_contract
from refusals import check_refusals

from minicnn import functional as F


@pytest.mark.parametrize("dtype", DTYPES)
@each(TRANSPOSED)
def test_torch_agrees(backend, case, dtype):
    checks.conv_transpose2d(**settings_of(case), dtype=np.dtype(dtype).type)


def test_it_is_the_adjoint_of_the_convolution(backend, rng):
    """⟨conv(a), b⟩ = ⟨a, convᵀ(b)⟩ with one and the same weight."""
    a, weight = rng.standard_normal((2, 6, 9, 8)), rng.standard_normal((4, 3, 3, 2))
    settings = {"stride": (2, 3), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
    y, _ = F.conv2d(a, weight, None, **settings)
    b = rng.standard_normal(y.shape)
    back, _ = F.conv_transpose2d(b, weight, None, output_padding=(0, 2), **settings)
    assert back.shape == a.shape
    assert np.vdot(y, b) == pytest.approx(np.vdot(a, back), rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_contract(backend, rng, dtype):
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in ((2, 4, 5, 4), (4, 2, 3, 2), (4,))]

    def conv_transpose2d(x, weight, bias):
        return F.conv_transpose2d(x, weight, bias, stride=(2, 1), padding=1, output_padding=(1, 0), groups=2)

    assert_contract(conv_transpose2d, F.conv_transpose2d_backward, arrays, rng)


def test_needs_skips_gradients(backend, rng):
    x, weight, bias = rng.standard_normal((1, 2, 5, 5)), rng.standard_normal((2, 3, 3, 3)), rng.standard_normal(3)
    y, ctx = F.conv_transpose2d(x, weight, bias)
    whole = F.conv_transpose2d_backward(y, ctx)
    for i in range(3):
        part = F.conv_transpose2d_backward(y, ctx, needs=tuple(k == i for k in range(3)))
        np.testing.assert_array_equal(part[i], whole[i])
        assert [gradient is None for gradient in part] == [k != i for k in range(3)]


X = np.zeros((2, 4, 5, 4))
WEIGHT = np.zeros((4, 3, 3, 2))
GOOD = {"x": X, "weight": WEIGHT, "bias": np.zeros(6), "groups": 2, "stride": 2}
REFUSED = [
    ("x-none", {"x": None}, TypeError, "x"),
    ("x-integers", {"x": X.astype(int)}, TypeError, "x"),
    ("x-rank", {"x": X[0, 0]}, ValueError, "x"),
    ("x-channels", {"x": X[:, :2]}, ValueError, "x"),
    ("x-no-columns", {"x": X[..., :0]}, ValueError, "x"),
    ("weight-none", {"weight": None}, TypeError, "weight"),
    ("weight-dtype", {"weight": WEIGHT.astype(np.float32)}, TypeError, "weight"),
    ("weight-rank", {"weight": WEIGHT[0]}, ValueError, "weight"),
    ("weight-empty", {"weight": WEIGHT[:, :0]}, ValueError, "weight"),
    ("bias-dtype", {"bias": np.zeros(6, np.float32)}, TypeError, "bias"),
    ("bias-one-a-group", {"bias": np.zeros(3)}, ValueError, "bias"),
    ("stride-zero", {"stride": 0}, ValueError, "stride"),
    ("stride-bool", {"stride": True}, TypeError, "stride"),
    ("stride-huge", {"stride": 2**62}, ValueError, "stride"),
    ("padding-negative", {"padding": -1}, ValueError, "padding"),
    ("padding-name", {"padding": "same"}, TypeError, "padding"),
    ("padding-leaves-nothing", {"padding": (0, 4)}, ValueError, "padding"),
    ("padding-huge", {"padding": 2**62}, ValueError, "padding"),
    ("output-padding-negative", {"output_padding": -1}, ValueError, "output_padding"),
    ("output-padding-of-a-stride", {"output_padding": 2}, ValueError, "output_padding"),
    ("output-padding-one-side", {"output_padding": (2, 0), "dilation": (1, 3)}, ValueError, "output_padding"),
    ("output-padding-float", {"output_padding": 1.0}, TypeError, "output_padding"),
    ("groups-zero", {"groups": 0}, ValueError, "groups"),
    ("groups-channels", {"groups": 3, "bias": None}, ValueError, "groups"),
    ("groups-none", {"groups": None}, TypeError, "groups"),
    ("dilation-zero", {"dilation": 0}, ValueError, "dilation"),
    ("dilation-huge", {"dilation": 2**62}, ValueError, "dilation"),
    ("dilation-triple", {"dilation": (1, 1, 1)}, ValueError, "dilation"),
    ("dy-shape", {"dy": np.zeros((2, 6, 11, 9))}, ValueError, "dy"),
    ("dy-dtype", {"dy": np.zeros((2, 6, 11, 8), np.float32)}, TypeError, "dy"),
    ("ctx-other", {"ctx": F.relu(X)[1]}, TypeError, "ctx"),
    ("ctx-none", {"ctx": None}, TypeError, "ctx"),
]
test_refusals = check_refusals(F.conv_transpose2d, F.conv_transpose2d_backward, GOOD, REFUSED)


def test_rows_that_no_pixel_reaches_stay_out_of_the_gradients(backend, rng):
    """An output padding of a stride or more adds rows of bias alone: what comes back there is only dbias's, NaN too."""
    x, weight, bias = rng.standard_normal((1, 2, 3, 4)), rng.standard_normal((2, 2, 2, 2)), np.zeros(2)
    for padding in (0, 1):
        settings = {"padding": padding, "output_padding": 2, "dilation": 3}
        leaves = [torch.tensor(array, requires_grad=True) for array in (x, weight)]
        theirs = torch.nn.functional.conv_transpose2d(*leaves, **settings)
        for row in (0, -1):
            dy = rng.standard_normal(tuple(theirs.shape))
            dy[:, :, row] = np.nan
            _, ctx = F.conv_transpose2d(x, weight, bias, **settings)
            ours = F.conv_transpose2d_backward(dy, ctx)
            wanted = torch.autograd.grad(theirs, leaves, torch.tensor(dy), retain_graph=True)
            for gradient, truth in zip(ours, wanted):
                np.testing.assert_allclose(gradient, truth.numpy(), rtol=1e-10, atol=1e-12)
            assert np.isnan(ours[2]).all()
