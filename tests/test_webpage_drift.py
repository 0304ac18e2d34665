"""The page of ``rnncost numerics``: as text, and in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from headless import Browser, open_browser
from numerics_models import layer_model, weights
from test_webpage import ATTRIBUTES, Document
from test_webpage_browser import (
    PHONE,
    STEPS_LIGHT,
    TEXTS,
    close,
    contrast,
    hovered,
    last_column,
)
from webpage_samples import ATTACKS

import rnncost
from rnncost.along_time import Numerics
from rnncost.along_time.drift.model import Drift, LayerDrift, PrecisionDrift, StateDrift
from rnncost.cli.main import main
from rnncost.errors import EXIT_OK
from rnncost.webpage import render_numerics
from rnncost.webpage.drift_page import CHARTED

pytest.importorskip("bokeh")

Capture = pytest.CaptureFixture[str]
BF16_LIGHT = (0x0A, 0x6B, 0x50)


def bidirectional() -> onnx.ModelProto:
    stored = weights("LSTM", 4, 8, 2)
    del stored["P"]
    return layer_model("LSTM", stored, {"X": ("T", 1, 4)}, direction="bidirectional", hidden_size=8)


@pytest.fixture(scope="module")
def result() -> Numerics:
    precisions = ("int8", "bf16", "fp32")
    return rnncost.numerics(bidirectional(), dims={"T": 60}, precisions=precisions)


def attacked(result: Numerics) -> Numerics:
    """The same with an attack in every text that comes from a model."""
    assert result.drift is not None
    whole = " ".join(ATTACKS)
    compared = [
        msgspec.structs.replace(
            one,
            notes=[whole],
            in_float=[whole],
            layers=[
                *(msgspec.structs.replace(layer, name=whole) for layer in one.layers),
                LayerDrift(name=whole, op_type=whole, direction="", reason=whole),
            ],
            outputs=[msgspec.structs.replace(output, name=whole) for output in one.outputs],
        )
        for one in result.drift.precisions
    ]
    drift = msgspec.structs.replace(result.drift, precisions=compared, profile=whole, latency_s=1.0)
    layers = [
        msgspec.structs.replace(layer, name=whole, op_type=whole, notes=[whole])
        for layer in result.layers
    ]
    return msgspec.structs.replace(
        result,
        model=whole,
        runtime=whole,
        layers=layers,
        drift=drift,
        notes=[whole],
        warnings=[whole],
        bindings=msgspec.structs.replace(result.bindings, shapes={whole: [1]}),
        inputs=msgspec.structs.replace(result.inputs, generated={whole: whole}),
    )


def hand_made(states: int, **more: Any) -> Numerics:
    """So many layers, each with one state that is off by 20 dB at each of four steps."""
    state = StateDrift(
        state="h",
        length=4,
        steps=[1, 2, 3, 4],
        curve_snr_db=[20.0] * 4,
        curve_rms_error=[0.1] * 4,
        **more,
    )
    layers = [
        LayerDrift(name="same", op_type="GRU", direction="forward", states=[state])
        for _ in range(states)
    ]
    one = PrecisionDrift(precision="bf16", method="emulated", bytes=10, layers=layers)
    base = rnncost.numerics(bidirectional(), weights_only=True)
    drift = Drift(
        limit_db=20.0, bytes=20, latency_s=None, measured_s=None, profile="", precisions=[one]
    )
    return msgspec.structs.replace(base, drift=drift)


def charts(text: str) -> list[dict[str, Any]]:
    (data,) = re.findall(r'id="rnncost-data">(.*?)</script>', text)
    found: list[dict[str, Any]] = json.loads(data)["charts"]
    return found


def test_the_page_is_well_formed_self_contained_and_the_same_each_time(result: Numerics) -> None:
    for one in (result, attacked(result), msgspec.structs.replace(result, drift=None)):
        text = render_numerics(one)
        assert render_numerics(one) == text
        document = Document(text)
        assert {key for _, key, _ in document.attributes} <= ATTRIBUTES
        links = {value for tag, key, value in document.attributes if key in ("href", "src")}
        ids = [value for _, key, value in document.attributes if key == "id"]
        assert {link for link in links if link != "data:,"} <= {f"#{name}" for name in ids}
        assert len(ids) == len(set(ids))
        assert set(document.tags) & {"img", "iframe", "object", "b"} == set()
        assert not any(attack in text for attack in ATTACKS if "<" in attack)


def test_every_figure_of_the_table_is_on_the_page(result: Numerics) -> None:
    text = Document(render_numerics(result)).text
    shown = str(result)
    for word in re.findall(r"-?\d+\.\d dB|\d\.\d+ kB|\d+ B", shown):
        assert word in text
    for heading in ("Run", "Drift", "Memory", "Notes"):
        assert heading in text
    assert "No error in fp32" in text


def test_a_state_has_a_chart_with_its_own_curve(result: Numerics) -> None:
    found = charts(render_numerics(result))
    assert [chart["target"] for chart in found] == [f"drift-{number}" for number in range(4)]
    assert result.drift is not None
    int8 = result.drift.precisions[0]
    for chart, (layer, number) in zip(
        found, [(layer, n) for layer in int8.layers for n in (0, 1)], strict=True
    ):
        item = json.dumps(chart["item"])
        for ratio in layer.states[number].curve_snr_db[:5]:
            assert str(ratio) in item


def test_without_drift_there_is_no_script(result: Numerics) -> None:
    text = render_numerics(msgspec.structs.replace(result, drift=None))
    assert "<script" not in text
    assert len(text) < 30_000
    assert "Memory of the gates" in text


def test_layers_of_one_name_have_charts_of_their_own() -> None:
    text = render_numerics(hand_made(3))
    assert len(charts(text)) == 3
    many = render_numerics(hand_made(CHARTED + 2))
    assert len(charts(many)) == CHARTED
    assert f"the first {CHARTED} of {CHARTED + 2} states" in many


def test_states_without_a_ratio_are_told_and_have_no_chart() -> None:
    def page(**more: Any) -> str:
        found = hand_made(1)
        assert found.drift is not None
        (one,) = found.drift.precisions
        state = msgspec.structs.replace(one.layers[0].states[0], curve_snr_db=[None] * 4, **more)
        layer = msgspec.structs.replace(one.layers[0], states=[state])
        one = msgspec.structs.replace(one, layers=[layer])
        drift = msgspec.structs.replace(found.drift, precisions=[one])
        return render_numerics(msgspec.structs.replace(found, drift=drift))

    exact = page(exact=True, curve_rms_error=[0.0] * 4)
    assert "No error in bf16" in exact
    assert "<script" not in exact
    assert "No ratio in bf16: there is no signal, or it is not finite" in page(exact=False)


def test_a_precision_that_was_not_compared_is_told(result: Numerics) -> None:
    assert result.drift is not None
    failed = PrecisionDrift(precision="int8", reason="no such <luck>")
    drift = msgspec.structs.replace(result.drift, precisions=[failed])
    text = render_numerics(msgspec.structs.replace(result, drift=drift))
    assert "int8: no such &lt;luck&gt;" in text
    assert "<script" not in text


def test_the_command_writes_it(tmp_path: Path, capsys: Capture) -> None:
    model, data, page = tmp_path / "m.onnx", tmp_path / "x.npy", tmp_path / "page.html"
    onnx.save(bidirectional(), model)
    np.save(data, np.ones((9, 1, 4), np.float32))
    words = ["numerics", str(model), "--data", str(data), "-o", f"html:{page}"]
    assert main([*words, "--drift", "--precision", "bf16"]) == EXIT_OK
    assert len(charts(page.read_text(encoding="utf-8"))) == 4
    assert main(words) == EXIT_OK
    assert "<title>m.onnx · rnncost numerics</title>" in page.read_text(encoding="utf-8")
    assert capsys.readouterr().err == ""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    pytest.importorskip("selenium")
    with open_browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(result: Numerics, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(render_numerics(result), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, PHONE, 1200])
def test_it_is_readable_at_every_width(
    browser: Browser, page: Path, width: int, scheme: str
) -> None:
    browser.open(page.as_uri(), width=width, scheme=scheme)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    sizes = browser.run(
        "return [...document.querySelectorAll('.chart')]"
        ".map((element) => [element.clientWidth, element.clientHeight])"
    )
    assert len(sizes) == 4
    for wide, high in sizes:
        assert wide > 0.8 * min(width, 1100) - 40
        assert high > 200
    for text, ground, where in browser.run(TEXTS):
        assert contrast(text, ground) >= 4.5, where
    assert browser.complaints() == []
    asked = [url for url in browser.requests() if not url.startswith("data:")]
    assert asked == [page.as_uri()]


def test_lines_are_drawn_in_the_colours_of_the_scheme(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri(), scheme="light")
    picture = browser.picture("#drift-0")
    for colour in (STEPS_LIGHT, BF16_LIGHT):
        assert last_column(picture, colour) > 0.9 * picture.width
    browser.media(scheme="dark")
    browser.settle()
    picture = browser.picture("#drift-0")
    assert max(max(picture.getcolors(1 << 24))[1]) < 40
    for colour in ((0xE6, 0x9F, 0x00), (0x57, 0xC9, 0xA4)):
        assert last_column(picture, colour) > 0.9 * picture.width
    assert not any(close(colour, BF16_LIGHT) for _, colour in picture.getcolors(1 << 24))


def test_the_better_precision_is_drawn_higher(browser: Browser, page: Path) -> None:
    """bf16 is 10 dB above int8 here, and the limit of 20 dB is far below both."""
    browser.open(page.as_uri())
    picture = browser.picture("#drift-0")

    def mean_row(colour: tuple[int, ...]) -> float:
        pixels = picture.load()
        rows = [
            y
            for y in range(picture.height)
            for x in range(picture.width)
            if close(pixels[x, y], colour)
        ]
        return sum(rows) / len(rows)

    assert mean_row(BF16_LIGHT) < mean_row(STEPS_LIGHT) < picture.height / 2


def test_a_line_tells_its_figures(browser: Browser, page: Path, result: Numerics) -> None:
    browser.open(page.as_uri())
    texts = hovered(browser, "drift-0", STEPS_LIGHT)
    assert result.drift is not None
    state = result.drift.precisions[0].layers[0].states[0]
    told = {
        f"int8, step {step}{ratio:.1f} dBRMS error {error:.3g}"
        for step, ratio, error in zip(
            state.steps, state.curve_snr_db, state.curve_rms_error, strict=True
        )
        if ratio is not None and error is not None
    }
    assert set(texts) & told, texts


def test_hostile_names_do_nothing(browser: Browser, result: Numerics, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(render_numerics(attacked(result)), encoding="utf-8")
    guard = "window.alarms = []; window.alert = (text) => window.alarms.push(text);"
    script = browser.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": guard}
    )
    try:
        browser.open(path.as_uri(), width=PHONE)
        texts = hovered(browser, "drift-0", STEPS_LIGHT, BF16_LIGHT)
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    assert "MARKUP" not in texts
    assert browser.run("return window.alarms") == []
    assert browser.run("return document.querySelectorAll('img, body script:not([id])').length") == 2
    assert browser.complaints() == []
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE
