"""Columns of a convolution, made block by block: the same matrix as the reference's im2col, never stored whole."""

from .cache import kernel
from .moves import copy_run


@kernel
def pack_columns(x, source, channel, taps_y, taps_x, grid, k_first, k_count, q_first, q_count, out, out_at, out_row):
    """out (k_count, out_row)[k, q] = x[n, channel + c, oy·stride_h + taps_y[t], ox·stride_w + taps_x[t]] or 0 outside.

    x flat, of shape `source` = (C, H, W) an image; grid = (oh, ow, stride_h, stride_w). Rows k = (c, t) from k_first,
    columns q = (n, oy, ox) from q_first. A run of columns that lie in one row of the output is copied at once,
    in whole vectors: out_row has room for one more than the columns.
    """
    C, H, W = source
    oh, ow, stride_h, stride_w = grid
    n_first, rest = q_first // (oh * ow), q_first % (oh * ow)
    oy_first, ox_first = rest // ow, rest % ow
    for k in range(k_count):
        c, t = (k_first + k) // taps_y.size, (k_first + k) % taps_y.size
        tap_y, tap_x = taps_y[t], taps_x[t]
        # outputs first ≤ ox < last read inside of the row
        first = 0 if tap_x >= 0 else min(ow, (stride_w - 1 - tap_x) // stride_w)
        last = max(first, min(ow, (W - tap_x + stride_w - 1) // stride_w)) if tap_x < W else first
        n, oy, ox = n_first, oy_first, ox_first
        to, end = out_at + k * out_row, out_at + k * out_row + q_count
        while to < end:
            run = min(ow - ox, end - to)
            y = oy * stride_h + tap_y
            inside = 0 <= y < H
            line = ((n * C + channel + c) * H + y) * W + ox * stride_w + tap_x
            copy_run(out, to, run, x, line, stride_w, first - ox if inside else 0, last - ox if inside else 0)
            to += run
            ox, oy = 0, oy + 1
            if oy == oh:
                n, oy = n + 1, 0
