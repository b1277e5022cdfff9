"""minicnn.compile: the same output as the model in eval mode, whatever was folded away."""

import threading

import numpy as np
import pytest

import minicnn
from minicnn import functional as F
from minicnn import models, nn

OF_LARGEST = 1e-4  # the documented bound


def settle(model, rng):
    """Running statistics and affine parameters that are not the trivial ones."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean[...] = rng.standard_normal(module.running_mean.shape)
            module.running_var[...] = rng.uniform(0.5, 2.0, module.running_var.shape)
            for parameter in module.parameters():
                parameter.data[...] = rng.standard_normal(parameter.shape)
    return model


def expected(model, x):
    modes = [(module, module.training) for module in model.modules()]
    y = model.eval()(x)
    for module, mode in modes:
        module.training = mode
    return y


def check(model, shape, rng, batches=(1, 3), operations=None):
    settle(model, rng)
    compiled = minicnn.compile(model, shape)
    for n in batches:
        x = rng.standard_normal((n, *shape[1:])).astype(np.float32)
        y, truth = compiled(x), expected(model, x)
        assert y.shape == truth.shape and y.dtype == truth.dtype and y.flags.c_contiguous
        assert np.abs(y - truth).max() <= OF_LARGEST * np.abs(truth).max()
    if operations is not None:
        assert len(compiled.steps) == operations
    return compiled


class BasicBlock(nn.Module):
    """y = relu(norm(conv(x)) + shortcut(x)), the two sides computed in the order that `late` says."""

    def __init__(self, late_shortcut):
        super().__init__()
        self.late_shortcut = late_shortcut
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.side, self.side_norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        if self.late_shortcut:
            main, side = self.conv(x), self.side(x)
            side, main = self.side_norm(side), self.norm(main)  # the norms in the other order
        else:
            side, main = self.side_norm(self.side(x)), self.norm(self.conv(x))
        return F.relu(F.add(main, side)[0])[0]


@pytest.mark.parametrize("late_shortcut", [False, True])
def test_residual_add_and_relu_become_the_epilogue(backend, rng, late_shortcut):
    check(BasicBlock(late_shortcut), (1, 4, 6, 6), rng, operations=2)


@pytest.mark.parametrize(
    ("model", "operations"),
    [
        (nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU()), 1),
        (nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.ReLU(), nn.BatchNorm2d(5)), 2),
        (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 5, 3, padding="same")), 3),
        (nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, stride=2, padding=1), nn.BatchNorm2d(6, affine=False)), 1),
        (nn.Residual(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())), 2),
        (nn.Residual(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))), 1),
        (nn.Concat(nn.Conv2d(3, 2, 1), nn.MaxPool2d(3, 1, 1), nn.Identity()), 3),
        (nn.Sequential(nn.Dropout(0.5), nn.AvgPool2d(2), nn.Upsample(scale_factor=2), nn.Sigmoid()), 3),
        (nn.Sequential(nn.ConvTranspose2d(3, 2, 2, stride=2), nn.BatchNorm2d(2), nn.GELU()), 3),
        (nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), nn.LeakyReLU(0.1)), 3),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4), nn.Softmax(1)), 3),
        (nn.Identity(), 0),
    ],
)  # fmt: skip
def test_equal_to_eval_mode(backend, rng, model, operations):
    check(model, (2, 3, 8, 8), rng, operations=operations)


def test_models(rng):
    check(models.SimpleCNN(1, 10, 8), (1, 1, 8, 8), rng)
    compiled = check(models.resnet18(num_classes=7), (1, 3, 64, 64), rng, batches=(1, 2), operations=24)
    assert "conv2d + batch_norm + add + relu" in str(compiled)


def test_float64_and_shape_of_the_first_call(rng):
    model = settle(models.SimpleCNN(1, 3, 8).astype(np.float64), rng)
    compiled = minicnn.compile(model)
    x = rng.standard_normal((2, 1, 8, 8))
    np.testing.assert_allclose(compiled(x), expected(model, x), rtol=1e-10)


def test_weights_are_those_of_the_moment_and_the_model_is_left_alone(rng):
    model = settle(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.ReLU()).eval()), rng)
    before = model.state_dict()
    x = rng.standard_normal((1, 1, 5, 5)).astype(np.float32)
    for shape in (None, (1, 1, 5, 5)):
        model.load_state_dict(before)
        truth = expected(model, x)
        compiled = minicnn.compile(model, shape)
        assert [m.training for m in model.modules()] == [True, True, True, False, False]
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(array, before[name])
        model[0].weight.data[...] = 0
        model[1].running_mean[...] = 9
        np.testing.assert_allclose(compiled(x), truth, rtol=1e-4, atol=1e-5)


def test_results_are_new_arrays_and_threads_do_not_meet(rng):
    compiled = minicnn.compile(models.SimpleCNN(1, 10, 8), (1, 1, 8, 8))
    images = [rng.standard_normal((n, 1, 8, 8)).astype(np.float32) for n in (1, 2, 5, 9)]
    truth = [compiled(x) for x in images]
    kept = [y.copy() for y in truth]
    failures = []

    def work(x, y):
        for _ in range(20):
            if not np.array_equal(compiled(x), y):
                failures.append(x.shape)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(images, kept)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert not failures
    for y, copy in zip(truth, kept):
        np.testing.assert_array_equal(y, copy)


def test_what_is_computed_outside_functional_is_reported(rng):
    class Doubles(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(2 * x)

    with pytest.raises(ValueError, match=r"relu in module 'relu' got an array for x .*outside minicnn.functional"):
        minicnn.compile(Doubles(), (1, 1, 2, 2))

    class Returns(nn.Module):
        def forward(self, x):
            return x + 1

    with pytest.raises(ValueError, match=r"must return an array made by functional"):
        minicnn.compile(Returns(), (1, 1, 2, 2))


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((3, (1, 1, 4, 4)), TypeError, "model"),
        ((nn.ReLU(), 3), ValueError, "input_shape"),
        ((nn.ReLU(), (1, 4, 4)), ValueError, "input_shape"),
        ((nn.ReLU(), (0, 1, 4, 4)), ValueError, "input_shape"),
        ((nn.ReLU(), (1, 1, 4, "4")), TypeError, "input_shape"),
        ((nn.Conv2d(2, 1, 1), (1, 1, 4, 4)), ValueError, "channels"),
    ],
)
def test_bad_calls(arguments, kind, message):
    with pytest.raises(kind, match=message):
        minicnn.compile(*arguments)


def test_bad_images():
    compiled = minicnn.compile(nn.Conv2d(1, 1, 1), (1, 1, 4, 4))
    with pytest.raises(TypeError, match="float32"):
        compiled(np.zeros((1, 1, 4, 4)))
    with pytest.raises(ValueError, match=r"\(N, 1, 4, 4\)"):
        compiled(np.zeros((1, 1, 5, 4), np.float32))
