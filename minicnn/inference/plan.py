"""The plan of a compiled model: steps in order, and the buffer of the arena that each writes into.

A buffer is free again after the last step that reads it, so a few of them serve the whole network (a register
allocator's linear scan, Poletto & Sarkar 1999). A buffer grows to the largest array that it ever held, which is how
one plan serves every batch size.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .record import Graph, Node
from .segments import Part

Array = np.ndarray


@dataclass(eq=False)
class Step:
    """One operation and where its result goes."""

    node: Node
    operator: Any  # operator(values, out) -> array, see operators.py
    buffer: int | None  # of the arena; None: a new array
    expires: list[int]  # values that nobody reads after this step
    last: bool = False  # its result is that of the segment


@dataclass(eq=False)
class Segment:
    """Steps that run together, for a few images at a time."""

    steps: list[Step]
    input: int  # the value they read
    output: int
    images: int | None  # at a time; None: all
    buffers: int


def segment(part: Part, operator_of) -> Segment:
    """The plan of a part of the graph."""
    steps, buffers = build(part.graph, operator_of)
    return Segment(steps, part.input, part.graph.output, part.images, buffers)


def build(graph: Graph, operator_of) -> tuple[list[Step], int]:
    """The steps and the number of buffers. `operator_of(node)` makes the operator of a node."""
    last_reader = {value: i for i, node in enumerate(graph.nodes) for value in node.values}
    aliases: dict[int, int] = {}  # a view to the value whose memory it shows
    for node in graph.nodes:
        if node.operation == "flatten":
            root = aliases.get(node.values[0], node.values[0])
            aliases[node.output] = root
            last_reader[root] = max(last_reader.get(root, 0), last_reader.get(node.output, len(graph.nodes)))
    result = aliases.get(graph.output, graph.output)
    held: dict[int, int] = {}
    free: list[int] = []
    buffers = 0
    steps = []
    for i, node in enumerate(graph.nodes):
        operator = operator_of(node)
        buffer = None
        if getattr(operator, "writes_out", False) and node.output != result:
            if not free:
                free.append(buffers)
                buffers += 1
            buffer = held[node.output] = free.pop()
        expired = [value for value, last in last_reader.items() if last == i and value != result]
        free += [held.pop(value) for value in expired if value in held]
        steps.append(Step(node, operator, buffer, expired, node.output == graph.output))
    return steps, buffers


class Arena:
    """The buffers of one running call."""

    def __init__(self, buffers: int, dtype: np.dtype):
        self.dtype = dtype
        self.flat = [np.empty(0, dtype) for _ in range(buffers)]

    def place(self, buffer: int | None) -> Callable[[tuple[int, ...]], Array]:
        """What gives a step the array that it writes into: its buffer, or a new one where it has none."""
        return self.new if buffer is None else partial(self.array, buffer)

    def new(self, shape: tuple[int, ...]) -> Array:
        return np.empty(shape, self.dtype)

    def array(self, buffer: int, shape: tuple[int, ...]) -> Array:
        size = math.prod(shape)
        if self.flat[buffer].size < size:
            self.flat[buffer] = np.empty(size, self.flat[buffer].dtype)
        return self.flat[buffer][:size].reshape(shape)

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.flat)
