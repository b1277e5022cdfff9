"""PyTorch's gradients of the operations of `functional`, where PyTorch is installed: the independent third opinion."""

import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np

# operations whose arguments stand in the same order under the same name in torch.nn.functional
_SAME_ORDER = (
    "conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "linear", "batch_norm", "relu",
    "leaky_relu", "silu",
)  # fmt: skip
_IN_TORCH = ("sigmoid", "tanh", "softmax", "log_softmax", "flatten", "add")
_LOSSES = ("cross_entropy", "nll_loss", "mse_loss", "binary_cross_entropy_with_logits")


def available(operation: str) -> bool:
    """Whether torch is installed and has this operation. Dropout draws a mask of its own there: not comparable."""
    known = (*_SAME_ORDER, *_IN_TORCH, *_LOSSES, "gelu", "pad", "concat", "interpolate")
    return operation in known and find_spec("torch") is not None


def gradients(operation: str, arguments: dict[str, Any], leaves: list[np.ndarray], dy: Any) -> list[np.ndarray]:
    """torch's gradient of Σ dy·y for each array of `leaves`, which stand (themselves) among the arguments."""
    import torch

    tensors = {id(leaf): torch.tensor(leaf, requires_grad=True) for leaf in leaves}

    def convert(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            kept = tensors.get(id(value))
            return torch.tensor(value.astype(np.int64) if value.dtype.kind in "iu" else value) if kept is None else kept
        return [convert(item) for item in value] if isinstance(value, (list, tuple)) else value

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "same" with an even kernel copies the image, it says
        y = _call(torch, operation, {name: convert(value) for name, value in arguments.items()})
    y.backward(torch.tensor(np.asarray(dy)))
    return [
        np.zeros_like(leaf) if tensors[id(leaf)].grad is None else tensors[id(leaf)].grad.numpy() for leaf in leaves
    ]


def _call(torch: Any, operation: str, arguments: dict[str, Any]) -> Any:
    function = torch.nn.functional
    if operation in _SAME_ORDER:
        return getattr(function, operation)(*arguments.values())
    if operation in _IN_TORCH:
        return getattr(torch, operation)(*arguments.values())
    if operation in _LOSSES:
        y, target, *_ = arguments.values()
        return getattr(function, operation)(y, target, **dict(list(arguments.items())[2:]))
    if operation == "gelu":
        return function.gelu(arguments["x"], approximate=arguments["approximate"])
    if operation == "concat":
        arrays, axis = arguments.values()
        return torch.cat(arrays, axis)
    if operation == "pad":
        x, amounts, mode, value = arguments.values()
        return function.pad(x, tuple(amounts), mode=mode, value=value if mode == "constant" else None)
    x, size, scale_factor, mode, align_corners = arguments.values()
    corners = None if mode == "nearest" else align_corners
    return function.interpolate(x, size, scale_factor, mode, corners)
