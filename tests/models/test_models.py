"""SimpleCNN and ResNet against torch: keys, initialisation, forward and every gradient."""

import numpy as np
import pytest
import torch
from tolerance import assert_close
from torch import nn as tnn

import minicnn
from minicnn import models, nn


def torch_simple_cnn(in_channels, num_classes, size):
    layers = {
        "conv1": tnn.Conv2d(in_channels, 32, 3, padding=1), "relu1": tnn.ReLU(), "pool1": tnn.MaxPool2d(2),
        "conv2": tnn.Conv2d(32, 64, 3, padding=1), "relu2": tnn.ReLU(), "pool2": tnn.MaxPool2d(2),
        "flatten": tnn.Flatten(), "fc1": tnn.Linear(64 * (size // 4) ** 2, 128), "relu3": tnn.ReLU(),
        "fc2": tnn.Linear(128, num_classes),
    }  # fmt: skip
    model = tnn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    return model


class TorchBlock(tnn.Module):
    """torchvision's BasicBlock."""

    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1 = tnn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn1 = tnn.BatchNorm2d(channels)
        self.conv2 = tnn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = tnn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or before != channels:
            self.downsample = tnn.Sequential(
                tnn.Conv2d(before, channels, 1, stride, bias=False), tnn.BatchNorm2d(channels)
            )

    def forward(self, x):
        branch = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(branch + (x if self.downsample is None else self.downsample(x)))


class TorchResNet(tnn.Module):
    """torchvision's ResNet of BasicBlocks, written out, so that no second package is needed."""

    def __init__(self, blocks, num_classes):
        super().__init__()
        self.conv1 = tnn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = tnn.BatchNorm2d(64)
        before = 64
        for i, (count, channels) in enumerate(zip(blocks, (64, 128, 256, 512))):
            stage = [
                TorchBlock(before if j == 0 else channels, channels, 2 if i and j == 0 else 1) for j in range(count)
            ]
            setattr(self, f"layer{i + 1}", tnn.Sequential(*stage))
            before = channels
        self.fc = tnn.Linear(512, num_classes)

    def forward(self, x):
        x = tnn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


def compare(ours, theirs, x, target, rng, length):
    """Forward, loss and every gradient in float64, after loading torch's weights."""
    theirs.double()
    ours.astype(np.float64).load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    tloss = tnn.functional.cross_entropy(ty, torch.tensor(target))
    tloss.backward()
    criterion = nn.CrossEntropyLoss()
    y = ours(x)
    loss = criterion(y, target)
    dx = ours.backward(criterion.backward())
    assert_close(y, ty.detach().numpy(), length=length, what="y")
    assert_close(loss, tloss.detach().numpy(), length=length, what="loss")
    assert_close(dx, tx.grad.numpy(), length=length, what="dx")
    for (name, parameter), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert_close(parameter.grad, other.grad.numpy(), length=length, what=name)
    for key, value in theirs.state_dict().items():
        assert_close(ours.state_dict()[key].astype(float), value.numpy().astype(float), length=length, what=key)


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (1, 28), (3, 32), (3, 30)])
def test_simple_cnn(backend, rng, channels, size):
    ours, theirs = models.SimpleCNN(channels, 7, size), torch_simple_cnn(channels, 7, size)
    x = rng.standard_normal((3, channels, size, size))
    compare(ours, theirs, x, rng.integers(0, 7, 3), rng, length=100_000)


def test_simple_cnn_of_other_sizes(rng):
    model = models.SimpleCNN(image_size=(8, 12))
    assert model(np.zeros((2, 3, 8, 12), np.float32)).shape == (2, 10)
    assert model.fc1.in_features == 64 * 2 * 3
    for arguments, error in [
        ({"image_size": 3}, ValueError),
        ({"in_channels": 0}, ValueError),
        ({"num_classes": 2.5}, TypeError),
    ]:
        with pytest.raises(error):
            models.SimpleCNN(**arguments)


def test_a_small_resnet(backend, rng):
    ours, theirs = models.resnet.ResNet((1, 2, 1, 1), 5), TorchResNet((1, 2, 1, 1), 5)
    x = rng.standard_normal((2, 3, 40, 40))
    compare(ours, theirs, x, rng.integers(0, 5, 2), rng, length=1_000_000)


def test_a_resnet_of_which_only_the_end_learns(rng):
    model = models.resnet.ResNet((1, 1, 1, 1), 5)
    model.requires_grad_(False)
    model.fc.requires_grad_()
    y = model(rng.standard_normal((2, 3, 32, 32)).astype(np.float32))
    assert model.backward(y, need_dx=False) is None
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["fc.weight", "fc.bias"]
    with pytest.raises(RuntimeError):
        model.backward(y)  # what was skipped is gone too


@pytest.mark.parametrize(("name", "blocks", "count"), [
    ("resnet18", (2, 2, 2, 2), 11_689_512), ("resnet34", (3, 4, 6, 3), 21_797_672),
])  # fmt: skip
def test_resnets_have_torchvisions_keys_shapes_and_initialisation(name, blocks, count):
    ours = getattr(models, name)()
    theirs = TorchResNet(blocks, 1000)
    state = ours.state_dict()
    assert list(state) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert state[key].shape == tuple(value.shape), key
    assert sum(p.size for p in ours.parameters()) == count
    assert getattr(models, name)(num_classes=3).fc.weight.shape == (3, 512)
    for key, array in state.items():
        if array.ndim == 4:  # torchvision: kaiming_normal_(mode="fan_out", nonlinearity="relu")
            std = np.sqrt(2 / (array.shape[0] * array.shape[2] * array.shape[3]))
            assert abs(array.std() / std - 1) < 0.05, key
    assert np.abs(state["fc.weight"]).max() <= 1 / np.sqrt(512)


def test_published_weights_load_and_compute_what_torch_computes(data_root, rng):
    path = data_root / "weights" / "resnet18-imagenet.pth"
    ours, theirs = models.resnet18().eval(), TorchResNet((2, 2, 2, 2), 1000).eval()
    ours.load_state_dict(path)
    published = torch.load(path, weights_only=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(published)
    x = rng.standard_normal((1, 3, 224, 224)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.tensor(x)).numpy()
    with minicnn.no_grad():
        assert_close(ours(x), expected, length=10_000)
