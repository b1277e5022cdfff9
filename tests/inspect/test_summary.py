"""summary: what it counts is checked by hand, against torch, and against the memory that a forward really leaves."""

import json
import tracemalloc

import numpy as np
import pytest

import minicnn
from minicnn import models, nn
from minicnn.inspect import summary


def network():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2), nn.Flatten(),
        nn.Linear(8 * 8 * 8, 10),
    )  # fmt: skip


def test_rows_and_totals(backend):
    found = summary(network(), (2, 3, 16, 16))
    assert [row.kind for row in found.rows] == [
        "Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Dropout", "Flatten", "Linear"
    ]  # fmt: skip
    assert [row.output_shape for row in found.rows][:4] == [(2, 8, 16, 16)] * 3 + [(2, 8, 8, 8)]
    assert [row.parameters for row in found.rows] == [224, 16, 0, 0, 0, 0, 5130]
    assert found.rows[0].flops == 2 * 2 * 8 * 16 * 16 * 27 + 2 * 8 * 16 * 16
    assert found.rows[6].flops == 2 * 2 * 10 * 512 + 2 * 10
    image, plane, pooled = 2 * 3 * 16 * 16 * 4, 2 * 8 * 16 * 16 * 4, 2 * 8 * 8 * 8
    assert found.rows[0].context_bytes == image
    assert plane <= found.rows[1].context_bytes <= plane + 8 * 8 * 4  # x, mean and variance
    assert found.rows[2].context_bytes == plane
    assert found.rows[3].context_bytes == pooled * (4 if backend == "cpu" else 8)  # the indices
    assert found.parameters == found.trainable == 224 + 16 + 5130
    assert found.output_shape == (2, 10)


@pytest.mark.parametrize("training", [True, False])
def test_context_bytes_are_what_a_forward_leaves(training):
    """Measured independently: the memory that NumPy holds after the forward and not before."""
    model = models.SimpleCNN().train(training)
    x = np.zeros((4, 3, 32, 32), np.float32)
    with minicnn.backend("reference"):
        found = summary(model, x.shape)
        model(x)
        with minicnn.no_grad():
            model(x)  # drops the contexts
        tracemalloc.start()
        y = model(x)
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert kept == pytest.approx(found.context_bytes - x.nbytes + y.nbytes, rel=0.05)


def test_a_shared_array_counts_once():
    """Two branches read one image: it is kept once."""
    model = nn.Concat(nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(1, 2, 1, bias=False))
    found = summary(model, (1, 1, 8, 8))
    assert found.context_bytes == 64 * 4


def test_a_module_used_twice_has_one_row():
    shared = nn.Linear(4, 4)
    found = summary(nn.Sequential(shared, nn.ReLU(), shared), (2, 4))
    assert [(row.kind, row.calls, row.parameters) for row in found.rows] == [("Linear", 2, 20), ("ReLU", 1, 0)]
    assert found.parameters == 20


def test_resnet18_has_the_published_figures():
    with minicnn.backend("reference"):
        found = summary(models.resnet18(), (1, 3, 64, 64))
    assert found.parameters == 11_689_512
    convolutions = sum(row.flops for row in found.rows if row.kind in ("Conv2d", "Linear"))
    # 1.814 G multiply-adds at 224×224; all but the linear layer's half million scale with the area
    assert convolutions == pytest.approx(2 * ((1.8141e9 - 512_000) * (64 / 224) ** 2 + 512_000), rel=0.01)


def test_nothing_in_the_model_changes():
    model = network()
    model.requires_grad_(True)
    x = np.ones((2, 3, 16, 16), np.float32)
    y = model(x)
    before = model.state_dict()
    state = minicnn.random.generator().bit_generator.state
    calls = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    summary(model, (2, 3, 16, 16))
    assert not calls
    assert model.training
    assert minicnn.random.generator().bit_generator.state == state
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])
    model.backward(np.ones_like(y))  # the contexts of the forward before are still there


def test_frozen_parameters_are_told_apart_and_the_table_and_json_show_all():
    model = network()
    model[0].requires_grad_(False)
    found = summary(model, (2, 3, 16, 16))
    assert found.parameters - found.trainable == 224
    assert "224 frozen" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["rows"][0]["kind"] == "Conv2d"


@pytest.mark.parametrize(
    ("model", "shape", "kind"),
    [
        (3, (1, 3), TypeError),
        (network(), 3, TypeError),
        (network(), (), TypeError),
        (network(), (1, -3, 16, 16), ValueError),
        (network(), (1, 3, 2**40, 2**40), ValueError),
        (network(), (1, 3.0, 16, 16), TypeError),
        (network(), (1, 5, 16, 16), ValueError),
    ],
)
def test_bad_calls(model, shape, kind):
    with pytest.raises(kind) as caught:
        summary(model, shape)
    assert "\n" not in str(caught.value)
