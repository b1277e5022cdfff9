"""Pictures of a page of `minicnn explain` at three sizes, light and dark: python docs/explain/screenshots.py PAGE DIR

Needs selenium, Chromium and its driver. Writes explain-phone.png, explain-laptop.png and explain-projector.png into
DIR, and the same with -dark.
"""

import argparse
import base64
import shutil
from pathlib import Path

from selenium import webdriver

SIZES = {"phone": (390, 1500, 2), "laptop": (1280, 1000, 1), "projector": (1920, 1080, 1)}  # width, height, pixels each


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--layer", type=int, help="which to open (default: the first convolution)")
    parser.add_argument("--scroll", default="header", metavar="SELECTOR", help="what is at the top (default: header)")
    args = parser.parse_args()
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(word)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        for theme in ("light", "dark"):
            for name, (width, height, scale) in SIZES.items():
                features = [{"name": "prefers-color-scheme", "value": theme}]
                driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
                size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": name == "phone"}
                driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                driver.get(args.page.resolve().as_uri())
                driver.set_script_timeout(30)
                driver.execute_async_script(
                    "const done = arguments[0]; (function wait() { document.getElementById('app').dataset.ready "
                    "? requestAnimationFrame(() => done()) : setTimeout(wait, 20); })()"
                )
                if args.layer is not None:
                    driver.execute_script(f"document.querySelector('[data-node=\"{args.layer}\"]').click()")
                driver.execute_async_script("setTimeout(arguments[0], 100)")
                driver.execute_script("document.querySelector(arguments[0]).scrollIntoView()", args.scroll)
                picture = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
                suffix = "" if theme == "light" else "-dark"
                (args.folder / f"explain-{name}{suffix}.png").write_bytes(base64.b64decode(picture))
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
