"""minicnn bench: what it measures, how, and what it says of it."""

import gc
import json
import math

import numpy as np
import pytest

import minicnn
from minicnn.bench import children, engines, environment, harness, network, operations, report, runs, steps
from minicnn.cli import main, parser
from minicnn.cli.bench import options_of


def case(ours, peer=None, truth=(1.0, 2.0), allowed=1e-6):
    calls = {"minicnn": lambda: (np.array(ours),)} | ({"peer": lambda: (np.array(peer),)} if peer else {})
    return harness.Case("group", "name", 4, "forward", 2e6, "GFLOP/s", calls, lambda: (np.array(truth),), allowed)


PEAKS = {"GFLOP/s": 100.0, "GB/s": 10.0}
ENVIRONMENT = {
    "kind": "environment", "processor": "a processor", "cores": 2, "threads": 2, "system": "a system",
    "versions": {"python": "3.11"}, "variables": {"NUMBA_CPU_NAME": "generic"},
}  # fmt: skip


def row(ratio=2.0, name="relu 64x7x7", group="relu forward"):
    return {
        "kind": "row", "group": group, "case": name, "batch": 8, "phase": "forward", "compile": 0.5, "seconds": 1e-3,
        "rate": 50.0, "unit": "GB/s", "of_peak": 0.5, "error": 1e-7, "errors": {}, "peer": "torch",
        "peers": {"torch": ratio * 1e-3}, "peer_seconds": ratio * 1e-3, "ratio": ratio,
    }  # fmt: skip


def fake(monkeypatch, *records):
    monkeypatch.setattr(runs, "measured", lambda options, empty_cache: iter([ENVIRONMENT, *records]))


def test_a_case_is_measured_in_turns_with_its_peer():
    found = harness.measure(case([1.0, 2.0], [1.0, 2.0]), PEAKS, harness.QUICK)
    assert found["peer"] == "peer"
    assert found["ratio"] == found["peers"]["peer"] / found["seconds"]
    assert found["rate"] == pytest.approx(2e6 / found["seconds"] / 1e9)
    assert found["of_peak"] == pytest.approx(found["rate"] / 100)
    assert found["errors"] == {"minicnn": 0.0, "peer": 0.0}
    assert found["compile"] >= 0
    assert json.loads(json.dumps(found)) == found


def test_without_a_peer_there_is_no_ratio():
    found = harness.measure(case([1.0, 2.0]), PEAKS, harness.QUICK)
    assert found["ratio"] is None
    assert report.text({"kind": "row", **found})
    assert report.means_table([found]) == ""


@pytest.mark.parametrize(
    "wrong", [case([1.0, 2.1]), case([1.0, math.nan]), case([1.0]), case([1.0, 2.0], [1.0, 2.1])],
    ids=["value", "NaN", "shape", "peer"],
)  # fmt: skip
def test_nothing_wrong_is_timed(wrong, monkeypatch):
    monkeypatch.setattr(harness, "interleaved", None)
    with pytest.raises(ArithmeticError, match=r"name, forward, batch 4: .* is off by"):
        harness.measure(wrong, PEAKS, harness.QUICK)
    assert runs._figures(wrong, PEAKS, harness.QUICK)["kind"] == "wrong"


def test_calls_take_turns_without_the_collector():
    order = []

    def call(who):
        assert not gc.isenabled()
        order.append(who)
        deadline = harness.time.perf_counter() + 2e-3
        while harness.time.perf_counter() < deadline:
            pass

    times = harness.interleaved([lambda: call("a"), lambda: call("b")], harness.Effort(3, 1, 1.0))
    assert gc.isenabled()
    assert all(2e-3 <= each < 0.1 for each in times)
    turns = [who for i, who in enumerate(order) if i == 0 or order[i - 1] != who]
    assert turns == ["a", "b"] * 4  # once to see how long they take, then three rounds


def test_variables_that_slow_a_peer_down_are_taken_away_and_told():
    variables = {"OPENBLAS_CORETYPE": "Haswell", "PATH": "/bin", "NUMBA_CPU_NAME": "generic"}
    cleaned = environment.clean(variables, 2)
    settings = {"OPENBLAS_NUM_THREADS": "2", "OPENBLAS_THREAD_TIMEOUT": "20"}
    assert cleaned == {"PATH": "/bin", "NUMBA_CPU_NAME": "generic", **settings}
    assert "OPENBLAS_CORETYPE=Haswell" in environment.removed(variables)["OPENBLAS_CORETYPE"]


def test_the_layers_are_those_of_the_models():
    """Every convolution of the lists is in the network, and the other way round."""
    for layers, model, image in (
        (operations.resnet_convolutions(224), minicnn.models.resnet18(), (1, 3, 224, 224)),
        (operations.small_convolutions(28), minicnn.models.SimpleCNN(1, 10, 28), (1, 1, 28, 28)),
    ):
        seen = []
        for module in model.modules():
            if isinstance(module, minicnn.nn.Conv2d):
                module.register_forward_hook(lambda m, x, y, seen=seen: seen.append((m, x)))
        model.eval()
        model(np.zeros(image, np.float32))
        found = {(*m.weight.shape[1::-1], x.shape[2], m.weight.shape[2], m.stride[0]) for m, x in seen}
        assert found == {layer[:5] for layer in layers.values()}


def test_without_torch_the_reference_backend_is_the_truth():
    pool = operations.pool((2, 3, 8, 8), {"kernel_size": 3, "stride": 2, "padding": 1})
    for operation in (operations.norm((4, 3, 5, 5)), operations.loss(4, 7), operations.dense(2, 6, 5), pool):
        for each in operations.cases_of(operation, []):
            assert list(each.calls) == ["minicnn"]
            harness.checked(each, "minicnn", each.calls["minicnn"](), each.truth(), each.allowed)
    for each in (steps.training_step("SimpleCNN", 12, 2, []), steps.optimizer_step("Adam", "SimpleCNN", 12, [])):
        assert harness.checked(each, "minicnn", each.calls["minicnn"](), each.truth(), each.allowed) < 1e-4


