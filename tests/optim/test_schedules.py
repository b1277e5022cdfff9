"""Schedules against torch over 50 steps, their state, and what they refuse."""

import numpy as np
import pytest
import torch

from minicnn import nn, optim
from minicnn.optim import lr_scheduler

STEPS = 50
theirs_of = torch.optim.lr_scheduler
CASES = {
    "StepLR": [{"step_size": 7}, {"step_size": 3, "gamma": 0.7}],
    "MultiStepLR": [{"milestones": [3, 10, 10, 30]}, {"milestones": [30, 5], "gamma": 0.5}],
    "ExponentialLR": [{"gamma": 0.9}],
    "CosineAnnealingLR": [{"T_max": 50}, {"T_max": 10, "eta_min": 0.01}, {"T_max": 7}, {"T_max": 1}],
    "LinearLR": [
        {},
        {"start_factor": 0.1, "end_factor": 0.5, "total_iters": 20},
        {"start_factor": 1.0, "end_factor": 0.0},
    ],
    "OneCycleLR": [
        {"max_lr": 0.5, "total_steps": 51},
        {"max_lr": [0.5, 0.1], "epochs": 3, "steps_per_epoch": 17, "anneal_strategy": "linear"},
        {"max_lr": 0.5, "total_steps": 60, "three_phase": True, "pct_start": 0.2, "div_factor": 10.0},
        {"max_lr": 0.5, "total_steps": 50, "cycle_momentum": False, "final_div_factor": 10.0},
        {"max_lr": 0.5, "total_steps": 50, "base_momentum": [0.5, 0.6], "max_momentum": 0.9},
    ],
}
FLAT = [(name, settings) for name, all_settings in CASES.items() for settings in all_settings]


def both(optimizer="SGD"):
    """An optimiser of ours and one of torch, with two groups."""
    settings = {"lr": 0.3} if optimizer == "Adam" else {"lr": 0.3, "momentum": 0.9}
    ours = [{"params": [nn.Parameter(np.ones(1))]}, {"params": [nn.Parameter(np.ones(1))], "lr": 0.05}]
    theirs = [
        {"params": [torch.nn.Parameter(torch.ones(1))]},
        {"params": [torch.nn.Parameter(torch.ones(1))], "lr": 0.05},
    ]
    return getattr(optim, optimizer)(ours, **settings), getattr(torch.optim, optimizer)(theirs, **settings)


