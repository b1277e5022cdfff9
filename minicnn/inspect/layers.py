"""summary: the layers of a model with their output shapes, parameters, FLOPs and the memory kept for the backward."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..functional import check
from ..functional.door import Listener, describe, listen
from ..nn import Module
from .flops import forward_flops
from .subjects import same_random_numbers


@dataclass
class Layer:
    """One module that computes."""

    name: str  # its path in the model, "" for the model itself
    kind: str  # its class
    output_shape: tuple[int, ...]
    parameters: int  # numbers in its own parameters; shared ones count where they are used first
    flops: int  # of one forward; a multiply-add is two
    context_bytes: int  # arrays kept for the backward that no earlier layer keeps; parameters are not counted
    calls: int  # how often it ran in one forward


@dataclass(frozen=True)
class Summary:
    """What `summary` found: `rows`, totals, `print` for the table, `to_dict` for JSON."""

    model: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    rows: tuple[Layer, ...]
    parameters: int
    trainable: int
    flops: int
    context_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        table = [("layer", "type", "output", "parameters", "FLOPs", "kept for backward")]
        table += [
            (
                row.name + (f" ×{row.calls}" if row.calls > 1 else ""),
                row.kind,
                "×".join(map(str, row.output_shape)),
                f"{row.parameters:,}",
                _short(row.flops),
                _bytes(row.context_bytes),
            )
            for row in self.rows
        ]
        total = f"{self.model} total"
        shape = "×".join(map(str, self.output_shape))
        table.append((total, "", shape, f"{self.parameters:,}", _short(self.flops), _bytes(self.context_bytes)))
        widths = [max(len(line[column]) for line in table) for column in range(6)]
        lines = ["  ".join(_pad(line, widths)).rstrip() for line in table]
        rule = "-" * max(map(len, lines))
        frozen = f" ({self.parameters - self.trainable:,} frozen)" if self.trainable != self.parameters else ""
        source = f"input {'×'.join(map(str, self.input_shape))}, {self.trainable:,} trainable parameters{frozen}"
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], source])


def summary(model: Module, input_shape: Sequence[int]) -> Summary:
    """The layers of a model for an input of this shape, (N, C, H, W) for images.

    One forward of zeros runs on a copy, in the mode the model is in: mode, contexts, running statistics and random
    numbers of the model stay as they are. Context bytes are measured, not guessed: every array that a context refers to
    counts once, at the first layer that keeps it (the input of the model too), as the whole piece of memory it is part
    of; parameters and buffers do not count. `TypeError` for what is no Module, `ValueError` for an impossible shape.

    >>> from minicnn import nn
    >>> found = summary(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), (2, 4))
    >>> [(row.name, row.output_shape, row.parameters, row.flops, row.context_bytes) for row in found.rows]
    [('0', (2, 3), 15, 54, 32), ('1', (2, 3), 0, 6, 24)]
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: model must be a Module, got {describe(model)}")
    if not isinstance(input_shape, (tuple, list)) or not input_shape:
        raise TypeError(f"summary: input_shape must be a tuple such as (1, 3, 32, 32), got {describe(input_shape)}")
    sizes = tuple(check.integer("summary", "input_shape", size, least=0) for size in input_shape)
    check.allocatable("summary", "the input", sizes)
    twin = copy.deepcopy(model)
    dtype = next((parameter.data.dtype for parameter in twin.parameters()), np.dtype(np.float32))
    layers = _Layers(twin)
    for module in twin.modules():
        module.register_forward_hook(layers.left)
    with same_random_numbers(), listen(layers):
        y = twin(np.zeros(sizes, dtype))
    parameters = list(twin.parameters())
    rows = tuple(layers.rows.values())
    return Summary(
        model=type(model).__name__,
        input_shape=sizes,
        output_shape=y.shape,
        rows=rows,
        parameters=sum(parameter.data.size for parameter in parameters),
        trainable=sum(parameter.data.size for parameter in parameters if parameter.requires_grad),
        flops=sum(row.flops for row in rows),
        context_bytes=sum(row.context_bytes for row in rows),
    )


class _Layers(Listener):
    """Puts each operation on the account of the innermost module that runs."""

    def __init__(self, model: Module) -> None:
        self.names = {id(module): name for name, module in model.named_modules()}
        self.rows: dict[int, Layer] = {}
        self.running: list[Module] = []
        self.parameters: set[int] = set()  # counted already
        owned = [parameter.data for parameter in model.parameters()] + list(model.buffers())
        self.memory = {_memory(array) for array in owned}  # counted already
        self.alive: list[Any] = []  # an address must not be given to another array while we count

    def module_entered(self, module: Module) -> None:
        self.running.append(module)

    def module_left(self, module: Module) -> None:
        self.running.pop()

    def forward(self, operation: str, inputs: dict[str, Any], y: Any, ctx: Any) -> None:
        row = self._row(self.running[-1])
        row.flops += forward_flops(operation, inputs, y)
        self._count(row, ctx)
        self.alive.append((y, ctx))

    def left(self, module: Module, x: Any, y: Any) -> None:
        """The hook after a module's forward. Containers that only call others have no row."""
        if id(module) in self.rows or not any(True for _ in module.children()):
            row = self._row(module)
            row.output_shape = np.shape(y)
            row.calls += 1
            self._count(row, list(module._contexts.values()))  # what a module of the user's own keeps

    def _row(self, module: Module) -> Layer:
        if id(module) not in self.rows:
            own = {id(each): each.data.size for each in module._parameters.values() if each is not None}
            new = sum(size for key, size in own.items() if key not in self.parameters)
            self.parameters |= set(own)
            self.rows[id(module)] = Layer(self.names.get(id(module), "?"), type(module).__name__, (), new, 0, 0, 0)
        return self.rows[id(module)]

    def _count(self, row: Layer, ctx: Any) -> None:
        for array in _arrays(ctx):
            memory = _memory(array)
            if memory not in self.memory:
                self.memory.add(memory)
                row.context_bytes += memory[1]


def _arrays(ctx: Any) -> Iterator[np.ndarray]:
    """Every array in a context, through tuples, lists and dicts."""
    if isinstance(ctx, np.ndarray):
        yield ctx
    elif isinstance(ctx, dict):
        yield from _arrays(list(ctx.values()))
    elif isinstance(ctx, (tuple, list)):
        for item in ctx:
            yield from _arrays(item)


def _memory(array: np.ndarray) -> tuple[int, int]:
    """(address, bytes) of the whole piece of memory that an array is a view of: that is what a reference keeps."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.__array_interface__["data"][0], array.nbytes


def _pad(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Text to the left, figures to the right."""
    return [cell.ljust(w) if column < 3 else cell.rjust(w) for column, (cell, w) in enumerate(zip(line, widths))]


def _short(count: int) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return str(count)


def _bytes(count: int) -> str:
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
