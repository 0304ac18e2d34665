"""Comparison with the committed output files in tests/golden.

``RNNCOST_OVERWRITE_GOLDEN=1 pytest`` writes them anew; read the difference before a commit.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def check_file(path: Path, text: str) -> None:
    """Hold that a committed file has this text, or write it when asked to."""
    if os.environ.get("RNNCOST_OVERWRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    assert path.exists(), f"{path} is missing: run with RNNCOST_OVERWRITE_GOLDEN=1"
    expected = path.read_bytes().decode("utf-8").replace("\r\n", "\n")
    assert text == expected, f"{path.name} differs: run with RNNCOST_OVERWRITE_GOLDEN=1 to accept"


def check_golden(name: str, text: str) -> None:
    check_file(FOLDER / name, text if text.endswith("\n") else f"{text}\n")
