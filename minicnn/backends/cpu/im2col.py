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
    c, t = k_first // taps_y.size, k_first % taps_y.size
    for k in range(k_count):
        tap_y, tap_x = taps_y[t], taps_x[t]
        # outputs first ≤ ox < last read inside of the row
        first, last = min(ow, max(0, _ceil_div(-tap_x, stride_w))), max(0, min(ow, _ceil_div(W - tap_x, stride_w)))
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
        t += 1
        if t == taps_y.size:
            t, c = 0, c + 1


@kernel
def _ceil_div(a, b):
    """a / b rounded up; the common strides without a division."""
    return a if b == 1 else (a + 1) >> 1 if b == 2 else -(-a // b)