def same(ours, theirs, a, b):
    assert a.get_last_lr() == pytest.approx(b.get_last_lr(), rel=1e-12, abs=1e-15)
    for group, other in zip(ours.param_groups, theirs.param_groups):
        for key in ("lr", "momentum", "betas", "initial_lr"):
            if key in other:
                assert group[key] == pytest.approx(other[key], rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize(("name", "settings"), FLAT)
def test_fifty_steps_are_torchs(name, settings, optimizer):
    ours, theirs = both(optimizer)
    a, b = getattr(lr_scheduler, name)(ours, **settings), getattr(theirs_of, name)(theirs, **settings)
    same(ours, theirs, a, b)
    for _ in range(STEPS):
        theirs.step()
        a.step(), b.step()
        same(ours, theirs, a, b)


@pytest.mark.parametrize(("name", "settings"), FLAT)
def test_a_state_goes_on_exactly(name, settings):
    ours, _ = both()
    twin, _ = both()
    a = getattr(lr_scheduler, name)(ours, **settings)
    for _ in range(20):
        a.step()
    b = getattr(lr_scheduler, name)(twin, **settings)
    twin.load_state_dict(ours.state_dict())
    b.load_state_dict(a.state_dict())
    for _ in range(20):
        a.step(), b.step()
        assert a.get_last_lr() == b.get_last_lr()
        assert [g["lr"] for g in ours.param_groups] == [g["lr"] for g in twin.param_groups]


def test_two_schedules_on_one_optimiser_multiply():
    ours, theirs = both()
    a = [lr_scheduler.ExponentialLR(ours, 0.9), lr_scheduler.StepLR(ours, 5)]
    b = [theirs_of.ExponentialLR(theirs, 0.9), theirs_of.StepLR(theirs, 5)]
    for _ in range(20):
        theirs.step()
        for schedule in (*a, *b):
            schedule.step()
        same(ours, theirs, a[1], b[1])


@pytest.mark.parametrize("milestones", [[5], [5, 20]])
def test_sequential_is_torchs(milestones):
    ours, theirs = both()
    schedules = []
    for family, optimizer in ((lr_scheduler, ours), (theirs_of, theirs)):
        parts = [
            family.LinearLR(optimizer, start_factor=0.1, total_iters=5),
            family.CosineAnnealingLR(optimizer, T_max=15),
            family.ExponentialLR(optimizer, gamma=0.8),
        ]
        schedules.append(family.SequentialLR(optimizer, parts[: len(milestones) + 1], milestones=milestones))
    same(ours, theirs, *schedules)
    for _ in range(STEPS):
        theirs.step()
        for schedule in schedules:
            schedule.step()
        same(ours, theirs, *schedules)


def test_a_sequential_state_goes_on_exactly():
    def made():
        ours, _ = both()
        parts = [lr_scheduler.LinearLR(ours), lr_scheduler.CosineAnnealingLR(ours, T_max=15)]
        return ours, lr_scheduler.SequentialLR(ours, parts, milestones=[5])

    (ours, a), (twin, b) = made(), made()
    for _ in range(8):
        a.step()
    twin.load_state_dict(ours.state_dict())
    b.load_state_dict(a.state_dict())
    for _ in range(8):
        a.step(), b.step()
        assert a.get_last_lr() == b.get_last_lr()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mode": "max", "patience": 2, "threshold": 0.1},
        {"threshold_mode": "abs", "threshold": 0.3, "patience": 0, "cooldown": 3},
        {"mode": "max", "threshold_mode": "abs", "threshold": 0.2, "patience": 1, "factor": 0.5},
        {"patience": 0, "factor": 0.5, "min_lr": [0.1, 0.001], "cooldown": 1},
        {"patience": 0, "factor": 0.0},
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_plateau_is_torchs(rng, settings, sign):
    ours, theirs = both()
    a, b = lr_scheduler.ReduceLROnPlateau(ours, **settings), theirs_of.ReduceLROnPlateau(theirs, **settings)
    for step in range(STEPS):
        metric = sign * (5 / (1 + 0.2 * step) + rng.standard_normal())
        if step == 30:
            metric = float("nan")
        a.step(metric), b.step(metric)
        same(ours, theirs, a, b)
    c = lr_scheduler.ReduceLROnPlateau(ours)
    c.load_state_dict(a.state_dict())
    assert c.state_dict() == a.state_dict()


def optimizer():
    return optim.SGD([nn.Parameter(np.ones(1))], lr=0.1)


def plain():
    return optim.RMSprop([nn.Parameter(np.ones(1))], lr=0.1)


BAD = [
    (lambda: lr_scheduler.StepLR(None, 3), TypeError),
    (lambda: lr_scheduler.StepLR(optimizer(), 0), ValueError),
    (lambda: lr_scheduler.StepLR(optimizer(), 1.5), TypeError),
    (lambda: lr_scheduler.StepLR(optimizer(), 1, last_epoch=3), ValueError),
    (lambda: lr_scheduler.MultiStepLR(optimizer(), [1.5]), TypeError),
    (lambda: lr_scheduler.ExponentialLR(optimizer(), "half"), TypeError),
    (lambda: lr_scheduler.CosineAnnealingLR(optimizer(), 0), ValueError),
    (lambda: lr_scheduler.LinearLR(optimizer(), start_factor=0), ValueError),
    (lambda: lr_scheduler.LinearLR(optimizer(), end_factor=1.5), ValueError),
    (lambda: lr_scheduler.OneCycleLR(optimizer(), 0.1), ValueError),
    (lambda: lr_scheduler.OneCycleLR(optimizer(), 0.1, total_steps=0), ValueError),
    (lambda: lr_scheduler.OneCycleLR(optimizer(), 0.1, total_steps=9, pct_start=1.5), ValueError),
    (lambda: lr_scheduler.OneCycleLR(optimizer(), 0.1, total_steps=9, anneal_strategy="log"), ValueError),
    (lambda: lr_scheduler.OneCycleLR(optimizer(), [0.1, 0.2], total_steps=9), ValueError),
    (lambda: lr_scheduler.ReduceLROnPlateau(optimizer(), "low"), ValueError),
    (lambda: lr_scheduler.ReduceLROnPlateau(optimizer(), factor=1.0), ValueError),
    (lambda: lr_scheduler.ReduceLROnPlateau(optimizer(), min_lr=[1.0, 2.0]), ValueError),
    (lambda: lr_scheduler.SequentialLR(optimizer(), [], []), ValueError),
    (lambda: lr_scheduler.SequentialLR(optimizer(), [lr_scheduler.StepLR(optimizer(), 1)], []), ValueError),
    (lambda: lr_scheduler.SequentialLR(o := optimizer(), [lr_scheduler.StepLR(o, 1)], [3]), ValueError),
    (lambda: lr_scheduler.SequentialLR(o := optimizer(), [lr_scheduler.ReduceLROnPlateau(o)], []), TypeError),
    (lambda: lr_scheduler.StepLR(optimizer(), 1).load_state_dict([]), TypeError),
    (lambda: lr_scheduler.StepLR(optimizer(), 1).load_state_dict({"T_max": 3}), ValueError),
]


@pytest.mark.parametrize(("call", "error"), BAD)
def test_bad_calls(call, error):
    with pytest.raises(error) as raised:
        call()
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_one_cycle_refuses_a_step_too_many():
    schedule = lr_scheduler.OneCycleLR(optimizer(), 0.1, total_steps=3)
    for _ in range(3):
        schedule.step()
    with pytest.raises(ValueError, match="total_steps 3"):
        schedule.step()
