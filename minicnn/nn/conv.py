"""Convolution layers."""

import numpy as np

from .. import functional as F
from ..functional import check
from ..functional.check import Size
from ..functional.door import short
from .linear import data, learn, learning, reset
from .module import Module
from .parameter import Parameter

Array = np.ndarray
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class Conv2d(Module):
    """y = conv2d(x, weight) + bias; x (N, in_channels, H, W) or (in_channels, H, W).

    Sizes are ints or (height, width). padding: also "valid" (none) or "same" (the size stays; stride 1 only), filled
    as padding_mode says: "zeros", "reflect", "replicate" or "circular". weight: (out_channels, in_channels / groups,
    kh, kw); weight and bias begin uniform in ±1/√fan_in, fan_in = in_channels / groups · kh · kw, as in torch.

    >>> import numpy as np
    >>> Conv2d(3, 8, 3, stride=2, padding=1)(np.zeros((1, 3, 8, 8), np.float32)).shape
    (1, 8, 4, 4)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ):
        super().__init__()
        name = "Conv2d"
        self.in_channels, self.out_channels, self.groups = channels(name, in_channels, out_channels, groups)
        self.kernel_size = check.pair(name, "kernel_size", kernel_size, 1)
        self.stride = check.pair(name, "stride", stride, 1)
        self.dilation = check.pair(name, "dilation", dilation, 1)
        self.padding: tuple[int, int] | str
        if isinstance(padding, str):
            self.padding = check.choice(name, "padding", padding, ("valid", "same"))
        else:
            self.padding = check.pair(name, "padding", padding, 0)
        if self.padding == "same" and self.stride != (1, 1):
            raise ValueError(f"Conv2d: padding 'same' needs stride 1, got stride {short(self.stride)}")
        self.padding_mode = check.choice(name, "padding_mode", padding_mode, PADDING_MODES)
        bias = check.flag(name, "bias", bias)
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        check.allocatable(name, "weight", shape)
        self.weight = Parameter(np.empty(shape, np.float32))
        self.register_parameter("bias", Parameter(np.empty(self.out_channels, np.float32)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        reset(self.weight, self.bias)

    def forward(self, x: Array) -> Array:
        padding: Size | str = self.padding
        pad_ctx = None
        if self.padding_mode != "zeros":
            x, pad_ctx = F.pad(x, self._margins(), self.padding_mode)
            padding = 0
        y, ctx = F.conv2d(x, self.weight.data, data(self.bias), self.stride, padding, self.dilation, self.groups)
        self.keep((ctx, pad_ctx))
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        # forward: y = conv2d(pad(x), weight, bias)
        with self.kept() as (ctx, pad_ctx):
            dx, dweight, dbias = F.conv2d_backward(dy, ctx, needs=(need_dx, *learning(self.weight, self.bias)))
            if dx is not None and pad_ctx is not None:
                dx = F.pad_backward(dx, pad_ctx)
            learn(self.weight, dweight)
            learn(self.bias, dbias)
            return dx

    def _margins(self) -> tuple[int, int, int, int]:
        """(left, right, top, bottom) of a padding that is not zeros."""
        if self.padding == "valid":
            return 0, 0, 0, 0
        if isinstance(self.padding, tuple):
            height, width = self.padding
            return width, width, height, height
        height, width = (d * (k - 1) for d, k in zip(self.dilation, self.kernel_size))
        return width // 2, width - width // 2, height // 2, height - height // 2

    def extra_repr(self) -> str:
        return described(self, {"padding": (0, 0), "dilation": (1, 1), "groups": 1})


class ConvTranspose2d(Module):
    """The adjoint of Conv2d: y is what Conv2d's backward would return as dx for dy = x, plus bias.

    oh = (H − 1)·stride − 2·padding + dilation·(kh − 1) + output_padding + 1. weight: (in_channels,
    out_channels / groups, kh, kw), initialised as torch does. padding_mode: "zeros" only.

    >>> import numpy as np
    >>> ConvTranspose2d(3, 8, 2, stride=2)(np.zeros((1, 3, 8, 8), np.float32)).shape
    (1, 8, 16, 16)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
    ):
        super().__init__()
        name = "ConvTranspose2d"
        self.in_channels, self.out_channels, self.groups = channels(name, in_channels, out_channels, groups)
        self.kernel_size = check.pair(name, "kernel_size", kernel_size, 1)
        self.stride = check.pair(name, "stride", stride, 1)
        self.padding = check.pair(name, "padding", padding, 0)
        self.output_padding = check.pair(name, "output_padding", output_padding, 0)
        self.dilation = check.pair(name, "dilation", dilation, 1)
        self.padding_mode = check.choice(name, "padding_mode", padding_mode, ("zeros",))
        bias = check.flag(name, "bias", bias)
        shape = (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        check.allocatable(name, "weight", shape)
        self.weight = Parameter(np.empty(shape, np.float32))
        self.register_parameter("bias", Parameter(np.empty(self.out_channels, np.float32)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        reset(self.weight, self.bias)

    def forward(self, x: Array) -> Array:
        y, ctx = F.conv_transpose2d(
            x, self.weight.data, data(self.bias), self.stride, self.padding, self.output_padding, self.groups,
            self.dilation,
        )  # fmt: skip
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        # forward: y = conv_transpose2d(x, weight, bias)
        with self.kept() as ctx:
            needs = (need_dx, *learning(self.weight, self.bias))
            dx, dweight, dbias = F.conv_transpose2d_backward(dy, ctx, needs=needs)
            learn(self.weight, dweight)
            learn(self.bias, dbias)
            return dx

    def extra_repr(self) -> str:
        return described(self, {"padding": (0, 0), "dilation": (1, 1), "output_padding": (0, 0), "groups": 1})


def channels(name: str, in_channels: int, out_channels: int, groups: int) -> tuple[int, int, int]:
    """The three as ints; groups must divide both kinds of channels."""
    in_channels = check.integer(name, "in_channels", in_channels, 1)
    out_channels = check.integer(name, "out_channels", out_channels, 1)
    groups = check.integer(name, "groups", groups, 1)
    for label, count in (("in_channels", in_channels), ("out_channels", out_channels)):
        if count % groups:
            raise ValueError(f"{name}: {label} must be a multiple of groups, got {label} {count} and groups {groups}")
    return in_channels, out_channels, groups


def described(layer: Module, defaults: dict) -> str:
    """The settings of a convolution as torch prints them: those that differ from their defaults."""
    text = f"{layer.in_channels}, {layer.out_channels}, kernel_size={layer.kernel_size}, stride={layer.stride}"
    for name, default in defaults.items():
        if getattr(layer, name) != default:
            text += f", {name}={getattr(layer, name)}"
    if layer.bias is None:
        text += ", bias=False"
    return text if layer.padding_mode == "zeros" else f"{text}, padding_mode={layer.padding_mode}"
