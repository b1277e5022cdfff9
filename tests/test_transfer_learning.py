"""Replacing the last layer, freezing what lies before it, its features, the report; and the example that shows it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from photographs import write_photos, write_weights

import minicnn
from minicnn import models, nn, optim
from minicnn.training import Trainer, features, finetune, report

ROOT = Path(__file__).parents[1]


def small():
    minicnn.manual_seed(0)
    return models.ResNet((1, 1, 1, 1), num_classes=6)


def test_the_new_last_layer_is_initialised_as_torch_does():
    model = small()
    minicnn.manual_seed(3)
    layer = finetune.replace_last_layer(model, 4)
    assert model.fc is layer
    assert list(model.state_dict())[-2:] == ["fc.weight", "fc.bias"]  # the key, and its place, stay
    assert np.abs(layer.weight.data).max() <= 1 / np.sqrt(512)
    assert model(np.zeros((2, 3, 32, 32), np.float32)).shape == (2, 4)
    with pytest.raises(ValueError, match="no Linear layer"):
        finetune.replace_last_layer(nn.Sequential(nn.ReLU()), 2)


@pytest.mark.parametrize(("until", "first_that_learns"), [
    ("none", "conv1.weight"), ("conv1", "bn1.weight"), ("bn1", "layer1.0.conv1.weight"),
    ("layer2", "layer3.0.conv1.weight"), ("layer3.0", "layer4.0.conv1.weight"), ("backbone", "fc.weight"),
])  # fmt: skip
def test_freeze(until, first_that_learns):
    model = small()
    frozen = finetune.freeze(model, until)
    names = [name for name, _ in model.named_parameters()]
    assert frozen == names[: names.index(first_that_learns)]
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == frozen
    finetune.freeze(model, "none")
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("until", ["layer5", "", "fc", "relu", "layer1.0.conv1.weight"])
def test_freeze_refuses(until):
    with pytest.raises(ValueError, match="freeze: "):
        finetune.freeze(small(), until)


def test_frozen_batch_norms_stay_and_those_that_learn_move(rng):
    model = small()
    finetune.freeze(model, "layer2")
    before = model.state_dict()
    optimizer = optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, callbacks=[finetune.NormsStay()])
    batch = rng.standard_normal((4, 3, 32, 32)).astype(np.float32), np.array([0, 1, 2, 3])
    trainer.fit([batch], [batch], epochs=2)  # the validation in between puts all modules into eval mode and back
    for name, array in model.state_dict().items():
        frozen = name.startswith(("conv1", "bn1", "layer1", "layer2"))
        assert np.array_equal(before[name], array) == frozen, name


def test_all_batch_norms_may_stay_while_all_weights_learn(rng):
    model = small()
    before = model.state_dict()
    trainer = Trainer(
        model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.01), callbacks=[finetune.NormsStay(every=True)]
    )
    trainer.fit([(rng.standard_normal((4, 3, 32, 32)).astype(np.float32), np.array([0, 1, 2, 3]))])
    for name, array in model.state_dict().items():
        assert np.array_equal(before[name], array) == ("running" in name or "tracked" in name), name


def test_a_frozen_part_in_eval_mode_trains_as_in_torch(rng):
    """The gradients of what learns are those of torch with requires_grad_(False) and eval() on the frozen layers."""
    import torch
    from torch import nn as tnn

    theirs = tnn.Sequential(
        tnn.Conv2d(3, 4, 3, bias=False), tnn.BatchNorm2d(4), tnn.ReLU(),
        tnn.Conv2d(4, 5, 3, bias=False), tnn.BatchNorm2d(5), tnn.ReLU(), tnn.Flatten(), tnn.Linear(80, 3),
    ).double()  # fmt: skip
    tnn.init.normal_(theirs[1].running_mean)
    ours = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(80, 3),
    ).astype(np.float64)  # fmt: skip
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    x, target = rng.standard_normal((6, 3, 8, 8)), rng.integers(0, 3, 6)
    for layer in theirs[:2]:
        layer.requires_grad_(False)
        layer.eval()
    torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(target)).backward()
    finetune.freeze(ours, "1")
    finetune.NormsStay().on_epoch_begin(Trainer(ours, nn.CrossEntropyLoss(), None), 0, 1)
    criterion = nn.CrossEntropyLoss()
    criterion(ours(x), target)
    ours.backward(criterion.backward(), need_dx=False)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        if other.grad is None:
            assert mine.grad is None
        else:
            np.testing.assert_allclose(mine.grad, other.grad.numpy(), rtol=1e-9, atol=1e-12)
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key], value.numpy(), rtol=1e-9, atol=1e-12, err_msg=key)


def test_a_head_on_kept_features_learns_what_the_whole_frozen_model_learns(rng):
    """The same ten steps of SGD, with the backbone in eval mode, on images and on their features."""
    x, target = rng.standard_normal((6, 3, 32, 32)).astype(np.float32), rng.integers(0, 6, 6)
    whole = small().eval()
    finetune.freeze(whole, "backbone")
    rows, kept = features.collect(features.backbone(whole), [(x[:4], target[:4]), (x[4:], target[4:])])
    assert rows.shape == (6, 512)
    np.testing.assert_array_equal(kept, target)
    head = small().fc
    for module, batch in ((whole, x), (head, rows)):
        optimizer = optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
        criterion = nn.CrossEntropyLoss()
        for _ in range(10):
            criterion(module(batch), target)
            optimizer.zero_grad()
            module.backward(criterion.backward(), need_dx=False)
            optimizer.step()
    np.testing.assert_allclose(head.weight.data, whole.fc.weight.data, rtol=1e-4, atol=1e-5)


def test_kept_features_hold_for_their_weights_and_files_alone(tmp_path):
    image = tmp_path / "a.png"
    image.write_bytes(b"1")
    arrays = {"w": np.ones(3, np.float32)}
    key = features.fingerprint(arrays, [image], "224")
    features.keep_features(tmp_path / "kept", key, {"train": np.eye(2)})
    np.testing.assert_array_equal(features.kept_features(tmp_path / "kept", key)["train"], np.eye(2))
    assert features.kept_features(tmp_path / "other", key) is None
    assert features.fingerprint(arrays, [image], "128") != key
    image.write_bytes(b"22")
    changed = features.fingerprint(arrays, [image], "224")
    assert changed != key
    assert features.kept_features(tmp_path / "kept", changed) is None
    (tmp_path / "kept").write_bytes(b"damaged")
    assert features.kept_features(tmp_path / "kept", key) is None


def test_a_large_class_cannot_hide_a_small_one():
    matrix = report.confusion_matrix(np.array([0] * 95 + [0] * 4 + [1]), np.array([0] * 95 + [1] * 5), 3)
    assert matrix.tolist() == [[95, 0, 0], [4, 1, 0], [0, 0, 0]]
    found = report.class_report(matrix, ["many", "few", "none"])
    assert found["accuracy"] == pytest.approx(0.96)
    assert found["balanced_accuracy"] == pytest.approx(0.6)  # the mean of 1 and 0.2; a class without images is left out
    assert np.isnan(found["classes"][2]["accuracy"])


def example():
    spec = importlib.util.spec_from_file_location("transfer_learning", ROOT / "examples" / "transfer_learning.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_learns(tmp_path, capsys):
    write_photos(tmp_path / "photos" / "train", each=6)
    write_photos(tmp_path / "photos" / "val", each=3, seed=1)
    weights = write_weights(tmp_path / "weights.npz")
    options = ["--epochs", "3", "--batch-size", "6", "--lr", "0.003", "--image-size", "32"]
    share = example().main([str(weights), str(tmp_path / "photos"), *options])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in lines]
    assert losses[-1] < losses[0]
    assert 0 <= share <= 1


def test_the_example_on_photographs(data_root):
    """One epoch of the ten, on small images."""
    weights, photos = data_root / "weights" / "resnet18-imagenet.pth", data_root / "hymenoptera"
    assert example().main([str(weights), str(photos), "--epochs", "1", "--image-size", "96", "--lr", "0.003"]) > 0.7
