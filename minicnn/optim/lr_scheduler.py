"""Learning-rate schedules with torch's values: call `scheduler.step()` after each epoch (OneCycleLR: each batch).

Most change the learning rate that stands in the group by a factor, as torch does, so that several may act on one
optimiser and a rate set by hand in between is respected. `closed_form` is the rate of a step counted from the start;
SequentialLR uses it where a schedule begins.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..functional import check
from ..functional.door import describe, short
from .optimizer import Optimizer


class LRScheduler:
    """The base: last_epoch counts the steps; −1 begins anew, more goes on with the groups' "initial_lr"."""

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        self.optimizer = attached(type(self).__name__, optimizer)
        self.last_epoch = check.integer(type(self).__name__, "last_epoch", last_epoch, -1)
        for group in optimizer.param_groups:
            if self.last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ValueError(
                    f"{type(self).__name__}: to go on at last_epoch {last_epoch} the groups must hold initial_lr"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.begin()

    def begin(self) -> None:
        """The step of the constructor, which sets the rates of the first epoch."""
        self.last_epoch += 1
        self._put(self.first_lr())

    def step(self) -> None:
        """Go on by one epoch (or batch) and set the rates of the groups."""
        self.last_epoch += 1
        self._put(self.next_lr())

    def restart(self) -> None:
        """Set the rates of step 0: SequentialLR, when the turn of this schedule comes."""
        self.last_epoch = 0
        self._put(self.closed_form())

    def get_last_lr(self) -> list[float]:
        """The rates that were set last, one a group."""
        return list(self._last_lr)

    def first_lr(self) -> list[float]:
        """The rates of the constructor; unless a schedule says otherwise those that stand."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def next_lr(self) -> list[float]:
        """The rates of step last_epoch, from those that stand."""
        raise NotImplementedError

    def closed_form(self) -> list[float]:
        """The rates of step last_epoch, from base_lrs."""
        return self.next_lr()

    def state_dict(self) -> dict[str, Any]:
        """All that the schedule holds but the optimiser: plain numbers, lists and dicts."""
        return {name: _copied(value) for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the schedule stood that `state_dict` was taken of. The optimiser restores its own rates."""
        self.__dict__.update(_checked(self, state))

    def _put(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates):
            group["lr"] = rate
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _scaled(self, factor: float) -> list[float]:
        return [group["lr"] * factor for group in self.optimizer.param_groups]


class StepLR(LRScheduler):
    """Every step_size epochs the rate is multiplied by gamma.

    >>> from minicnn import nn, optim
    >>> import numpy as np
    >>> optimizer = optim.SGD([nn.Parameter(np.ones(1))], lr=1.0)
    >>> schedule = StepLR(optimizer, step_size=2, gamma=0.5)
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        self.step_size = check.integer("StepLR", "step_size", step_size, 1)
        self.gamma = check.real("StepLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def first_lr(self) -> list[float]:
        return self.next_lr()

    def next_lr(self) -> list[float]:
        turns = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return self._scaled(self.gamma if turns else 1.0)

    def closed_form(self) -> list[float]:
        return [base * self.gamma ** (self.last_epoch // self.step_size) for base in self.base_lrs]


class MultiStepLR(LRScheduler):
    """At each of the milestones (epochs) the rate is multiplied by gamma; one listed twice counts twice."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1):
        self.milestones = sorted(check.integer("MultiStepLR", "milestones", m) for m in milestones)
        self.gamma = check.real("MultiStepLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def first_lr(self) -> list[float]:
        return self.next_lr()

    def next_lr(self) -> list[float]:
        return self._scaled(self.gamma ** Counter(self.milestones)[self.last_epoch])

    def closed_form(self) -> list[float]:
        return [base * self.gamma ** bisect_right(self.milestones, self.last_epoch) for base in self.base_lrs]


class ExponentialLR(LRScheduler):
    """Each epoch the rate is multiplied by gamma."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = check.real("ExponentialLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def next_lr(self) -> list[float]:
        return self._scaled(self.gamma)

    def closed_form(self) -> list[float]:
        return [base * self.gamma**self.last_epoch for base in self.base_lrs]


class LinearLR(LRScheduler):
    """The rate goes from start_factor to end_factor times the base in total_iters steps, in equal steps: a warm-up."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        self.start_factor = check.real("LinearLR", "start_factor", start_factor)
        self.end_factor = check.real("LinearLR", "end_factor", end_factor)
        self.total_iters = check.integer("LinearLR", "total_iters", total_iters, 1)
        if not 0 < self.start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must be above 0 and at most 1, got {start_factor}")
        if not 0 <= self.end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor must be 0 to 1, got {end_factor}")
        super().__init__(optimizer, last_epoch)

    def first_lr(self) -> list[float]:
        return self._scaled(self.start_factor if self.last_epoch == 0 else 1.0)

    def next_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._scaled(self.start_factor)
        if self.last_epoch > self.total_iters:
            return self._scaled(1.0)
        # the factor of this step over that of the last one
        climb = self.end_factor - self.start_factor
        return self._scaled(1.0 + climb / (self.total_iters * self.start_factor + (self.last_epoch - 1) * climb))

    def closed_form(self) -> list[float]:
        share = min(self.total_iters, self.last_epoch) / self.total_iters
        return [base * (self.start_factor + (self.end_factor - self.start_factor) * share) for base in self.base_lrs]


class CosineAnnealingLR(LRScheduler):
    """rate = eta_min + (base − eta_min) · (1 + cos(π · epoch / T_max)) / 2 (Loshchilov & Hutter 2017)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        self.T_max = check.integer("CosineAnnealingLR", "T_max", T_max, 1)
        self.eta_min = check.real("CosineAnnealingLR", "eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def next_lr(self) -> list[float]:
        now, before = self._height(self.last_epoch), self._height(self.last_epoch - 1)
        groups = self.optimizer.param_groups
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # the step before was the lowest: 0 / 0
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [group["lr"] + (base - self.eta_min) * rise for group, base in zip(groups, self.base_lrs)]
        return [now / before * (group["lr"] - self.eta_min) + self.eta_min for group in groups]

    def closed_form(self) -> list[float]:
        height = self._height(self.last_epoch)
        return [self.eta_min + (base - self.eta_min) * height / 2 for base in self.base_lrs]

    def _height(self, epoch: int) -> float:
        return 1 + math.cos(math.pi * epoch / self.T_max)


class OneCycleLR(LRScheduler):
    """One rise to max_lr and one fall far below where it began, a step a batch (Smith & Topin 2018).

    total_steps, or epochs and steps_per_epoch. The rise takes pct_start of the steps, from max_lr / div_factor; the
    fall ends at that / final_div_factor; three_phase: the fall first mirrors the rise. anneal_strategy: "cos" or
    "linear". cycle_momentum: the momentum (β₁ of Adam) moves the other way, from max_momentum to base_momentum.
    A step beyond the last is a `ValueError`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        name = "OneCycleLR"
        self.optimizer = attached(name, optimizer)
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise ValueError(f"{name}: give total_steps, or epochs and steps_per_epoch")
        if total_steps is None:
            total_steps = check.integer(name, "epochs", epochs, 1) * check.integer(
                name, "steps_per_epoch", steps_per_epoch, 1
            )
        self.total_steps = check.integer(name, "total_steps", total_steps, 1)
        self.pct_start = check.real(name, "pct_start", pct_start)
        if not 0 <= self.pct_start <= 1:
            raise ValueError(f"{name}: pct_start must be 0 to 1, got {pct_start}")
        self.anneal_strategy = check.choice(name, "anneal_strategy", anneal_strategy, ("cos", "linear"))
        self.cycle_momentum = check.flag(name, "cycle_momentum", cycle_momentum)
        self.three_phase = check.flag(name, "three_phase", three_phase)
        div_factor = check.real(name, "div_factor", div_factor)
        final_div_factor = check.real(name, "final_div_factor", final_div_factor)
        peaks = one_a_group(name, "max_lr", max_lr, optimizer)
        lows = one_a_group(name, "base_momentum", base_momentum, optimizer)
        highs = one_a_group(name, "max_momentum", max_momentum, optimizer)
        if self.cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
            raise ValueError(
                f"{name}: cycle_momentum needs an optimiser with momentum or betas, got {describe(optimizer)}"
            )
        if last_epoch == -1:
            for group, peak, low, high in zip(optimizer.param_groups, peaks, lows, highs):
                group.update(initial_lr=peak / div_factor, max_lr=peak, min_lr=peak / div_factor / final_div_factor)
                if self.cycle_momentum:
                    group.update(base_momentum=low, max_momentum=high)
                    self._put_momentum(group, high)
        super().__init__(optimizer, last_epoch)

    def first_lr(self) -> list[float]:
        return self.next_lr()

    def next_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise ValueError(f"OneCycleLR: step {self.last_epoch} is beyond total_steps {self.total_steps}")
        rates = []
        for group in self.optimizer.param_groups:
            (lr_from, lr_to), (momentum_from, momentum_to), share = self._phase()
            rates.append(self._between(group[lr_from], group[lr_to], share))
            if self.cycle_momentum:
                self._put_momentum(group, self._between(group[momentum_from], group[momentum_to], share))
        return rates

    def _phase(self) -> tuple[tuple[str, str], tuple[str, str], float]:
        """From which rate to which, from which momentum to which, and how much of that way is behind."""
        rise = self.pct_start * self.total_steps
        up = (("initial_lr", "max_lr"), ("max_momentum", "base_momentum"))
        if self.three_phase:
            down = (("max_lr", "initial_lr"), ("base_momentum", "max_momentum"))
            out = (("initial_lr", "min_lr"), ("max_momentum", "max_momentum"))
            phases = [(rise - 1, *up), (2 * rise - 2, *down), (self.total_steps - 1, *out)]
        else:
            phases = [(rise - 1, *up), (self.total_steps - 1, ("max_lr", "min_lr"), ("base_momentum", "max_momentum"))]
        start = 0.0
        while len(phases) > 1 and self.last_epoch > phases[0][0]:
            start = phases.pop(0)[0]
        end, rates, momenta = phases[0]
        return rates, momenta, (self.last_epoch - start) / (end - start) if end > start else 1.0

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return start + (end - start) * share
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))

    def _put_momentum(self, group: dict[str, Any], momentum: float) -> None:
        if "betas" in self.optimizer.defaults:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum


