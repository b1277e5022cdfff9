"""A ResNet18 that was trained on ImageNet learns to tell ants from bees: ten epochs of SGD on 244 photographs.

    python examples/transfer_learning.py WEIGHTS DATA

WEIGHTS is a state dict with torchvision's keys, such as its resnet18-f37072fd.pth; DATA has train/ and val/ with one
folder of photographs a class. transfer_learning_torch.py beside it is the same program in PyTorch.

What such listings leave out is said where it matters: images that are normalised as the network was trained, batch
norm in eval mode for testing, and a model whose last layer is replaced before the optimiser is given its parameters.
"""

import argparse
import time

import minicnn
from minicnn import nn, optim
from minicnn.data import DataLoader, ImageFolder
from minicnn.data.transforms import imagenet_eval, imagenet_train


def train_epoch(model, criterion, optimizer, loader):
    """One pass over the training images; returns the mean loss."""
    model.train()
    total = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        model.backward(criterion.backward(), need_dx=False)  # PyTorch: loss.backward()
        optimizer.step()
        total += float(loss) * len(images)
    return total / len(loader.dataset)


def accuracy(model, loader):
    """The share of images whose largest logit is that of their class."""
    model.eval()
    with minicnn.no_grad():
        right = sum(int((model(images).argmax(axis=1) == labels).sum()) for images, labels in loader)
    return right / len(loader.dataset)


def main(argv=None):
    parser = argparse.ArgumentParser(description="Transfer learning, every step in view.")
    parser.add_argument("weights")
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    minicnn.manual_seed(args.seed)
    train = ImageFolder(f"{args.data}/train", imagenet_train(args.image_size))
    test = ImageFolder(f"{args.data}/val", imagenet_eval(args.image_size, resize=args.image_size * 8 // 7))
    train_loader = DataLoader(train, args.batch_size, shuffle=True, workers=2)
    test_loader = DataLoader(test, args.batch_size, workers=2)

    model = minicnn.models.resnet18()
    model.load_state_dict(args.weights)
    model.fc = nn.Linear(model.fc.in_features, len(train.classes))  # 1000 classes become those of the folder
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
