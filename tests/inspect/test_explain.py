"""explain: what the page holds is what the engine computed."""

import base64
import hashlib
import itertools
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest

from minicnn import functional as F
from minicnn import models, nn, optim
from minicnn.cli import main
from minicnn.data import load_digits
from minicnn.inspect import explain
from minicnn.inspect.explaining import pack, places
from minicnn.inspect.explaining.page import DATA, built_page

SOURCE = Path(__file__).parents[2] / "docs" / "explain"


def network():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2, stride=1),
        nn.Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())),
        nn.AvgPool2d(2, stride=1),
        nn.Flatten(),
        nn.Linear(64, 3),
    )


def by_operation(found, operation):
    return [node for node in found.document["nodes"] if node["operation"] == operation]


def unpacked(found):
    """The arrays as the page reads them: a dict a name, flat place -> value."""
    body = zlib.decompress(base64.b64decode(found.payload))
    arrays = {}
    for name, entry in found.document["arrays"].items():
        kind = np.dtype("<" + entry["dtype"])
        count = entry.get("count", int(np.prod(entry["shape"])) if "indices" not in entry and "at" in entry else 0)
        values = np.frombuffer(body, kind, count, entry.get("at", 0))
        places = np.cumsum(np.frombuffer(body, "<i4", count, entry["indices"])) if "indices" in entry else range(count)
        arrays[name] = dict(zip(map(int, places), values))
    return arrays


@pytest.mark.parametrize("training", [False, True])
def test_every_array_is_what_the_engine_computed(rng, backend, training):
    model, x = network(), rng.standard_normal((1, 2, 12, 12)).astype(np.float32)
    model.train(training)
    seen = {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _, inputs, y, name=name: seen.update({f"{name}.y": y}))
        module.register_backward_hook(lambda _, dy, dx, name=name: seen.update({f"{name}.dy": dy}))
    before = model.state_dict()
    found = explain(model, x, target=1, training=training)
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])
    loss, ctx = F.cross_entropy(model(x), np.array([1]))
    dx = model.backward(F.cross_entropy_backward(1.0, ctx))
    assert found.document["loss"] == loss
    for node in found.document["nodes"]:
        names = node["names"]
        if f"{node['module']}.y" in seen and node["operation"] not in ("add", "input"):
            np.testing.assert_array_equal(found.arrays[names["y"]], seen[f"{node['module']}.y"])
            np.testing.assert_array_equal(found.arrays[names["dy"]], seen[f"{node['module']}.dy"])
    np.testing.assert_array_equal(found.arrays[found.document["nodes"][0]["names"]["dy"]], dx)
    first, second = by_operation(found, "conv2d")
    np.testing.assert_array_equal(found.arrays[first["names"]["dweight"]], model[0].weight.grad)
    np.testing.assert_array_equal(found.arrays[second["names"]["dbias"]], model[4].branch[0].bias.grad)
    (norm,) = by_operation(found, "batch_norm")
    np.testing.assert_array_equal(found.arrays[norm["names"]["dweight"]], model[1].weight.grad)
    (linear,) = by_operation(found, "linear")
    np.testing.assert_array_equal(found.arrays[linear["names"]["dweight"]], model[7].weight.grad)


def test_the_graph_has_the_shortcut(rng):
    nodes = explain(network(), rng.standard_normal((2, 12, 12)).astype(np.float32)).document["nodes"]
    operations = [node["operation"] for node in nodes]
    assert operations == [
        "input", "conv2d", "batch_norm", "relu", "max_pool2d", "conv2d", "relu", "add", "avg_pool2d", "flatten",
        "linear", "cross_entropy",
    ]  # fmt: skip
    assert nodes[7]["sources"] == [6, 4]
    assert [node["sources"] for node in nodes[:3]] == [[], [0], [1]]


def test_what_is_written_is_what_was_kept(rng, backend):
    found = explain(network(), rng.standard_normal((2, 12, 12)).astype(np.float32))
    assert found.document["whole"]
    for name, values in unpacked(found).items():
        array = found.arrays[name]
        np.testing.assert_array_equal(np.array(list(values.values()), array.dtype).reshape(array.shape), array)


def test_of_a_large_network_the_open_places_are_whole(rng, monkeypatch):
    monkeypatch.setattr(pack, "DENSE_PAGE", 100)
    monkeypatch.setattr(pack, "DENSE_ARRAY", 20)
    monkeypatch.setattr(places, "POSITIONS", 2)
    monkeypatch.setattr(places, "CHANNELS", 3)
    found = explain(network(), rng.standard_normal((2, 12, 12)).astype(np.float32))
    assert not found.document["whole"]
    kept = unpacked(found)
    for name, values in kept.items():
        for at, value in values.items():
            assert value == found.arrays[name].reshape(-1)[at]
    first = by_operation(found, "conv2d")[0]
    x, weight = (found.arrays[first["names"][name]] for name in ("x", "weight"))
    assert 0 < len(kept[first["names"]["x"]]) < x.size
    opened = first["open"]
    assert len(opened["channels"]) == 3 and len(opened["positions"]) == 2
    for f, (oy, ox) in itertools.product(opened["channels"], opened["positions"]):
        assert np.ravel_multi_index((f, oy, ox), first["shape"]) in kept[first["names"]["y"]]
        for c, i, j in np.ndindex(*weight.shape[1:]):
            assert ((f * 2 + c) * 3 + i) * 3 + j in kept[first["names"]["dweight"]]
            iy, ix = 2 * oy - 1 + i, 2 * ox - 1 + j
            if 0 <= iy < 12 and 0 <= ix < 12:
                assert (c * 12 + iy) * 12 + ix in kept[first["names"]["x"]]
                assert (c * 12 + iy) * 12 + ix in kept[first["names"]["dx"]]


