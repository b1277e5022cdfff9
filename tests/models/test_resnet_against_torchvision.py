"""ResNet18 and 34 against torchvision's own: logits, every gradient, ten steps of SGD, and photographs."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import minicnn
from minicnn import models, nn, optim

sys.path.append(str(Path(__file__).parents[1] / "data"))
from torchvision_import import import_torchvision

torchvision = import_torchvision()

LOGITS, GRADIENTS = 1e-4, 1e-3  # of the largest value of the array


def pair(name, x, num_classes=10):
    """The same weights in both, such that no ReLU stands at its corner.

    At an input of ±1e-7 the rounding of float32 decides whether a gradient passes. In a deep network of a few pixels
    one such place in the last stage moves gradients by several percent: torch's own float32 is then that far from
    torch's float64. Here each channel's batch norm gives 0.1·n ± 1, so that it is on or off as a whole.
    """
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)(num_classes=num_classes)
    for key, module in theirs.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.05, 0.15)
            torch.nn.init.uniform_(module.bias, 0.8, 1.2)
            if key.endswith("bn1"):  # the others are added to what is at least 0
                with torch.no_grad():
                    module.bias[torch.rand(len(module.bias)) < 0.5] *= -1
            module.momentum = 1.0
    with torch.no_grad():
        theirs.train()(torch.tensor(x))  # running statistics of these images
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1
    ours = getattr(models, name)(num_classes=num_classes)
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    return ours, theirs


def off(actual, expected):
    """The largest error, relative to the largest expected value."""
    expected = np.asarray(expected, np.float64)
    return float(np.abs(actual - expected).max() / max(1e-30, np.abs(expected).max()))


def torch_gradients(model, x, target):
    """({name: gradient}, logits) of torch in the dtype of the model."""
    dtype = next(model.parameters()).dtype
    y = model(torch.tensor(x, dtype=dtype))
    torch.nn.functional.cross_entropy(y, torch.tensor(target)).backward()
    return {key: parameter.grad.numpy() for key, parameter in model.named_parameters()}, y.detach().numpy()


def images(rng, count=4, size=64):
    return rng.standard_normal((count, 3, size, size)).astype(np.float32)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_logits_and_every_gradient(rng, name, training):
    x, target = images(rng), rng.integers(0, 10, 4)
    ours, theirs = pair(name, x)
    single, y_single = torch_gradients(theirs.train(training), x, target)
    truth, y_truth = torch_gradients(pair(name, x)[1].double().train(training), x, target)
    criterion = nn.CrossEntropyLoss()
    y = ours.train(training)(x)
    criterion(y, target)
    ours.backward(criterion.backward())

    assert off(y, y_truth) < LOGITS
    assert off(y, y_single) < LOGITS
    for key, parameter in ours.named_parameters():
        # what batch norm cancels out nearly, in train mode, float32 cannot hold to 1e-3: then torch cannot either
        allowed = max(GRADIENTS, 4 * off(single.pop(key), truth[key]))
        error = off(parameter.grad, truth.pop(key))
        assert error < allowed, f"{key}: off by {error:.2e} of the largest gradient, allowed {allowed:.2e}"
    assert not truth and not single
    state = ours.state_dict()
    for key, value in theirs.state_dict().items():
        assert off(state[key], value) < LOGITS, key


def test_ten_steps_of_sgd_stay_together(rng):
    ours, theirs = pair("resnet18", images(rng, count=8))
    settings = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}
    optimizer = optim.SGD(ours.parameters(), **settings)
    t_optimizer = torch.optim.SGD(theirs.parameters(), **settings)
    criterion = nn.CrossEntropyLoss()
    ours.train()
    theirs.train()
    for step in range(10):
        x, target = images(rng, count=8), rng.integers(0, 10, 8)
        loss = criterion(ours(x), target)
        optimizer.zero_grad()
        ours.backward(criterion.backward(), need_dx=False)
        optimizer.step()

        t_loss = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(target))
        t_optimizer.zero_grad()
        t_loss.backward()
        t_optimizer.step()
        assert abs(loss - t_loss.item()) < 1e-3 * max(1.0, t_loss.item()), f"step {step}"
    state = ours.state_dict()
    for key, value in theirs.state_dict().items():
        assert off(state[key], value) < 1e-3, key


def test_compiled_inference_equals_torchvision(rng):
    x = images(rng)
    ours, theirs = pair("resnet34", x, num_classes=1000)
    with torch.no_grad():
        expected = theirs.eval()(torch.tensor(x))
    assert off(minicnn.compile(ours)(x), expected) < LOGITS


def test_the_sample_photographs_one_by_one(data_root, capsys):
    """minicnn predict: the same five classes with the same probabilities as torchvision gives, photo by photo."""
    import json

    from PIL import Image

    from minicnn.cli import main

    weights = data_root / "weights" / "resnet18-imagenet.pth"
    photos = sorted((data_root / "imagenet-samples").glob("*.JPEG"))
    assert len(photos) == 40
    theirs = torchvision.models.resnet18()
    theirs.load_state_dict(torch.load(weights, weights_only=True))
    theirs.eval()
    transform = torchvision.transforms.Compose([
        torchvision.transforms.Resize(256), torchvision.transforms.CenterCrop(224), torchvision.transforms.ToTensor(),
        torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])  # fmt: skip
    assert main(["predict", "resnet18", "--weights", str(weights), "--json", *map(str, photos)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["image"] for one in found] == [str(path) for path in photos]
    right = 0
    for path, one in zip(photos, found, strict=True):
        with torch.no_grad():
            logits = theirs(transform(Image.open(path).convert("RGB"))[None])[0]
        sure = logits.double().softmax(0).numpy()
        best = np.argsort(-sure, kind="stable")[:5]
        assert [c["index"] for c in one["classes"]] == best.tolist(), path.name
        np.testing.assert_allclose([c["probability"] for c in one["classes"]], sure[best], atol=1e-3)
        right += one["classes"][0]["wnid"] == path.name.split("_")[0]
    assert main(["eval", "resnet18", "--weights", str(weights), "--data", str(photos[0].parent), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["images"] == 40
    assert figures["accuracy"] == right / 40
