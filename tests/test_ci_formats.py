"""What a check found, as CI systems read it; each format against what its reader publishes."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import jsonschema
import msgspec
import pytest
import xmlschema
from check_samples import (
    MODEL,
    finding,
    hostile,
    hostile_texts,
    incomplete,
    many,
    mixed,
    passing,
    warned,
)
from hypothesis import given
from hypothesis import strategies as st

from rnncost.budgets import formats
from rnncost.budgets.formats import badge, findings, github, junit, markdown, sarif
from rnncost.budgets.model import CheckResult, ModelCheck, Place
from rnncost.report.model import ModelInfo

SCHEMAS = Path(__file__).parent / "data" / "schemas"
EMPTY = CheckResult(models=[])
RESULTS = [mixed(), passing(), warned(), EMPTY]
TEXTS = hostile_texts()


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of its own, so that no path depends on where the tests run."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    return tmp_path


# --- the words that all formats share


def test_the_worst_comes_first() -> None:
    found = [(f.level, f.metric) for f in findings.broken(mixed())]
    assert found == [("error", "latency_s"), ("error", "macs"), ("warn", "weight_bytes")]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (mixed(), "2 of 5 limits exceeded, 1 warning"),
        (passing(), "all 2 limits hold"),
        (warned(), "no error, 1 warning"),
        (EMPTY, "no limit was checked"),
        (incomplete(), "all 2 limits hold; 1 operator not counted"),
    ],
)
def test_verdict(result: CheckResult, said: str) -> None:
    assert findings.verdict(result) == said


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("macs", 10_035_968, "10,035,968"),
        ("latency_s", 0.0054, "5.4 ms"),
        ("weight_bytes", 411_184, "411.2 kB"),
        ("energy_j", 0.0821, "82.1 mJ"),
        ("sequential_share", 0.469, "46.9 %"),
        ("fits", False, "no"),
        ("streamable", True, "yes"),
        ("streamed_arithmetic_intensity", 0.5189, "0.5189"),
    ],
)
def test_quantities_have_the_unit_of_their_metric(metric: str, value: Any, text: str) -> None:
    assert findings.quantity(metric, value) == text


@given(st.floats(1e-9, 1e3), st.integers(1, 10**15))
def test_a_value_never_looks_like_the_limit_that_it_breaks(limit: float, count: int) -> None:
    above = finding("latency_s", limit * (1 + 1e-12), limit)
    value, bound = findings.value_and_limit(above)
    assert (value != bound) == (above.value != above.limit)
    value, bound = findings.value_and_limit(finding("weight_bytes", count + 1, count))
    assert value != bound


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.125, "+12.5 %"),
        (20558.2, "+2,055,820 %"),
        (-0.5, "-50 %"),
        (0.0, "0 %"),
        (1e-9, "+1.0e-09"),
        (None, ""),
    ],
)
def test_changes_are_signed(share: float | None, text: str) -> None:
    assert findings.signed_percent(share) == text


def test_paths_are_those_of_the_repository(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = repository / "models" / "small"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert findings.repository_path("rnncost.yaml") == "models/small/rnncost.yaml"
    assert findings.repository_path("../../rnncost.yaml") == "rnncost.yaml"
    assert findings.repository_path(str(inner / "a.yaml")) == "models/small/a.yaml"
    outside = tmp_path_factory.mktemp("outside") / "a.yaml"
    assert findings.repository_path(str(outside)) == outside.as_posix()
    monkeypatch.setenv("GITHUB_WORKSPACE", str(outside.parent))
    assert findings.repository_path(str(outside)) == "a.yaml"


# --- GitHub annotations


def parse_command(line: str) -> tuple[str, dict[str, str], str]:
    """Read a workflow command as the runner does: split first, unescape then."""
    match = re.fullmatch(r"::(\w+) (.*?)::(.*)", line)
    assert match, line
    name, properties, message = match.groups()
    pairs = dict(pair.strip().split("=", 1) for pair in properties.split(",") if pair)

    def data(text: str) -> str:
        return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")

    def value(text: str) -> str:
        return data(text.replace("%3A", ":").replace("%2C", ","))

    return name, {key: value(text) for key, text in pairs.items()}, data(message)


def test_annotations_point_at_the_limits() -> None:
    lines = github.render(mixed()).split("\n")
    commands = [parse_command(line) for line in lines[:-1]]
    assert [name for name, _, _ in commands] == ["error", "error", "warning", "warning"]
    assert commands[0][1] == {
        "file": "rnncost.yaml",
        "line": "7",
        "title": "rnncost: latency_s on x86-64-server-core",
    }
    assert commands[0][2] == f"{MODEL}: latency_s is 0.00193 and the limit is 0.001"
    assert commands[3] == (
        "warning",
        {"title": "rnncost"},
        "the base report is from another version",
    )
    assert lines[-1] == "rnncost: 2 of 5 limits exceeded, 1 warning"


def test_annotations_of_nothing_are_the_verdict() -> None:
    assert github.render(passing()) == "rnncost: all 2 limits hold"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("100%", "100%25"), ("a\nb\rc", "a%0Ab%0Dc"), ("a:b,c", "a:b,c"), ("%0A", "%250A")],
)
def test_messages_escape_what_ends_a_line(text: str, escaped: str) -> None:
    assert github.command("error", {}, text) == f"::error ::{escaped}"


def test_properties_escape_what_ends_a_property() -> None:
    assert github.command("error", {"file": "a:b,c%\n"}, "m") == "::error file=a%3Ab%2Cc%25%0A::m"


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_no_name_makes_another_annotation(text: str) -> None:
    lines = github.render(hostile(text)).splitlines()
    commands = [parse_command(line) for line in lines[:-1]]
    assert [name for name, _, _ in commands] == ["error", "warning", "warning"]
    assert [set(keys) for _, keys, _ in commands[:2]] == [{"file", "line", "title"}] * 2
    assert all(keys["line"] == "1" for _, keys, _ in commands[:2])
    assert all(line.isprintable() for line in lines)
    assert lines[-1].startswith("rnncost: ")


# --- JUnit XML


@cache
def junit_schema() -> xmlschema.XMLSchema10:
    return xmlschema.XMLSchema10(SCHEMAS / "junit-10.xsd")


def junit_tree(result: CheckResult) -> ET.Element:
    text = junit.render(result)
    junit_schema().validate(text.encode())
    return ET.fromstring(text.encode())


def test_junit_has_a_suite_a_model_and_a_case_a_limit() -> None:
    root = junit_tree(mixed())
    assert {k: root.get(k) for k in ("tests", "failures", "errors")} == {
        "tests": "5",
        "failures": "2",
        "errors": "0",
    }
    first, second = root.findall("testsuite")
    assert (first.get("name"), first.get("tests")) == ("models/keyword_spotter.onnx", "5")
    assert (first.get("failures"), first.get("skipped")) == ("2", "1")
    assert (second.get("tests"), second.findall("testcase")) == ("0", [])
    assert len(first.findall("testcase/failure")) == 2
    assert len(first.findall("testcase/skipped")) == 1
    failure = first.find("testcase/failure[@message='macs is 1010 and the limit is 1000']")
    assert failure is not None
    assert failure.text is not None
    assert "change: +26.2 %" in failure.text
    assert "costliest op: /encoder/layers.1/wrapper/recurrent/lstm/LSTM (42.9 %)" in failure.text
    assert "limit at: rnncost.yaml:7 (budgets.'models/*.onnx'.macs)" in failure.text


@pytest.mark.parametrize("result", RESULTS)
def test_junit_meets_the_schema(result: CheckResult) -> None:
    junit_tree(result)


def test_the_junit_schema_can_fail() -> None:
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        junit_schema().validate("<testsuites><testsuite tests='1'/></testsuites>")


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_junit_stays_well_formed(text: str) -> None:
    root = junit_tree(hostile(text))
    assert len(root.findall("testsuite")) == 1
    assert len(root.findall("testsuite/testcase")) == 3


# --- SARIF


@cache
def sarif_validator() -> Any:
    schema = json.loads((SCHEMAS / "sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8"))
    checker = jsonschema.Draft4Validator.FORMAT_CHECKER
    return jsonschema.Draft4Validator(schema, format_checker=checker)


def sarif_run(result: CheckResult) -> dict[str, Any]:
    text = sarif.render(result)
    text.encode("utf-8")
    log = json.loads(text)
    sarif_validator().validate(log)
    (run,) = log["runs"]
    return dict(run)


def test_sarif_has_a_rule_a_metric_and_a_result_a_broken_limit() -> None:
    run = sarif_run(mixed())
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["latency_s", "macs", "weight_bytes"]
    results = run["results"]
    assert [(r["ruleId"], r["level"]) for r in results] == [
        ("latency_s", "error"),
        ("macs", "error"),
        ("weight_bytes", "warning"),
    ]
    assert all(rules[r["ruleIndex"]]["id"] == r["ruleId"] for r in results)
    place = results[1]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "rnncost.yaml"
    assert place["region"]["startLine"] == 7
    assert results[1]["message"]["text"] == f"{MODEL}: macs is 1010 and the limit is 1000"
    notes = run["invocations"][0]["toolExecutionNotifications"]
    assert [note["message"]["text"] for note in notes] == [
        "the base report is from another version"
    ]


@pytest.mark.parametrize("result", RESULTS)
def test_sarif_meets_the_schema(result: CheckResult) -> None:
    sarif_run(result)


def test_the_sarif_schema_can_fail() -> None:
    log = json.loads(sarif.render(mixed()))
    log["runs"][0]["results"][0]["level"] = "warn"
    with pytest.raises(jsonschema.ValidationError):
        sarif_validator().validate(log)


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_sarif_stays_valid(text: str) -> None:
    run = sarif_run(hostile(text))
    assert len(run["results"]) == 2


def test_sarif_has_what_code_scanning_requires() -> None:
    """The properties that GitHub's page on SARIF support marks as required, and its limits."""
    run = sarif_run(mixed())
    for rule in run["tool"]["driver"]["rules"]:
        assert rule["id"]
        assert rule["help"]["text"]
        assert 0 < len(rule["name"]) <= 255
        assert 0 < len(rule["shortDescription"]["text"]) <= 1024
        assert 0 < len(rule["fullDescription"]["text"]) <= 1024
        assert len(rule["properties"]["tags"]) <= 10
    for result in run["results"]:
        assert result["message"]["text"]
        assert result["partialFingerprints"]["primaryLocationLineHash"]
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert not re.match(r"[a-z]+:|/", place["artifactLocation"]["uri"])
        assert place["region"]["startLine"] >= 1
        for related in result["relatedLocations"]:
            assert related["message"]["text"]


