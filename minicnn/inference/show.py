"""The plan of a compiled model as text."""

import math
from typing import Any

Row = tuple[str, ...]


def table(compiled: Any) -> str:
    """One line a step. FLOPs and bytes are those of the recorded shape; FLOPs those of the direct algorithm."""
    if compiled.steps is None:
        return "compiled model: planned at the first call, when the size of the images is known"
    rows: list[Row] = [("step", "module", "operation", "output", "MFLOP", "MB", "buffer")]
    for number, step in enumerate(compiled.steps, start=1):
        where = "new" if step.buffer is None else str(step.buffer)
        size = f"{bytes_touched(compiled, step.node) / 1e6:.2f}"
        rows.append((*_start(compiled, number, step), f"{flops(step.node) / 1e6:.1f}", size, where))
    return _aligned(rows)


def timed_table(compiled: Any, images: int, seconds: Any) -> str:
    """The same with times, for a run of so many images."""
    share = images / compiled._input_shape[0]
    rows: list[Row] = [("step", "module", "operation", "output", "ms", "GFLOP/s", "MB")]
    for number, (step, spent) in enumerate(zip(compiled.steps, seconds), start=1):
        speed = f"{flops(step.node) * share / max(spent, 1e-9) / 1e9:.1f}"
        size = f"{bytes_touched(compiled, step.node, share) / 1e6:.2f}"
        rows.append((*_start(compiled, number, step), f"{spent * 1e3:.3f}", speed, size))
    rows.append(("", "all", "", "", f"{sum(seconds) * 1e3:.3f}", "", ""))
    return _aligned(rows)


def _shapes(compiled: Any) -> dict[int, tuple[int, ...]]:
    return {0: compiled._input_shape} | {step.node.output: step.node.shape for step in compiled.steps}


def _start(compiled: Any, number: int, step: Any) -> Row:
    return str(number), step.node.module, describe(compiled, step), "×".join(map(str, step.node.shape))


def _aligned(rows: list[Row]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def describe(compiled: Any, step: Any) -> str:
    """conv2d + batch_norm + relu (winograd), for images of the recorded shape."""
    text = " + ".join([step.node.operation, *step.node.fused])
    if not hasattr(step.operator, "algorithm"):
        return text
    return f"{text} ({step.operator.algorithm(_shapes(compiled)[step.node.values[0]])})"


def flops(node: Any) -> int:
    """Two for each weight and output position it meets; other operations one a value."""
    weight = node.constants.get("weight")
    if node.operation in ("conv2d", "linear") and weight is not None:
        return 2 * math.prod(node.shape) * math.prod(weight.shape[1:])
    return math.prod(node.shape)


def bytes_touched(compiled: Any, node: Any, share: float = 1.0) -> float:
    """What a step reads and writes: images, `share` times the recorded batch, and weights."""
    shapes = _shapes(compiled)
    images = sum(math.prod(shapes[value]) for value in (*node.values, node.output)) * compiled._dtype.itemsize
    return share * images + sum(array.nbytes for array in node.constants.values())
