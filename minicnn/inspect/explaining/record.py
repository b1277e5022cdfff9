"""One forward, loss and backward of a copy of the model with every array kept, as a graph of operations."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ... import functional
from ...functional.door import Listener, listen
from ...nn import Module
from ..subjects import same_random_numbers

Array = np.ndarray

# arguments that are settings or buffers although they are arrays
_NOT_FLOWING = ("weight", "bias", "running_mean", "running_var", "target")


@dataclass
class Node:
    """One operation. arrays: its inputs and output by name, their gradients as d<name>."""

    operation: str
    module: str  # path of the innermost module that ran it; "loss" for the loss
    kind: str  # that module's class
    settings: dict[str, Any]
    sources: list[int]  # the nodes whose outputs it took
    arrays: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Recording:
    """What one run left: nodes in the order of the forward, the image first and the loss last."""

    nodes: list[Node]
    twin: Module  # the copy that ran, its gradients in place
    logits: Array
    loss: float


def record(model: Module, x: Array, target: Array, training: bool) -> Recording:
    """Run a copy of the model on x (1, C, H, W) and keep what flowed; the model stays as it is."""
    twin = copy.deepcopy(model).train(training)
    twin.zero_grad()
    recorder = _Recorder({id(module): (name, type(module).__name__) for name, module in twin.named_modules()}, x)
    with same_random_numbers(), listen(recorder):
        logits = twin(x)
        loss, ctx = functional.cross_entropy(logits, target)
        dx = twin.backward(functional.cross_entropy_backward(1.0, ctx))
    recorder.nodes[0].arrays["dy"] = dx
    return Recording(recorder.nodes, twin, logits, float(loss))


class _Recorder(Listener):
    def __init__(self, modules: dict[int, tuple[str, str]], x: Array) -> None:
        self.modules = modules
        self.running = [("loss", "CrossEntropyLoss")]
        self.nodes = [Node("input", "", "", {}, [], {"y": x})]
        self.made = {id(x): 0}  # by the identity of an array: the node whose output it is; the nodes keep it alive
        self.waiting: list[tuple[Any, Node]] = []  # forwards whose backward has not come

    def module_entered(self, module: Module) -> None:
        self.running.append(self.modules.get(id(module), ("loss", type(module).__name__)))

    def module_left(self, module: Module) -> None:
        self.running.pop()

    def forward(self, operation: str, inputs: dict[str, Any], y: Any, ctx: Any) -> None:
        flowing = list(_flowing(inputs))
        arrays = {name: value for name, value in inputs.items() if isinstance(value, np.ndarray)}
        arrays |= dict(flowing)
        settings = {name: value for name, value in inputs.items() if not _is_arrays(value)}
        node = Node(operation, *self.running[-1], settings, [self.made.get(id(array), -1) for _, array in flowing])
        node.arrays = arrays | {"y": np.asarray(y)}
        if operation == "max_pool2d":
            node.arrays["indices"] = ctx.indices
        if operation == "batch_norm":
            node.arrays |= {"mean": ctx.mean, "var": ctx.var}
        self.nodes.append(node)
        self.made[id(y)] = len(self.nodes) - 1
        self.waiting.append((ctx, node))

    def backward(self, operation: str, ctx: Any, dy: Any, gradients: Any) -> None:
        for place in range(len(self.waiting) - 1, -1, -1):  # the last forward with this context
            if self.waiting[place][0] is ctx:
                node = self.waiting.pop(place)[1]
                node.arrays["dy"] = np.asarray(dy)
                found = gradients if isinstance(gradients, tuple) else (gradients,)
                for name, gradient in zip(_gradient_names(node), found):
                    if gradient is not None:
                        node.arrays[f"d{name}"] = gradient
                return


def _flowing(inputs: dict[str, Any]) -> Iterator[tuple[str, Array]]:
    """The arrays that come from other operations, the members of a list as a, b, c, …"""
    for name, value in inputs.items():
        if isinstance(value, (list, tuple)) and _is_arrays(value):
            yield from ((chr(ord("a") + place), each) for place, each in enumerate(value))
        elif isinstance(value, np.ndarray) and name not in _NOT_FLOWING:
            yield name, value


def _gradient_names(node: Node) -> list[str]:
    """The arguments that the backward returns gradients of, in its order."""
    if node.operation in ("conv2d", "conv_transpose2d", "linear", "batch_norm"):
        return ["x", "weight", "bias"]
    return [name for name in node.arrays if name not in (*_NOT_FLOWING, "y", "indices")]


def _is_arrays(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(each, np.ndarray) for each in value)
    return isinstance(value, np.ndarray)