def fingerprints(result: CheckResult) -> list[str]:
    results = sarif_run(result)["results"]
    return [r["partialFingerprints"]["primaryLocationLineHash"] for r in results]


def one(**facts: Any) -> CheckResult:
    known = {"value": 2, "limit": 1} | facts
    value, limit = known.pop("value"), known.pop("limit")
    found = [finding("macs", value, limit, **known)]
    report = mixed().models[0].report
    return CheckResult(models=[ModelCheck(model=found[0].model, report=report, findings=found)])


def test_fingerprints_follow_a_limit_from_run_to_run() -> None:
    place = Place(file="rnncost.yaml", line=99, key="budgets.'models/*.onnx'.macs")
    assert fingerprints(one()) == fingerprints(one(value=9, limit=4, place=place, message="other"))
    assert fingerprints(one()) != fingerprints(one(model="other.onnx"))
    assert fingerprints(one()) != fingerprints(one(profile="host"))
    for file, key in (("b.yaml", place.key), (place.file, "budgets.b.macs")):
        other = Place(file=file, line=7, key=key)
        assert fingerprints(one()) != fingerprints(one(place=other))


def test_no_two_results_share_a_fingerprint() -> None:
    model = mixed().models[0]
    twice = msgspec.structs.replace(model, findings=[*model.findings, *model.findings])
    found = fingerprints(CheckResult(models=[twice]))
    assert len(set(found)) == len(found) == 6


