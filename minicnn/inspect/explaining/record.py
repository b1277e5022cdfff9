"""One forward, loss and backward of a copy of the model with every array kept, as a graph of operations."""

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ... import functional
from ...functional.door import listen
from ...nn import Module
from ..recorder import Recorder, backward_arrays, flowing, forward_arrays, is_arrays
from ..subjects import same_random_numbers

Array = np.ndarray


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
    graph = _Graph(twin, x)
    with same_random_numbers(), listen(graph):
        logits = twin(x)
        loss, ctx = functional.cross_entropy(logits, target)
        dx = twin.backward(functional.cross_entropy_backward(1.0, ctx))
    graph.nodes[0].arrays["dy"] = dx
    return Recording(graph.nodes, twin, logits, float(loss))


class _Graph(Recorder):
    def __init__(self, model: Module, x: Array) -> None:
        super().__init__(model)
        self.nodes = [Node("input", "", "", {}, [], {"y": x})]
        self.made = {id(x): 0}  # by the identity of an array: the node whose output it is; the nodes keep it alive

    def opened(self, operation: str, inputs: dict[str, Any], y: Any, ctx: Any, seconds: float) -> Any:
        sources = [self.made.get(id(array), -1) for _, array in flowing(inputs)]
        settings = {name: value for name, value in inputs.items() if name != "rng" and not is_arrays(value)}
        node = Node(operation, *self.running, settings, sources, forward_arrays(operation, inputs, y, ctx))
        self.nodes.append(node)
        self.made[id(y)] = len(self.nodes) - 1
        return operation, inputs, node

    def closed(self, record: Any, dy: Any, gradients: Any, seconds: float) -> None:
        operation, inputs, node = record
        node.arrays |= backward_arrays(operation, inputs, dy, gradients)
