"""One step of gradient descent, every number of it: a tiny network without any class, forward, backward and update.

    python examples/one_step_by_hand.py --output one_step.png

A 6×6 drawing of a cross goes through a convolution, a ReLU, a pooling and a linear layer, which gives a score for each
of "cross", "circle" and "line". Then the gradient of the loss goes back the same way, and every weight takes a step.
The context `ctx` that a forward returns is what its backward needs to remember.
"""

import argparse

import numpy as np

import minicnn.functional as F

CLASSES = ("cross", "circle", "line")
IMAGE = """
#....#
.#..#.
..##..
..##..
.#..#.
#....#
"""


def show(name, array):
    """Print an array with its name and shape."""
    print(f"\n{name}, shape {np.shape(array)}\n{np.array2string(np.asarray(array), precision=3, suppress_small=True)}")


def step(x, target, weights, lr):
    """Forward, loss, backward, update; returns (loss, {name: (activation, its gradient)}) and changes the weights."""
    print("\n---- forward")
    conv, conv_ctx = F.conv2d(x, weights["filters"])  # (1, 1, 6, 6) * (2, 1, 3, 3) -> (1, 2, 4, 4)
    relu, relu_ctx = F.relu(conv)
    pool, pool_ctx = F.max_pool2d(relu, 2)  # (1, 2, 4, 4) -> (1, 2, 2, 2)
    flat, flat_ctx = F.flatten(pool)  # -> (1, 8)
    scores, scores_ctx = F.linear(flat, weights["matrix"], weights["bias"])  # (1, 8) @ (8, 3) -> (1, 3)
    for name, array in (("image", x), ("conv", conv), ("relu", relu), ("pool", pool), ("scores", scores)):
        show(name, array)
    show("probabilities", F.softmax(scores)[0])
    loss, loss_ctx = F.cross_entropy(scores, target)
    print(f"\nloss = -log p[{CLASSES[target[0]]}] = {loss:.4f}")

    print("\n---- backward: the same way in reverse; each line asks what its forward line did")
    dscores = F.cross_entropy_backward(1.0, loss_ctx)  # probabilities minus one-hot target
    dflat, dmatrix, dbias = F.linear_backward(dscores, scores_ctx)  # dscores @ matrix, dscores.T @ flat, dscores
    dpool = F.flatten_backward(dflat, flat_ctx)
    drelu = F.max_pool2d_backward(dpool, pool_ctx)  # to the pixel that won in each window
    dconv = F.relu_backward(drelu, relu_ctx)  # nothing where the ReLU cut
    dx, dfilters, _ = F.conv2d_backward(dconv, conv_ctx)  # col2im(filters.T @ dconv), dconv @ im2col(x).T
    gradients = {"dscores": dscores, "dmatrix": dmatrix, "dbias": dbias, "dpool": dpool, "drelu": drelu}
    for name, array in (gradients | {"dconv": dconv, "dfilters": dfilters, "dx": dx}).items():
        show(name, array)

    print(f"\n---- update: each weight goes {lr} times its gradient downhill")
    for name, gradient in (("filters", dfilters), ("matrix", dmatrix), ("bias", dbias)):
        weights[name] -= lr * gradient
        show(f"new {name}", weights[name])
    kept = {"image": (x, dx), "conv": (conv, dconv), "relu": (relu, drelu), "pool": (pool, dpool)}
    return float(loss), kept | {"scores": (scores, dscores)}


def picture(kept, losses, output):
    """The activations above, their gradients below, numbers written in."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 6), layout="constrained")
    axes = figure.subplots(2, len(kept), width_ratios=[4, 4, 4, 2.6, 3])
    for column, (name, pair) in enumerate(kept.items()):
        for row, array in enumerate(pair):
            grid = array[0, 0] if array.ndim == 4 else array  # the first channel
            largest = abs(grid).max() or 1.0
            place = axes[row, column]
            place.imshow(grid, cmap="RdBu_r", vmin=-largest, vmax=largest)
            for (y, x), value in np.ndenumerate(grid):
                colour = "white" if abs(value) > 0.6 * largest else "black"
                place.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
            note = " (first channel)" if array.ndim == 4 and array.shape[1] > 1 else ""
            place.set_title(f"{name}{note}" if row == 0 else f"gradient of the loss by {name}", fontsize=10)
            place.set_xticks(range(grid.shape[1]) if name == "scores" else [], CLASSES if name == "scores" else [])
            place.set_yticks([])
    figure.suptitle(f"One step: forward above, backward below; loss {losses[0]:.3f} before it, {losses[1]:.3f} after")
    figure.savefig(output, dpi=110)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="one_step.png", help="the picture (default: one_step.png)")
    parser.add_argument("--lr", type=float, default=0.1, help="how far the step goes (default: 0.1)")
    args = parser.parse_args(argv)

    rng = np.random.default_rng(1)
    x = np.array([[pixel == "#" for pixel in line] for line in IMAGE.split()], np.float64)[None, None]
    target = np.array([CLASSES.index("cross")])
    weights = {
        "filters": rng.standard_normal((2, 1, 3, 3)) / 3,
        "matrix": rng.standard_normal((3, 8)) / 3,
        "bias": np.zeros(3),
    }
    before, kept = step(x, target, weights, args.lr)

    pool, _ = F.max_pool2d(F.relu(F.conv2d(x, weights["filters"])[0])[0], 2)
    scores, _ = F.linear(F.flatten(pool)[0], weights["matrix"], weights["bias"])
    after = float(F.cross_entropy(scores, target)[0])
    print(f"\nloss before the step {before:.4f}, after it {after:.4f}")
    picture(kept, (before, after), args.output)
    return before, after


if __name__ == "__main__":
    main()