def test_uris_are_encoded_and_relative(repository: Path) -> None:
    file = repository / "some models" / "100%:ü#?.yaml"
    file.parent.mkdir()
    file.touch()
    result = one(place=Place(file=str(file), line=1, key="k"))
    info = ModelInfo(path=str(file), format="onnx")
    report = msgspec.structs.replace(result.models[0].report, model=info)
    check = msgspec.structs.replace(result.models[0], report=report)
    run = sarif_run(CheckResult(models=[check]))
    (result,) = run["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert re.fullmatch(r"[\w%/.~-]+", uri, re.ASCII)
    assert unquote(uri) == "some models/100%:ü#?.yaml"
    related = result["relatedLocations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert related == uri


def test_a_file_outside_of_the_repository_has_an_absolute_uri() -> None:
    outside = Path(os.path.abspath(os.sep)) / "elsewhere" / "rnncost.yaml"
    run = sarif_run(one(place=Place(file=str(outside), line=1, key="k")))
    location = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location["uri"] == outside.as_uri()


# --- Markdown


def table_rows(text: str) -> list[list[str]]:
    """The cells of each table row: split at pipes that are not escaped."""
    lines = [line for line in text.split("\n") if line.startswith("|")]
    cells = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if set("".join(row)) != {"-"}]


def test_markdown_shows_failures_first_and_folds_the_rest() -> None:
    text = markdown.render(mixed())
    lines = text.split("\n")
    assert lines[0] == "<!-- rnncost -->"
    assert lines[1] == "### rnncost: 2 of 5 limits exceeded, 1 warning"
    rows = table_rows(text)
    assert [row[2] for row in rows if row[0] in ("❌ error", "⚠️ warn")] == [
        "latency_s on x86-64-server-core",
        "macs",
        "weight_bytes",
    ]
    assert text.index("❌ error") < text.index("<details>") < text.index("✅ met")
    assert text.index("✅ met") < text.index("</details>") < text.index("**Warnings**")
    assert rows[2] == [
        "❌ error",
        "models/keyword_spotter.onnx",
        "macs",
        "1,010",
        "1,000",
        "+26.2 %",
        "/encoder/layers.1/wrapper/recurrent/lstm/LSTM (42.9 %)",
        "rnncost.yaml:7",
    ]


def test_markdown_shows_totals_and_their_changes() -> None:
    result = mixed()
    header, first, second = (row for row in table_rows(markdown.render(result)) if len(row) == 7)
    totals = result.models[0].report.totals
    assert header == [
        "model",
        "params",
        "macs",
        "weight_bytes",
        "peak_activation_bytes",
        "sequential_steps",
        "latency",
    ]
    assert first[:3] == [
        "models/keyword_spotter.onnx",
        f"{totals.params:,} (0 %)",
        f"{totals.macs:,} (+100 %)",
    ]
    assert first[6] == (
        "1.93 ms (0 %) on x86-64-server-core, 410 ms (0 %) on cortex-m7-480mhz-microcontroller"
    )
    assert second == ["models/plain.onnx", "32", "32", "32 B", "0 B", "0", ""]


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("", "<!-- rnncost -->"),
        ("models/small", "<!-- rnncost models/small -->"),
        ("a --> <script>", "<!-- rnncost a-script -->"),
    ],
)
def test_the_marker_carries_the_key(key: str, line: str) -> None:
    assert markdown.render(passing(), key).split("\n")[0] == line


