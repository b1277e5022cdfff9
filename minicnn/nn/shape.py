"""Layers that move, drop or repeat values: Flatten, Dropout, Identity, Upsample."""

import numpy as np

from .. import functional as F
from .. import random
from ..functional import check
from ..functional.check import Size
from ..functional.door import short
from .module import Module

Array = np.ndarray


class Identity(Module):
    """y = x; any arguments are accepted and ignored, as in torch."""

    def __init__(self, *_: object, **__: object):
        super().__init__()

    def forward(self, x: Array) -> Array:
        self.keep(())
        return x

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        # forward: y = x
        with self.kept():
            return dy


class Flatten(Module):
    """The axes from start_dim on become one. end_dim: only −1, the last axis.

    >>> import numpy as np
    >>> Flatten()(np.zeros((2, 3, 4, 5))).shape
    (2, 60)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim = check.integer("Flatten", "start_dim", start_dim)
        self.end_dim = check.integer("Flatten", "end_dim", end_dim)
        if self.end_dim != -1:
            raise ValueError(f"Flatten: end_dim must be -1 (the last axis), got {self.end_dim}")

    def forward(self, x: Array) -> Array:
        y, ctx = F.flatten(x, self.start_dim)
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        # forward: y = x in another shape
        with self.kept() as ctx:
            return F.flatten_backward(dy, ctx)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Dropout(Module):
    """In train mode each value is 0 with probability p, and the rest grows by 1 / (1 − p); in eval mode y = x.

    The random numbers are those that `minicnn.manual_seed` starts.

    >>> import numpy as np
    >>> Dropout(0.5).eval()(np.ones(3))
    array([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        self.p = check.real("Dropout", "p", p)
        if not 0 <= self.p <= 1:
            raise ValueError(f"Dropout: p must be 0 to 1, got {self.p}")

    def forward(self, x: Array) -> Array:
        y, ctx = F.dropout(x, self.p, self.training, random.generator())
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        # forward: y = x · keep / (1 − p)
        with self.kept() as ctx:
            return F.dropout_backward(dy, ctx)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Upsample(Module):
    """Larger (or smaller) images: `size` or `scale_factor`, numbers or (height, width); mode nearest or bilinear.

    align_corners (bilinear only): the corners of x and y coincide.

    >>> import numpy as np
    >>> Upsample(scale_factor=2)(np.array([[[[1.0, 2.0]]]]))
    array([[[[1., 1., 2., 2.],
             [1., 1., 2., 2.]]]])
    """

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ):
        super().__init__()
        if (size is None) == (scale_factor is None):
            raise ValueError(f"Upsample: give either size or scale_factor, got {short(size)} and {short(scale_factor)}")
        if size is not None:
            check.pair("Upsample", "size", size, 1)
        for factor in scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,):
            if factor is not None and not check.real("Upsample", "scale_factor", factor) > 0:
                raise ValueError(f"Upsample: scale_factor must be above 0, got {short(scale_factor)}")
        self.size, self.scale_factor = size, scale_factor
        self.mode = check.choice("Upsample", "mode", mode, ("nearest", "bilinear"))
        self.align_corners = None if align_corners is None else check.flag("Upsample", "align_corners", align_corners)
        if self.mode == "nearest" and self.align_corners is not None:
            raise ValueError("Upsample: align_corners is an option of mode bilinear, got it with nearest")

    def forward(self, x: Array) -> Array:
        y, ctx = F.interpolate(x, self.size, self.scale_factor, self.mode, bool(self.align_corners))
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        # forward: each y is a weighted mean of pixels of x near it
        with self.kept() as ctx:
            return F.interpolate_backward(dy, ctx)

    def extra_repr(self) -> str:
        how = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{how}, mode={self.mode!r}"
