"""The small network that everything here begins with."""

from typing import Any

import numpy as np

from .. import nn
from ..functional import check
from ..functional.check import Size
from ..nn.fused import relu_pool, relu_pool_backward

Array = np.ndarray


class SimpleCNN(nn.Module):
    """Two convolutions, each followed by ReLU and pooling, and two fully connected layers.

        x                    (N, in_channels, s, s)        s = image_size, an int or (height, width), at least 4
        conv1, ReLU          (N, 32, s, s)                 3×3, padding 1: the size stays
        max pooling          (N, 32, s/2, s/2)             2×2
        conv2, ReLU          (N, 64, s/2, s/2)
        max pooling          (N, 64, s/4, s/4)             sizes that do not divide are rounded down
        flatten              (N, 64 · (s/4)²)
        fc1, ReLU            (N, 128)
        fc2                  (N, num_classes)              logits: the softmax is in the loss

    Networks of this kind are often listed as their layers with parameters alone, without the pooling between them.
    Left out, conv2 would pass 64 maps of full size on: for images of 32×32, fc1 would get 65,536 inputs instead of
    4,096 and hold 8.4 million weights instead of 0.5 million, for no gain; and every unit of conv2 would see 5×5
    pixels, where with pooling the units before fc1 see 10×10 and small shifts of the image change little.

    >>> import numpy as np
    >>> model = SimpleCNN(in_channels=1, image_size=8)
    >>> model(np.zeros((5, 1, 8, 8), np.float32)).shape
    (5, 10)
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 10, image_size: Size = 32):
        super().__init__()
        in_channels = check.integer("SimpleCNN", "in_channels", in_channels, 1)
        num_classes = check.integer("SimpleCNN", "num_classes", num_classes, 1)
        height, width = check.pair("SimpleCNN", "image_size", image_size, 4)
        self.conv1 = nn.Conv2d(in_channels, 32, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(64 * (height // 2 // 2) * (width // 2 // 2), 128)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(128, num_classes)

    def forward(self, x: Array) -> Array:
        x = relu_pool(self.relu1, self.pool1, self.conv1(x))  # = pool1(relu1(conv1(x)))
        x = relu_pool(self.relu2, self.pool2, self.conv2(x))
        x = self.flatten(x)
        x = self.relu3(self.fc1(x))
        return self.fc2(x)

    def backward(self, dy: Any, need_dx: bool = True) -> Array | None:
        # the forward, read from its end
        dy = self.fc2.backward(dy)
        dy = self.fc1.backward(self.relu3.backward(dy))
        dy = self.flatten.backward(dy)
        dy = self.conv2.backward(relu_pool_backward(self.relu2, self.pool2, dy))
        return self.conv1.backward(relu_pool_backward(self.relu1, self.pool1, dy), need_dx=need_dx)