@given(st.text())
def test_a_key_never_ends_the_marker(key: str) -> None:
    inside = markdown.marker(key).removeprefix("<!-- ").removesuffix(" -->")
    assert not re.search(r"--|>|<|\n", inside)


@pytest.mark.parametrize("result", [many(5), many(100), many(2000)], ids=["5", "100", "2000"])
def test_markdown_is_short_enough_for_a_comment(result: CheckResult) -> None:
    text = markdown.render(result)
    assert len(text.encode()) <= markdown.MAX_BYTES < 65_536
    assert text.count("<details>") == text.count("</details>") == 1
    rows = table_rows(text)
    count = len(result.models)
    shown = {sign: sum(row[0] == sign for row in rows) for sign in ("❌ error", "⚠️ warn", "✅ met")}
    missing = {
        noun: int(number.replace(",", ""))
        for number, noun in re.findall(r"… and ([\d,]+) (broken limit|model|limit)s? more", text)
    }
    assert shown["❌ error"] + shown["⚠️ warn"] + missing.get("broken limit", 0) == 2 * count
    assert shown["✅ met"] + missing.get("limit", 0) == count
    if missing.get("broken limit"):
        assert shown["✅ met"] == 0
        assert len(text.encode()) > 0.9 * markdown.MAX_BYTES


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_no_name_acts_in_markdown(text: str) -> None:
    rendered = markdown.render(hostile(text))
    widths = [len(row) for row in table_rows(rendered)]
    assert widths == [8, 8, 8, 7, 7, 8, 8]
    assert set(re.findall(r"<[^>]*>?", rendered)) == {
        "<!-- rnncost -->",
        "<details>",
        "<summary>",
        "</summary>",
        "</details>",
        "<sub>",
        "</sub>",
    }
    assert not re.search(r"@\w", rendered)
    assert not re.search(r"https?://|www\.", rendered)
    assert not re.search(r"(?<!\\)`", rendered)
    assert all(line.isprintable() for line in rendered.split("\n"))


