"""Budget files: every form of a limit, and a sentence with file, line and key for what is wrong."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from budget_support import lines_of
from hypothesis import given
from hypothesis import strategies as st

from rnncost.budgets.document import locate_budget, read_budget
from rnncost.budgets.metrics import ESTIMATED, METRICS, TRUTHS
from rnncost.budgets.model import Limit, Place
from rnncost.budgets.parse import Table, limits_of, merged, parse_budget
from rnncost.errors import BudgetError
from rnncost.report.model import Totals
from rnncost.units import UNITS, format_joules, parse_quantity

T = TypeVar("T")
PLACE = Place(file="test.py", line=3, key="")


def tables_of(folder: Path, text: str, name: str = "rnncost.yaml") -> list[Table]:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return parse_budget(read_budget(file))


def limits_in(folder: Path, text: str, name: str = "rnncost.yaml") -> list[Limit]:
    (table,) = tables_of(folder, text, name)
    return table.limits


def fault_of(folder: Path, text: str, name: str = "rnncost.yaml") -> str:
    with pytest.raises(BudgetError) as caught:
        tables_of(folder, text, name)
    return lines_of(caught.value)


def one(metric: str, value: Any) -> Limit:
    (limit,) = limits_of({metric: value}, PLACE)
    return limit


def refused(metric: str, value: Any) -> str:
    with pytest.raises(BudgetError) as caught:
        limits_of({metric: value}, PLACE)
    text = lines_of(caught.value)
    assert text.startswith(f"test.py:3: {metric}")
    return text


TOML = """\
[project]
name = "x"

