"""PyTorch as a peer: its layouts, and the two networks written with its modules.

torch is imported in the functions: whoever has not installed it measures without it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray
NCHW, CHANNELS_LAST = "torch", "torch channels_last"


def prepare(threads: int) -> Any:
    """torch, computing on so many threads."""
    import torch

    torch.set_num_threads(threads)
    return torch


def layouts(arrays: Sequence[Any]) -> tuple[str, ...]:
    """The layouts worth measuring: channels_last exists for images only."""
    return (NCHW, CHANNELS_LAST) if np.ndim(arrays[0]) == 4 else (NCHW,)


def tensor(value: Any, layout: str, double: bool = False) -> Any:
    """A tensor of its own from an array; None stays None."""
    import torch

    if value is None:
        return None
    found = torch.tensor(value)
    if double and found.is_floating_point():
        found = found.double()
    if layout == CHANNELS_LAST and found.dim() == 4:
        found = found.contiguous(memory_format=torch.channels_last)
    return found


def forward(name: str, arrays: Sequence[Any], settings: dict[str, Any], layout: str, double: bool = False) -> Callable:
    """A call of the operation of that name; arguments have the same names and order there."""
    import torch

    function = torch.add if name == "add" else getattr(torch.nn.functional, name)
    tensors = [tensor(array, layout, double) for array in arrays]
    return lambda: (function(*tensors, **settings),)


def backward(
    name: str, arrays: Sequence[Any], settings: dict[str, Any], wanted: Sequence[int], dy: Any, layout: str,
    double: bool = False,
) -> Callable:  # fmt: skip
    """A call of its backward, by autograd; the forward ran once, its graph is kept."""
    import torch

    function = torch.add if name == "add" else getattr(torch.nn.functional, name)
    tensors = [tensor(array, layout, double) for array in arrays]
    leaves = [tensors[i].requires_grad_() for i in wanted]
    y = function(*tensors, **settings)
    upstream = tensor(dy, layout, double)
    return lambda: torch.autograd.grad(y, leaves, upstream, retain_graph=True)


def small_cnn(channels: int, classes: int, size: int) -> Any:
    """`minicnn.models.SimpleCNN`, its parameters in the same order."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * (size // 4) ** 2, 128), nn.ReLU(), nn.Linear(128, classes),
    )  # fmt: skip


def resnet18(classes: int = 1000) -> Any:
    """torchvision's ResNet18, parameter names included, without the time that importing torchvision takes."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inside: int, channels: int, stride: int):
            super().__init__()
            self.conv1 = nn.Conv2d(inside, channels, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.relu = nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)
            self.downsample = None
            if stride != 1 or inside != channels:
                shortcut = nn.Conv2d(inside, channels, 1, stride, bias=False)
                self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))

        def forward(self, x):
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            y += x if self.downsample is None else self.downsample(x)
            return self.relu(y)

    class ResNet18(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.relu = nn.ReLU(inplace=True)
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            self.layer1 = nn.Sequential(Block(64, 64, 1), Block(64, 64, 1))
            self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128, 1))
            self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))
            self.layer4 = nn.Sequential(Block(256, 512, 2), Block(512, 512, 1))
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(512, classes)

        def forward(self, x):
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            x = self.avgpool(self.layer4(self.layer3(self.layer2(self.layer1(x)))))
            return self.fc(x.flatten(1))

    return ResNet18()


def with_weights(network: Any, state: dict[str, Array], layout: str = NCHW, double: bool = False) -> Any:
    """The network with these weights, given in its own order or by its own names."""
    import torch

    names = list(network.state_dict())
    given = state if set(names) == set(state) else dict(zip(names, state.values()))
    network.load_state_dict({name: torch.tensor(value) for name, value in given.items()})
    return in_layout(network.double() if double else network, layout)


def in_layout(network: Any, layout: str) -> Any:
    import torch

    return network.to(memory_format=torch.channels_last) if layout == CHANNELS_LAST else network
