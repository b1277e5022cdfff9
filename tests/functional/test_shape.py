"""flatten, pad and concat: torch as truth; values are moved, so all is exact."""

import checks
import numpy as np
import pytest
import torch
from cases import DTYPES, PADDINGS, some_infinite, some_nan
from contract import assert_contract
from refusals import check_refusals

from minicnn import functional as F

MODES = ("constant", "reflect", "replicate", "circular")


@pytest.mark.parametrize("start", [0, 1, 2, 3, -1, -2])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (0, 3, 2, 2), (1, 1, 1, 1)], ids=str)
def test_flatten_agrees_with_torch(backend, shape, start, rng):
    x = rng.standard_normal(shape)
    y, ctx = F.flatten(x, start)
    np.testing.assert_array_equal(y, torch.flatten(torch.tensor(x), start).numpy())
    np.testing.assert_array_equal(F.flatten_backward(y, ctx), x)


def test_flatten_of_a_number(backend):
    y, ctx = F.flatten(np.array(3.0), 0)
    np.testing.assert_array_equal(y, [3.0])
    assert F.flatten_backward(y, ctx).shape == ()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("amounts", PADDINGS, ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 5, 6), (3, 5, 6), (0, 2, 5, 6)], ids=str)
def test_pad_agrees_with_torch(backend, shape, amounts, mode, dtype):
    checks.pad(shape, amounts, mode, value=1.25 if mode == "constant" else 0.0, dtype=np.dtype(dtype).type)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("values", [some_nan, some_infinite])
def test_pad_copies_nan_and_infinities(backend, mode, values, rng):
    x = values((2, 1, 4, 5), rng)
    y, _ = F.pad(x, (2, 1, 1, 2), mode)
    np.testing.assert_array_equal(y, torch.nn.functional.pad(torch.tensor(x), (2, 1, 1, 2), mode).numpy())


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3, np.float32(0.5), -1e308])
def test_pad_with_any_number(backend, value):
    y, _ = F.pad(np.zeros((1, 1, 1)), (1, 0, 0, 0), value=value)
    np.testing.assert_array_equal(y, [[[value, 0.0]]])


def test_constant_pad_takes_matrices_and_empty_sides(backend):
    assert F.pad(np.ones((2, 3)), (1, 0, 0, 2))[0].shape == (4, 4)
    y, ctx = F.pad(np.ones((1, 2, 0, 3)), (0, 1, 1, 1), value=2.0)
    np.testing.assert_array_equal(y, np.full((1, 2, 2, 4), 2.0))
    assert F.pad_backward(y, ctx).shape == (1, 2, 0, 3)


