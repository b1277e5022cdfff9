"""A training step as one launch: forward, loss, backward and the optimiser's step in a CUDA graph."""

from typing import Any

import numpy as np

from .. import nn, random
from ..backends import load, module_of, simulates_cuda
from ..backends.places import library
from ..backends.settings import get_conv_algorithm, keeps_contexts
from ..functional import door
from ..functional.loss import check_classes

Array = Any
RUNS = 2  # eager steps of a kind before it is captured: the first makes the optimiser's state
MOST = 4  # kinds of steps (shapes of batches, frozen layers) that are kept as graphs


class GraphedStep:
    """`y, loss = step(x, target)`: one step of training, on the GPU as one launch.

    model: on the GPU (`model.to("cuda")`). criterion: a loss module. optimizer: over the parameters to train.
    x: a batch there or in main memory. target: as the criterion takes it, in main memory.

    The first steps of a kind (the shapes of a batch, the modes of the modules, what is frozen, the settings of the
    optimiser) run one operation after the other; then the step is captured and repeated. Learning rates and the counts
    of Adam are read from memory, so schedules work. What a graph could not repeat always runs one operation after the
    other: dropout, batch norms with momentum None, modules with hooks, inside `door.listen`, models in main memory.
    `why_eager` says why the last step did, None for one that was a graph.

    y and loss of a graph are overwritten by the next step, and so are the gradients. Attributes of layers other than
    `training` and `requires_grad` must stay as they were when the step was captured.
    """

    def __init__(self, model: Any, criterion: Any, optimizer: Any):
        self.model, self.criterion, self.optimizer = model, criterion, optimizer
        self.why_eager: str | None = None
        self._kinds: dict[tuple, _Kind] = {}

    def __call__(self, x: Array, target: Array) -> tuple[Array, Any]:
        self.why_eager = self._obstacle()
        if self.why_eager is not None:
            return self._eager(x, target)
        key = self._key(x, np.asarray(target))
        kind = self._kinds.get(key)
        if kind is None:
            while len(self._kinds) >= MOST:
                del self._kinds[next(iter(self._kinds))]
            kind = self._kinds[key] = _Kind(self, x, np.asarray(target))
        return kind.step(x, np.asarray(target))

    def _eager(self, x: Array, target: Array) -> tuple[Array, Any]:
        """The whole of a step."""
        y = self.model(x)
        loss = self.criterion(y, target)
        self.optimizer.zero_grad()
        self.model.backward(self.criterion.backward(), need_dx=False)
        self.optimizer.step()
        return y, loss

    def _obstacle(self) -> str | None:
        """Why no step can be a graph now; None if it can."""
        parameters = [p.data for p in self.model.parameters()]
        if not parameters or not all(_on_gpu(data) and data.flags.c_contiguous for data in parameters):
            return "the parameters are not on a GPU, or not in C order"
        if door.listeners() or not keeps_contexts():
            return "somebody listens to the operations, or they keep nothing"
        for name, module in (*self.model.named_modules(), *self.criterion.named_modules()):
            if module._forward_hooks or module._backward_hooks:
                return f"{name or type(module).__name__} has hooks"
            if isinstance(module, nn.Dropout) and module.training and module.p > 0:
                return f"{name or 'dropout'} draws its mask in main memory"
            if isinstance(module, nn.BatchNorm2d) and module.moves() and module.momentum is None:
                return f"{name or 'batch norm'} averages over a count of batches"
        return None

    def _key(self, x: Array, target: np.ndarray) -> tuple:
        """What a captured step depends on."""
        modules = tuple((id(module), module.training) for module in self.model.modules())
        parameters = tuple((id(p.data), p.requires_grad) for p in self.model.parameters())
        buffers = tuple(id(buffer) for buffer in (*self.model.buffers(), *self.criterion.buffers()))
        settings = tuple(
            tuple((name, value) for name, value in group.items() if name not in ("params", "lr"))
            + tuple(id(p.data) for p in group["params"])
            for group in self.optimizer.param_groups
        )
        batch = x.shape, x.dtype.str, target.shape, target.dtype.kind, target.dtype.itemsize, get_conv_algorithm()
        return batch, modules, parameters, buffers, settings


