"""minicnn.compile: the same output as the model in eval mode, whatever was folded away."""

import threading

import numba
import numpy as np
import pytest

import minicnn
from minicnn import functional as F
from minicnn import models, nn
from minicnn.backends import module_of

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


def test_a_large_batch_runs_a_few_images_at_a_time_with_equal_results(rng, monkeypatch):
    from minicnn.inference import segments

    model = settle(models.resnet18(num_classes=5), rng)
    monkeypatch.setattr(segments, "CACHE_BYTES", 100_000)
    monkeypatch.setattr(segments, "WEIGHTS", 0)
    compiled = minicnn.compile(model, (1, 3, 32, 32))
    at_once = [segment.images for segment in compiled._segments]
    assert at_once[0] < 7 and at_once[-1] is None and len(at_once) > 2
    x = rng.standard_normal((7, 3, 32, 32)).astype(np.float32)
    truth = expected(model, x)
    first = compiled(x)
    assert np.abs(first - truth).max() <= OF_LARGEST * np.abs(truth).max()
    compiled(x[:2]), compiled(x[:1])
    np.testing.assert_array_equal(compiled(x), first)


def test_the_same_bits_on_one_and_two_threads(rng):
    compiled = minicnn.compile(settle(models.resnet18(num_classes=5), rng), (1, 3, 64, 64))
    x = rng.standard_normal((5, 3, 64, 64)).astype(np.float32)
    before, results = minicnn.get_num_threads(), []
    try:
        for threads in (1, before):
            minicnn.set_num_threads(threads)
            results.append(compiled(x))
    finally:
        minicnn.set_num_threads(before)
    np.testing.assert_array_equal(*results)


def test_a_batch_that_is_mixed_stays_whole(backend, rng):
    class Stacks(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3)

        def forward(self, x):
            y = self.conv(x)
            return F.softmax(F.concat([y, y], axis=0)[0], axis=0)[0]

    check(Stacks(), (2, 1, 5, 5), rng)


def test_plan_and_profile_as_text(backend, rng):
    compiled = minicnn.compile(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()), (1, 16, 16, 16))
    algorithm = "winograd" if minicnn.get_backend() == "cpu" else "im2col"
    heading, step = str(compiled).splitlines()
    assert heading.split() == ["step", "module", "operation", "output", "MFLOP", "MB", "buffer"]
    assert f"conv2d + relu ({algorithm})" in step and step.split()[-3:] == ["1.2", "0.04", "new"]
    x = rng.standard_normal((2, 16, 16, 16)).astype(np.float32)
    heading, step, total = compiled.profile(x, repeat=1).splitlines()
    assert "GFLOP/s" in heading and f"({algorithm})" in step and total.split()[0] == "all"


@pytest.mark.parametrize("groups", [1, 2, 16])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prepared_convolution(backend, rng, groups, stride, relu, residual, dtype):
    """Against conv2d, then the sum, then the ReLU; sizes that fill no tile, no panel and no group of filters."""
    if backend == "cuda" and numba.config.ENABLE_CUDASIM:
        pytest.skip("needs a GPU: millions of multiplications take minutes in the simulator; tests/cuda has small ones")
    x = rng.standard_normal((3, 16, 17, 19)).astype(dtype)
    weight, bias = rng.standard_normal((48, 16 // groups, 3, 3)).astype(dtype), rng.standard_normal(48).astype(dtype)
    y = F.conv2d(x, weight, bias, stride, 1, 1, groups)[0]
    other = rng.standard_normal(y.shape).astype(dtype) if residual else None
    truth = y + other if residual else y
    truth = np.maximum(truth, 0) if relu else truth
    prepare = module_of(x).prepare_conv2d
    run = prepare(weight, bias, (stride, stride), (1, 1, 1, 1), (1, 1), groups, relu)
    for _ in range(2):
        result = run(x, other, lambda shape: np.full(shape, np.nan, dtype))
        assert np.abs(result - truth).max() <= 1e-5 * np.abs(truth).max()
    x[0, 0, 8, 8] = np.nan
    assert np.isnan(run(x, other, lambda shape: np.zeros(shape, dtype))[0, :, 8 // stride, 8 // stride]).any()
