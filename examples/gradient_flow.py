"""How gradients get through a deep network: a plain one against a residual one of the same layers.

    python examples/gradient_flow.py --output gradient_flow.png        about 10 s

In the plain network the gradient passes through every layer, and each multiplies it with its weights: after 24 layers
little is left. A residual block adds its input to its output, y = x + f(x), so its backward adds dy to what comes back
through f: there is a way around every layer, and the first layers learn as well as the last.
"""

import argparse

import numpy as np

import minicnn
from minicnn import nn, optim
from minicnn.data import DataLoader, Digits

DEPTH, CHANNELS = 24, 8


def network(is_residual):
    """One convolution that makes channels, DEPTH blocks, and a classifier."""
    blocks = []
    for _ in range(DEPTH):
        block = nn.Sequential(nn.ReLU(), nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1))
        blocks.append(nn.Residual(block) if is_residual else block)
    stem = nn.Conv2d(1, CHANNELS, 3, padding=1)
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * CHANNELS, 10))


def gradient_sizes(model, x, target):
    """The root mean square of dL/dx of each block, the first one first."""
    sizes = {}
    handles = [
        model[i].register_backward_hook(lambda module, dy, dx, i=i: sizes.update({i: np.sqrt(np.mean(dx**2))}))
        for i in range(1, DEPTH + 1)
    ]
    criterion = nn.CrossEntropyLoss()
    criterion(model(x), target)
    model.backward(criterion.backward())
    for handle in handles:
        handle.remove()
    return np.array([sizes[i] for i in sorted(sizes)])


def train(model, steps):
    """The loss of each step."""
    loader = DataLoader(Digits(train=True), batch_size=64, shuffle=True, seed=0)
    optimizer, criterion = optim.Adam(model.parameters(), lr=2e-3), nn.CrossEntropyLoss()
    losses = []
    while len(losses) < steps:
        for x, y in loader:
            losses.append(float(criterion(model(x), y)))
            optimizer.zero_grad()
            model.backward(criterion.backward(), need_dx=False)
            optimizer.step()
    return losses[:steps]


def picture(sizes, losses, output):
    """Gradients over the depth, and what follows from them: the loss over the steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    flow, learning = figure.subplots(1, 2)
    for name, colour in (("plain", "#d1495b"), ("residual", "#0b6e99")):
        flow.semilogy(range(1, DEPTH + 1), sizes[name], "o-", color=colour, label=name, markersize=4)
        smooth = np.convolve(losses[name], np.ones(10) / 10, "valid")
        learning.plot(range(10, len(losses[name]) + 1), smooth, color=colour, label=name, linewidth=2)
    flow.set(xlabel="block, counted from the image", ylabel="root mean square of dL/dx")
    flow.set_title("Before training: what arrives at each block", loc="left", fontsize=11)
    learning.axhline(np.log(10), color="#7b8794", linestyle=":", label="guessing, log 10")
    learning.set(xlabel="step (Adam, 64 digits)", ylabel="loss, mean of 10 steps", ylim=(0, None))
    learning.set_title("In training: what becomes of it", loc="left", fontsize=11)
    for axes in (flow, learning):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(output, dpi=110)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="gradient_flow.png", help="the picture (default: gradient_flow.png)")
    parser.add_argument("--steps", type=int, default=150, help="of training, for each network (default: 150)")
    args = parser.parse_args(argv)

    x, y = next(iter(DataLoader(Digits(train=True), batch_size=64, shuffle=True, seed=1)))
    sizes, losses = {}, {}
    for name in ("plain", "residual"):
        minicnn.manual_seed(0)
        model = network(is_residual=name == "residual")
        sizes[name] = gradient_sizes(model, x, y)
        losses[name] = train(model, args.steps)
        first, last = sizes[name][[0, -1]]
        print(
            f"{name:>8}: dL/dx is {first:.1e} at the first of {DEPTH} blocks, {last:.1e} at the last; "
            f"loss {losses[name][0]:.2f} at first, {np.mean(losses[name][-10:]):.2f} after {args.steps} steps"
        )
    picture(sizes, losses, args.output)
    return sizes, losses


if __name__ == "__main__":
    main()
