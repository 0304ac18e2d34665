"""What changed between two reports: totals, estimates, operators, and what they hold for."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import onnx
import pytest
from difference_samples import MODELS
from hypothesis import given
from report_samples import lstm, matmul, plain, relu, report_of

import rnncost
from rnncost.difference import Change, Difference
from rnncost.difference.model import change
from rnncost.report.model import Bindings, Estimate, Metrics, OpEstimate, OpRow, Report, Tool

ROOT = Path(__file__).parent.parent
SPOTTER = ROOT / "examples" / "keyword_spotter.onnx"
GOLDEN = [
    ROOT / "tests" / "golden" / f"{name}.report.json" for name in ("keyword_spotter", "plain")
]
OPPOSITE = {"added": "removed", "removed": "added", "split": "merged", "merged": "split"}
SUMS = sorted(
    {*Metrics.__struct_fields__}
    - {"peak_activation_bytes", "lookahead_steps", "sequential_steps", "executed_steps"}
)


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    """The script that built the bundled model."""
    place = ROOT / "examples" / "build_keyword_spotter.py"
    spec = importlib.util.spec_from_file_location("build_keyword_spotter", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def statuses(difference: Difference) -> dict[str, int]:
    found = [op.status for op in difference.ops]
    return {status: found.count(status) for status in dict.fromkeys(found)}


def estimated(ops: list[OpRow], factor: float = 1.0, **facts: Any) -> Report:
    """A report with an estimate in which a MAC takes a nanosecond times the factor."""
    times = [
        OpEstimate(name=op.name, latency_s=factor * op.macs * 1e-9, bound_by="compute")
        for op in ops
    ]
    total = sum(time.latency_s for time in times)
    known: dict[str, Any] = {
        "profile": "board",
        "profile_version": "1",
        "runtime": "onnxruntime",
        "threads": 1,
        "precision": "fp32",
        "latency_s": total,
        "parallel_s": total,
        "bound_by": "compute",
    }
    return report_of(ops, estimates=[Estimate(ops=times, **(known | facts))])


@pytest.mark.parametrize("path", [SPOTTER, *GOLDEN], ids=lambda path: path.name)
def test_a_model_compared_with_itself(path: Path) -> None:
    difference = rnncost.diff(path, path)
    assert set(statuses(difference)) == {"unchanged"}
    assert all(op.changes == {} for op in difference.ops)
    figures = [*difference.totals.values()]
    figures += [c for e in difference.estimates for c in e.metrics.values()]
    figures += [c for op in difference.ops for c in op.latency_s.values()]
    assert all(c.is_zero for c in figures)
    assert all(c.change == c.relative == 0 for c in figures if c.change is not None)
    assert difference.warnings == []


@given(MODELS)
def test_any_report_compared_with_itself(ops: list[OpRow]) -> None:
    difference = rnncost.diff(report_of(ops), report_of(ops))
    assert {*statuses(difference)} <= {"unchanged"}
    assert all(total.is_zero for total in difference.totals.values())


@given(MODELS, MODELS)
def test_swapping_the_sides_turns_every_change_around(base: list[OpRow], head: list[OpRow]) -> None:
    there = rnncost.diff(estimated(base), estimated(head, 2))
    back = rnncost.diff(estimated(head, 2), estimated(base))
    assert statuses(back) == {OPPOSITE.get(s, s): n for s, n in statuses(there).items()}
    names = {
        side: sorted(op.base[0].name for op in one.ops if op.status == "removed")
        for side, one in (("there", there), ("back", back))
    }
    added = sorted(op.head[0].name for op in back.ops if op.status == "added")
    assert names["there"] == added
    for key, total in there.totals.items():
        other = back.totals[key]
        assert (other.base, other.head) == (total.head, total.base)
        if total.change is not None:
            assert other.change == -total.change


@given(MODELS, MODELS)
def test_the_operators_of_a_difference_make_its_totals(
    base: list[OpRow], head: list[OpRow]
) -> None:
    difference = rnncost.diff(report_of(base), report_of(head))
    for key in SUMS:
        total = difference.totals[key]
        assert sum(getattr(row, key) for op in difference.ops for row in op.base) == total.base
        assert sum(getattr(row, key) for op in difference.ops for row in op.head) == total.head
        changes = [op.changes[key].change for op in difference.ops if key in op.changes]
        grown = sum(c for c in changes if c is not None)
        grown += sum(getattr(o.head[0], key) for o in difference.ops if o.status == "added")
        grown -= sum(getattr(o.base[0], key) for o in difference.ops if o.status == "removed")
        assert grown == total.change


@pytest.mark.parametrize(
    ("base", "head", "absolute", "relative"),
    [
        (100, 112, 12, 0.12),
        (100, 0, -100, -1.0),
        (0, 0, 0, 0.0),
        (0, 5, 5, None),
        (2.0, 1.5, -0.5, -0.25),
        (10**280, 10**280 + 10**270, 10**270, 1e-10),
        (5e-324, 1e10, 1e10, None),
        (1, 10**400, 10**400 - 1, None),
        (None, 5, None, None),
        (True, False, None, None),
        ("LSTM", "GRU", None, None),
    ],
)
def test_changes(base: Any, head: Any, absolute: Any, relative: Any) -> None:
    expected = Change(base=base, head=head, change=absolute, relative=relative)
    found = change(base, head)
    assert (found.base, found.head, found.change) == (base, head, expected.change)
    assert found.relative == (relative if relative is None else pytest.approx(relative))


def test_a_narrower_layer_of_the_bundled_model(
    builder: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half the units of the bidirectional layer; the GRU above it reads half as much."""
    base = builder.build()
    monkeypatch.setattr(builder, "BILSTM_HIDDEN", 24)
    head = builder.build()
    difference = rnncost.diff(base, head, dims={"frames": 50, "batch": 2}, profiles="esp32-s3")
    by_name = {op.base[0].name: op for op in difference.ops if op.base}
    one = by_name["bilstm"]
    assert one.status == "changed"
    assert one.changes["dims.H"] == Change(base=48, head=24, change=-24, relative=-0.5)
    rows, old, new = 50 * 2 * 2, 4 * 48 * (64 + 48), 4 * 24 * (64 + 24)
    assert one.changes["macs"].base == rows * old
    assert one.changes["macs"].head == rows * new
    assert set(by_name["gru"].changes) >= {"dims.I", "params", "macs"}
    assert "dims.H" not in by_name["gru"].changes
    assert by_name["lstm"].status == by_name["head"].status == "unchanged"
    total = difference.totals["macs"]
    assert total.change == sum(
        c.change or 0 for op in difference.ops for k, c in op.changes.items() if k == "macs"
    )
    (estimate,) = difference.estimates
    assert estimate.profile == "esp32-s3"
    latency = estimate.metrics["latency_s"]
    assert latency.change is not None
    assert latency.change < 0
    times = [op.latency_s["esp32-s3"] for op in difference.ops]
    assert sum(t.base for t in times) <= latency.base * (1 + 1e-9)
    assert one.latency_s["esp32-s3"].relative < -0.3
    assert difference.warnings == []


