"""Arrays as the kernels want them."""

from .cache import kernel
from .layout import canonical as canonical

# elements a task of an elementwise loop: 64 KiB of float32, so that what a task touches stays in L2. A ReLU of one task
# takes 1.9 µs (12,544 values); cut in two, and started as Numba does, 3.1
CHUNK = 16384


@kernel
def parts(size):
    """How many chunks a flat array is cut into: by its size alone, whatever the number of threads."""
    return (size + CHUNK - 1) // CHUNK


@kernel
def part(x, chunk):
    """That chunk of a flat array, as a slice."""
    return x[chunk * CHUNK : (chunk + 1) * CHUNK]
