"""The page of `explain` in a real browser, for tests: what it shows, and whether that is what the arrays hold."""

import json
import shutil
import time

import numpy as np
import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: it drives the browser")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="no browser is installed: apt-get install chromium chromium-driver"
)


def start():
    """A headless Chromium with its driver."""
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
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))


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

    def check_open_places(self):
        """Every open place of every layer shows its numbers, and none is missing."""
        for place, node in enumerate(self.found.document["nodes"]):
            self.do(f"document.querySelector('[data-node=\"{place}\"]').click()")
            channels = (node["open"] or {}).get("channels", [None])
            for channel in channels[:1] + channels[-1:]:
                if channel is not None and len(channels) > 1:
                    self.do(f"document.querySelector('.map[data-channel=\"{channel}\"]').click()")
                for k in range(self.do("return document.querySelectorAll('.open-list button').length")):
                    self.do(f"document.querySelectorAll('.open-list button')[{k}].click()")
                    assert self.check_numbers() > 10
                    where = node["operation"], channel, k
                    missing = "return [...document.querySelectorAll('.missing')].map(e => e.parentElement.innerText)"
                    assert self.do(missing) == [], where
                    assert self.do("return document.querySelector('#forward') !== null"), where
        self.check_quiet()


def value(text):
    """A printed number: five significant digits with a real minus sign."""
    return float(text.replace("−", "-").replace("∞", "inf")) if text not in ("–", "") else None


def same(text, actual):
    return value(text) == float(f"{float(actual):.4e}") or (np.isnan(actual) and text == "NaN")
