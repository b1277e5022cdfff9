"""Recording one run of a model: the list of operations it passes through `functional`, and which array feeds which.

A value is a number. Value 0 is the images; every operation makes one more. Arrays that belong to the model (parameters
and buffers) are constants of the operation that uses them. Anything else was computed outside `functional`, where
nobody can see how it depends on the images: that is reported, not guessed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backends.settings import backend_choice, no_grad
from ..functional import door

Array = np.ndarray


@dataclass(eq=False)
class Node:
    """One operation: `outputs = operation(values, constants, settings)`."""

    operation: str
    names: list[str]  # the arguments that are activations; a list of arrays gives its name once for each
    values: list[int]  # which activations these are
    constants: dict[str, Array]  # weight, bias, running_mean, …: argument name to array
    settings: dict[str, Any]  # stride, padding, …
    output: int  # the value it makes
    shape: tuple[int, ...]  # of that value
    module: str = ""  # path of the module that called it
    fused: list[str] = field(default_factory=list)  # operations that were folded into this one


@dataclass
class Graph:
    """The operations in the order in which they ran."""

    nodes: list[Node]
    output: int
    input_shape: tuple[int, ...]

    def uses(self, value: int) -> int:
        """How many operations read this value; the result of the whole graph counts as one more."""
        return sum(node.values.count(value) for node in self.nodes) + (value == self.output)


def record(model: Any, x: Array) -> Graph:
    """Run `model` once on x in eval mode and return what it did. The model is left as it was.

    Nothing is computed: the arrays in the run are zeros of the right shapes (backends/shapes.py).

    `ValueError` naming the operation and argument that got an array made outside `functional`, or a result that is
    not an array made inside it.
    """
    modes = [(module, module.training) for module in model.modules()]
    recorder = _Recorder(model, x)
    model.eval()
    try:
        with no_grad(), backend_choice.stand_in("shapes"), door.listen(recorder):
            y = model(x)
    finally:
        for module, mode in modes:
            module.training = mode
    if id(y) not in recorder.known:
        raise ValueError(f"compile: the model must return an array made by functional, got {door.describe(y)}")
    return Graph(recorder.nodes, recorder.known[id(y)], x.shape)


class _Recorder(door.Listener):
    def __init__(self, model: Any, x: Array):
        self.nodes: list[Node] = []
        self.known: dict[int, int] = {id(x): 0}  # id of an array to its value
        self.alive: list[Array] = [x]  # so that no id is given twice
        self.owned = {id(array) for array in _arrays_of(model)}
        self.path: list[str] = []
        self.names = {id(module): name for name, module in model.named_modules()}

    def module_entered(self, module: Any) -> None:
        self.path.append(self.names.get(id(module), type(module).__name__))

    def module_left(self, module: Any) -> None:
        self.path.pop()

    def forward(self, operation: str, inputs: dict[str, Any], y: Any, ctx: Any) -> None:
        names, values, constants, settings = [], [], {}, {}
        for name, value in inputs.items():
            arrays = value if isinstance(value, (list, tuple)) and any(map(_is_array, value)) else [value]
            for array in arrays:
                if not _is_array(array):
                    settings[name] = value
                elif id(array) in self.known:
                    names.append(name)
                    values.append(self.known[id(array)])
                elif id(array) in self.owned:
                    constants[name] = array
                else:
                    raise ValueError(self._stranger(operation, name, array))
        if id(y) in self.known:  # x itself came back: dropout in eval mode, padding by 0
            return
        where = self.path[-1] if self.path else ""
        node = Node(operation, names, values, constants, settings, len(self.alive), y.shape, where)
        self.known[id(y)] = node.output
        self.alive.append(y)
        self.nodes.append(node)

    def _stranger(self, operation: str, name: str, array: Array) -> str:
        where = f" in module {self.path[-1]!r}" if self.path and self.path[-1] else ""
        return (
            f"compile: {operation}{where} got an array for {name} ({door.describe(array)}) that was made outside "
            "minicnn.functional: build the forward from functional and modules alone"
        )


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _arrays_of(model: Any) -> Iterator[Array]:
    for parameter in model.parameters():
        yield parameter.data
    for module in model.modules():
        yield from (buffer for buffer in module._buffers.values() if buffer is not None)
