"""gradcheck: finite differences, the hand-written backward and PyTorch side by side, each disagreement explained."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..backends import get_backend
from ..functional.door import describe
from . import subjects
from .corners import corner_at, slopes_nearby
from .differences import Derivative, along
from .report import Report, Row
from .subjects import Subject

Array = np.ndarray
Index = tuple[int, ...]

MOST_ENTRIES = 200  # of one array that finite differences are taken of: larger ones are sampled
FAR = 1e-8  # of the largest gradient: finite differences that differ by less agree
FAR_TORCH = 1e-10  # the same for PyTorch in float64


def gradcheck(
    module_or_pair: Any,
    *inputs: Any,
    wrt: Sequence[str] | None = None,
    seed: int = 0,
    name: str | None = None,
    **settings: Any,
) -> Report:
    """Check the hand-written backward of a module, or of a pair (op, op_backward), at these inputs.

    module_or_pair: a Module or loss (gradients of its input and of each parameter; works on a copy, so that nothing in
    it changes), or two functions `y, ctx = op(*inputs, **settings)` and `op_backward(dy, ctx)`, which returns the
    gradient of the first argument or one for each of the first few, None for an argument without.
    inputs: arrays, at least one floating, and whatever else the operation takes. wrt: names of the arguments that the
    gradients belong to, where they are not the first ones. seed: of the random upstream gradient dy.

    For each gradient: central finite differences in float64 over a sweep of steps, the backward in float64 and float32
    on the backend that is set, and PyTorch if it is installed and has the operation. A large array is compared with
    finite differences in 200 entries drawn at random. Where the function has a corner (a tie in a maximum, a kink of
    relu) the backward must choose as PyTorch does; without PyTorch any of the slopes around holds.

    `TypeError` or `ValueError` for what cannot be checked, and what the operation itself raises at these inputs.

    >>> import numpy as np
    >>> def square(x):
    ...     return x * x, x
    >>> bool(gradcheck((square, lambda dy, x: 2 * x * dy), np.array([1.0, -2.0])))
    True
    >>> wrong = gradcheck((square, lambda dy, x: x * dy), np.array([1.0, -2.0]))
    >>> bool(wrong), wrong.rows[0].verdict
    (False, 'real error')
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise (ValueError if isinstance(seed, int) else TypeError)(f"gradcheck: seed must be an int ≥ 0, got {seed!r}")
    if not inputs:
        raise TypeError("gradcheck: inputs are missing: give the arrays to call it with")
    if isinstance(module_or_pair, (tuple, list)) and len(module_or_pair) == 2 and all(map(callable, module_or_pair)):
        subject = subjects.of_pair(module_or_pair, inputs, settings, wrt)
    elif callable(module_or_pair) and callable(getattr(module_or_pair, "backward", None)):
        if settings or wrt:
            raise TypeError(f"gradcheck: a module takes no {next(iter(settings), 'wrt')}")
        subject = subjects.of_module(module_or_pair, inputs)
    else:
        raise TypeError(f"gradcheck: give a module or a pair (op, op_backward), got {describe(module_or_pair)}")
    return Report(name or subject.name, get_backend(), tuple(_check(subject, np.random.default_rng(seed))))


def _check(subject: Subject, rng: np.random.Generator) -> list[Row]:
    y = subject.forward(subject.arrays)
    if not np.array_equal(y, subject.forward(subject.arrays), equal_nan=True):
        raise ValueError(f"gradcheck: {subject.name} gives another result at each call: fix its random numbers")
    dy = rng.standard_normal(y.shape)
    backward = subject.gradients(subject.arrays, _scalar(dy))
    torch = subject.torch(subject.arrays, _scalar(dy)) if subject.torch else {}
    narrow_error, narrow_allowed = _float32(subject, dy, rng)
    overall = max((_largest(gradient) for gradient in backward.values()), default=0.0)
    rows = []
    for argument, gradient in backward.items():
        array = subject.arrays[argument]
        if np.shape(gradient) != array.shape:
            raise ValueError(
                f"gradcheck: the gradient of {argument} has shape {np.shape(gradient)}, not its {array.shape}"
            )
        scale = max(_largest(gradient), 1e-3 * overall, 1e-300)
        indices = list(np.ndindex(array.shape))
        if len(indices) > MOST_ENTRIES:
            indices = [indices[i] for i in rng.choice(len(indices), MOST_ENTRIES, replace=False)]
        function = partial(_moved, subject, argument)
        entries = [_Entry(function, array, index, dy, gradient, torch.get(argument), scale) for index in indices]
        narrow = (narrow_error[argument], narrow_allowed[argument])
        rows.append(_row(argument, array, entries, gradient, torch.get(argument), scale, narrow))
    return rows


