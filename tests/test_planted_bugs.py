"""Proof that the tests can fail: known bugs, planted one at a time, each caught by the check that must catch it.

A bug is a function of the package, a piece of its source that occurs exactly once, and what it becomes. The checks are
those that the property tests run over random configurations.
"""

import importlib
import inspect
import sys
import textwrap

import checks
import numpy as np
import pytest

import minicnn

REFERENCE = "minicnn.backends.reference"
FUNCTIONAL = "minicnn.functional"

# name: module, function, what is there, what the bug makes of it, the check, its arguments
BUGS = {
    "conv: the gradient of x goes through the kernel flipped": (
        f"{REFERENCE}.conv", "conv2d_input_grad", "filters = weight.", "filters = weight[:, :, ::-1, ::-1].",
        checks.conv2d, {}),
    "conv: dweight transposed between groups": (
        f"{REFERENCE}.conv", "conv2d_weight_grad", "dweight.sum(axis=0)", "dweight.sum(axis=0)[::-1]",
        checks.conv2d, {"groups": 2}),
    "conv: dweight forgets the dilation": (
        f"{REFERENCE}.conv", "conv2d_weight_grad", "padding, dilation, (oh, ow)", "padding, (1, 1), (oh, ow)",
        checks.conv2d, {"dilation": (2, 1)}),
    "conv: dweight is the mean over the images, not the sum": (
        f"{REFERENCE}.conv", "conv2d_weight_grad", "dweight.sum(axis=0)", "dweight.mean(axis=0)",
        checks.conv2d, {}),
    "conv: col2im cuts one row too low": (
        f"{REFERENCE}.im2col", "col2im", "padded[:, :, top : top + H,", "padded[:, :, top - 1 : top + H - 1,",
        checks.conv2d, {"padding": 1}),
    "conv: col2im overwrites where windows overlap": (
        f"{REFERENCE}.im2col", "col2im", "+= columns", "= columns",
        checks.conv2d, {}),
    "conv: stride of the rows used for the columns": (
        f"{REFERENCE}.im2col", "taps", "count * stride[side], stride[side])", "count * stride[0], stride[0])",
        checks.conv2d, {"x": (1, 2, 9, 5), "stride": (1, 2)}),
    'conv: "same" puts the odd zero on the wrong side': (
        f"{FUNCTIONAL}.conv", "_padding", "total_h // 2, total_h - total_h // 2",
        "total_h - total_h // 2, total_h // 2",
        checks.conv2d, {"kernel": (2, 3), "padding": "same"}),
    "conv: the bias gets no gradient of the images after the first": (
        f"{REFERENCE}.linear", "channel_sum", "dy.sum(", "dy[:1].sum(",
        checks.conv2d, {}),
    "max pooling: of equal values the last wins": (
        f"{REFERENCE}.pooling", "max_pool2d_forward", "pixels > best", "pixels >= best",
        checks.max_pool2d, {"ties": True}),
    "max pooling: overlapping windows overwrite each other's gradient": (
        f"{REFERENCE}.pooling", "max_pool2d_input_grad",
        "np.add.at(dx.reshape(N, C, H * W), (n, c, place), dy[indices >= 0])",
        "dx.reshape(N, C, H * W)[n, c, place] = dy[indices >= 0]",
        checks.max_pool2d, {"kernel_size": 3, "stride": 1}),
    "max pooling: ceil mode keeps a window that starts in the right padding": (
        f"{FUNCTIONAL}.pooling", "_out_size", "count -= 1", "pass",
        checks.max_pool2d, {"x": (1, 1, 5, 5), "kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True}),
    "average pooling: count_include_pad is ignored": (
        f"{REFERENCE}.pooling", "divisors", "if not count_include_pad:", "if False:",
        checks.avg_pool2d, {"kernel_size": 3, "padding": 1, "count_include_pad": False}),
    "average pooling: the window is not cut to the padded image": (
        f"{REFERENCE}.pooling", "divisors", "np.minimum(start + kernel[side], size + pad)", "start + kernel[side]",
        checks.avg_pool2d, {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "x": (1, 1, 6, 6)}),
    "adaptive pooling: bins end where the next begins": (
        f"{REFERENCE}.pooling", "bins", "-(-(p + 1) * size // count)", "(p + 1) * size // count",
        checks.adaptive_avg_pool2d, {}),
    "batch norm: the backward misses the variance term": (
        f"{REFERENCE}.norm", "batch_norm_train_backward", "- x_hat * dweight[:, None] / values", "",
        checks.batch_norm, {}),
    "batch norm: the backward misses the mean term": (
        f"{REFERENCE}.norm", "batch_norm_train_backward", "- dbias[:, None] / values", "",
        checks.batch_norm, {}),
    "batch norm: the running variance is the biased one": (
        f"{FUNCTIONAL}.norm", "_move", ", values / (values - 1))", ", 1.0)",
        checks.batch_norm, {}),
    "batch norm: momentum weighs the old value": (
        f"{REFERENCE}.norm", "batch_norm_move", "running *= 1 - momentum", "running *= momentum",
        checks.batch_norm, {}),
    "batch norm: eps outside the square root": (
        f"{REFERENCE}.norm", "inverse_std", "np.float64)) + eps)", "np.float64))) + eps",
        checks.batch_norm, {"eps": 1e-3}),
    "relu: the gradient at 0 is 1": (
        f"{REFERENCE}.activation", "relu_backward", "x <= 0", "x < 0",
        checks.activation, {"name": "relu"}),
    "tanh: the derivative forgets the square": (
        f"{REFERENCE}.activation", "tanh_backward", " ** 2", "",
        checks.activation, {"name": "tanh"}),
    "softmax: the largest value is not subtracted": (
        f"{REFERENCE}.softmax", "_below_max", "x - x.max(axis=axis, keepdims=True, initial=-np.inf)", "x",
        checks.softmax, {"scale": 1000.0}),
    "softmax: the backward has the diagonal alone": (
        f"{REFERENCE}.softmax", "softmax_backward", "(dy - (dy * y).sum(axis=axis, keepdims=True))", "dy * (1 - y)",
        checks.softmax, {}),
    "cross-entropy: the backward forgets the label smoothing": (
        f"{REFERENCE}.loss", "cross_entropy_backward", "((1 - label_smoothing) * distribution + label_smoothing / C)",
        "distribution",
        checks.cross_entropy, {"label_smoothing": 0.1}),
    "cross-entropy: the weights of the classes are ignored": (
        f"{REFERENCE}.loss", "nll_loss_forward", "if weight is None else", "if True else",
        checks.cross_entropy, {"weighted": True}),
    "cross-entropy: ignored targets get a gradient": (
        f"{REFERENCE}.loss", "cross_entropy_backward", "counts = target != ignore_index",
        "counts = np.ones(target.shape, bool)",
        checks.cross_entropy, {"ignored": True, "label_smoothing": 0.1}),
    "mean loss: the gradient is not divided by the number of values": (
        f"{FUNCTIONAL}.loss", "_per_value", "np.array(float(dy) / x.size, x.dtype)", "np.array(dy)",
        checks.mse_loss, {}),
    "sgd: the momentum has the wrong sign": (
        f"{REFERENCE}.optim", "sgd_step", "else momentum * b", "else -momentum * b",
        checks.sgd, {}),
    "sgd: the dampening holds in the first step too": (
        f"{REFERENCE}.optim", "sgd_step", "b[...] = g if is_first else", "b[...] =",
        checks.sgd, {"dampening": 0.5}),
    "adam: the bias of the second moment is not corrected": (
        f"{REFERENCE}.optim", "adam_step", "np.sqrt(v) / np.sqrt(1 - beta2**t)", "np.sqrt(v)",
        checks.adam, {}),
    "transposed convolution: the output padding adds nothing to y": (
        f"{FUNCTIONAL}.conv_transpose", "_out_size", "+ added[side] + 1", "+ 1",
        checks.conv_transpose2d, {"stride": 2, "output_padding": 1}),
    "mean squared error: the gradient misses the 2": (
        f"{REFERENCE}.loss", "mse_loss_backward", "(2 * (x - target))", "(x - target)",
        checks.mse_loss, {}),
}  # fmt: skip


def plant(monkeypatch, module_name, function_name, there, bug):
    """Put the altered function in the place of the original, wherever the package has imported it to."""
    module = importlib.import_module(module_name)
    original = getattr(module, function_name)
    source = textwrap.dedent(inspect.getsource(original))
    assert source.count(there) == 1, f"{there!r} stands {source.count(there)} times in {module_name}.{function_name}"
    found: dict = {}
    exec(compile(source.replace(there, bug), f"<{function_name} with a bug>", "exec"), vars(module), found)
    for name, each in list(sys.modules.items()):
        if name.startswith("minicnn"):
            for attribute, value in list(vars(each).items()):
                if value is original:
                    monkeypatch.setattr(each, attribute, found[function_name])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(name, monkeypatch):
    module, function, there, bug, check, arguments = BUGS[name]
    with minicnn.backend("reference"):
        check(**arguments)  # without the bug the check passes
        plant(monkeypatch, module, function, there, bug)
        with pytest.raises(AssertionError), np.errstate(all="ignore"):
            check(**arguments)


def test_there_are_bugs_of_every_family():
    families = {name.partition(":")[0] for name in BUGS}
    assert len(BUGS) >= 25
    assert {"conv", "max pooling", "average pooling", "batch norm", "softmax", "cross-entropy", "sgd"} <= families
