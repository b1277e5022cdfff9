"""Which pixel of which plane a thread takes, with 32-bit divisions: a GPU has none in hardware, and those of 64 bits
take a hundred instructions.

A block is a tile of one plane (an image of one channel), so that only the pixel within its plane is divided by a width.
"""

import numpy as np
from numba import cuda

from .arrays import BLOCK, blocks
from .launch import WARP, device, launch


def launch_pixels(pixel_kernel, planes, size, *args):
    """Run a kernel on a thread for each pixel of `planes` planes of (height, width) size.

    It is called with the tiles of a plane and the width, which `pixel` needs, and then with args.
    """
    pixels = size[0] * size[1]
    if pixels == 0:
        return
    block = min(BLOCK, WARP * blocks(pixels, WARP))
    tiles = blocks(pixels, block)
    launch(pixel_kernel, planes * tiles, block, tiles, size[1], *args)


@device
def divide(a, b):
    """(a // b, a % b) of integers from 0 to 2³² − 1."""
    quotient = np.int64(np.uint32(a) // np.uint32(b))
    return quotient, np.int64(a) - quotient * np.int64(b)


@device
def pixel(tiles, width):
    """(plane, row, column) of this thread; in the last tile the row may lie behind the plane."""
    plane, tile = divide(cuda.blockIdx.x, tiles)
    row, column = divide(tile * cuda.blockDim.x + cuda.threadIdx.x, width)
    return plane, row, column
