"""How Winograd's kernels cut their work: sizes that kernels and those who call them agree on. No Numba here."""

import numpy as np

from .processor import NR32, VECTOR_BYTES

VECTOR = np.int64(VECTOR_BYTES // 4)  # lanes; np.int64, as helpers are compiled anew for each literal number
LANES = [n for n in (16, 8, 4) if 4 * n <= VECTOR_BYTES]  # how many tiles a strip may have
NR = NR32  # tiles a block: the columns of the microkernel
ROWS = 32  # filters a task
CHANNELS = 8  # channels a task of the input transform
M_STEP = (ROWS * NR // VECTOR | 1) * VECTOR
ALONE_BYTES = 512 << 10  # of V of a block that a core keeps in its L2 beside M and a stream of U
ALONE_BLOCKS = 8  # from this many on each core gets its share of whole blocks
V_BYTES = 6 << 20  # transformed input held at a time: it stays in L3


def strip_lanes(tiles_w):
    """Lanes of a strip: the least that holds a row of tiles, or the most there are."""
    return min([n for n in LANES if n >= tiles_w], default=LANES[0])


def runs_alone(blocks, v_step):
    """Whether a task transforms a block and multiplies it at once, V in its L2: 64@56 takes a fifth less (AVX2)."""
    return 36 * v_step * 4 <= ALONE_BYTES and blocks >= ALONE_BLOCKS
