"""A model, an optimiser, a schedule from their names."""

from collections.abc import Iterable
from typing import Any

from .recipe import Recipe
from .view import View, view_of


def build_model(name: str, view: View) -> Any:
    """The model `name` for images and classes as `view` has them."""
    from .. import models

    if name == "simple_cnn":
        return models.SimpleCNN(view.channels, len(view.classes), view.size)
    return getattr(models, name)(num_classes=len(view.classes))


def model_of(state: dict[str, Any]) -> Any:
    """The trained model that a checkpoint holds."""
    model = build_model(state["recipe"]["model"], view_of(state))
    model.load_state_dict(state["model"])
    return model


def build_optimizer(recipe: Recipe, parameters: Iterable[Any]) -> Any:
    from .. import optim

    lr, decay = recipe.lr, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return optim.SGD(parameters, lr=lr, momentum=recipe.momentum, weight_decay=decay, nesterov=recipe.momentum > 0)
    if recipe.optimizer == "rmsprop":
        return optim.RMSprop(parameters, lr=lr, momentum=recipe.momentum, weight_decay=decay)
    return {"adam": optim.Adam, "adamw": optim.AdamW}[recipe.optimizer](parameters, lr=lr, weight_decay=decay)


def build_schedule(recipe: Recipe, optimizer: Any, batches: int) -> Any:
    """onecycle: up to lr over the first 30 %, then down to nearly 0. cosine: down to 0. step: a tenth, twice."""
    from ..optim import lr_scheduler

    if recipe.schedule == "onecycle":
        steps = max(2, recipe.epochs * batches)
        return lr_scheduler.OneCycleLR(optimizer, max_lr=recipe.lr, total_steps=steps, cycle_momentum=False)
    if recipe.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=recipe.epochs)
    if recipe.schedule == "step":
        marks = sorted({max(1, recipe.epochs * part // 100) for part in (60, 85)})
        return lr_scheduler.MultiStepLR(optimizer, milestones=marks)
    return None
