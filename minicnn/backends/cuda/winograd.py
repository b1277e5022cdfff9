"""Winograd's F(4×4, 3×3): 3×3 convolution of stride 1 with a quarter of the products, in float32.

    V[e, c, t] = (Bᵀ d B)[e]      of every tile t of the input              e = 36 entries of a transformed tile
    U[e, f, c] = (G g Gᵀ)[e]      of every filter
    M[e, f, t] = Σ_c U[e, f, c] · V[e, c, t]                                36 matrix products, in one launch
    y          = Aᵀ M A           tile by tile

dx is the same with dy for the input and the filters turned by 180°. dweight is the transpose of the map from g to Y:
dU[e, f, c] = Σ_t (A dY Aᵀ)[e, f, t] · V[e, c, t], then dg = Gᵀ dU G.
"""

import numpy as np

from .arrays import BLOCK, blocks, empty
from .gemm import batched
from .launch import launch
from .winograd_transforms import dweights, dy_tiles, filters, input_tiles, output_tiles

FLOPS_PER_BYTE = 67e12 / 3.35e12  # an H100's FP32 peak by its memory's bandwidth: 20
MOST_BYTES = 1 << 30  # of transformed arrays that "auto" allocates


def fits(weight_shape, stride, dilation, groups, dtype):
    """Whether Winograd serves such a layer."""
    return weight_shape[2:] == (3, 3) and stride == dilation == (1, 1) and groups == 1 and dtype == np.float32


def pays(filters, channels, images, height, width):
    """Whether the products that are saved take longer than the bytes of the transforms, on the roofline of an H100.

    For each filter and channel a tile needs 36 products instead of 9 for each of its outputs that exist. V, M and U are
    written and read, which the implicit product does not do: 2 · 36 · 4 bytes a tile and channel, a tile and filter,
    and a filter and channel. So with many full tiles it takes 54 channels and filters: of ResNet18 all 3×3 layers of
    stride 1 at batch 32 and 128, at batch 1 those up to 128 channels.
    """
    tiles = tiles_of(images, (height, width))[2]
    saved = 2 * filters * channels * (9 * images * height * width - 36 * tiles)
    moved = 2 * 36 * 4 * (channels * tiles + filters * tiles + channels * filters)
    return saved >= FLOPS_PER_BYTE * moved and moved <= 2 * MOST_BYTES


def tiles_of(images, size):
    """(down, across, in all)"""
    down, across = blocks(size[0], 4), blocks(size[1], 4)
    return down, across, images * down * across


def forward(x, weight, bias, padding, out_size, residual=None, relu=False, y=None):
    """y = [relu](weight ∗ x + bias + residual), in a new array or in y."""
    y = empty((x.shape[0], weight.shape[0], *out_size), x.dtype) if y is None else y
    return _convolve(x, weight, y, padding[0], padding[2], False, bias, residual, relu)


def input_grad(dy, weight, x_shape, padding):
    # forward: y[oy] = Σ_i weight[i] · x[oy + i − top], so dx[h] = Σ_i weight[2 − i] · dy[h + i − (2 − top)]
    return _convolve(dy, weight, empty(x_shape, dy.dtype), 2 - padding[0], 2 - padding[2], True)


def weight_grad(dy, x, weight_shape, padding):
    # forward: Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A, so dg = Gᵀ [(A dY Aᵀ) ⊙ (Bᵀ d B)] G, summed over the tiles
    (F, C), grid = weight_shape[:2], tiles_of(len(dy), dy.shape[2:])
    v = _transformed(x, grid, (padding[0], padding[2]))
    m = empty((36, F, grid[2]), dy.dtype)
    launch(dy_tiles, (blocks(grid[2], BLOCK), F), BLOCK, dy.reshape(-1), m.reshape(-1), dy.shape[1:], grid)
    u = batched(m, v.transpose(0, 2, 1))  # (F, T) @ (T, C) -> (F, C)
    dweight = empty(weight_shape, dy.dtype)
    launch(dweights, blocks(F * C, BLOCK), BLOCK, u.reshape(-1), dweight.reshape(-1))
    return dweight


def _convolve(x, weight, y, top, left, turned, bias=None, residual=None, relu=False):
    F, C = weight.shape[:2]
    R, K = (C, F) if turned else (F, C)  # channels out and in
    grid = tiles_of(len(y), y.shape[2:])
    u = empty((36, R, K), x.dtype)
    launch(filters, blocks(F * C, BLOCK), BLOCK, weight.reshape(-1), u.reshape(-1), F, C, int(turned))
    m = batched(u, _transformed(x, grid, (top, left)))  # (R, K) @ (K, T) -> (R, T)
    flat = y.reshape(-1)
    finishing = int(bias is not None), int(residual is not None), int(relu)
    bias, residual = flat if bias is None else bias, flat if residual is None else residual.reshape(-1)
    arrays = m.reshape(-1), flat, bias, residual
    launch(output_tiles, (blocks(grid[2], BLOCK), R), BLOCK, *arrays, y.shape[1:], grid, finishing)
    return y


def _transformed(x, grid, pad):
    """V (36, C, T)"""
    C = x.shape[1]
    v = empty((36, C, grid[2]), x.dtype)
    launch(input_tiles, (blocks(grid[2], BLOCK), C), BLOCK, x.reshape(-1), v.reshape(-1), x.shape[1:], grid, pad)
    return v
