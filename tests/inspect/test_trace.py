"""trace and gradcam."""

import copy
import json
import sys

import numpy as np
import pytest
import torch
from tolerance import assert_close

import minicnn
from minicnn import functional as F
from minicnn import models, nn
from minicnn.inspect import gradcam, trace


def network():
    minicnn.manual_seed(1)
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


def test_the_first_infinite_gradient_is_found_in_the_order_of_the_backward(rng):
    model = network()
    model[0].weight.data[1, 0, 1, 1] = np.inf
    found = trace(model, np.abs(rng.standard_normal((1, 2, 8, 6))), np.array([1]))
    assert str(found).splitlines()[-1] == "first not finite: y of conv2d in 0, at (0, 1, 0, 0)"
    assert found.to_dict()["loss"] is None and json.loads(found.to_json())["loss"] is None

    class Broken(nn.Identity):
        def backward(self, dy, need_dx=True):
            dx = np.array(super().backward(dy))
            dx[0, 3, 2, 1] = -np.inf
            return dx

    model = network()
    model = nn.Sequential(*model[:3], Broken(), *model[3:])
    found = trace(model, rng.standard_normal((1, 2, 8, 6)), np.array([1]))
    assert str(found).splitlines()[-1] == "first not finite: dy of max_pool2d in 2, at (0, 3, 2, 1)"
    assert [step.operation for step in found.steps[1:4]] == ["relu", "max_pool2d", "adaptive_avg_pool2d"]
    assert [step.gradient.not_finite for step in found.steps[1:4]] == [1, 1, 0]


def test_the_arrays_are_kept_on_demand(rng, backend):
    model, x, target = network(), rng.standard_normal((5, 2, 8, 6)), rng.integers(0, 3, 5)
    assert all(step.arrays == {} for step in trace(model, x, target).steps)
    found = trace(model, x, target, arrays=True)
    tensors = {name: torch.tensor(p.data, requires_grad=True) for name, p in model.named_parameters()}
    image = torch.tensor(x, requires_grad=True)
    conv = torch.nn.functional.conv2d(image, tensors["0.weight"], tensors["0.bias"], padding=1)
    relu = torch.relu(conv)
    logits = torch.nn.functional.linear(
        torch.nn.functional.adaptive_avg_pool2d(torch.nn.functional.max_pool2d(relu, 2), 2).flatten(1),
        tensors["5.weight"], tensors["5.bias"],
    )  # fmt: skip
    for tensor in (conv, relu, logits):
        tensor.retain_grad()
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(target))
    loss.backward()
    arrays = {step.module: step.arrays for step in found.steps}
    truths = {
        ("0", "x"): image, ("0", "y"): conv, ("0", "dy"): conv.grad, ("0", "dx"): image.grad,
        ("0", "dweight"): tensors["0.weight"].grad, ("0", "dbias"): tensors["0.bias"].grad,
        ("1", "x"): conv, ("1", "y"): relu, ("1", "dx"): conv.grad, ("2", "dx"): relu.grad,
        ("5", "y"): logits, ("5", "dweight"): tensors["5.weight"].grad, ("loss", "dlogits"): logits.grad,
        ("loss", "y"): loss,
    }  # fmt: skip
    for (module, name), truth in truths.items():
        assert_close(arrays[module][name], truth.detach().numpy(), 200, what=f"{module} {name}")
    weight = found.steps[0].parameters["weight"]
    assert weight.std == pytest.approx(float(tensors["0.weight"].grad.std(correction=0)))
    assert sorted(found.steps[5].parameters) == ["bias", "weight"] and found.steps[1].parameters == {}


def test_bytes_are_those_of_the_arrays(rng):
    found = trace(network(), rng.standard_normal((5, 2, 8, 6)), rng.integers(0, 3, 5))
    conv = 8 * (5 * 2 * 8 * 6 + 4 * 2 * 9 + 4 + 5 * 4 * 8 * 6)
    assert (found.steps[0].bytes, found.steps[0].output_bytes) == (conv, 8 * 5 * 4 * 8 * 6)


def test_tracing_changes_no_bit(rng, backend):
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.4), nn.Flatten(), nn.Linear(96, 3)
    )
    x, target = rng.standard_normal((5, 2, 8, 6)).astype(np.float32), rng.integers(0, 3, 5)

    def run(traced):
        twin = copy.deepcopy(model)
        minicnn.manual_seed(7)
        found = trace(twin, x, target, arrays=True) if traced else None
        if traced:
            assert twin.state_dict().keys() == model.state_dict().keys()
            for key, array in model.state_dict().items():
                np.testing.assert_array_equal(twin.state_dict()[key], array)
            assert twin.training and all(parameter.grad is None for parameter in twin.parameters())
        criterion = nn.CrossEntropyLoss()
        loss = criterion(twin(x), target)
        dx = twin.backward(criterion.backward())
        return found, [loss, dx, *(p.grad for p in twin.parameters()), *twin.state_dict().values()]

    (_, plain), (found, after) = run(False), run(True)
    for one, other in zip(plain, after):
        np.testing.assert_array_equal(one, other)
    assert found.loss == plain[0]  # the dropout mask is that which the run itself draws
    np.testing.assert_array_equal(found.steps[0].arrays["dx"], plain[1])
    np.testing.assert_array_equal(found.steps[0].arrays["dweight"], plain[2])


def test_the_gradient_flow_is_drawn(rng, tmp_path):
    found = trace(network(), rng.standard_normal((5, 2, 8, 6)), rng.integers(0, 3, 5))
    figure = found.plot(tmp_path / "flow.png")
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    steps = found.steps[:-1]
    np.testing.assert_array_equal(lines["activation y"], [step.activation.std for step in steps])
    np.testing.assert_array_equal(lines["gradient dy"], [step.gradient.std for step in steps])
    drawn = {i: v for i, v in enumerate(lines["weight gradient"]) if np.isfinite(v)}
    assert drawn == {i: steps[i].parameters["weight"].std for i in (0, 5)}
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()][:2] == ["0 conv2d", "1 relu"]
    assert (tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(TypeError, match=r"path must be a str or a path, got int"):
        found.plot(3)


def test_without_matplotlib_a_plot_says_what_to_install(rng, monkeypatch):
    found = trace(network(), rng.standard_normal((5, 2, 8, 6)), rng.integers(0, 3, 5))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"minicnn\[plots\]"):
        found.plot()


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
        (lambda m, x: trace(m, x[None], None), TypeError),
        (lambda m, x: trace(m, x.tolist(), np.array([1])), TypeError),
        (lambda m, x: trace(m, x[None], np.array([1]), "mse"), TypeError),
        (lambda m, x: trace(m, x[None], np.array([1]), F.cross_entropy), TypeError),
        (lambda m, x: trace(m, x[None], np.array([1]), arrays="y"), TypeError),
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