def test_every_peer_predicts_the_same(tmp_path):
    pytest.importorskip("torch", reason="it is the peer")
    peers = [peer for peer in runs.PEERS if engines.missing(peer) is None]
    engines.write_weights(tmp_path, peers)
    each = network.prediction(tmp_path, 2, 64, peers, 1)
    truth = each.truth()
    assert "torch optimize_for_inference" in each.calls
    for who, call in each.calls.items():
        harness.checked(each, who, call(), truth, each.allowed)


def test_processes_of_their_own_tell_time_and_memory(tmp_path):
    engines.write_weights(tmp_path, [])
    (first,) = children.first_predictions(tmp_path, ["minicnn"], 1, 32, 1)
    assert first["seconds"] > 0
    assert first["peak_bytes"] > 3e7
    assert 3e7 < first["peak_bytes_batch_8"] <= 1.2 * first["peak_bytes_batch_32"]
    assert first["installed_bytes"] > children.installed_bytes("numpy") > 1e6
    (memory,) = children.training_memory(["minicnn"], 1, 2, 32)
    assert 5e7 < memory["before_bytes"] < memory["peak_bytes"]
    assert report.text({"kind": "first", **first}).startswith("minicnn")
    assert "batch 2, 32x32" in report.text({"kind": "memory", **memory})
    with pytest.raises(RuntimeError, match="first nobody: the process ended with code 1"):
        children.first_predictions(tmp_path, ["nobody"], 1, 32, 1)


def test_a_missing_peer_is_one_line(monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    found = next(runs.records(runs.Options(what=[], model="resnet18", peers=("openvino",))))
    assert found["kind"] == "note"
    assert found["text"].startswith("openvino is left out: openvino and onnx not installed (pip install")


def test_command(capsys, tmp_path):
    """The whole way once: a process of its own, matrix products beside NumPy."""
    assert main(["bench", "gemm", "--quick", "--peers", "none", "--json", str(tmp_path / "figures.json")]) == 0
    text = capsys.readouterr().out
    for word in ("GFLOP/s multiply-adds", "numpy", "linear 512", "mean ratio"):
        assert word in text
    found = json.loads((tmp_path / "figures.json").read_text())
    rows = [record for record in found["records"] if record["kind"] == "row"]
    assert [row["case"] for row in rows] == ["linear 256"] * 2 + ["linear 512"] * 2
    assert all(row["error"] < 5e-6 and row["seconds"] > 0 and row["peer"] == "numpy" for row in rows)
    assert found["options"]["threads"] == minicnn.get_num_threads()
    assert [mean["group"] for mean in found["means"]] == ["gemm forward", "gemm backward"]


def test_command_prints_json_and_draws(capsys, tmp_path, monkeypatch):
    fake(monkeypatch, {"kind": "peaks", **PEAKS}, row(2.0), row(0.5, "relu 64x14x14"))
    assert main(["bench", "--json", "--plot", str(tmp_path / "ratios.png")]) == 0
    found = json.loads(capsys.readouterr().out)
    (mean,) = found["means"]
    assert mean == {
        "group": "relu forward", "cases": 2, "mean": 1.0, "least": 0.5, "least_case": "relu 64x14x14", "losses": 1,
    }  # fmt: skip
    assert (tmp_path / "ratios.png").read_bytes().startswith(b"\x89PNG")


def test_losses_and_wrong_results_are_printed(capsys, monkeypatch):
    fake(monkeypatch, row(0.5), {"kind": "wrong", "text": "relu is off"}, {"kind": "note", "text": "a note"})
    assert main(["bench", "ops"]) == 1
    text = capsys.readouterr().out
    assert "0.50  torch" in text
    assert "WRONG: relu is off" in text
    assert "note: a note" in text
    assert "NUMBA_CPU_NAME=generic" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["everything"], "must be none or of gemm, conv, ops, step; got 'everything'"),
        (["--threads", "100000"], "--threads must be 1 to"),
        (["--batch", "0"], "--batch: must be 1 to"),
        (["--image-size", "8"], "--image-size: must be 32 to"),
        (["--peers", "tensorflow"], "got 'tensorflow'"),
        (["--model", "vgg"], "invalid choice: 'vgg'"),
        (["--weights", "w.pth"], "--weights: whose?"),
        (["--json", "no/such/folder.json"], "there is no such folder"),
        (["--plot", "no/such/folder.png"], "there is no such folder"),
    ],
)
def test_bad_options(options, said, capsys, monkeypatch):
    monkeypatch.setattr(runs, "measured", None)
    assert main(["bench", *options]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_a_failing_process_is_one_line(capsys):
    assert main(["bench", "--model", "resnet18", "--weights", "no-such-file.pth", "--quick", "--peers", "none"]) == 2
    assert "no-such-file.pth" in capsys.readouterr().err.splitlines()[-1]


def test_options():
    def chosen(*arguments):
        return options_of(parser().parse_args(["bench", *arguments]), 2)

    assert chosen().what == ["gemm", "conv", "ops", "step"]
    assert chosen("--model", "resnet18").what == []
    assert chosen("step", "conv").what == ["conv", "step"]
    assert chosen("--batch", "2", "--batch", "3").batches == [2, 3]
    assert chosen().batches is None
    assert chosen("--peers", "none").peers == []
    assert chosen("--peers", "openvino,torch").peers == ["torch", "openvino"]
    assert chosen("--threads", "1").threads == 1
    assert chosen().threads == 2
