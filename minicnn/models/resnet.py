"""ResNet (He et al. 2016, "Deep residual learning for image recognition"), with the parameter names of torchvision.

The names are the file format: published weights load by them.
"""

import numpy as np

from .. import nn
from ..functional import check
from ..nn.containers import backward_through, forward_through, meet
from ..nn.fused import norm_relu, norm_relu_backward

Array = np.ndarray


class BasicBlock(nn.Module):
    """y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)), two 3×3 convolutions.

    The shortcut is x itself, or `downsample`, a 1×1 convolution with batch norm, where size or channels change.
    """

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.add_module("downsample", None)
        if stride != 1 or in_channels != channels:
            conv = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(channels))

    def forward(self, x: Array) -> Array:
        branch = self.conv2(norm_relu(self.bn1, self.relu, self.conv1(x)))
        shortcut = x if self.downsample is None else self.downsample(x)
        # the same ReLU a second time: it keeps one context for each
        return norm_relu(self.bn2, self.relu, branch, shortcut, adder=self)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        # forward: y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))
        dbranch, dshortcut = norm_relu_backward(self.bn2, self.relu, dy, adder=self)
        if self.downsample is not None:
            dshortcut = self.downsample.backward(dshortcut, need_dx=need_dx)
        dbranch = norm_relu_backward(self.bn1, self.relu, self.conv2.backward(dbranch))
        dbranch = self.conv1.backward(dbranch, need_dx=need_dx)
        return meet(dbranch, dshortcut) if need_dx else None


class ResNet(nn.Module):
    """A stem, four stages of BasicBlocks with 64, 128, 256 and 512 channels, and a classifier.

    blocks: how many a stage. x: (N, 3, H, W), usually 224×224; y: (N, num_classes) logits.

    >>> import numpy as np
    >>> model = ResNet((1, 1, 1, 1), num_classes=5)
    >>> model(np.zeros((2, 3, 32, 32), np.float32)).shape
    (2, 5)
    """

    def __init__(self, blocks: tuple[int, int, int, int], num_classes: int = 1000):
        super().__init__()
        num_classes = check.integer("ResNet", "num_classes", num_classes, 1)
        with nn.init.skip():  # drawn once, below
            self._build(blocks)
        self.fc = nn.Linear(512, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _build(self, blocks: tuple[int, int, int, int]) -> None:
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = stage(64, 64, blocks[0], stride=1)
        self.layer2 = stage(64, 128, blocks[1], stride=2)
        self.layer3 = stage(128, 256, blocks[2], stride=2)
        self.layer4 = stage(256, 512, blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.flatten = nn.Flatten()

    def forward(self, x: Array) -> Array:
        return forward_through(self._path(), x)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        # forward: x goes along the path
        return backward_through(self._path(), dy, need_dx)

    def _path(self) -> tuple[nn.Module, ...]:
        return (
            self.conv1, self.bn1, self.relu, self.maxpool, self.layer1, self.layer2, self.layer3, self.layer4,
            self.avgpool, self.flatten, self.fc,
        )  # fmt: skip


def stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    """`blocks` BasicBlocks, of which the first changes size and channels."""
    rest = [BasicBlock(channels, channels, 1) for _ in range(blocks - 1)]
    return nn.Sequential(BasicBlock(in_channels, channels, stride), *rest)


def resnet18(num_classes: int = 1000) -> ResNet:
    """ResNet with 18 layers: 11.7 million parameters for 1000 classes. Weights load with `load_state_dict`."""
    return ResNet((2, 2, 2, 2), num_classes)


def resnet34(num_classes: int = 1000) -> ResNet:
    """ResNet with 34 layers: 21.8 million parameters for 1000 classes."""
    return ResNet((3, 4, 6, 3), num_classes)
