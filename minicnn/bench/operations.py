"""Operations of `functional`, forward and backward, on the layers of ResNet18 and of the small network.

Work counts what has to be done at least: a convolution's multiply-adds, twice that for its two gradients; for the
others the bytes of arrays that must be read or written once. Arrays that stay in the caches can exceed the bandwidth of
memory.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import functional as F
from ..backends import backend
from . import torch_peer
from .harness import OURS, Call, Case

Array = np.ndarray
SMALL_BATCHES, RESNET_BATCHES = (1, 32, 128), (1, 8, 32)
EXACT, FAST = 5e-6, 5e-5  # errors allowed: see minicnn's accuracy; "auto" convolutions may take Winograd


class Operation(NamedTuple):
    """An operation at certain sizes. Its arrays are made when it is measured."""

    group: str
    label: str
    name: str  # in functional and in torch
    batch: int
    arrays: Callable[[], list[Any]]
    settings: dict[str, Any]
    wanted: tuple[int, ...]  # the arrays that get a gradient
    work: tuple[float, ...]  # of the forward, and of the backward where there is something to time
    unit: str
    allowed: float = EXACT


PHASES = ("forward", "backward")


def cases_of(operation: Operation, peers: Sequence[str]) -> Iterator[Case]:
    """The cases of an operation, one after the other: big arrays live only while they are measured."""
    for phase in PHASES[: len(operation.work)]:
        yield case_of(operation, phase, peers)


def case_of(op: Operation, phase: str, peers: Sequence[str]) -> Case:
    """The forward or the backward of an operation."""
    function, back = getattr(F, op.name), getattr(F, f"{op.name}_backward")
    arrays = op.arrays()
    dy = None
    if phase == "backward":
        y, ctx = function(*arrays, **op.settings)
        dy = random(*np.shape(y), seed=2) if np.ndim(y) else y.dtype.type(1)
        del y
    if phase == "forward":  # did not run yet: its first call shows what compiling takes
        calls: dict[str, Call] = {OURS: lambda: function(*arrays, **op.settings)[:1]}
    else:
        calls = {OURS: lambda: _tuple(back(dy, ctx))}
    if "torch" in peers:
        for layout in torch_peer.layouts(arrays):
            calls[layout] = _torch(op, phase, arrays, dy, layout)
    if op.group == "gemm":
        calls["numpy"] = _numpy_product(arrays, dy)
    return Case(
        f"{op.group} {phase}", f"{op.name} {op.label}", op.batch, phase, op.work[phase == "backward"], op.unit, calls,
        lambda: _truth(op, phase, arrays, dy, peers), op.allowed,
    )  # fmt: skip


def _torch(op: Operation, phase: str, arrays: list[Any], dy: Any, layout: str, double: bool = False) -> Call:
    if phase == "forward":
        return torch_peer.forward(op.name, arrays, op.settings, layout, double)
    return torch_peer.backward(op.name, arrays, op.settings, op.wanted, dy, layout, double)


def _truth(op: Operation, phase: str, arrays: list[Any], dy: Any, peers: Sequence[str]) -> tuple:
    """In float64, by torch where it is there, else by the reference backend."""
    if "torch" in peers:
        return _torch(op, phase, arrays, dy, torch_peer.NCHW, double=True)()
    exact = [a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays]
    with backend("reference"):
        y, ctx = getattr(F, op.name)(*exact, **op.settings)
        return (y,) if phase == "forward" else _tuple(getattr(F, f"{op.name}_backward")(np.float64(dy), ctx))


def _numpy_product(arrays: list[Any], dy: Any) -> Call:
    x, weight = arrays
    return (lambda: (x @ weight.T,)) if dy is None else (lambda: (dy @ weight, dy.T @ x))


def _tuple(gradients: Any) -> tuple:
    """The gradients that there are."""
    return tuple(g for g in gradients if g is not None) if isinstance(gradients, tuple) else (gradients,)


def random(*shape: int, seed: int = 0) -> Array:
    """Normally distributed float32 numbers, the same for the same shape and seed."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def matrix_products(sizes: Sequence[int]) -> Iterator[Operation]:
    """linear is x @ weight.T: square matrices of these sizes."""
    for n in sizes:
        work = (2.0 * n**3, 4.0 * n**3)
        yield Operation("gemm", f"{n}", "linear", n, partial(_square, n), {}, (0, 1), work, "GFLOP/s")


def _square(n: int) -> list[Array]:
    return [random(n, n), random(n, n, seed=1)]


