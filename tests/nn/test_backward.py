"""Contexts, freezing, hooks, listeners, and modules that users write."""

import threading

import numpy as np
import pytest
import torch
from tolerance import assert_close

from minicnn import functional as F
from minicnn import nn, no_grad
from minicnn.functional import door


def held(model):
    """How many contexts the modules hold."""
    return sum(len(stack) for module in model.modules() for stack in module._contexts.values())


def cnn():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 4))


def image(rng, dtype=np.float32):
    return rng.standard_normal((3, 1, 5, 5)).astype(dtype)


def every_layer():
    from test_layers import CASES

    seen = {name: (arguments, settings, shape) for name, arguments, settings, shape in CASES}
    return [(name, *rest) for name, rest in seen.items()]


@pytest.mark.parametrize(("name", "arguments", "settings", "shape"), every_layer(), ids=lambda v: None)
def test_backward_without_forward_or_twice(backend, rng, name, arguments, settings, shape):
    layer = getattr(nn, name)(*arguments, **settings).astype(np.float64)
    x = rng.standard_normal(shape)
    with pytest.raises(RuntimeError, match=f"{name}: backward without a forward"):
        layer.backward(x)
    y = layer(x)
    layer.backward(y)
    assert held(layer) == 0
    with pytest.raises(RuntimeError, match=f"{name}: .* or twice"):
        layer.backward(y)
    with no_grad():
        layer(x)
    assert held(layer) == 0
    with pytest.raises(RuntimeError, match="no_grad"):
        layer.backward(y)


def test_evaluating_in_a_loop_never_grows(backend, rng):
    model = cnn().eval()
    for _ in range(3):
        model(image(rng))
        assert held(model) == 5
    with no_grad():
        model(image(rng))
    assert held(model) == 0


