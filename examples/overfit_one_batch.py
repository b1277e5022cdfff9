"""The first thing to do with a new network: let it learn sixteen images by heart.

    python examples/overfit_one_batch.py --output overfit.png        some seconds

A network with more weights than there is to know must bring the loss of one small batch to nearly 0. If it does not,
something is wrong, and it is found in seconds and not after a night. Here the same network four times: as it is; with
labels that mean nothing, which it learns as well (a low training loss proves that gradients flow, not that anything was
understood); and with two mistakes in a backward pass. A loss that forgets the target is found at once. A ReLU that lets
every gradient through is not: the network learns in spite of it. For that there is `minicnn.inspect.gradcheck`.
"""

import argparse

import numpy as np

import minicnn
from minicnn import nn, optim
from minicnn.data import DataLoader, Digits


class ForgetsTarget(nn.CrossEntropyLoss):
    """Its backward returns the probabilities, and forgets to subtract the target from them."""

    def __call__(self, logits, target):
        self.one_hot = np.eye(logits.shape[1], dtype=logits.dtype)[target]
        return super().__call__(logits, target)

    def backward(self, dy=1.0):
        return super().backward(dy) + self.one_hot / len(self.one_hot)


class LetsThrough(nn.ReLU):
    """A ReLU whose backward forgets that the forward has cut anything."""

    def backward(self, dy):
        super().backward(dy)  # frees the context
        return dy


def network(relu):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), relu(), nn.Conv2d(16, 16, 3, padding=1), relu(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 32), relu(), nn.Linear(32, 10),
    )  # fmt: skip


def learn_by_heart(relu, criterion, x, y, steps):
    """(losses, the probability that the network gives each image's label in the end)"""
    minicnn.manual_seed(0)
    model = network(relu)
    optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    losses = []
    for _ in range(steps):
        losses.append(float(criterion(model(x), y)))
        optimizer.zero_grad()
        model.backward(criterion.backward(), need_dx=False)
        optimizer.step()
    probabilities, _ = minicnn.functional.softmax(model(x))
    return losses, probabilities[np.arange(len(y)), y]


def picture(x, runs, output):
    """The losses, and the images of the sound run with what it thinks of them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.35, 1])
    axes = left.subplots()
    for (name, (_, losses, _)), colour in zip(runs.items(), ("#0b6e99", "#edae49", "#d1495b", "#8d6cab")):
        axes.semilogy(range(1, len(losses) + 1), losses, color=colour, label=name, linewidth=2)
    axes.axhline(np.log(10), color="#7b8794", linestyle=":", label="guessing, log 10")
    axes.set(xlabel="step (SGD with momentum, the same 16 images)", ylabel="loss", ylim=(5e-5, 1e4))
    axes.set_title("A sound network learns one batch by heart", loc="left", fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right")
    labels, _, sure = runs["sound, true labels"]
    for i, place in enumerate(right.subplots(4, 4).flat):
        place.imshow(x[i, 0], cmap="gray_r")
        place.set_title(f"{labels[i]}: {sure[i]:.2%}", fontsize=9)
        place.set_axis_off()
    right.suptitle("label: probability after the last step", fontsize=10)
    figure.savefig(output, dpi=110)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="overfit.png", help="the picture (default: overfit.png)")
    parser.add_argument("--steps", type=int, default=150, help="of each network (default: 150)")
    args = parser.parse_args(argv)

    x, y = next(iter(DataLoader(Digits(train=True), batch_size=16, shuffle=True, seed=0)))
    any_labels = np.random.default_rng(0).integers(0, 10, len(y))
    runs = {}
    for name, relu, criterion, labels in (
        ("sound, true labels", nn.ReLU, nn.CrossEntropyLoss, y),
        ("sound, random labels", nn.ReLU, nn.CrossEntropyLoss, any_labels),
        ("loss forgets the target", nn.ReLU, ForgetsTarget, y),
        ("ReLU lets all through", LetsThrough, nn.CrossEntropyLoss, y),
    ):
        losses, sure = learn_by_heart(relu, criterion(), x, labels, args.steps)
        runs[name] = labels, losses, sure
        print(f"{name:>23}: loss {losses[0]:.3f} at first, {losses[-1]:.5f} after {args.steps} steps")
    picture(x, runs, args.output)
    return {name: losses for name, (_, losses, _) in runs.items()}


if __name__ == "__main__":
    main()
