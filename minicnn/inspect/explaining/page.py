"""explain: one forward, backward and step of a network on one image as a page that opens in any browser."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ... import functional
from ...backends.settings import no_grad
from ...files import write_whole
from ...functional import check
from ...functional.door import describe
from ...nn import Module
from ..scores import class_of, one_image
from ..statistics import Statistics
from .pack import Pack
from .places import channels_of, need_all, open_places
from .record import Node, Recording, record
from .steps import sgd_steps

Array = np.ndarray

DATA = "<!--DATA-->"  # where in the built page the data goes


@dataclass(frozen=True)
class Explanation:
    """What `explain` found. `document`: all but the arrays; `arrays`: those on the page, by the names it has there."""

    document: dict[str, Any]
    arrays: dict[str, Array]
    payload: str  # the bytes of the arrays, compressed, as base64

    def html(self) -> str:
        """The page: one HTML text that loads nothing else."""
        text = json.dumps(_plain(self.document), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
        data = (
            f'<script type="application/json" id="document">{text}</script>\n'
            f'<script type="text/plain" id="payload">{self.payload}</script>'
        )
        return built_page().replace(DATA, data)

    def write(self, path: str | Path) -> None:
        """The page as a file, written whole or not at all; `OSError` if it cannot be."""
        write_whole(path, self.html().encode())


def built_page() -> str:
    """The page without data, as it was built from docs/explain."""
    return (resources.files("minicnn.inspect") / "page" / "explain.html").read_text(encoding="utf-8")


def explain(
    model: Module,
    x: Array,
    target: int | None = None,
    *,
    classes: Sequence[str] = (),
    name: str = "",
    shown: Array | None = None,
    training: bool = False,
) -> Explanation:
    """Run one forward, cross-entropy and backward on one image and keep what a page needs to show all of it.

    x: one image as the model takes it, (C, H, W) or (1, C, H, W). target: the class of the loss, by default the one
    that the model finds. classes: their names. name: of the model, by default its class. shown: the image as it is
    drawn, (1 or 3, H, W) in [0, 1]. training: batch norms take the statistics of this one image and dropout drops;
    else everything is as in evaluation, and gradients flow all the same. A copy of the model runs; it stays as it is.

    A network of up to about 2 million numbers is on the page with all of them. Of a larger one 24 channels of each
    layer, those that matter most to the loss, are drawn in 8 bits, and 12 positions in each of them (of layers without
    maps 32 units) have all their numbers, exact.
    `TypeError`, `ValueError` and `IndexError` for arguments that do not fit.

    >>> from minicnn import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    >>> found = explain(model, np.ones((1, 4, 4), np.float32), target=2)
    >>> [node["operation"] for node in found.document["nodes"]]
    ['input', 'conv2d', 'relu', 'flatten', 'linear', 'cross_entropy']
    >>> found.html().startswith("<!doctype html>")
    True
    """
    twin, image = one_image("explain", model, x)
    training = check.flag("explain", "training", training)
    names = _names(classes)
    if shown is not None and (not isinstance(shown, np.ndarray) or shown.ndim != 3 or len(shown) not in (1, 3)):
        raise ValueError(f"explain: shown must be an image (1 or 3, H, W) in [0, 1], got {describe(shown)}")
    with no_grad():
        chosen = class_of("explain", twin(image), target)
    run = record(model, image, np.array([chosen]), training)
    probabilities = functional.softmax(run.logits)[0][0]
    if names and len(names) != len(probabilities):
        raise ValueError(f"explain: classes must name {len(probabilities)} classes, got {len(names)} names")
    pack = Pack()
    nodes = _nodes(run, pack)
    picture = image[0] if shown is None else shown
    document: dict[str, Any] = {
        "model": name or type(model).__name__,
        "classes": names or [f"class {i}" for i in range(len(probabilities))],
        "target": chosen,
        "given": target is not None,
        "predicted": int(np.argmax(probabilities)),
        "training": training,
        "loss": run.loss,
        "whole": pack.whole,
        "values": sum(array.size for array in pack.arrays.values()),
        "nodes": nodes,
        "picture": pack.add("picture", np.asarray(picture, np.float32)),
        "probabilities": pack.add("probabilities", probabilities),
    }
    step = sgd_steps(run.twin, image, np.array([chosen]))
    for key in ("sizes", "losses", "probabilities"):
        step[key] = pack.add(f"step.{key}", np.asarray(step[key], probabilities.dtype if key[0] == "p" else np.float64))
    for key in ("picture", "probabilities"):
        pack.need(document[key], np.arange(pack.arrays[document[key]].size))
    for key in step.values():
        pack.need(key, np.arange(pack.arrays[key].size))
    document["step"] = step
    document["arrays"], payload = pack.write()
    return Explanation(document, pack.arrays, payload)


def _names(classes: Any) -> list[str]:
    if not check.is_sequence(classes):
        raise TypeError(f"explain: classes must be a list of names, got {describe(classes)}")
    return [str(each) for each in classes]


def _nodes(run: Recording, pack: Pack) -> list[dict[str, Any]]:
    kept = [_keep(place, node, pack) for place, node in enumerate(run.nodes)]
    entries = []
    for node, names in zip(run.nodes, kept):
        y, dy = node.arrays["y"], node.arrays.get("dy")
        entry: dict[str, Any] = {
            "operation": node.operation, "module": node.module, "kind": node.kind, "settings": _settings(node),
            "sources": node.sources, "shape": list(y.shape[1:]), "names": names,
            "y": _statistics(y), "dy": None if dy is None else _statistics(dy), "open": None,
        }  # fmt: skip
        entries.append(entry)
        if node.operation == "cross_entropy":  # of every class, however many there are
            for name in ("logits", "dlogits"):
                pack.need(names[name], np.arange(node.arrays[name].size))
        if pack.whole or y.ndim not in (2, 4):
            continue
        channels = channels_of(y, dy) if y.ndim == 4 else None
        if y.ndim == 4:
            for name in ("y", "dy"):
                if name in names:
                    pack.picture(names[name], channels)
        entry["open"] = open_places(node, channels)
        need_all(pack, node, names, entry["open"])
    return entries


def _keep(place: int, node: Node, pack: Pack) -> dict[str, str]:
    arrays = dict(node.arrays)
    for name in ("running_mean", "running_var"):
        arrays.pop(name, None)
    if node.operation == "batch_norm":
        arrays |= _batch_sums(node)
    return {name: pack.add(f"{place}.{name}", array) for name, array in arrays.items() if array is not None}


def _batch_sums(node: Node) -> dict[str, Array]:
    """By channel, with the statistics of this image whichever normalised: mean, variance, Σ dy, Σ dy · x̂."""
    x, dy, eps = node.arrays["x"].astype(np.float64), node.arrays["dy"].astype(np.float64), node.settings["eps"]
    over = (0, *range(2, x.ndim))
    mean, var = x.mean(axis=over), x.var(axis=over)
    column = (-1, *[1] * (x.ndim - 2))
    x_hat = (x - mean.reshape(column)) / np.sqrt(var.reshape(column) + eps)
    return {"own_mean": mean, "own_var": var, "sum_dy": dy.sum(axis=over), "sum_dy_x_hat": (dy * x_hat).sum(axis=over)}


def _settings(node: Node) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in node.settings.items()}


def _statistics(array: Array) -> dict[str, Any]:
    found = Statistics.of(array)
    return {"mean": found.mean, "std": found.std, "largest": found.largest, "zeros": found.zeros,
            "notFinite": found.not_finite}  # fmt: skip


def _plain(value: Any) -> Any:
    """What JSON can say; numbers that are not finite as text."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else str(float(value))
    return int(value) if isinstance(value, np.integer) else value
