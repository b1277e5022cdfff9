"""Training on published files and on folders of images, both made up here, and on the real ones where they are."""

import gzip
import json
import struct

import numpy as np
import pytest
from PIL import Image
from test_options import one_line

from minicnn.cli import main
from minicnn.training import load_checkpoint

QUICK = ("--epochs", "1", "--quiet", "--json", "--threads", "1")


def figures(capsys, *argv):
    """The JSON that a command prints."""
    code = main([str(arg) for arg in argv])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def write_idx(folder, rng, count=60):
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        images, labels = rng.integers(0, 256, (count, 28, 28), np.uint8), (np.arange(count) % 10).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, count, 28, 28) + images.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + labels.tobytes())


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files(tmp_path, rng, capsys, name):
    write_idx(tmp_path / name, rng)
    found = figures(capsys, "train", "--data", name, "--root", tmp_path, "--output", tmp_path / "run", *QUICK)
    assert (found["settings"]["train_images"], found["settings"]["test_images"]) == (60, 60)
    measured = figures(capsys, "eval", tmp_path / "run", "--json")  # the root is known to the run
    assert measured["images"] == 60
    assert measured["accuracy"] == found["best"]["val_accuracy"]


def test_cifar_files(tmp_path, rng, capsys):
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        records = rng.integers(0, 256, (20, 3073), np.uint8)
        records[:, 0] = np.arange(20) % 10
        (tmp_path / name).write_bytes(records.tobytes())
    found = figures(capsys, "train", "--data", "cifar10", "--root", tmp_path, "--output", tmp_path / "run", *QUICK)
    assert found["settings"]["classes"][0] == "airplane"
    assert found["settings"]["augment"] == "shift,flip"


def test_a_set_that_is_not_there_and_cannot_be_fetched(tmp_path, capsys, monkeypatch):
    from minicnn.data import fetch

    offline = fetch.SETS["mnist"]._replace(address="http://127.0.0.1:9/")
    monkeypatch.setitem(fetch.SETS, "mnist", offline)
    monkeypatch.setattr(fetch.time, "sleep", lambda seconds: None)
    line = one_line(capsys, "train", "--data", "mnist", "--root", tmp_path / "data", "--output", tmp_path / "run")
    assert "train-images-idx3-ubyte.gz" in line
    assert not (tmp_path / "run").exists()


def test_a_damaged_set(tmp_path, rng, capsys):
    write_idx(tmp_path / "mnist", rng)
    file = tmp_path / "mnist" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    assert str(file) in one_line(capsys, "train", "--data", "mnist", "--root", tmp_path, "--output", tmp_path / "run")


