"""What the README shows is what a user gets."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from readme import README, ROOT, output_block, replace_output

import rnncost


def test_the_output_is_that_of_the_command() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "rnncost", "analyze", "examples/keyword_spotter.onnx"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1", "COLUMNS": "100"},
        timeout=60,
    )
    if os.environ.get("RNNCOST_OVERWRITE_GOLDEN"):
        replace_output(process.stdout)
    assert output_block() == process.stdout


def test_the_python_example_says_what_the_api_answers() -> None:
    torch = pytest.importorskip("torch")

    module = torch.nn.LSTM(64, 128, num_layers=2, bidirectional=True)
    report = rnncost.analyze(module, (torch.empty(100, 1, 64, device="meta"),))
    lines = [line.split("  # ") for line in README.read_text(encoding="utf-8").splitlines()]
    comments = {parts[0].strip(): parts[1] for parts in lines if len(parts) == 2}
    assert comments["report.totals.macs"] == str(report.totals.macs)
    assert comments["report.totals.sequential_steps"].startswith(
        f"{report.totals.sequential_steps}:"
    )
    assert comments["report.ops[0].dims"] == str(report.ops[0].dims)


def test_the_test_command_is_the_one_that_ci_runs() -> None:
    assert "bash tests/run.sh\n" in README.read_text(encoding="utf-8")
    assert "bash tests/run.sh\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
