"""Optimisers against torch over 50 steps, their state, and what they refuse."""

import numpy as np
import pytest
import torch
from tolerance import assert_close

from minicnn import nn, optim

STEPS = 50
CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.01, "momentum": 0.5, "maximize": True, "weight_decay": 0.1}),
    ("SGD", {}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "amsgrad": True}),
    ("Adam", {"maximize": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.2, "amsgrad": True}),
    ("AdamW", {"lr": 0.1, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.02, "alpha": 0.9, "weight_decay": 0.1, "momentum": 0.5}),
    ("RMSprop", {"centered": True, "eps": 1e-3}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "maximize": True}),
]
SHAPES = [(5, 3), (7,), (2, 3, 2, 2), ()]
IDS = [f"{name}-{i}" for i, (name, _) in enumerate(CASES)]


def pairs(rng, dtype=np.float64):
    """Parameters of ours and of torch with the same values."""
    ours = [nn.Parameter(rng.standard_normal(shape).astype(dtype).reshape(shape)) for shape in SHAPES]
    return ours, [torch.nn.Parameter(torch.tensor(p.data.copy())) for p in ours]


def set_grads(rng, ours, theirs, skip=()):
    """The same random gradients; none for the parameters in skip."""
    for i, (p, q) in enumerate(zip(ours, theirs)):
        grad = rng.standard_normal(p.shape).astype(p.dtype).reshape(p.shape)
        p.grad = None if i in skip else grad
        q.grad = None if i in skip else torch.tensor(grad.copy())


@pytest.mark.parametrize(("name", "settings"), CASES, ids=IDS)
def test_fifty_steps_are_torchs(backend, rng, name, settings):
    ours, theirs = pairs(rng)
    a, b = getattr(optim, name)(ours, **settings), getattr(torch.optim, name)(theirs, **settings)
    for step in range(STEPS):
        set_grads(rng, ours, theirs, skip=(1,) if step % 3 == 0 else ())  # one parameter comes later, with gaps
        before = [p.grad if p.grad is None else p.grad.copy() for p in ours]
        a.step(), b.step()
        for p, grad in zip(ours, before):
            assert grad is None or np.array_equal(p.grad, grad)  # gradients are not changed
    for p, q in zip(ours, theirs):
        assert_close(p.data, q.detach().numpy(), length=STEPS)
    check_state(a.state_dict(), b.state_dict())


def check_state(ours, theirs):
    """Both state dicts hold the same, under the same names."""
    for group, other in zip(ours["param_groups"], theirs["param_groups"], strict=True):
        assert group["params"] == other["params"]
        assert all(other[key] == value for key, value in group.items())
    for index, entry in theirs["state"].items():
        for key, value in entry.items():
            if value is not None:
                assert_close(np.float64(ours["state"][index][key]), value.numpy().astype(np.float64), length=STEPS)


@pytest.mark.parametrize(("name", "settings"), CASES, ids=IDS)
def test_state_round_trip_goes_on_exactly(backend, rng, name, settings):
    ours, theirs = pairs(rng, np.float32)
    first = getattr(optim, name)(ours, **settings)
    for _ in range(3):
        set_grads(rng, ours, theirs)
        first.step()
    twins = [nn.Parameter(p.data.copy()) for p in ours]
    second = getattr(optim, name)(twins)
    state = first.state_dict()
    second.load_state_dict(state)
    for entry in state["state"].values():  # loaded as copies
        for value in entry.values():
            if isinstance(value, np.ndarray):
                value[...] = np.nan
    for _ in range(3):
        set_grads(rng, ours, theirs)
        for p, q in zip(ours, twins):
            q.grad = p.grad
        first.step(), second.step()
    for p, q in zip(ours, twins):
        assert np.array_equal(p.data, q.data)
        assert q.dtype == np.float32


@pytest.mark.parametrize(("name", "settings"), CASES, ids=IDS)
def test_a_state_of_torch_loads(backend, rng, name, settings):
    ours, theirs = pairs(rng)
    a, b = getattr(optim, name)(ours), getattr(torch.optim, name)(theirs, **settings)
    for _ in range(3):
        set_grads(rng, ours, theirs)
        b.step()
    for p, q in zip(ours, theirs):
        p.data = q.detach().numpy().copy()
    state = b.state_dict()
    state["state"] = {
        i: {key: value if value is None else value.numpy() for key, value in entry.items()}
        for i, entry in state["state"].items()
    }
    a.load_state_dict(state)
    for _ in range(3):
        set_grads(rng, ours, theirs)
        a.step(), b.step()
    for p, q in zip(ours, theirs):
        assert_close(p.data, q.detach().numpy(), length=10)


