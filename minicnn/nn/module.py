"""Module: who holds parameters, calls operations forward, and calls their gradients backward.

A module of one's own defines `forward(self, x)` and `backward(self, dy)`:

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(np.ones(1))

        def forward(self, x):
            self.keep(x)                        # for the backward; nothing is kept inside no_grad
            return self.factor.data * x

        def backward(self, dy):
            with self.kept() as x:              # freed when the block ends
                self.factor.accumulate((dy * x).sum(keepdims=True))
                return dy * self.factor.data

or, where it is made of other modules, calls them in `forward` and their `backward` in reverse order.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from inspect import Parameter as Argument
from inspect import signature
from typing import Any, NamedTuple

import numpy as np

from .. import backends
from ..backends.places import moved, to_numpy
from ..backends.settings import keeps_contexts
from ..functional import check, door
from .contexts import Kept, Run, backward_run, forward_run
from .parameter import Parameter
from .state import Differences, entries, load

Array = np.ndarray


class Module:
    """The base of all layers and models; see the head of this file for how to write one.

    Attributes that are Parameters, Modules or (through `register_buffer`) arrays are registered under their names,
    which make the keys of `state_dict`. `training` says which mode the module is in.

    >>> import numpy as np
    >>> from minicnn import nn
    >>> model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    >>> [(name, p.shape) for name, p in model.named_parameters()]
    [('0.weight', (2, 3)), ('0.bias', (2,))]
    >>> y = model(np.ones((4, 3), np.float32))
    >>> model.backward(np.ones_like(y)).shape
    (4, 3)
    >>> model[0].weight.grad.shape
    (2, 3)
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Array | None]
    _modules: dict[str, Any]  # Modules, or None

    def __init__(self) -> None:
        self.__dict__.update(training=True, _parameters={}, _buffers={}, _modules={})
        self._forget_runs()

    def _forget_runs(self) -> None:
        """What a copy starts without: contexts and hooks."""
        self.__dict__.update(
            _contexts={},  # run -> stack of contexts
            _run=None,  # the last run that went through this module: where a backward looks
            _own_run=None,  # the last run that began here: dropped when the next begins
            _in_backward=False,
            _forward_hooks={},
            _backward_hooks={},
        )

    # ---- forward and backward ----------------------------------------------------------------------------------

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """y of x (or of several inputs)."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        """dx of dy; adds to the grad of each parameter that is not frozen. need_dx=False: dx is not wanted."""
        raise NotImplementedError(f"{type(self).__name__} must define backward")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """forward(x), then the forward hooks."""
        if not door.listeners():
            y = self.forward(*inputs, **options)
        else:
            y = self._announced_forward(*inputs, **options)
        if self._forward_hooks:
            for hook in tuple(self._forward_hooks.values()):
                changed = hook(self, inputs[0] if len(inputs) == 1 else inputs, y)
                y = y if changed is None else changed
        return y

    def _announced_forward(self, *inputs: Any, **options: Any) -> Any:
        for listener in door.listeners():
            listener.module_entered(self)
        try:
            return self.forward(*inputs, **options)
        finally:
            for listener in door.listeners():
                listener.module_left(self)

    def keep(self, ctx: Any) -> None:
        """Keep what the backward needs. Inside `no_grad` nothing is kept."""
        if keeps_contexts():
            run = forward_run.get() or _begin_run(self)
            if run not in self._contexts:
                self._contexts[run] = []
                run.holders.append(self)
            self._contexts[run].append(ctx)

    def kept(self) -> Kept:
        """`with self.kept() as ctx:` in a backward: the newest context, freed at the end; `RuntimeError` if none is."""
        return Kept(self, backward_run.get())

    def __init_subclass__(cls, **options: Any) -> None:
        """Put what every forward and backward needs around the ones that a class defines."""
        super().__init_subclass__(**options)
        if "forward" in cls.__dict__:
            cls.forward = _inside_run(cls.__dict__["forward"])  # type: ignore[method-assign]
        if "backward" in cls.__dict__:
            cls.backward = _announced(cls.__dict__["backward"])  # type: ignore[method-assign]

    def register_forward_hook(self, hook: Callable) -> "Handle":
        """Call hook(module, x, y) after each forward. What it returns, unless None, takes the place of y.

        x is the tuple of inputs where there are several. The backward does not know of a changed y.
        """
        return Handle.add(self._forward_hooks, hook)

    def register_backward_hook(self, hook: Callable) -> "Handle":
        """Call hook(module, dy, dx) after each backward. What it returns, unless None, takes the place of dx.

        dx is None where nobody needs it.
        """
        return Handle.add(self._backward_hooks, hook)

    # ---- registration ------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if "_modules" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning {name!r}")
        if isinstance(value, Parameter):
            self._register(self._parameters, name, value)
        elif isinstance(value, Module):
            self._register(self._modules, name, value)
        elif name in self._parameters:
            self._replace(self._parameters, name, value, "a Parameter")
        elif name in self._modules:
            self._replace(self._modules, name, value, "a Module")
        elif name in self._buffers:
            if isinstance(value, (np.ndarray, np.generic)):  # a 0-d array turns into a scalar under arithmetic
                value = np.asarray(value)
            self._replace(self._buffers, name, value, "an array")
        else:
            object.__setattr__(self, name, value)

    def _register(self, kind: dict, name: str, value: Any) -> None:
        """Under a name that was something else before: that goes. Under the same kind: the place in the order stays.

        The value stands in __dict__ too, where Python finds it in 0.05 µs; `__getattr__` would take 0.8 each time.
        """
        for other in (self._parameters, self._buffers, self._modules):
            if other is not kind:
                other.pop(name, None)
        kind[name] = self.__dict__[name] = value

    def _replace(self, kind: dict, name: str, value: Any, expected: str) -> None:
        if value is not None and (kind is not self._buffers or backends.module_of(value) is None):
            owner = type(self).__name__
            raise TypeError(f"{owner}: {name} is registered, so must be {expected} or None, got {door.describe(value)}")
        self._register(kind, name, value)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        for kind in (self._parameters, self._buffers, self._modules):
            kind.pop(name, None)

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Register a Parameter under a name; None holds the place of one that is not there."""
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(f"register_parameter: {name!r} must be a Parameter, got {door.describe(parameter)}")
        self._check_new(self._parameters, name)
        self._register(self._parameters, name, parameter)

    def register_buffer(self, name: str, array: Array | None) -> None:
        """Register an array that is saved with the parameters but not learnt, like the running mean of a batch norm."""
        if array is not None and backends.module_of(array) is None:
            raise TypeError(f"register_buffer: {name!r} must be an array, got {door.describe(array)}")
        self._check_new(self._buffers, name)
        self._register(self._buffers, name, array)

    def add_module(self, name: str, module: "Module | None") -> None:
        """Register a module under a name that need not be a Python one, like "0"."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: {name!r} must be a Module, got {door.describe(module)}")
        self._check_new(self._modules, name)
        self._register(self._modules, name, module)

    def _check_new(self, kind: dict, name: str) -> None:
        owner = type(self).__name__
        if "_modules" not in self.__dict__:
            raise AttributeError(f"{owner}: call super().__init__() before registering {name!r}")
        if not isinstance(name, str):
            raise TypeError(f"{owner}: a name must be a string, got {door.describe(name)}")
        if not name or "." in name:
            raise ValueError(f"{owner}: a name must be neither empty nor contain a dot, got {door.short(name)}")
        if name not in kind and hasattr(self, name):
            raise ValueError(f"{owner}: the name {door.short(name)} is taken by another attribute")

    # ---- going through the tree --------------------------------------------------------------------------------

    def named_modules(self, prefix: str = "", seen: set | None = None) -> Iterator[tuple[str, "Module"]]:
        """(name, module) of this module ("") and all below it, each once, in the order of registration."""
        seen = set() if seen is None else seen
        if self not in seen:
            seen.add(self)
            yield prefix, self
            for name, module in self._modules.items():
                if module is not None:
                    yield from module.named_modules(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator["Module"]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """(name, module) of those directly below, each once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator["Module"]:
        """The modules directly below, each once."""
        return (module for _, module in self.named_children())

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """(name, parameter) of this module and, with recurse, all below it: each once, in the order of registration."""
        return self._named("_parameters", prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Array]]:
        """(name, array) of the buffers, each once."""
        return self._named("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Array]:
        """The buffers, each once."""
        return (array for _, array in self.named_buffers(recurse=recurse))

    def _named(self, kind: str, prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        seen = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, value in module.__dict__[kind].items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    # ---- changing all of it ------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> "Module":
        """Train mode (or eval mode) for this module and all below it; returns self."""
        mode = check.flag("train", "mode", mode)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> "Module":
        """Eval mode: batch norm uses its running statistics, dropout passes x on. Gradients still flow."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Set the grad of every parameter to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def requires_grad_(self, flag: bool = True) -> "Module":
        """Freeze (False) or release (True) every parameter; returns self."""
        flag = check.flag("requires_grad_", "flag", flag)
        for parameter in self.parameters():
            parameter.requires_grad = flag
        return self

    def to(self, backend: str) -> "Module":
        """Move parameters and buffers to where this backend computes; returns self.

        "reference" and "cpu" share NumPy arrays: between them nothing moves, and `minicnn.set_backend` chooses.
        "cuda" takes them to the GPU, gradients too, as CuPy arrays; integer buffers, which only count, stay. An
        optimiser made before keeps its state where it was: move first.
        `ValueError` for another name, `RuntimeError` with what to install for a backend that cannot be used here.
        """
        backends.usable(backend)
        for parameter in self.parameters():
            grad = parameter.grad
            parameter.data = moved(parameter.data, backend)
            parameter.grad = None if grad is None else moved(grad, backend)
        for module in self.modules():
            for name, array in module._buffers.items():
                if array is not None and array.dtype.kind == "f":
                    setattr(module, name, moved(array, backend))
        return self

    def astype(self, dtype: Any) -> "Module":
        """Parameters, their gradients and floating buffers as float32 or float64; returns self."""
        try:
            new = np.dtype(dtype)
        except TypeError:
            raise TypeError(f"astype: dtype must be float32 or float64, got {door.short(dtype)}") from None
        if new not in (np.float32, np.float64):
            raise ValueError(f"astype: dtype must be float32 or float64, got {new}")
        for parameter in self.parameters():
            grad = parameter.grad
            parameter.data = parameter.data.astype(new)
            parameter.grad = None if grad is None else grad.astype(new)
        for module in self.modules():
            for name, array in module._buffers.items():
                if array is not None and array.dtype.kind == "f":
                    setattr(module, name, array.astype(new))
        return self

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers by name; the names are those of torch.

        >>> from minicnn import nn
        >>> list(nn.BatchNorm2d(2).state_dict())
        ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
        """
        return {name: np.array(to_numpy(array), order="C") for name, array in entries(self).items()}

    def load_state_dict(self, state: Any, strict: bool = True) -> Differences:
        """Take parameters and buffers over from a state dict, or from a file that `minicnn.load` reads.

        Values are cast to the dtype of the parameter. `num_batches_tracked` may be missing. A `ValueError` names the
        missing, unexpected and mis-shaped keys; nothing has changed then. strict=False leaves the missing as they are,
        ignores the unexpected and returns both: `missing_keys`, `unexpected_keys`.

        >>> from minicnn import nn
        >>> nn.Linear(2, 2).load_state_dict({"bias": [1.0, 2.0]}, strict=False)
        Differences(missing_keys=['weight'], unexpected_keys=[])
        """
        return load(self, state, check.flag("load_state_dict", "strict", strict))

    # ---- copies and text ---------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        bare = dict(self.__dict__)
        for name in ("_contexts", "_run", "_own_run", "_in_backward", "_forward_hooks", "_backward_hooks"):
            del bare[name]
        return bare

    def __setstate__(self, bare: dict[str, Any]) -> None:
        self.__dict__.update(bare)
        self._forget_runs()

    def extra_repr(self) -> str:
        """What repr shows between the brackets: the settings of a layer."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {module!r}".replace("\n", "\n  ") for name, module in self._modules.items()]
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        return "\n  ".join([f"{type(self).__name__}({self.extra_repr()}", *lines]) + "\n)"


class Handle(NamedTuple):
    """What registering a hook returns: `remove()` takes the hook away again."""

    hooks: dict
    key: object

    @classmethod
    def add(cls, hooks: dict, hook: Callable) -> "Handle":
        if not callable(hook):
            raise TypeError(f"register hook: hook must be callable, got {door.describe(hook)}")
        handle = cls(hooks, object())
        hooks[handle.key] = hook
        return handle

    def remove(self) -> None:
        self.hooks.pop(self.key, None)


def _begin_run(root: Module) -> Run:
    """A new run that begins at this module; what its last one left is dropped."""
    if root._own_run is not None:
        root._own_run.drop()
    run = Run()
    root.__dict__.update(_run=run, _own_run=run)
    return run


def _inside_run(forward: Callable) -> Callable:
    """Around a class's forward: the outermost one begins a run, those inside belong to it."""

    @wraps(forward)
    def around(self: Module, *inputs: Any, **options: Any) -> Any:
        run = forward_run.get()
        if run is not None:
            self.__dict__["_run"] = run
            return forward(self, *inputs, **options)
        run = _begin_run(self)
        token = forward_run.set(run)
        try:
            y = forward(self, *inputs, **options)
        except BaseException:
            run.drop()  # half a forward has no backward
            raise
        finally:
            forward_run.reset(token)
        if self._own_run is not run:
            run.drop()  # another thread has begun a forward of this root since: that one is now the last
        return y

    return around


def _announced(backward: Callable) -> Callable:
    """Around a class's backward: need_dx for those that do not take it, the run to take contexts from, and hooks."""
    arguments = signature(backward).parameters
    takes_need_dx = "need_dx" in arguments or any(a.kind is Argument.VAR_KEYWORD for a in arguments.values())

    @wraps(backward)
    def around(self: Module, dy: Any = 1.0, need_dx: bool = True) -> Any:
        wanted = {"need_dx": need_dx} if takes_need_dx else {}
        if self._in_backward:  # super().backward(dy) from a subclass
            return backward(self, dy, **wanted)
        token = backward_run.set(self._run) if backward_run.get() is None else None  # None: not the outermost
        self.__dict__["_in_backward"] = True
        for listener in door.listeners():
            listener.module_entered(self)
        try:
            dx = backward(self, dy, **wanted)
        finally:
            for listener in door.listeners():
                listener.module_left(self)
            self.__dict__["_in_backward"] = False
            if token is not None:
                backward_run.reset(token)
        if token is not None and self._run is not None and self._run is self._own_run:
            self._run.drop()  # what was skipped because nobody needed its gradient
        dx = dx if need_dx else None
        if self._backward_hooks:
            for hook in tuple(self._backward_hooks.values()):
                changed = hook(self, dy, dx)
                dx = dx if changed is None else changed
        return dx

    return around