class ReduceLROnPlateau:
    """When a figure has not improved for more than `patience` epochs the rate is multiplied by factor.

    `step(metric)` after each epoch. mode: "min" (a loss) or "max" (an accuracy). An improvement is one by more than
    threshold, relative ("rel") or not ("abs"). After a reduction `cooldown` epochs are not counted. The rate stays at
    or above min_lr (a number, or one a group), and changes of at most eps are left out.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ):
        name = "ReduceLROnPlateau"
        self.optimizer = attached(name, optimizer)
        self.mode = check.choice(name, "mode", mode, ("min", "max"))
        self.factor = check.real(name, "factor", factor)
        if not 0 <= self.factor < 1:
            raise ValueError(f"{name}: factor must be at least 0 and below 1, got {factor}")
        self.patience = check.integer(name, "patience", patience, 0)
        self.threshold = check.real(name, "threshold", threshold)
        self.threshold_mode = check.choice(name, "threshold_mode", threshold_mode, ("rel", "abs"))
        self.cooldown = check.integer(name, "cooldown", cooldown, 0)
        self.min_lrs = one_a_group(name, "min_lr", min_lr, optimizer)
        self.eps = check.real(name, "eps", eps)
        self.best = math.inf if self.mode == "min" else -math.inf
        self.last_epoch, self.num_bad_epochs, self.cooldown_counter = 0, 0, 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def step(self, metric: float) -> None:
        """Look at the figure of this epoch."""
        current = float(metric)
        self.last_epoch += 1
        if self._better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown_counter - 1, 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs):
                new = max(group["lr"] * self.factor, least)
                group["lr"] = new if group["lr"] - new > self.eps else group["lr"]
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _better(self, current: float) -> bool:
        threshold = -self.threshold if self.mode == "min" else self.threshold
        least = self.best * (1 + threshold) if self.threshold_mode == "rel" else self.best + threshold
        return current < least if self.mode == "min" else current > least

    def get_last_lr(self) -> list[float]:
        """The rates that stood after the last step, one a group."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """All that the schedule holds but the optimiser."""
        return {name: _copied(value) for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the schedule stood that `state_dict` was taken of."""
        self.__dict__.update(_checked(self, state))


