"""docs/budgets.md names every key, its examples are budgets, and the JSON Schema is current."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from budget_support import EXAMPLE
from golden_files import check_file
from hypothesis import given
from hypothesis import strategies as st

import rnncost
from rnncost.budgets.document import Node, read_budget
from rnncost.budgets.metrics import METRICS
from rnncost.budgets.model import CheckResult, Finding, Place
from rnncost.budgets.parse import LIMIT_KEYS, TABLE_KEYS, limits_of, parse_budget
from rnncost.budgets.schema import budget_json_schema, budget_json_schema_text
from rnncost.budgets.toml_lines import read_toml
from rnncost.errors import BudgetError
from rnncost.units import UNITS

DOCS = Path(__file__).parent.parent / "docs"
TEXT = (DOCS / "budgets.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(yaml|toml)\n(.*?)```", TEXT, re.DOTALL)
_START, _END = "```text\n", "```\n\n`-q` prints"
VALIDATOR = jsonschema.Draft202012Validator(budget_json_schema())


def parsed(kind: str, text: str, folder: Path) -> list[Any]:
    file = folder / ("rnncost.yaml" if kind == "yaml" else "pyproject.toml")
    file.write_text(text, encoding="utf-8")
    return parse_budget(read_budget(file))


def test_the_published_schema_is_current() -> None:
    check_file(DOCS / "budget.schema.json", f"{budget_json_schema_text()}\n")
    jsonschema.Draft202012Validator.check_schema(budget_json_schema())


def test_there_are_examples_of_both_kinds() -> None:
    assert {kind for kind, _ in BLOCKS} == {"yaml", "toml"}
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize(("kind", "text"), BLOCKS)
def test_every_example_is_a_budget(kind: str, text: str, tmp_path: Path) -> None:
    tables = parsed(kind, text, tmp_path)
    assert any(table.limits for table in tables)
    data = yaml.safe_load(text) if kind == "yaml" else read_toml(text)[0]["tool"]["rnncost"]
    VALIDATOR.validate(data)


def test_the_first_two_examples_are_the_same_budget(tmp_path: Path) -> None:
    (first, one), (second, two) = BLOCKS[:2]
    found = []
    for kind, text in ((first, one), (second, two)):
        (table,) = parsed(kind, text, tmp_path)
        settings = {key: setting.value for key, setting in table.settings.items()}
        limits = [(i.metric, i.profile, i.maximum, i.max_increase, i.level) for i in table.limits]
        found.append((table.pattern, settings, limits))
    assert found[0] == found[1]


def test_the_output_is_that_of_the_first_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").mkdir()
    shutil.copy(EXAMPLE, tmp_path / "examples")
    (tmp_path / "rnncost.yaml").write_text(BLOCKS[0][1])
    output = f"{rnncost.check(absolute_only=True)}\n"
    start, end = (TEXT.index(mark) for mark in (_START, _END))
    check_file(DOCS / "budgets.md", f"{TEXT[: start + len(_START)]}{output}{TEXT[end:]}")


@pytest.mark.parametrize("key", [*TABLE_KEYS, *LIMIT_KEYS])
def test_every_key_is_explained(key: str) -> None:
    assert f"`{key}`" in TEXT


def test_every_key_of_the_json_is_explained() -> None:
    keys = {*CheckResult(models=[]).to_dict(), *Finding.__struct_fields__, *Place.__struct_fields__}
    for key in (*keys, "findings", "report"):
        assert f"`{key}`" in TEXT, key


def test_every_unit_is_listed() -> None:
    for kind, units in UNITS.items():
        for unit in units:
            known = unit.replace("μ", "µ")  # two characters that look the same
            assert not known or f"`{known}`" in TEXT, (kind, unit)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
WORDS = st.sampled_from(["5 ms", "1.2M", "5%", "7 kB", "+1", "1e3", " 2 ", "warn", "p"])
KEYS = st.sampled_from(LIMIT_KEYS) | st.text(max_size=3)
ONE = SCALARS | WORDS | st.dictionaries(KEYS, SCALARS | WORDS, max_size=4)


@given(st.sampled_from(sorted(METRICS)), ONE | st.lists(ONE, max_size=3))
def test_the_schema_allows_whatever_a_check_takes(metric: str, value: Any) -> None:
    try:
        limits_of({metric: value}, Place(file="f", line=1, key=""))
    except BudgetError:
        return
    VALIDATOR.validate({"models": {"m": {metric: value}}})


@pytest.mark.parametrize(
    "table",
    [
        {"latency": 1},
        {"macs": -1},
        {"macs": "5 ms"},
        {"macs": {}},
        {"macs": {"max": 1, "profile": "p"}},
        {"macs": []},
        {"macs": True},
        {"fits": 1},
        {"fits": {"max": 1}},
        {"dims": {"a": 0}},
        {"dims": {"a": "b"}},
        {"shapes": {"a": "1x5"}},
        {"threads": 0},
        {"trace": 1},
        {"precision": "fp23"},
        {"profiles": []},
        {"params": {"max": 1, "level": "fatal"}},
    ],
)
def test_the_schema_refuses_what_a_check_refuses(table: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid({"models": {"m": table}})
    from rnncost.profiles.reader import Document
    from rnncost.profiles.reader import Place as Line

    data = {"models": {"m": table}}
    with pytest.raises(BudgetError):
        parse_budget(Node(data, (), Document(data, {(): Line("f", 1)}, ())))
