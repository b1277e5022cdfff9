"""minicnn train and what works on its run folder: eval, predict, summary, convert."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from test_options import one_line

import minicnn
from minicnn.cli import main
from minicnn.data import Digits
from minicnn.training import load_checkpoint

QUICK = ("--epochs", "2", "--threads", "1", "--quiet")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The README's first command, with its default recipe, into a folder that the tests share."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    assert main(["train", "--output", str(folder), "--quiet"]) == 0
    return folder


def arrays(checkpoint):
    """All arrays of a checkpoint, the model's and the optimiser's, by path."""
    from safetensors.numpy import load_file

    return {name: (value.dtype, value.tobytes()) for name, value in load_file(checkpoint).items()}


def test_the_default_recipe_learns_the_digits(run):
    with open(run / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert max(float(row["val_accuracy"]) for row in rows) >= 0.98
    assert float(rows[-1]["val_accuracy"]) >= 0.98
    assert float(rows[-1]["loss"]) < 0.05


def test_the_run_folder(run):
    names = {"best.safetensors", "last.safetensors", "history.csv", "settings.json", "curves.png", "misclassified.png"}
    assert {path.name for path in run.iterdir()} == names
    settings = json.loads((run / "settings.json").read_text())
    assert (settings["model"], settings["data"], settings["epochs"], settings["seed"]) == (
        "simple_cnn",
        "digits",
        20,
        0,
    )
    last, best = load_checkpoint(run / "last.safetensors"), load_checkpoint(run / "best.safetensors")
    assert len(last["history"]) == 20
    accuracies = [record["val_accuracy"] for record in last["history"]]
    assert best["history"] == last["history"][: len(best["history"])]
    assert accuracies[len(best["history"]) - 1] == max(accuracies)
    for name in ("curves.png", "misclassified.png"):
        with Image.open(run / name) as image:
            assert min(image.size) > 100


def test_eval_measures_what_training_reported(run, capsys):
    assert main(["eval", str(run), "--json", "--confusion", "--output", str(run.parent)]) == 0
    found = json.loads(capsys.readouterr().out)
    history = load_checkpoint(run / "best.safetensors")["history"]
    assert found["accuracy"] == history[-1]["val_accuracy"]
    assert found["loss"] == pytest.approx(history[-1]["val_loss"], rel=1e-5)
    assert found["top5"] >= found["accuracy"]
    matrix = np.array(found["confusion"])
    assert matrix.sum() == found["images"] == len(Digits(train=False))
    assert np.trace(matrix) == round(found["accuracy"] * found["images"])
    np.testing.assert_array_equal(matrix.sum(axis=1), np.bincount(Digits(train=False).targets))
    assert (run.parent / "confusion.png").stat().st_size > 1000


def test_eval_as_text(run, capsys, tmp_path):
    assert (
        main(["eval", str(run / "last.safetensors"), "--data", "digits", "--confusion", "--output", str(tmp_path)]) == 0
    )
    text = capsys.readouterr().out
    assert "top-1 " in text
    assert len([line for line in text.splitlines() if line[:1].isdigit()]) >= 10  # a row a class


def test_eval_on_data_that_does_not_fit(run, capsys, tmp_path):
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / name / "0.png")
    assert "classes" in one_line(capsys, "eval", run, "--data", tmp_path)


def test_predict_reads_images_as_training_did(run, capsys, tmp_path):
    """Each test image, written as a PNG (colour, larger, or inverted) is taken for the class that eval gives it."""
    dataset = Digits(train=False)
    chosen = [int(np.flatnonzero(dataset.targets == digit)[0]) for digit in range(10)]
    files = []
    for digit, index in enumerate(chosen):
        pixels = np.rint(dataset[index][0][0] * 255).astype(np.uint8)
        image = Image.fromarray(pixels)
        image = image.convert("RGB") if digit % 2 else image.resize((8, 8))
        files.append(tmp_path / f"{digit}.png")
        image.save(files[-1])
    assert main(["predict", str(run), *map(str, files), "--json", "--top", "10"]) == 0
    found = json.loads(capsys.readouterr().out)
    right = sum(entry["classes"][0]["class"] == str(digit) for digit, entry in enumerate(found))
    assert right >= 9
    for entry in found:
        shares = [each["probability"] for each in entry["classes"]]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert shares == sorted(shares, reverse=True)
    inverted = tmp_path / "paper.png"
    with Image.open(files[0]) as image:
        Image.eval(image, lambda value: 255 - value).save(inverted)
    assert main(["predict", str(run), str(inverted), "--invert"]) == 0
    assert capsys.readouterr().out.startswith(f"{inverted}: 0 ")


def test_predict_with_bad_images(run, capsys, tmp_path):
    text = tmp_path / "text.png"
    text.write_text("not an image")
    assert str(text) in one_line(capsys, "predict", run, text)
    assert "none.png" in one_line(capsys, "predict", run, tmp_path / "none.png")


def test_summary_of_a_run(run, capsys):
    assert main(["summary", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["input_shape"] == [1, 1, 8, 8]
    assert found["parameters"] == json.loads((run / "settings.json").read_text())["parameters"]
    assert "leave it out" in one_line(capsys, "summary", run, "--classes", "3")


def test_convert_a_checkpoint_to_bare_weights(run, capsys, tmp_path):
    target = tmp_path / "weights.npz"
    assert main(["convert", str(run / "best.safetensors"), str(target), "--list"]) == 0
    assert "conv1.weight" in capsys.readouterr().out
    model = minicnn.models.SimpleCNN(1, 10, 8)
    model.load_state_dict(target)
    kept = load_checkpoint(run / "best.safetensors")["model"]
    assert all(np.array_equal(value, kept[name]) for name, value in model.state_dict().items())
    assert "--force" in one_line(capsys, "convert", run / "best.safetensors", target)
    assert main(["convert", str(run / "best.safetensors"), str(target), "--force"]) == 0


def test_convert_torch_weights(capsys, tmp_path):
    import torch

    torch.save({"state_dict": {"fc.weight": torch.ones(2, 3)}}, tmp_path / "a.pth")
    assert main(["convert", str(tmp_path / "a.pth"), str(tmp_path / "a.safetensors")]) == 0
    assert minicnn.load(tmp_path / "a.safetensors")["fc.weight"].shape == (2, 3)
    torch.save([1, 2], tmp_path / "b.pth")
    capsys.readouterr()
    assert "b.pth" in one_line(capsys, "convert", tmp_path / "b.pth", tmp_path / "b.npz")


def test_a_run_repeats_to_the_bit_on_any_number_of_threads(tmp_path):
    for name, threads in (("one", 1), ("two", min(2, os.cpu_count() or 1))):
        argv = ["train", *QUICK, "--threads", str(threads), "--seed", "3", "--output", str(tmp_path / name)]
        assert main(argv) == 0
    assert arrays(tmp_path / "one" / "last.safetensors") == arrays(tmp_path / "two" / "last.safetensors")


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_optimisers_and_schedules(tmp_path, capsys, optimizer, schedule):
    argv = ["train", *QUICK, "--json", "--output", str(tmp_path), "--optimizer", optimizer, "--schedule", schedule]
    assert main([*argv, "--augment", "shift,flip", "--label-smoothing", "0.1", "--batch-size", "128"]) == 0
    found = json.loads(capsys.readouterr().out)
    rates = [record["lr"] for record in found["history"]]
    assert (rates[0] == rates[1]) == (schedule == "constant")
    assert found["best"]["val_accuracy"] > 0.15
    assert found["settings"]["augment"] == "shift,flip"


def test_lines_and_json_do_not_mix(tmp_path, capsys):
    assert main(["train", "--epochs", "1", "--output", str(tmp_path / "a"), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["run"] == str(tmp_path / "a")
    assert "epoch 1/1" in captured.err
    assert main(["train", "--epochs", "1", "--output", str(tmp_path / "b")]) == 0
    captured = capsys.readouterr()
    assert [line.split()[0] for line in captured.out.splitlines()] == [
        "simple_cnn",
        "epoch",
        "best:",
        f"{tmp_path / 'b'}:",
    ]


def test_the_folder_has_a_name_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["train", "--epochs", "1", "--quiet"]) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["digits-simple_cnn-1", "digits-simple_cnn-2"]


def test_a_run_is_not_written_over(run, capsys):
    assert "holds a run already" in one_line(capsys, "train", "--output", run)


def test_a_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in one_line(capsys, "train", "--output", tmp_path / "file" / "run", "--quiet")
    if os.geteuid() != 0:  # root may write anywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        assert "locked" in one_line(capsys, "train", "--output", tmp_path / "locked" / "run", "--quiet")


def test_divergence_is_one_line(tmp_path, capsys):
    argv = ("train", "--lr", "1e30", "--epochs", "1", "--output", tmp_path / "run", "--quiet", "--weight-decay", "0")
    assert "lower the learning rate" in one_line(capsys, *argv, code=1)


def test_without_matplotlib_there_are_no_pictures(tmp_path, monkeypatch):
    from minicnn.training import plots

    monkeypatch.setattr(plots, "available", lambda: False)
    assert main(["train", *QUICK, "--output", str(tmp_path)]) == 0
    assert not list(tmp_path.glob("*.png"))


# ---- stopping and going on ----------------------------------------------------------------------------------------

SETTINGS = ("--epochs", "6", "--seed", "11", "--augment", "shift,flip", "--batch-size", "48", "--threads", "1")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    assert main(["train", *SETTINGS, "--quiet", "--output", str(folder)]) == 0
    return arrays(folder / "last.safetensors")


def epochs_done(folder):
    try:
        return len((folder / "history.csv").read_text().splitlines()) - 1
    except FileNotFoundError:
        return 0


def heed_ctrl_c():
    """A shell starts what runs in its background deaf to Ctrl-C, and a child inherits that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def stop_after(folder, epochs, how):
    """Start a run in a process of its own and send it a signal once so many epochs are done; returns the process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "minicnn.cli", "train", *SETTINGS, "--output", str(folder)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    while epochs_done(folder) < epochs and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(how)
    process.stderr_text = process.communicate()[1]
    return process


def test_kill_and_resume_is_as_if_nothing_had_happened(tmp_path, unbroken):
    folder = tmp_path / "run"
    process = stop_after(folder, 2, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert 2 <= epochs_done(folder) < 6
    (folder / ".last.safetensors.x.part").write_bytes(b"half")  # as a kill in the middle of writing leaves it
    assert main(["train", "--resume", str(folder), "--quiet", "--threads", "1"]) == 0
    assert arrays(folder / "last.safetensors") == unbroken
    assert epochs_done(folder) == 6
    assert not list(folder.glob(".*"))


def test_ctrl_c_and_resume(tmp_path, unbroken):
    folder = tmp_path / "run"
    process = stop_after(folder, 1, signal.SIGINT)
    assert process.returncode == 130
    lines = [line for line in process.stderr_text.splitlines() if "compiling kernels" not in line]
    assert lines == [f"minicnn train: stopped; go on with: minicnn train --resume {folder}"]
    assert main(["train", "--quiet", "--resume", "--output", str(folder), *SETTINGS]) == 0  # the same options may stand
    assert arrays(folder / "last.safetensors") == unbroken


def test_a_run_stopped_in_its_first_epoch_can_be_resumed(tmp_path, unbroken, monkeypatch):
    """The state before the first step is a checkpoint too."""
    from minicnn.training import Trainer

    def stop(self, *loaders):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_epoch", stop)
        assert main(["train", *SETTINGS, "--quiet", "--output", str(tmp_path)]) == 130
    assert main(["train", "--resume", str(tmp_path), "--quiet"]) == 0
    assert arrays(tmp_path / "last.safetensors") == unbroken


def test_resume_keeps_the_settings_of_the_run(run, capsys):
    assert "--lr 0.3: the run was started with 0.05 and keeps it" in one_line(
        capsys, "train", "--resume", run, "--lr", "0.3"
    )
    assert "leave it out" in one_line(capsys, "train", "--resume", run, "--output", "elsewhere")


def test_resuming_a_finished_run_changes_nothing(run):
    before = arrays(run / "last.safetensors")
    assert main(["train", "--resume", str(run), "--quiet"]) == 0
    assert arrays(run / "last.safetensors") == before


def test_resume_without_a_name_takes_the_newest(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "there is no run" in one_line(capsys, "train", "--resume")
    assert main(["train", "--epochs", "1", "--quiet"]) == 0
    assert main(["train", "--resume", "--quiet"]) == 0
