"""The picture of a trace: how activations and gradients grow or fade over the depth of a network."""

import io
import os
from typing import Any

import numpy as np

from ..files import write_whole
from ..functional.door import describe

INK, GRID = "#1f2933", "#e4e7eb"
LINES = (("activation y", "#9aa5b1", "o-"), ("gradient dy", "#0b6e99", "o-"), ("weight gradient", "#d1495b", "D"))


def draw(trace: Any, path: Any = None) -> Any:
    """A matplotlib `Figure` of a `Trace`, without pyplot, whose state belongs to the user; see `Trace.plot`."""
    if path is not None and not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"Trace.plot: path must be a str or a path, got {describe(path)}")
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ModuleNotFoundError("Trace.plot needs matplotlib: pip install 'minicnn[plots]'") from None

    steps = [step for step in trace.steps if step.module != "loss"]
    figure = Figure(figsize=(min(16, 4 + 0.28 * len(steps)), 5.2), dpi=120, layout="constrained", facecolor="white")
    axes = figure.subplots()
    for (label, colour, style), values in zip(LINES, _spreads(steps)):
        axes.plot(range(len(steps)), values, style, color=colour, label=label, linewidth=1.6, markersize=4)
    axes.set_yscale("log")
    axes.set_xticks(range(len(steps)), [_label(step) for step in steps], rotation=90, fontsize=7)
    axes.set_ylabel("standard deviation", color=INK)
    axes.set_title(f"{trace.model}: loss {trace.loss:.4g}", color=INK, fontsize=11, loc="left")
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0)
    for place, step in enumerate(steps):
        if step.activation.not_finite or (step.gradient is not None and step.gradient.not_finite):
            axes.axvspan(place - 0.5, place + 0.5, color="#d1495b", alpha=0.2, label="_NaN or infinity")
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.margins(x=0.01)
    axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    if path is not None:
        content = io.BytesIO()
        figure.savefig(content, format="png")
        write_whole(path, content.getvalue())
    return figure


def _spreads(steps: list[Any]) -> list[np.ndarray]:
    """Of each step the deviations of y, dy and dweight; NaN, which is not drawn, where there is none or it is 0."""
    rows = [
        (
            step.activation.std,
            step.gradient.std if step.gradient is not None else 0.0,
            step.parameters["weight"].std if "weight" in step.parameters else 0.0,
        )
        for step in steps
    ]
    spreads = np.array(rows, float).reshape(-1, len(LINES)).T
    return list(np.where(spreads > 0, spreads, np.nan))


def _label(step: Any) -> str:
    name = step.module if len(step.module) <= 24 else f"…{step.module[-23:]}"
    return f"{name} {step.operation}" if name else step.operation
