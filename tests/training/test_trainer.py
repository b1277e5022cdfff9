"""The Trainer against a loop written in torch, and what it promises about modes, schedules and errors."""

import math

import numpy as np
import pytest
import torch

import minicnn
from minicnn import nn, optim
from minicnn.optim import lr_scheduler
from minicnn.training import Callback, History, Progress, Trainer
from minicnn.training.trainer import correct


@pytest.fixture
def batches(rng):
    """Four batches of different sizes: the means must be over images, not over batches."""
    return [(rng.standard_normal((n, 6)), rng.integers(0, 3, n)) for n in (5, 5, 5, 2)]


def model_of(seed=0):
    minicnn.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).astype(np.float64)


def trainer_of(model, lr=0.1, scheduler=None, criterion=None, **settings):
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    made = scheduler(optimizer) if scheduler else None
    return Trainer(model, criterion or nn.CrossEntropyLoss(), optimizer, made, **settings)


def torch_loop(model, batches, epochs, reduction="mean"):
    """The same training in torch: (model, [(loss, accuracy)] an epoch)."""
    twin = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).double()
    twin.load_state_dict({name: torch.tensor(value) for name, value in model.state_dict().items()})
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    figures = []
    for _ in range(epochs):
        loss_sum, right, count = 0.0, 0, 0
        for x, target in batches:
            y = twin(torch.tensor(x))
            loss = torch.nn.functional.cross_entropy(y, torch.tensor(target), reduction=reduction)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * (len(x) if reduction == "mean" else 1)
            right += int((y.argmax(1) == torch.tensor(target)).sum())
            count += len(x)
        figures.append((loss_sum / count, right / count))
    return twin, figures


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_fit_is_the_loop_of_torch(backend, batches, reduction):
    model = model_of()
    twin, figures = torch_loop(model, batches, 5, reduction)
    history = trainer_of(model, criterion=nn.CrossEntropyLoss(reduction=reduction)).fit(batches, epochs=5)
    for name, value in twin.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[name], value.numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose([(r["loss"], r["accuracy"]) for r in history], figures, rtol=1e-10)


def test_evaluate_is_over_images_and_changes_nothing(backend, batches):
    model = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5)).astype(np.float64)
    before = model.state_dict()
    found = trainer_of(model).evaluate(batches)
    x, target = (np.concatenate(part) for part in zip(*batches))
    y = torch.tensor(model.eval()(x))
    assert found["loss"] == pytest.approx(torch.nn.functional.cross_entropy(y, torch.tensor(target)).item(), rel=1e-12)
    assert found["accuracy"] == (y.numpy().argmax(1) == target).mean()
    assert found["top5"] == 1.0  # of three classes
    assert all(np.array_equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_top5(rng):
    y, target = rng.standard_normal((200, 12)), rng.integers(0, 12, 200)
    top = torch.tensor(y).topk(5, dim=1).indices.numpy()
    assert correct(y, target) == ((top[:, 0] == target).sum(), (top == target[:, None]).any(1).sum(), 200)


def test_correct_knows_what_targets_are():
    y = np.array([[0.1, 0.9], [0.8, 0.2]])
    assert correct(y, np.array([[0.3, 0.7], [0.4, 0.6]])) == (1, 2, 2)  # class probabilities
    assert correct(y, np.array([1, -100])) == (1, 1, 1)  # an ignored target does not count
    assert correct(y, y > 0) is None
    assert correct(y[:, :1], np.array([[0.0], [1.0]])) is None
    assert correct(y.reshape(1, 2, 2), np.array([[1, 1]])) == (1, 2, 2)  # (N, C, d1)


@pytest.mark.parametrize("criterion", [nn.MSELoss(), nn.BCEWithLogitsLoss()])
def test_other_losses_have_no_accuracy(criterion, rng):
    model = nn.Linear(6, 1).astype(np.float64)
    batch = [(rng.standard_normal((4, 6)), rng.random((4, 1)))]
    record = trainer_of(model, lr=0.01, criterion=criterion).fit(batch, batch, epochs=2)[-1]
    assert math.isfinite(record["val_loss"])
    assert math.isnan(record["accuracy"])
    assert math.isnan(record["val_accuracy"])


def test_history_has_the_documented_fields(batches):
    trainer = trainer_of(model_of())
    history = trainer.fit(batches, batches[:1], epochs=2)
    assert isinstance(history, History)
    assert [list(record) for record in history] == [
        ["loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"]
    ] * 2
    assert all(isinstance(value, float) for record in history for value in record.values())
    alone = trainer.fit(batches, epochs=1)
    assert len(alone) == 1
    assert math.isnan(alone[0]["val_loss"])
    assert len(trainer.history) == 3
    assert trainer.fit(batches, epochs=0) == []


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        (None, [0.1, 0.1, 0.1]),
        (lambda o: lr_scheduler.StepLR(o, step_size=1, gamma=0.5), [0.1, 0.05, 0.025]),
        (lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=2), [0.1, 0.05, 0.0]),
    ],
)  # fmt: skip
def test_a_schedule_steps_after_each_epoch(batches, scheduler, expected):
    history = trainer_of(model_of(), scheduler=scheduler).fit(batches, epochs=3)
    assert [record["lr"] for record in history] == pytest.approx(expected)


