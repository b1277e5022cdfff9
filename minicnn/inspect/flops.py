"""How many floating-point operations the forward of an operation is, from what the door reports of it.

An addition, multiplication, comparison, division or elementary function (exp, tanh, erf) counts one, so a multiply-add
counts two. Each pair (filter tap, output) of a convolution counts, those in the padding too, as is usual: divide by two
for the "MACs" of papers. Copies (flatten, pad, concat) count nothing.
"""

from typing import Any

import numpy as np

# operations an element of the output
_PER_OUTPUT = {
    "relu": 1,  # max
    "leaky_relu": 2,  # comparison, product
    "sigmoid": 3,  # exp, sum, division
    "tanh": 1,
    "silu": 4,  # sigmoid, product
    "gelu": 5,  # x · 0.5 · (1 + erf(x / √2))
    "softmax": 5,  # max, difference, exp, sum, division
    "log_softmax": 5,
    "dropout": 1,
    "add": 1,
}


def forward_flops(operation: str, inputs: dict[str, Any], y: Any) -> int:
    """FLOPs of one forward. inputs: the arguments by name, y: the result. An unknown operation counts 0.

    >>> x, weight = np.zeros((1, 3, 8, 8)), np.zeros((4, 3, 3, 3))
    >>> forward_flops("conv2d", {"x": x, "weight": weight, "bias": None}, np.zeros((1, 4, 6, 6)))
    7776
    """
    if operation == "conv2d" or operation == "linear":
        weight = inputs["weight"]  # y.size dot products as long as a filter, or a row of weight
        return 2 * y.size * _product(weight.shape[1:]) + _bias(inputs, y)
    if operation == "conv_transpose2d":
        weight = inputs["weight"]  # each x goes to every tap of F/groups filters
        return 2 * inputs["x"].size * _product(weight.shape[1:]) + _bias(inputs, y)
    if operation in ("max_pool2d", "avg_pool2d"):
        window = _product(np.broadcast_to(inputs["kernel_size"], 2))
        return y.size * (window if operation == "avg_pool2d" else window - 1)  # sums and a division; comparisons
    if operation == "adaptive_avg_pool2d":
        return inputs["x"].size + y.size
    if operation == "batch_norm":
        statistics = 4 if inputs["training"] else 0  # mean; difference, square, sum
        return y.size * (statistics + (4 if inputs["weight"] is not None else 2))
    if operation == "interpolate":
        return 0 if inputs["mode"] == "nearest" else 7 * y.size  # 4 products, 3 sums
    if operation in ("cross_entropy", "nll_loss", "mse_loss", "binary_cross_entropy_with_logits"):
        first = next(iter(inputs.values()))
        return {"cross_entropy": 5, "nll_loss": 0, "mse_loss": 3}.get(operation, 6) * first.size
    return _PER_OUTPUT.get(operation, 0) * y.size


def forward_bytes(inputs: dict[str, Any], y: Any) -> int:
    """Bytes of every array that one forward reads or writes, each once: what must move at least.

    >>> x = np.zeros((2, 3), np.float32)
    >>> forward_bytes({"arrays": [x, x], "axis": 1}, np.zeros((2, 6), np.float32))
    96
    """
    arrays = [each for value in inputs.values() for each in (value if isinstance(value, (list, tuple)) else [value])]
    return y.nbytes + sum(each.nbytes for each in arrays if isinstance(each, np.ndarray))


def backward_flops(operation: str, forward: int) -> int:
    """About twice the forward where there is a weight (one product for dx, one for dweight), else as much."""
    return 2 * forward if operation in ("conv2d", "conv_transpose2d", "linear", "batch_norm") else forward


def _product(sizes: Any) -> int:
    return int(np.prod([int(size) for size in sizes]))


def _bias(inputs: dict[str, Any], y: Any) -> int:
    return 0 if inputs.get("bias") is None else y.size
