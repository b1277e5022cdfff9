"""minicnn finetune, and eval and predict of what it leaves."""

import json

import numpy as np
import pytest
from photographs import json_of, write_photos, write_weights
from test_options import one_line

from minicnn.cli import main
from minicnn.training import load_checkpoint
from minicnn.training.runfolder import RunFolder

SMALL = ("--image-size", "32", "--batch-size", "8", "--quiet")
PICTURES = {"confusion.png", "curves.png", "misclassified.png"}
FILES = {"best.safetensors", "last.safetensors", "history.csv", "report.json", "settings.json"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder / "train", each=8)
    write_photos(folder / "val", each=4, seed=1)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "resnet18.safetensors")


def finetune(weights, data, output, *more):
    return main(["finetune", "--weights", str(weights), "--data", str(data), "--output", str(output), *SMALL, *more])


@pytest.fixture(scope="module")
def run(data, weights, tmp_path_factory):
    """A run with a frozen backbone."""
    folder = tmp_path_factory.mktemp("runs") / "frozen"
    assert finetune(weights, data, folder) == 0
    return folder


def test_the_run_folder(run):
    assert {path.name for path in run.iterdir()} == FILES | PICTURES | {"features.safetensors"}
    settings = json.loads((run / "settings.json").read_text())
    assert (settings["model"], settings["freeze"], settings["classes"]) == (
        "resnet18", "backbone", ["blue", "green", "red"],
    )  # fmt: skip


def test_the_report_counts_each_class_for_itself(run):
    report = json.loads((run / "report.json").read_text())
    assert [one["class"] for one in report["classes"]] == ["blue", "green", "red"]
    assert [one["images"] for one in report["classes"]] == [4, 4, 4]
    assert report["balanced_accuracy"] == pytest.approx(np.mean([one["accuracy"] for one in report["classes"]]))
    assert np.trace(report["confusion"]) == sum(one["right"] for one in report["classes"])
    assert len(report["worst"]) == 12 - np.trace(report["confusion"])
    assert report["accuracy"] >= 0.9  # three colours


def test_only_the_last_layer_has_changed(run, weights):
    import minicnn

    before, after = minicnn.load(weights), load_checkpoint(run / "best.safetensors")["model"]
    assert {name for name in before if not np.array_equal(before[name], after[name])} == {"fc.weight", "fc.bias"}
    assert after["fc.weight"].shape == (3, 512)


def test_eval_and_predict_take_the_checkpoint(run, data, capsys):
    report = json.loads((run / "report.json").read_text())
    found = json_of(capsys, "eval", run)
    assert found["images"] == 12
    assert found["accuracy"] == pytest.approx(report["accuracy"])
    assert json_of(capsys, "eval", run, "--data", data / "val")["accuracy"] == pytest.approx(report["accuracy"])
    (one,) = json_of(capsys, "predict", run, data / "val" / "red" / "0.png")
    assert one["classes"][0]["class"] == "red"
    assert sum(best["probability"] for best in one["classes"]) == pytest.approx(1, abs=1e-5)
    assert one["classes"][0]["index"] == 2
    # and it is weights to begin another run with, here in the role of --weights
    assert main(["predict", "resnet18", "--weights", str(run), str(data / "val" / "red" / "0.png")]) == 0
    assert "red" in capsys.readouterr().out


def test_json(data, weights, tmp_path, capsys):
    found = json_of(capsys, "finetune", "--weights", weights, "--data", data, "--output", tmp_path / "run", *SMALL)
    assert found["run"] == str(tmp_path / "run")
    assert len(found["history"]) == 20
    assert set(found["report"]) >= {"accuracy", "balanced_accuracy", "classes"}
    assert found["best"]["val_accuracy"] == pytest.approx(found["report"]["accuracy"])


def stop_after(monkeypatch, saves):
    """Ctrl-C when so many checkpoints have been written."""
    save, done = RunFolder.save, []

    def counting(self, state, is_best):
        save(self, state, is_best)
        done.append(1)
        if len(done) == saves:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "save", counting)


@pytest.mark.parametrize("freeze", ["backbone", "layer3", "none"])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(data, weights, tmp_path, monkeypatch, capsys, freeze):
    options = ("--freeze", freeze, "--epochs", "3")
    assert finetune(weights, data, tmp_path / "whole", *options) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert finetune(weights, data, tmp_path / "stopped", *options) == 130
    assert "--resume" in capsys.readouterr().err
    kept = tmp_path / "stopped" / "features.safetensors"
    written = kept.stat().st_mtime_ns
    assert main(["finetune", "--resume", str(tmp_path / "stopped"), "--quiet"]) == 0
    assert kept.stat().st_mtime_ns == written  # not computed again
    whole, stopped = (load_checkpoint(tmp_path / name / "last.safetensors") for name in ("whole", "stopped"))
    for name, array in whole["model"].items():
        np.testing.assert_array_equal(array, stopped["model"][name], err_msg=name)
    assert len(stopped["history"]) == 3
    for ours, theirs in zip(whole["history"], stopped["history"]):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
    assert whole["random"] == stopped["random"]


