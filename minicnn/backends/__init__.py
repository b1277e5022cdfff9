"""Backends: HOW an operation is computed. Each is a package that defines the same names.

    reference   NumPy: the specification, to be read and stepped through
    cpu         Numba: the same names, fast
    cuda        numba-cuda over CuPy arrays: the same names again

`functional` has checked every call before a backend sees it: shapes fit, arrays share one floating dtype, sizes are
pairs of ints. Arrays come in any strides, possibly read-only; what a backend returns is new, C-contiguous and of the
dtype of its first array. No backend changes an input, optimiser steps excepted.

A backend is this list of names (pairs are (height, width); `padding` of a convolution is (top, bottom, left, right)):

    supports(dtype) -> bool

    conv2d_forward(x, weight, bias, stride, padding, dilation, groups) -> y
    conv2d_input_grad(dy, weight, x_shape, stride, padding, dilation, groups) -> dx
    conv2d_weight_grad(dy, x, weight_shape, stride, padding, dilation, groups) -> dweight
    channel_sum(dy) -> dbias                              sum over every axis but 1
    prepare_conv2d(weight, bias, stride, padding, dilation, groups, relu) -> run(x, residual, out) -> y   for inference
    prepare_linear(weight, bias, relu) -> run(x, out) -> y                            these four, too: out(shape) gives
    max_pool2d_into(x, kernel, stride, padding, y)        mean2d_into(x, y)           the array to write into
    add_channel_bias(y, bias) -> None                     in place: y[:, c] += bias[c]

    linear_forward(x, weight, bias) -> y                  x (M, K), weight (O, K), y (M, O)
    linear_input_grad(dy, weight) -> dx
    linear_weight_grad(dy, x) -> dweight

    max_pool2d_forward(x, kernel, stride, padding, dilation, out_size) -> (y, indices of any int dtype)
    max_pool2d_input_grad(dy, indices, x_shape, window) -> dx      window: (kernel, stride, padding, dilation)
    avg_pool2d_forward(x, kernel, stride, padding, out_size, count_include_pad, divisor) -> y
    avg_pool2d_input_grad(dy, x_shape, kernel, stride, padding, count_include_pad, divisor) -> dx
    adaptive_avg_pool2d_forward(x, out_size) -> y
    adaptive_avg_pool2d_input_grad(dy, x_shape) -> dx

    batch_norm_train_forward(x, weight, bias, eps) -> (y, mean, var)        x (N, C, L); mean and biased var in float64
    batch_norm_train_backward(dy, x, weight, mean, var, eps) -> (dx, dweight, dbias)
    batch_norm_eval_forward(x, mean, var, weight, bias, eps) -> y
    batch_norm_eval_backward(dy, x, weight, mean, var, eps) -> (dx, dweight, dbias)

    batch_norm_move(running_mean, running_var, mean, var, momentum, correction) -> None         in place
    batch_norm_relu_forward(x, residual, weight, bias, eps) -> (y, mean, var)       y = relu(batch norm [+ residual])
    batch_norm_relu_backward(dy, y, x, weight, mean, var, eps, wanted) -> (dx, dweight, dbias, g)   g: of the residual

    relu_forward(x) -> y                                  relu_backward(dy, x) -> dx
    leaky_relu_forward(x, slope) -> y                     leaky_relu_backward(dy, x, slope) -> dx
    sigmoid_forward, tanh_forward, silu_forward (x)       …_backward(dy, x)
    gelu_forward(x, approximate) -> y                     gelu_backward(dy, x, approximate) -> dx
    softmax_forward(x, axis) -> y                         softmax_backward(dy, x, axis) -> dx
    log_softmax_forward(x, axis) -> y                     log_softmax_backward(dy, x, axis) -> dx
    dropout_forward(x, keep, scale) -> y                  x · keep · scale, keep a bool array; also its own backward
    add_forward(a, b) -> y

    pad_forward(x, amounts, value) -> y                   x (P, H, W), amounts (left, right, top, bottom)
    pad_input_grad(dy, x_shape, amounts) -> dx
    take2d_forward(x, rows, columns) -> y                 y[:, p, q] = x[:, rows[p], columns[q]]: nearest interpolation
    take2d_input_grad(dy, x_shape, rows, columns) -> dx   and every padding but the constant one
    blend2d_forward(x, rows, columns) -> y                bilinear; rows, columns: (low, high, share)
    blend2d_input_grad(dy, x_shape, rows, columns) -> dx
    concat_forward(arrays, axis) -> y
    concat_backward(dy, sizes, axis) -> tuple

    cross_entropy_forward(logits, target, weight, ignore_index, label_smoothing) -> (losses, weights)
    cross_entropy_backward(scale, logits, target, weight, ignore_index, label_smoothing) -> dlogits
    nll_loss_forward(log_probs, target, weight, ignore_index) -> (losses, weights)
    nll_loss_backward(scale, x_shape, target, weight, ignore_index) -> dx
    mse_loss_forward(x, target) -> losses                 mse_loss_backward(scale, x, target) -> dx
    bce_with_logits_forward(x, target) -> losses          bce_with_logits_backward(scale, x, target) -> dx
        logits (N, C, L); target int64 (N, L) or floating (N, C, L); losses, weights, scale (N, L): the unreduced loss,
        what each position adds to the divisor of the mean, and the upstream gradient of each position;
    reduce_losses(losses, weights, mean) -> (loss, divisor)       0-d; weights an array or their sum
    loss_scale(dy, divisor, shape) -> scale               dy 0-d
        of mse and bce x and target have any one shape, and scale that shape too, or () for one number for all

    sgd_step, adam_step, rmsprop_step: see optim.py of the reference; lists of arrays, changed in place
"""

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from .settings import backend_choice

