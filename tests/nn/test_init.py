"""Initialisers: bounds and moments of what torch documents, and the gains and fans of torch itself."""

import numpy as np
import pytest
import torch

from minicnn import nn, random
from minicnn.nn import init

SHAPES = [(40, 30), (24, 16, 3, 3), (30, 20, 5)]


@pytest.mark.parametrize("shape", SHAPES)
def test_fans_are_torchs(shape):
    expected = torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
    assert init.fans("test", np.empty(shape)) == expected


@pytest.mark.parametrize("name", ["linear", "conv2d", "sigmoid", "tanh", "relu", "selu", "leaky_relu"])
def test_gains_are_torchs(name):
    assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


def limits(shape):
    """(initialiser, settings, standard deviation) with the formulas of the papers."""
    fan_in, fan_out = np.prod(shape[1:]), shape[0] * np.prod(shape[2:])
    return [
        (init.xavier_uniform_, {"gain": 2.0}, 2 * np.sqrt(2 / (fan_in + fan_out))),
        (init.xavier_normal_, {}, np.sqrt(2 / (fan_in + fan_out))),
        (init.kaiming_uniform_, {"nonlinearity": "relu"}, np.sqrt(2 / fan_in)),
        (init.kaiming_uniform_, {"a": np.sqrt(5)}, np.sqrt(1 / 3 / fan_in)),
        (init.kaiming_normal_, {"mode": "fan_out", "nonlinearity": "relu"}, np.sqrt(2 / fan_out)),
        (init.kaiming_normal_, {"a": 0.5}, np.sqrt(2 / 1.25 / fan_in)),
        (init.uniform_, {"a": -2.0, "b": 4.0}, 6 / np.sqrt(12)),
        (init.normal_, {"mean": 1.0, "std": 3.0}, 3.0),
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", range(8))
def test_moments_and_bounds(shape, case, dtype, rng):
    initialise, settings, std = limits(shape)[case]
    mean = 1.0 if case >= 6 else 0.0
    array = np.full(shape, np.nan, dtype)
    assert initialise(array, **settings, rng=rng) is array
    z = (array.astype(np.float64) - mean) / std
    assert abs(z.mean()) < 5 / np.sqrt(z.size)
    assert abs(z.std() - 1) < 5 / np.sqrt(z.size)
    if "uniform" in initialise.__name__:
        assert np.abs(z).max() <= np.sqrt(3) * (1 + 1e-6)
        assert abs((z**4).mean() - 1.8) < 0.3  # the fourth moment of a uniform distribution
    else:
        assert np.abs(z).max() > 2.5
        assert abs((z**4).mean() - 3) < 1.0  # of a normal one


def test_constants_and_parameters():
    p = nn.Parameter(np.empty((2, 2), np.float32))
    assert init.constant_(p, 3) is p
    assert np.all(p.data == 3)
    assert np.all(init.zeros_(p).data == 0)
    assert np.all(init.ones_(p).data == 1)


def test_they_draw_from_the_seeded_generator():
    random.manual_seed(1)
    first = init.normal_(np.empty(5))
    random.manual_seed(1)
    assert np.array_equal(init.normal_(np.empty(5)), first)
    assert not np.array_equal(init.normal_(np.empty(5)), first)


def test_strided_arrays_are_filled_in_place():
    array = np.zeros((4, 6))
    init.ones_(array[:, ::2])
    assert array.sum() == 12


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: init.normal_([1.0]), TypeError),
        (lambda: init.normal_(np.zeros(3, int)), TypeError),
        (lambda: init.normal_(np.broadcast_to(1.0, 3)), ValueError),
        (lambda: init.normal_(np.zeros(3), std=-1), ValueError),
        (lambda: init.normal_(np.zeros(3), rng=np.random.RandomState(0)), TypeError),
        (lambda: init.uniform_(np.zeros(3), 2, 1), ValueError),
        (lambda: init.kaiming_normal_(np.zeros(3)), ValueError),
        (lambda: init.kaiming_normal_(np.zeros((3, 3)), mode="fan"), ValueError),
        (lambda: init.kaiming_uniform_(np.zeros((3, 3)), nonlinearity="soft"), ValueError),
        (lambda: init.constant_(np.zeros(3), "1"), TypeError),
    ],
)
def test_bad_calls(call, error):
    with pytest.raises(error):
        call()
