"""Which algorithm computes a convolution."""

import os

import numpy as np

from ..settings import get_conv_algorithm

DIRECT, IM2COL, WINOGRAD = "direct", "im2col", "winograd"
SMALL = "winograd 2×2"  # of few tiles; for inference alone, where the filters are transformed once
# Channels from which Winograd pays: for y and dx, and for dweight (2 cores, AVX2: the addressed product takes 0.9 to
# 1.1 times as long with 32 channels and 64 filters at 14×14, 1.2 with 64 and 64, 1.6 with 128 and 128 at 28×28).
CHANNELS, CHANNELS_GRAD = 16, 64
COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"


def winograd_fits(weight_shape, stride, dilation, groups, dtype) -> bool:
    """Whether Winograd serves such a layer. Its transforms are vector code: there is nothing without the compiler."""
    fits = weight_shape[2:] == (3, 3) and stride == dilation == (1, 1) and groups == 1 and dtype == np.float32
    return fits and COMPILED


def choose(weight_shape, stride, dilation, groups, dtype, tiles, least=CHANNELS) -> str:
    """The algorithm for a layer: a rule on shapes and dtype alone, never a timing, so that results repeat.

    "winograd" serves 3×3, stride 1, dilation 1, one group, float32; asked for elsewhere, im2col takes its place.
    "auto" takes it where it pays: from `least` channels and filters on (below, the transforms cost more than they
    save), and from 12 tiles of 4×4 outputs on (below, transforming the filters does). Depthwise layers have no sums
    over channels that a product could hold in registers: the plain loops take them.
    """
    asked = get_conv_algorithm()
    filters, channels = weight_shape[:2]
    if winograd_fits(weight_shape, stride, dilation, groups, dtype):
        pays = min(filters, channels) >= least and tiles >= 12
        if asked == WINOGRAD or (asked == "auto" and pays):
            return WINOGRAD
    if asked == DIRECT or (asked == "auto" and groups > 1 and channels == 1):
        return DIRECT
    return IM2COL
