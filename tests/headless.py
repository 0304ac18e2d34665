"""A real browser without a window: the system's Chromium, driven over WebDriver."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Browser:
    """One tab, with the window, the colour scheme and the log of the page in it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str, *, width: int = 1200, scheme: str = "light") -> None:
        """Load a page in a window of ``width`` pixels, and wait until its charts are drawn."""
        self.size(width)
        self.media(scheme=scheme)
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(url)
        self.wait("return document.documentElement.dataset.ready || !document.scripts.length")
        self.settle()

    def size(self, width: int, height: int = 900) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def media(self, *, scheme: str = "light", medium: str = "") -> None:
        """Say which colour scheme the reader prefers, and whether the page is printed."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        media = {"media": medium, "features": features}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def wait(self, script: str) -> None:
        """Wait until a script returns something true."""
        end = time.monotonic() + 20
        while not self.run(script):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.02)

    def settle(self) -> None:
        """Let the page draw what it has scheduled."""
        self.driver.execute_async_script(
            "const done = arguments[0];"
            "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 30)))"
        )

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """Warnings and errors of the console since the page was opened."""
        lines = self.driver.get_log("browser")
        return [line["message"] for line in lines if line["level"] in ("WARNING", "SEVERE")]

    def requests(self) -> list[str]:
        """Everything that the page asked for since it was opened, itself included."""
        messages = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def picture(self, selector: str) -> Any:
        """An element as it is drawn: an RGB image of Pillow."""
        from PIL import Image

        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'start'})", selector)
        self.settle()
        element = self.driver.find_element("css selector", selector)
        return Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB")


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Start a browser with a fresh profile in a folder.

    Skips the test where no browser is installed, but fails it in continuous integration,
    which has to install one.
    """
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        message = "no Chromium with chromedriver is installed (Debian: chromium, chromium-driver)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*_FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    tab = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Browser(tab)
    finally:
        tab.quit()