def test_names_in_markdown_read_as_they_are() -> None:
    name = "a|b`c<d>@e https://x www.y"
    _, row = (row for row in table_rows(markdown.render(hostile(name))) if len(row) == 7)
    shown = re.sub(r"\\([|`])", r"\1", unescape(row[0])).replace("\u200b", "")
    assert shown == name


# --- badge


@pytest.mark.parametrize(
    ("result", "message", "color", "is_error"),
    [
        (mixed(), "2 over budget", "red", True),
        (warned(), "1 warning", "yellow", False),
        (passing(), "20.95 M MACs, 1.93 ms", "brightgreen", False),
        (
            CheckResult(models=[*passing().models, *passing().models]),
            "2 models within budget",
            "brightgreen",
            False,
        ),
        (incomplete(), "1 operator not counted", "yellow", False),
        (EMPTY, "nothing checked", "lightgrey", False),
        (
            CheckResult(models=[msgspec.structs.replace(m, findings=[]) for m in mixed().models]),
            "nothing checked",
            "lightgrey",
            False,
        ),
    ],
)
def test_badge(result: CheckResult, message: str, color: str, is_error: bool) -> None:
    assert json.loads(badge.render(result)) == {
        "schemaVersion": 1,
        "label": "rnncost",
        "message": message,
        "color": color,
        "isError": is_error,
    }


# --- all of them


@pytest.mark.parametrize("name", formats.FORMATS)
@pytest.mark.parametrize("result", RESULTS)
def test_every_format_is_named_and_repeats_itself(name: str, result: CheckResult) -> None:
    text = formats.render(result, name)
    assert text
    assert text == formats.render(result, name)
    assert not text.endswith("\n")


@given(st.text(max_size=40))
def test_every_format_takes_any_text(text: str) -> None:
    result = hostile(text)
    for name in formats.FORMATS:
        formats.render(result, name).encode("utf-8")
    junit_tree(result)
    sarif_run(result)