class SequentialLR:
    """One schedule after the other: schedulers[i + 1] takes over, from its beginning, at step milestones[i].

    >>> from minicnn import nn, optim
    >>> import numpy as np
    >>> optimizer = optim.SGD([nn.Parameter(np.ones(1))], lr=1.0)
    >>> warm_up = LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> schedule = SequentialLR(optimizer, [warm_up, ExponentialLR(optimizer, gamma=0.5)], milestones=[2])
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.5, 0.75, 1.0, 0.5]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[Any], milestones: Sequence[int], last_epoch: int = -1
    ):
        name = "SequentialLR"
        self.optimizer = attached(name, optimizer)
        self._schedulers, self._milestones = (
            list(schedulers),
            [check.integer(name, "milestones", m) for m in milestones],
        )
        for schedule in self._schedulers:
            if not isinstance(schedule, LRScheduler):
                raise TypeError(
                    f"{name}: schedulers must be plain schedules, which step without a metric, got {describe(schedule)}"
                )
            if schedule.optimizer is not optimizer:
                raise ValueError(f"{name}: all schedulers must belong to the same optimizer")
        if not self._schedulers or len(self._milestones) != len(self._schedulers) - 1:
            raise ValueError(
                f"{name}: milestones must be one fewer than schedulers, got {len(self._milestones)} milestones "
                f"for {len(self._schedulers)} schedulers"
            )
        self.last_epoch = check.integer(name, "last_epoch", last_epoch, -1) + 1
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for schedule in self._schedulers:
            schedule.last_epoch -= 1  # take back the step that each made when it was constructed
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first.begin()
        self._last_lr = first.get_last_lr()

    def step(self) -> None:
        """Go on by one epoch."""
        self.last_epoch += 1
        turn = bisect_right(self._milestones, self.last_epoch)
        schedule = self._schedulers[turn]
        if turn > 0 and self._milestones[turn - 1] == self.last_epoch:
            schedule.restart()
        else:
            schedule.step()
        self._last_lr = schedule.get_last_lr()

    def get_last_lr(self) -> list[float]:
        """The rates that were set last, one a group."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """All that the schedule holds but the optimiser, those it is made of included."""
        plain = {n: _copied(v) for n, v in self.__dict__.items() if n not in ("optimizer", "_schedulers")}
        return {**plain, "_schedulers": [schedule.state_dict() for schedule in self._schedulers]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the schedule stood that `state_dict` was taken of."""
        state = _checked(self, state)
        inner = state.pop("_schedulers", [])
        if len(inner) != len(self._schedulers):
            raise ValueError(f"SequentialLR: state must hold {len(self._schedulers)} schedules, got {len(inner)}")
        for schedule, part in zip(self._schedulers, inner):
            schedule.load_state_dict(part)
        self.__dict__.update(state)


def attached(name: str, optimizer: Any) -> Optimizer:
    """A `TypeError` unless it is an Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{name}: optimizer must be an Optimizer, got {describe(optimizer)}")
    return optimizer


def one_a_group(name: str, label: str, value: Any, optimizer: Optimizer) -> list[float]:
    """A number for all groups, or a list of one a group, as a list."""
    count = len(optimizer.param_groups)
    values = list(value) if isinstance(value, (list, tuple)) else [value] * count
    if len(values) != count:
        raise ValueError(f"{name}: {label} must be a number or one a group ({count}), got {short(value)}")
    return [check.real(name, label, number) for number in values]


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, (list, dict)) else value


def _checked(schedule: Any, state: Any) -> dict[str, Any]:
    """A state of this kind of schedule, as a dict of its own."""
    name = f"{type(schedule).__name__}.load_state_dict"
    if not isinstance(state, Mapping):
        raise TypeError(f"{name}: state must be a dict, got {describe(state)}")
    unknown = [str(key) for key in state if key not in schedule.__dict__]
    if unknown:
        raise ValueError(f"{name}: state must be that of a {type(schedule).__name__}, got {short(', '.join(unknown))}")
    return {key: _copied(value) for key, value in state.items()}
