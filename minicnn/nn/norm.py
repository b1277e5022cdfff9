"""Batch normalisation (Ioffe & Szegedy 2015)."""

import numpy as np

from .. import functional as F
from ..functional import check
from ..functional.door import describe, short
from . import init
from .linear import data, learn, learning
from .module import Module
from .parameter import Parameter

Array = np.ndarray


class BatchNorm2d(Module):
    """y = (x − mean) / √(var + eps) · weight + bias, mean and var one a channel; x (N, num_features, H, W).

    In train mode they are those of the batch, and the running ones move: new = (1 − momentum)·old + momentum·batch
    (running_var by the unbiased variance). momentum=None: the plain average of all batches. In eval mode they are the
    running ones. track_running_stats=False: always those of the batch. affine=False: no weight and no bias; bias=False:
    no bias.

    >>> import numpy as np
    >>> norm = BatchNorm2d(1)
    >>> norm(np.array([1.0, 3.0], np.float32).reshape(2, 1, 1, 1)).ravel().round(3)
    array([-1.,  1.], dtype=float32)
    >>> norm.running_mean, norm.num_batches_tracked
    (array([0.2], dtype=float32), array(1))
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
    ):
        super().__init__()
        self.num_features = check.integer("BatchNorm2d", "num_features", num_features, 1)
        self.eps = check.real("BatchNorm2d", "eps", eps)
        self.momentum = None if momentum is None else check.real("BatchNorm2d", "momentum", momentum)
        self.affine = check.flag("BatchNorm2d", "affine", affine)
        self.track_running_stats = check.flag("BatchNorm2d", "track_running_stats", track_running_stats)
        bias = check.flag("BatchNorm2d", "bias", bias) and self.affine
        size = self.num_features
        self.register_parameter("weight", Parameter(np.ones(size, np.float32)) if self.affine else None)
        self.register_parameter("bias", Parameter(np.zeros(size, np.float32)) if bias else None)
        self.register_buffer("running_mean", np.zeros(size, np.float32) if track_running_stats else None)
        self.register_buffer("running_var", np.ones(size, np.float32) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", np.zeros((), np.int64) if track_running_stats else None)

    def reset_running_stats(self) -> None:
        """Forget the batches seen so far."""
        if self.track_running_stats:
            self.running_mean[...], self.running_var[...], self.num_batches_tracked[...] = 0, 1, 0

    def reset_parameters(self) -> None:
        """Forget the batches seen, and weight 1, bias 0 again."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, x: Array) -> Array:
        self.check(x)
        moves = self.moves()
        uses_batch = self.training or self.running_mean is None
        y, ctx = F.batch_norm(
            x,
            self.running_mean if moves or not uses_batch else None,
            self.running_var if moves or not uses_batch else None,
            data(self.weight),
            data(self.bias),
            training=uses_batch,
            momentum=self.rate() if moves else 0.0,
            eps=self.eps,
        )
        self.count()
        self.keep(ctx)
        return y

    def check(self, x: Array) -> None:
        """A `ValueError` unless x is (N, num_features, H, W)."""
        if getattr(x, "ndim", 4) != 4:
            raise ValueError(f"BatchNorm2d: x must be (N, {self.num_features}, H, W), got shape {short(x.shape)}")
        if getattr(x, "ndim", 0) == 4 and x.shape[1] != self.num_features:
            raise ValueError(f"BatchNorm2d: x must have {self.num_features} channels, got {describe(x)}")

    def moves(self) -> bool:
        """Whether a forward moves the running statistics."""
        return self.training and self.track_running_stats

    def count(self) -> None:
        """One more batch has moved them, if any does."""
        if self.moves() and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        # forward: y = (x − mean) / √(var + eps) · weight + bias
        with self.kept() as ctx:
            needs = (need_dx, *learning(self.weight, self.bias))
            dx, dweight, dbias = F.batch_norm_backward(dy, ctx, needs=needs)
            learn(self.weight, dweight)
            learn(self.bias, dbias)
            return dx

    def rate(self) -> float:
        """How far this batch moves the running statistics: with momentum None, one of all the batches so far."""
        return 1.0 / (int(self.num_batches_tracked) + 1) if self.momentum is None else self.momentum

    def extra_repr(self) -> str:
        bias = "" if self.bias is not None or not self.affine else "bias=False, "
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"{bias}track_running_stats={self.track_running_stats}"
        )