@pytest.mark.parametrize(("name", "settings"), CASES, ids=IDS)
def test_cpu_is_the_reference_in_float32(rng, name, settings):
    import minicnn

    results = []
    for backend in ("reference", "cpu"):
        local = np.random.default_rng(5)
        with minicnn.backend(backend):
            p = nn.Parameter(local.standard_normal((3, 5000)).astype(np.float32))
            optimizer = getattr(optim, name)([p], **settings)
            for _ in range(5):
                p.grad = local.standard_normal(p.shape).astype(np.float32)
                optimizer.step()
        assert p.dtype == np.float32
        results.append(p.data)
    assert_close(results[1], results[0], length=20)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_the_same_bits_on_any_number_of_threads(rng, name):
    import minicnn

    results, threads = [], minicnn.get_num_threads()
    settings = {"momentum": 0.9} if name != "Adam" else {}
    try:
        for n in (1, max(1, min(2, threads))):
            minicnn.set_num_threads(n)
            local = np.random.default_rng(5)
            p = nn.Parameter(local.standard_normal(100_001).astype(np.float32))
            optimizer = getattr(optim, name)([p], **settings)
            for _ in range(3):
                p.grad = local.standard_normal(p.shape).astype(np.float32)
                optimizer.step()
            results.append(p.data)
    finally:
        minicnn.set_num_threads(threads)
    assert np.array_equal(results[0], results[1])


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_strided_parameters_and_gradients(backend, rng, name):
    values, grad = rng.standard_normal((6, 4)), rng.standard_normal((4, 6))
    whole = values.copy()
    strided, plain = nn.Parameter(whole[::2].T), nn.Parameter(values[::2].T.copy())
    for _ in range(3):
        for p in (strided, plain):
            p.grad = grad[:, :3]
        a, b = (getattr(optim, name)([p], lr=0.1) for p in (strided, plain))
        a.step(), b.step()
    assert np.array_equal(strided.data, plain.data)
    assert np.array_equal(whole[::2].T, plain.data)  # in place
    assert np.array_equal(whole[1::2], values[1::2])  # and nowhere else


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_read_only_parameters_are_refused_before_anything_changes(backend, name):
    good, bad = nn.Parameter(np.ones(2)), nn.Parameter(np.broadcast_to(1.0, 2))
    for p in (good, bad):
        p.grad = np.ones(2)
    optimizer = getattr(optim, name)([good, bad])
    with pytest.raises(ValueError, match="read-only"):
        optimizer.step()
    assert np.all(good.data == 1)
    assert not optimizer.state


def test_groups(backend, rng):
    ours, theirs = pairs(rng)
    a = optim.SGD([{"params": ours[:2], "lr": 0.5}, {"params": ours[2]}], lr=0.1, momentum=0.9)
    b = torch.optim.SGD([{"params": theirs[:2], "lr": 0.5}, {"params": theirs[2]}], lr=0.1, momentum=0.9)
    a.add_param_group({"params": ours[3], "momentum": 0.0})
    b.add_param_group({"params": theirs[3], "momentum": 0.0})
    for step in range(5):
        if step == 3:
            a.param_groups[1]["lr"] = b.param_groups[1]["lr"] = 0.01
        set_grads(rng, ours, theirs)
        a.step(), b.step()
    for p, q in zip(ours, theirs):
        assert_close(p.data, q.detach().numpy(), length=10)
    check_state(a.state_dict(), b.state_dict())
    a.zero_grad()
    assert all(p.grad is None for p in ours)


def parameter():
    return nn.Parameter(np.ones(2))