[tool.rnncost.models."models/*.onnx"]
dims = {seq = 100, "a b" = 2}
shapes.input = [1, 576]
values = {sr = 16000, ids = [[1, 2], [3, 4]], x = "@x.npy"}
threads = 2
precision = "int8"
trace = false
profiles = ["raspberry-pi-4", "cortex-m7"]
macs = 10_000_000
params = {max = "1.2M", level = "warn"}
weight_bytes.max = "512 kB"
weight_bytes.max_increase = "5%"
latency_s = [
    {max = "5 ms", profile = "raspberry-pi-5"},
    "6 ms",
]
fits = true
streamable = {level = "warn"}
"""

YAML = """\
models:
  models/*.onnx:
    dims: {seq: 100, a b: 2}
    shapes: {input: [1, 576]}
    values: {sr: 16000, ids: [[1, 2], [3, 4]], x: "@x.npy"}
    threads: 2
    precision: int8
    trace: false
    profiles: [raspberry-pi-4, cortex-m7]
    macs: 10_000_000
    params: {max: 1.2M, level: warn}
    weight_bytes:
      max: 512 kB
      max_increase: 5%
    latency_s:
      - {max: 5 ms, profile: raspberry-pi-5}
      - 6 ms
    fits: true
    streamable: {level: warn}
"""


@pytest.mark.parametrize(
    ("text", "name", "prefix", "lines"),
    [
        (TOML, "pyproject.toml", "tool.rnncost.", (12, 13, 14, 15, 17, 18, 18, 20, 20, 21)),
        (YAML, "rnncost.yaml", "", (10, 11, 13, 14, 16, 17, 17, 18, 18, 19)),
    ],
)
def test_both_kinds_of_file_say_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str, prefix: str, lines: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (table,) = tables_of(Path(), text, name)
    assert table.pattern == "models/*.onnx"
    assert {key: setting.value for key, setting in table.settings.items()} == {
        ("dims", "seq"): 100,
        ("dims", "a b"): 2,
        ("shapes", "input"): (1, 576),
        ("values", "sr"): 16000,
        ("values", "ids"): [[1, 2], [3, 4]],
        ("values", "x"): "@x.npy",
        ("threads",): 2,
        ("precision",): "int8",
        ("trace",): False,
    }
    found = [
        (i.metric, i.profile, i.maximum, i.max_increase, i.level, i.place.key) for i in table.limits
    ]
    at = f'{prefix}models."models/*.onnx".'
    assert found == [
        ("macs", None, 10_000_000, None, "error", f"{at}macs"),
        ("params", None, 1_200_000, None, "warn", f"{at}params.max"),
        ("weight_bytes", None, 512_000, None, "error", f"{at}weight_bytes.max"),
        ("weight_bytes", None, None, 0.05, "error", f"{at}weight_bytes.max_increase"),
        ("latency_s", "raspberry-pi-5", 0.005, None, "error", f"{at}latency_s[0].max"),
        ("latency_s", "raspberry-pi-4", 0.006, None, "error", f"{at}latency_s[1]"),
        ("latency_s", "cortex-m7", 0.006, None, "error", f"{at}latency_s[1]"),
        ("fits", "raspberry-pi-4", None, None, "error", f"{at}fits"),
        ("fits", "cortex-m7", None, None, "error", f"{at}fits"),
        ("streamable", None, None, None, "warn", f"{at}streamable"),
    ]
    assert tuple(i.place.line for i in table.limits) == lines
    assert {i.place.file for i in table.limits} == {name}


def test_every_number_of_the_totals_can_be_limited() -> None:
    assert set(METRICS) == {*Totals.__struct_fields__, *ESTIMATED}
    for metric in METRICS:
        value: Any = True if metric in TRUTHS else 1
        limit = {"profile": "p"} if metric in ESTIMATED else {}
        table = {**limit} if metric in TRUTHS else {"max": value, **limit}
        assert one(metric, table).metric == metric


@pytest.mark.parametrize(
    ("metric", "text", "value"),
    [
        ("macs", "1.2M", 1_200_000),
        ("macs", "10 G", 10_000_000_000),
        ("macs", 1e6, 1_000_000),
        ("macs", "1.5", 1),
        ("params", 0, 0),
        ("weight_bytes", "512 kB", 512_000),
        ("weight_bytes", "1.3 KiB", 1331),
        ("weight_bytes", "7", 7),
        ("weight_bytes", "2 MiB", 2 * 2**20),
        ("sequential_share", "47.5%", 0.475),
        ("sequential_share", 1, 1.0),
        ("compulsory_arithmetic_intensity", 23.5, 23.5),
        ("macs", 10**250 + 1, 10**250 + 1),
    ],
)
def test_absolute_limits(metric: str, text: Any, value: float) -> None:
    limit = one(metric, text)
    assert limit.maximum == value
    assert type(limit.maximum) is type(value)


@pytest.mark.parametrize(
    ("metric", "text", "value"),
    [
        ("latency_s", "5 ms", 0.005),
        ("latency_s", "0.3 µs", 3e-7),
        ("latency_s", "40us", 4e-5),
        ("step_s", "2ns", 2e-9),
        ("energy_j", "3 mJ", 0.003),
        ("dram_bytes", "1.2 MB", 1_200_000),
    ],
)
def test_limits_of_estimates(metric: str, text: str, value: float) -> None:
    assert one(metric, {"max": text, "profile": "p"}).maximum == value


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        ("macs", "5 ms", "is not a count"),
        ("macs", "1.2m", "(units: k, M, G, T)"),
        ("macs", "-1", "below 0"),
        ("macs", -1, "must not be below 0, got -1"),
        ("macs", "", "is not a count"),
        ("macs", "ten", "is not a count"),
        ("macs", "1e99999", "is not a count"),
        ("macs", "1" * 100, "is not a count"),
        ("macs", "1e281", "larger than any figure"),
        ("macs", 10**281, "larger than any figure"),
        ("macs", float("nan"), "finite number, got nan"),
        ("macs", float("inf"), "finite number, got inf"),
        ("macs", -float("inf"), "finite number, got -inf"),
        ("macs", "nan", "is not a count"),
        ("macs", True, "must be a number or text with a unit, got true"),
        ("macs", None, "got nothing"),
        ("macs", [], "the list is empty"),
        ("macs", [[]], "got a list"),
        ("macs", {}, "sets no limit: give max or max_increase"),
        ("macs", {"level": "warn"}, "sets no limit"),
        ("macs", {"max": 1, "level": "fatal"}, "must be 'warn' or 'error', got 'fatal'"),
        ("macs", {"max": 1, "level": "warning"}, "did you mean 'warn'?"),
        ("macs", {"max": 1, "level": 1}, "must be 'warn' or 'error', got 1"),
        ("macs", {"max": 1, "maxincrease": 1}, "unknown key, did you mean 'max_increase'?"),
        ("macs", {"max": 1, "profile": "p"}, "macs is the same on every profile"),
        ("macs", {"max": {"max": 1}}, "got a table"),
        ("weight_bytes", "5 ms", "is not a size"),
        ("weight_bytes", "5 kb", "(units: B, kB,"),
        ("latency_s", {"max": "5 kB", "profile": "p"}, "is not a time: write it as '5 ms'"),
        ("latency_s", {"max": "5 min", "profile": "p"}, "is not a time"),
        ("latency_s", "5 ms", "needs a profile: write {max = …, profile = …}"),
        ("latency_s", {"max": "5 ms", "profile": ""}, "must be the name or the file"),
        ("latency_s", {"max": "5 ms", "profile": ["p"]}, "must be the name or the file"),
        ("energy_j", {"max": "5 ms", "profile": "p"}, "is not an energy"),
        ("sequential_share", 47, "is a share, at most 1 or 100%, got 47"),
        ("sequential_share", "101%", "is a share"),
        ("fits", True, "needs a profile: write {profile = …}"),
        ("fits", False, "must be true"),
        ("fits", {"max": 1, "profile": "p"}, "unknown key"),
        ("streamable", 1, "must be true, or a table with a level, got 1"),
        ("streamable", {"profile": "p"}, "the same on every profile"),
        ("macs", {"max_increase": 5}, "would allow 500 % more: write '5%', or '500%'"),
        ("macs", {"max_increase": "5"}, "would allow 500 % more"),
        ("macs", {"max_increase": 1}, "would allow 100 % more"),
        ("macs", {"max_increase": "-5%"}, "below 0"),
        ("macs", {"max_increase": "5 kB"}, "is not a share"),
        ("macs", {"max_increase": True}, "must be a number"),
    ],
)
def test_wrong_limits_are_told(metric: str, value: Any, said: str) -> None:
    assert said in refused(metric, value)


def test_increases_are_shares() -> None:
    for text, share in (("5%", 0.05), (0.05, 0.05), ("0.05", 0.05), ("150%", 1.5), (0, 0.0)):
        assert one("macs", {"max_increase": text}).max_increase == share


HEAD = "models:\n  m.onnx:\n    "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "rnncost.yaml is empty: a budget file is a YAML mapping"),
        ("- 1\n", "rnncost.yaml:1: must be a table of keys and values, got a list"),
        ("models:\n", "rnncost.yaml:1: models: must be a table of keys and values, got nothing"),
        ("modles: {}\n", "rnncost.yaml:1: modles: unknown key, did you mean 'models'?"),
        ("models: {}\n", "rnncost.yaml:1: there is no budget"),
        ("{}\n", "rnncost.yaml:1: there is no budget"),
        (
            f"{HEAD}latency: 1\n",
            "rnncost.yaml:3: models.\"m.onnx\".latency: unknown key, did you mean 'latency_s'?",
        ),
        (f"{HEAD}dim: {{a: 1}}\n", "unknown key, did you mean 'dims'?"),
        (f"{HEAD}dims: {{a: 0}}\n", 'rnncost.yaml:3: models."m.onnx".dims.a: must be a whole'),
        (f"{HEAD}dims: {{a: true}}\n", "must be a whole number from 1 on, got true"),
        (f"{HEAD}dims: {{a: 1.5}}\n", "must be a whole number from 1 on, got 1.5"),
        (f"{HEAD}dims: {{a: '5'}}\n", "must be a whole number from 1 on, got '5'"),
        (f"{HEAD}dims: {{a: {2**63}}}\n", "is larger than 2^63 - 1"),
        (f"{HEAD}dims: 5\n", "must be a table of keys and values, got 5"),
        (f"{HEAD}shapes: {{a: 1x5}}\n", "must be a list of whole numbers as [1, 576], got '1x5'"),
        (f"{HEAD}shapes: {{a: [1, -5]}}\n", "shapes.a[1]: must be a whole number"),
        (f"{HEAD}values: {{a: .nan}}\n", "values.a: must be a finite number, got nan"),
        (f"{HEAD}values: {{a: {{b: 1}}}}\n", "must be a number, a list of numbers or '@file.npy'"),
        (f"{HEAD}threads: 0\n", "threads: must be a whole number from 1 on, got 0"),
        (f"{HEAD}trace: yes\n", "trace: must be true or false, got 'yes'"),
        (f"{HEAD}precision: fp23\n", "did you mean 'fp32'?"),
        (f"{HEAD}precision: [fp32]\n", "precision: must be one of fp32"),
        (f"{HEAD}profiles: raspberry-pi-4\n", "profiles: must be a list of profile names"),
        (f"{HEAD}profiles: []\n", "profiles: must be a list of profile names"),
        (f"{HEAD}profiles: [1]\n", "profiles[0]: must be the name or the file of a profile"),
        (f"{HEAD}macs: 1\n    macs: 2\n", "rnncost.yaml:4: 'macs' is given again"),
        (f"{HEAD}1: 2\n", "rnncost.yaml:3: a key must be text"),
        (f"{HEAD}macs: &a 1\n", "rnncost.yaml:3: a budget file has no anchors or aliases"),
        (f"{HEAD}macs: !!int 1\n", "rnncost.yaml:3: a budget file has no tags"),
        (f"{HEAD}macs: [\n", "not readable as YAML"),
        (f"{HEAD}macs: {'[' * 40}{']' * 40}\n", "nested deeper than the 16 levels"),
        ("a: 1\n---\nb: 1\n", "a second YAML document starts here"),
        ("models:\n  **/*.onnx: {macs: 1}\n", "a pattern that begins with * needs quotes"),
        ("models:\n  *a.onnx: {macs: 1}\n", "a pattern that begins with * needs quotes"),
    ],
)
def test_faults_of_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in fault_of(Path(), text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.rnncost\n", "pyproject.toml: not readable as TOML: "),
        ("a = 1\na = 2\n", "pyproject.toml: not readable as TOML: "),
        (f"a = {'9' * 5000}\n", "pyproject.toml: not readable as TOML: "),
        (f"a = {'[' * 5000}{']' * 5000}\n", "pyproject.toml: nested too deeply"),
        ("[tool.other]\n", "there is no table [tool.rnncost]"),
        ("tool = 1\n", "there is no table [tool.rnncost]"),
        ("[tool]\nrnncost = 1\n", "pyproject.toml:2: tool.rnncost: must be a table"),
        ("[tool.rnncost]\n", "pyproject.toml:1: tool.rnncost: there is no budget"),
        (
            "[tool.rnncost.models.'m.onnx']\n\nmacs = 1979-05-27\n",
            'pyproject.toml:3: tool.rnncost.models."m.onnx".macs: must be a number or text with '
            "a unit, got the date 1979-05-27",
        ),
        (
            f"[tool.rnncost.models.'m.onnx']\ndims.a = 0x{'f' * 6000}\n",
            "dims.a: is larger than 2^63 - 1",
        ),
        ("[tool.rnncost.models.'m.onnx']\nmacs = nan\n", "finite number, got nan"),
        ("[tool.rnncost.models.'m.onnx']\nmacs = 1e999\n", "finite number, got inf"),
        (f"[tool.rnncost.models.'m.onnx']\nmacs = 1{'0' * 300}\n", "larger than any figure"),
        (f"[tool.rnncost.models.'m.onnx']\nmacs = -1{'0' * 300}\n", "got a number of more than 60"),
        ("[[tool.rnncost.models.'m.onnx']]\nmacs = 1\n", "must be a table"),
        (
            "[tool.rnncost.models.m.onnx]\nmacs = 1\n",
            'pyproject.toml:1: tool.rnncost.models.m.onnx: put the name in quotes: models."m.onnx"',
        ),
    ],
)
def test_faults_of_toml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in fault_of(Path(), text, "pyproject.toml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    def said(path: Path) -> str:
        with pytest.raises(BudgetError) as caught:
            read_budget(locate_budget(path))
        return lines_of(caught.value)

    assert "no such file" in said(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").mkdir()
    assert "it is a folder" in said(tmp_path / "b.yaml")
    (tmp_path / "c.toml").write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text (at byte 0)" in said(tmp_path / "c.toml")
    (tmp_path / "d.yaml").write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    assert "is larger than" in said(tmp_path / "d.yaml")
    assert "is called .yaml, .yml or .toml" in said(tmp_path / "e.json")
    assert "cannot read the budget" in said(Path("a\0.yaml"))


def test_where_the_budget_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BudgetError, match=r"no budget: neither rnncost.yaml nor .*--init MODEL"):
        locate_budget(None)
    toml = tmp_path / "pyproject.toml"
    toml.write_text("[tool.other]\n")
    with pytest.raises(BudgetError, match="no budget"):
        locate_budget(None)
    (tmp_path / "rnncost.yaml").write_text(YAML)
    assert locate_budget(None) == Path("rnncost.yaml")
    toml.write_text(TOML)
    with pytest.raises(BudgetError, match=r"both pyproject.toml .* and rnncost.yaml hold budgets"):
        locate_budget(None)
    assert locate_budget("rnncost.yaml") == Path("rnncost.yaml")
    (tmp_path / "rnncost.yaml").unlink()
    assert locate_budget(None) == Path("pyproject.toml")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    assert len(limits_in(tmp_path, f"\ufeff{YAML}")) == 10
    assert len(limits_in(tmp_path, f"\ufeff{TOML}", "pyproject.toml")) == 10


def test_profiles_and_values_in_files_start_at_the_budget(tmp_path: Path) -> None:
    text = "models: {m.onnx: {values: {x: '@a/x.npy'}, profiles: [p, ./p, q.yaml], step_s: 1}}\n"
    (table,) = tables_of(tmp_path, text)
    assert [limit.profile for limit in table.limits] == [
        "p",
        str(tmp_path / "p"),
        str(tmp_path / "q.yaml"),
    ]
    assert table.settings["values", "x"].value == f"@{tmp_path}/a/x.npy"


def test_tables_that_contradict_each_other(tmp_path: Path) -> None:
    text = "models:\n  '*.onnx': {dims: {a: 1, b: 2}}\n  m.onnx: {dims: {b: 2}}\n"
    assert merged(tables_of(tmp_path, text), "m.onnx")["dims", "b"].value == 2
    tables = tables_of(tmp_path, text.replace("{b: 2}}\n", "{b: 3}}\n"))
    with pytest.raises(BudgetError) as caught:
        merged(tables, "m.onnx")
    said = lines_of(caught.value)
    assert ':3: models."m.onnx".dims.b: m.onnx matches two tables, and line 2 says 2' in said


# Hostile values: whatever stands in a budget, the answer is limits or one sentence.

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**200, 10**320)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["5 ms", "1.2M", "5%", "-1", "1e400", "nan", "inf", "warn", "error", "p"])
)
KEYS = st.sampled_from(["max", "max_increase", "profile", "level", "mx", ""]) | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(KEYS, v, max_size=4), max_leaves=6
)