def resnet_convolutions(image: int) -> dict[str, tuple[int, ...]]:
    """name: (channels, filters, size, kernel, stride, padding) of every convolution of ResNet18, each once."""
    layers: dict[str, tuple[int, ...]] = {f"7x7/2 3>64 @{image}": (3, 64, image, 7, 2, 3)}
    size = image // 4
    for channels in (64, 128, 256, 512):
        if channels > 64:
            half = channels // 2
            layers[f"3x3/2 {half}>{channels} @{size}"] = (half, channels, size, 3, 2, 1)
            layers[f"1x1/2 {half}>{channels} @{size}"] = (half, channels, size, 1, 2, 0)
            size = -(-size // 2)
        layers[f"3x3 {channels} @{size}"] = (channels, channels, size, 3, 1, 1)
    return layers


def small_convolutions(image: int) -> dict[str, tuple[int, ...]]:
    """The same of the small network on grey images."""
    half = image // 2
    return {f"3x3 1>32 @{image}": (1, 32, image, 3, 1, 1), f"3x3 32>64 @{half}": (32, 64, half, 3, 1, 1)}


def convolutions(layers: dict[str, tuple[int, ...]], batches: Sequence[int]) -> Iterator[Operation]:
    for batch in batches:
        for label, layer in layers.items():
            channels, filters, size, k, stride, padding = layer
            out = (size + 2 * padding - k) // stride + 1
            flop = 2.0 * batch * filters * out * out * channels * k * k
            kind = "3x3 convolutions" if (k, stride) == (3, 1) and channels > 1 else "other convolutions"
            yield Operation(
                f"{kind}, batch {batch},", label, "conv2d", batch, partial(_image_and_filters, batch, *layer[:4]),
                {"stride": stride, "padding": padding}, (0, 1), (flop, 2 * flop), "GFLOP/s", FAST,
            )  # fmt: skip


def _image_and_filters(batch: int, channels: int, filters: int, size: int, k: int) -> list[Array]:
    weight = random(filters, channels, k, k, seed=1) / np.float32((channels * k * k) ** 0.5)
    return [random(batch, channels, size, size), weight]


def other_operations(image: int, small_image: int, batches: Sequence[int], small: Sequence[int]) -> Iterator[Operation]:
    """Pooling, batch norm, ReLU, sums, linear layers and the loss of both networks."""
    for batch in batches:
        yield pool((batch, 64, image // 2, image // 2), {"kernel_size": 3, "stride": 2, "padding": 1})
        yield from maps(batch, image)
        yield mean((batch, 512, -(-image // 32), -(-image // 32)))
        yield dense(batch, 512, 1000)
        yield loss(batch, 1000)
    for batch in small:
        for channels, size in ((32, small_image), (64, small_image // 2)):
            yield relu((batch, channels, size, size))
            yield pool((batch, channels, size, size), {"kernel_size": 2})
        yield dense(batch, 64 * (small_image // 4) ** 2, 128)
        yield loss(batch, 10)


def maps(batch: int, image: int) -> Iterator[Operation]:
    """Batch norm, ReLU and sum on the maps of ResNet18."""
    sizes = [-(-image // (4 << i)) for i in range(4)]
    for channels, size in ((64, image // 2), *zip((64, 128, 256, 512), sizes)):
        shape = (batch, channels, size, size)
        if batch * size * size > 1:
            yield norm(shape)
        yield relu(shape)
        if size < image // 2:
            yield add(shape)


def norm(shape: tuple[int, ...]) -> Operation:
    def arrays() -> list[Array]:
        x, weight, bias = random(*shape), 1 + random(shape[1]) / 8, random(shape[1], seed=1)
        return [x, np.zeros_like(bias), np.ones_like(bias), weight, bias]

    return _moving("batch_norm", shape, arrays, {"training": True}, (0, 3, 4), (2, 3))


def relu(shape: tuple[int, ...]) -> Operation:
    return _moving("relu", shape, lambda: [random(*shape)], {}, (0,), (2, 3))


def add(shape: tuple[int, ...]) -> Operation:
    """Forward only: torch's backward of a sum hands dy on, there is nothing to time."""
    return _moving("add", shape, lambda: [random(*shape), random(*shape, seed=1)], {}, (0, 1), (3,))


def mean(shape: tuple[int, ...]) -> Operation:
    return _moving("adaptive_avg_pool2d", shape, lambda: [random(*shape)], {"output_size": 1}, (0,), (1, 1))


def _moving(
    name: str, shape: tuple[int, ...], arrays: Callable[[], list[Array]], settings: dict[str, Any],
    wanted: tuple[int, ...], passes: tuple[int, ...],
) -> Operation:  # fmt: skip
    """passes: how many arrays as large as x the forward and the backward read and write at least."""
    work = tuple(4.0 * math.prod(shape) * each for each in passes)
    label = "x".join(map(str, shape[1:]))
    return Operation(name, label, name, shape[0], arrays, settings, wanted, work, "GB/s")


def pool(shape: tuple[int, ...], settings: dict[str, int]) -> Operation:
    batch, channels, size, _ = shape
    k, stride = settings["kernel_size"], settings.get("stride", settings["kernel_size"])
    out = (size + 2 * settings.get("padding", 0) - k) // stride + 1
    moved = 4.0 * math.prod(shape) + 12.0 * batch * channels * out * out  # x and y, and an int64 index for each y
    label = f"{channels}x{size}x{size} {k}x{k}/{stride}"
    return Operation(
        "max_pool2d", label, "max_pool2d", batch, lambda: [random(*shape)], settings, (0,), (moved, moved), "GB/s"
    )


def dense(batch: int, inside: int, out: int) -> Operation:
    def arrays() -> list[Array]:
        return [random(batch, inside), random(out, inside, seed=1) / np.float32(inside**0.5), random(out)]

    flop = 2.0 * batch * inside * out
    label = f"({batch}, {inside}) > {out}"
    return Operation("linear", label, "linear", batch, arrays, {}, (0, 1, 2), (flop, 2 * flop), "GFLOP/s")


def loss(batch: int, classes: int) -> Operation:
    def arrays() -> list[Array]:
        return [random(batch, classes), np.random.default_rng(1).integers(0, classes, batch)]

    size = 4.0 * batch * classes
    label = f"({batch}, {classes})"
    return Operation("cross_entropy", label, "cross_entropy", batch, arrays, {}, (0,), (size, 2 * size), "GB/s")