def test_new_names_operators_put_in_and_taken_out() -> None:
    base = onnx.load(SPOTTER)
    head = onnx.load(SPOTTER)
    for node in head.graph.node:
        node.name = f"new/{node.name or node.output[0]}"
    difference = rnncost.diff(base, head)
    assert statuses(difference) == {"renamed": len(base.graph.node)}
    assert all(op.changes == {} for op in difference.ops)
    softmax = head.graph.node.pop()
    head.graph.node.append(onnx.helper.make_node("Relu", ["logits"], ["raw"], name="relu"))
    head.graph.node.append(softmax)
    head.graph.node[-1].input[0] = "raw"
    difference = rnncost.diff(base, head)
    assert statuses(difference) == {"renamed": len(base.graph.node), "added": 1}
    assert difference.count("renamed", "added") == len(difference.ops)
    assert [op.head[0].name for op in difference.ops][-2:] == ["relu", "new/softmax"]
    assert difference.totals["activations"].change == 12


def test_removed_operators_stand_where_they_were() -> None:
    rows = [lstm("a", i=2, h=3), matmul("b", 2, 3, 4), lstm("c", i=5, h=6)]
    difference = rnncost.diff(report_of(rows), report_of([rows[0], rows[2], relu("d", 4)]))
    assert [(op.status, (op.base or op.head)[0].name) for op in difference.ops] == [
        ("unchanged", "a"),
        ("removed", "b"),
        ("unchanged", "c"),
        ("added", "d"),
    ]


