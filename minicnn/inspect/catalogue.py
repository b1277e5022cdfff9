"""Every operation of `functional` at inputs that show its corners, and `gradcheck_all`, which checks them all."""

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import functional
from .gradients import gradcheck
from .report import Report


class Case(NamedTuple):
    label: str  # what is particular about it
    inputs: tuple[Any, ...]
    settings: dict[str, Any]


def operations() -> tuple[str, ...]:
    """The names of the operations that can be checked."""
    return tuple(cases(np.random.default_rng(0)))


def gradcheck_all(names: Sequence[str] = (), seed: int = 0) -> list[Report]:
    """Check these operations of `minicnn.functional` (all, if none is named), a report for each of their cases.

    `ValueError` for a name that is none of them.

    >>> reports = gradcheck_all(["linear"])
    >>> all(reports)
    True
    """
    table = cases(np.random.default_rng(seed))
    if isinstance(names, str):
        raise TypeError(f"gradcheck: names must be a list of operations, got the string {names!r}")
    for name in names:
        if name not in table:
            close = difflib.get_close_matches(str(name), table, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(table)}"
            raise ValueError(f"gradcheck: there is no operation {str(name)[:40]!r}; {hint}"[:399])
    return [
        gradcheck(
            (getattr(functional, name), getattr(functional, f"{name}_backward")),
            *case.inputs,
            seed=seed,
            name=f"{name} ({case.label})" if case.label else name,
            **case.settings,
        )
        for name in (names or table)
        for case in table[name]
    ]


def cases(rng: np.random.Generator) -> dict[str, list[Case]]:
    """By operation: plain inputs first, then what is special."""
    normal = rng.standard_normal
    image = normal((2, 4, 6, 7))
    with_zero = normal((3, 5))
    with_zero[1, 2] = 0.0
    table = {
        "conv2d": [
            Case("", (image, normal((3, 4, 3, 2)), normal(3)), {}),
            Case("stride, padding, dilation", (image, normal((3, 4, 2, 3)), normal(3)),
                 {"stride": (2, 1), "padding": (1, 2), "dilation": (2, 1)}),
            Case("groups, same", (image, normal((6, 2, 3, 4)), None), {"padding": "same", "groups": 2}),
            Case("depthwise", (image, normal((8, 1, 3, 3)), normal(8)), {"groups": 4, "padding": 1}),
        ],
        "conv_transpose2d": [
            Case("", (normal((2, 3, 4, 3)), normal((3, 2, 3, 2)), normal(2)), {}),
            Case("stride, groups", (normal((2, 4, 3, 3)), normal((4, 2, 3, 3)), normal(4)),
                 {"stride": (2, 3), "padding": 1, "output_padding": (1, 2), "groups": 2}),
        ],
        "linear": [Case("", (normal((4, 5)), normal((3, 5)), normal(3)), {})],
        "max_pool2d": [
            Case("", (image, 2), {}),
            Case("overlapping, padded", (image, 3), {"stride": 2, "padding": 1, "ceil_mode": True}),
            Case("ties", (rng.integers(0, 3, (1, 2, 5, 5)).astype(float), 2), {"stride": 1}),
        ],
        "avg_pool2d": [
            Case("", (image, 2), {}),
            Case("padded, ceil", (image, 3), {"stride": 2, "padding": 1, "ceil_mode": True}),
            Case("padding not counted", (image, (3, 2)), {"stride": 2, "padding": 1, "count_include_pad": False}),
        ],
        "adaptive_avg_pool2d": [Case("", (image, (4, 3)), {})],
        "batch_norm": [
            Case("training", (image, np.zeros(4), np.ones(4), normal(4), normal(4)), {"training": True}),
            Case("evaluation", (image, normal(4), rng.random(4) + 0.5, normal(4), normal(4)), {}),
        ],
        **{name: [Case("", (normal((3, 5)),), {})] for name in ("sigmoid", "tanh", "silu")},
        "relu": [Case("", (normal((3, 5)),), {}), Case("at 0", (with_zero,), {})],
        "leaky_relu": [Case("at 0", (with_zero, 0.2), {})],
        "gelu": [Case("", (normal((3, 5)),), {}), Case("tanh", (normal((3, 5)),), {"approximate": "tanh"})],
        "softmax": [Case("", (normal((3, 5)),), {}), Case("axis 1", (image,), {"axis": 1})],
        "log_softmax": [Case("", (normal((3, 5)),), {}), Case("axis 1", (image,), {"axis": 1})],
        "dropout": [Case("", (normal((4, 5)), 0.4), {"rng": np.random.default_rng(1)})],
        "flatten": [Case("", (image,), {})],
        "pad": [Case(mode, (image, (1, 2, 3, 0)), {"mode": mode})
                for mode in ("constant", "reflect", "replicate", "circular")],
        "add": [Case("", (normal((3, 5)), normal((3, 5))), {})],
        "concat": [Case("", ([normal((2, 1, 3)), normal((2, 3, 3))],), {})],
        "interpolate": [
            Case("nearest", (image,), {"scale_factor": (2.0, 1.5)}),
            Case("bilinear", (image,), {"size": (9, 4), "mode": "bilinear"}),
            Case("corners aligned", (image,), {"size": (4, 11), "mode": "bilinear", "align_corners": True}),
        ],
        "cross_entropy": [
            Case("", (normal((6, 4)), rng.integers(0, 4, 6)), {}),
            Case("weights, smoothing, ignored", (normal((6, 4)), np.array([0, 1, 2, 3, -1, 2])),
                 {"weight": rng.random(4) + 0.5, "ignore_index": -1, "label_smoothing": 0.1}),
            Case("probabilities", (normal((5, 4)), rng.dirichlet(np.ones(4), 5)), {"weight": rng.random(4) + 0.5}),
        ],
        "nll_loss": [Case("", (normal((6, 4)), rng.integers(0, 4, 6)), {"weight": rng.random(4) + 0.5})],
        "mse_loss": [Case("", (normal((3, 5)), normal((3, 5))), {})],
        "binary_cross_entropy_with_logits": [Case("", (normal((3, 5)), rng.random((3, 5))), {})],
    }  # fmt: skip
    return table
