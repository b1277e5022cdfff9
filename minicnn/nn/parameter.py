"""Parameter: an array that is learnt, with the gradient of the loss with respect to it."""

from typing import Any

import numpy as np

from ..backends import module_of
from ..functional.door import describe, short

Array = np.ndarray


class Parameter:
    """An array to be learnt.

    data: the array itself, float32 or float64 (not copied; may be assigned).
    grad: dL/ddata, None until the first backward; backwards add to it. May be assigned an array like data, or None.
    requires_grad: False freezes it: backwards leave grad alone, and gradients still pass on to earlier layers.

    `TypeError` for anything but a floating array.

    >>> import numpy as np
    >>> p = Parameter(np.zeros(2))
    >>> p.accumulate(np.ones(2))
    >>> p.accumulate(np.ones(2))
    >>> p.grad
    array([2., 2.])
    """

    requires_grad: bool

    def __init__(self, data: Array, requires_grad: bool = True):
        self.data = data
        self.requires_grad = bool(requires_grad)

    @property
    def data(self) -> Array:
        return self._data

    @data.setter
    def data(self, data: Array) -> None:
        if module_of(data) is None or data.dtype.kind != "f":
            raise TypeError(f"Parameter: data must be an array of float32 or float64, got {describe(data)}")
        self._data = data
        self._grad: Array | None = None

    @property
    def grad(self) -> Array | None:
        return self._grad

    @grad.setter
    def grad(self, grad: Array | None) -> None:
        if isinstance(grad, np.generic):  # what arithmetic makes of a 0-d array
            grad = np.asarray(grad)
        if grad is not None:
            if module_of(grad) is None or grad.dtype != self._data.dtype:
                raise TypeError(f"Parameter: grad must be an array of {self._data.dtype}, got {describe(grad)}")
            if grad.shape != self._data.shape:
                raise ValueError(
                    f"Parameter: grad must have the shape of data, {short(self._data.shape)}, got {short(grad.shape)}"
                )
        self._grad = grad

    def accumulate(self, grad: Array | None) -> None:
        """Add to grad. Out of place: an array that was handed out as grad is never changed. None adds nothing."""
        if grad is not None:
            self.grad = grad if self._grad is None else self._grad + grad

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def dtype(self) -> np.dtype:
        return self._data.dtype

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def size(self) -> int:
        return self._data.size

    def __repr__(self) -> str:
        frozen = "" if self.requires_grad else ", requires_grad=False"
        return f"Parameter({self._data!r}{frozen})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_grad": None}  # copies and pickles hold no gradient, as in torch
