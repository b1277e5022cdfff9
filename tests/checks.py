"""One check an operation: forward and backward against torch in float64, with a random upstream gradient.

The property tests run these over random configurations; the planted bugs prove that they can fail.
"""

import numpy as np
import torch
from tolerance import assert_close
from torch.nn import functional as T

from minicnn import functional as F


def agrees(op, op_backward, torch_op, arrays, settings=None, *, others=(), length=1, dtype=np.float64, seed=0):
    """y and the gradients of `arrays` (None is left out) are torch's in float64 at the same numbers.

    op is called with the arrays, then `others`, then settings by name; torch_op with one tensor an array. Returns y.
    """
    arrays = [None if array is None else array.astype(dtype) for array in arrays]
    tensors = [None if a is None else torch.tensor(a.astype(np.float64), requires_grad=True) for a in arrays]
    truth = torch_op(*tensors)
    y, ctx = op(*arrays, *others, **(settings or {}))
    name = op.__name__
    assert_close(np.asarray(y), truth.detach().numpy(), length, dtype, f"{name}: y")
    assert np.asarray(y).dtype == dtype, f"{name}: y is {np.asarray(y).dtype}, not {np.dtype(dtype)}"
    dy = np.random.default_rng(seed).standard_normal(truth.shape).astype(dtype)
    truth.backward(torch.tensor(dy.astype(np.float64)))
    gradients = op_backward(dy[()] if dy.ndim == 0 else dy, ctx)
    gradients = list(gradients) if isinstance(gradients, tuple) else [gradients]
    for i, (array, tensor) in enumerate(zip(arrays, tensors)):
        if array is None:
            assert i >= len(gradients) or gradients[i] is None, f"{name}: a gradient of an argument that was None"
            continue
        expected = np.zeros(array.shape) if tensor.grad is None else tensor.grad.numpy()
        assert gradients[i].dtype == dtype, f"{name}: gradient {i} is {gradients[i].dtype}, not {np.dtype(dtype)}"
        assert_close(gradients[i], expected, max(length, array.size, dy.size), dtype, f"{name}: gradient {i}")
    return y


