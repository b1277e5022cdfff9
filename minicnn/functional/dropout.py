"""Dropout: values left out at random while training."""

from typing import NamedTuple

import numpy as np

from ..backends.places import c_order, copy_of
from ..random import generator
from . import check, door

Array = np.ndarray


class DropoutContext(NamedTuple):
    x: Array  # its shape and dtype are those of the gradient
    keep: Array | None  # the mask, which cannot be drawn again; None: everything was kept
    scale: float


def dropout(
    x: Array, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None
) -> tuple[Array, DropoutContext | None]:
    """y = x / (1 − p), or 0 with probability p (Srivastava et al. 2014).

    x: any shape. p: 0 to 1; with 1 nothing is kept. rng: where the mask is drawn from, by default the generator that
    `minicnn.manual_seed` seeds. The mask depends on rng and the shape alone, not on dtype, backend or threads.
    With p = 0 or training=False nothing is drawn and y is x itself (a copy where x is not C-contiguous).

    >>> import numpy as np
    >>> y, ctx = dropout(np.ones(8), p=0.5, rng=np.random.default_rng(0))
    >>> y
    array([2., 2., 2., 0., 0., 0., 0., 0.])
    >>> dropout_backward(np.arange(8.0), ctx)
    array([0., 2., 4., 0., 0., 0., 0., 0.])
    """
    backend = door.enter("dropout", x=x)
    p = check.real("dropout", "p", p)
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p must be 0 to 1, got {p}")
    training = check.flag("dropout", "training", training)
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"dropout: rng must be a numpy.random.Generator or None, got {door.describe(rng)}")
    inputs = {"x": x, "p": p, "training": training, "rng": rng}
    if p == 0.0 or not training:
        return door.leave("dropout", inputs, c_order(x), DropoutContext(x, None, 1.0))
    keep = (rng or generator()).random(x.shape, dtype=np.float32) >= p
    scale = 0.0 if p == 1.0 else 1.0 / (1.0 - p)
    y = backend.dropout_forward(x, keep, scale)
    return door.leave("dropout", inputs, y, DropoutContext(x, keep, scale))


def dropout_backward(dy: Array, ctx: DropoutContext) -> Array:
    """dx = dy / (1 − p) where x was kept, else 0."""
    door.check_context("dropout", ctx, DropoutContext)
    backend = door.enter_backward("dropout", ctx, DropoutContext, dy, ctx.x.shape, like=ctx.x)
    dx = copy_of(dy) if ctx.keep is None else backend.dropout_forward(dy, ctx.keep, ctx.scale)
    return door.leave_backward("dropout", ctx, dy, dx)
