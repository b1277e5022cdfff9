"""The page of `explain` in a real browser: it loads nothing, reports no error, and shows the numbers of the arrays."""

import json

import numpy as np
import pytest
from explain_page import Page, needs_browser, same, value

from minicnn import models, nn
from minicnn.data import load_digits
from minicnn.inspect import explain

pytestmark = needs_browser


def network():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2, stride=1),
        nn.Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.Sigmoid())),
        nn.AvgPool2d(2, stride=1),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    rng = np.random.default_rng(5)
    found = explain(
        network(), rng.standard_normal((2, 12, 10)).astype(np.float32), target=1, classes=["ant", "bee", "fly"]
    )
    return Page(browser, found, tmp_path_factory.mktemp("page") / "page.html")


def test_every_layer_shows_the_numbers_of_its_arrays(page):
    for place, node in enumerate(page.found.document["nodes"]):
        page.do(f"document.querySelector('[data-node=\"{place}\"]').click()")
        assert node["operation"].replace("_", " ") in page.text("#layer-title")
        assert page.check_numbers() > 10
    page.check_quiet()


def test_a_pixel_of_a_convolution(page):
    node = page.layer("conv2d")
    f, oy, ox = 2, 3, 0  # at the left edge: the first column of the patch is padding
    page.choose(f, 0, 0)
    page.click_map(oy, ox, node["shape"][1:])
    assert f"y[{f}, {oy}, {ox}]" in page.text("#forward-title")
    x, weight, bias, dy = (page.array(node, name).astype(np.float64) for name in ("x", "weight", "bias", "dy"))
    padded = np.pad(x[0], ((0, 0), (1, 1), (1, 1)))
    for channel in (0, 1):
        page.do(
            "const e = document.getElementById('tap-channel'); e.value = arguments[0]; "
            "e.dispatchEvent(new Event('input', {bubbles: true}))", channel,
        )  # fmt: skip
        patch = padded[channel, 2 * oy : 2 * oy + 3, 2 * ox : 2 * ox + 3]
        g = dy[0, f, oy, ox]
        expected = {
            "patch": patch,
            "filter": weight[f, channel],
            "products": patch * weight[f, channel],
            "adds-dweight": g * patch,
            "dweight": page.array(node, "dweight")[f, channel],
            "adds-dx": g * weight[f, channel],
            "dx": np.pad(page.array(node, "dx")[0], ((0, 0), (1, 1), (1, 1)))[channel, 2 * oy : 2 * oy + 3, 0:3],
        }
        for name, numbers in expected.items():
            for (i, j), number in np.ndenumerate(numbers):
                shown = page.grid(name)[i][j]
                if j == 0 and name in ("adds-dx", "dx"):
                    assert shown is None  # padding: there is no pixel
                else:
                    assert shown == pytest.approx(float(number), rel=1e-4, abs=1e-12), (name, i, j)
        assert page.check_numbers() > 50
    total = (padded[:, 2 * oy : 2 * oy + 3, 2 * ox : 2 * ox + 3] * weight[f]).sum() + bias[f]
    assert same(page.text("#sum-here"), total)
    assert same(page.text("#y-value"), page.array(node, "y")[0, f, oy, ox])
    page.do("document.querySelector('#column').open = true")
    page.until("return document.querySelectorAll('#column tbody tr').length === 18")
    assert "padding: nowhere" in page.text("#column tbody tr")
    assert page.check_numbers() > 80
    page.check_quiet()


def test_a_grouped_convolution_reads_its_own_channels(page):
    node = page.layer("conv2d", 1)
    page.choose(3, 1, 1)
    x, weight, bias = (page.array(node, name).astype(np.float64) for name in ("x", "weight", "bias"))
    total = (x[0, 2:4, 0:3, 0:3] * weight[3]).sum() + bias[3]
    assert same(page.text("#sum-here"), total)


def test_pooling_shows_which_input_won(page):
    node = page.layer("max_pool2d")
    page.choose(1, 0, 0)
    page.click_map(2, 3, node["shape"][1:])
    winner = int(page.array(node, "indices")[0, 1, 2, 3])
    width = page.array(node, "x").shape[3]
    assert page.text("#verdict") == f"x[1, {winner // width}, {winner % width}] won."
    assert same(page.text("#window .winner"), page.array(node, "y")[0, 1, 2, 3])
    window = page.array(node, "x")[0, 1, 2:4, 3:5]
    assert page.grid("window") == [[float(f"{v:.4e}") for v in row] for row in window]
    page.check_numbers()


def test_relu_shows_which_were_cut(page):
    node = page.layer("relu")
    x = page.array(node, "x")
    for place in (np.argwhere(x[0] < 0)[0], np.argwhere(x[0] > 0)[0]):
        page.choose(*map(int, place))
        cut = x[0][tuple(place)] <= 0
        assert page.text("#verdict").startswith("Cut" if cut else "Passed")
        assert f"{int((x <= 0).sum())} of {x.size} values" in page.text("#verdict")
        page.check_numbers()