def test_evaluating_in_several_threads_never_grows(rng):
    model = cnn().eval()
    x, results = image(rng), []
    expected = model(x)

    def work():
        results.extend(np.array_equal(model(x), expected) for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 200
    model(x)
    assert held(model) == 5


def test_the_gradient_is_that_of_the_last_forward(backend, rng):
    model = nn.Linear(3, 2)
    model(rng.standard_normal((4, 3)).astype(np.float32))
    x = rng.standard_normal((2, 3)).astype(np.float32)
    dy = rng.standard_normal((2, 2)).astype(np.float32)
    model(x)
    model.backward(dy)
    assert_close(model.weight.grad, dy.T @ x, length=2)
    with pytest.raises(RuntimeError):
        model.backward(dy)


class Twice(nn.Module):
    """y = layer(tanh(layer(x)))"""

    def __init__(self):
        super().__init__()
        self.layer, self.tanh = nn.Linear(3, 3), nn.Tanh()

    def forward(self, x):
        return self.layer(self.tanh(self.layer(x)))

    def backward(self, dy):
        return self.layer.backward(self.tanh.backward(self.layer.backward(dy)))


@pytest.mark.parametrize("call", ["call", "forward"])
def test_a_module_used_twice_keeps_a_context_each(backend, rng, call):
    model = Twice().astype(np.float64)
    x, dy = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
    weight = torch.tensor(model.layer.weight.data, requires_grad=True)
    bias = torch.tensor(model.layer.bias.data, requires_grad=True)
    tx = torch.tensor(x, requires_grad=True)
    ty = torch.nn.functional.linear(torch.tanh(torch.nn.functional.linear(tx, weight, bias)), weight, bias)
    ty.backward(torch.tensor(dy))
    y = model(x) if call == "call" else model.forward(x)
    assert held(model) == 3
    assert_close(y, ty.detach().numpy())
    assert_close(model.backward(dy), tx.grad.numpy(), length=10)
    assert_close(model.layer.weight.grad, weight.grad.numpy(), length=10)
    assert_close(model.layer.bias.grad, bias.grad.numpy(), length=10)
    assert held(model) == 0


def test_two_models_that_share_a_trunk_run_back_in_either_order(backend, rng):
    trunk = nn.Linear(3, 3).astype(np.float64)
    a, b = (nn.Sequential(trunk, nn.Linear(3, 2)).astype(np.float64) for _ in range(2))
    xa, xb = rng.standard_normal((4, 3)), rng.standard_normal((5, 3))
    dya, dyb = rng.standard_normal((4, 2)), rng.standard_normal((5, 2))
    a(xa), b(xb)
    da, db = a.backward(dya), b.backward(dyb)  # the first forward goes back first
    assert_close(da, dya @ a[1].weight.data @ trunk.weight.data, length=10)
    assert_close(db, dyb @ b[1].weight.data @ trunk.weight.data, length=10)
    expected = (dya @ a[1].weight.data).T @ xa + (dyb @ b[1].weight.data).T @ xb
    assert_close(trunk.weight.grad, expected, length=20)


def test_layers_can_be_run_back_by_hand(backend, rng):
    model = cnn().astype(np.float64)
    x, dy = image(rng, np.float64), rng.standard_normal((3, 4))
    model(x)
    whole = model.backward(dy)
    model(x)
    dx = dy
    for layer in reversed(list(model)):
        dx = layer.backward(dx)
    assert np.array_equal(dx, whole)


def test_a_forward_that_fails_leaves_no_contexts(backend, rng):
    model = cnn()
    with pytest.raises(ValueError, match="linear"):
        model(rng.standard_normal((3, 1, 6, 6)).astype(np.float32))  # the linear layer refuses
    assert held(model) == 0


def test_a_backward_that_is_refused_can_be_repeated(backend, rng):
    model = nn.Linear(3, 2)
    y = model(rng.standard_normal((4, 3)).astype(np.float32))
    for bad, error in [(y[:2], ValueError), (y.astype(np.float64), TypeError), (None, TypeError)]:
        with pytest.raises(error):
            model.backward(bad)
        assert model.weight.grad is None
    assert model.backward(y).shape == (4, 3)


@pytest.mark.parametrize("frozen", [(), (0,), (0, 1), (4,), (0, 1, 4)])
@pytest.mark.parametrize("need_dx", [True, False])
def test_freezing(backend, rng, frozen, need_dx):
    model, free = cnn().astype(np.float64), cnn().astype(np.float64)
    free.load_state_dict(model.state_dict())
    for i in frozen:
        model[i].requires_grad_(False)
    x, dy = image(rng, np.float64), rng.standard_normal((3, 4))
    model(x), free(x)
    expected, dx = free.backward(dy), model.backward(dy, need_dx=need_dx)
    assert np.array_equal(dx, expected) if need_dx else dx is None
    for i, layer in enumerate(model):
        for parameter, other in zip(layer.parameters(), free[i].parameters()):
            if i in frozen:
                assert parameter.grad is None
            else:
                assert np.array_equal(parameter.grad, other.grad)
    assert held(model) == 0
    if not frozen:
        with pytest.raises(RuntimeError):
            model.backward(dy, need_dx=need_dx)


def test_gradients_add_up_and_what_was_handed_out_stays(backend, rng):
    model = nn.Linear(3, 2)
    x = rng.standard_normal((4, 3)).astype(np.float32)
    model.backward(model(x))
    first = model.weight.grad
    copy = first.copy()
    model.backward(model(x))
    assert np.array_equal(first, copy)
    assert_close(model.weight.grad, 2 * copy)
    model.zero_grad()
    assert model.weight.grad is None
    assert model.bias.grad is None


def test_weights_changed_between_forward_and_backward(backend):
    model = nn.Linear(2, 1, bias=False)
    model(np.ones((1, 2), np.float32))
    model.weight.data[...] = 5
    assert np.all(model.backward(np.ones((1, 1), np.float32)) == 5)


# ---- modules that users write -----------------------------------------------------------------------------------


class Scale(nn.Module):
    """A layer of one's own without need_dx; the example at the head of nn/module.py."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(np.full(1, 3.0))

    def forward(self, x):
        self.keep(x)
        return self.factor.data * x

    def backward(self, dy):
        with self.kept() as x:
            self.factor.accumulate((dy * x).sum(keepdims=True).reshape(1))
            return dy * self.factor.data


class WithOperations(nn.Module):
    """Calls operations itself and keeps their contexts; takes need_dx."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(np.arange(6.0).reshape(2, 3))

    def forward(self, x):
        h, linear = F.linear(x, self.weight.data)
        y, relu = F.relu(h)
        self.keep((linear, relu))
        return y

    def backward(self, dy, need_dx=True):
        with self.kept() as (linear, relu):
            dx, dweight, _ = F.linear_backward(F.relu_backward(dy, relu), linear, needs=(need_dx, True, False))
            self.weight.accumulate(dweight)
            return dx


class Louder(Scale):
    """Overrides and calls on."""

    def forward(self, x):
        return super().forward(x) * 2

    def backward(self, dy):
        return super().backward(dy * 2)


@pytest.mark.parametrize("need_dx", [True, False])
def test_modules_of_ones_own(backend, rng, need_dx):
    x, dy = rng.standard_normal((4, 3)), rng.standard_normal((4, 2))
    model = nn.Sequential(Louder(), WithOperations())
    weight = model[1].weight.data
    y = model(x)
    assert_close(y, np.maximum(6 * x @ weight.T, 0), length=3)
    dx = model.backward(dy, need_dx=need_dx)
    dh = (dy * (y > 0)) @ weight
    if need_dx:
        assert_close(dx, 6 * dh, length=3)
    else:
        assert dx is None
    assert_close(model[0].factor.grad, [(2 * dh * x).sum()], length=40)
    assert_close(model[1].weight.grad, (dy * (y > 0)).T @ (6 * x), length=10)


def test_need_dx_false_gives_none_for_any_module(backend):
    layer = Scale()
    layer(np.ones(2))
    assert layer.backward(np.ones(2), need_dx=False) is None
    layer(np.ones(2))
    assert layer.backward(dy=np.ones(2)) is not None


def test_what_is_not_defined_says_so():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty must define forward"):
        Empty()(1)
    with pytest.raises(NotImplementedError, match="Empty must define backward"):
        Empty().backward(1)


# ---- hooks and listeners ----------------------------------------------------------------------------------------


def test_hooks(backend, rng):
    model, seen = cnn(), []
    first = model[2].register_forward_hook(lambda module, x, y: seen.append(("forward", module, x, y)))
    second = model[2].register_backward_hook(lambda module, dy, dx: seen.append(("backward", module, dy, dx)))
    y = model(image(rng))
    model.backward(y)
    (_, f_module, x, relu_y), (_, b_module, dy, dx) = seen
    assert f_module is b_module is model[2]
    assert np.array_equal(relu_y, np.maximum(x, 0))
    assert np.array_equal(dx, dy * (x > 0))
    first.remove()
    second.remove()
    second.remove()  # twice does no harm
    model.backward(model(image(rng)))
    assert len(seen) == 2
    with pytest.raises(TypeError):
        model.register_forward_hook("not a function")


def test_hooks_work_on_modules_of_ones_own_and_fire_once(backend):
    layer, seen = Louder(), []
    layer.register_forward_hook(lambda module, x, y: seen.append((x, y)))
    layer.register_backward_hook(lambda module, dy, dx: seen.append((dy, dx)))
    layer(np.ones(2))
    layer.backward(np.ones(2))
    (x, y), (dy, dx) = seen  # not twice, though Louder.backward calls Scale.backward
    assert np.all(x == 1)
    assert np.all(y == 6)
    assert np.all(dy == 1)
    assert np.all(dx == 6)


def test_hooks_may_replace_what_they_see(backend):
    layer = nn.ReLU()
    layer.register_forward_hook(lambda module, x, y: y + 1)
    layer.register_backward_hook(lambda module, dy, dx: dx * 10)
    assert np.all(layer(np.ones(2)) == 2)
    assert np.all(layer.backward(np.ones(2)) == 10)


def test_listeners_hear_of_modules_entered_and_left(backend, rng):
    class Trail(door.Listener):
        def __init__(self):
            self.trail = []

        def module_entered(self, module):
            self.trail.append(f"+{type(module).__name__}")

        def module_left(self, module):
            self.trail.append(f"-{type(module).__name__}")

    model = nn.Sequential(Scale(), nn.ReLU())
    with door.listen(Trail()) as heard:
        y = model(np.ones(2))
    assert heard.trail == ["+Sequential", "+Scale", "-Scale", "+ReLU", "-ReLU", "-Sequential"]
    with door.listen(Trail()) as heard:
        model.backward(y)
    assert heard.trail == ["+Sequential", "+ReLU", "-ReLU", "+Scale", "-Scale", "-Sequential"]
    with door.listen(Trail()) as heard, pytest.raises(RuntimeError):
        model.backward(y)
    assert heard.trail == ["+Sequential", "+ReLU", "-ReLU", "-Sequential"]