def normal(shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def conv2d(
    x=(2, 4, 7, 6), filters=4, kernel=(3, 2), stride=1, padding=0, dilation=1, groups=1, bias=True, dtype=np.float64
):
    weight = normal((filters, x[-3] // groups, *kernel), 2)
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    agrees(
        F.conv2d, F.conv2d_backward, lambda x, w, b: T.conv2d(x, w, b, **settings),
        [normal(x), weight, normal(filters, 3) if bias else None], settings, length=weight[0].size, dtype=dtype,
    )  # fmt: skip


def conv_transpose2d(
    x=(2, 4, 5, 4), filters=3, kernel=(3, 2), stride=1, padding=0, output_padding=0, groups=1, dilation=1, bias=True,
    dtype=np.float64,
):  # fmt: skip
    settings = {
        "stride": stride, "padding": padding, "output_padding": output_padding, "groups": groups, "dilation": dilation
    }  # fmt: skip
    weight = normal((x[-3], filters, *kernel), 2)
    agrees(
        F.conv_transpose2d, F.conv_transpose2d_backward, lambda x, w, b: T.conv_transpose2d(x, w, b, **settings),
        [normal(x), weight, normal(filters * groups, 3) if bias else None], settings, length=weight.size, dtype=dtype,
    )  # fmt: skip


def max_pool2d(x=(2, 3, 7, 6), ties=False, dtype=np.float64, **settings):
    settings = {"kernel_size": 2, **settings}
    image = np.random.default_rng(4).integers(0, 3, x).astype(np.float64) if ties else normal(x)
    agrees(F.max_pool2d, F.max_pool2d_backward, lambda x: T.max_pool2d(x, **settings), [image], settings, dtype=dtype)
    _, indices = torch.nn.functional.max_pool2d_with_indices(torch.tensor(image.astype(dtype)), **settings)
    ctx = F.max_pool2d(image.astype(dtype), **settings)[1]
    np.testing.assert_array_equal(ctx.indices, indices.numpy())


def avg_pool2d(x=(2, 3, 7, 6), dtype=np.float64, **settings):
    settings = {"kernel_size": 2, **settings}
    agrees(
        F.avg_pool2d, F.avg_pool2d_backward, lambda x: T.avg_pool2d(x, **settings), [normal(x)], settings,
        length=int(np.prod(settings["kernel_size"])), dtype=dtype,
    )  # fmt: skip


def adaptive_avg_pool2d(x=(2, 3, 7, 6), output_size=(3, 4), dtype=np.float64):
    agrees(
        F.adaptive_avg_pool2d, F.adaptive_avg_pool2d_backward, lambda x: T.adaptive_avg_pool2d(x, output_size),
        [normal(x)], {"output_size": output_size}, length=x[-1] * x[-2], dtype=dtype,
    )  # fmt: skip


def linear(x=(5, 4), outputs=3, bias=True, dtype=np.float64):
    agrees(
        F.linear, F.linear_backward, T.linear,
        [normal(x), normal((outputs, x[-1]), 2), normal(outputs, 3) if bias else None], length=x[-1], dtype=dtype,
    )  # fmt: skip


def batch_norm(
    x=(4, 3, 3, 2), training=True, affine=True, momentum=0.1, eps=1e-5, mean=0.0, dtype=np.float64, running=True
):
    """mean: of the images. The running statistics are compared too."""
    channels = x[1]
    image = normal(x) + mean
    weight, bias = (normal(channels, 2), normal(channels, 3)) if affine else (None, None)
    statistics = [normal(channels, 4), np.random.default_rng(5).random(channels) + 0.5] if running else [None, None]
    ours = [None if each is None else each.astype(dtype) for each in statistics]
    theirs = [None if each is None else torch.tensor(each.astype(np.float64)) for each in ours]

    def op(x, weight, bias):
        return F.batch_norm(x, *ours, weight, bias, training, momentum, eps)

    def torch_op(x, weight, bias):
        return T.batch_norm(x, *theirs, weight, bias, training, momentum, eps)

    # rounding of x alone moves x̂ by eps·|x| / std: a large mean costs digits that no arithmetic gives back
    conditioning = int((1 + abs(mean)) ** 2)
    agrees(op, F.batch_norm_backward, torch_op, [image, weight, bias], length=image.size * conditioning, dtype=dtype)
    for name, mine, their in zip(("running_mean", "running_var"), ours, theirs):
        if mine is not None:
            assert_close(mine, their.numpy(), image.size, dtype, f"batch_norm: {name}")


def activation(name, torch_op=None, x=(3, 5), dtype=np.float64, **settings):
    """x holds 0, values of both signs and ±30, where exp of the wrong sign overflows in float32 when squared."""
    values = 3 * normal(x)
    values.flat[:3] = 0.0, 30.0, -30.0
    torch_op = torch_op or getattr(torch, name)
    op, op_backward = getattr(F, name), getattr(F, f"{name}_backward")
    agrees(op, op_backward, lambda x: torch_op(x, **settings), [values], settings, length=16, dtype=dtype)


def softmax(name="softmax", x=(4, 5), axis=-1, scale=1.0, dtype=np.float64):
    op, op_backward = getattr(F, name), getattr(F, f"{name}_backward")
    agrees(
        op, op_backward, lambda x: getattr(torch, name)(x, axis), [scale * normal(x)], {"axis": axis},
        length=int(x[axis] * max(1.0, scale) ** 2), dtype=dtype,
    )  # fmt: skip


def cross_entropy(
    logits=(6, 4), weighted=False, ignored=False, probabilities=False, reduction="mean", label_smoothing=0.0, scale=1.0,
    dtype=np.float64,
):  # fmt: skip
    rng = np.random.default_rng(6)
    classes = logits[min(1, len(logits) - 1)]
    positions = (*logits[:1], *logits[2:]) if len(logits) > 1 else ()
    if probabilities:
        target = np.exp(normal(logits, 7)).astype(dtype)
        target /= target.sum(axis=min(1, len(logits) - 1), keepdims=True)
    else:
        target = np.asarray(rng.integers(0, classes, positions))
        if ignored and target.size > 1:
            target.flat[1] = -1
    weight = (rng.random(classes) + 0.5).astype(dtype) if weighted else None
    settings = {"reduction": reduction, "label_smoothing": label_smoothing}
    if not probabilities:
        settings["ignore_index"] = -1
    wide = torch.tensor(target.astype(np.float64) if probabilities else target)
    wide_weight = None if weight is None else torch.tensor(weight.astype(np.float64))
    agrees(
        F.cross_entropy, F.cross_entropy_backward,
        lambda x: T.cross_entropy(x, wide, weight=wide_weight, **settings), [scale * normal(logits)],
        {"weight": weight, **settings}, others=(target,), length=int(np.prod(logits) * max(1.0, scale)), dtype=dtype,
    )  # fmt: skip


def nll_loss(logits=(6, 4), weighted=True, reduction="mean", dtype=np.float64):
    rng = np.random.default_rng(6)
    target = rng.integers(0, logits[1], (logits[0], *logits[2:]))
    weight = (rng.random(logits[1]) + 0.5).astype(dtype) if weighted else None
    wide = None if weight is None else torch.tensor(weight.astype(np.float64))
    agrees(
        F.nll_loss, F.nll_loss_backward,
        lambda x: T.nll_loss(x, torch.tensor(target), weight=wide, reduction=reduction), [normal(logits)],
        {"weight": weight, "reduction": reduction}, others=(target,), length=int(np.prod(logits)), dtype=dtype,
    )  # fmt: skip


def mse_loss(x=(3, 5), reduction="mean", dtype=np.float64):
    target = normal(x, 8).astype(dtype)
    agrees(
        F.mse_loss, F.mse_loss_backward,
        lambda x: T.mse_loss(x, torch.tensor(target.astype(np.float64)), reduction=reduction), [normal(x)],
        {"reduction": reduction}, others=(target,), length=int(np.prod(x)), dtype=dtype,
    )  # fmt: skip


def binary_cross_entropy_with_logits(x=(3, 5), reduction="mean", dtype=np.float64):
    target = np.random.default_rng(8).random(x).astype(dtype)
    wide = torch.tensor(target.astype(np.float64))
    agrees(
        F.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits_backward,
        lambda x: T.binary_cross_entropy_with_logits(x, wide, reduction=reduction), [5 * normal(x)],
        {"reduction": reduction}, others=(target,), length=int(np.prod(x)), dtype=dtype,
    )  # fmt: skip


def pad(x=(2, 3, 5, 4), amounts=(1, 2, 3, 0), mode="constant", value=0.0, dtype=np.float64):
    agrees(
        F.pad, F.pad_backward, lambda x: T.pad(x, amounts, mode, value if mode == "constant" else None), [normal(x)],
        {"mode": mode, "value": value}, others=(amounts,), length=16, dtype=dtype,
    )  # fmt: skip


def interpolate(x=(2, 3, 5, 4), dtype=np.float64, **settings):
    theirs = dict(settings)
    if settings.get("mode", "nearest") == "nearest":
        theirs.pop("align_corners", None)
    agrees(
        F.interpolate, F.interpolate_backward, lambda x: T.interpolate(x, **theirs), [normal(x)], settings,
        length=16, dtype=dtype,
    )  # fmt: skip


def concat(shapes=((2, 1, 3), (2, 3, 3)), axis=1, dtype=np.float64):
    agrees(
        lambda *arrays: F.concat(list(arrays), axis), F.concat_backward, lambda *arrays: torch.cat(arrays, axis),
        [normal(shape, i) for i, shape in enumerate(shapes)], dtype=dtype,
    )  # fmt: skip


def sgd(steps=5, **settings):
    """Parameters after some steps of SGD, against torch.optim.SGD."""
    from minicnn import nn, optim

    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, **settings}
    start, gradients = normal((4, 3)), normal((steps, 4, 3), 9)
    parameter, tensor = nn.Parameter(start.copy()), torch.tensor(start, requires_grad=True)
    ours, theirs = optim.SGD([parameter], **settings), torch.optim.SGD([tensor], **settings)
    for gradient in gradients:
        parameter.grad, tensor.grad = gradient.copy(), torch.tensor(gradient)
        ours.step()
        theirs.step()
    assert_close(parameter.data, tensor.detach().numpy(), steps, what="sgd: parameter")


def adam(steps=5, **settings):
    """Parameters after some steps of Adam, against torch.optim.Adam."""
    from minicnn import nn, optim

    start, gradients = normal((4, 3)), normal((steps, 4, 3), 9)
    parameter, tensor = nn.Parameter(start.copy()), torch.tensor(start, requires_grad=True)
    ours, theirs = optim.Adam([parameter], lr=0.01, **settings), torch.optim.Adam([tensor], lr=0.01, **settings)
    for gradient in gradients:
        parameter.grad, tensor.grad = gradient.copy(), torch.tensor(gradient)
        ours.step()
        theirs.step()
    assert_close(parameter.data, tensor.detach().numpy(), 16 * steps, what="adam: parameter")