class _Entry:
    """One entry of a gradient: the three values, and why they differ if they do."""

    def __init__(
        self, function: Callable[[Array], Array], array: Array, index: Index, dy: Array, backward: Array,
        torch: Array | None, scale: float,
    ) -> None:  # fmt: skip
        self.index = tuple(map(int, index))
        self.backward = float(backward[index])
        self.torch = None if torch is None else float(torch[index])
        self.difference: Derivative = along(function, array, index, dy)
        self.error = abs(self.backward - self.difference.value) / scale
        self.verdict, self.explanation = "agrees", ""
        agrees = self._is_near(self.difference.value, 10 * self.difference.error + FAR * scale)
        like_torch = self.torch is None or self._is_near(self.torch, FAR_TORCH * scale)
        if agrees and like_torch:
            return
        corner = corner_at(function, array, index) or ("kink of the function" if self.difference.is_kink else None)
        left, right = self.difference.left, self.difference.right
        if corner and like_torch and (self.torch is not None or self._is_a_choice(function, array, dy, scale)):
            self.verdict = corner
            self.explanation = f"slope {left:.6g} on the left, {right:.6g} on the right"
        else:
            self.verdict = "real error"
            self.explanation = "wrong gradient" if like_torch else "PyTorch differs"
            if corner:
                self.explanation += f" at a {corner}"

    def _is_near(self, value: float, slack: float) -> bool:
        return abs(self.backward - value) <= slack or bool(np.isnan(self.backward) and np.isnan(value))

    def _is_a_choice(self, function: Callable[[Array], Array], array: Array, dy: Array, scale: float) -> bool:
        """Whether at a corner the backward lies between the slopes of the two sides, or is a slope close by."""
        low, high = sorted((self.difference.left, self.difference.right))
        if low - 1e-4 * scale <= self.backward <= high + 1e-4 * scale:
            return True
        return any(self._is_near(slope, 1e-3 * scale) for slope in slopes_nearby(function, array, self.index, dy))


def _moved(subject: Subject, argument: str, array: Array) -> Array:
    """y with another array in the place of one argument."""
    return subject.forward({**subject.arrays, argument: array})


def _row(
    argument: str, array: Array, entries: list[_Entry], gradient: Array, torch: Array | None, scale: float,
    narrow: tuple[float, float],
) -> Row:  # fmt: skip
    """The worst of the entries stands for all: a real error before a corner, a corner before agreement."""
    order = {"agrees": 0, "real error": 2}
    worst = max(entries, key=lambda e: (order.get(e.verdict, 1), np.nan_to_num(e.error, nan=np.inf)), default=None)
    narrow_error, narrow_allowed = narrow
    verdict, explanation = (worst.verdict, worst.explanation) if worst else ("agrees", "")
    corners = sum(entry.verdict not in order for entry in entries)
    if verdict not in order:
        explanation = f"{corners} of {len(entries)} entries: {explanation}"
    elif verdict == "agrees" and narrow_error > narrow_allowed:
        verdict = "real error"
        explanation = f"float32 is off by {narrow_error:.1e}; rounding explains {narrow_allowed:.1e}"
    elif verdict == "agrees" and narrow_error > 1e-5:
        verdict = "float32 precision"
        explanation = f"float32 is off by {narrow_error:.1e}; rounding explains {narrow_allowed:.1e}"
    return Row(
        argument=argument,
        shape=array.shape,
        entries=len(entries),
        difference_error=max([entry.error for entry in entries if entry.verdict in order], default=0.0),
        torch_error=None if torch is None else _largest(gradient - torch) / scale,
        float32_error=narrow_error,
        verdict=verdict,
        index=worst.index if worst else (),
        finite_difference=worst.difference.value if worst else float("nan"),
        backward=worst.backward if worst else float("nan"),
        torch=worst.torch if worst else None,
        explanation=explanation,
    )


def _float32(subject: Subject, dy: Array, rng: np.random.Generator) -> tuple[dict[str, float], dict[str, float]]:
    """The error of the backward in float32, and how large it may be from rounding alone, for each gradient.

    Both dtypes start from the same rounded numbers. What rounding may do: the length of the sums, and how far the true
    gradient moves when each input moves by one unit in the last place (large where the operation is ill-conditioned).
    """
    narrow = {key: array.astype(np.float32) for key, array in subject.arrays.items()}
    wide = {key: array.astype(np.float64) for key, array in narrow.items()}
    dy32 = dy.astype(np.float32)
    eps = float(np.finfo(np.float32).eps)
    nudged = {key: array * (1 + eps * rng.choice([-1.0, 1.0], array.shape)) for key, array in wide.items()}
    truth = subject.gradients(wide, _scalar(dy32.astype(np.float64)))
    moved = subject.gradients(nudged, _scalar(dy32.astype(np.float64)))
    found = subject.gradients(narrow, _scalar(dy32))
    overall = max((_largest(gradient) for gradient in truth.values()), default=0.0)
    growth = 8 * np.sqrt(_length(subject, dy))
    errors, allowed = {}, {}
    for key, gradient in truth.items():
        scale = max(_largest(gradient), 1e-3 * overall, 1e-30)
        difference = np.where(np.isfinite(gradient), np.asarray(found[key], np.float64) - gradient, 0.0)
        errors[key] = float(np.abs(np.where(np.isnan(difference), np.inf, difference)).max(initial=0.0)) / scale
        # terms as large as the largest gradient may cancel in this one
        allowed[key] = growth * (eps * overall + _largest(moved[key] - gradient)) / scale
    return errors, allowed


def _length(subject: Subject, dy: Array) -> int:
    """No sum in the operation is longer than this."""
    return max(1, dy.size, sum(array.size for array in subject.arrays.values()))


def _largest(array: Any) -> float:
    values = np.abs(np.asarray(array, np.float64))
    return float(values[np.isfinite(values)].max(initial=0.0))


def _scalar(dy: Array) -> Any:
    """A 0-d array as the NumPy scalar that a loss takes."""
    return dy[()] if dy.ndim == 0 else dy
