"""Teaching a trained network new classes: a new last layer, and what of the rest stays as it is.

freeze() stops parameters from learning; NormsStay keeps the batch norms among them on their running statistics, which
would otherwise follow the new images. Frozen layers still pass gradients on.
"""

from typing import Any

from .. import nn
from .callbacks import Callback


def replace_last_layer(model: Any, num_classes: int) -> Any:
    """Put a new `Linear` in the place of the model's last one, freshly initialised; returns it.

    `ValueError` for a model that has none among its direct layers.

    >>> from minicnn import models
    >>> model = models.resnet18()
    >>> replace_last_layer(model, 2)
    Linear(in_features=512, out_features=2, bias=True)
    >>> model.fc.out_features
    2
    """
    name = last_layer(model)
    old = getattr(model, name)
    setattr(model, name, nn.Linear(old.in_features, num_classes, bias=old.bias is not None))
    return getattr(model, name)


def last_layer(model: Any) -> str:
    """The name of the last `Linear` among the direct layers of a model: `fc` in a ResNet."""
    names = [name for name, module in model.named_children() if isinstance(module, nn.Linear)]
    if not names:
        raise ValueError(f"{type(model).__name__} has no Linear layer that could be replaced")
    return names[-1]


def freeze(model: Any, until: str) -> list[str]:
    """Stop the first layers from learning; returns the names of the frozen parameters.

    until: "none"; "backbone", all but the last `Linear`; or the name of a layer ("layer2", "layer3.0"): it and all
    before it. Everything else is set to learn. `ValueError` for another name, and where nothing would be left to learn.

    >>> from minicnn import models
    >>> model = models.resnet18(num_classes=2)
    >>> freeze(model, "bn1")
    ['conv1.weight', 'bn1.weight', 'bn1.bias']
    >>> len(freeze(model, "backbone"))
    60
    """
    named = list(model.named_parameters())
    count = 0
    if until == "backbone":
        head = last_layer(model)
        count = next(i for i, (name, _) in enumerate(named) if name.startswith(f"{head}."))
    elif until != "none":
        inside = [i for i, (name, _) in enumerate(named) if name.startswith(f"{until}.")]
        if not inside:
            layers = dict.fromkeys(name.split(".")[0] for name, _ in named)
            raise ValueError(
                f"freeze: no layer {until[:60]!r} with parameters; there are none, backbone, {', '.join(layers)}"
            )
        count = inside[-1] + 1
    if count == len(named):
        raise ValueError(f"freeze: nothing is left to learn after {until}")
    for i, (_, parameter) in enumerate(named):
        parameter.requires_grad = i >= count
    return [name for name, _ in named[:count]]


class NormsStay(Callback):
    """Keeps batch norms in eval mode while the model trains: those whose parameters are all frozen, or every one.

    In eval mode a batch norm normalises with its running statistics and leaves them alone; its weight and bias still
    learn unless they are frozen. With few images of new classes, statistics of small batches cost more than they give:
    on 244 photographs, fine-tuning all weights for three epochs, a validation loss of 0.145 instead of 0.160.
    """

    def __init__(self, every: bool = False):
        self.every = every

    def on_epoch_begin(self, trainer: Any, epoch: int, batches: int | None) -> None:
        for module in trainer.model.modules():
            if isinstance(module, nn.BatchNorm2d) and (self.every or is_frozen(module)):
                module.eval()


def is_frozen(module: Any) -> bool:
    """Whether a module has parameters and none of them learns."""
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
