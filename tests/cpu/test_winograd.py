"""Winograd's algorithm against torch in float64: the promised errors on ResNet18's layers, and odd sizes."""

import numpy as np
import pytest
import torch
from torch.nn.grad import conv2d_input, conv2d_weight

import minicnn
from minicnn.backends import cpu

RESNET18 = [(64, 56), (128, 28), (256, 14), (512, 7)]
ODD = [  # N, C, F, H, W, (top, bottom, left, right)
    (2, 17, 19, 9, 30, (1, 1, 1, 1)),
    (1, 16, 50, 70, 5, (0, 0, 0, 0)),
    (3, 40, 16, 7, 7, (2, 2, 2, 2)),
    (1, 1, 1, 4, 4, (1, 1, 1, 1)),
    (2, 3, 5, 3, 3, (0, 1, 2, 0)),
    (1, 20, 20, 6, 90, (3, 1, 0, 4)),
    (50, 16, 16, 4, 4, (1, 1, 1, 1)),
]


def errors(x, weight, bias, dy, padding):
    """Errors of y, dx and dweight, relative to the largest entry."""
    top, bottom, left, right = padding
    settings = ((1, 1), padding, (1, 1), 1)
    wide = torch.nn.functional.pad(torch.from_numpy(x).double(), (left, right, top, bottom))
    w, d = torch.from_numpy(weight).double(), torch.from_numpy(dy).double()
    truth_dx = conv2d_input(wide.shape, w, d)[:, :, top : top + x.shape[2], left : left + x.shape[3]]
    truth = torch.conv2d(wide, w, torch.from_numpy(bias).double()), truth_dx, conv2d_weight(wide, w.shape, d)
    actual = (
        cpu.conv2d_forward(x, weight, bias, *settings),
        cpu.conv2d_input_grad(dy, weight, x.shape, *settings),
        cpu.conv2d_weight_grad(dy, x, weight.shape, *settings),
    )
    return [float(np.abs(a - t.numpy()).max() / t.abs().max()) for a, t in zip(actual, truth)]


@pytest.mark.parametrize("images", [1, 4])
@pytest.mark.parametrize(("channels", "size"), RESNET18)
def test_error_on_the_layers_of_resnet18(channels, size, images, rng):
    """At most 2e-5 of the largest output, where "auto" promises 5e-5 (measured: 4e-6)."""
    x, dy = (rng.standard_normal((images, channels, size, size), np.float32) for _ in range(2))
    weight = rng.standard_normal((channels, channels, 3, 3), np.float32) / np.float32(3 * channels**0.5)
    bias = rng.standard_normal(channels, np.float32)
    with minicnn.conv_algorithm("winograd"):
        assert max(errors(x, weight, bias, dy, (1, 1, 1, 1))) <= 2e-5


@pytest.mark.parametrize("case", ODD, ids=str)
def test_odd_sizes(case, rng):
    N, C, F, H, W, padding = case
    x = rng.standard_normal((N, C, H, W), np.float32)
    weight, bias = rng.standard_normal((F, C, 3, 3), np.float32), rng.standard_normal(F, np.float32)
    dy = rng.standard_normal((N, F, H + sum(padding[:2]) - 2, W + sum(padding[2:]) - 2), np.float32)
    with minicnn.conv_algorithm("winograd"):
        assert max(errors(x, weight, bias, dy, padding)) <= 2e-5


@pytest.mark.parametrize("channels", [16, 64])
def test_images_after_relu_and_far_from_zero(channels, rng):
    """All positive inputs, as after a ReLU: the terms of the transforms cancel more than with random signs."""
    x = np.abs(rng.standard_normal((2, channels, 28, 28), np.float32)) + np.float32(3)
    weight, bias = rng.standard_normal((32, channels, 3, 3), np.float32), np.zeros(32, np.float32)
    dy = rng.standard_normal((2, 32, 28, 28), np.float32)
    with minicnn.conv_algorithm("winograd"):
        assert max(errors(x, weight, bias, dy, (1, 1, 1, 1))) <= 2e-5


def test_same_bits_on_any_number_of_threads(rng):
    x, dy = (rng.standard_normal((3, 48, 20, 20), np.float32) for _ in range(2))
    weight = rng.standard_normal((48, 48, 3, 3), np.float32)
    before, results = minicnn.get_num_threads(), []
    settings = ((1, 1), (1, 1, 1, 1), (1, 1), 1)
    try:
        for threads in (1, 2):
            minicnn.set_num_threads(min(threads, before))
            with minicnn.conv_algorithm("winograd"):
                y = cpu.conv2d_forward(x, weight, None, *settings)
                dx = cpu.conv2d_input_grad(dy, weight, x.shape, *settings)
                dweight = cpu.conv2d_weight_grad(dy, x, weight.shape, *settings)
            results.append((y.tobytes(), dx.tobytes(), dweight.tobytes()))
    finally:
        minicnn.set_num_threads(before)
    assert results[0] == results[1]
