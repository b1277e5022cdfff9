"""A convolution prepared for inference: its weights are fixed, and what follows it is done as it stores."""

from . import implicit
from .arrays import canonical
from .conv import DIRECT, choose, conv2d_forward, out_size


def prepare_conv2d(weight, bias, stride, padding, dilation, groups, relu):
    """run(x, residual, out) -> [relu](weight ∗ x + bias [+ residual]); out(shape) gives the array to write into."""
    weight, bias = canonical(weight), None if bias is None else canonical(bias)
    settings = stride, padding, dilation, groups

    def run(x, residual, out):
        x, residual = canonical(x), None if residual is None else canonical(residual)
        size = out_size(x.shape, weight.shape, stride, padding, dilation)
        y = out((x.shape[0], weight.shape[0], *size))
        if (
            choose(weight.shape, stride, groups) == DIRECT
            or weight.size * x.size * y.size == 0
            or canonical(y) is not y
        ):
            y[...] = conv2d_forward(x, weight, bias, *settings)
            if residual is not None:
                y += residual
            if relu:
                y[y <= 0] = 0
            return y
        return implicit.forward(x, weight, bias, *settings, size, residual, relu, y)

    run.algorithm = lambda shape: choose(weight.shape, stride, groups)
    return run