def write_folder(folder, rng, count=8):
    """Bright and dark images of odd sizes: two classes that anything learns."""
    for name, level in (("bright", 200), ("dark", 40)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            noise = rng.integers(-40, 40, (30 + i, 41 - i, 3))
            Image.fromarray((level + noise).astype(np.uint8)).save(folder / name / f"{i}.png")


SMALL = ("--image-size", "16", "--batch-size", "4", "--lr", "0.01")


def test_a_folder_with_train_and_val(tmp_path, rng, capsys):
    write_folder(tmp_path / "data" / "train", rng)
    write_folder(tmp_path / "data" / "val", rng, 3)
    argv = ("train", "--data", tmp_path / "data", "--output", tmp_path / "run", *SMALL, *QUICK, "--epochs", "4")
    found = figures(capsys, *argv)
    assert (found["settings"]["train_images"], found["settings"]["test_images"]) == (16, 6)
    assert found["best"]["val_accuracy"] == 1.0
    image = tmp_path / "data" / "val" / "dark" / "0.png"
    best = figures(capsys, "predict", tmp_path / "run", image, "--json")[0]["classes"][0]
    assert best["class"] == "dark"
    assert figures(capsys, "eval", tmp_path / "run", "--data", tmp_path / "data" / "train", "--json")["images"] == 16


def test_a_folder_of_classes_is_split(tmp_path, rng, capsys, monkeypatch):
    write_folder(tmp_path / "data", rng, 10)
    monkeypatch.chdir(tmp_path)
    argv = ("train", "--data", "data", "--output", tmp_path / "run", *SMALL, *QUICK, "--augment", "none")
    found = figures(capsys, *argv, "--val-fraction", "0.3")
    assert (found["settings"]["train_images"], found["settings"]["test_images"]) == (14, 6)
    assert figures(capsys, "eval", "run", "--json")["images"] == 6  # those that were held back
    assert figures(capsys, "eval", "run", "--json", "--data", "data")["images"] == 6
    assert load_checkpoint(tmp_path / "run" / "best.safetensors")["recipe"]["data"] == str(tmp_path / "data")


def test_a_resnet_on_grey_images(tmp_path, capsys):
    found = figures(
        capsys, "train", "--model", "resnet18", "--output", tmp_path / "run", *QUICK, "--batch-size", "360",
        "--threads", "2",
    )  # fmt: skip
    assert found["settings"]["parameters"] > 11e6
    assert figures(capsys, "eval", tmp_path / "run", "--json")["accuracy"] == found["best"]["val_accuracy"]


@pytest.mark.parametrize("problem", ["corrupt", "empty class", "no class", "other classes", "too few", "shift"])
def test_a_folder_that_will_not_do(tmp_path, rng, capsys, problem):
    write_folder(tmp_path / "data" / "train", rng, 1 if problem == "too few" else 4)
    said = ""
    more = ()
    if problem == "corrupt":
        (tmp_path / "data" / "train" / "dark" / "1.png").write_text("not an image")
        said = "1.png"
    elif problem == "empty class":
        (tmp_path / "data" / "train" / "grey").mkdir()
        said = "grey"
    elif problem == "no class":
        (tmp_path / "data" / "val").mkdir()
        said = "val"
    elif problem == "other classes":
        write_folder(tmp_path / "data" / "val", rng, 1)
        (tmp_path / "data" / "val" / "dark").rename(tmp_path / "data" / "val" / "dim")
        said = "its classes are not those"
    elif problem == "too few":
        said = "too few to hold back"
    else:
        said, more = "--augment shift", ("--augment", "shift")
    argv = ("train", "--data", tmp_path / "data", "--output", tmp_path / "run", *SMALL, "--quiet", *more)
    assert said in one_line(capsys, *argv)


def first_images(folder, source, train=3000, test=1000):
    """The first images of the published files, as files of their own."""
    folder.mkdir(parents=True)
    for part, count in (("train", train), ("t10k", test)):
        with gzip.open(source / f"{part}-images-idx3-ubyte.gz") as file:
            file.seek(16)
            images = struct.pack(">4I", 0x803, count, 28, 28) + file.read(count * 28 * 28)
        with gzip.open(source / f"{part}-labels-idx1-ubyte.gz") as file:
            file.seek(8)
            labels = struct.pack(">2I", 0x801, count) + file.read(count)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(labels)


@pytest.mark.parametrize(("name", "bar"), [("mnist", 0.9), ("fashion-mnist", 0.72)])
def test_two_epochs_on_some_of_the_real_images(data_root, tmp_path, capsys, name, bar):
    """The bars of the whole recipes (see the README) take minutes; a twentieth shows that they are on their way."""
    first_images(tmp_path / name, data_root / name)
    argv = ("train", "--data", name, "--root", tmp_path, "--output", tmp_path / "run", "--quiet", "--json")
    # the recipe's rate for batches of 50 instead of 128: with 0.1 one rounding decides whether a run diverges
    found = figures(capsys, *argv, "--epochs", "2", "--batch-size", "50", "--lr", "0.04", "--threads", "1")
    assert (found["settings"]["train_images"], found["settings"]["test_images"]) == (3000, 1000)
    assert found["best"]["val_accuracy"] >= bar
