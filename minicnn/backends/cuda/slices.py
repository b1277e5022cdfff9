"""Long sums in slices: where a product has few blocks, each sums a part of k, and a second kernel adds the parts.

How many slices there are follows from the shape alone, and the parts are added in order, so results repeat to the bit.
"""

from numba import cuda

from .arrays import BLOCK, blocks, empty
from .launch import SIMULATED, kernel, launch

# Threads that the 132 multiprocessors of a Hopper GPU hold at 128 registers each. A constant, and not the number of
# the GPU at hand: results are the same on all.
THREADS = 64 if SIMULATED else 132 * 512
STORE = 5  # a slice more costs about as much as this many steps: its part is written and read once more
SHORTEST = 2 if SIMULATED else 8  # steps of a slice
MOST = 128


def slices_for(tiles, tile, steps):
    """How many slices of `steps` steps are quickest, for so many tiles of C."""
    at_once = THREADS // tile.threads

    def cost(slices):
        return blocks(tiles * slices, at_once) * (blocks(steps, slices) + STORE * (slices > 1))

    return min(range(1, max(1, min(steps // SHORTEST, MOST)) + 1), key=cost)


def parts_for(y, slices):
    """Where the blocks write: y itself, or an array with a slice's part after the other's."""
    return y if slices == 1 else empty((slices * y.size,), y.dtype)


def finish(parts, y, slices, inner=1, bias=None, residual=None, relu=False):
    """y = [relu](Σ_s parts[s] + bias + residual), all flat; bias[c] goes to the elements i with i // inner % C = c."""
    channels = 0 if bias is None else bias.size
    flags = (y.size, slices, inner, channels, residual is not None, relu)
    flags = tuple(map(int, flags))
    bias, residual = y if bias is None else bias, y if residual is None else residual
    launch(_finish, blocks(y.size, BLOCK), BLOCK, parts, y, bias, residual, flags)


@kernel
def _finish(parts, y, bias, residual, flags):
    size, slices, inner, channels, add, relu = flags
    i = cuda.grid(1)
    if i < size:
        total = parts[i]
        for s in range(1, slices):
            total += parts[s * size + i]
        if channels > 0:
            total += bias[i // inner % channels]
        if add:
            total += residual[i]
        if relu and total <= 0:
            total = y.dtype.type(0)
        y[i] = total
