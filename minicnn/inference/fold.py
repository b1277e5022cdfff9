"""Making the recorded graph smaller: batch norms disappear into the convolution before them, ReLU and residual adds
become its epilogue.

A batch norm in eval mode is affine, so it is absorbed by the weights of the convolution in front of it:

    γ·(w∗x + b − μ)/σ + β  =  (γ/σ·w)∗x + (β + γ/σ·(b − μ))          σ = sqrt(var + ε)

Folding is done in float64 and rounded once.
"""

import numpy as np

from .record import Graph, Node

HAS_EPILOGUE = ("conv2d", "linear")


def fold(graph: Graph) -> Graph:
    """The same computation in fewer operations. Constants become arrays of the graph's own."""
    given = {id(array) for node in graph.nodes for array in node.constants.values()}
    _merge(graph, _absorb_batch_norm)
    for node in graph.nodes:  # those that are still the model's
        node.constants = {name: np.array(a) if id(a) in given else a for name, a in node.constants.items()}
    _merge(graph, _absorb_add)
    _merge(graph, _absorb_relu)
    return graph


def _merge(graph: Graph, absorb) -> None:
    """Let every operation be absorbed by a convolution in front of it, where `absorb` finds one that can."""
    kept: list[Node] = []
    maker: dict[int, Node] = {}  # value to the operation that makes it
    for node in graph.nodes:
        host = absorb(graph, node, maker, kept)
        if host is None:
            kept.append(node)
            host = node
        else:
            host.fused.append(node.operation)
            host.output, host.shape = node.output, node.shape
        maker[node.output] = host
    graph.nodes = kept


def _absorb_batch_norm(graph: Graph, node: Node, maker: dict[int, Node], kept: list[Node]) -> Node | None:
    if node.operation != "batch_norm" or "running_mean" not in node.constants:
        return None
    conv = maker.get(node.values[0])
    if conv is None or conv.operation not in HAS_EPILOGUE or conv.fused or graph.uses(conv.output) != 1:
        return None
    old, norm = conv.constants, node.constants
    weight = old["weight"]
    mean, var = norm["running_mean"].astype(np.float64), norm["running_var"].astype(np.float64)
    scale = norm.get("weight", np.ones(1)) / np.sqrt(var + node.settings["eps"])
    bias = norm.get("bias", np.zeros(1)) + scale * (old.get("bias", np.zeros(1)) - mean)
    conv.constants = {
        "weight": _scaled(weight, scale.reshape(-1, *[1] * (weight.ndim - 1))),
        "bias": bias.astype(weight.dtype),
    }
    return conv


def _scaled(weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """weight · scale in float64, a buffer at a time, in the dtype of weight."""
    return np.multiply(weight, scale, out=np.empty_like(weight), dtype=np.float64, casting="same_kind")


def _absorb_add(graph: Graph, node: Node, maker: dict[int, Node], kept: list[Node]) -> Node | None:
    """y = conv(x) + r: a convolution that runs when r is there already adds it as it stores."""
    if node.operation != "add":
        return None
    for value, other in (node.values, node.values[::-1]):
        conv = maker.get(value)
        if conv is None or conv.operation != "conv2d" or "add" in conv.fused or graph.uses(value) != 1:
            continue
        if other == 0 or (other in maker and kept.index(maker[other]) < kept.index(conv)):
            conv.values = [*conv.values, other]
            return conv
    return None


def _absorb_relu(graph: Graph, node: Node, maker: dict[int, Node], kept: list[Node]) -> Node | None:
    if node.operation != "relu":
        return None
    conv = maker.get(node.values[0])
    if conv is None or conv.operation not in HAS_EPILOGUE or "relu" in conv.fused or graph.uses(conv.output) != 1:
        return None
    return conv
