"""What the README shows is what a user gets."""

from __future__ import annotations

import os
import subprocess
import sys

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
    import torch

    module = torch.nn.LSTM(64, 128, num_layers=2, bidirectional=True)
    report = rnncost.analyze(module, (torch.empty(100, 1, 64, device="meta"),))
    text = README.read_text(encoding="utf-8")
    assert f"report.totals.macs               # {report.totals.macs}\n" in text
    assert f"report.totals.sequential_steps   # {report.totals.sequential_steps}:" in text
    assert f"report.ops[0].dims               # {report.ops[0].dims}\n" in text


def test_the_test_command_is_the_one_that_ci_runs() -> None:
    assert "bash tests/run.sh\n" in README.read_text(encoding="utf-8")
    assert "bash tests/run.sh\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