def test_what_is_frozen_stays_and_the_rest_learns(data, weights, tmp_path):
    import minicnn

    assert finetune(weights, data, tmp_path / "run", "--freeze", "layer2.0", "--epochs", "1") == 0
    assert (
        finetune(weights, data, tmp_path / "move", "--freeze", "layer2.0", "--epochs", "1", "--batch-norm", "move") == 0
    )
    before, after = minicnn.load(weights), load_checkpoint(tmp_path / "move" / "last.safetensors")["model"]
    kept = load_checkpoint(tmp_path / "run" / "last.safetensors")["model"]
    for name, array in before.items():
        statistics = "running" in name or "tracked" in name
        frozen = name.startswith(("conv1", "bn1", "layer1", "layer2.0"))
        if not name.startswith("fc"):  # running statistics included
            assert np.array_equal(array, after[name]) == frozen, name
            assert np.array_equal(array, kept[name]) == (frozen or statistics), name


def test_one_folder_is_split(weights, tmp_path, capsys):
    write_photos(tmp_path / "all", each=8)
    argv = ("finetune", "--weights", weights, "--data", tmp_path / "all", "--output", tmp_path / "run", *SMALL)
    found = json_of(capsys, *argv, "--val-fraction", "0.25", "--seed", "3", "--epochs", "2")
    assert (found["settings"]["train_images"], found["settings"]["test_images"]) == (18, 6)
    assert json_of(capsys, "eval", tmp_path / "run")["accuracy"] == pytest.approx(found["report"]["accuracy"])


def test_bad_input_is_one_line_and_begins_nothing(data, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    one = write_photos(tmp_path / "one", each=8, names=("only",))
    (tmp_path / "empty").mkdir()
    small = write_weights(tmp_path / "small.npz", num_classes=4)
    good = ("finetune", "--weights", weights, "--data", data)
    before = sorted(tmp_path.iterdir())
    for argv, said in [
        (("finetune", "--data", data), "--weights is needed"),
        (("finetune", "--weights", weights), "--data is needed"),
        (("finetune", "--weights", "no.pth", "--data", data), "no.pth"),
        (("finetune", "--weights", data / "val" / "red" / "0.png", "--data", data), "0.png"),
        (("finetune", "--weights", weights, "--data", "nowhere"), "nowhere"),
        (("finetune", "--weights", weights, "--data", tmp_path / "empty"), "no class folder"),
        (("finetune", "--weights", weights, "--data", one), "one class"),
        ((*good, "--freeze", "layer9"), "layer1, layer2, layer3, layer4"),
        ((*good, "--freeze", "fc"), "nothing is left to learn"),
        ((*good, "--image-size", "8"), "--image-size"),
        ((*good, "--epochs", "0"), "--epochs"),
        ((*good, "--lr", "nan"), "--lr"),
        ((*good, "--val-fraction", "1"), "--val-fraction"),
        (("finetune", "--resume", "nowhere"), "nowhere"),
        (("finetune", "--weights", small, "--data", tmp_path / "empty"), "empty"),
    ]:
        line = one_line(capsys, *argv)
        assert said in line, line
    assert sorted(tmp_path.iterdir()) == before


def test_a_damaged_photograph_is_named_before_anything_is_trained(weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = write_photos(tmp_path / "photos", each=4)
    whole = (folder / "red" / "1.png").read_bytes()
    (folder / "red" / "1.png").write_bytes(whole[: len(whole) // 2])
    (folder / "green" / "2.png").write_bytes(b"")
    line = one_line(capsys, "finetune", "--weights", weights, "--data", folder)
    assert "2 of 12 images" in line
    assert "2.png" in line
    assert not (tmp_path / "runs").exists()


def test_another_run_is_not_written_over_and_not_mistaken(run, data, weights, tmp_path, capsys):
    assert "holds a run already" in one_line(capsys, "finetune", "--weights", weights, "--data", data, "--output", run)
    assert "started with backbone" in one_line(capsys, "finetune", "--resume", run, "--freeze", "none")
    assert main(["train", "--epochs", "1", "--quiet", "--output", str(tmp_path / "digits")]) == 0
    capsys.readouterr()
    assert "minicnn train" in one_line(capsys, "finetune", "--resume", tmp_path / "digits")
    assert "minicnn finetune" in one_line(capsys, "train", "--resume", run)
    assert "simple_cnn" in one_line(capsys, "finetune", "--weights", tmp_path / "digits", "--data", data)


def test_ants_and_bees_with_a_frozen_backbone(data_root, tmp_path, capsys):
    weights, photos = data_root / "weights" / "resnet18-imagenet.pth", data_root / "hymenoptera"
    found = json_of(capsys, "finetune", "--weights", weights, "--data", photos, "--output", tmp_path / "run", "--quiet")
    assert found["best"]["val_accuracy"] >= 0.94
    assert found["report"]["balanced_accuracy"] >= 0.94
