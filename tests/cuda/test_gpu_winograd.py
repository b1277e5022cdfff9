"""Winograd on the cuda backend against torch in float64, with the bounds of API.md, and the rule that chooses it."""

import numpy as np
import pytest
import torch
from torch.nn.grad import conv2d_input, conv2d_weight

import minicnn
from minicnn import backends

if backends.why_missing("cuda"):
    pytest.skip(backends.why_missing("cuda"), allow_module_level=True)

from minicnn.backends import cuda
from minicnn.backends.cuda.arrays import on_device, xp
from minicnn.backends.cuda.conv import choose
from minicnn.backends.cuda.host import to_host

CASES = [  # N, C, F, H, W, (top, bottom, left, right)
    (2, 3, 5, 8, 8, (1, 1, 1, 1)),
    (1, 17, 4, 5, 11, (0, 0, 0, 0)),
    (1, 2, 18, 3, 6, (3, 1, 0, 4)),
    (3, 1, 1, 3, 3, (0, 1, 2, 0)),
]
PLAIN = (1, 1), (1, 1)  # stride and dilation


def arrays(case, rng):
    """x, weight, bias, dy"""
    N, C, F, H, W, (top, bottom, left, right) = case
    shapes = (N, C, H, W), (F, C, 3, 3), (F,), (N, F, H + top + bottom - 2, W + left + right - 2)
    return [rng.standard_normal(shape, np.float32) for shape in shapes]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_three_products(case, rng):
    """At most 2e-5 of the largest output, where "auto" promises 5e-5; the same to the bit in a second run."""
    x, weight, bias, dy = arrays(case, rng)
    padding = top, bottom, left, right = case[-1]
    wide = torch.nn.functional.pad(torch.from_numpy(x).double(), (left, right, top, bottom))
    w, d = torch.from_numpy(weight).double(), torch.from_numpy(dy).double()
    dx = conv2d_input(wide.shape, w, d)[:, :, top : top + x.shape[2], left : left + x.shape[3]]
    truth = torch.conv2d(wide, w, torch.from_numpy(bias).double()), dx, conv2d_weight(wide, w.shape, d)
    there = [on_device(array) for array in (x, weight, bias, dy)]
    first, second = (products(*there, padding) for _ in range(2))
    for found, again, exact in zip(first, second, truth):
        assert np.abs(found - exact.numpy()).max() <= 2e-5 * exact.abs().max()
        np.testing.assert_array_equal(found, again)


def products(x, weight, bias, dy, padding):
    settings = (1, 1), padding, (1, 1), 1
    with minicnn.conv_algorithm("winograd"):
        return [
            to_host(cuda.conv2d_forward(x, weight, bias, *settings)),
            to_host(cuda.conv2d_input_grad(dy, weight, x.shape, *settings)),
            to_host(cuda.conv2d_weight_grad(dy, x, weight.shape, *settings)),
        ]


def test_a_prepared_layer_ends_with_sum_and_relu(rng):
    x, weight, bias, other = arrays(CASES[0], rng)
    settings = (1, 1), CASES[0][-1], (1, 1), 1
    wide = torch.nn.functional.pad(torch.from_numpy(x).double(), (1, 1, 1, 1))
    exact = torch.conv2d(wide, torch.from_numpy(weight).double(), torch.from_numpy(bias).double()).numpy() + other
    with minicnn.conv_algorithm("winograd"):
        run = cuda.prepare_conv2d(on_device(weight), on_device(bias), *settings, True)
        assert run.algorithm(x.shape) == "winograd"
        y = run(on_device(x), on_device(other), lambda shape: xp.full(shape, xp.nan, "float32"))
    assert np.abs(to_host(y) - np.maximum(exact, 0)).max() <= 2e-5 * np.abs(exact).max()


def test_asked_for_elsewhere_the_exact_product_takes_its_place():
    with minicnn.conv_algorithm("winograd"):
        outputs = 32, 56, 56
        assert choose((64, 64, 3, 3), *PLAIN, 1, np.float32, outputs) == "winograd"
        assert choose((64, 64, 3, 3), *PLAIN, 1, np.float64, outputs) == "im2col"
        assert choose((64, 64, 3, 3), (2, 2), (1, 1), 1, np.float32, outputs) == "im2col"
        assert choose((64, 64, 3, 3), (1, 1), (2, 2), 1, np.float32, outputs) == "im2col"
        assert choose((64, 32, 3, 3), *PLAIN, 2, np.float32, outputs) == "im2col"
        assert choose((64, 64, 1, 1), *PLAIN, 1, np.float32, outputs) == "im2col"


@pytest.mark.parametrize(("channels", "size"), [(64, 56), (128, 28), (256, 14), (512, 7)])
def test_the_rule_takes_the_layers_of_resnet18_in_batches(channels, size):
    """Few tiles do not pay for transforming the filters, few channels not for transforming the tiles."""
    shape = channels, channels, 3, 3
    for images in (32, 128):
        assert choose(shape, *PLAIN, 1, np.float32, (images, size, size)) == "winograd"
    assert choose(shape, *PLAIN, 1, np.float32, (1, size, size)) == ("winograd" if channels <= 128 else "im2col")
    assert choose((48, 48, 3, 3), *PLAIN, 1, np.float32, (128, 56, 56)) == "im2col"
    assert choose(shape, *PLAIN, 1, np.float32, (1 << 20, size, size)) == "im2col", "takes too much memory"
