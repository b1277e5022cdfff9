"""A trace as a table."""

from collections.abc import Sequence
from typing import Any

HEAD = (
    "operation", "module", "input", "output", "MFLOPs", "MB", "fwd ms", "bwd ms", "y mean", "y std", "y max", "y zeros",
    "dy std", "dy max", "not finite",
)  # fmt: skip
LEFT = 4  # columns of text; numbers stand to the right


def table(trace: Any) -> str:
    """One line an operation, then the sums, then where the first NaN or infinity came up."""
    lines = [HEAD, *(_cells(step) for step in trace.steps)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD) - 1)]
    text = [
        "  ".join([cell.ljust(w) if i < LEFT else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths))])
        + f"  {line[-1]}".rstrip()
        for line in lines
    ]
    forward, backward = (sum(getattr(s, f"{way}_seconds") for s in trace.steps) for way in ("forward", "backward"))
    flops = sum(step.flops for step in trace.steps), sum(step.backward_flops for step in trace.steps)
    text.append(
        f"{trace.model}: loss {trace.loss:.6g}; forward {flops[0] / 1e6:.2f} MFLOPs, {forward * 1e3:.2f} ms; "
        f"backward {flops[1] / 1e6:.2f} MFLOPs, {backward * 1e3:.2f} ms"
    )
    found = _first_not_finite(trace.steps)
    return "\n".join([*text, *([f"first not finite: {found}"] if found else [])])


def _cells(step: Any) -> tuple[str, ...]:
    y, dy = step.activation, step.gradient
    return (
        step.operation, step.module, _shape(step.input_shape), _shape(step.output_shape), f"{step.flops / 1e6:.2f}",
        f"{step.bytes / 1e6:.2f}", f"{step.forward_seconds * 1e3:.3f}", f"{step.backward_seconds * 1e3:.3f}",
        f"{y.mean:.1e}", f"{y.std:.1e}", f"{y.largest:.1e}", f"{y.zeros:.0%}",
        "-" if dy is None else f"{dy.std:.1e}", "-" if dy is None else f"{dy.largest:.1e}", _not_finite(step),
    )  # fmt: skip


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "()"


def _not_finite(step: Any) -> str:
    found = [
        f"{statistics.not_finite} of {name}, first at {statistics.first_not_finite}"
        for name, statistics in (("y", step.activation), ("dy", step.gradient))
        if statistics is not None and statistics.not_finite
    ]
    return "; ".join(found)


def _first_not_finite(steps: Sequence[Any]) -> str:
    """In the order in which things happened: activations from the image to the loss, then gradients back."""
    for step in steps:
        if step.activation.not_finite:
            return f"y of {step.operation} in {step.module}, at {step.activation.first_not_finite}"
    for step in reversed(steps):
        if step.gradient is not None and step.gradient.not_finite:
            return f"dy of {step.operation} in {step.module}, at {step.gradient.first_not_finite}"
    return ""
