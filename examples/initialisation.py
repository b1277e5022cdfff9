"""What the first random weights decide: activations and gradients through 20 layers, for four ways to draw them.

    python examples/initialisation.py --output initialisation.png        some seconds

A layer of n inputs with weights of variance v multiplies the variance of what it gets by about n·v, and a ReLU halves
it. Only n·v = 2 keeps it over many layers (He et al. 2015); the n·v = 1 of Glorot & Bengio (2010), right for tanh,
loses a factor of 2 each time. The same products run backward through the gradients.
"""

import argparse

import numpy as np

import minicnn
from minicnn import nn
from minicnn.data import DataLoader, Digits

DEPTH, WIDTH = 20, 256
WAYS = {  # name: (what it does to one weight, colour)
    "half of He's deviation": (lambda weight: _scaled_he(weight, 0.5), "#7b8794"),
    "Xavier (n·v = 1)": (nn.init.xavier_normal_, "#edae49"),
    "He (n·v = 2)": (lambda weight: _scaled_he(weight, 1.0), "#0b6e99"),
    "1.5 times He's deviation": (lambda weight: _scaled_he(weight, 1.5), "#d1495b"),
}


def _scaled_he(weight, factor):
    nn.init.kaiming_normal_(weight, nonlinearity="relu")
    weight.data *= factor


def network(initialise):
    """64 pixels, DEPTH hidden layers of WIDTH with ReLU, 10 classes; no biases."""
    layers = [nn.Flatten()]
    for i in range(DEPTH):
        layers += [nn.Linear(64 if i == 0 else WIDTH, WIDTH, bias=False), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10, bias=False))
    for parameter in model.parameters():
        initialise(parameter)
    return model


def sizes(model, x, target):
    """The root mean square of what each ReLU gives, and of the gradient that comes back to it."""
    forward, backward = [], []
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda module, x, y: forward.append(np.sqrt(np.mean(y**2))))
            module.register_backward_hook(lambda module, dy, dx: backward.append(np.sqrt(np.mean(dy**2))))
    criterion = nn.CrossEntropyLoss()
    loss = criterion(model(x), target)
    model.backward(criterion.backward())
    return np.array(forward), np.array(backward[::-1]), float(loss)  # the last layer comes first in a backward


def picture(found, output):
    """Activations on the left, gradients on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    axes = figure.subplots(1, 2)
    layers = np.arange(1, DEPTH + 1)
    for name, (forward, backward, _) in found.items():
        for place, values in zip(axes, (forward, backward)):
            place.semilogy(layers, values, "o-", color=WAYS[name][1], label=name, markersize=4)
    for place, title in zip(axes, ("Forward: what comes out of layer n", "Backward: the gradient that arrives there")):
        place.set_title(title, loc="left", fontsize=11)
        place.set(xlabel="layer", ylabel="root mean square")
        place.xaxis.get_major_locator().set_params(integer=True)
        place.grid(alpha=0.25)
        place.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, loc="lower left")
    figure.suptitle(f"{DEPTH} layers of {WIDTH} with ReLU, before the first step of training", x=0.01, ha="left")
    figure.savefig(output, dpi=110)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="initialisation.png", help="the picture (default: initialisation.png)")
    args = parser.parse_args(argv)

    x, y = next(iter(DataLoader(Digits(train=True), batch_size=128, shuffle=True, seed=0)))
    x = (x - x.mean()) / x.std()
    found = {}
    for name, (initialise, _) in WAYS.items():
        minicnn.manual_seed(0)
        found[name] = forward, backward, loss = sizes(network(initialise), x, y)
        print(
            f"{name:>24}: activations {forward[0]:.2g} -> {forward[-1]:.2g}, "
            f"gradients {backward[-1]:.2g} -> {backward[0]:.2g}, loss {loss:.4g} (guessing: {np.log(10):.4g})"
        )
    picture(found, args.output)
    return found


if __name__ == "__main__":
    main()
