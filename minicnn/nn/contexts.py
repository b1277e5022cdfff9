"""Which contexts belong together: one run is one forward of a root module, with everything that it calls.

A root is a module whose forward was called from outside of any other. Each module that keeps a context files it under
the run that is under way, in a stack, so that a module used several times in one forward gets its contexts back last
in, first out. A backward takes from the run that last went through the module on which it was called. So two models
that share a trunk may run forward one after the other and backward in either order. The next forward of the same root
drops what the one before has left.
"""

from contextvars import ContextVar
from typing import Any


class Run:
    """One forward of a root: the modules that hold contexts of it."""

    __slots__ = ("holders",)

    def __init__(self) -> None:
        self.holders: list[Any] = []

    def drop(self) -> None:
        """Free every context of this run, in time proportional to the number of modules that kept one."""
        for module in self.holders:
            module._contexts.pop(self, None)
        self.holders.clear()


class Kept:
    """`with module.kept() as ctx:` reads the newest context and frees it at the end, unless the block raised."""

    __slots__ = ("_module", "_run")

    def __init__(self, module: Any, run: Run | None) -> None:
        self._module, self._run = module, run

    def __enter__(self) -> Any:
        stack = self._module._contexts.get(self._run)
        if not stack:
            raise RuntimeError(
                f"{type(self._module).__name__}: backward without a forward before it, or twice "
                "(inside no_grad a forward keeps nothing)"
            )
        return stack[-1]

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            stack = self._module._contexts[self._run]
            stack.pop()
            if not stack:
                del self._module._contexts[self._run]


forward_run: ContextVar[Run | None] = ContextVar("forward_run", default=None)
backward_run: ContextVar[Run | None] = ContextVar("backward_run", default=None)
