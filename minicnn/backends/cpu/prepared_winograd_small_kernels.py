"""Winograd's F(2×2, 3×3), the smallest one (Lavin & Gray 2015, arXiv 1509.09308, section 4.1):

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A        d 4×4 inputs, g 3×3 weights, Y 2×2 outputs

    Bᵀ = 1  0 −1  0      G = 1    0    0      Aᵀ = 1  1  1  0
         0  1  1  0          1/2  1/2  1/2         0  1 −1 −1
         0 −1  1  0          1/2 −1/2  1/2
         0  1  0 −1          0    0    1

U[e, panel, c, i], V[e, c, t] and M[e, f, t] are as in prepared_winograd_kernels.py. The transforms are plain loops: a
layer spends a twentieth of its time in them.
"""

import numba
import numpy as np
from numba import prange

from .cache import kernel
from .simd import MR, NR32, tile_product
from .winograd_plan import CHANNELS, ROWS


@kernel(parallel=True, alone=True)
def transform_filters(weight, sizes, u):
    """u[e, panel, c, i] = (G g Gᵀ)[e] of filter panel·MR + i, zeros past the last filter."""
    F, C = sizes
    panels = (F + MR - 1) // MR
    for index in prange(panels):
        panel = np.int64(index)
        half = np.empty(12, weight.dtype)
        for c in range(C):
            for i in range(MR):
                f = panel * MR + i
                to = (panel * C + c) * MR + i
                g = weight[(min(f, F - 1) * C + c) * 9 : (min(f, F - 1) * C + c) * 9 + 9]
                for j in range(3):
                    _filter(g[j], g[3 + j], g[6 + j], half, j, 3)
                for row in range(4):
                    line = u[to + 4 * row * panels * C * MR :]
                    _filter(half[3 * row], half[3 * row + 1], half[3 * row + 2], line, 0, panels * C * MR)
                if f >= F:
                    for e in range(16):
                        u[to + e * panels * C * MR] = 0


@kernel
def _filter(g0, g1, g2, out, at, step):
    """out = G g"""
    half = out.dtype.type(0.5)
    outer = g0 + g2
    out[at] = g0
    out[at + step] = half * (outer + g1)
    out[at + 2 * step] = half * (outer - g1)
    out[at + 3 * step] = g2


@kernel(parallel=True, alone=True)
def run(x, u, bias, residual, residual_too, relu, y, sizes, image, out_image, pad, grid, plan, work):
    """Transforms some channels a task, then multiplies all tiles with ROWS filters a task."""
    C, F = sizes[1:]
    for phase in range(2):
        tasks = ((C + CHANNELS - 1) // CHANNELS, (F + ROWS - 1) // ROWS)[phase]
        for index in prange(tasks):
            task = np.int64(index)
            if phase == 0:
                for c in range(task * CHANNELS, min(C, task * CHANNELS + CHANNELS)):
                    _input(x, c, sizes, image, pad, grid, plan, work)
            else:
                m, count = plan[2] + numba.get_thread_id() * plan[3], min(ROWS, F - task * ROWS)
                _multiply(u, task * ROWS, count, sizes, grid, plan, work, m)
                for r in range(count):
                    _output(
                        work, m + r * plan[0], bias[task * ROWS + r], residual, residual_too, relu, y, task * ROWS + r,
                        sizes, out_image, grid, plan,
                    )  # fmt: skip


@kernel
def _input(x, c, sizes, image, pad, grid, plan, work):
    """V of all tiles of one channel, zero outside of the image."""
    (N, C, _), (H, W), (row, v_step, _, _) = sizes, image, plan
    d, half = np.empty(16, x.dtype), np.empty(16, x.dtype)
    t = c * row
    for n in range(N):
        plane = x[(n * C + c) * H * W : (n * C + c + 1) * H * W]
        for th in range(grid[0]):
            for tw in range(grid[1]):
                for i in range(4):
                    h = 2 * th - pad[0] + i
                    for j in range(4):
                        w = 2 * tw - pad[1] + j
                        d[4 * i + j] = plane[h * W + w] if 0 <= h < H and 0 <= w < W else 0
                for j in range(4):
                    _data(d[j], d[4 + j], d[8 + j], d[12 + j], half, j, 4)
                for i in range(4):
                    _data(half[4 * i], half[4 * i + 1], half[4 * i + 2], half[4 * i + 3], work, t + 4 * i * v_step,
                          v_step)  # fmt: skip
                t += 1


@kernel
def _data(d0, d1, d2, d3, out, at, step):
    """out = Bᵀ d"""
    out[at] = d0 - d2
    out[at + step] = d1 + d2
    out[at + 2 * step] = d2 - d1
    out[at + 3 * step] = d1 - d3


@kernel
def _multiply(u, first, count, sizes, grid, plan, work, m):
    """M (16, count, tiles) = U · V"""
    _, C, F = sizes
    row, v_step, _, _ = plan
    panels = (F + MR - 1) // MR
    for e in range(16):
        for r in range(0, count, MR):
            at = (e * panels + (first + r) // MR) * C * MR
            for j in range(0, grid[2], NR32):  # (r, C) @ (C, t) -> (r, t)
                tile_product(
                    C, u, at, 1, MR, work, e * v_step + j, row, work, m + (e * ROWS + r) * row + j, row, MR,
                    min(NR32, grid[2] - j), False,
                )  # fmt: skip


@kernel
def _output(work, m, bias, residual, residual_too, relu, y, f, sizes, out_image, grid, plan):
    """y = [relu](Aᵀ M A + bias [+ residual]) of all tiles of one filter."""
    (N, _, F), (oh, ow), step = sizes, out_image, ROWS * plan[0]
    half, four, zero = np.empty(8, y.dtype), np.empty(4, y.dtype), y.dtype.type(0)
    for n in range(N):
        at = (n * F + f) * oh * ow
        for th in range(grid[0]):
            for tw in range(grid[1]):
                for j in range(4):
                    places = m + j * step
                    _result(work[places], work[places + 4 * step], work[places + 8 * step], work[places + 12 * step],
                            half, j, 4)  # fmt: skip
                for i in range(2):
                    _result(half[4 * i], half[4 * i + 1], half[4 * i + 2], half[4 * i + 3], four, 2 * i, 1)
                for i in range(min(2, oh - 2 * th)):
                    for j in range(min(2, ow - 2 * tw)):
                        to = at + (2 * th + i) * ow + 2 * tw + j
                        value = four[2 * i + j] + bias
                        if residual_too:
                            value += residual[to]
                        y[to] = zero if relu and value <= zero else value
                m += 1


@kernel
def _result(m0, m1, m2, m3, out, at, step):
    """out = Aᵀ m"""
    out[at] = m0 + m1 + m2
    out[at + step] = m1 - m2 - m3
