"""What all optimisers share: groups of parameters with their settings, the state of each parameter, saving both."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..backends import module_of
from ..backends.places import beside, is_array, library, to_numpy, writable
from ..functional import check
from ..functional.door import describe, short
from ..nn import Parameter

Array = np.ndarray


class Optimizer:
    """The base of SGD, Adam, AdamW and RMSprop.

    params: Parameters, or dicts {"params": Parameters, setting: value, …}, each a group with settings of its own.
    param_groups: the groups, a list of dicts; a setting may be changed at any time, as schedules do with "lr".
    state: what each parameter has gathered so far, by parameter.
    `ValueError` for no parameters, for one that comes twice and for settings out of range.
    """

    def __init__(self, params: Any, defaults: dict[str, Any]):
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Parameter, dict[str, Any]] = {}
        if isinstance(params, (Parameter, np.ndarray, Mapping)) or not isinstance(params, Iterable):
            raise TypeError(f"{self._name}: params must be an iterable of Parameters or dicts, got {describe(params)}")
        groups = list(params)
        if not groups:
            raise ValueError(f"{self._name}: params must hold at least one Parameter, got none")
        for group in groups if isinstance(groups[0], Mapping) else [{"params": groups}]:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with settings of their own; what the dict leaves out is as in the other groups."""
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(f"{self._name}: a group must be a dict with 'params', got {describe(group)}")
        params = group["params"]
        params = [params] if isinstance(params, Parameter) else list(params)
        for parameter in params:
            if not isinstance(parameter, Parameter):
                raise TypeError(f"{self._name}: params must hold Parameters, got {describe(parameter)}")
        known = {id(p) for other in self.param_groups for p in other["params"]}
        if len({id(p) for p in params}) < len(params) or any(id(p) in known for p in params):
            raise ValueError(f"{self._name}: params must hold each Parameter once, got one twice")
        unknown = [str(key) for key in group if key != "params" and key not in self.defaults]
        if unknown:
            raise ValueError(
                f"{self._name}: a group may set {', '.join(self.defaults)}; got {short(', '.join(unknown))}"
            )
        settings = {**self.defaults, **group, "params": params}
        self._check(settings)
        self.param_groups.append(settings)

    def _check(self, group: dict[str, Any]) -> None:
        """Raise for settings out of range."""
        raise NotImplementedError

    def _update(self, group: dict[str, Any], parameters: list[Parameter]) -> None:
        """One step of the parameters of a group that have a gradient, all of one backend."""
        raise NotImplementedError

    def step(self) -> None:
        """Move every parameter that has a gradient; the others, and their state, stay as they are.

        `ValueError`, before anything changes, for settings out of range and parameters that cannot be written.
        """
        active = []
        for group in self.param_groups:
            self._check(group)
            active.append([parameter for parameter in group["params"] if parameter.grad is not None])
            for parameter in active[-1]:
                if not writable(parameter.data):
                    shape = short(parameter.data.shape)
                    raise ValueError(f"{self._name}: parameters must be writable, got a read-only one of shape {shape}")
        for group, parameters in zip(self.param_groups, active):
            if parameters:
                self._update(group, parameters)

    def zero_grad(self) -> None:
        """Set the grad of every parameter to None."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """{"state": {index: {name: array or number}}, "param_groups": [settings]}: copies, parameters by index.

        Indices count the parameters through all groups, in order.
        """
        index = {id(parameter): i for i, parameter in enumerate(self._parameters())}
        return {
            "state": {index[id(p)]: {k: _copied(v) for k, v in entry.items()} for p, entry in self.state.items()},
            "param_groups": [
                {**group, "params": [index[id(parameter)] for parameter in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the optimiser stood that `state_dict` was taken of; one of torch's fits too.

        `ValueError` where groups or shapes differ; nothing has changed then.
        """
        who = f"{self._name}.load_state_dict"
        if not isinstance(state, Mapping) or not {"state", "param_groups"} <= set(state):
            raise TypeError(f"{who}: state must be a dict with 'state' and 'param_groups', got {describe(state)}")
        sizes = [len(group["params"]) for group in state["param_groups"]]
        own = [len(group["params"]) for group in self.param_groups]
        if sizes != own:
            raise ValueError(f"{who}: the groups must hold {short(own)} parameters, got {short(sizes)}")
        indices = [index for group in state["param_groups"] for index in group["params"]]
        parameters = dict(zip(indices, self._parameters()))
        groups = []
        for saved, group in zip(state["param_groups"], self.param_groups):
            groups.append({**group, **saved, "params": group["params"]})
            self._check(groups[-1])
        loaded = {}
        for index, entry in state["state"].items():
            if index not in parameters:
                raise ValueError(f"{who}: state holds a parameter {short(index)} that is in no group")
            parameter = parameters[index]
            loaded[parameter] = {
                name: _fitting(who, name, value, parameter) for name, value in entry.items() if value is not None
            }
        self.param_groups, self.state = groups, loaded

    def _parameters(self) -> list[Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def _gathered(self, parameters: list[Parameter], name: str, wanted: bool) -> list[Array | None]:
        """The state of that name of each parameter, zeros where it is new; all None where it is not wanted."""
        if not wanted:
            return [None] * len(parameters)
        arrays = []
        for parameter in parameters:
            entry = self.state.setdefault(parameter, {})
            if name not in entry:
                entry[name] = library(parameter.data).zeros(parameter.data.shape, parameter.data.dtype)
            arrays.append(entry[name])
        return arrays

    def _counted(self, parameters: list[Parameter]) -> list[int]:
        """The number of steps each parameter has taken, this one included."""
        steps = []
        for parameter in parameters:
            entry = self.state.setdefault(parameter, {})
            entry["step"] = int(entry.get("step", 0)) + 1
            steps.append(entry["step"])
        return steps

    def __repr__(self) -> str:
        lines = [f"{self._name} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])


def arrays_of(parameters: list[Parameter]) -> tuple[Any, list[Array], list[Array]]:
    """(backend, data, grads) of parameters that have a gradient."""
    return module_of(parameters[0].data), [p.data for p in parameters], [p.grad for p in parameters]  # type: ignore[misc]


def at_least_0(name: str, group: dict[str, Any], *settings: str) -> None:
    """Check that these settings are numbers and not negative (or NaN)."""
    for setting in settings:
        if not check.real(name, setting, group[setting]) >= 0:
            raise ValueError(f"{name}: {setting} must be at least 0, got {group[setting]}")


def _copied(value: Any) -> Any:
    return to_numpy(value.copy()) if is_array(value) else value


def _fitting(who: str, name: str, value: Any, parameter: Parameter) -> Any:
    """A saved value as this parameter needs it: the number of steps, or a copy as an array like its data."""
    if name == "step":
        return int(value)
    array = np.asarray(to_numpy(value) if is_array(value) else value)
    if array.shape != parameter.data.shape:
        raise ValueError(
            f"{who}: {short(name)} must have the shape {short(parameter.data.shape)} of its parameter, "
            f"got {short(array.shape)}"
        )
    return beside(array.astype(parameter.data.dtype, order="C"), parameter.data)
