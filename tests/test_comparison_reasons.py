"""The reasons in words: each number in them is worked out here again."""

from __future__ import annotations

from typing import Any

import pytest
from comparison_models import GATES, network

import rnncost
from rnncost.comparison.latency_reasons import (
    base_latency,
    latency_reasons,
    row_reasons,
    step_reasons,
)
from rnncost.comparison.structure_reasons import (
    base_structure,
    length_reasons,
    matched,
    structure_reasons,
)
from rnncost.report.model import Estimate, Report
from rnncost.report.text import percent
from rnncost.units import format_bytes, format_count, format_seconds

Layers = list[tuple[str, int, int]]

CPU = "x86-64-server-core"
GPU = "h100-sxm"
T, IN = 100, 20
BASE: Layers = [("LSTM", 24, 1), ("LSTM", 16, 2), ("GRU", 12, 1)]


def report(layers: Layers, *profiles: str, **options: Any) -> Report:
    model = network(layers, **options)
    return rnncost.analyze(model, profiles=profiles or (CPU,), symbolic=False)


def macs(layers: Layers, number: int, *, part: str = "all") -> int:
    """T·D·G·H·I and T·D·G·H·H of one layer of a stack."""
    cell, hidden, directions = layers[number]
    width = IN if not number else layers[number - 1][1] * layers[number - 1][2]
    each = {"parallel": width, "sequential": hidden, "all": width + hidden}[part]
    return T * directions * GATES[cell] * hidden * each


def state(layers: Layers, number: int) -> int:
    """Bytes of h, and of c where the cell has one, in float32."""
    cell, hidden, directions = layers[number]
    return 4 * directions * hidden * (2 if cell == "LSTM" else 1)


def changed(now: int, before: int) -> str:
    return f"{format_count(now)} MACs in place of {format_count(before)} ({now / before:.2f}x)"


def reasons(before: Layers, after: Layers, step_period_s: float | None = None) -> list[str]:
    return structure_reasons(report(before), report(after), step_period_s)


def test_a_gru_drops_a_quarter_of_the_gate_products_and_half_of_the_state() -> None:
    after: Layers = [("GRU", 24, 1), ("GRU", 16, 2), ("GRU", 12, 1)]
    new, old = (sum(macs(one, n) for n in (0, 1)) for one in (after, BASE))
    assert new == 0.75 * old
    new_state, old_state = (sum(state(one, n) for n in (0, 1)) for one in (after, BASE))
    assert new_state == 0.5 * old_state
    assert reasons(BASE, after) == [
        "a GRU has 3 gate products a step where an LSTM has 4: layer0 and layer1 take "
        f"{changed(new, old)}, with {format_bytes(new_state)} in place of "
        f"{format_bytes(old_state)} (0.50x) of state"
    ]


def test_an_rnn_is_told_for_each_cell_that_it_replaces() -> None:
    after: Layers = [("RNN", 24, 1), ("RNN", 16, 2), ("RNN", 12, 1)]
    first, second = reasons(BASE, after)
    assert "an RNN has 1 gate product a step where an LSTM has 4: layer0 and layer1 take" in first
    assert second == (
        "an RNN has 1 gate product a step where a GRU has 3: layer2 takes "
        f"{changed(macs(after, 2), macs(BASE, 2))}"
    )


def test_one_direction_in_place_of_two() -> None:
    after: Layers = [("LSTM", 24, 1), ("LSTM", 16, 1), ("GRU", 12, 1)]
    assert reasons(BASE, after, 0.02) == [
        "its recurrent layers need no later input; as it is, an output needs up to 99 later steps "
        "(1.98 s at 20 ms a step)",
        "to run step by step its state has to be carried over: make the state an input and an "
        "output",
        "layer1 has one direction of 16 units in place of two directions of 16 units: "
        f"{changed(macs(after, 1, part='sequential'), macs(BASE, 1, part='sequential'))} wait for "
        "the step before, "
        f"{changed(macs(after, 1, part='parallel'), macs(BASE, 1, part='parallel'))} do not",
        "layer2 reads 16 numbers a step in place of 32, so that the input product takes "
        f"{changed(macs(after, 2, part='parallel'), macs(BASE, 2, part='parallel'))}",
        "the longest chain keeps its 300 steps, as the directions of a layer do not wait for each "
        "other; a runtime that runs them in turn executes 300 in place of 400",
    ]


