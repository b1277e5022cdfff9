"""The transforms of Winograd's F(4×4, 3×3), a thread a tile or a filter. See ../winograd_points.py for the matrices.

What the points +p and −p share is computed once: even powers agree, odd ones change sign. A transform of a square is
that of its rows, then of its columns; the 36 numbers stay in registers. Transformed arrays have the entry of the tile
first, so that neighbouring threads, which have neighbouring tiles (channels, for filters), write side by side.
"""

import numba
import numpy as np
from numba import cuda

from ..winograd_points import AT, BT, G
from .launch import device, kernel
from .planes import divide
from .vector import store4

NUMBER = numba.float32
_f = np.float32
A1, A2, A3 = _f(AT[1, 1]), _f(AT[2, 1]), _f(AT[3, 1])  # the powers of the point a
B1, B2, B3 = _f(AT[1, 3]), _f(AT[2, 3]), _f(AT[3, 3])  # those of b
PRODUCT, SUM = _f(BT[0, 0]), _f(BT[0, 2])  # a²b² and −(a² + b²)
G0, GA, GB = _f(G[0, 0]), _f(G[1, 0]), _f(G[3, 0])  # what the rows of G are scaled by


@device
def input_line(d0, d1, d2, d3, d4, d5):
    """Bᵀ d"""
    even_a, odd_a = d4 - B2 * d2, A1 * (d3 - B2 * d1)
    even_b, odd_b = d4 - A2 * d2, B1 * (d3 - A2 * d1)
    return (
        PRODUCT * d0 + SUM * d2 + d4, even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b,
        PRODUCT * d1 + SUM * d3 + d5,
    )  # fmt: skip


@device
def filter_line(g0, g1, g2):
    """G g"""
    even_a, odd_a, even_b, odd_b = GA * (g0 + A2 * g2), GA * A1 * g1, GB * (g0 + B2 * g2), GB * B1 * g1
    return G0 * g0, even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, g2


@device
def output_line(m0, m1, m2, m3, m4, m5):
    """Aᵀ m"""
    sum_a, difference_a, sum_b, difference_b = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return (
        m0 + sum_a + sum_b, A1 * difference_a + B1 * difference_b, A2 * sum_a + B2 * sum_b,
        A3 * difference_a + B3 * difference_b + m5,
    )  # fmt: skip


@device
def dy_line(y0, y1, y2, y3):
    """A y"""
    even_a, odd_a, even_b, odd_b = y0 + A2 * y2, A1 * y1 + A3 * y3, y0 + B2 * y2, B1 * y1 + B3 * y3
    return y0, even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, y3


@device
def dweight_line(m0, m1, m2, m3, m4, m5):
    """Gᵀ m"""
    sum_a, difference_a, sum_b, difference_b = GA * (m1 + m2), GA * (m1 - m2), GB * (m3 + m4), GB * (m3 - m4)
    return G0 * m0 + sum_a + sum_b, A1 * difference_a + B1 * difference_b, A2 * sum_a + B2 * sum_b + m5


@device
def tile_of(tile, grid):
    """(image, first row, first column) of a tile of outputs; grid: (tiles down, across, of all images)."""
    image, place = divide(tile, grid[0] * grid[1])
    row, column = divide(place, grid[1])
    return image, 4 * row, 4 * column


@kernel
def input_tiles(x, v, image, grid, pad):
    """v[e, c, t] = (Bᵀ d B)[e]; image: (C, H, W). Grid: (tiles; channels)."""
    C, H, W = image
    tile, c = cuda.grid(1), cuda.blockIdx.y
    if tile < grid[2]:
        n, row, column = tile_of(tile, grid)
        row, column, plane = row - pad[0], column - pad[1], (n * C + c) * H * W
        d = cuda.local.array(36, NUMBER)
        for i in range(6):
            for j in range(6):
                inside = 0 <= row + i < H and 0 <= column + j < W
                d[6 * i + j] = x[plane + (row + i) * W + column + j] if inside else NUMBER(0)
        for k in range(0, 36, 6):
            d[k], d[k + 1], d[k + 2], d[k + 3], d[k + 4], d[k + 5] = input_line(
                d[k], d[k + 1], d[k + 2], d[k + 3], d[k + 4], d[k + 5]
            )
        for k in range(6):
            d[k], d[k + 6], d[k + 12], d[k + 18], d[k + 24], d[k + 30] = input_line(
                d[k], d[k + 6], d[k + 12], d[k + 18], d[k + 24], d[k + 30]
            )
        for e in range(36):
            v[(e * C + c) * grid[2] + tile] = d[e]


