"""transfer_learning.py in PyTorch, line by line, for comparison: it needs torch and torchvision.

python examples/transfer_learning_torch.py WEIGHTS DATA
"""

import argparse
import sys
import time

import torch
from torch import nn, optim
from torch.utils.data import DataLoader


def import_torchvision():
    """torchvision, also beside a CPU build of torch, whose operators nms and qnms it then misses."""
    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import_torchvision.library = library  # alive as long as the operators are needed
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import torchvision
    return torchvision


def train_epoch(model, criterion, optimizer, loader):
    """One pass over the training images; returns the mean loss."""
    model.train()
    total = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(images)
    return total / len(loader.dataset)


def accuracy(model, loader):
    """The share of images whose largest logit is that of their class."""
    model.eval()
    with torch.no_grad():
        right = sum(int((model(images).argmax(dim=1) == labels).sum()) for images, labels in loader)
    return right / len(loader.dataset)


def main(argv=None):
    parser = argparse.ArgumentParser(description="Transfer learning in PyTorch.")
    parser.add_argument("weights")
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    torchvision = import_torchvision()
    from torchvision import transforms as T

    torch.manual_seed(args.seed)
    size, end = args.image_size, [T.ToTensor(), T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    augmented = T.Compose([T.RandomResizedCrop(size), T.RandomHorizontalFlip(), *end])
    plain = T.Compose([T.Resize(size * 8 // 7), T.CenterCrop(size), *end])
    train = torchvision.datasets.ImageFolder(f"{args.data}/train", augmented)
    test = torchvision.datasets.ImageFolder(f"{args.data}/val", plain)
    train_loader = DataLoader(train, args.batch_size, shuffle=True, num_workers=2)
    test_loader = DataLoader(test, args.batch_size, num_workers=2)

    model = torchvision.models.resnet18()
    model.load_state_dict(torch.load(args.weights, weights_only=True))
    model.fc = nn.Linear(model.fc.in_features, len(train.classes))
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)

    share = 0.0
    for epoch in range(1, args.epochs + 1):
        began = time.perf_counter()
        loss = train_epoch(model, criterion, optimizer, train_loader)
        seconds = time.perf_counter() - began
        share = accuracy(model, test_loader)
        print(
            f"epoch {epoch:2}: loss {loss:.4f}, test accuracy {100 * share:.2f} %, {seconds:.1f} s of training",
            flush=True,
        )
    return share


if __name__ == "__main__":
    main()
