"""gradcheck tells right backwards from wrong ones, and says why where they differ."""

import json

import numpy as np
import pytest

import minicnn
from minicnn import functional as F
from minicnn import nn
from minicnn.inspect import gradcheck, gradcheck_all, operations, render


def verdicts(report):
    return [row.verdict for row in report.rows]


def test_every_operation_holds(backend):
    reports = gradcheck_all()
    assert {report.name.partition(" ")[0] for report in reports} == set(operations())
    assert all(reports), render([report for report in reports if not report])
    assert all(report.backend == backend for report in reports)


def test_every_differentiable_operation_is_in_the_catalogue():
    pairs = {name.removesuffix("_backward") for name in dir(F) if name.endswith("_backward")}
    assert pairs == set(operations())


def test_corners_are_named():
    assert verdicts(gradcheck((F.relu, F.relu_backward), np.array([-1.0, 0.0, 2.0]))) == ["kink of relu"]
    tied = np.array([[[[1.0, 1.0], [0.0, 1.0]]]])
    report = gradcheck((F.max_pool2d, F.max_pool2d_backward), tied, 2)
    assert report
    assert verdicts(report) == ["tie in a maximum"]
    assert "slope" in str(report)


def test_a_wrong_backward_is_a_real_error_with_its_place_and_values(rng):
    def wrong(dy, ctx):
        dx, dweight, dbias = F.linear_backward(dy, ctx)
        dweight[1, 2] *= 1.001
        return dx, dweight, dbias

    report = gradcheck((F.linear, wrong), rng.standard_normal((4, 5)), rng.standard_normal((3, 5)), np.ones(3))
    assert not report
    assert verdicts(report) == ["agrees", "real error", "agrees"]
    row = report.rows[1]
    assert row.index == (1, 2)
    assert row.backward == pytest.approx(1.001 * row.finite_difference, rel=1e-9)
    assert row.torch == pytest.approx(row.finite_difference, rel=1e-9)


def test_a_backward_wrong_in_float32_only_is_caught(rng):
    def wrong(dy, ctx):
        dx = F.relu_backward(dy, ctx)
        return dx if dx.dtype == np.float64 else dx * np.float32(1.001)

    report = gradcheck((F.relu, wrong), rng.standard_normal(9))
    assert verdicts(report) == ["real error"]
    assert "float32" in report.rows[0].explanation


def test_float32_precision_is_no_error():
    """Near 1000 the difference of two arguments loses digits in float32: the gradient is as good as the input."""

    def op(x):
        return np.sin(50 * x), x

    report = gradcheck((op, lambda dy, x: 50 * np.cos(50 * x) * dy), np.linspace(20.1, 30.3, 11))
    assert report
    assert verdicts(report) == ["float32 precision"]


def test_a_backward_that_is_not_a_number_is_an_error():
    report = gradcheck((F.relu, lambda dy, ctx: dy * np.nan), np.array([1.0, 2.0]))
    assert not report


def test_user_functions_with_varied_arguments(rng):
    a, b = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))

    def product(*arrays):
        return arrays[0] * arrays[1], arrays

    assert gradcheck((product, lambda dy, ctx: (dy * ctx[1], dy * ctx[0])), a, b)
    assert not gradcheck((product, lambda dy, ctx: (dy * ctx[1], dy * ctx[1])), a, b)
    assert gradcheck((F.concat, F.concat_backward), [a, b], 1)

    def scaled(factor, x):
        return factor * x, factor

    assert gradcheck((scaled, lambda dy, factor: factor * dy), 3.0, a, wrt=["x"])


def test_modules_are_checked_and_left_as_they_were(rng, backend):
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.3), nn.MaxPool2d(2))
    before = {key: array.copy() for key, array in model.state_dict().items()}
    state = minicnn.random.generator().bit_generator.state
    report = gradcheck(model, rng.standard_normal((2, 2, 4, 4)))
    assert report, str(report)
    assert [row.argument for row in report.rows] == ["input", "0.weight", "0.bias", "1.weight", "1.bias"]
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])
    assert all(parameter.grad is None for parameter in model.parameters())
    assert minicnn.random.generator().bit_generator.state == state


def test_a_module_with_a_wrong_backward_is_caught(rng):
    class Halved(nn.Linear):
        def backward(self, dy, need_dx=True):
            return super().backward(dy / 2, need_dx)

    report = gradcheck(Halved(3, 2), rng.standard_normal((4, 3)))
    assert verdicts(report) == ["real error"] * 3


def test_losses_are_checked(rng):
    assert gradcheck(nn.CrossEntropyLoss(label_smoothing=0.1), rng.standard_normal((4, 3)), np.array([0, 2, 1, 1]))


def test_a_report_as_json_and_as_a_table():
    report = gradcheck((F.relu, F.relu_backward), np.array([-1.0, 0.0, 2.0]))
    figures = json.loads(json.dumps(report.to_dict()))
    assert figures["holds"] is True
    assert figures["rows"][0]["verdict"] == "kink of relu"
    assert "kink of relu" in str(report)


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda x: gradcheck(3, x), TypeError, "pair"),
        (lambda x: gradcheck((F.relu,), x), TypeError, "pair"),
        (lambda x: gradcheck((F.relu, F.relu_backward)), TypeError, "inputs"),
        (lambda x: gradcheck((F.relu, F.relu_backward), x, 1, 2), TypeError, "relu"),
        (lambda x: gradcheck((F.relu, F.relu_backward), x, seed=-1), ValueError, "seed"),
        (lambda x: gradcheck((F.relu, F.relu_backward), x, seed="a"), TypeError, "seed"),
        (lambda x: gradcheck((F.relu, F.relu_backward), x, wrt=["y"]), ValueError, "wrt"),
        (lambda x: gradcheck((lambda x: x, F.relu_backward), x), TypeError, "y, ctx"),
        (lambda x: gradcheck((F.relu, lambda dy, ctx: dy[:1]), x), ValueError, "shape"),
        (lambda x: gradcheck(nn.ReLU(), [1.0]), TypeError, "input"),
        (lambda x: gradcheck_all(["reluu"]), ValueError, "relu"),
        (lambda x: gradcheck_all("relu"), TypeError, "list"),
    ],
)
def test_bad_calls_say_what_is_wrong(call, kind, says):
    with pytest.raises(kind) as caught:
        call(np.array([1.0, 2.0]))
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    assert len(message) < 400


def test_a_function_that_is_not_repeatable_is_refused(rng):
    def noisy(x):
        return x * rng.standard_normal(x.shape), x

    with pytest.raises(ValueError, match="another result"):
        gradcheck((noisy, lambda dy, x: dy), np.ones(3))
