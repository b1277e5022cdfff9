"""trace and gradcam."""

import json

import numpy as np
import pytest
import torch
from tolerance import assert_close

from minicnn import functional as F
from minicnn import models, nn
from minicnn.inspect import gradcam, trace


def network():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    ).astype(np.float64)


def test_a_trace_holds_every_operation_with_its_gradient(rng, backend):
    model, x, target = network(), rng.standard_normal((5, 2, 8, 6)), rng.integers(0, 3, 5)
    found = trace(model, x, target)
    assert [step.operation for step in found.steps] == [
        "conv2d", "relu", "max_pool2d", "adaptive_avg_pool2d", "flatten", "linear", "cross_entropy"
    ]  # fmt: skip
    assert [step.module for step in found.steps] == ["0", "1", "2", "3", "4", "5", "loss"]
    logits = model(x)
    loss, ctx = F.cross_entropy(logits, target)
    assert found.loss == loss
    linear = found.steps[5]
    assert linear.activation.mean == pytest.approx(logits.mean())
    assert linear.activation.std == pytest.approx(logits.std())
    assert linear.gradient.largest == pytest.approx(np.abs(F.cross_entropy_backward(1.0, ctx)).max())
    relu = found.steps[1]
    assert relu.activation.zeros == pytest.approx((model[1](model[0](x)) == 0).mean())
    assert all(step.gradient is not None for step in found.steps)
    assert all(step.forward_seconds > 0 and step.backward_seconds > 0 for step in found.steps)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_first_nan_is_shown_with_its_place(rng):
    x = rng.standard_normal((1, 2, 8, 6))
    x[0, 1, 3, 2] = np.nan
    found = trace(network(), x, np.array([1]), nn.CrossEntropyLoss())
    conv = found.steps[0]
    assert conv.activation.not_finite == 4 * 9
    assert conv.activation.first_not_finite == (0, 0, 2, 1)
    assert "not finite" in str(found)
    assert "first at (0, 0, 2, 1)" in str(found)
    assert len(json.loads(found.to_json())["steps"]) == 7


def test_a_residual_network_is_traced(rng):
    model = models.resnet18(num_classes=4)
    found = trace(model, rng.standard_normal((2, 3, 32, 32)).astype(np.float32), np.array([0, 3]))
    assert sum(step.operation == "add" for step in found.steps) == 8
    assert all(step.gradient is not None for step in found.steps)
    assert found.steps[1].module == "bn1"


def test_gradcam_is_the_formula_of_the_paper(rng, backend):
    model = network()
    x = rng.standard_normal((2, 8, 6))
    conv, linear = model[0], model[5]
    tensors = [torch.tensor(p.data) for p in (conv.weight, conv.bias, linear.weight, linear.bias)]
    seen = torch.relu(torch.nn.functional.conv2d(torch.tensor(x)[None], *tensors[:2], padding=1)).requires_grad_()
    pooled = torch.nn.functional.adaptive_avg_pool2d(torch.nn.functional.max_pool2d(seen, 2), 2).flatten(1)
    score = torch.nn.functional.linear(pooled, *tensors[2:])[0, 2]
    (gradient,) = torch.autograd.grad(score, seen)
    heat = torch.relu((gradient.mean((2, 3), keepdim=True) * seen).sum(1, keepdim=True))
    truth = torch.nn.functional.interpolate(heat, size=(8, 6), mode="bilinear")[0, 0].detach().numpy()
    before = model.state_dict()
    assert_close(gradcam(model, x, model[1], target=2), truth, 32, what="gradcam")
    np.testing.assert_array_equal(gradcam(model, x[None], "1", target=2), gradcam(model, x, model[1], target=2))
    assert model.training
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


def test_gradcam_enlarges_the_map_and_takes_the_best_class(rng):
    model = network()
    x = rng.standard_normal((2, 8, 6))
    heat = gradcam(model, x, "2")
    assert heat.shape == (8, 6)
    assert heat.min() >= 0
    best = int(np.argmax(model.eval()(x[None])))
    np.testing.assert_array_equal(heat, gradcam(model, x, "2", target=best))


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda m, x: trace(3, x, np.array([1])), TypeError),
        (lambda m, x: trace(m, x[None], np.array([7])), IndexError),
        (lambda m, x: gradcam(3, x, "1"), TypeError),
        (lambda m, x: gradcam(m, [1], "1"), TypeError),
        (lambda m, x: gradcam(m, x[0], "1"), ValueError),
        (lambda m, x: gradcam(m, x, "9"), ValueError),
        (lambda m, x: gradcam(m, x, 1), TypeError),
        (lambda m, x: gradcam(m, x, nn.ReLU()), ValueError),
        (lambda m, x: gradcam(m, x, "5"), ValueError),
        (lambda m, x: gradcam(m, x, "1", target=3), IndexError),
    ],
)
def test_bad_calls(call, kind, rng):
    with pytest.raises(kind) as caught:
        call(network(), rng.standard_normal((2, 8, 6)))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
