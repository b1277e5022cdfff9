"""The page of `explain` in a real browser: it loads nothing, reports no error, and shows the numbers of the arrays."""

import json
import shutil
import time

import numpy as np
import pytest

from minicnn import models, nn
from minicnn.data import load_digits
from minicnn.inspect import explain

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: it drives the browser")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="no browser is installed: apt-get install chromium chromium-driver"
)


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Page:
    """An open page and what it was made from."""

    def __init__(self, driver, found, path):
        self.driver, self.found = driver, found
        found.write(path)
        driver.get_log("browser"), driver.get_log("performance")
        driver.get(path.as_uri())
        self.until("return document.getElementById('app').dataset.ready")

    def until(self, script):
        end = time.monotonic() + 30
        while not self.driver.execute_script(script):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.01)

    def do(self, script, *values):
        """Run a script, then wait until the page is drawn."""
        result = self.driver.execute_script(script, *values)
        self.driver.execute_async_script(
            "const done = arguments[0]; setTimeout(() => requestAnimationFrame(() => done()), 0)"
        )
        return result

    def text(self, selector):
        return self.driver.execute_script(f"return document.querySelector({json.dumps(selector)}).textContent")

    def layer(self, operation, nth=0):
        """Open the nth layer of a kind; returns it as the document has it."""
        nodes = self.found.document["nodes"]
        place = [i for i, node in enumerate(nodes) if node["operation"] == operation][nth]
        self.do(f"document.querySelector('[data-node=\"{place}\"]').click()")
        return nodes[place]

    def array(self, node, name):
        return self.found.arrays[node["names"][name]]

    def choose(self, *place):
        """Type a place into the boxes below the map."""
        boxes = ("channel", "row", "column") if len(place) == 3 else ("unit",)
        for box, value in zip(boxes, place):
            self.do(
                "const e = document.getElementById(arguments[0]); e.value = arguments[1]; "
                "e.dispatchEvent(new Event('input', {bubbles: true}))",
                f"at-{box}", value,
            )  # fmt: skip

    def click_map(self, row, column, shape):
        """A real click on the middle of one pixel of the large map."""
        box = self.do(
            "const e = document.getElementById('big-map'); e.scrollIntoView({block: 'center'}); "
            "const r = e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]"
        )
        x = box[0] + (column + 0.5) * box[2] / shape[1]
        y = box[1] + (row + 0.5) * box[3] / shape[0]
        for kind in ("mousePressed", "mouseReleased"):
            event = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
            self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)
        self.do("return 0")

    def grid(self, identifier):
        """The numbers of a table of the page."""
        return [[value(cell.split("\n")[0]) for cell in row] for row in self.cells(f"#{identifier} tr")]

    def cells(self, rows):
        """The texts of the cells of these rows."""
        script = "return [...document.querySelectorAll(arguments[0])].map(row => [...row.cells].map(c => c.innerText))"
        return self.do(script, rows)

    def check_numbers(self):
        """Every number on the page that names its array is that number, to the printed digits."""
        shown = self.driver.execute_script(
            "return [...document.querySelectorAll('[data-array]')]"
            ".map(e => [e.dataset.array, +e.dataset.index, e.textContent])"
        )
        for name, index, text in shown:
            actual = self.found.arrays[name].reshape(-1)[index]
            assert same(text, actual), f"{name}[{index}]: the page says {text}, the array {actual!r}"
        return len(shown)

    def check_quiet(self):
        """No message on the console, nothing fetched but the page itself."""
        assert self.driver.get_log("browser") == []
        for entry in self.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                url = event["params"]["request"]["url"]
                assert url.startswith(("file:", "data:", "blob:")), url


def value(text):
    """A printed number: five significant digits with a real minus sign."""
    return float(text.replace("−", "-").replace("∞", "inf")) if text not in ("–", "") else None


def same(text, actual):
    return value(text) == float(f"{float(actual):.4e}") or (np.isnan(actual) and text == "NaN")


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


def check_open_places(page):
    """Every open place of every layer shows its numbers, and none is missing."""
    for place, node in enumerate(page.found.document["nodes"]):
        page.do(f"document.querySelector('[data-node=\"{place}\"]').click()")
        channels = (node["open"] or {}).get("channels", [None])
        for channel in channels[:1] + channels[-1:]:
            if channel is not None and len(channels) > 1:
                page.do(f"document.querySelector('.map[data-channel=\"{channel}\"]').click()")
            for k in range(page.do("return document.querySelectorAll('.open-list button').length")):
                page.do(f"document.querySelectorAll('.open-list button')[{k}].click()")
                assert page.check_numbers() > 10
                assert page.do("return document.querySelectorAll('.missing').length") == 0
                assert page.do("return document.querySelector('#forward') !== null")
    page.check_quiet()


def test_a_resnet18_opens_at_its_open_places(browser, tmp_path, rng):
    found = explain(models.resnet18(num_classes=20), rng.standard_normal((3, 96, 96)).astype(np.float32), target=3)
    assert not found.document["whole"]
    page = Page(browser, found, tmp_path / "resnet.html")
    check_open_places(page)
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
