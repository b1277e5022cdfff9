"""minicnn predict and eval with published weights: ImageNet's classes, folders of wnids, and files of other kinds."""

import shutil

import numpy as np
import pytest
from photographs import json_of, write_photos, write_weights
from test_options import one_line

import minicnn
from minicnn import models
from minicnn.cli import main
from minicnn.data import read_image, transforms
from minicnn.models import imagenet_classes

WNIDS = ("n01440764", "n01443537", "n04599235")  # classes 0, 1 and 907


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "resnet18.safetensors")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos") / "all", each=2, names=WNIDS)


def logits_of(weights, path):
    """The plain model in eval mode on the plain transform."""
    model = models.resnet18().eval()
    model.load_state_dict(weights)
    with minicnn.no_grad():
        return model(transforms.imagenet_eval()(read_image(path))[np.newaxis])[0]


def test_the_names_ship(data_root):
    classes = imagenet_classes()
    assert [one.index for one in classes] == list(range(1000))
    assert [one.wnid for one in classes] == sorted(one.wnid for one in classes)
    lines = (data_root / "imagenet-samples" / "classes.tsv").read_text(encoding="utf-8").splitlines()
    assert [f"{one.index}\t{one.wnid}\t{one.name.replace(' ', '_')}" for one in classes] == lines


