"""A comparison as text, Markdown, HTML and JSON."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from comparison_models import network

import rnncost
from rnncost.comparison import Comparison, Measured, Skipped, Timed
from rnncost.comparison.text import one_line, render_html, render_markdown, render_text
from rnncost.comparison.words import times
from rnncost.profiles.quantities import Quantity
from rnncost.profiles.schema import Energy, HardwareProfile
from rnncost.profiles.store import load_profile
from rnncost.report.json_text import to_json
from rnncost.runtime.machine import Machine
from rnncost.units import format_bytes, format_joules, format_seconds

CPU = "x86-64-server-core"
MCU = "cortex-m7"
HOSTILE = "<script>alert(1)</script>|*x*\x1b[2J"
LAYERS = [("LSTM", 24, 1), ("LSTM", 16, 2)]


def metered() -> HardwareProfile:
    """A profile with a figure of energy."""
    part = Quantity(value=1e-12, kind="assumed", source="a test")
    return msgspec.structs.replace(load_profile(MCU), energy=Energy(mac_j=part, byte_j=part))


def compared(**asked: Any) -> Comparison:
    model = network(LAYERS)
    model.graph.node[0].name = HOSTILE
    wanted = {"profiles": [CPU, metered()], "precisions": ["fp16", "int8"], "batches": [2, 4, 8]}
    return rnncost.compare(model, **{**wanted, **asked})


@pytest.fixture(scope="module")
def plain() -> Comparison:
    return compared(step_period_s=0.01, chunk=10)


@pytest.fixture(scope="module")
def timed(plain: Comparison) -> Comparison:
    """The comparison as if it had been measured."""
    ratios = [1.0, 1.25, None, 2.0, 4.0, 8.0]
    measured = [
        None if ratio is None else Measured(seconds=1e-3 * ratio, ratio=ratio, noise=1.02)
        for ratio in ratios
    ]
    designs = [
        msgspec.structs.replace(design, measured=one)
        for design, one in zip(plain.designs, measured, strict=True)
    ]
    machine = Machine(cpu="a \x1b[31mCPU", cores=2, system="Linux 6")
    how = Timed(machine=machine, runtime="onnxruntime 1.32", rounds=20, noise=1.2, profile=CPU)
    return msgspec.structs.replace(
        plain,
        base=designs[0],
        variants=designs[1:],
        timed=how,
        skipped=[Skipped(name=HOSTILE, reason=HOSTILE)],
        warnings=[HOSTILE],
    )


def lines_of(text: str, label: str) -> list[str]:
    """The rows of a label, of which there is one in each of the tables."""
    return [line for line in text.splitlines() if line.strip().startswith(f"{label}  ")]


@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize("verbose", [False, True])
def test_tables_fit_and_no_design_is_lost(timed: Comparison, width: int, verbose: bool) -> None:
    text = render_text(timed, width=width, verbose=verbose)
    assert "\x1b" not in text
    table = text.split("real time and timing")[0].splitlines()
    assert all(len(line) <= width for line in table)
    headings = [line for line in table if "as it is" in line]
    assert len(headings) == {80: 3, 100: 2, 160: 1}[width]
    shown = " ".join(line.split("as it is")[1] for line in headings)
    assert re.findall(r"fp16|int8|batch of \d", shown) == [d.name for d in timed.variants]


def test_cells_are_the_figures_and_their_ratios(timed: Comparison) -> None:
    text = render_text(timed, width=400)
    (weights,) = lines_of(text, "weights")
    expected = [
        f"{format_bytes(design.figures['weight_bytes'])} {times(design.ratios['weight_bytes'])}"
        for design in timed.variants
    ]
    base = format_bytes(timed.base.figures["weight_bytes"])
    assert re.split(r" {2,}", weights.strip()) == ["weights", base, *expected]
    latency = lines_of(text, "latency")
    assert len(latency) == 3  # of two profiles, and measured
    for line, profile in zip(latency, (CPU, MCU), strict=False):
        for design in timed.designs:
            assert format_seconds(design.figures[f"latency_s@{profile}"]) in line
    (energy,) = lines_of(text, "energy")
    for design in timed.designs:
        assert format_joules(design.figures[f"energy_j@{MCU}"]) in energy
    assert len(lines_of(text, "one more step")) == 0
    assert len(lines_of(render_text(timed, verbose=True, width=400), "one more step")) == 2


def test_real_time_rows(plain: Comparison) -> None:
    text = render_text(plain, width=400)
    arrives = "a time step of the recurrent layers arrives every 10 ms"
    assert f"{arrives}, and a run handles 10 steps where it can" in text
    for number, profile in enumerate((CPU, MCU)):
        found = [design.real_time[number] for design in plain.designs]
        assert {one.profile for one in found} == {profile}
        factor = lines_of(text, "real-time factor")[number]
        assert factor.split()[2:] == [f"{one.real_time_factor:.3g}" for one in found]
        streams = lines_of(text, "streams")[number]
        assert streams.split()[1:] == [f"{one.streams:,}" for one in found]
        batch = lines_of(text, "largest batch")[number]
        assert batch.split()[2:] == [f"{one.batch:,}" for one in found]


def test_measured_rows(timed: Comparison) -> None:
    text = render_text(timed, width=400)
    (off,) = lines_of(text, "estimated ratio off by")
    key = f"latency_s@{CPU}"
    for design, measured in ((timed.variants[0], 1.25), (timed.variants[4], 8.0)):
        ratio = design.ratios[key]
        assert f"{100 * (ratio / measured - 1):+.1f} % {times(ratio)}" in off
    assert off.count("not timed") == 1
    latency = lines_of(text, "latency")[-1]
    assert latency.split()[1:6] == ["1", "ms", "1.25", "ms", "1.25x"]
    assert "with onnxruntime 1.32 on a \\x1b[31mCPU, 2 cores, Linux 6, in 20 rounds" in text
    assert "the machine was noisy" in text  # its reference kernel was
    assert timed.timed is not None
    quiet = msgspec.structs.replace(timed, timed=msgspec.structs.replace(timed.timed, noise=1.05))
    assert "the machine was noisy" not in str(quiet)
    assert quiet.base.measured is not None
    loud = msgspec.structs.replace(quiet.base.measured, noise=1.3)
    base = msgspec.structs.replace(quiet.base, measured=loud)
    assert "the machine was noisy" in str(msgspec.structs.replace(quiet, base=base))


def test_reasons_notes_skipped_and_warnings_are_shown(timed: Comparison) -> None:
    joined = " ".join(render_text(timed).split())
    for design in timed.designs:
        for sentence in (*design.reasons, *design.notes):
            assert " ".join(sentence.replace("\x1b", "\\x1b").split()) in joined
    shown = HOSTILE.replace("\x1b", "\\x1b")
    assert f"skipped {shown}: {shown}" in joined
    assert f"warnings {shown}" in joined


def test_colour_is_only_of_headings(timed: Comparison) -> None:
    colored = render_text(timed, color=True)
    assert "\x1b[1mfp16\x1b[0m" in colored
    assert re.sub(r"\x1b\[[01]m", "", colored) == render_text(timed)


def test_markdown_is_escaped(timed: Comparison) -> None:
    text = render_markdown(timed)
    assert "<script>" not in text
    assert "\x1b" not in text
    header = next(line for line in text.splitlines() if line.startswith("|"))
    assert [cell.strip() for cell in header.strip("|").split("|")][1:] == [
        design.title for design in timed.designs
    ]
    assert text.startswith("### ")


def test_html_is_escaped_and_well_formed(timed: Comparison) -> None:
    text = timed._repr_html_()
    assert text == render_html(timed)
    tags: list[str] = []

    class Check(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            tags.append(tag)
            assert tag != "script"

        def handle_endtag(self, tag: str) -> None:
            while tags and tags[-1] != tag:
                assert tags.pop() in ("br", "hr")
            assert tags.pop() == tag

    Check().feed(text)
    assert tags == []
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text


def test_json_has_everything(timed: Comparison) -> None:
    data = json.loads(to_json(timed.to_dict()))
    assert list(data) == [
        *("base", "variants", "skipped", "warnings", "step_period_s", "chunk", "timed"),
    ]
    first = data["variants"][0]
    assert first["ratios"]["weight_bytes"] == 0.5
    assert first["measured"] == {"seconds": 1.25e-3, "ratio": 1.25, "noise": 1.02}
    assert first["real_time"][0]["steps"] == 100
    totals = data["base"]["report"]["totals"]
    assert data["base"]["figures"]["macs"] == totals["macs"]
    rebuilt = msgspec.convert(data, Comparison)
    assert rebuilt == timed
    assert str(rebuilt) == render_text(timed)


def test_one_line(timed: Comparison) -> None:
    line = one_line(timed)
    assert "\n" not in line
    assert f"fp16: MACs 1.00x, latency on {CPU} 1.00x, latency on {MCU} " in line
    assert "timed 1.25x" in line
    assert line.endswith("1 variant skipped")


def test_a_comparison_without_variants_is_a_table_of_one(plain: Comparison) -> None:
    alone = msgspec.structs.replace(plain, variants=[])
    text = render_text(alone)
    assert "parameters" in text
    assert "weights" in render_markdown(alone)
