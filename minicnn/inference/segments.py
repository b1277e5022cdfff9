"""Where a plan may be cut into segments, and how many images each takes at a time.

Early layers of a network make large images from few weights: a batch of them does not stay in the cache between two
steps, a few images do. Late layers have many weights, which are read once for all images that run together. So the
steps between two places where a single value is alive form a block, and blocks with like limits form a segment that
runs for a few images at a time, by shapes alone.
"""

import math
from dataclasses import dataclass

from .record import Graph, Node

CACHE_BYTES = 12 << 20  # of images that a step reads and writes; what a last-level cache holds beside the weights
WEIGHTS = 4  # Winograd's filters are four times as large as the weights, and worth as many bytes of images
PER_IMAGE = ("conv2d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "batch_norm", "relu", "add")


@dataclass
class Part:
    """Consecutive operations of a graph with one value in and one out."""

    graph: Graph
    input: int
    images: int | None  # at a time; None: all of them


def split(graph: Graph) -> list[Part]:
    """The graph as parts that follow each other."""
    shapes = {0: graph.input_shape} | {node.output: node.shape for node in graph.nodes}
    parts: list[Part] = []
    block: list[Node] = []
    for i, node in enumerate(graph.nodes):
        block.append(node)
        if _alive_after(graph, i) != {node.output}:
            continue
        limits = [_images(each, shapes) for each in block]
        limit = None if None in limits else min(limits)
        previous = parts[-1] if parts else None
        if previous and _alike(previous.images, limit):
            previous.graph.nodes += block
            previous.graph.output = node.output
            previous.images = None if limit is None else min(previous.images, limit)
        else:
            start = previous.graph.output if previous else 0
            parts.append(Part(Graph(block, node.output, shapes[start]), start, limit))
        block = []
    if block:  # what nobody reads comes after the result
        start = parts[-1].graph.output if parts else 0
        parts.append(Part(Graph(block, graph.output, shapes[start]), start, None))
    return parts


def _alive_after(graph: Graph, i: int) -> set[int]:
    """Values that exist after operation i and are still needed."""
    made = {0} | {node.output for node in graph.nodes[: i + 1]}
    needed = {value for node in graph.nodes[i + 1 :] for value in node.values} | {graph.output}
    return made & needed


def _alike(a: int | None, b: int | None) -> bool:
    return a is b if a is None or b is None else max(a, b) < 2 * min(a, b)


def _images(node: Node, shapes: dict[int, tuple[int, ...]]) -> int | None:
    """How many images this step should take at a time; None: it may not be cut along the batch."""
    touched = [shapes[value] for value in (*node.values, node.output)]
    images = shapes[0][0]
    if node.operation not in PER_IMAGE or any(len(shape) != 4 or shape[0] != images for shape in touched):
        return None
    weight = node.constants.get("weight")
    itemsize = 4 if weight is None else weight.itemsize
    of_image = sum(math.prod(shape[1:]) for shape in touched) * itemsize
    return max(1, (CACHE_BYTES + WEIGHTS * (0 if weight is None else weight.nbytes)) // max(1, of_image))