def test_predict_gives_the_five_best_classes(weights, photos, capsys):
    paths = sorted(photos.rglob("*.png"))[:3]
    found = json_of(capsys, "predict", "resnet18", "--weights", weights, *paths)
    assert [one["image"] for one in found] == [str(path) for path in paths]
    for path, one in zip(paths, found):
        logits = logits_of(weights, path).astype(np.float64)
        sure = np.exp(logits - logits.max())
        sure /= sure.sum()
        best = np.argsort(-sure)[:5]
        assert [c["index"] for c in one["classes"]] == best.tolist()
        for c, i in zip(one["classes"], best):
            assert (c["class"], c["wnid"]) == (imagenet_classes()[i].name, imagenet_classes()[i].wnid)
            assert c["probability"] == pytest.approx(sure[i], rel=1e-3)
    assert main(["predict", "resnet18", "--weights", str(weights), "--top", "2", str(paths[0])]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{paths[0]}: {found[0]['classes'][0]['class']} ")
    assert line.count("%") == 2


def expected_accuracy(weights, photos):
    """(top-1, top-5) with the plain model."""
    first = five = 0
    paths = sorted(photos.rglob("*.png"))
    for path in paths:
        label = next(one.index for one in imagenet_classes() if one.wnid == path.parent.name)
        order = np.argsort(-logits_of(weights, path))
        first, five = first + (order[0] == label), five + (label in order[:5])
    return first / len(paths), five / len(paths)


def test_eval_of_folders_called_by_wnid_and_of_files_that_begin_with_it(photos, tmp_path, capsys):
    weights = tmp_path / "taught.npz"  # random weights are never right: these know one of the three classes
    minicnn.manual_seed(1)
    state = models.resnet18().state_dict()
    state["fc.bias"][imagenet_classes().index(next(c for c in imagenet_classes() if c.wnid == WNIDS[2]))] = 100
    minicnn.save(state, weights)
    found = json_of(capsys, "eval", "resnet18", "--weights", weights, "--data", photos)
    assert (found["accuracy"], found["top5"]) == expected_accuracy(weights, photos)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["images"] == 6
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in photos.rglob("*.png"):
        shutil.copy(path, flat / f"{path.parent.name}_{path.name}")
    again = json_of(capsys, "eval", "resnet18", "--weights", weights, "--data", flat)
    assert (again["images"], again["accuracy"], again["top5"]) == (6, found["accuracy"], found["top5"])
    assert again["loss"] == pytest.approx(found["loss"], rel=1e-4)
    shutil.copytree(photos, tmp_path / "parts" / "val")
    shutil.copytree(photos / WNIDS[0], tmp_path / "parts" / "train" / WNIDS[0])
    assert json_of(capsys, "eval", "resnet18", "--weights", weights, "--data", tmp_path / "parts")["images"] == 6
    assert main(["eval", "resnet18", "--weights", str(weights), "--data", str(photos)]) == 0
    assert "top-1 33.33 %" in capsys.readouterr().out


def test_eval_of_folders_called_by_name(weights, tmp_path, capsys):
    folder = write_photos(tmp_path / "named", each=1, names=("great white shark", "tench"))
    assert json_of(capsys, "eval", "resnet18", "--weights", weights, "--data", folder)["images"] == 2


def test_weights_of_other_classes_have_numbers(photos, tmp_path, capsys):
    weights = write_weights(tmp_path / "seven.npz", "resnet34", num_classes=7)
    path = next(photos.rglob("*.png"))
    (one,) = json_of(capsys, "predict", "resnet34", "--weights", weights, "--top", "9", path)
    assert sorted(c["class"] for c in one["classes"]) == [f"class {i}" for i in range(7)]
    assert "wnid" not in one["classes"][0]
    line = one_line(capsys, "eval", "resnet34", "--weights", weights, "--data", photos)
    assert "class of the model" in line
    assert WNIDS[0] in line


def test_bad_input_is_one_line(weights, photos, tmp_path, capsys):
    photo = next(photos.rglob("*.png"))
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:50])
    headless = tmp_path / "headless.npz"
    state = minicnn.load(weights)
    minicnn.save({name: array for name, array in state.items() if not name.startswith("fc.")}, headless)
    partial = tmp_path / "partial.npz"
    minicnn.save({name: array for name, array in state.items() if not name.startswith("layer4")}, partial)
    bottleneck = tmp_path / "bottleneck.npz"
    minicnn.save({"layer1.0.conv3.weight": state["conv1.weight"], "fc.weight": state["fc.weight"]}, bottleneck)
    resnet34 = write_weights(tmp_path / "resnet34.npz", "resnet34", num_classes=1000)
    strangers = write_photos(tmp_path / "strangers", each=1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.pth").write_text("weights")
    predict, measure = ("predict", "resnet18", "--weights"), ("eval", "resnet18", "--weights")
    for argv, said in [
        (("predict", "resnet18", photo), "--weights FILE is needed"),
        (("eval", "resnet18", "--data", photos), "--weights FILE is needed"),
        (("eval", "resnet18", "--weights", weights), "--data DIR is needed"),
        ((*predict, "no.pth", photo), "no.pth"),
        ((*predict, tmp_path / "text.pth", photo), "text.pth"),
        ((*predict, headless, photo), "no fc.weight"),
        ((*predict, partial, photo), "layer4.0.conv1.weight"),
        ((*predict, resnet34, photo), "not the weights of a resnet18"),
        (("embed", "--weights", bottleneck, photos, "-o", tmp_path / "x.npz"), "bottleneck"),
        ((*predict, weights, broken), "broken.jpg"),
        ((*predict, weights, "no.jpg"), "no.jpg"),
        ((*predict, weights, "--top", "0", photo), "--top"),
        (("predict", weights, "--weights", weights, photo), "--weights: goes with resnet18 or resnet34"),
        (("eval", weights, "--weights", weights, "--data", photos), "--weights: goes with resnet18 or resnet34"),
        ((*measure, weights, "--data", "nowhere"), "nowhere"),
        ((*measure, weights, "--data", tmp_path / "empty"), "without images"),
        ((*measure, weights, "--data", strangers), "'blue'"),
        ((*measure, weights, "--data", strangers / "red"), "beginnings of file names"),
        ((*measure, weights, "--data", photos, "--confusion"), "--confusion"),
    ]:
        line = one_line(capsys, *argv)
        assert said in line, line
        assert len(line) < 460


def test_a_damaged_photograph_is_named(weights, tmp_path, capsys):
    folder = write_photos(tmp_path / "photos", each=1, names=WNIDS)
    (folder / WNIDS[1] / "0.png").write_bytes(b"\x89PNG not")
    line = one_line(capsys, "eval", "resnet18", "--weights", weights, "--data", folder)
    assert WNIDS[1] in line