def test_estimates_are_compared_profile_by_profile() -> None:
    ops = [lstm("a", i=2, h=3), lstm("a", i=3, h=4), relu("r", 4)]
    base, head = estimated(ops), estimated(ops, 1.5, energy_j=0.25)
    extra = msgspec.structs.replace(head.estimates[0], profile="other")
    head = msgspec.structs.replace(head, estimates=[*head.estimates, extra])
    difference = rnncost.diff(base, head)
    (estimate,) = difference.estimates
    assert estimate.metrics["latency_s"].relative == pytest.approx(0.5)
    assert estimate.metrics["energy_j"] == Change(base=None, head=0.25)
    assert (difference.only_base, difference.only_head) == ([], ["other"])
    assert difference.warnings == ["only head has an estimate on other"]
    # Of operators with one name each has its own time.
    assert [op.latency_s["board"].base for op in difference.ops] == [
        pytest.approx(op.macs * 1e-9) for op in ops
    ]


def test_what_the_two_hold_for_is_compared() -> None:
    ops = [lstm("a", i=2, h=3)]
    bound = Bindings(dims={"seq": 100, "n": 1}, shapes={"x": [1, 100, 4]}, values={"sr": 8000})
    base = msgspec.structs.replace(estimated(ops), bindings=bound)
    others: list[tuple[dict[str, Any], str]] = [
        (
            {"bindings": msgspec.structs.replace(bound, dims={"seq": 200})},
            "the counts are for different inputs: seq is 100 in base and 200 in head",
        ),
        (
            {"bindings": msgspec.structs.replace(bound, shapes={"x": [1, 200, 4]})},
            "the counts are for different inputs: x is 1x100x4 in base and 1x200x4 in head",
        ),
        (
            {"bindings": msgspec.structs.replace(bound, shapes={"y": [2, 4], "z": []})},
            "the counts are for different inputs: the inputs is 1x100x4 in base and 2x4, scalar "
            "in head",
        ),
        (
            {"bindings": msgspec.structs.replace(bound, shapes={"x": [1, 100, 4], "h": [3]})},
            "the counts are for different inputs: only head has the input h",
        ),
        (
            {"bindings": msgspec.structs.replace(bound, values={"sr": 16000, "on": True})},
            "the counts are for different inputs: the value of sr is 8000 in base and 16000 in "
            "head; the value of on is not given in base and yes in head",
        ),
        (
            {"bindings": msgspec.structs.replace(bound, traced=True)},
            "only head is counted from a run of the model",
        ),
        (
            {"schema_version": "1.7"},
            "the schema version is 1.0 in base and 1.7 in head: keys that one of them lacks are "
            "taken as 0",
        ),
        (
            {"tool": Tool("rnncost", "9.9")},
            "the program is rnncost 0.0.0 in base and rnncost 9.9 in head: it may count "
            "differently",
        ),
        (
            {"estimates": estimated(ops, threads=4, profile_version="2").estimates},
            "estimates on board differ in more than the model: profile version is 1 in base and 2 "
            "in head; threads is 1 in base and 4 in head",
        ),
        ({"estimates": []}, "only base has an estimate on board"),
        ({"warnings": ["odd"]}, "head: odd"),
    ]
    for facts, said in others:
        head = msgspec.structs.replace(base, **facts)
        assert rnncost.diff(base, head).warnings == [said]
    same_shapes = msgspec.structs.replace(bound, dims={}, shapes={"input": [1, 100, 4]})
    assert rnncost.diff(base, msgspec.structs.replace(base, bindings=same_shapes)).warnings == []
    odd = msgspec.structs.replace(base, warnings=["odd"])
    assert rnncost.diff(odd, odd).warnings == ["base and head: odd"]


def test_uncounted_operators_are_told() -> None:
    missing = rnncost.report.model.UncountedOp("odd", "acme::Odd", "no rule")
    head = msgspec.structs.replace(plain(), uncounted=[missing], coverage=0.5)
    assert rnncost.diff(plain(), head).warnings == [
        "the totals of head leave out 1 operator without a count: odd (acme::Odd)"
    ]


def test_the_json_is_plain_and_whole() -> None:
    difference = rnncost.diff(
        estimated([lstm("a", i=2, h=3), relu("r", 3)]), estimated([lstm("b", i=2, h=4)])
    )
    data = difference.to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert list(data) == list(Difference.__struct_fields__)
    assert [op["status"] for op in data["ops"]] == ["removed", "removed", "added"]
    assert data["ops"][2]["head"] == [{"name": "b", "op_type": "LSTM"}]
    assert {key for op in data["ops"] for key in op} == {
        "status",
        "base",
        "head",
        "changes",
        "latency_s",
    }
    assert data["totals"]["params"] == {
        "base": difference.totals["params"].base,
        "head": difference.totals["params"].head,
        "change": difference.totals["params"].change,
        "relative": difference.totals["params"].relative,
    }