class _Kind:
    """The steps of one kind: eager ones, then the graph."""

    def __init__(self, owner: GraphedStep, x: Array, target: np.ndarray):
        self.owner, self.runs, self.refusal = owner, 0, ""
        self.graph = load("cuda").graph.Graph()
        # an array that goes away could leave its id to another, which the key would not tell from it
        parameters, buffers = owner.model.parameters(), (*owner.model.buffers(), *owner.criterion.buffers())
        self.held = [p.data for p in parameters], buffers
        self.x = _empty(x.shape, x.dtype)
        self.target = _empty(target.shape, np.int64 if target.dtype.kind in "iu" else target.dtype)
        self.results: tuple[Array, Any] = None, None
        self.grads: list[Array | None] = []
        self.counts: list[tuple[Array, Any]] = []  # integer buffers of the model, and what a step adds to each

    def step(self, x: Array, target: np.ndarray) -> tuple[Array, Any]:
        owner = self.owner
        if self.refusal:
            owner.why_eager = self.refusal
            return owner._eager(x, target)
        if self.runs < RUNS:
            self.runs += 1
            owner.why_eager = f"step {self.runs} of its kind"
            _fill(self.x, x)
            self.results = self.graph.run(lambda: owner._eager(self.x, target))
            return self.results
        check_classes("GraphedStep", self.results[0], target, getattr(owner.criterion, "ignore_index", -100))
        _fill(self.x, x)
        _fill(self.target, target)
        if not self.grads:
            self.results = None, None  # their memory is the graph's to use
            return self._captured(x, target)
        for parameter, grad in zip(owner.model.parameters(), self.grads):
            parameter.grad = grad
        for count, more in self.counts:
            count += more
        self.graph.replay(owner.optimizer.step)
        return self.results

    def _captured(self, x: Array, target: np.ndarray) -> tuple[Array, Any]:
        """Capture the step and take it; if it cannot be captured, take it one operation after the other."""
        owner = self.owner
        before = _HostState(owner.model, owner.optimizer)
        try:
            self.results = self.graph.capture(lambda: owner._eager(self.x, self.target))
        except load("cuda").graph.NotRecordable as problem:
            before.restore()
            owner.why_eager = self.refusal = f"it cannot be captured: {problem}"
            return owner._eager(x, target)
        self.grads = [parameter.grad for parameter in owner.model.parameters()]
        self.counts = before.added()
        self.graph.start()
        return self.results


class _HostState:
    """What a step changes in main memory."""

    def __init__(self, model: Any, optimizer: Any):
        self.counts = [(buffer, buffer.copy()) for buffer in model.buffers() if buffer.dtype.kind in "iu"]
        self.state = {p: dict(entry) for p, entry in optimizer.state.items()}
        self.optimizer = optimizer
        self.random = random.generator().bit_generator.state

    def added(self) -> list[tuple[Array, Any]]:
        """What has been added to each count since."""
        return [(buffer, buffer - before) for buffer, before in self.counts]

    def restore(self) -> None:
        for buffer, before in self.counts:
            buffer[...] = before
        self.optimizer.state = self.state
        random.generator().bit_generator.state = self.random


def _on_gpu(array: Array) -> bool:
    """On a GPU, or where the simulator stands for one."""
    if not isinstance(array, np.ndarray):
        return True
    return simulates_cuda() and module_of(array) is load("cuda.host") and load("cuda").graph.available()


def _empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """A new array on the GPU."""
    return load("cuda").arrays.empty(shape, dtype)


def _fill(buffer: Array, values: Array) -> None:
    """Copy values into a buffer, from main memory or not, after what the current stream holds."""
    if isinstance(values, np.ndarray) and not isinstance(buffer, np.ndarray):
        values = library(buffer).asarray(values)  # by way of pinned memory: `set` might wait for the step before
    buffer[...] = values