@kernel
def filters(weight, u, F, C, turned):
    """u[e, f, c] = (G g Gᵀ)[e]; turned: u[e, c, f] of the filters turned by 180°, for dx. A thread a filter."""
    at = cuda.grid(1)
    if at < F * C:
        f, c = (at % F, at // F) if turned else (at // C, at % C)
        source = (f * C + c) * 9
        half, g = cuda.local.array(18, NUMBER), cuda.local.array(36, NUMBER)
        for i in range(3):
            k = source + (8 - 3 * i if turned else 3 * i)
            step = -1 if turned else 1
            (
                half[6 * i], half[6 * i + 1], half[6 * i + 2], half[6 * i + 3], half[6 * i + 4], half[6 * i + 5],
            ) = filter_line(weight[k], weight[k + step], weight[k + 2 * step])  # fmt: skip
        for k in range(6):
            g[k], g[k + 6], g[k + 12], g[k + 18], g[k + 24], g[k + 30] = filter_line(half[k], half[k + 6], half[k + 12])
        for e in range(36):
            u[e * F * C + at] = g[e]


@kernel
def output_tiles(m, y, bias, residual, image, grid, finishing):
    """y = [relu](Aᵀ M A + bias + residual); image: (R, H, W) of y. Grid: (tiles; rows of M)."""
    R, H, W = image
    with_bias, with_residual, relu = finishing
    tile, r = cuda.grid(1), cuda.blockIdx.y
    if tile < grid[2]:
        n, row, column = tile_of(tile, grid)
        s, half, out = cuda.local.array(36, NUMBER), cuda.local.array(24, NUMBER), cuda.local.array(16, NUMBER)
        for e in range(36):
            s[e] = m[(e * R + r) * grid[2] + tile]
        for k in range(6):
            half[k], half[k + 6], half[k + 12], half[k + 18] = output_line(
                s[k], s[k + 6], s[k + 12], s[k + 18], s[k + 24], s[k + 30]
            )
        for i in range(4):
            k = 6 * i
            out[4 * i], out[4 * i + 1], out[4 * i + 2], out[4 * i + 3] = output_line(
                half[k], half[k + 1], half[k + 2], half[k + 3], half[k + 4], half[k + 5]
            )
        more = bias[r] if with_bias else NUMBER(0)
        for i in range(4):
            at = ((n * R + r) * H + row + i) * W + column
            if row + i < H:
                for j in range(4):
                    value = out[4 * i + j] + more if with_bias else out[4 * i + j]
                    if with_residual and column + j < W:
                        value += residual[at + j]
                    out[4 * i + j] = NUMBER(0) if relu and value <= 0 else value
                if W % 4 == 0:
                    store4(y, at, out[4 * i], out[4 * i + 1], out[4 * i + 2], out[4 * i + 3])
                else:
                    for j in range(4):
                        if column + j < W:
                            y[at + j] = out[4 * i + j]


@kernel
def dy_tiles(dy, m, image, grid):
    """m[e, f, t] = (A dY Aᵀ)[e]; image: (F, H, W) of dy. Grid: (tiles; filters)."""
    F, H, W = image
    tile, f = cuda.grid(1), cuda.blockIdx.y
    if tile < grid[2]:
        n, row, column = tile_of(tile, grid)
        plane = (n * F + f) * H * W
        half, s = cuda.local.array(24, NUMBER), cuda.local.array(36, NUMBER)
        d = cuda.local.array(16, NUMBER)
        for i in range(4):
            for j in range(4):
                inside = row + i < H and column + j < W
                d[4 * i + j] = dy[plane + (row + i) * W + column + j] if inside else NUMBER(0)
        for i in range(4):
            k = 6 * i
            half[k], half[k + 1], half[k + 2], half[k + 3], half[k + 4], half[k + 5] = dy_line(
                d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]
            )
        for k in range(6):
            s[k], s[k + 6], s[k + 12], s[k + 18], s[k + 24], s[k + 30] = dy_line(
                half[k], half[k + 6], half[k + 12], half[k + 18]
            )
        for e in range(36):
            m[(e * F + f) * grid[2] + tile] = s[e]


@kernel
def dweights(u, dweight):
    """dweight[f, c] = Gᵀ u[:, f, c] G, a thread a filter."""
    at, filters = cuda.grid(1), dweight.size // 9
    if at < filters:
        s, half = cuda.local.array(36, NUMBER), cuda.local.array(18, NUMBER)
        for e in range(36):
            s[e] = u[e * filters + at]
        for k in range(6):
            half[k], half[k + 6], half[k + 12] = dweight_line(
                s[k], s[k + 6], s[k + 12], s[k + 18], s[k + 24], s[k + 30]
            )
        for i in range(3):
            k, to = 6 * i, 9 * at + 3 * i
            dweight[to], dweight[to + 1], dweight[to + 2] = dweight_line(
                half[k], half[k + 1], half[k + 2], half[k + 3], half[k + 4], half[k + 5]
            )
