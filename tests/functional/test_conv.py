"""conv2d: torch, exact integers and adjoints as truth; what it promises about memory; what it refuses."""

import checks
import numba
import numpy as np
import pytest
import torch
from cases import BENCHMARK_CONVOLUTIONS, CONVOLUTIONS, DTYPES, each, settings_of
from contract import assert_contract
from refusals import check_refusals
from tolerance import assert_close

from minicnn import functional as F
from minicnn.backends import load
from minicnn.backends.reference.im2col import col2im, im2col, output_size


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("dtype", DTYPES)
@each(CONVOLUTIONS)
def test_torch_agrees(backend, case, dtype):
    checks.conv2d(**settings_of(case), dtype=np.dtype(dtype).type)


@pytest.mark.parametrize("dtype", DTYPES)
@each(BENCHMARK_CONVOLUTIONS)
def test_torch_agrees_on_layers_of_networks(backend, case, dtype):
    if backend == "cuda" and numba.config.ENABLE_CUDASIM:
        pytest.skip("needs a GPU: millions of multiplications take minutes in the simulator")
    checks.conv2d(**settings_of(case), dtype=np.dtype(dtype).type)


def test_small_integers_are_exact(backend, rng):
    """The formula of the docstring, loop by loop, in integers."""
    x, weight = rng.integers(-4, 5, (2, 4, 6, 7)), rng.integers(-4, 5, (6, 2, 3, 2))
    bias = rng.integers(-4, 5, 6)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (2, 2)))
    expected = np.zeros((2, 6, 2, 8), np.int64)
    for n, f, p, q in np.ndindex(expected.shape):
        group = padded[n, f // 3 * 2 : f // 3 * 2 + 2]
        window = group[:, 2 * p : 2 * p + 5 : 2, q : q + 4 : 3]
        expected[n, f, p, q] = bias[f] + (weight[f] * window).sum()
    y, _ = F.conv2d(
        *(a.astype(np.float32) for a in (x, weight, bias)), stride=(2, 1), padding=(1, 2), dilation=(2, 3), groups=2
    )
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "weight", "dy"])
def test_nan_and_infinities_spread_as_in_torch(backend, rng, special, where):
    """0·NaN and 0·∞ are NaN: no zero is skipped, that of a padded cell included."""
    x, weight = rng.standard_normal((2, 2, 5, 6)), rng.standard_normal((3, 2, 3, 3))
    dy = rng.standard_normal((2, 3, 5, 6))
    for array in (x, weight, dy):
        array[array < -0.5] = 0.0
    {"x": x, "weight": weight, "dy": dy}[where][1, 1, 0, 2] = special
    tx, tweight = (torch.tensor(a, requires_grad=True) for a in (x, weight))
    truth = torch.nn.functional.conv2d(tx, tweight, padding=1)
    truth.backward(torch.tensor(dy))
    y, ctx = F.conv2d(x, weight, padding=1)
    dx, dweight, _ = F.conv2d_backward(dy, ctx)
    assert_close(y, truth.detach().numpy(), 18, what="y")
    assert_close(dx, tx.grad.numpy(), 27, what="dx")
    assert_close(dweight, tweight.grad.numpy(), 60, what="dweight")


@pytest.mark.parametrize("dtype", DTYPES)
def test_contract(backend, rng, dtype):
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in ((2, 4, 7, 6), (4, 2, 3, 2), (4,))]

    def conv2d(x, weight, bias):
        return F.conv2d(x, weight, bias, stride=(2, 1), padding=1, groups=2)

    assert_contract(conv2d, F.conv2d_backward, arrays, rng)


def test_sizes_may_be_lists_and_numpy_integers(backend, rng):
    x, weight = rng.standard_normal((1, 2, 7, 8)), rng.standard_normal((2, 1, 3, 2))
    plain, _ = F.conv2d(x, weight, None, (2, 1), (1, 0), (1, 2), 2)
    other, ctx = F.conv2d(x, weight, None, [np.int64(2), 1], np.array([1, 0], np.uint8), (np.int32(1), 2), np.int16(2))
    np.testing.assert_array_equal(plain, other)
    assert ctx[3:] == ((2, 1), (1, 1, 0, 0), (1, 2), 2)