def test_one_cycle_steps_after_each_batch(batches):
    model = model_of()
    history = trainer_of(model, scheduler=lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=12)).fit(
        batches, epochs=3
    )
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=12)
    rates = []
    for _ in range(11):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    rates.append(optimizer.param_groups[0]["lr"])
    assert [record["lr"] for record in history] == pytest.approx([rates[3], rates[7], rates[11]])


def test_a_plateau_is_told_the_held_back_loss(batches):
    losses = []

    class Spy(lr_scheduler.ReduceLROnPlateau):
        def step(self, metrics):
            losses.append(metrics)
            super().step(metrics)

    history = trainer_of(model_of(), scheduler=Spy).fit(batches, batches[:1], epochs=2)
    assert losses == [record["val_loss"] for record in history]


def test_modes(batches):
    """Train mode while training, eval mode while measuring, and afterwards each module as it was."""
    model = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.1), nn.Dropout(0.1)).astype(np.float64).eval()
    model[1].train()
    seen = []
    model[2].register_forward_hook(lambda module, x, y: seen.append(module.training))
    trainer = trainer_of(model)
    trainer.fit(batches[:1], batches[:2], epochs=2)
    assert seen == [True, False, False] * 2
    assert [module.training for module in model.modules()] == [False, False, True, False]
    trainer.evaluate(batches[:1])
    assert [module.training for module in model.modules()] == [False, False, True, False]


def test_modes_are_restored_after_an_error(batches):
    model = model_of().eval()
    with pytest.raises(ValueError, match="linear"):
        trainer_of(model).fit([(np.zeros((2, 5)), np.zeros(2, int))])
    assert not any(module.training for module in model.modules())


def test_callbacks_hear_everything_in_order(batches):
    heard = []

    class Ear(Callback):
        def on_epoch_begin(self, trainer, epoch, batches):
            heard.append(("begin", epoch, batches))

        def on_batch_end(self, trainer, loss):
            heard.append(("batch", loss > 0))

        def on_epoch_end(self, trainer, record):
            assert record is trainer.history[-1]
            heard.append(("end", len(trainer.history)))

    trainer_of(model_of(), callbacks=[Ear()]).fit(batches[:2], epochs=2)
    assert heard == [
        ("begin", 0, 2),
        *[("batch", True)] * 2,
        ("end", 1),
        ("begin", 1, 2),
        *[("batch", True)] * 2,
        ("end", 2),
    ]
    trainer_of(model_of(), callbacks=[Ear()]).fit(batch for batch in batches)  # an iterator without a length
    assert heard[8] == ("begin", 0, None)


def test_progress_is_a_plain_line_an_epoch(batches, capsys):
    trainer_of(model_of(), callbacks=[Progress(2)]).fit(batches, batches, epochs=2)
    captured = capsys.readouterr()
    assert [line.split()[1] for line in captured.out.splitlines()] == ["1/2", "2/2"]
    assert "test loss" in captured.out
    assert captured.err == ""  # no terminal, no bar


