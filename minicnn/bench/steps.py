"""Whole training steps, and the steps of the optimisers alone, ours and torch's from the same weights."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import manual_seed, models, nn, optim
from ..backends import backend
from ..inspect import summary
from ..training import GraphedStep
from . import torch_peer
from .harness import OURS, Case
from .operations import random

Array = np.ndarray
RATE, MOMENTUM = 1e-3, 0.9  # of SGD in every step here
NETWORKS = {"SimpleCNN": (1, 10), "ResNet18": (3, 1000)}  # channels of the images, classes
# settings, and how many arrays as large as the parameters a step reads and writes
OPTIMIZERS: dict[str, tuple[dict[str, float], int]] = {
    "SGD": ({"lr": RATE, "momentum": MOMENTUM}, 5),
    "Adam": ({"lr": RATE}, 7),
}


def training_step(network: str, image: int, batch: int, peers: Sequence[str]) -> Case:
    """Forward, cross-entropy, backward and a step of SGD with momentum, on random images with this side."""
    manual_seed(0)
    channels, classes = NETWORKS[network]
    images = random(batch, channels, image, image)
    target = np.random.default_rng(1).integers(0, classes, batch)
    model = our_network(network, image)
    state = model.state_dict()
    calls = {OURS: our_step(model, images, target)}
    work = 3.0 * batch * flops(model, channels, image)  # the backward: one product for dx, one for dweight
    if "torch" in peers:
        for layout in (torch_peer.NCHW, torch_peer.CHANNELS_LAST):
            theirs = torch_peer.with_weights(torch_network(network, image), state, layout)
            calls[layout] = torch_step(theirs, images, target, layout)

    def truth() -> tuple:
        exact = images.astype(np.float64)
        if "torch" in peers:
            theirs = torch_peer.with_weights(torch_network(network, image), state, double=True)
            return torch_step(theirs, exact, target, torch_peer.NCHW)()
        ours = our_network(network, image).astype(np.float64)
        ours.load_state_dict(state)
        with backend("reference"):
            return our_step(ours, exact, target)()

    name = f"{network} {channels}x{image}x{image}"
    # one activation that rounding puts on the other side of a ReLU or of a maximum moves single gradients by a percent
    return Case("training step", name, batch, "step", work, "GFLOP/s", calls, truth, 5e-2)


def flops(model: Any, channels: int, image: int) -> int:
    """Of one forward with one image, counted on the reference backend: no kernel is compiled yet when timing begins."""
    model.eval()
    with backend("reference"):
        found = summary(model, (1, channels, image, image)).flops
    model.train()
    return found


def our_network(name: str, image: int) -> Any:
    return models.resnet18() if name == "ResNet18" else models.SimpleCNN(*NETWORKS[name], image)


def torch_network(name: str, image: int) -> Any:
    return torch_peer.resnet18() if name == "ResNet18" else torch_peer.small_cnn(*NETWORKS[name], image)


def our_step(model: Any, images: Array, target: Array) -> Callable[[], tuple]:
    """A call that trains one step and returns the loss and the gradients of the first and last weights."""
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    parameters = list(model.parameters())

    def step() -> tuple:
        optimizer.zero_grad()
        loss = criterion(model(images), target)
        model.backward(criterion.backward(), need_dx=False)
        optimizer.step()
        return loss, parameters[0].grad, parameters[-2].grad

    return step


def our_graph(model: Any, images: Array, target: Array) -> Callable[[], tuple]:
    """The same on a GPU, as a graph after the first `graphed.RUNS` calls."""
    optimizer = optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    graphed = GraphedStep(model, nn.CrossEntropyLoss(), optimizer)
    parameters = list(model.parameters())

    def step() -> tuple:
        _, loss = graphed(images, target)
        return loss, parameters[0].grad, parameters[-2].grad

    return step


def torch_step(model: Any, images: Array, target: Array, layout: str) -> Callable[[], tuple]:
    """The same in torch, with its fused optimiser."""
    import torch

    x, t = torch_peer.tensor(images, layout), torch.tensor(target)
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=RATE, momentum=MOMENTUM, fused=True)

    def step() -> tuple:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), t)
        loss.backward()
        optimizer.step()
        return loss, parameters[0].grad, parameters[-2].grad

    return step


def optimizer_step(name: str, network: str, image: int, peers: Sequence[str]) -> Case:
    """One step of an optimiser on all parameters of a network, every gradient given."""
    settings, arrays = OPTIMIZERS[name]
    shapes = [p.data.shape for p in our_network(network, image).parameters()]
    moved = arrays * 4.0 * sum(math.prod(shape) for shape in shapes)
    calls = {OURS: our_optimizer(name, settings, shapes, np.float32)}
    if "torch" in peers:
        calls["torch"] = torch_optimizer(name, settings, shapes, False)
        calls["torch fused"] = torch_optimizer(name, settings, shapes, True)

    def truth() -> tuple:
        if "torch" in peers:
            return torch_optimizer(name, settings, shapes, False, double=True)()
        with backend("reference"):
            return our_optimizer(name, settings, shapes, np.float64)()

    return Case("optimiser", f"{name} {network}", None, "step", moved, "GB/s", calls, truth, 1e-6)


def our_optimizer(name: str, settings: dict, shapes: list[tuple], dtype: Any) -> Callable[[], tuple]:
    parameters = [nn.Parameter(random(*shape).astype(dtype)) for shape in shapes]
    for p in parameters:
        p.grad = p.data / 8
    optimizer = getattr(optim, name)(parameters, **settings)

    def step() -> tuple:
        optimizer.step()
        return tuple(p.data for p in parameters)

    return step


def torch_optimizer(
    name: str, settings: dict, shapes: list[tuple], fused: bool, double: bool = False
) -> Callable[[], tuple]:
    import torch

    parameters = [torch.nn.Parameter(torch_peer.tensor(random(*shape), torch_peer.NCHW, double)) for shape in shapes]
    for p in parameters:
        p.grad = p.detach() / 8
    optimizer = getattr(torch.optim, name)(parameters, fused=fused, **settings)

    def step() -> tuple:
        optimizer.step()
        return tuple(parameters)

    return step
