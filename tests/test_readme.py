"""Every command and snippet of the README is run, in its order, in a folder of its own.

What installs (`pip …`), and `pytest` itself, is run by .ci/run; here it is recognised and left out. The published data
sets are stood in for by small made-up files where the README says that they lie.
"""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minicnn
from minicnn import models
from minicnn.cli import main
from minicnn.data import Digits

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUN_BY_CI = (["pip", "install", "."], ["pip", "install", ".[test]"], ["pytest"])


def blocks(language):
    """(code, the indented block that follows it or "") of each fenced block."""
    pattern = rf"^```{language}\n(.*?)^```\n\n?((?:^    [^\n]*\n)*)"
    return [(code, re.sub("^    ", "", out, flags=re.MULTILINE))
            for code, out in re.findall(pattern, README, re.MULTILINE | re.DOTALL)]  # fmt: skip


def commands():
    """The commands of all shell blocks, in order, as lists of words."""
    lines = [line for code, _ in blocks("sh") for line in code.splitlines()]
    return [shlex.split(part) for line in lines for part in line.split("&&")]


@pytest.fixture
def workplace(tmp_path, rng, monkeypatch):
    """A folder with what the commands of the README expect there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINICNN_DATA", raising=False)
    pixels = np.rint(Digits(train=False)[0][0][0] * 255).astype(np.uint8)
    Image.fromarray(pixels).save("digit.png")
    for name in ("mnist", "fashion-mnist"):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for part in ("train", "t10k"):
            for kind, head, body in (
                ("images-idx3", [0x803, 20, 28, 28], rng.integers(0, 256, (20, 28, 28), np.uint8)),
                ("labels-idx1", [0x801, 20], (np.arange(20) % 10).astype(np.uint8)),
            ):
                (folder / f"{part}-{kind}-ubyte").write_bytes(np.array(head, ">u4").tobytes() + body.tobytes())
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (tmp_path / "data" / f"{name}.bin").write_bytes(rng.integers(0, 10, (4, 3073), np.uint8).tobytes())
    for name in ("ant", "bee"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(5):
            Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / "photos" / name / f"{i}.jpg")
    shutil.copy("photos/ant/0.jpg", "photo.jpg")
    shutil.copytree("photos/ant", "imagenet-val/n02219486")
    minicnn.save(models.resnet18().state_dict(), "weights.npz")
    Path("weights.npz").rename("resnet18-f37072fd.pth")  # what a file holds is told by its content
    return tmp_path


def test_every_command_runs(workplace, capsys):
    ran = 0
    for words in commands():
        if words in RUN_BY_CI:
            continue
        if words[0] == "python":
            assert (ROOT / words[1]).is_file()  # run by test_examples.py
            continue
        assert words[0] == "minicnn", f"what is {words}?"
        code = main(words[1:])
        assert code == 0, f"{' '.join(words)}: {capsys.readouterr().err}"
        ran += 1
    assert ran >= 12
    first = workplace / "runs" / "digits-simple_cnn-1"
    assert (first / "best.safetensors").is_file()  # the folder that the README shows


def test_every_snippet_gives_what_stands_below_it(workplace, capsys):
    found = blocks("python")
    assert len(found) == 3
    for code, expected in found:
        exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
        assert capsys.readouterr().out == expected


def test_no_block_is_overlooked():
    fences = re.findall(r"^```(\S*)$", README, re.MULTILINE)
    assert set(fences) == {"sh", "python", ""}
    assert fences.count("") == len(blocks("sh")) + len(blocks("python"))


def test_what_it_points_to_is_there():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target
    for name in re.findall(r"`(minicnn/[\w/]+\.py)`", README):
        assert (ROOT / name).is_file(), name


def test_the_table_names_every_operation():
    from minicnn.inspect import operations

    section = README.split("## Operations")[1].split("\n## ")[0]
    assert [name for name in operations() if f"`{name}`" not in section] == []
