"""2×2 and 3×3 windows of stride 2 at every width around the vectors, against torch: values, places and gradient."""

import numpy as np
import pytest
import torch

from minicnn import functional as F

VALUES = {
    "ordinary": lambda shape, rng: rng.standard_normal(shape),
    "ties": lambda shape, rng: rng.integers(0, 2, shape),
    "NaN and infinities": lambda shape, rng: rng.choice([np.nan, np.inf, -np.inf, 0.0, 1.0], shape),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize(("kernel", "padding", "ceil_mode"), [(2, 0, False), (2, 1, True), (3, 0, True), (3, 1, False)])
def test_torch_agrees(kernel, padding, ceil_mode, values, dtype):
    rng = np.random.default_rng(kernel * 10 + padding)
    for width in [*range(3, 24), 40]:
        x = VALUES[values]((2, 3, 7, width), rng).astype(dtype)
        y, ctx = F.max_pool2d(x, kernel, 2, padding, 1, ceil_mode)
        true = torch.tensor(x, requires_grad=True)
        expected, indices = torch.nn.functional.max_pool2d(true, kernel, 2, padding, 1, ceil_mode, return_indices=True)
        np.testing.assert_array_equal(y, expected.detach().numpy())
        np.testing.assert_array_equal(ctx.indices, indices.numpy())
        dy = rng.standard_normal(y.shape).astype(dtype)
        expected.backward(torch.tensor(dy))
        np.testing.assert_allclose(F.max_pool2d_backward(dy, ctx), true.grad.numpy(), rtol=1e-6, atol=1e-6)
