"""Each exercise is broken in one place, its check finds that, and the package's own code passes."""

import importlib
import inspect
import json

import numpy as np
import pytest

from minicnn import lab
from minicnn.backends import reference
from minicnn.cli import main

NUMBERED = list(enumerate(lab.EXERCISES, 1))
EACH = pytest.mark.parametrize(("number", "exercise"), NUMBERED, ids=[exercise.name for exercise in lab.EXERCISES])


def test_there_are_enough_and_no_two_of_a_name():
    assert len({exercise.name for exercise in lab.EXERCISES}) == len(lab.EXERCISES) >= 12
    assert all(len(exercise.hints) >= 2 for exercise in lab.EXERCISES)
    assert not any(exercise.name.isdecimal() for exercise in lab.EXERCISES)


@EACH
def test_the_broken_file_fails_and_the_own_code_passes(number, exercise, tmp_path):
    before = {name: vars(reference)[name] for name in vars(reference)}
    path = tmp_path / "exercise.py"
    path.write_text(lab.broken_file(exercise, number))
    result = lab.check(exercise, path)
    assert not result
    assert result.problem and "\n" not in result.problem
    path.write_text(lab.own_file(exercise, number))
    result = lab.check(exercise, path)
    assert result, result.problem
    assert all(vars(reference)[name] is value for name, value in before.items())


@EACH
def test_the_file_is_the_source_of_the_package_but_for_one_place(number, exercise):
    own, broken = lab.own_file(exercise, number), lab.broken_file(exercise, number)
    for part in exercise.parts:
        module, _, name = part.partition(".")
        home = importlib.import_module(f"minicnn.backends.reference.{module}")
        assert inspect.getsource(getattr(home, name)) in own
    assert own.replace(exercise.there, exercise.bug) == broken != own
    changed = [line for line in lab.difference(exercise, number).splitlines()[3:] if line[:1] in "+-"]
    assert len(changed) == 2, changed


def test_most_are_found_by_finite_differences_alone(tmp_path, monkeypatch):
    """Two are choices at a corner, two are consistent and wrong, two are optimisers: their lessons say so."""
    from minicnn.inspect import peers

    monkeypatch.setattr(peers, "available", lambda operation: False)
    found = []
    for number, exercise in NUMBERED:
        path = tmp_path / f"{exercise.name}.py"
        path.write_text(lab.broken_file(exercise, number))
        report = lab.check(exercise, path).report
        if report is not None and not report:
            found.append(exercise.name)
    missed = {exercise.name for exercise in lab.EXERCISES} - set(found)
    assert missed == {"kink", "tie", "stride", "overflow", "momentum", "adam"}


def test_without_pytorch_a_choice_at_a_corner_is_found_too(tmp_path, monkeypatch):
    from minicnn.inspect import peers

    monkeypatch.setattr(peers, "available", lambda operation: False)
    for number, exercise in NUMBERED:
        if exercise.name in ("kink", "tie"):
            path = tmp_path / "exercise.py"
            path.write_text(lab.broken_file(exercise, number))
            result = lab.check(exercise, path)
            assert result.report and not result
            assert "either side of a corner" in result.problem
            path.write_text(lab.own_file(exercise, number))
            assert lab.check(exercise, path)


def test_mending_the_wrong_half_is_not_a_solution(tmp_path):
    """A backward that fits the broken forward has a green gradient check, and is another function."""
    number, exercise = next((n, e) for n, e in NUMBERED if e.name == "unbiased")
    text = lab.broken_file(exercise, number)
    assert text.count("dweight[:, None] / values") == 1
    path = tmp_path / "exercise.py"
    path.write_text(text.replace("dweight[:, None] / values", "dweight[:, None] / (values - 1)"))
    result = lab.check(exercise, path)
    assert not result
    assert "another forward" in result.problem


def test_a_wrong_backward_is_not_called_a_wrong_forward(tmp_path):
    for number, exercise in NUMBERED:
        path = tmp_path / "exercise.py"
        path.write_text(lab.broken_file(exercise, number))
        assert ("another forward" in lab.check(exercise, path).problem) == (exercise.name in ("stride", "overflow"))


def test_the_worst_disagreement_comes_with_values(tmp_path):
    number, exercise = NUMBERED[0]
    path = tmp_path / "exercise.py"
    path.write_text(lab.broken_file(exercise, number))
    result = lab.check(exercise, path)
    row = result.report.rows[0]
    assert row.backward == pytest.approx(row.finite_difference / 2)
    for part in (f"{row.finite_difference:.6g}", f"{row.backward:.6g}", str(list(row.index)), "0.5 times"):
        assert part in result.problem


