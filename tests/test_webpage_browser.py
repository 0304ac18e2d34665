"""The page in a real browser: charts, slider, colours, width, and what it must not do."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from check_samples import hostile as hostile_check
from check_samples import mixed
from headless import Browser, open_browser
from report_samples import hostile, plain
from webpage_samples import ATTACKS, attacked, profiles, spotter, trained

from rnncost.units import format_seconds
from rnncost.webpage import render_page
from rnncost.webpage.timeline import Timeline, timeline_of

pytest.importorskip("bokeh")

CHARTS = ("timeline-0", "timeline-1", "roofline-0", "roofline-1")
STEPS_LIGHT = (0xD5, 0x5E, 0x00)
BACKWARD_LIGHT = (0xA8, 0x46, 0x7F)
PRODUCT_LIGHT = (0x00, 0x72, 0xB2)
PHONE = 390


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    pytest.importorskip("selenium")
    with open_browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every section of the page but the contrast."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    report = msgspec.structs.replace(spotter(), training=trained().training)
    text = render_page(report, profiles=profiles(), check=mixed())
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "hostile.html"
    check = hostile_check(" ".join(ATTACKS))
    text = render_page(attacked(), profiles=profiles(), check=check)
    path.write_text(text, encoding="utf-8")
    return path


def set_steps(browser: Browser, steps: int) -> list[str]:
    """Move the slider, and return what is shown: the steps, then each latency."""
    return browser.run(
        """
        const slider = document.getElementById("steps");
        slider.value = arguments[0];
        slider.dispatchEvent(new Event("input", {bubbles: true}));
        const shown = [document.getElementById("steps-shown")];
        shown.push(...document.querySelectorAll("[id$='-latency']"));
        return shown.map((element) => element.textContent);
        """,
        steps,
    )


def timelines() -> list[Timeline]:
    found = [timeline_of(spotter(), estimate) for estimate in spotter().estimates]
    return [timeline for timeline in found if isinstance(timeline, Timeline)]


def close(pixel: tuple[int, ...], colour: tuple[int, ...]) -> bool:
    return all(abs(one - other) <= 12 for one, other in zip(pixel, colour, strict=True))


def last_column(picture: Any, colour: tuple[int, ...]) -> int:
    """The rightmost column that has a colour."""
    pixels = picture.load()
    columns = (
        x
        for x in range(picture.width - 1, -1, -1)
        if any(close(pixels[x, y], colour) for y in range(picture.height))
    )
    return next(columns)


def test_all_charts_are_drawn(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    for chart in CHARTS:
        box = browser.run(
            "const r = document.getElementById(arguments[0]).getBoundingClientRect();"
            "return [r.width, r.height]",
            chart,
        )
        assert box[0] > 900
        assert box[1] > 150
        picture = browser.picture(f"#{chart}")
        colours = {colour for _, colour in picture.getcolors(1 << 24)}
        assert len(colours) > 20
    assert browser.complaints() == []


def test_nothing_is_asked_of_the_network(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    set_steps(browser, 150)
    browser.settle()
    asked = [url for url in browser.requests() if not url.startswith("data:")]
    assert asked == [page.as_uri()]
    assert browser.run("return performance.getEntriesByType('resource').length") == 0


def test_a_server_sees_one_request(browser: Browser, page: Path) -> None:
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    handler = partial(Handler, directory=str(page.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            browser.open(f"http://127.0.0.1:{server.server_port}/{page.name}")
            browser.settle()
        finally:
            server.shutdown()
            thread.join()
    assert asked == [f"/{page.name}"]
    assert browser.complaints() == []


def test_the_policy_stops_what_is_not_the_pages_own(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    stopped = browser.driver.execute_async_script(
        """
        const done = arguments[0];
        const seen = [];
        document.addEventListener("securitypolicyviolation", (event) => {
          seen.push(event.effectiveDirective);
          if (seen.length === 3) done(seen);
        });
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
        const image = document.createElement("img");
        image.src = "http://127.0.0.1:9/x.png";
        document.body.append(image);
        fetch("http://127.0.0.1:9/").catch(() => {});
        """
    )
    assert sorted(stopped) == ["connect-src", "img-src", "script-src-elem"]
    assert browser.run("return window.ran === undefined")


def test_the_latency_follows_the_steps(browser: Browser, page: Path) -> None:
    """At the report's own T it is the report's, at every other T the projection."""
    browser.open(page.as_uri())
    drawn = timelines()
    assert [timeline.steps for timeline in drawn] == [100, 100]
    reported = [format_seconds(estimate.latency_s) for estimate in spotter().estimates]
    shown = browser.run(
        "return [...document.querySelectorAll(\"[id$='-latency']\")].map((e) => e.textContent)"
    )
    assert shown == reported
    for steps in (1, 2, 50, 99, 101, 137, 200):
        projected = [format_seconds(timeline.latency_at(steps)) for timeline in drawn]
        assert set_steps(browser, steps) == [f"T = {steps}", *projected]
        assert projected != reported
    assert set_steps(browser, 100) == ["T = 100", *reported]


def test_the_timeline_grows_with_the_steps(browser: Browser, page: Path) -> None:
    """The GRU is the last layer: its steps end where nearly all of the time has passed."""
    browser.open(page.as_uri())
    gru = next(row for row in timelines()[0].rows if row.name == "gru")
    end_s = timelines()[0].latency_s - sum(
        row.seconds for row in timelines()[0].rows[timelines()[0].rows.index(gru) + 1 :]
    )
    ends = {}
    for steps in (50, 100, 200):
        set_steps(browser, steps)
        browser.settle()
        picture = browser.picture("#timeline-0")
        ends[steps] = last_column(picture, STEPS_LIGHT)
    latest_s = timelines()[0].latency_at(200)
    inner = picture.width - 8
    assert ends[100] == pytest.approx(4 + inner * end_s / latest_s, abs=8)
    assert ends[200] - ends[100] == pytest.approx(2 * (ends[100] - ends[50]), abs=8)
    assert ends[50] < ends[100] < ends[200] <= picture.width


def test_the_slider_is_labelled_and_moves_by_key(browser: Browser, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(page.as_uri())
    slider = browser.driver.find_element("id", "steps")
    assert slider.accessible_name == "Time steps T"
    assert slider.aria_role == "slider"
    browser.driver.find_element("css selector", "nav li:last-child a").send_keys(Keys.TAB)
    for _ in range(10):
        if browser.run("return document.activeElement.id") == "steps":
            break
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.run("return document.activeElement.id") == "steps"
    shown = browser.driver.find_element("id", "steps-shown")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert shown.text == "T = 101"
    slider.send_keys(Keys.END)
    assert shown.text == "T = 200"
    slider.send_keys(Keys.HOME)
    assert shown.text == "T = 1"


@pytest.mark.parametrize("width", [320, PHONE, 1200])
def test_the_page_never_scrolls_sideways(browser: Browser, page: Path, width: int) -> None:
    browser.open(page.as_uri(), width=width)
    browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    browser.settle()
    assert browser.run("return document.documentElement.scrollWidth") <= width
    beyond = browser.run(
        """
        return [...document.querySelectorAll("body *")].filter((element) =>
          !element.closest(".scroll") && element.getBoundingClientRect().right > innerWidth + 0.5
        ).map((element) => element.outerHTML.slice(0, 80));
        """
    )
    assert beyond == []
    chart = browser.run(
        "return document.getElementById('roofline-0').getBoundingClientRect().width"
    )
    assert chart > 0.8 * min(width, 1100) - 40


def test_charts_follow_the_width_of_the_window(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri(), width=1200)
    wide = browser.picture("#roofline-0").width
    browser.size(PHONE)
    browser.wait("return document.querySelector('#roofline-0').clientWidth < 400")
    browser.settle()
    assert browser.picture("#roofline-0").width < 400 < wide
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE


TEXTS = """
const found = new Map();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || element.closest("script, noscript, .bk-Figure")) continue;
  let ground = element;
  while (ground && getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") {
    ground = ground.parentElement;
  }
  const style = getComputedStyle(element);
  const pair = [style.color, getComputedStyle(ground ?? document.documentElement).backgroundColor];
  found.set(pair.join("|"), [...pair, element.tagName + "." + element.className]);
}
return [...found.values()];
"""


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.1."""
    red, green, blue = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]

    def linear(part: float) -> float:
        return part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4

    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_measured_as_in_the_guideline() -> None:
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(118, 118, 118)", "rgb(255, 255, 255)") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, page: Path, scheme: str) -> None:
    browser.open(page.as_uri(), scheme=scheme)
    browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    pairs = browser.run(TEXTS)
    assert len(pairs) >= 5
    for text, ground, where in pairs:
        assert contrast(text, ground) >= 4.5, where