def test_one_direction_of_the_same_output_width() -> None:
    after: Layers = [("LSTM", 24, 1), ("LSTM", 32, 1), ("GRU", 12, 1)]
    found = reasons(BASE, after)
    assert (
        "layer1 has one direction of 32 units in place of two directions of 16 units: "
        f"{changed(macs(after, 1, part='sequential'), macs(BASE, 1, part='sequential'))} wait for "
        "the step before, "
        f"{changed(macs(after, 1, part='parallel'), macs(BASE, 1, part='parallel'))} do not"
    ) in found
    assert "(2.00x) wait for the step before" in found[2]
    assert (
        "the recurrent weights of a gate are the square of the units of a direction: 32² = 1,024 "
        "in place of 16² = 256"
    ) in found
    assert not any(text.startswith("layer2 reads") for text in found)


def test_two_directions_in_place_of_one() -> None:
    after: Layers = [("LSTM", 24, 2), ("LSTM", 16, 2), ("GRU", 12, 1)]
    uni: Layers = [("LSTM", 24, 1), ("GRU", 12, 1)]
    first = reasons(uni, [("LSTM", 24, 2), ("GRU", 12, 1)], 0.01)[0]
    assert first == (
        "no output can leave before the sequence ends, as one needs up to 99 later steps (990 ms "
        "at 10 ms a step)"
    )
    assert not any("later" in text for text in reasons(BASE, after))


def test_another_hidden_size_changes_what_reads_the_layer() -> None:
    after: Layers = [("LSTM", 8, 1), ("LSTM", 16, 2), ("GRU", 6, 1)]
    found = reasons(BASE, after)
    assert found[0].startswith(
        "layer0 has one direction of 8 units in place of one direction of 24"
    )
    assert found[1].startswith(
        "layer2 has one direction of 6 units in place of one direction of 12"
    )
    assert found[2].endswith("8² = 64 in place of 24² = 576 and 6² = 36 in place of 12² = 144")
    assert found[3].startswith("layer1 reads 8 numbers a step in place of 24")
    assert found[4] == f"head takes {changed(5 * 6, 5 * 12)}"


def test_fewer_layers() -> None:
    stack: Layers = [("GRU", 12, 1)] * 3
    one, all_three = macs(stack, 0), sum(macs(stack, n) for n in range(3))
    assert reasons(stack, stack[:1]) == [
        f"it has 1 recurrent operator in place of 3, with {changed(one, all_three)}",
        "the longest chain has 100 steps in place of 300",
    ]


def test_operators_are_matched_by_name_or_else_in_their_order() -> None:
    before, after = report(BASE), report([("GRU", 24, 1), ("GRU", 16, 2), ("GRU", 12, 1)])
    by_name = [(pair.before.name, pair.after.name) for pair in matched(before, after)]
    assert by_name == [(f"layer{n}", f"layer{n}") for n in range(3)]
    model = network(BASE)
    for node in model.graph.node:
        node.name = node.name.replace("layer", "rewritten")
    renamed = rnncost.analyze(model, symbolic=False)
    in_order = [(pair.before.name, pair.after.name) for pair in matched(before, renamed)]
    assert in_order == [(f"layer{n}", f"rewritten{n}") for n in range(3)]


def test_the_model_as_it_is() -> None:
    assert base_structure(report(BASE), 0.01) == [
        "no output can leave before the sequence ends: layer1 reads it from its end too, so that "
        "an output needs up to 99 later steps (990 ms at 10 ms a step)"
    ]
    (both,) = base_structure(report([("LSTM", 4, 2)] * 2), None)
    assert "layer0 and layer1 read it from its end too" in both
    assert base_structure(report([("LSTM", 4, 1)], states=True), None) == [
        "its recurrent layers need no later input, and their state can be carried over"
    ]
    assert base_structure(report([("LSTM", 4, 1)]), None) == []


def test_another_length() -> None:
    short = report(BASE, steps=50)
    assert length_reasons(report(BASE), short, None) == [
        "an output needs up to 49 later steps in place of 99 later steps",
        "the longest chain has 150 steps in place of 300",
    ]