def test_progress_is_a_bar_on_a_terminal(batches, capsys, monkeypatch):
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    trainer_of(model_of(), callbacks=[Progress(1)]).fit(batches)
    assert "epoch 1/1" in capsys.readouterr().err


def test_divergence_stops_with_advice(batches):
    model = model_of()
    broken = [(np.full((2, 6), np.nan), np.array([0, 1]))]
    before = model.state_dict()
    with pytest.raises(FloatingPointError, match=r"the loss became nan in epoch 1 .* lower the learning rate"):
        trainer_of(model).fit(broken, epochs=3)
    assert all(np.array_equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_last_batch_of_one_image():
    """Batch norm over a map has values enough; over single values it says what is wrong, as torch does."""
    image = np.random.default_rng(0).standard_normal((1, 2, 4, 4)), np.array([1])
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 2)).astype(np.float64)
    trainer_of(model, lr=0.01).fit([image])
    model = nn.Sequential(nn.AvgPool2d(4), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2)).astype(np.float64)
    with pytest.raises(ValueError, match="more than one value a channel"):
        trainer_of(model, lr=0.01).fit([image])


def test_bad_calls(batches):
    model = model_of()
    with pytest.raises(ValueError, match="reduction mean or sum, got 'none'"):
        trainer_of(model, criterion=nn.CrossEntropyLoss(reduction="none"))
    with pytest.raises(ValueError, match="epochs must be at least 0, got -1"):
        trainer_of(model).fit(batches, epochs=-1)
    with pytest.raises(TypeError, match="epochs must be an int, got float"):
        trainer_of(model).fit(batches, epochs=1.5)
    with pytest.raises(ValueError, match="fit: the loader gave no images"):
        trainer_of(model).fit([])
    with pytest.raises(ValueError, match="evaluate: the loader gave no images"):
        trainer_of(model).evaluate([])


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "RMSprop"])
@pytest.mark.parametrize("scheduler", ["StepLR", "OneCycleLR", "ReduceLROnPlateau", None])
def test_going_on_from_a_state_is_as_if_there_had_been_no_break(batches, tmp_path, optimizer, scheduler):
    from minicnn.training import load_checkpoint, save_checkpoint

    settings = {"StepLR": {"step_size": 2}, "OneCycleLR": {"max_lr": 0.1, "total_steps": 16}}

    def build():
        minicnn.manual_seed(5)
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)).astype(np.float64)
        opt = getattr(optim, optimizer)(model.parameters(), lr=0.01)
        schedule = getattr(lr_scheduler, scheduler)(opt, **settings.get(scheduler, {})) if scheduler else None
        return Trainer(model, nn.CrossEntropyLoss(), opt, schedule)

    whole, half = build(), build()
    whole.fit(batches, epochs=4)
    half = build()
    half.fit(batches, epochs=2)
    save_checkpoint(tmp_path / "half.safetensors", half.state_dict())
    rest = build()
    minicnn.manual_seed(77)  # another state, to be replaced by that of the checkpoint
    rest.load_state_dict(load_checkpoint(tmp_path / "half.safetensors"))
    rest.fit(batches, epochs=2)
    for name, value in whole.model.state_dict().items():
        assert value.tobytes() == rest.model.state_dict()[name].tobytes()
    drop = [{key: value for key, value in record.items() if key not in ("seconds", "val_loss", "val_accuracy")}
            for record in (*whole.history, *rest.history)]  # fmt: skip
    assert drop[:4] == drop[4:]


def test_history_best_and_csv():
    nan = math.nan
    history = History(
        {"loss": loss, "accuracy": 0.5, "val_loss": val_loss, "val_accuracy": accuracy, "lr": 0.1, "seconds": 1.0}
        for loss, val_loss, accuracy in [(1, 0.5, 0.9), (1, 0.4, 0.9), (1, 0.4, 0.9), (1, 0.1, 0.8), (1, 0.1, nan)]
    )
    assert history.best() == 1  # the most accurate, of those the least loss, of those the first
    assert len(history.csv().splitlines()) == 6
    with pytest.raises(ValueError, match="no epoch"):
        History().best()