def outcome(call: Callable[[], T]) -> tuple[T | None, str]:
    """What a call returns, or what it says on refusing."""
    try:
        return call(), ""
    except (BudgetError, ValueError) as error:
        return None, str(error)


@given(st.sampled_from([*METRICS, "latency", "dims"]), VALUES)
def test_any_value_is_limits_or_a_sentence(metric: str, value: Any) -> None:
    limits, said = outcome(lambda: limits_of({metric: value}, PLACE))
    assert limits or said.startswith("test.py:3: ")
    assert "\n" not in said
    for limit in limits or ():
        assert limit.metric == metric
        assert limit.level in ("warn", "error")
        assert (limit.profile is not None) == (metric in ESTIMATED)
        if metric in TRUTHS:
            assert limit.maximum is limit.max_increase is None
        else:
            bound = limit.maximum if limit.max_increase is None else limit.max_increase
            assert bound is not None
            assert 0 <= bound <= 10**280
            assert not isinstance(bound, bool)


@given(st.dictionaries(st.sampled_from(["dims", "values", "shapes", "threads", "macs"]), VALUES))
def test_any_table_is_parsed_or_refused(table: dict[str, Any]) -> None:
    text = yaml.safe_dump({"models": {"m": table}}, allow_unicode=True)
    with tempfile.TemporaryDirectory() as name:
        found, said = outcome(lambda: tables_of(Path(name), text))
    assert found or "rnncost.yaml" in said


