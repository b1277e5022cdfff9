"""The page of `explain`, operation by operation: what it computes itself against PyTorch in float64."""

import numpy as np
import pytest
import torch
from explain_page import Page, needs_browser, same, value

import minicnn
from minicnn import nn
from minicnn.inspect import explain
from minicnn.inspect.explaining import pack, places

pytestmark = needs_browser
TF = torch.nn.functional


def network():
    minicnn.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1, groups=2),
        nn.Tanh(),
        nn.Concat(
            nn.Sequential(nn.Conv2d(4, 2, 1), nn.SiLU()), nn.Sequential(nn.Conv2d(4, 3, 1, bias=False), nn.GELU())
        ),
        nn.Upsample(scale_factor=1.5, mode="bilinear"),
        nn.Dropout(0.5),
        nn.GELU("tanh"),
        nn.Upsample(size=(9, 7)),
        nn.Sigmoid(),
        nn.AdaptiveAvgPool2d((4, 3)),
        nn.AvgPool2d(2, stride=1, padding=1),
        nn.AvgPool2d(2, stride=1, padding=1, count_include_pad=False),
        nn.Softmax(dim=1),
        nn.Flatten(),
        nn.Linear(150, 6),
        nn.LogSoftmax(dim=1),
    )


def explained(training=False):
    rng = np.random.default_rng(11)
    return explain(network(), rng.standard_normal((2, 6, 5)).astype(np.float32), target=2, training=training)


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    return Page(browser, explained(training=True), tmp_path_factory.mktemp("operations") / "page.html")


def arrays(page, node, *names):
    return [page.array(node, name).astype(np.float64)[0] for name in names]


def test_every_layer_shows_the_numbers_of_its_arrays(page, rng):
    for place, node in enumerate(page.found.document["nodes"]):
        page.do(f"document.querySelector('[data-node=\"{place}\"]').click()")
        for _ in range(4):
            if node["shape"]:
                page.choose(*(int(rng.integers(size)) for size in node["shape"]))
            assert page.check_numbers() > 10
            assert page.do("return document.querySelectorAll('.missing').length") == 0
    page.check_quiet()


def test_every_operation_has_an_explanation_of_its_own(page):
    seen = {node["operation"] for node in page.found.document["nodes"]}
    assert seen == {
        "input", "pad", "conv2d", "leaky_relu", "conv_transpose2d", "tanh", "silu", "gelu", "concat", "interpolate",
        "dropout", "sigmoid", "adaptive_avg_pool2d", "avg_pool2d", "softmax", "flatten", "linear", "log_softmax",
        "cross_entropy",
    }  # fmt: skip
    for operation in seen:
        page.layer(operation)
        assert "Forward" in page.text("#forward h3") or operation in ("input", "flatten")
        assert page.text("#layer-title small")


FUNCTIONS = {
    ("leaky_relu", 0): lambda x: TF.leaky_relu(x, 0.2),
    ("tanh", 0): torch.tanh,
    ("silu", 0): TF.silu,
    ("gelu", 0): TF.gelu,
    ("gelu", 1): lambda x: TF.gelu(x, approximate="tanh"),
    ("sigmoid", 0): torch.sigmoid,
}


@pytest.mark.parametrize(("operation", "nth"), FUNCTIONS)
def test_the_slope_of_an_activation(page, operation, nth):
    node = page.layer(operation, nth)
    (values,) = arrays(page, node, "x")
    largest = np.unravel_index(int(np.argmax(values)), values.shape)
    smallest = np.unravel_index(int(np.argmin(values)), values.shape)
    for place in (largest, smallest):
        page.choose(*map(int, place))
        x = torch.tensor(values[place], requires_grad=True)
        FUNCTIONS[operation, nth](x).backward()
        assert value(page.text("#slope")) == pytest.approx(float(x.grad), rel=1e-4)
        assert page.do("return document.querySelector('svg.function').getAttribute('aria-label')")


