"""A kernel that is a part of others has no machine code of its own, so Python must not reach it."""

import numpy as np
import pytest

from minicnn.backends.cpu.algorithms import COMPILED
from minicnn.backends.cpu.gemm import gemm
from minicnn.backends.cpu.moves import transpose


@pytest.mark.skipif(not COMPILED, reason="without the compiler every kernel is a Python function")
def test_python_cannot_call_a_part_of_a_kernel():
    x = np.ones((4, 4), np.float32)
    np.testing.assert_array_equal(gemm(x.T, x), x.T @ x)  # compiles it for these types
    with pytest.raises(TypeError, match="transpose is a part of kernels"):
        transpose(x.reshape(-1), 0, 4, x.reshape(-1), 0, 4, 4, 4)
