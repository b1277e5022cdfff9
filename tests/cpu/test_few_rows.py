"""Products with few rows against float64, on both sides of where they take over, and at every remainder."""

import numpy as np
import pytest

from minicnn import functional as F
from minicnn.backends.cpu.few_rows import ROWS_BACKWARD, ROWS_FORWARD, ROWS_FORWARD_SMALL

ROWS = [1, 2, 3, ROWS_BACKWARD, ROWS_BACKWARD + 1, ROWS_FORWARD, ROWS_FORWARD + 1, ROWS_FORWARD_SMALL]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("outputs", [1, 3, 4, 9, 18])
@pytest.mark.parametrize("inputs", [1, 7, 255, 257, 2051])
@pytest.mark.parametrize("rows", ROWS)
def test_against_float64(rows, inputs, outputs, dtype):
    rng = np.random.default_rng(rows * 10000 + inputs)
    shapes = (rows, inputs), (outputs, inputs), (outputs,), (rows, outputs)
    x, weight, bias, dy = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    y, ctx = F.linear(x, weight, bias)
    results = y, *F.linear_backward(dy, ctx)
    x, weight, bias, dy = (array.astype(np.float64) for array in (x, weight, bias, dy))
    size = abs(x) @ abs(weight).T + abs(bias), abs(dy) @ abs(weight), abs(dy).T @ abs(x), abs(dy).sum(0)
    truth = x @ weight.T + bias, dy @ weight, dy.T @ x, dy.sum(0)
    for result, true, largest, terms in zip(results, truth, size, (inputs, outputs, rows, rows)):
        assert result.dtype == dtype
        assert (abs(result - true) <= np.finfo(dtype).eps * (terms + 2) * largest).all()