def test_needs_skips_gradients(backend, rng):
    x, weight, bias = rng.standard_normal((1, 2, 5, 5)), rng.standard_normal((3, 2, 3, 3)), rng.standard_normal(3)
    y, ctx = F.conv2d(x, weight, bias)
    whole = F.conv2d_backward(y, ctx)
    for i in range(3):
        part = F.conv2d_backward(y, ctx, needs=tuple(k == i for k in range(3)))
        np.testing.assert_array_equal(part[i], whole[i])
        assert [gradient is None for gradient in part] == [k != i for k in range(3)]


def test_context_refers_to_the_weights(backend, rng):
    """Changed between forward and backward, the gradient is of the new ones."""
    x, weight = rng.standard_normal((1, 2, 5, 5)), rng.standard_normal((3, 2, 3, 3))
    y, ctx = F.conv2d(x, weight)
    before = F.conv2d_backward(y, ctx)[0].copy()
    weight *= 2
    assert_close(F.conv2d_backward(y, ctx)[0], 2 * before, 27)


@each([case for case in CONVOLUTIONS if not isinstance(case.padding, str) and len(case.x) == 4])
def test_im2col_and_col2im_are_adjoint(case, rng):
    """⟨im2col(x), c⟩ = ⟨x, col2im(c)⟩ for random x and c."""
    stride, padding, dilation = (
        (value, value) if isinstance(value, int) else value for value in (case.stride, case.padding, case.dilation)
    )
    sides = (padding[0], padding[0], padding[1], padding[1])
    out_size = tuple(output_size(case.x[2 + s], case.kernel[s], stride[s], 2 * padding[s], dilation[s]) for s in (0, 1))
    x = rng.standard_normal(case.x)
    columns = im2col(x, case.kernel, stride, sides, dilation, out_size)
    c = rng.standard_normal(columns.shape)
    back = col2im(c, x.shape, stride, sides, dilation)
    assert back.shape == x.shape
    assert np.vdot(columns, c) == pytest.approx(np.vdot(x, back), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@each([case for case in CONVOLUTIONS if not isinstance(case.padding, str) and len(case.x) == 4 and case.x[0]])
def test_gradients_are_adjoint(backend, case, dtype, rng):
    """⟨conv(x, w), dy⟩ = ⟨x, dx⟩ = ⟨w, dw⟩, which needs no other library."""
    x = rng.standard_normal(case.x).astype(dtype)
    weight = rng.standard_normal((case.filters, case.x[1] // case.groups, *case.kernel)).astype(dtype)
    y, ctx = F.conv2d(x, weight, None, case.stride, case.padding, case.dilation, case.groups)
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx, dweight, _ = F.conv2d_backward(dy, ctx)
    wide = [a.astype(np.float64) for a in (y, dy, x, dx, weight, dweight)]
    y, dy, x, dx, weight, dweight = wide
    scale = np.linalg.norm(y) * np.linalg.norm(dy) + np.linalg.norm(x) * np.linalg.norm(dx)
    assert abs(np.vdot(y, dy) - np.vdot(x, dx)) < 32 * np.finfo(dtype).eps * scale
    assert abs(np.vdot(y, dy) - np.vdot(weight, dweight)) < 32 * np.finfo(dtype).eps * scale


def test_results_of_the_reference_are_contiguous_whatever_the_strides_of_dy(rng):
    """NumPy's products follow the strides of what they are given; a backend's results do not."""
    reference = load("reference")
    dy = np.moveaxis(rng.standard_normal((4, 2, 3, 3)), 1, 0)
    x = np.moveaxis(rng.standard_normal((2, 5, 2, 5)), 2, 0)[:, :, :5]
    dweight = reference.conv2d_weight_grad(dy, x, (4, 1, 3, 3), (1, 1), (0, 0, 0, 0), (1, 1), 2)
    assert dweight.flags.c_contiguous


X = np.zeros((2, 4, 6, 5))
WEIGHT = np.zeros((6, 2, 3, 3))
GOOD = {"x": X, "weight": WEIGHT, "bias": np.zeros(6), "groups": 2}
HUGE = 2**62
REFUSED = [
    ("x-list", {"x": X.tolist()}, TypeError, "x"),
    ("x-none", {"x": None}, TypeError, "x"),
    ("x-integers", {"x": X.astype(int)}, TypeError, "x"),
    ("x-bool", {"x": X.astype(bool)}, TypeError, "x"),
    ("x-rank", {"x": X[0, 0]}, ValueError, "x"),
    ("x-rank-5", {"x": X[None]}, ValueError, "x"),
    ("x-channels", {"x": X[:, :3]}, ValueError, "x"),
    ("x-no-rows", {"x": X[:, :, :0]}, ValueError, "x"),
    ("weight-none", {"weight": None}, TypeError, "weight"),
    ("weight-dtype", {"weight": WEIGHT.astype(np.float32)}, TypeError, "weight"),
    ("weight-rank", {"weight": WEIGHT[0]}, ValueError, "weight"),
    ("weight-empty", {"weight": WEIGHT[:, :, :0]}, ValueError, "weight"),
    ("weight-no-filters", {"weight": WEIGHT[:0]}, ValueError, "weight"),
    ("weight-too-large", {"weight": np.zeros((6, 2, 7, 3))}, ValueError, "weight"),
    ("bias-dtype", {"bias": np.zeros(6, np.float32)}, TypeError, "bias"),
    ("bias-shape", {"bias": np.zeros(5)}, ValueError, "bias"),
    ("bias-rank", {"bias": np.zeros((6, 1))}, ValueError, "bias"),
    ("stride-zero", {"stride": 0}, ValueError, "stride"),
    ("stride-negative", {"stride": (1, -1)}, ValueError, "stride"),
    ("stride-bool", {"stride": True}, TypeError, "stride"),
    ("stride-float", {"stride": 1.0}, TypeError, "stride"),
    ("stride-triple", {"stride": (1, 1, 1)}, ValueError, "stride"),
    ("stride-string", {"stride": "2"}, TypeError, "stride"),
    ("padding-negative", {"padding": -1}, ValueError, "padding"),
    ("padding-name", {"padding": "full"}, ValueError, "padding"),
    ("padding-float", {"padding": (0, 0.5)}, TypeError, "padding"),
    ("padding-none", {"padding": None}, TypeError, "padding"),
    ("padding-same-strided", {"padding": "same", "stride": 2}, ValueError, "padding"),
    ("padding-huge", {"padding": HUGE}, ValueError, "padding"),
    ("padding-overflows", {"padding": 2**40}, ValueError, "padding"),
    ("padding-overflows-strided", {"padding": 2**40, "stride": 2**39}, ValueError, "padding"),
    ("dilation-zero", {"dilation": 0}, ValueError, "dilation"),
    ("dilation-too-large", {"dilation": 3}, ValueError, "dilation"),
    ("dilation-huge", {"dilation": HUGE}, ValueError, "dilation"),
    ("dilation-none", {"dilation": None}, TypeError, "dilation"),
    ("groups-zero", {"groups": 0}, ValueError, "groups"),
    ("groups-pair", {"groups": (2, 2)}, TypeError, "groups"),
    ("groups-bool", {"groups": True}, TypeError, "groups"),
    ("groups-channels", {"groups": 3}, ValueError, "groups"),
    ("groups-filters", {"groups": 2, "weight": np.zeros((5, 2, 3, 3)), "bias": None}, ValueError, "groups"),
    ("dy-none", {"dy": None}, TypeError, "dy"),
    ("dy-dtype", {"dy": np.zeros((2, 6, 4, 3), np.float32)}, TypeError, "dy"),
    ("dy-shape", {"dy": np.zeros((2, 6, 4, 4))}, ValueError, "dy"),
    ("dy-rank", {"dy": np.zeros((6, 4, 3))}, ValueError, "dy"),
    ("ctx-none", {"ctx": None}, TypeError, "ctx"),
    ("ctx-other", {"ctx": F.relu(X)[1]}, TypeError, "ctx"),
]
test_refusals = check_refusals(F.conv2d, F.conv2d_backward, GOOD, REFUSED)