def test_the_command_from_start_to_solved(tmp_path, capsys):
    there = ["--dir", str(tmp_path / "mine")]
    assert main(["lab", *there]) == 0
    assert "0 of 23 solved" in capsys.readouterr().out
    assert main(["lab", "start", "1", *there]) == 0
    path = tmp_path / "mine" / "01_factor.py"
    assert str(path) in capsys.readouterr().out
    assert main(["lab", "check", "factor", *there]) == 1
    assert "Not yet" in capsys.readouterr().out
    path.write_text(path.read_text().replace("scale * (x - target)", "scale * 2 * (x - target)"))
    assert main(["lab", "start", "1", *there]) == 2  # what the reader wrote stays
    assert "--force" in capsys.readouterr().err
    assert main(["lab", "check", "1", *there]) == 0
    assert "Solved." in capsys.readouterr().out
    assert main(["lab", *there, "--json"]) == 0
    states = [each["state"] for each in json.loads(capsys.readouterr().out)]
    assert states == ["solved"] + ["new"] * 22
    path.write_text(path.read_text() + "\n# edited\n")
    assert main(["lab", *there]) == 0
    assert "1   factor          open" in capsys.readouterr().out
    assert main(["lab", "start", "1", "--force", *there]) == 0
    assert path.read_text() == lab.broken_file(lab.EXERCISES[0], 1)


def test_hints_come_one_at_a_time_and_the_solution_is_a_difference(tmp_path, capsys):
    there = ["--dir", str(tmp_path)]
    hints = lab.EXERCISES[9].hints
    for shown in (1, 2, 2):
        assert main(["lab", "hint", "10", *there]) == 0
        text = capsys.readouterr().out
        assert [hint in text for hint in hints] == [i < shown for i in range(len(hints))]
    assert main(["lab", "solution", "10", *there]) == 0
    text = capsys.readouterr().out
    assert "-    top, _, left, _ = amounts" in text and "+    left, _, top, _ = amounts" in text


def test_check_as_json(tmp_path, capsys):
    there = ["--dir", str(tmp_path)]
    main(["lab", "start", "3", *there])
    capsys.readouterr()
    assert main(["lab", "check", "3", *there, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["exercise"] == "product-rule" and found["solved"] is False
    assert found["report"]["rows"][0]["verdict"] == "real error"


def said(argv, capsys):
    """Exit code 2 and one line; returns it."""
    assert main(argv) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("minicnn lab: ") and len(lines[0]) < 500
    return lines[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "def mse_loss_forward(x, target)\n    return 0\n",
            "line 1: syntax error, expected ':': def mse_loss_forward(",
        ),
        ("import no_such_module\n", "line 1: ModuleNotFoundError"),
        ("x = 1\n", "the function mse_loss_forward is missing"),
        ("a\0b", "null bytes"),
        (
            "def mse_loss_forward(x, target):\n    return (x - target) ** 2\n\n\n"
            "def mse_loss_backward(scale, x, target):\n    return scale * undefined\n",
            "line 6: NameError",
        ),
        (
            "def mse_loss_forward(x, target):\n    return (x - target) ** 2\n\n\n"
            "def mse_loss_backward(scale, x, target):\n    return x[0]\n",
            "01_factor.py",
        ),
    ],
)
def test_code_that_does_not_run_is_said_in_one_line(text, expected, tmp_path, capsys):
    (tmp_path / "01_factor.py").write_text(text)
    assert expected in said(["lab", "check", "1", "--dir", str(tmp_path)], capsys)


def test_bad_calls(tmp_path, capsys):
    there = ["--dir", str(tmp_path)]
    assert "no exercise '99'" in said(["lab", "start", "99", *there], capsys)
    assert "minicnn lab start 4" in said(["lab", "check", "4", *there], capsys)
    (tmp_path / ".progress.json").write_text("[")
    assert "remove it" in said(["lab", "hint", "1", *there], capsys)
    (tmp_path / "file").write_text("")
    assert "file" in said(["lab", "start", "1", "--dir", str(tmp_path / "file")], capsys)


def test_what_the_reader_prints_is_not_mixed_into_the_json(tmp_path, capsys):
    there = ["--dir", str(tmp_path)]
    main(["lab", "start", "1", *there])
    path = tmp_path / "01_factor.py"
    path.write_text(path.read_text() + "\nprint('looking')\n")
    capsys.readouterr()
    assert main(["lab", "check", "1", "--json", *there]) == 1
    captured = capsys.readouterr()
    json.loads(captured.out)
    assert "looking" in captured.err


def test_inputs_of_the_exercises_repeat():
    for exercise in lab.EXERCISES:
        first, second = (exercise.inputs(np.random.default_rng(0)) for _ in range(2))
        for a, b in zip(first, second):
            np.testing.assert_array_equal(a, b)
