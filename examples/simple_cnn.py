"""A small CNN from its layers to its training loop: two classes, cross-entropy and SGD, ten epochs over a loader.

    python examples/simple_cnn.py                              the digits that ship with minicnn, about 10 s
    python examples/simple_cnn.py --data cifar10 --root data   the published CIFAR-10 files in data/

The first class is what such listings in PyTorch show, with one addition: where PyTorch records the forward pass and
derives the backward pass from it, here the backward pass stands under the forward, written by hand.
"""

import argparse

import numpy as np

import minicnn
from minicnn import nn, optim
from minicnn.data import CIFAR10, DataLoader, Digits


class SimpleCNN(nn.Module):
    """conv 3×3, ReLU, pool, conv 3×3, ReLU, pool, two fully connected layers."""

    def __init__(self, in_channels, num_classes, image_size):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 32, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.flatten = nn.Flatten()
        # The missing pooling. Listings of this network often define the layers with parameters only, and yet give fc1
        # 64·8·8 inputs for images of 32×32. A 3×3 convolution with padding 1 keeps the size, so that without pooling
        # 64·32·32 numbers arrive there, and the first forward fails with a mismatch of shapes. Two poolings of 2×2,
        # 32 -> 16 -> 8, are what makes 64·8·8 right. They have no parameters, which is how they come to be forgotten.
        # Giving fc1 64·32·32 inputs instead would run, too, with 16 times the weights (8.4 million instead of 0.5)
        # and with no more than 5×5 pixels in the view of a unit of conv2.
        self.pool1, self.pool2 = nn.MaxPool2d(2), nn.MaxPool2d(2)
        self.fc1 = nn.Linear(64 * (image_size // 4) ** 2, 128)
        self.fc2 = nn.Linear(128, num_classes)

    def forward(self, x):
        x = self.pool1(self.relu1(self.conv1(x)))  # (N, C, s, s) -> (N, 32, s/2, s/2)
        x = self.pool2(self.relu2(self.conv2(x)))  # -> (N, 64, s/4, s/4)
        x = self.flatten(x)  # -> (N, 64·(s/4)²)
        return self.fc2(self.relu3(self.fc1(x)))  # -> (N, num_classes)

    def backward(self, dy):
        # forward, read from its end: each layer turns the gradient of its output into that of its input
        dy = self.fc1.backward(self.relu3.backward(self.fc2.backward(dy)))
        dy = self.flatten.backward(dy)
        dy = self.conv2.backward(self.relu2.backward(self.pool2.backward(dy)))
        return self.conv1.backward(self.relu1.backward(self.pool1.backward(dy)))


class Training:
    """Cross-entropy, SGD with momentum, and the loop over the loader."""

    def __init__(self, model, lr=0.01):
        self.model = model
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = optim.SGD(model.parameters(), lr=lr, momentum=0.9)

    def epoch(self, loader):
        """One pass over the training images; returns the mean loss."""
        self.model.train()
        total = 0.0
        for images, labels in loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(images), labels)
            self.model.backward(self.criterion.backward())  # PyTorch: loss.backward()
            self.optimizer.step()
            total += float(loss) * len(images)
        return total / len(loader.dataset)

    def accuracy(self, loader):
        """The share of images whose largest logit is that of their class."""
        self.model.eval()
        with minicnn.no_grad():
            right = sum(int((self.model(images).argmax(axis=1) == labels).sum()) for images, labels in loader)
        return right / len(loader.dataset)


def main(argv=None):
    parser = argparse.ArgumentParser(description="Train a small CNN, every step in view.")
    parser.add_argument("--data", choices=("digits", "cifar10"), default="digits")
    parser.add_argument("--root", default="data", help="the folder with the CIFAR-10 files")
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args(argv)

    minicnn.manual_seed(0)
    if args.data == "digits":
        train, test = Digits(train=True), Digits(train=False)
    else:
        train, test = CIFAR10(args.root, train=True), CIFAR10(args.root, train=False)
    channels, size = train[0][0].shape[:2]
    model = SimpleCNN(channels, len(train.classes), size)
    training = Training(model)

    train_loader = DataLoader(train, batch_size=32, shuffle=True)
    test_loader = DataLoader(test, batch_size=256)
    accuracy = np.nan
    for epoch in range(1, args.epochs + 1):
        loss = training.epoch(train_loader)
        accuracy = training.accuracy(test_loader)
        print(f"epoch {epoch:2}: loss {loss:.4f}, test accuracy {100 * accuracy:.2f} %", flush=True)
    return accuracy


if __name__ == "__main__":
    main()
