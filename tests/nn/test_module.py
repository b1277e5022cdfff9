"""Module: registration, going through the tree, state dicts, modes, copies."""

import copy
import pickle

import numpy as np
import pytest
import torch

from minicnn import nn


class Tied(nn.Module):
    """Two layers of which one is registered twice, and which share a parameter."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.again = self.first
        self.other = nn.Linear(3, 3)
        self.other.weight = self.first.weight
        self.register_buffer("mean", np.arange(3.0))


class TorchTied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(3, 3)
        self.again = self.first
        self.other = torch.nn.Linear(3, 3)
        self.other.weight = self.first.weight
        self.register_buffer("mean", torch.arange(3.0))


def small():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.Linear(4, 2, bias=False)))


def test_names_and_order_are_torchs():
    ours, theirs = Tied(), TorchTied()
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    assert [name for name, _ in ours.named_buffers()] == [name for name, _ in theirs.named_buffers()]
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in theirs.named_modules()]
    assert [name for name, _ in ours.named_children()] == [name for name, _ in theirs.named_children()]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert len(list(ours.parameters())) == 3
    assert len(list(ours.modules())) == 3
    assert [name for name, _ in ours.named_parameters(recurse=False)] == []


def test_iterators_are_iterators():
    model = small()
    for method in ("parameters", "named_parameters", "modules", "named_modules", "children", "buffers"):
        assert next(getattr(model, method)()) is not None


@pytest.mark.parametrize("framework", ["minicnn", "torch"])
def test_assignment_registers_replaces_and_deletes_as_in_torch(framework):
    """The same steps run in both, so that the assertions hold for torch too."""
    if framework == "torch":
        base, linear, parameter = torch.nn.Module, torch.nn.Linear, lambda: torch.nn.Parameter(torch.zeros(2))
        array = lambda: torch.zeros(1)  # noqa: E731
    else:
        base, linear, parameter = nn.Module, nn.Linear, lambda: nn.Parameter(np.zeros(2))
        array = lambda: np.zeros(1)  # noqa: E731
    m = base()
    m.a = parameter()
    m.b = linear(2, 2)
    m.c = parameter()
    m.register_buffer("d", array())
    m.a = parameter()  # replaced in place
    assert [name for name, _ in m.named_parameters()] == ["a", "c", "b.weight", "b.bias"]
    m.d = array() + 1
    assert list(m.state_dict()) == ["a", "c", "d", "b.weight", "b.bias"]
    m.a = None  # the place is kept
    assert m.a is None
    m.a = parameter()
    assert next(name for name, _ in m.named_parameters()) == "a"
    del m.a
    assert not hasattr(m, "a")
    m.a = parameter()
    assert [name for name, _ in m.named_parameters()] == ["c", "a", "b.weight", "b.bias"]
    m.b = parameter()  # a module gives way to a parameter
    assert [name for name, _ in m.named_modules()] == [""]
    m.d = linear(1, 1)  # a buffer to a module
    assert list(m.state_dict()) == ["c", "a", "b", "d.weight", "d.bias"]
    with pytest.raises(TypeError):
        m.c = 3
    with pytest.raises(TypeError):
        m.d = "text"
    m.plain = 3
    assert m.plain == 3
    del m.plain
    with pytest.raises(AttributeError):
        m.plain  # noqa: B018


def test_before_init_a_clear_error():
    class Forgot(nn.Module):
        def __init__(self):
            self.layer = nn.ReLU()

    with pytest.raises(AttributeError, match=r"Forgot: call super\(\).__init__\(\) before assigning 'layer'"):
        Forgot()


@pytest.mark.parametrize("name", ["", "a.b", "forward", "training"])
def test_bad_names(name):
    with pytest.raises(ValueError, match="name"):
        nn.Module().register_buffer(name, np.zeros(1))
    with pytest.raises(ValueError, match="name"):
        nn.Module().add_module(name, nn.ReLU())
    with pytest.raises(ValueError, match="name"):
        nn.Module().register_parameter(name, None)


def test_registering_other_types():
    for method in ("register_buffer", "add_module", "register_parameter"):
        with pytest.raises(TypeError):
            getattr(nn.Module(), method)("name", "text")
        with pytest.raises(TypeError):
            getattr(nn.Module(), method)(3, None)


def test_parameter():
    p = nn.Parameter(np.zeros((2, 3), np.float32))
    assert p.grad is None
    assert p.requires_grad
    assert (p.shape, p.dtype, p.ndim, p.size) == ((2, 3), np.float32, 2, 6)
    for bad in ([1.0], np.zeros(3, int), None, np.zeros(2, complex)):
        with pytest.raises(TypeError):
            nn.Parameter(bad)
    with pytest.raises(ValueError, match="shape of data"):
        p.grad = np.zeros((3, 2), np.float32)
    with pytest.raises(TypeError):
        p.grad = np.zeros((2, 3))
    p.grad = np.ones((2, 3), np.float32)
    handed_out = p.grad
    p.accumulate(np.ones((2, 3), np.float32))
    assert np.all(p.grad == 2)
    assert np.all(handed_out == 1)
    assert copy.deepcopy(p).grad is None
    assert copy.deepcopy(p).data is not p.data


def test_state_dict_is_a_copy_and_loads_back():
    model, other = small(), small()
    state = model.state_dict()
    state["0.weight"][...] = 7
    assert not np.any(model[0].weight.data == 7)
    held = other[0].weight.data
    assert other.load_state_dict(model.state_dict()) == ([], [])
    for key, array in other.state_dict().items():
        assert np.array_equal(array, model.state_dict()[key])
    assert other[0].weight.data is held  # loaded in place


def test_load_state_dict_casts_and_does_without_num_batches_tracked(rng):
    model = small()
    state = {key: rng.standard_normal(array.shape) for key, array in model.state_dict().items()}
    del state["1.num_batches_tracked"]
    assert model.load_state_dict(state) == ([], [])
    assert model[0].weight.dtype == np.float32
    assert np.array_equal(model[0].weight.data, state["0.weight"].astype(np.float32))
    assert model[1].num_batches_tracked.dtype == np.int64


def test_load_state_dict_into_read_only_parameters():
    model = nn.Linear(2, 2)
    model.weight.data = np.broadcast_to(np.float32(1), (2, 2))
    model.load_state_dict({"weight": np.full((2, 2), 5.0), "bias": np.zeros(2)})
    assert np.all(model.weight.data == 5)


def damaged(state):
    shape = {**state, "0.weight": np.zeros((3, 3))}
    missing = {key: array for key, array in state.items() if key != "1.running_var"}
    return [
        (shape, True, r"0.weight \(3, 3\) instead of \(2, 1, 3, 3\)", ValueError),
        (shape, False, "0.weight", ValueError),
        (missing, True, r"missing: 1.running_var$", ValueError),
        ({**state, "extra": np.zeros(1)}, True, r"unexpected: extra$", ValueError),
        ({**state, "2.0.weight": "text"}, True, "2.0.weight", TypeError),
        ({**state, "2.0.weight": np.zeros((2, 4), complex)}, True, "2.0.weight", TypeError),
        ({**state, "2.0.weight": [[1.0], [1.0, 2.0]]}, True, "2.0.weight", TypeError),
        ({f"{'long' * 30}{i}": np.zeros(1) for i in range(200)}, True, "and 199 more", ValueError),
        ([1, 2], True, "a dict or a path", TypeError),
        (None, True, "a dict or a path", TypeError),
    ]


@pytest.mark.parametrize("case", range(10))
def test_load_state_dict_changes_nothing_on_an_error(case):
    model = small()
    before = model.state_dict()
    state, strict, match, error = damaged({key: array + 1 for key, array in before.items()})[case]
    with pytest.raises(error, match=match) as raised:
        model.load_state_dict(state, strict=strict)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400
    for key, array in model.state_dict().items():
        assert np.array_equal(array, before[key])


def test_load_state_dict_not_strict():
    model = small()
    found = model.load_state_dict({"2.0.weight": np.ones((2, 4)), "extra": np.zeros(1)}, strict=False)
    assert np.all(model[2][0].weight.data == 1)
    assert found.unexpected_keys == ["extra"]
    assert found.missing_keys == [
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
    ]  # fmt: skip


def test_load_state_dict_from_a_path(tmp_path):
    import minicnn

    model, other = small(), small()
    path = tmp_path / "weights.safetensors"
    minicnn.save(model.state_dict(), path)
    other.load_state_dict(path)
    for key, array in other.state_dict().items():
        assert np.array_equal(array, model.state_dict()[key])
    other.load_state_dict(str(path))
    with pytest.raises(OSError, match="nowhere"):
        other.load_state_dict(tmp_path / "nowhere.pth")


def test_train_and_eval_reach_every_module():
    model = small()
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    model.train()
    assert all(module.training for module in model.modules())
    with pytest.raises(TypeError):
        model.train("yes")


def test_astype_takes_buffers_and_gradients_along(backend, rng):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    y = model(rng.standard_normal((2, 1, 5, 5)).astype(np.float32))
    model.backward(y)
    assert model.astype(np.float64) is model
    assert {a.dtype for a in model.state_dict().values()} == {np.dtype(np.float64), np.dtype(np.int64)}
    assert all(p.grad.dtype == np.float64 for p in model.parameters())
    assert model(rng.standard_normal((2, 1, 5, 5))).dtype == np.float64
    model.astype("float32")
    for bad, error in [("float16", ValueError), (int, ValueError), ("nonsense", TypeError)]:
        with pytest.raises(error):
            model.astype(bad)


def test_to():
    model = small()
    assert model.to("cpu") is model
    assert model.to("reference") is model
    with pytest.raises(ValueError, match="reference, cpu, cuda"):
        model.to("gpu")
    with pytest.raises(TypeError):
        model.to(1)


def test_copies_hold_no_contexts_hooks_or_gradients(backend, rng):
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    model.register_forward_hook(lambda *_: None)
    model[0].register_backward_hook(lambda *_: None)
    x = rng.standard_normal((2, 3)).astype(np.float32)
    y = model(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(twin[0].weight.data, model[0].weight.data)
        assert twin[0].weight.data is not model[0].weight.data
        assert not twin._forward_hooks
        assert not twin[0]._backward_hooks
        with pytest.raises(RuntimeError):
            twin.backward(y)
        assert np.array_equal(twin(x), y)
        twin.backward(y)
        assert twin[0].weight.grad is not None
    assert model[0].weight.grad is None
    model.backward(y)


def test_repr_is_torchs():
    ours, theirs = (
        f.Sequential(f.Conv2d(1, 2, 3), f.Sequential(f.ReLU(), f.Linear(2, 2)), f.BatchNorm2d(2))
        for f in (nn, torch.nn)
    )
    assert repr(ours) == repr(theirs).replace("bias=True, track", "track")  # newer torch prints that default


def test_dir_lists_registered_names():
    assert {"weight", "bias", "forward"} <= set(dir(nn.Linear(1, 1)))
