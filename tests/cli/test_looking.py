"""doctor, warmup, gradcheck, summary: what they print, as text and as JSON."""

import json

import numpy as np

import minicnn
from minicnn.cli import main


def test_doctor(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["minicnn"] == minicnn.__version__
    assert found["versions"]["numpy"] == np.__version__
    assert found["backends"]["cpu"] == found["backends"]["reference"] == {"works": True, "problem": None}
    assert found["threads"]["used"] == minicnn.get_num_threads()
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for word in ("numba", "threads", "cache", "writable", "reference", "cuda"):
        assert word in text


def test_doctor_tells_of_a_cache_that_cannot_be_written(capsys, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINICNN_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert main(["doctor"]) == 0
    assert "NOT writable" in capsys.readouterr().out


def test_doctor_tells_what_to_install(capsys, monkeypatch):
    from importlib.metadata import PackageNotFoundError

    from minicnn.cli import doctor

    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", absent)
    assert main(["doctor"]) == 0
    assert "pip install 'minicnn[plots]'" in capsys.readouterr().out


def test_gradcheck(capsys):
    assert main(["gradcheck", "linear", "relu"]) == 0
    text = capsys.readouterr().out
    assert "linear" in text
    assert "hold" in text
    assert main(["gradcheck", "max_pool2d", "--json", "--backend", "reference"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["holds"]
    assert {report["backend"] for report in found["reports"]} == {"reference"}


def test_gradcheck_fails_when_a_gradient_is_wrong(capsys, monkeypatch):
    from minicnn.backends import load

    reference = load("reference")
    right = reference.sigmoid_backward
    monkeypatch.setattr(reference, "sigmoid_backward", lambda dy, x: right(dy, x) * 1.01)
    assert main(["gradcheck", "sigmoid", "--backend", "reference"]) == 1
    assert "wrong: sigmoid" in capsys.readouterr().out


def test_summary(capsys):
    assert main(["summary"]) == 0
    assert "conv1" in capsys.readouterr().out
    assert main(["summary", "--model", "resnet18", "--image-size", "64", "--batch-size", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] == 11_689_512
    assert found["output_shape"] == [2, 1000]


def test_warmup_runs_everything_that_computes():
    """Its list has every operation, optimiser and model; running it is left to those it names, which tests run."""
    from minicnn.cli.warmup import _operation, _step, tasks
    from minicnn.inspect.catalogue import cases

    named = " ".join(name for name, _ in tasks(np.dtype(np.float32)))
    assert all(word in named for word in ("conv2d", "cross_entropy", "SGD", "RMSprop", "ResNet18"))
    with minicnn.backend("reference"):
        for name, list_ in cases(np.random.default_rng(0)).items():
            for case in list_:
                _operation(name, case, np.dtype(np.float32))
        _step("SimpleCNN", "Adam", np.dtype(np.float64))
