"""Whether the tests of the cuda backend have a GPU; imported by conftest.py before anything imports numba.

Where there is none, the kernels run in numba-cuda's simulator.
"""

import os
from importlib.util import find_spec
from pathlib import Path

GPU = find_spec("cupy") is not None and Path("/dev/nvidiactl").exists()
if not GPU:
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