def test_a_step_is_the_step_of_sgd(rng, backend):
    model, x = network().eval(), rng.standard_normal((1, 2, 12, 12)).astype(np.float32)
    found = explain(model, x, target=2)
    step = {name: found.arrays[key] for name, key in found.document["step"].items()}
    assert step["sizes"][0] == 0
    for size, loss, probabilities in zip(step["sizes"], step["losses"], step["probabilities"]):
        twin = network().eval()
        twin.load_state_dict(model.state_dict())
        _, ctx = F.cross_entropy(twin(x), np.array([2]))
        twin.backward(F.cross_entropy_backward(1.0, ctx))
        if size:
            optim.SGD(twin.parameters(), lr=float(size)).step()
        logits = twin(x)
        assert loss == F.cross_entropy(logits, np.array([2]))[0]
        np.testing.assert_array_equal(probabilities, F.softmax(logits)[0][0])


def test_a_resnet18_stays_below_15_megabytes(rng):
    found = explain(models.resnet18(), rng.standard_normal((3, 224, 224)).astype(np.float32))
    assert not found.document["whole"]
    assert len(found.html().encode()) < 15e6
    assert all(
        node["open"] for node in found.document["nodes"] if node["operation"] in ("conv2d", "batch_norm", "linear")
    )


def test_the_built_page_is_that_of_its_sources():
    digest = hashlib.sha256()
    for name in ("build.mjs", "package.json", *(f"src/{path.name}" for path in sorted((SOURCE / "src").iterdir()))):
        digest.update(f"{name}\0".encode() + (SOURCE / name).read_bytes() + b"\0")
    assert f"sources sha256 {digest.hexdigest()}" in built_page(), "run `npm ci && npm run build` in docs/explain"


def test_the_page_loads_nothing():
    page = built_page()
    assert page.count(DATA) == 1
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert "@import" not in page and "url(" not in page


def test_names_in_the_page_cannot_leave_their_place(rng):
    x = rng.standard_normal((2, 12, 12)).astype(np.float32)
    found = explain(network(), x, classes=["</script><script>alert(1)</script>", "b", "c"])
    text = re.search(r'id="document">(.*?)</script>', found.html(), re.DOTALL)[1]
    assert json.loads(text)["classes"][0] == "</script><script>alert(1)</script>"


def test_numbers_that_are_not_finite_are_kept(rng):
    x = rng.standard_normal((2, 12, 12)).astype(np.float32)
    x[1, 3, 3] = np.nan
    found = explain(network(), x, target=0)
    assert found.document["nodes"][0]["y"]["notFinite"] == 1
    assert "NaN" not in re.search(r'id="document">(.*?)</script>', found.html(), re.DOTALL)[1].replace('"nan"', "")
    assert sum(np.isnan(value) for value in unpacked(found)["0.y"].values()) == 1


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda m, x: explain(3, x), TypeError),
        (lambda m, x: explain(m, [1]), TypeError),
        (lambda m, x: explain(m, x[0]), ValueError),
        (lambda m, x: explain(m, x[:, :0]), ValueError),
        (lambda m, x: explain(m, np.stack([x, x])), ValueError),
        (lambda m, x: explain(m[:2], x), ValueError),
        (lambda m, x: explain(m, x, 3), IndexError),
        (lambda m, x: explain(m, x, 1.5), TypeError),
        (lambda m, x: explain(m, x, classes=["a"]), ValueError),
        (lambda m, x: explain(m, x, classes=3), TypeError),
        (lambda m, x: explain(m, x, classes="abc"), TypeError),
        (lambda m, x: explain(m, x, shown=x[0]), ValueError),
        (lambda m, x: explain(m, x, shown=x), ValueError),
        (lambda m, x: explain(m, x, training="no"), TypeError),
    ],
)
def test_bad_calls(call, kind, rng):
    with pytest.raises(kind) as caught:
        call(network(), rng.standard_normal((2, 12, 12)).astype(np.float32))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.fixture
def digit(tmp_path):
    from PIL import Image

    images, _ = load_digits()
    path = tmp_path / "digit.png"
    Image.fromarray(np.rint(255 * images[3, 0]).astype(np.uint8)).save(path)
    return path


def test_the_command_writes_a_page_and_pictures(digit, tmp_path, capsys):
    page, folder = tmp_path / "page.html", tmp_path / "pictures"
    assert main(["explain", str(digit), "-o", str(page), "--target", "3", "--png", str(folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["page"] == str(page) and said["bytes"] == page.stat().st_size
    assert said["target"] == "3"
    assert said["trained"] is False
    assert sorted(path.name for path in folder.iterdir()) == [
        "filters.png", "gradcam.png", "image.png", "occlusion.png", "saliency.png"
    ]  # fmt: skip


def test_the_command_takes_options_between_model_and_image(digit, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["explain", "simple_cnn", "-o", str(page), str(digit)]) == 0
    assert "simple_cnn is untrained" in capsys.readouterr().out
    assert page.exists()


@pytest.mark.parametrize(
    "words",
    [["--target", "eleven"], ["--target", "10"], ["--weights", "w.pth"], ["resnet99"], ["--train", "--nothing"]],
)
def test_the_command_refuses_in_one_line(words, digit, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["explain", *words, str(digit)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not (tmp_path / "explain.html").exists()