def test_a_pixel_of_a_transposed_convolution(page):
    node = page.layer("conv_transpose2d")
    x, weight, bias, dy = (page.array(node, name).astype(np.float64) for name in ("x", "weight", "bias", "dy"))
    y = TF.conv_transpose2d(*map(torch.tensor, (x, weight, bias)), 2, 1, 1, 2).numpy()
    for corner in np.ndindex(2, 2):  # stride 2: even and odd rows and columns meet other taps
        reached = np.argwhere(dy[0] != 0)  # elsewhere dropout left no gradient
        f, oy, ox = map(int, reached[(reached[:, 1:] % 2 == corner).all(axis=1)][-1])
        page.choose(f, oy, ox)
        assert same(page.text("#sum-here"), y[0, f, oy, ox])
        one = torch.zeros(y.shape, dtype=torch.float64)
        one[0, f, oy, ox] = dy[0, f, oy, ox]
        tensors = [torch.tensor(array, requires_grad=True) for array in (x, weight)]
        TF.conv_transpose2d(*tensors, None, 2, 1, 1, 2).backward(one)
        channel = int(page.do("return document.getElementById('tap-channel').value"))
        adds = np.array([[v or 0.0 for v in row] for row in page.grid("adds-dweight")])
        np.testing.assert_allclose(adds, tensors[1].grad[channel, f % 2], rtol=1e-4, atol=1e-12)
        gets = sorted(v for row in page.grid("adds-dx") for v in row if v is not None)
        expected = tensors[0].grad[0, channel].numpy()
        np.testing.assert_allclose(gets, np.sort(expected[expected != 0]), rtol=1e-4)
        page.check_numbers()


def test_dropout_shows_its_mask(page):
    node = page.layer("dropout")
    keep = page.array(node, "keep")
    assert 0 < keep.sum() < keep.size
    for kept, word in ((True, "Kept"), (False, "Dropped")):
        page.choose(*map(int, np.argwhere(keep[0] == kept)[0]))
        assert page.text("#verdict").startswith(word)
        assert f"{keep.size - int(keep.sum())} of {keep.size} values" in page.text("#verdict")


@pytest.mark.parametrize(("nth", "mode"), [(0, "bilinear"), (1, "nearest")])
def test_interpolation_gives_back_by_the_same_shares(page, nth, mode):
    node = page.layer("interpolate", nth)
    x, y, dy = arrays(page, node, "x", "y", "dy")
    for place in ((0, 0, 0), (2, 4, 3), (4, y.shape[1] - 1, y.shape[2] - 1)):
        page.choose(*place)
        image = torch.tensor(x[None], requires_grad=True)
        kwargs = {"scale_factor": 1.5, "align_corners": False} if mode == "bilinear" else {"size": (9, 7)}
        out = TF.interpolate(image, mode=mode, **kwargs)
        out[(0, *place)].backward(torch.tensor(dy[place]))
        expected = image.grad[0, place[0]].numpy()
        rows = page.cells("#sources tbody tr")
        shown = np.zeros_like(expected)
        for row in rows:
            _, iy, ix = (int(part) for part in row[0].strip("[]").split(","))
            shown[iy, ix] += value(row[3])
        np.testing.assert_allclose(shown, expected, rtol=1e-4, atol=1e-9)
        assert sum(value(row[1]) * value(row[2]) for row in rows) == pytest.approx(
            float(out.detach()[(0, *place)]), rel=1e-3
        )


def test_padding_adds_up_its_copies(page):
    node = page.layer("pad")
    _, y, dy = arrays(page, node, "x", "y", "dy")
    page.choose(1, 0, 0)  # reflected in both directions: row 2 and column 2 of y hold the pixel itself
    assert "x[1, 1, 1]" in page.text("#forward-title")
    assert "4 copies" in page.text("#verdict") or "2 copies" in page.text("#verdict")
    copies = dy[1][y[1] == y[1, 0, 0]]
    dx = page.array(node, "dx")[0, 1, 1, 1]
    assert copies.sum() == pytest.approx(dx, rel=1e-4)
    assert same(page.text("#backward b"), dx)


