"""The cpu backend: the names of the reference, compiled by Numba, on all cores.

A name is imported when it is first used: inference needs few of them, and none that loads Numba (prepared.py).
"""

from importlib import import_module

import numpy as np

_NAMES = {
    "activation": (
        "gelu_backward", "gelu_forward", "leaky_relu_backward", "leaky_relu_forward", "relu_backward", "relu_forward",
        "sigmoid_backward", "sigmoid_forward", "silu_backward", "silu_forward", "tanh_backward", "tanh_forward",
    ),
    "conv": ("conv2d_forward", "conv2d_input_grad", "conv2d_weight_grad"),
    "elementwise": ("add_forward", "dropout_forward"),
    ".few_numbers": ("loss_scale", "reduce_losses"),  # those of all backends in main memory
    "interpolate": ("blend2d_forward", "blend2d_input_grad"),
    "linear": ("add_channel_bias", "channel_sum", "linear_forward", "linear_input_grad", "linear_weight_grad"),
    "loss": (
        "bce_with_logits_backward", "bce_with_logits_forward", "cross_entropy_backward", "cross_entropy_forward",
        "mse_loss_backward", "mse_loss_forward", "nll_loss_backward", "nll_loss_forward",
    ),
    "norm": (
        "batch_norm_eval_backward", "batch_norm_eval_forward", "batch_norm_move", "batch_norm_relu_backward",
        "batch_norm_relu_forward", "batch_norm_train_backward", "batch_norm_train_forward",
    ),
    "optim": ("adam_step", "rmsprop_step", "sgd_step"),
    "pooling": (
        "adaptive_avg_pool2d_forward", "adaptive_avg_pool2d_input_grad", "avg_pool2d_forward",
        "avg_pool2d_input_grad", "max_pool2d_forward", "max_pool2d_input_grad",
    ),
    "prepared": ("max_pool2d_into", "mean2d_into", "prepare_conv2d", "prepare_linear"),
    "shape": (
        "concat_backward", "concat_forward", "pad_forward", "pad_input_grad", "take2d_forward", "take2d_input_grad",
    ),
    "softmax": ("log_softmax_backward", "log_softmax_forward", "softmax_backward", "softmax_forward"),
}  # fmt: skip
_HOMES = {name: home for home, names in _NAMES.items() for name in names}


_FLOATS = np.dtype(np.float32), np.dtype(np.float64)


def supports(dtype: np.dtype) -> bool:
    """float32 and float64 in native byte order."""
    return dtype in _FLOATS


def __getattr__(name: str):
    """A function of the backend, from the file it lives in (PEP 562); the next look-up finds it here."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
