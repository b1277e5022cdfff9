"""Hostile and damaged files: one clear error each, nothing run, little memory, no time.

The files are loaded in a child process with a limit on its memory, under Python's audit hooks: whatever is imported,
opened, started or executed while a file is read is an event that the test sees.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from weights_corpus import bad_containers, bad_pickles, damaged, in_containers, unsafe_pickles

SECONDS = 1.0
PEAK = 200 * 2**20  # bytes of the whole child, interpreter and NumPy included


def loaded_in_child(folder: Path, files) -> dict[str, dict]:
    """Write the files, load each in the child, and check what must hold for all: returns the reports by name."""
    names = {}
    for number, (name, data) in enumerate(files):
        (folder / f"{number:05d}.pth").write_bytes(data)
        names[f"{number:05d}.pth"] = name
    child = Path(__file__).with_name("weights_child.py")
    done = subprocess.run([sys.executable, child, folder], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, peak = done.stdout.splitlines()
    assert int(peak) < PEAK
    reports = {}
    for line in lines:
        report = json.loads(line)
        name = names[report["name"]]
        assert report["events"] == [], (name, report)
        assert report["result"] in ("loaded", "ValueError", "UnsafeFileError"), (name, report)
        assert report["seconds"] < SECONDS, (name, report)
        assert "more memory than there is" not in report["message"], (name, report)
        if report["result"] != "loaded":
            assert report["name"] in report["message"], (name, report)
            assert re.fullmatch(r"[ -~]{20,399}", report["message"]), (name, report)
        reports[name] = report
    assert len(reports) == len(names)
    return reports


@pytest.fixture
def canary(tmp_path_factory):
    """The path of a file that nothing may create."""
    path = tmp_path_factory.mktemp("canary") / "ran"
    yield str(path)
    assert not os.path.exists(path)


def test_pickles_that_call_build_or_import(tmp_path, canary):
    pickles = list(unsafe_pickles(canary))
    files = [file for name, data in pickles for file in in_containers(name, data)]
    reports = loaded_in_child(tmp_path, files)
    assert len(reports) > 300
    for name, report in reports.items():
        if name.endswith(" zip") or name.endswith(" legacy"):
            assert report["result"] == "UnsafeFileError", (name, report)
        assert report["result"] != "loaded", (name, report)
    assert "os.system" in reports["unsafe os.system zip"]["message"]
    assert "subprocess.Popen" in reports["unsafe new object legacy"]["message"]
    assert "torch.nn.modules.linear.Linear" in reports["unsafe module zip"]["message"]
    assert reports["unsafe os.system bare"]["result"] == "UnsafeFileError"


def test_pickles_that_are_wrong(tmp_path):
    files = [file for name, data in bad_pickles() for file in in_containers(name, data)]
    for name, report in loaded_in_child(tmp_path, files).items():
        assert report["result"] == "ValueError", (name, report)


def test_containers_that_are_wrong(tmp_path):
    for name, report in loaded_in_child(tmp_path, bad_containers()).items():
        expected = "UnsafeFileError" if name.endswith("objects") else "ValueError"
        assert report["result"] == expected, (name, report)


def test_damaged_files(tmp_path):
    reports = loaded_in_child(tmp_path, damaged(250))
    assert len(reports) > 5000
    for name, report in reports.items():
        if name.startswith("cut") and "tar" not in name:  # a tar file ends in padding that may be missing
            assert report["result"] == "ValueError", (name, report)
