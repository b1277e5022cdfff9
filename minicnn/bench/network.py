"""Inference of ResNet18: `minicnn.compile` beside the inference engines, in one process and in turns."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import load, models, no_grad
from ..backends import backend
from . import engines
from .harness import OURS, Call, Case
from .steps import flops

Array = np.ndarray


def contestants(peers: Sequence[str]) -> list[str]:
    """Ours first, then every way in which a peer can do it."""
    return [OURS, *(way for peer in peers for way in engines.PEERS[peer])]


def prediction(folder: Path, batch: int, image: int, peers: Sequence[str], threads: int) -> Case:
    """A call with so many images of this side. folder: that of `engines.write_weights`."""
    state = load(folder / "resnet18.safetensors")
    work = float(batch * flops(models.resnet18(), 3, image))
    x = np.random.default_rng(batch).standard_normal((batch, 3, image, image), np.float32)
    calls: dict[str, Call] = {}
    for who in contestants(peers):
        calls[who] = _predicts(engines.load(who, folder, threads, x.shape), x)
    return Case(
        "ResNet18 inference", f"ResNet18 {image}x{image}", batch, "predict", work, "GFLOP/s", calls,
        lambda: (_exact(state, x, "torch" in peers),), 1e-4,
    )  # fmt: skip


def _predicts(predict: engines.Predict, x: Array) -> Call:
    return lambda: (predict(x),)


def _exact(state: dict[str, Array], x: Array, with_torch: bool) -> Array:
    """The logits in float64, by torch where it is there, else by the reference backend."""
    if with_torch:
        import torch

        from . import torch_peer

        network = torch_peer.with_weights(torch_peer.resnet18(), state, double=True).eval()
        with torch.inference_mode():
            return network(torch.tensor(x).double()).numpy()
    model: Any = models.resnet18().astype(np.float64)
    model.load_state_dict(state)
    model.eval()
    with backend("reference"), no_grad():
        return np.concatenate([model(one[None].astype(np.float64)) for one in x])