def test_concat_says_which_input_it_was(page):
    page.layer("concat")
    for channel, part, inside in ((1, "a", 1), (2, "b", 0), (4, "b", 2)):
        page.choose(channel, 3, 2)
        assert f"input {part} of a, b" in page.text("#forward-title")
        assert f"{part}[{inside}, 3, 2]" in page.text("#forward .numbers")
        page.check_numbers()


@pytest.mark.parametrize(
    ("operation", "nth", "place", "divisor"),
    [
        ("adaptive_avg_pool2d", 0, (0, 1, 1), 3 * 3),  # of 9 rows the second of 4 bins has 2 to 4; of 7 columns 2 to 4
        ("avg_pool2d", 0, (1, 0, 0), 4),  # with the padding
        ("avg_pool2d", 1, (1, 0, 0), 1),  # without: one pixel of the image
        ("avg_pool2d", 1, (1, 2, 2), 4),
    ],
)
def test_means_show_their_divisor(page, operation, nth, place, divisor):
    node = page.layer(operation, nth)
    page.choose(*place)
    (dy,) = arrays(page, node, "dy")
    assert f"The divisor is {divisor}:" in page.text("#verdict")
    assert value(page.text("#share")) == pytest.approx(dy[place] / divisor, rel=1e-4)
    window = np.array(page.grid("window"))
    assert window.sum() / divisor == pytest.approx(page.array(node, "y")[(0, *place)], rel=1e-3)
    page.check_numbers()


@pytest.mark.parametrize(("operation", "place"), [("softmax", (3, 1, 2)), ("log_softmax", (4,))])
def test_softmax_shows_its_line(page, operation, place):
    node = page.layer(operation)
    page.choose(*place)
    x, dy = (torch.tensor(page.array(node, name).astype(np.float64), requires_grad=True) for name in ("x", "dy"))
    getattr(torch, operation)(x, 1).backward(dy.detach())
    rows = page.cells("#line tbody tr")
    index = (0, slice(None), *place[1:])
    np.testing.assert_allclose([value(row[5]) for row in rows], x.grad[index], rtol=1e-3, atol=1e-9)
    probabilities = torch.softmax(x.detach(), 1)[index].numpy()
    shown = np.array([value(row[2]) for row in rows])
    np.testing.assert_allclose(shown / shown.sum(), probabilities, rtol=1e-4)
    page.check_numbers()


# ---- pages of their own ----


def test_gelu_keeps_its_digits_far_out(browser, tmp_path):
    """Φ(x) is tiny on the left: 1 + erf would have lost its digits."""
    model = nn.Sequential(nn.GELU(), nn.Flatten(), nn.Linear(7, 2))
    x = np.array([-6.0, -3.6, -3.5, -1.0, 1e-3, 2.0, 5.0], np.float32).reshape(1, 1, 7)
    page = Page(browser, explain(model, x, target=0), tmp_path / "page.html")
    page.layer("gelu")
    for column, at in enumerate(torch.tensor(x.ravel().astype(np.float64))):
        page.choose(0, 0, column)
        moved = at.clone().requires_grad_()
        TF.gelu(moved).backward()
        parts = dict(page.cells("#backward tr"))
        assert value(page.text("#slope")) == pytest.approx(float(moved.grad), rel=1e-4)
        assert value(parts["Φ(x), here"]) == pytest.approx(float(torch.special.ndtr(at)), rel=1e-4)


def test_dropout_in_evaluation(browser, tmp_path):
    page = Page(browser, explained(), tmp_path / "page.html")
    page.layer("dropout")
    assert "nothing is dropped" in page.text("#forward-title")
    page.check_numbers()


def test_open_places_of_every_operation_are_whole(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "DENSE_PAGE", 100)
    monkeypatch.setattr(pack, "DENSE_ARRAY", 20)  # vectors of a channel or a side stay whole
    monkeypatch.setattr(places, "CHANNELS", 3)
    monkeypatch.setattr(places, "POSITIONS", 4)
    monkeypatch.setattr(places, "UNITS", 3)
    page = Page(browser, explained(training=True), tmp_path / "page.html")
    assert not page.found.document["whole"]
    page.check_open_places()