BAD = [
    (lambda: optim.SGD([]), ValueError),
    (lambda: optim.SGD(parameter()), TypeError),
    (lambda: optim.SGD(None), TypeError),
    (lambda: optim.SGD([np.ones(2)]), TypeError),
    (lambda: optim.SGD([parameter()] * 2), ValueError),
    (lambda: optim.SGD([{"params": [p := parameter()]}, {"params": [p]}]), ValueError),
    (lambda: optim.SGD([{"lr": 1.0}]), TypeError),
    (lambda: optim.SGD([{"params": [parameter()], "speed": 1.0}]), ValueError),
    (lambda: optim.SGD([parameter()], lr=-1), ValueError),
    (lambda: optim.SGD([parameter()], lr=float("nan")), ValueError),
    (lambda: optim.SGD([parameter()], lr="fast"), TypeError),
    (lambda: optim.SGD([parameter()], momentum=-0.1), ValueError),
    (lambda: optim.SGD([parameter()], weight_decay=-0.1), ValueError),
    (lambda: optim.SGD([parameter()], nesterov=True), ValueError),
    (lambda: optim.SGD([parameter()], momentum=0.9, dampening=0.1, nesterov=True), ValueError),
    (lambda: optim.Adam([parameter()], betas=(1.0, 0.9)), ValueError),
    (lambda: optim.Adam([parameter()], betas=0.9), ValueError),
    (lambda: optim.Adam([parameter()], eps=-1e-8), ValueError),
    (lambda: optim.AdamW([parameter()], weight_decay=-1), ValueError),
    (lambda: optim.AdamW([parameter()], amsgrad="yes"), TypeError),
    (lambda: optim.RMSprop([parameter()], alpha=-1), ValueError),
    (lambda: optim.RMSprop([parameter()], momentum=-1), ValueError),
]


@pytest.mark.parametrize(("call", "error"), BAD)
def test_bad_calls(call, error):
    with pytest.raises(error) as raised:
        call()
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_a_group_that_was_set_wrong_is_refused_before_anything_changes(backend):
    p = parameter()
    optimizer = optim.SGD([p], lr=0.1)
    p.grad = np.ones(2)
    optimizer.param_groups[0]["lr"] = -1
    with pytest.raises(ValueError, match="lr"):
        optimizer.step()
    assert np.all(p.data == 1)


def test_bad_states_change_nothing(backend):
    p = parameter()
    optimizer = optim.Adam([p], lr=0.1)
    p.grad = np.ones(2)
    optimizer.step()
    good = optimizer.state_dict()
    bad = [
        (None, TypeError),
        ({}, TypeError),
        ({**good, "param_groups": []}, ValueError),
        ({**good, "param_groups": [{**good["param_groups"][0], "params": [0, 1]}]}, ValueError),
        ({**good, "param_groups": [{**good["param_groups"][0], "lr": -1}]}, ValueError),
        ({**good, "state": {0: {**good["state"][0], "exp_avg": np.ones(3)}}}, ValueError),
        ({**good, "state": {7: good["state"][0]}}, ValueError),
    ]
    for state, error in bad:
        with pytest.raises(error):
            optimizer.load_state_dict(state)
        now = optimizer.state_dict()
        assert now["param_groups"] == good["param_groups"]
        assert np.array_equal(now["state"][0]["exp_avg"], good["state"][0]["exp_avg"])


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.5, float("inf")])
@pytest.mark.parametrize("max_norm", [0.1, 1000.0])
def test_clip_grad_norm_is_torchs(rng, norm_type, max_norm):
    ours, theirs = pairs(rng)
    set_grads(rng, ours, theirs, skip=(1,))
    handed_out = ours[0].grad
    copy = handed_out.copy()
    norm = optim.clip_grad_norm_(ours, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert_close(norm, expected.numpy(), length=50, dtype=np.float64)
    for p, q in zip(ours, theirs):
        if q.grad is not None:
            assert_close(p.grad, q.grad.numpy(), length=50)
    assert np.array_equal(handed_out, copy)


def test_clip_grad_norm_corners():
    p = parameter()
    assert optim.clip_grad_norm_(p, 1.0) == 0.0
    assert optim.clip_grad_norm_([], 1.0) == 0.0
    p.grad = np.array([np.inf, 1.0])
    with pytest.raises(RuntimeError, match="finite"):
        optim.clip_grad_norm_(iter([p]), 1.0, error_if_nonfinite=True)
    assert p.grad[1] == 1.0
    with pytest.raises(TypeError):
        optim.clip_grad_norm_([np.ones(2)], 1.0)
    with pytest.raises(ValueError, match="norm_type"):
        optim.clip_grad_norm_([p], 1.0, norm_type=0)