def test_page_and_charts_change_between_light_and_dark(browser: Browser, page: Path) -> None:
    def ground() -> tuple[int, ...]:
        picture = browser.picture("#timeline-0")
        colour: tuple[int, ...] = max(picture.getcolors(1 << 24))[1]
        return colour

    browser.open(page.as_uri(), scheme="light")
    light = ground()
    browser.media(scheme="dark")
    browser.settle()
    dark = ground()
    assert min(light) > 240
    assert max(dark) < 40
    picture = browser.picture("#timeline-0")
    assert last_column(picture, (0xE6, 0x9F, 0x00)) > 100
    brightest = max(sum(colour) for _, colour in picture.getcolors(1 << 24))
    assert brightest > 600, "the names in the chart are dark on dark"
    browser.media(scheme="dark", medium="print")
    browser.settle()
    assert browser.run("return getComputedStyle(document.documentElement).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    assert min(ground()) > 240
    picture = browser.picture("#timeline-0")
    darkest = min(sum(colour) for _, colour in picture.getcolors(1 << 24))
    assert darkest < 200, "the names in the chart are light on paper"


def test_a_mark_tells_what_it_is(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    texts = hovered(browser, "timeline-0", STEPS_LIGHT, BACKWARD_LIGHT)
    assert any(text.startswith("lstmsteps: ") for text in texts), texts
    assert any(text.startswith("bilstmsteps of the second direction: ") for text in texts)


def hovered(browser: Browser, chart: str, *colours: tuple[int, ...]) -> list[str]:
    """Move the mouse to what has these colours in a chart, and collect the texts that show."""
    picture = browser.picture(f"#{chart}")
    box = browser.run(
        "const r = document.getElementById(arguments[0]).getBoundingClientRect();return [r.x, r.y]",
        chart,
    )
    texts: set[str] = set()
    for x, y in places(picture, colours):
        for nudge in (1, 0):
            place = {"type": "mouseMoved", "x": box[0] + x + nudge, "y": box[1] + y}
            browser.driver.execute_cdp_cmd("Input.dispatchMouseEvent", place)
        browser.settle()
        texts.update(browser.run(TOOLTIPS))
    assert texts, "no mark tells anything"
    return sorted(texts)


def places(picture: Any, colours: tuple[tuple[int, ...], ...]) -> list[tuple[int, int]]:
    """Pixels of a picture that have one of the colours, far from one another."""
    pixels = picture.load()
    found: list[tuple[int, int]] = []
    for y in range(2, min(picture.height, 700), 3):
        for x in range(2, picture.width, 3):
            if any(close(pixels[x, y], colour) for colour in colours) and all(
                abs(x - other_x) > 120 or abs(y - other_y) > 20 for other_x, other_y in found
            ):
                found.append((x, y))
    return found


TOOLTIPS = """
const shown = [...document.querySelectorAll(".bk-Tooltip")].map(
  (tooltip) => tooltip.shadowRoot.querySelector(".bk-tooltip-content"));
return shown.map((e) => e.querySelector("img, a, b, script, style") ? "MARKUP" : e.textContent);
"""


def test_hostile_names_do_nothing(browser: Browser, hostile_page: Path) -> None:
    """Neither when the page is shown, nor when a mark is touched or the slider moved."""
    guard = "window.alarms = []; window.alert = (text) => window.alarms.push(text);"
    script = browser.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": guard}
    )
    try:
        browser.open(hostile_page.as_uri(), width=PHONE)
        set_steps(browser, 150)
        texts = hovered(browser, "roofline-0", STEPS_LIGHT, PRODUCT_LIGHT)
        texts += hovered(browser, "timeline-0", STEPS_LIGHT, PRODUCT_LIGHT)
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    assert browser.run("return window.alarms") == []
    assert browser.run("return document.querySelectorAll('img, body script:not([id])').length") == 2
    assert browser.run("return document.querySelectorAll('style').length") >= 1
    assert "MARKUP" not in texts
    assert len(texts) >= 4
    assert any(attack in text for text in texts for attack in ("<", "\\x", "|", "$$")), texts
    assert browser.complaints() == []
    asked = [url for url in browser.requests() if not url.startswith("data:")]
    assert asked == [hostile_page.as_uri()]
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE
    name = browser.run("return document.querySelector('#summary dd').textContent")
    assert "</script><script>alert(1)</script>" in name
    assert "line\\u2028paragraph" in name


@pytest.mark.parametrize("make", [hostile, plain], ids=["hostile", "plain"])
def test_a_page_without_estimates_needs_no_script(
    browser: Browser, tmp_path: Path, make: Any
) -> None:
    path = tmp_path / "page.html"
    path.write_text(render_page(make()), encoding="utf-8")
    browser.open(path.as_uri(), width=PHONE)
    assert browser.run("return document.scripts.length") == 0
    assert browser.complaints() == []
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE
