"""minicnn embed and minicnn similar."""

import shutil

import numpy as np
import pytest
from photographs import json_of, write_photos, write_weights
from test_options import one_line

import minicnn
from minicnn import models, nn
from minicnn.cli import main
from minicnn.data import read_image, transforms


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "resnet18.safetensors")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos") / "all", each=3)


@pytest.fixture(scope="module")
def index(weights, photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / "index.npz"
    assert main(["embed", "--weights", str(weights), str(photos), "-o", str(path)]) == 0
    return path


def test_the_features_are_the_inputs_of_the_last_layer(index, weights, photos):
    with np.load(index) as found:  # NumPy alone reads it, without pickle
        files, features, labels = found["files"], found["features"], found["labels"]
        assert found["classes"].tolist() == ["blue", "green", "red"]
    assert files.tolist() == [f"{name}/{i}.png" for name in ("blue", "green", "red") for i in range(3)]
    assert labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert features.shape == (9, 512)
    assert features.dtype == np.float32
    model = models.resnet18()
    model.load_state_dict(weights)
    model.fc = nn.Identity()
    with minicnn.no_grad():
        expected = model.eval()(transforms.imagenet_eval()(read_image(photos / "red" / "1.png"))[np.newaxis])[0]
    np.testing.assert_allclose(features[7], expected, atol=1e-4 * np.abs(expected).max())


def test_an_image_is_most_similar_to_itself_then_to_its_class(index, photos, capsys):
    path = photos / "green" / "1.png"
    found = json_of(capsys, "similar", path, "--index", index, "--top", "3")["similar"]
    assert found[0]["image"] == str(path)
    assert found[0]["cosine"] == pytest.approx(1, abs=1e-5)
    assert [one["class"] for one in found] == ["green"] * 3
    cosines = [one["cosine"] for one in found]
    assert cosines == sorted(cosines, reverse=True)
    rows = np.load(index)["features"].astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines, np.sort(rows @ rows[4])[::-1][:3], atol=1e-4)
    assert main(["similar", str(path), "--index", str(index)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[1].split() == [str(path), "green", "1.0000"]


def test_a_folder_without_classes(weights, photos, tmp_path, capsys):
    flat, path = tmp_path / "flat", tmp_path / "flat.npz"
    flat.mkdir()
    for file in photos.rglob("*.png"):
        shutil.copy(file, flat / f"{file.parent.name}{file.name}")
    found = json_of(capsys, "embed", "--weights", weights, flat, "-o", path)
    assert (found["images"], found["features"], found["classes"]) == (9, 512, 0)
    assert np.load(path)["labels"].tolist() == [-1] * 9
    best = json_of(capsys, "similar", flat / "red0.png", "--index", path)["similar"][0]
    assert (best["image"], best["class"]) == (str(flat / "red0.png"), None)


def test_the_weights_may_move_but_not_change(index, weights, photos, tmp_path, capsys):
    moved = tmp_path / "moved.safetensors"
    shutil.copy(weights, moved)
    photo = photos / "red" / "0.png"
    assert json_of(capsys, "similar", photo, "--index", index, "--weights", moved)["similar"]
    other = write_weights(tmp_path / "other.npz", seed=5)
    assert "not the weights" in one_line(capsys, "similar", photo, "--index", index, "--weights", other)


def test_bad_input_is_one_line(index, weights, photos, tmp_path, capsys):
    photo = photos / "red" / "0.png"
    arrays = dict(np.load(index))
    short = tmp_path / "short.npz"
    np.savez(short, **{**arrays, "files": arrays["files"][:2]})
    outside = tmp_path / "outside.npz"
    np.savez(outside, **{**arrays, "labels": arrays["labels"] + 5})
    broken = write_photos(tmp_path / "broken", each=2)
    (broken / "blue" / "0.png").write_bytes(b"no")
    (tmp_path / "empty").mkdir()
    make = ("embed", "--weights", weights)
    for argv, said in [
        ((*make, photos, "-o", tmp_path / "index.txt"), ".npz"),
        ((*make, photos, "-o", tmp_path / "nowhere" / "index.npz"), "nowhere"),
        ((*make, photos, "-o", index), "--force"),
        ((*make, tmp_path / "empty", "-o", tmp_path / "x.npz"), "without images"),
        ((*make, "nowhere", "-o", tmp_path / "x.npz"), "nowhere"),
        ((*make, broken, "-o", tmp_path / "x.npz"), "1 of 6 images"),
        (("embed", photos, "-o", tmp_path / "x.npz"), "--weights"),
        (("similar", photo, "--index", "no.npz"), "no.npz"),
        (("similar", photo, "--index", weights), "not an index"),
        (("similar", photo, "--index", short), "damaged"),
        (("similar", photo, "--index", outside), "damaged"),
        (("similar", "no.png", "--index", index), "no.png"),
        (("similar", photo, "--index", index, "--top", "0"), "--top"),
    ]:
        line = one_line(capsys, *argv)
        assert said in line, line
    assert not (tmp_path / "x.npz").exists()
