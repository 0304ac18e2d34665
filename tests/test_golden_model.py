"""The report of the model that ships, as committed: any change of a count shows here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from golden_files import check_golden

import rnncost
from rnncost.report.csv_table import render_csv
from rnncost.report.json_text import render_json
from rnncost.report.markdown import render_markdown
from rnncost.report.model import Report, Tool
from rnncost.report.table import render_table

ROOT = Path(__file__).parent.parent
RENDERERS: dict[str, Callable[[Report], str]] = {
    "table.txt": render_table,
    "report.md": render_markdown,
    "ops.csv": render_csv,
    "report.json": render_json,
}


@pytest.fixture(scope="module")
def report() -> Report:
    # Without a profile: profiles get new figures more often than counts do.
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        found = rnncost.analyze("examples/keyword_spotter.onnx")
    return msgspec.structs.replace(found, tool=Tool("rnncost", "0.0.0"))


@pytest.mark.parametrize("name", RENDERERS)
def test_golden(name: str, report: Report) -> None:
    check_golden(f"keyword_spotter.{name}", RENDERERS[name](report))


def test_everything_is_counted(report: Report) -> None:
    assert report.uncounted == []
    assert report.coverage == 1.0
    assert {op.op_type for op in report.ops if op.kind == "recurrent"} == {"LSTM", "GRU"}