# Quantities.


@given(st.sampled_from(sorted(UNITS)), st.integers(0, 10**15), st.integers(0, 6), st.data())
def test_quantities_are_exact(kind: str, digits: int, places: int, data: st.DataObject) -> None:
    unit = data.draw(st.sampled_from(sorted(UNITS[kind])))
    whole, fraction = divmod(digits, 10**places)
    text = f"{whole}.{fraction:0{places}}" if places else str(whole)
    base, power = UNITS[kind][unit]
    expected = Fraction(digits, 10**places) * Fraction(base) ** power
    gap = data.draw(st.sampled_from(["", " "]))
    assert parse_quantity(f"{text}{gap}{unit}", kind) == expected


@given(st.sampled_from(sorted(UNITS)), st.text(max_size=12))
def test_other_texts_are_no_quantities(kind: str, text: str) -> None:
    value, said = outcome(lambda: parse_quantity(text, kind))
    if value is None:
        assert repr(text) in said
    else:
        assert value >= 0
        assert any(c in "0123456789" for c in text)


def test_the_meaning_of_units() -> None:
    for text, kind, value in (
        ("1 kB", "bytes", 1000),
        ("1 KiB", "bytes", 1024),
        ("1 TiB", "bytes", 2**40),
        ("1k", "count", 1000),
        ("1 ms", "seconds", Fraction(1, 1000)),
        ("1 μs", "seconds", Fraction(1, 10**6)),
        ("1 nJ", "joules", Fraction(1, 10**9)),
        ("1 %", "share", Fraction(1, 100)),
        ("1_000.5", "count", Fraction(2001, 2)),
        ("1e-3", "seconds", Fraction(1, 1000)),
    ):
        assert parse_quantity(text, kind) == value
    assert [format_joules(x) for x in (2.5, 1e-3, 3.21e-6, 0)] == [
        "2.5 J",
        "1 mJ",
        "3.21 µJ",
        "0 nJ",
    ]


def test_json_is_yaml_too(tmp_path: Path) -> None:
    text = json.dumps({"models": {"m.onnx": {"macs": "1k"}}})
    assert limits_in(tmp_path, text)[0].maximum == 1000
