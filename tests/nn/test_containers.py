"""Sequential, Residual, Concat: against torch, and as containers."""

import numpy as np
import pytest
import torch
from tolerance import assert_close

from minicnn import nn


def check(model, forward, x, rng):
    """The model against a function of torch that takes x and the parameters in order."""
    model.astype(np.float64)
    leaves = [torch.tensor(p.data, requires_grad=True) for p in model.parameters()]
    tx = torch.tensor(x, requires_grad=True)
    ty = forward(tx, *leaves)
    y = model(x)
    assert_close(y, ty.detach().numpy(), length=20)
    dy = rng.standard_normal(y.shape)
    ty.backward(torch.tensor(dy))
    assert_close(model.backward(dy), tx.grad.numpy(), length=40)
    for (name, parameter), leaf in zip(model.named_parameters(), leaves, strict=True):
        assert_close(parameter.grad, leaf.grad.numpy(), length=40, what=name)
    model(x)
    assert model.backward(dy, need_dx=False) is None


def test_sequential(backend, rng):
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    functional = torch.nn.functional
    check(
        model,
        lambda x, w, b, v, c: functional.linear(torch.tanh(functional.linear(x, w, b)), v, c),
        rng.standard_normal((3, 4)),
        rng,
    )


def test_residual(backend, rng):
    functional = torch.nn.functional
    x = rng.standard_normal((3, 4))
    check(nn.Residual(nn.Linear(4, 4)), lambda x, w, b: functional.linear(x, w, b) + x, x, rng)
    check(
        nn.Residual(nn.Linear(4, 2), nn.Linear(4, 2, bias=False)),
        lambda x, w, b, v: functional.linear(x, w, b) + functional.linear(x, v),
        x,
        rng,
    )
    assert list(nn.Residual(nn.Linear(1, 1), nn.Linear(1, 1)).state_dict()) == [
        "branch.weight", "branch.bias", "shortcut.weight", "shortcut.bias",
    ]  # fmt: skip


@pytest.mark.parametrize("axis", [1, -1, 0])
def test_concat(backend, rng, axis):
    functional = torch.nn.functional
    model = nn.Concat(nn.Linear(4, 2), nn.Identity(), nn.Linear(4, 4), axis=axis)
    if axis == 0:
        model = nn.Concat(nn.Linear(4, 4), nn.Identity(), nn.Linear(4, 4), axis=0)

    def forward(x, w, b, v, c):
        return torch.cat([functional.linear(x, w, b), x, functional.linear(x, v, c)], axis)

    check(model, forward, rng.standard_normal((3, 4)), rng)


def test_one_layer_in_several_places(backend, rng):
    layer, tanh = nn.Linear(4, 4), nn.Tanh()
    functional = torch.nn.functional

    def forward(x, w, b):
        h = torch.tanh(functional.linear(x, w, b))
        h = h + torch.tanh(functional.linear(h, w, b))
        return torch.cat([h, functional.linear(h, w, b)], 1)

    model = nn.Sequential(layer, tanh, nn.Residual(nn.Sequential(layer, tanh)), nn.Concat(nn.Identity(), layer))
    check(model, forward, rng.standard_normal((3, 4)), rng)


def test_sequential_as_a_container():
    relu, linear = nn.ReLU(), nn.Linear(2, 2)
    model = nn.Sequential(relu, linear, relu)
    assert len(model) == 3
    assert list(model) == [relu, linear, relu]
    assert model[0] is model[-1] is relu
    assert list(model[1:]) == [linear, relu]
    assert isinstance(model[:2], nn.Sequential)
    assert list(model[:2].state_dict()) == ["1.weight", "1.bias"]
    assert model.append(nn.Tanh()) is model
    assert list(model.state_dict()) == ["1.weight", "1.bias"]
    assert [name for name, _ in model.named_children()] == ["0", "1", "3"]
    model[1] = nn.Sigmoid()
    assert isinstance(model[1], nn.Sigmoid)
    for bad in (4, -5):
        with pytest.raises(IndexError):
            model[bad]
    with pytest.raises(TypeError):
        model["0"]
    with pytest.raises(TypeError):
        model.append(nn.ReLU)


def test_sequential_of_named_modules(backend):
    model = nn.Sequential({"first": nn.Linear(2, 3), "act": nn.ReLU()})
    assert list(model.state_dict()) == ["first.weight", "first.bias"]
    assert model.first is model[0]
    assert model(np.ones((1, 2), np.float32)).shape == (1, 3)
    with pytest.raises(ValueError, match="dot"):
        nn.Sequential({"a.b": nn.ReLU()})
    with pytest.raises(TypeError):
        nn.Sequential({"a": 1})


def test_an_empty_sequential_is_the_identity():
    model = nn.Sequential()
    x = np.ones(3)
    assert model(x) is x
    assert model.backward(x) is x
