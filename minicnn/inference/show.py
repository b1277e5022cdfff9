"""The plan of a compiled model as text."""

import math
from typing import Any

HEADINGS = ("step", "module", "operation", "output", "MFLOP", "buffer")


def table(compiled: Any) -> str:
    """One line a step; FLOPs are those of the recorded shape, two for a multiplication and an addition."""
    if compiled.steps is None:
        return "compiled model: planned at the first call, when the size of the images is known"
    rows = [HEADINGS]
    for number, step in enumerate(compiled.steps, start=1):
        node = step.node
        rows.append((
            str(number), node.module, describe(step), "×".join(map(str, node.shape)), f"{flops(node) / 1e6:.1f}",
            "new" if step.buffer is None else str(step.buffer),
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def describe(step: Any) -> str:
    """conv2d + batch_norm + relu (winograd)"""
    text = " + ".join([step.node.operation, *step.node.fused])
    algorithm = getattr(step.operator, "algorithm", None)
    return f"{text} ({algorithm})" if algorithm else text


def flops(node: Any) -> int:
    """Two for each weight and output position it meets; other operations one a value."""
    weight = node.constants.get("weight")
    if node.operation in ("conv2d", "linear") and weight is not None:
        return 2 * math.prod(node.shape) * math.prod(weight.shape[1:])
    return math.prod(node.shape)
