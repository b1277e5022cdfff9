"""Functions of one number for use inside kernels, in its own dtype: a literal 1 would make a float32 a float64.

On the GPU exp, log1p, … are libdevice's, within 1 or 2 ulp; in the simulator NumPy's.
"""

import math
from typing import Any

import numpy as np

from .launch import SIMULATED, device

exp: Any
log: Any
log1p: Any
sqrt: Any
tanh: Any
if SIMULATED:
    exp, log, log1p, sqrt, tanh = np.exp, np.log, np.log1p, np.sqrt, np.tanh

    def erfc(v):
        return type(v)(math.erfc(v))

else:
    exp, log, log1p, sqrt, tanh, erfc = math.exp, math.log, math.log1p, math.sqrt, math.tanh, math.erfc


@device
def sigmoid(v):
    """1 / (1 + exp(−v)) = exp(v) / (1 + exp(v)): the one whose exp cannot overflow."""
    one = type(v)(1)
    e = exp(-abs(v))
    r = one / (one + e)
    return r if v >= 0 else e * r


@device
def normal_cdf(v):
    """Φ(v) = ½ erfc(−v/√2): erfc keeps its digits where 1 + erf would cancel."""
    return type(v)(0.5) * erfc(-v * type(v)(math.sqrt(0.5)))