def test_softmax_and_cross_entropy(page):
    node = page.layer("cross_entropy")
    logits = page.array(node, "logits")[0].astype(np.float64)
    p = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    q = np.array([0, 1, 0])
    rows = page.cells("#classes tbody tr")
    assert [row[0] for row in rows] == ["ant", "bee", "fly"]
    np.testing.assert_allclose([value(row[3]) for row in rows], p, rtol=1e-4)
    np.testing.assert_allclose([value(row[5]) for row in rows], p - q, rtol=1e-4)
    assert value(page.text("#loss-value")) == pytest.approx(-np.log(p[1]), rel=1e-4)


def test_the_slider_takes_the_steps_that_were_computed(page):
    sizes, losses = (page.found.arrays[f"step.{name}"] for name in ("sizes", "losses"))
    for place in (0, 5, len(sizes) - 1):
        page.do(
            "const e = document.getElementById('eta'); e.value = arguments[0]; "
            "e.dispatchEvent(new Event('input', {bubbles: true}))", place,
        )  # fmt: skip
        assert value(page.text("#eta-value")) == pytest.approx(sizes[place])
        assert same(page.text("#loss-after"), losses[place])
        page.check_numbers()


def test_the_switch_shows_gradients(page):
    page.layer("conv2d")
    before = page.do("return document.querySelector('#big-map canvas').toDataURL()")
    page.do("document.getElementById('show-dy').click()")
    assert page.do("return document.getElementById('show-dy').getAttribute('aria-pressed')") == "true"
    assert page.do("return document.querySelector('#big-map canvas').toDataURL()") != before
    assert "gradient" in page.text("#layer .stats")
    page.do("document.getElementById('show-y').click()")
    assert page.do("return document.querySelector('#big-map canvas').toDataURL()") == before


def test_the_keyboard_goes_everywhere(page):
    from selenium.webdriver.common.keys import Keys

    page.layer("input")
    press = page.driver.switch_to
    page.do("document.querySelector('[data-node=\"0\"]').focus()")
    press.active_element.send_keys(Keys.ARROW_DOWN)
    page.until("return document.querySelector('#layer-title').textContent.startsWith('conv2d')")
    page.choose(1, 2, 2)
    page.do("document.getElementById('big-map').focus()")
    press.active_element.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    page.until("return document.querySelector('#forward-title').textContent.includes('y[1, 3, 3]')")
    page.do("document.getElementById('eta').focus()")
    before = page.text("#eta-value")
    press.active_element.send_keys(Keys.ARROW_LEFT)
    page.until(f"return document.getElementById('eta-value').textContent !== {json.dumps(before)}")


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_nothing_sticks_out_of_the_window(page, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for place in range(len(page.found.document["nodes"])):
        page.do(f"document.querySelector('[data-node=\"{place}\"]').click()")
        assert page.do("return document.documentElement.scrollWidth") <= width
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# ---- pages of their own ----


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_shows_three_terms(browser, tmp_path, training, rng):
    found = explain(network(), rng.standard_normal((2, 12, 10)).astype(np.float32), target=1, training=training)
    page = Page(browser, found, tmp_path / "page.html")
    node = page.layer("batch_norm")
    page.choose(3, 2, 1)
    x, dy, weight = (page.array(node, name).astype(np.float64) for name in ("x", "dy", "weight"))
    x, dy = x[0, 3], dy[0, 3]
    sigma = np.sqrt(x.var() + 1e-5)
    x_hat = (x - x.mean()) / sigma
    terms = weight[3] / sigma * np.array([dy[2, 1], -dy.mean(), -x_hat[2, 1] * (dy * x_hat).mean()])
    shown = [value(row[1]) for row in page.cells("#terms tr")]
    assert shown[:3] == pytest.approx(terms, rel=1e-4)
    if training:
        assert shown[3] == pytest.approx(page.array(node, "dx")[0, 3, 2, 1], rel=1e-3)
    page.check_numbers()
    page.check_quiet()


def test_a_digit_in_the_small_network(browser, tmp_path):
    images, labels = load_digits()
    found = explain(models.SimpleCNN(1, image_size=8), images[0], int(labels[0]), shown=images[0])
    page = Page(browser, found, tmp_path / "digit.html")
    for place in range(len(found.document["nodes"])):
        page.do(f"document.querySelector('[data-node=\"{place}\"]').click()")
        assert page.check_numbers() > 10
    page.check_quiet()


def test_a_resnet18_opens_at_its_open_places(browser, tmp_path, rng):
    found = explain(models.resnet18(num_classes=20), rng.standard_normal((3, 96, 96)).astype(np.float32), target=3)
    assert not found.document["whole"]
    page = Page(browser, found, tmp_path / "resnet.html")
    page.check_open_places()
    # in a map with open positions the arrow keys go from one to another
    node = page.layer("conv2d")
    opened = [tuple(position) for position in node["open"]["positions"]]
    page.do("document.querySelector('.open-list button').click()")  # the highest one
    from selenium.webdriver.common.keys import Keys

    page.do("document.getElementById('big-map').focus()")
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    page.do("return 0")
    pressed = page.text(".open-list [aria-pressed=true]")
    assert tuple(map(int, pressed.split(", "))) in opened[1:]
    assert int(pressed.split(", ")[0]) > opened[0][0]
