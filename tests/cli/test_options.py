"""The command line itself: help, one-line errors, exit codes."""

import json
import subprocess
import sys

import pytest

from minicnn.cli import COMMANDS, main

NAMES = {command.__name__.rpartition(".")[2].replace("evaluate", "eval") for command in COMMANDS}


def command(*argv, **options):
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "minicnn.cli", *map(str, argv)], capture_output=True, text=True, **options
    )


def one_line(capsys, *argv, code=2):
    """Run it, expect this exit code and one plain line on standard error; returns the line."""
    assert main([str(arg) for arg in argv]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.removesuffix("\n")
    assert line.startswith("minicnn")
    assert "\n" not in line
    assert "Traceback" not in line
    return line


def test_every_command_has_help(capsys):
    assert {"train", "eval", "predict", "summary", "gradcheck", "convert", "warmup", "doctor"} <= NAMES
    for name in NAMES:
        assert main([name, "--help"]) == 0
        assert f"usage: minicnn {name}" in capsys.readouterr().out
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in NAMES)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("minicnn ")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "COMMAND"),
        (["fly"], "fly"),
        (["train", "--epochs", "0"], "--epochs: must be 1 to"),
        (["train", "--epochs", "two"], "--epochs: must be a whole number, got 'two'"),
        (["train", "--batch-size", "-3"], "--batch-size"),
        (["train", "--lr", "nan"], "--lr: must be above 0, got nan"),
        (["train", "--lr", "inf"], "--lr"),
        (["train", "--lr", "0"], "--lr"),
        (["train", "--momentum", "1"], "--momentum: must be at least 0 and below 1, got 1"),
        (["train", "--seed", "-1"], "--seed"),
        (["train", "--seed", "9" * 400], "--seed"),
        (["train", "--optimizer", "magic"], "magic"),
        (["train", "--augment", "spin"], "--augment: must be none or of shift, flip, crop; got 'spin'"),
        (["train", "--augment", "crop"], "--augment crop"),
        (["train", "--image-size", "32"], "--image-size 32"),
        (["train", "--data", "no-such-folder"], "no-such-folder"),
        (["train", "--backend", "abacus"], "abacus"),
        (["train", "--threads", "100000"], "threads"),
        (["train", "--resume", "no-such-run"], "no-such-run"),
        (["eval", "no-such-run"], "no-such-run"),
        (["predict", "no-such-run", "no.png"], "no-such-run"),
        (["gradcheck", "conv3d"], "conv2d"),
        (["convert", "a.npz", "b.txt"], "b.txt"),
        (["convert", "no-such.npz", "b.npz"], "no-such.npz"),
        (["summary", "--model", "resnet18", "--channels", "1"], "--channels 1"),
        (["summary", "--image-size", "3"], "image_size"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, argv, said):
    monkeypatch.chdir(tmp_path)
    assert said in one_line(capsys, *argv)
    assert list(tmp_path.iterdir()) == []  # nothing was begun


def test_a_missing_backend_says_what_to_do(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    import minicnn

    if "cuda" in minicnn.available_backends():
        pytest.skip("the cuda backend can be used here")
    assert "cuda" in one_line(capsys, "train", "--backend", "cuda")


def test_a_file_that_is_no_checkpoint(capsys, tmp_path):
    text = tmp_path / "last.safetensors"
    text.write_text("not a checkpoint")
    assert str(text) in one_line(capsys, "eval", text)
    text.write_bytes(b"")
    assert str(text) in one_line(capsys, "eval", text)
    assert str(tmp_path) in one_line(capsys, "eval", tmp_path)  # a folder without best.safetensors


def test_bare_weights_are_no_checkpoint(capsys, tmp_path):
    import numpy as np

    import minicnn

    file = tmp_path / "weights.safetensors"
    minicnn.save({"fc.weight": np.ones((2, 2), np.float32)}, file)
    assert "not a checkpoint" in one_line(capsys, "eval", file)


def test_the_reader_of_the_output_may_leave():
    """minicnn … | head -1: no message, no traceback."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "minicnn.cli", "summary", "--model", "resnet18", "--image-size", "64"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdout.close()
    assert [line for line in process.stderr if "compiling kernels" not in line] == []
    assert process.wait() == 141
    process.stderr.close()


def test_help_is_quick_and_loads_neither_numba_nor_matplotlib():
    code = (
        "import sys; from minicnn.cli import main; main(['--help']);"
        "print([m for m in ('numba', 'matplotlib', 'torch', 'tqdm') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


def test_output_that_the_terminal_has_no_letters_for(tmp_path):
    done = command("summary", "--json", env={"PYTHONIOENCODING": "ascii", "PATH": ""})
    assert done.returncode == 0
    assert json.loads(done.stdout)["model"] == "SimpleCNN"
    assert command("summary", env={"PYTHONIOENCODING": "ascii", "PATH": ""}).returncode == 0