def test_circular_pad_of_the_whole_image(backend):
    y, _ = F.pad(np.array([[[1.0, 2.0]]]), (2, 2, 0, 0), "circular")
    np.testing.assert_array_equal(y, [[[1.0, 2.0, 1.0, 2.0, 1.0, 2.0]]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shapes", "axis"),
    [
        (((2, 1, 3), (2, 3, 3)), 1),
        (((2, 3, 4, 5),), 1),
        (((1, 2, 3, 3), (1, 4, 3, 3), (1, 1, 3, 3)), 1),
        (((2, 3), (4, 3)), 0),
        (((2, 3, 1), (2, 3, 4)), -1),
        (((2, 3), (2, 0)), 1),
        (((0, 3), (0, 2)), 1),
    ],
    ids=str,
)
def test_concat_agrees_with_torch(backend, shapes, axis, dtype):
    checks.concat(shapes, axis, np.dtype(dtype).type)


@pytest.mark.parametrize("dtype", DTYPES)
def test_contract(backend, rng, dtype):
    x, other = (rng.standard_normal(shape).astype(dtype) for shape in ((2, 3, 5, 4), (2, 2, 5, 4)))
    assert_contract(F.flatten, F.flatten_backward, [x], rng, may_return_x=True)
    for mode in MODES:

        def pad(x, mode=mode):
            return F.pad(x, (1, 2, 3, 0), mode)

        assert_contract(pad, F.pad_backward, [x], rng)

    def concat(*arrays):
        return F.concat(arrays)

    assert_contract(concat, F.concat_backward, [x, other], rng)


X = np.zeros((2, 3, 5, 4))
test_flatten_refusals = check_refusals(
    F.flatten,
    F.flatten_backward,
    {"x": X},
    [
        ("x-none", {"x": None}, TypeError, "x"),
        ("x-integers", {"x": X.astype(int)}, TypeError, "x"),
        ("axis-above", {"start_axis": 4}, ValueError, "start_axis"),
        ("axis-below", {"start_axis": -5}, ValueError, "start_axis"),
        ("axis-of-a-vector", {"x": np.zeros(3)}, ValueError, "start_axis"),
        ("axis-float", {"start_axis": 1.0}, TypeError, "start_axis"),
        ("axis-bool", {"start_axis": True}, TypeError, "start_axis"),
        ("dy-shape", {"dy": X}, ValueError, "dy"),
        ("dy-dtype", {"dy": np.zeros((2, 60), np.float32)}, TypeError, "dy"),
        ("ctx-none", {"ctx": None}, TypeError, "ctx"),
    ],
)
test_pad_refusals = check_refusals(
    F.pad,
    F.pad_backward,
    {"x": X, "amounts": (1, 1, 1, 1)},
    [
        ("x-none", {"x": None}, TypeError, "x"),
        ("x-vector", {"x": np.zeros(3)}, ValueError, "x"),
        ("x-matrix-reflected", {"x": X[0, 0], "mode": "reflect"}, ValueError, "x"),
        ("x-empty-replicated", {"x": X[:, :, :0], "mode": "replicate"}, ValueError, "x"),
        ("amounts-int", {"amounts": 1}, TypeError, "amounts"),
        ("amounts-pair", {"amounts": (1, 1)}, ValueError, "amounts"),
        ("amounts-negative", {"amounts": (0, -1, 0, 0)}, ValueError, "amounts"),
        ("amounts-float", {"amounts": (1.0, 0, 0, 0)}, TypeError, "amounts"),
        ("amounts-bool", {"amounts": (True, 0, 0, 0)}, TypeError, "amounts"),
        ("amounts-huge", {"amounts": (2**62, 0, 0, 0)}, ValueError, "amounts"),
        ("amounts-of-the-width-reflected", {"amounts": (4, 0, 0, 0), "mode": "reflect"}, ValueError, "amounts"),
        ("amounts-above-the-height-circular", {"amounts": (0, 0, 6, 0), "mode": "circular"}, ValueError, "amounts"),
        ("mode-name", {"mode": "edge"}, ValueError, "mode"),
        ("mode-none", {"mode": None}, TypeError, "mode"),
        ("value-string", {"value": "0"}, TypeError, "value"),
        ("value-none", {"value": None}, TypeError, "value"),
        ("value-reflected", {"value": 1.0, "mode": "reflect"}, ValueError, "value"),
        ("value-beyond-float32", {"x": X.astype(np.float32), "value": 1e39}, ValueError, "value"),
        ("dy-shape", {"dy": X}, ValueError, "dy"),
        ("dy-dtype", {"dy": np.zeros((2, 3, 7, 6), np.float32)}, TypeError, "dy"),
        ("ctx-none", {"ctx": None}, TypeError, "ctx"),
    ],
)
test_concat_refusals = check_refusals(
    F.concat,
    F.concat_backward,
    {"arrays": [X, X]},
    [
        ("arrays-array", {"arrays": X}, TypeError, "arrays"),
        ("arrays-none", {"arrays": None}, TypeError, "arrays"),
        ("arrays-empty", {"arrays": []}, ValueError, "arrays"),
        ("arrays-of-none", {"arrays": [X, None]}, TypeError, "arrays[1]"),
        ("arrays-dtype", {"arrays": [X, X.astype(np.float32)]}, TypeError, "arrays[1]"),
        ("arrays-shape", {"arrays": [X, X[:, :, :2]]}, ValueError, "arrays[1]"),
        ("arrays-rank", {"arrays": [X, X[0]]}, ValueError, "arrays[1]"),
        ("axis-above", {"axis": 4}, ValueError, "axis"),
        ("axis-float", {"axis": 1.0}, TypeError, "axis"),
        ("dy-shape", {"dy": X}, ValueError, "dy"),
        ("ctx-none", {"ctx": None}, TypeError, "ctx"),
    ],
)
