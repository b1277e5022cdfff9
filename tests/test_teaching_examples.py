"""The examples that teach run, end in a picture, and show what they say."""

import numpy as np
import pytest
from PIL import Image
from test_examples import load


def picture(path):
    """The picture is one, and is not blank."""
    with Image.open(path) as image:
        assert image.format == "PNG" and min(image.size) >= 400
        assert np.asarray(image.convert("L")).std() > 10


def test_one_step_by_hand(tmp_path, capsys):
    before, after = load("one_step_by_hand").main(["--output", str(tmp_path / "step.png")])
    assert after < before
    text = capsys.readouterr().out
    for line in (
        "conv, shape (1, 2, 4, 4)",
        "scores, shape (1, 3)",
        "dfilters, shape (2, 1, 3, 3)",
        "dx, shape (1, 1, 6, 6)",
    ):
        assert line in text
    picture(tmp_path / "step.png")


def test_the_step_by_hand_is_that_of_torch():
    """The update that the example prints, against autograd and torch's SGD step."""
    import torch
    from torch.nn import functional as T

    example = load("one_step_by_hand")
    rng = np.random.default_rng(3)
    x, target = rng.standard_normal((1, 1, 6, 6)), np.array([2])
    weights = {"filters": rng.standard_normal((2, 1, 3, 3)), "matrix": rng.standard_normal((3, 8)), "bias": np.zeros(3)}
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in weights.items()}
    scores = T.max_pool2d(T.relu(T.conv2d(torch.tensor(x), tensors["filters"])), 2).flatten(1)
    loss = T.cross_entropy(T.linear(scores, tensors["matrix"], tensors["bias"]), torch.tensor(target))
    loss.backward()
    found, _ = example.step(x, target, weights, 0.5)
    assert found == pytest.approx(loss.item(), rel=1e-12)
    for name, tensor in tensors.items():
        expected = (tensor - 0.5 * tensor.grad).detach().numpy()
        np.testing.assert_allclose(weights[name], expected, rtol=1e-10, atol=1e-12)


def test_gradient_flow(tmp_path):
    sizes, losses = load("gradient_flow").main(["--output", str(tmp_path / "flow.png"), "--steps", "100"])
    assert sizes["plain"][0] < 1e-6 * sizes["plain"][-1]
    assert 0.1 < sizes["residual"][0] / sizes["residual"][-1] < 100
    assert np.mean(losses["plain"][-10:]) > 2.2
    assert np.mean(losses["residual"][-10:]) < 1.0
    picture(tmp_path / "flow.png")


def test_overfit_one_batch(tmp_path):
    losses = load("overfit_one_batch").main(["--output", str(tmp_path / "overfit.png")])
    for name in ("sound, true labels", "sound, random labels", "ReLU lets all through"):
        assert losses[name][0] > 2 and losses[name][-1] < 0.05, name
    assert not losses["loss forgets the target"][-1] < 2.2  # it may have overflowed to NaN
    picture(tmp_path / "overfit.png")


def test_the_mistake_that_overfitting_does_not_find_is_found_by_gradcheck():
    from minicnn import nn
    from minicnn.inspect import gradcheck

    x = np.random.default_rng(0).standard_normal((3, 4))
    assert gradcheck(nn.ReLU(), x)
    assert not gradcheck(load("overfit_one_batch").LetsThrough(), x)


def test_initialisation(tmp_path):
    found = load("initialisation").main(["--output", str(tmp_path / "init.png")])
    growth = {name: forward[-1] / forward[0] for name, (forward, _, _) in found.items()}
    small, xavier, he, large = growth.values()
    assert small < 1e-4 < xavier < 0.05 < 0.2 < he < 5 < 100 < large
    for forward, backward, _ in found.values():
        assert np.all(np.isfinite(forward)) and np.all(np.isfinite(backward))
    picture(tmp_path / "init.png")
