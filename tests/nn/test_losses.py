"""Losses as modules, against torch."""

import numpy as np
import pytest
import torch
from tolerance import assert_close

from minicnn import nn

CASES = [
    ("CrossEntropyLoss", {}, "classes"),
    ("CrossEntropyLoss", {"reduction": "sum", "label_smoothing": 0.2}, "classes"),
    ("CrossEntropyLoss", {"reduction": "none", "ignore_index": 1}, "classes"),
    ("CrossEntropyLoss", {"label_smoothing": 0.1}, "probabilities"),
    ("NLLLoss", {}, "classes"),
    ("NLLLoss", {"reduction": "none", "ignore_index": 2}, "classes"),
    ("MSELoss", {}, "values"),
    ("MSELoss", {"reduction": "none"}, "values"),
    ("BCEWithLogitsLoss", {}, "values"),
    ("BCEWithLogitsLoss", {"reduction": "sum"}, "values"),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "settings", "kind"), CASES, ids=lambda value: None)
def test_loss_is_torchs(backend, rng, name, settings, kind, weighted):
    weight = rng.uniform(0.5, 2, 4)
    if kind == "values":
        if weighted:
            settings = {"reduction": "sum"}
        ours, theirs = getattr(nn, name)(**settings), getattr(torch.nn, name)(**settings)
    else:
        ours = getattr(nn, name)(weight if weighted else None, **settings)
        theirs = getattr(torch.nn, name)(torch.tensor(weight) if weighted else None, **settings)
    x = rng.standard_normal((5, 4))
    target = {
        "classes": rng.integers(0, 4, 5),
        "probabilities": rng.dirichlet(np.ones(4), 5),
        "values": rng.uniform(0, 1, (5, 4)),
    }[kind]
    tx = torch.tensor(x, requires_grad=True)
    loss, expected = ours(x, target), theirs(tx, torch.tensor(target))
    assert_close(loss, expected.detach().numpy(), length=20)
    dy = rng.standard_normal(np.shape(loss))
    expected.backward(torch.tensor(dy))
    assert_close(ours.backward(dy if np.ndim(dy) else float(dy)), tx.grad.numpy(), length=20)
    with pytest.raises(RuntimeError):
        ours.backward()


def test_backward_of_a_mean_needs_no_argument(backend, rng):
    criterion = nn.CrossEntropyLoss()
    logits, target = rng.standard_normal((4, 3)).astype(np.float32), np.array([0, 1, 2, 1])
    loss = criterion(logits, target)
    assert loss.dtype == np.float32 and np.ndim(loss) == 0
    first = criterion.backward()
    criterion(logits, target)
    assert np.array_equal(criterion.backward(dy=1.0), first)
    assert first.dtype == np.float32


def test_errors_come_before_anything_is_kept(backend):
    criterion = nn.CrossEntropyLoss()
    with pytest.raises(IndexError):
        criterion(np.zeros((2, 3)), np.array([0, 3]))
    with pytest.raises(RuntimeError):
        criterion.backward()
    for settings, error in [
        ({"reduction": "max"}, ValueError),
        ({"label_smoothing": 2}, ValueError),
        ({"ignore_index": 0.5}, TypeError),
    ]:
        with pytest.raises(error):
            nn.CrossEntropyLoss(**settings)


def test_class_weights_are_a_buffer():
    criterion = nn.CrossEntropyLoss(np.ones(3))
    assert list(criterion.state_dict()) == ["weight"]
    assert criterion.astype(np.float32).weight.dtype == np.float32
