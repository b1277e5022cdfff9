"""The addressed convolution against torch in float64, where its blocks, phases and panels have corners."""

import numpy as np
import pytest

import minicnn
from minicnn.backends import cpu
from minicnn.backends.cpu import addressed_plan
from minicnn.backends.cpu.addressed_kernels import block_pixels

torch = pytest.importorskip("torch")

LAYERS = {  # (N, C, F, height, width, kernel, stride, padding, dilation, groups)
    "stem": (3, 3, 30, 13, 14, (7, 7), 2, 3, 1, 1),
    "pieces of a long row": (1, 8, 24, 9, 700, (3, 3), 1, 1, 1, 1),
    "pieces of a long row, strided": (2, 12, 33, 9, 911, (3, 3), 2, 1, 1, 1),
    "pieces of a long row, dilated": (1, 3, 20, 9, 1300, (5, 3), 3, 2, 2, 1),
    "one image a block, the last block smaller": (5, 8, 40, 7, 8, (1, 1), 2, 0, 1, 1),
    "few pixels: each task packs its own filters": (1, 300, 130, 5, 5, (1, 1), 1, 0, 1, 1),
    "few pixels, strided": (1, 70, 130, 7, 7, (3, 3), 2, 1, 1, 1),
    "several copies of channels": (2, 70, 33, 12, 11, (3, 3), 2, 1, 1, 1),
    "fewer filters than lanes": (2, 5, 3, 9, 8, (3, 3), 2, 1, 1, 1),
    "one channel": (9, 1, 32, 11, 12, (3, 3), 1, 1, 1, 1),
    "groups": (3, 12, 24, 11, 12, (3, 3), 1, 2, 2, 3),
    "groups, stride 3": (4, 6, 8, 10, 11, (5, 5), 3, 2, 1, 2),
    "a stride above the kernel": (2, 5, 9, 8, 9, (2, 2), 5, 0, 1, 1),
    "a stride above the image": (2, 3, 9, 4, 5, (3, 3), 9, 1, 1, 1),
    "patches": (3, 4, 20, 32, 32, (16, 16), 16, 0, 1, 1),
    "padding above the kernel": (2, 3, 17, 8, 9, (3, 3), 3, 4, 1, 1),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAYERS)
def test_against_torch(name, dtype, rng):
    N, C, F, H, W, kernel, stride, padding, dilation, groups = LAYERS[name]
    x, w = rng.standard_normal((N, C, H, W)), rng.standard_normal((F, C // groups, *kernel))
    bias = rng.standard_normal(F)
    truth = [torch.tensor(a, requires_grad=True) for a in (x, w, bias)]
    expected = torch.conv2d(*truth, stride, padding, dilation, groups)
    dy = rng.standard_normal(expected.shape)
    expected.backward(torch.tensor(dy))
    settings = (stride, stride), (padding,) * 4, (dilation, dilation), groups
    x, w, bias, dy = (a.astype(dtype) for a in (x, w, bias, dy))
    with minicnn.conv_algorithm("im2col"):
        found = (
            cpu.conv2d_forward(x, w, bias, *settings),
            cpu.conv2d_input_grad(dy, w, x.shape, *settings),
            cpu.conv2d_weight_grad(dy, x, w.shape, *settings),
        )
    for array, true in zip(found, (expected.detach(), truth[0].grad, truth[1].grad)):
        scale = float(true.abs().max())
        assert array.dtype == dtype
        assert np.abs(array - true.numpy()).max() <= (3e-6 if dtype == np.float32 else 3e-14) * scale


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize(("images", "grid"), [(5, (7, 9)), (1, (1, 5000)), (3, (40, 30)), (16, (3, 3)), (2, (13, 700))])
def test_every_pixel_is_in_one_block(images, grid, threads):
    """Also where the last blocks of a row, of an image and of a batch are smaller."""
    phases = addressed_plan.forward_taps((3, 3), (1, 1, 1, 1), (1, 1))
    cut = addressed_plan.plan(images, 8, phases, (*grid, 1, 1), 150, 256, 4, threads)
    assert cut.places.size == cut.images * cut.rows * cut.columns <= 150
    assert cut.steps.max() + cut.places.max() < cut.copy_size
    assert len(set(cut.places.tolist())) == cut.places.size
    times = np.zeros((images, *grid), int)
    pixels_of = getattr(block_pixels, "py_func", block_pixels)
    for block in range(cut.blocks):
        n, n_count, y, y_count, x, x_count = pixels_of(block, images, grid, cut.images, cut.rows, cut.columns)
        assert n_count * y_count * x_count <= cut.places.size
        times[n : n + n_count, y : y + y_count, x : x + x_count] += 1
    assert (times == 1).all()
