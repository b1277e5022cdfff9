"""The examples run and do what they say."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_simple_cnn_learns_the_digits(capsys):
    assert load("simple_cnn").main([]) >= 0.93
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[-1].startswith("epoch 10: loss 0.")


def test_simple_cnn_reads_cifar10(tmp_path, rng):
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (tmp_path / f"{name}.bin").write_bytes(rng.integers(0, 10, (8, 3073), np.uint8).tobytes())
    assert 0 <= load("simple_cnn").main(["--data", "cifar10", "--root", str(tmp_path), "--epochs", "2"]) <= 1


def test_the_pooling_is_what_makes_the_shapes_fit(rng):
    """What the comment of the example says: without it fc1 gets 16 times the inputs that it was made for."""
    model = load("simple_cnn").SimpleCNN(3, 10, 32)
    assert model(rng.standard_normal((2, 3, 32, 32)).astype(np.float32)).shape == (2, 10)
    assert model.fc1.weight.shape == (128, 64 * 8 * 8)
    from minicnn import nn

    model.pool1, model.pool2 = nn.Identity(), nn.Identity()
    with pytest.raises(ValueError, match=r"linear: x must be .*4096.* got \(2, 65536\)"):
        model(rng.standard_normal((2, 3, 32, 32)).astype(np.float32))
