"""The same columns, multiplied by NumPy's BLAS: the product now takes less time than writing and reading the
columns."""

from conv_2_im2col_numpy import columns


def convolve(x, weight):
    N, _, H, W = x.shape
    y = weight.reshape(len(weight), -1) @ columns(x)  # (F, K) @ (N, K, P) -> (N, F, P)
    return y.reshape(N, len(weight), H - 2, W - 2)