_loaded: dict[str, ModuleType] = {}


def load(name: str) -> ModuleType:
    """The package of a backend, imported on first use."""
    if name not in _loaded:
        _loaded[name] = import_module(f".{name}", __name__)
    return _loaded[name]


_of_numpy: dict[str, ModuleType] = {}  # by the name of the setting


def of_numpy() -> ModuleType:
    """The backend that computes with NumPy arrays now: the setting.

    With the setting "cuda" they are moved to the GPU and back in every call: right, but slow; `Module.to("cuda")` and a
    loader for the GPU move them once.
    """
    name = backend_choice.get()
    found = _of_numpy.get(name)
    if found is None:
        found = _of_numpy[name] = load("cuda.host" if name == "cuda" else name)
    return found


def module_of(array: Any) -> ModuleType | None:
    """The backend that computes with this array: by its type, then by the setting. None: not an array of ours.

    CuPy arrays are the cuda backend's whatever the setting.
    """
    if isinstance(array, np.ndarray):
        return of_numpy()
    if type(array).__module__.partition(".")[0] == "cupy":
        return _loaded.get("cuda") or load("cuda")
    return None


def available_backends() -> tuple[str, ...]:
    """The names of the backends that can be used on this machine."""
    return tuple(name for name in backend_choice.values if why_missing(name) is None)


def why_missing(name: str) -> str | None:
    """None if the backend can be used, else one sentence that says what to install."""
    if name == "cuda":
        return _why_no_cuda()
    if name == "cpu" and find_spec("numba") is None:
        return "the cpu backend needs Numba: pip install numba"
    return None


def simulates_cuda() -> bool:
    """Whether the environment asks for numba-cuda's simulator (set NUMBA_ENABLE_CUDASIM=1 before numba is imported)."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


@cache
def _why_no_cuda() -> str | None:
    """Looks for the packages, then for a GPU: only when somebody asks for it."""
    wanted = ("numba_cuda",) if simulates_cuda() else ("numba_cuda", "cupy")
    if any(find_spec(package) is None for package in wanted):
        return (
            "the cuda backend needs numba-cuda and CuPy: pip install 'minicnn[cuda13]', "
            "or 'minicnn[cuda12]' where the NVIDIA driver is older than 580"
        )
    if simulates_cuda():
        return None
    try:
        count = import_module("cupy").cuda.runtime.getDeviceCount()
    except Exception as problem:  # CuPy has its own kinds, and may not even load
        return f"the cuda backend needs an NVIDIA GPU and its driver: {' '.join(str(problem).split())[:200]}"
    return None if count else "the cuda backend needs an NVIDIA GPU, and this machine has none"


def set_backend(name: str) -> None:
    """Compute with this backend from now on: "reference" (NumPy), "cpu" (Numba, the default) or "cuda".

    `ValueError` for another name, `RuntimeError` with what to install for one that cannot be used here.
    """
    backend_choice.set(usable(name))


def get_backend() -> str:
    """The name of the backend that computes now."""
    return backend_choice.get()


def backend(name: str):
    """A context manager: `with minicnn.backend("reference"): …`."""
    return backend_choice.override(usable(name))


def usable(name: str) -> str:
    """The name of a backend that can be used here; otherwise the errors of `set_backend`."""
    reason = why_missing(backend_choice.checked(name))
    if reason:
        raise RuntimeError(reason)
    return name