def parts(estimate: Estimate) -> dict[str, float]:
    return {
        "in sequential steps": estimate.sequential_s,
        "in work that waits for no step": estimate.parallel_s,
        "in starting the run and its operators": estimate.overhead_s,
    }


def test_what_the_latency_consists_of() -> None:
    base = report(BASE)
    (estimate,) = base.estimates
    shares = [
        f"{format_seconds(s)} ({percent(s / estimate.latency_s)}%) {what}"
        for what, s in parts(estimate).items()
    ]
    assert base_latency(base, {CPU: 2.5e-6}) == [
        f"of {format_seconds(estimate.latency_s)}, it spends {shares[0]}, {shares[1]} and "
        f"{shares[2]}",
        "one more time step costs 2.5 µs",
    ]


def test_why_the_latency_changes_as_it_does() -> None:
    """On a GPU the steps and overheads barely change with the MACs, and the words say so."""
    after: Layers = [("LSTM", 24, 1), ("LSTM", 16, 1), ("GRU", 12, 1)]
    base, other = report(BASE, CPU, GPU), report(after, CPU, GPU)
    found = latency_reasons(base, other, {GPU: 4e-6}, {GPU: 3e-6})
    assert all(text.startswith((f"{CPU}: ", f"{GPU}: ")) for text in found)
    a, b = base.estimates[1], other.estimates[1]
    ratio = f"{b.latency_s / a.latency_s:.2f}x"
    text = next(t for t in found if t.startswith(f"{GPU}: latency "))
    assert text.startswith(
        f"{GPU}: latency {format_seconds(b.latency_s)} in place of "
        f"{format_seconds(a.latency_s)} ({ratio}): "
    )
    less_s = a.sequential_s - b.sequential_s
    assert f"{format_seconds(less_s)} less in sequential steps" in text
    totals, before = other.totals, base.totals
    assert (
        f"{GPU}: the latency changes to {ratio} where the MACs change to "
        f"{totals.macs / before.macs:.2f}x: the steps take "
        f"{b.sequential_s / a.sequential_s:.2f}x the time for "
        f"{totals.sequential_macs / before.sequential_macs:.2f}x the MACs, the other work takes "
        f"{b.parallel_s / a.parallel_s:.2f}x the time for "
        f"{totals.parallel_macs / before.parallel_macs:.2f}x the MACs, "
        f"{format_seconds(b.overhead_s)} ({percent(b.overhead_s / b.latency_s)}%) are overheads, "
        "which do not depend on MACs"
    ) in found
    assert f"{GPU}: one more time step costs 3 µs in place of 4 µs (0.75x)" in found
    assert not any(text.startswith(f"{CPU}: one more") for text in found)


def test_parts_add_up_to_the_change() -> None:
    after: Layers = [("LSTM", 48, 1), ("LSTM", 16, 2), ("GRU", 12, 1)]
    base, other = report(BASE), report(after)
    a, b = base.estimates[0], other.estimates[0]
    told = [parts(b)[what] - seconds for what, seconds in parts(a).items()]
    assert sum(told) == pytest.approx(b.latency_s - a.latency_s, rel=1e-9)
    (first, *_) = latency_reasons(base, other, {}, {})
    assert f"{format_seconds(told[0])} more in sequential steps" in first


def test_nothing_changes() -> None:
    base = report(BASE)
    assert latency_reasons(base, base, {CPU: 1e-6}, {CPU: 1e-6}) == ["the latency is the same"]


def test_rows_and_steps() -> None:
    base = report(BASE)
    four, fifty = report(BASE, rows=4), report(BASE, steps=50)
    a, b, c = (one.estimates[0].latency_s for one in (base, four, fifty))
    assert row_reasons(base, four, 1, 4) == [
        f"4 rows a run in place of 1, so that a row takes {format_seconds(b / 4)} in place of "
        f"{format_seconds(a)} ({b / 4 / a:.2f}x)"
    ]
    assert step_reasons(base, fifty, 100, 50) == [
        f"between 50 and 100 time steps, each costs {format_seconds((a - c) / 50)}"
    ]
