"""Loops over flat arrays: the kernels y = f(a) and y = f(a, b), made from a function of single numbers.

A thread takes four elements, which it loads and stores at once: enough bytes are under way to keep the memory busy.
`setting` is one number of the function, a NumPy scalar of the arrays' dtype (0 where it has none).
"""

from numba import cuda

from .arrays import BLOCK, VECTOR, blocks, canonical, xp
from .launch import device, kernel, launch
from .vector import load4, store4


def unary(function):
    """The kernel y[i] = function(a[i], setting)."""
    f = device(function)

    @kernel
    def map1(a, y, setting):
        start = VECTOR * cuda.grid(1)
        if start + VECTOR <= y.size:
            a0, a1, a2, a3 = load4(a, start)
            store4(y, start, f(a0, setting), f(a1, setting), f(a2, setting), f(a3, setting))
        else:
            for i in range(start, y.size):
                y[i] = f(a[i], setting)

    return map1


def binary(function):
    """The kernel y[i] = function(a[i], b[i], setting). y may be a or b."""
    f = device(function)

    @kernel
    def map2(a, b, y, setting):
        start = VECTOR * cuda.grid(1)
        if start + VECTOR <= y.size:
            a0, a1, a2, a3 = load4(a, start)
            b0, b1, b2, b3 = load4(b, start)
            store4(y, start, f(a0, b0, setting), f(a1, b1, setting), f(a2, b2, setting), f(a3, b3, setting))
        else:
            for i in range(start, y.size):
                y[i] = f(a[i], b[i], setting)

    return map2


def apply(map_kernel, *arrays, setting=0.0):
    """A new array of map_kernel over arrays of one shape; its dtype is that of the first."""
    arrays = [canonical(array) for array in arrays]
    first = arrays[0]
    y = xp.empty(first.shape, first.dtype)
    flat = [array.reshape(-1) for array in (*arrays, y)]
    launch(map_kernel, blocks(y.size, VECTOR * BLOCK), BLOCK, *flat, first.dtype.type(setting))
    return y
