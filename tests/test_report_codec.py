"""A report survives its JSON, and a faulty one is refused with the place of the fault."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import hostile, lstm, plain, report_of, spotter

import rnncost
from rnncost.errors import ReportError
from rnncost.report.codec import report_from_dict, report_from_json
from rnncost.report.json_text import render_json
from rnncost.report.model import Report

COUNTS = st.integers(0, 2**80)
NAMES = st.text(max_size=20)


@pytest.mark.parametrize("sample", [spotter, plain, hostile])
def test_round_trip(sample: Any) -> None:
    report = sample()
    assert Report.from_dict(report.to_dict()) == report
    assert report_from_json(render_json(report)) == report
    assert rnncost.Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


@settings(max_examples=40, deadline=None)
@given(name=NAMES, t=COUNTS, b=COUNTS, formulas=st.dictionaries(NAMES, NAMES, max_size=3))
def test_round_trip_of_any_count_and_name(
    name: str, t: int, b: int, formulas: dict[str, str]
) -> None:
    op = msgspec.structs.replace(lstm(name, i=3, h=5, t=t, b=b), formulas=formulas)
    report = report_of([op])
    assert report_from_json(render_json(report).encode()) == report


def test_keys_that_a_later_version_adds_are_skipped() -> None:
    data = spotter().to_dict()
    data["schema_version"] = "1.7"
    data["carbon"] = {"kg": 1}
    data["ops"][0]["colour"] = "red"
    data["estimates"][0]["fits"]["registers"] = True
    report = Report.from_dict(data)
    assert report.ops == spotter().ops
    assert report.schema_version == "1.7"


def test_keys_with_defaults_may_be_absent() -> None:
    data = plain().to_dict()
    for key in ("estimates", "symbolic", "warnings"):
        del data[key]
    del data["ops"][0]["lookahead_steps"]
    assert Report.from_dict(data) == plain()


FAULTS: list[tuple[list[str | int], Any, str]] = [
    (["ops", 2, "macs"], "many", r"\$\.ops\[2\]\.macs: expected int, got str"),
    (["ops", 2, "macs"], 3.0, r"\$\.ops\[2\]\.macs: expected int, got float"),
    (["ops", 0, "params"], True, r"\$\.ops\[0\]\.params: expected int, got bool"),
    (["totals", "macs"], -1, r"\$\.totals\.macs: expected int >= 0"),
    (["totals", "macs"], None, r"\$\.totals\.macs: expected int, got null"),
    (["coverage"], 1.5, r"\$\.coverage: expected float <= 1"),
    (["ops"], {}, r"\$\.ops: expected array, got object"),
    (["warnings", 0], 7, r"\$\.warnings\[0\]: expected str, got int"),
    (["estimates", 1, "latency_s"], "1 ms", r"\$\.estimates\[1\]\.latency_s: expected float"),
    (["estimates", 0, "latency_s"], float("nan"), r"\$\.estimates\[0\]\.latency_s"),
    (["bindings", "dims", "seq"], "98", r"\$\.bindings\.dims\[\.\.\.\]: expected int, got str"),
    (["schema_version"], 1, "it has no schema_version"),
    (["schema_version"], "2.0", r"schema version '2\.0' and this rnncost reads 1\.x"),
    (["schema_version"], "10.0", r"schema version '10\.0' and this rnncost reads 1\.x"),
]


@pytest.mark.parametrize(("path", "value", "message"), FAULTS)
def test_a_fault_is_named_with_its_place(path: list[str | int], value: Any, message: str) -> None:
    data: Any = copy.deepcopy(spotter().to_dict())
    place = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ReportError, match=message) as caught:
        report_from_dict(data, "old.json")
    assert str(caught.value).startswith("old.json ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["tool", "model", "bindings", "totals", "ops", "uncounted"])
def test_a_missing_key_is_named(key: str) -> None:
    data = spotter().to_dict()
    del data[key]
    with pytest.raises(ReportError, match=f"missing required field {key}"):
        Report.from_dict(data)


@pytest.mark.parametrize("data", [None, [], "report", 3, {}, {"schema_version": None}])
def test_what_is_not_a_report_is_refused(data: object) -> None:
    with pytest.raises(ReportError, match="is not a rnncost report"):
        Report.from_dict(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not JSON: .* line 1, column 1"),
        (b"{", "not JSON"),
        (b'{"schema_version": "1.0",}', "line 1"),
        (b"\xff\xfe\xff", "not JSON"),
        (b'{"schema_version": "1.0", "coverage": NaN}', "the figure NaN"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"schema_version": "1.0", "coverage": ' + b"9" * 5000 + b"}", "too long to read"),
    ],
)
def test_broken_text_is_refused_in_one_sentence(text: bytes, message: str) -> None:
    with pytest.raises(ReportError, match=message) as caught:
        report_from_json(text, "old.json")
    assert "\n" not in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_text_is_read_or_refused_never_worse(data: st.DataObject) -> None:
    text = bytearray(render_json(plain()).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at] = data.draw(st.integers(0, 255))
    try:
        report = report_from_json(bytes(text))
    except ReportError:
        return
    assert isinstance(report, Report)
    str(report)
