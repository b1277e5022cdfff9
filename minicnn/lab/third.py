"""Exercises 15 to 23: statistics, choices at corners, code that is consistent and wrong, and optimisers."""

from .exercise import Exercise


def _batch(rng):
    """x, running_mean, running_var, weight, bias; the mean of x is not 0."""
    return (rng.standard_normal((3, 2, 2, 2)) + 1, None, None, rng.standard_normal(2), rng.standard_normal(2))


def _with_zeros(rng):
    x = rng.standard_normal((3, 5))
    x[1, 2] = x[2, 0] = 0
    return (x,)


_NORM = ("norm.batch_norm_train_forward", "norm.batch_norm_train_backward")

THIRD = (
    Exercise(
        name="batch-mean",
        title="Batch norm: the mean is not a constant",
        task="In training, mean and variance are those of the batch, so that they depend on every x. The comment "
        "in the backward says which three ways lead from y back to x. All three should be in dx.",
        parts=_NORM,
        there=" - dbias[:, None] / values",
        bug="",
        operation="batch_norm",
        inputs=_batch,
        settings={"training": True},
        hints=(
            "Add 1 to every x of a channel: y does not change. So the entries of dx must sum to 0 over a channel.",
            "Compare the comment with the code: three terms there, how many here?",
            "The way through the mean: every x moves it by 1/m, and it moves every y. Σ dy is at hand as dbias.",
        ),
        lesson="dx = weight/√(var + ε) · (dy − x̂ · mean(dy · x̂) − mean(dy)). With dy of ones, dbias would be the "
        "whole gradient and a missing variance term would not show: check with a random dy.",
    ),
    Exercise(
        name="batch-variance",
        title="Batch norm: neither is the variance",
        task="As before: all three ways from y back to x should be in dx.",
        parts=_NORM,
        there=" - x_hat * dweight[:, None] / values",
        bug="",
        operation="batch_norm",
        inputs=_batch,
        settings={"training": True},
        hints=(
            "Double every x of a channel (with ε = 0): y does not change. What does that say about Σ dx · x?",
            "Σ dx · x̂ must be 0 over a channel. Which term takes that part out of dy?",
        ),
        lesson="Batch norm makes y blind to a shift and a scale of x, so its backward takes out of dy what is "
        "parallel to 1 and to x̂: a projection. Both missing terms are of the size 1/√m, and with large "
        "batches easily overlooked.",
    ),
    Exercise(
        name="kink",
        title="ReLU: the choice at 0",
        task="y = max(x, 0) has no derivative at 0. This package chooses 0 there, as PyTorch does.",
        parts=("activation.relu_forward", "activation.relu_backward"),
        there="x <= 0, dy.dtype.type(0), dy)",
        bug="x < 0, dy.dtype.type(0), dy)",
        operation="relu",
        inputs=_with_zeros,
        settings={},
        hints=(
            "Which value has x where they disagree?",
            "Forward writes “x where x > 0, else 0”. On which side is 0 itself?",
        ),
        lesson="At a kink finite differences see half of each side and prove neither choice wrong. Zeros are not "
        "rare, though: a ReLU behind a ReLU, or padding, gives exactly 0, and the choice decides whether "
        "gradient flows.",
    ),
    Exercise(
        name="tie",
        title="Max pooling: the choice among equals",
        task="Of several largest pixels in a window the first one (row by row) should win, as in PyTorch. indices "
        "says who won; the backward sends dy there. A NaN wins over everything.",
        parts=("pooling.max_pool2d_forward", "pooling.max_pool2d_input_grad", "pooling.taps"),
        there="(pixels > best)",
        bug="(pixels >= best)",
        operation="max_pool2d",
        inputs=lambda rng: (rng.integers(0, 3, (1, 2, 5, 5)).astype(float), 2),
        settings={"stride": 1},
        hints=(
            "y is right everywhere. Print the window at a wrong entry: who has its largest value?",
            "The taps come in order. A later one should win only if it is …",
        ),
        lesson="Images have flat areas, and behind a ReLU whole windows are 0: ties are common. Either choice is a "
        "subgradient; what matters is that it is the same one everywhere, or results differ between backends.",
    ),
    Exercise(
        name="stride",
        title="Convolution: consistent and wrong",
        task="Tap (i, j) of the kernel reads, for output (y, x), the padded pixel (y · stride_h + i · dilation_h, "
        "x · stride_w + j · dilation_w). `taps` gives these pixels as a slice, for one side.",
        parts=("conv.conv2d_forward", "im2col.im2col", "im2col.col2im", "im2col.taps", "conv.conv2d_input_grad",
               "conv.conv2d_weight_grad"),
        there="count * stride[side], stride[side])",
        bug="count * stride[0], stride[0])",
        operation="conv2d",
        inputs=lambda rng: (rng.standard_normal((1, 2, 9, 5)), rng.standard_normal((3, 2, 3, 3)), None),
        settings={"stride": (1, 2)},
        hints=(
            "Backward and finite differences agree: this backward fits this forward. What does that not say?",
            "Where do columns get their stride from?",
        ),
        lesson="A gradient check compares the backward with the forward, whatever that computes. It says nothing "
        "about whether the forward is the one that you wanted: that takes a second, independent "
        "implementation.",
    ),
    Exercise(
        name="unbiased",
        title="Batch norm: which variance",
        task="Batch norm divides by the standard deviation of the batch, with 1/m in the variance (the biased "
        "one). The unbiased one, with 1/(m − 1), is for the running statistics, which are computed elsewhere.",
        parts=_NORM,
        there="** 2).sum(axis=OVER) / np.float64(values)",
        bug="** 2).sum(axis=OVER) / np.float64(values - 1)",
        operation="batch_norm",
        inputs=_batch,
        settings={"training": True},
        hints=(
            "Two pieces of code contradict each other. Changing the other one would make the gradient check green too.",
            "What is the variance of y / weight supposed to be?",
        ),
        lesson="With 1/m the normalised x has a variance of exactly 1 and the backward its simple form. Whoever "
        "mends the backward instead has a correct gradient of the wrong function.",
    ),
    Exercise(
        name="overflow",
        title="Softmax: right on paper",
        task="softmax should work for logits of any size. The check uses logits of about 1000.",
        parts=("softmax._below_max", "softmax.softmax_forward", "softmax.softmax_backward"),
        there="np.ascontiguousarray(x - x.max(axis=axis, keepdims=True, initial=-np.inf))",
        bug="np.ascontiguousarray(x)",
        operation="softmax",
        inputs=lambda rng: (1000 + rng.standard_normal((3, 5)),),
        settings={},
        hints=(
            "What is exp(1000) in float64, and what is ∞ / ∞?",
            "softmax(x) = softmax(x − c) for any c. Which c keeps every exp at 1 or below?",
        ),
        lesson="exp(x − max x) is at most 1, and its sum at least 1: no overflow, no division by 0. A test with "
        "inputs of ordinary size would never have found it; the first network that is very sure of itself "
        "would.",
    ),
    Exercise(
        name="momentum",
        title="SGD: the sign of the memory",
        task="SGD with momentum keeps a buffer of past gradients: b = momentum · b + (1 − dampening) · g, in the "
        "first step b = g, and the parameter moves by −lr · b.",
        parts=("optim.sgd_step",),
        there="else momentum * b",
        bug="else -momentum * b",
        operation="SGD",
        inputs=lambda rng: (rng.standard_normal((2, 3)), rng.standard_normal((5, 2, 3))),
        settings={"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
        hints=(
            "The first step is right. What is in the buffer then?",
            "With a constant gradient g the buffer should grow to g / (1 − momentum). What does this one do?",
        ),
        lesson="b = μ b + g: steps in a constant direction grow by 1/(1 − μ), here ten times. With the wrong sign "
        "they shrink to half. Gradient checks do not cover optimisers; a few steps against a known trajectory "
        "do.",
    ),
    Exercise(
        name="adam",
        title="Adam: moments that start at 0",
        task="Adam keeps running means m of g and v of g², which start at 0 and are too small at first: after t "
        "steps by the factors 1 − β₁ᵗ and 1 − β₂ᵗ. The step should be made with the corrected ones.",
        parts=("optim.adam_step",),
        there="np.sqrt(v) / np.sqrt(1 - beta2**t)",
        bug="np.sqrt(v)",
        operation="Adam",
        inputs=lambda rng: (rng.standard_normal((2, 3)), rng.standard_normal((5, 2, 3))),
        settings={"lr": 0.01},
        hints=(
            "The first step of Adam has the size lr in every entry, whatever the gradient. How large is it here?",
            "One of the two corrections is there. Where is the other?",
        ),
        lesson="m/(1 − β₁ᵗ) / √(v/(1 − β₂ᵗ)): in the first step g/√g² = ±1. Without the second correction it is (1 − "
        "β₂)^(−½) ≈ 32 times too long, just when the network knows least.",
    ),
)  # fmt: skip
