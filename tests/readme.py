"""The README's blocks, for the tests and for writing the output block anew."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
_START, _END = "```text\n", "```\n"


def output_block() -> str:
    """The output that the README shows."""
    text = README.read_text(encoding="utf-8")
    start = text.index(_START) + len(_START)
    return text[start : text.index(_END, start)]


def replace_output(output: str) -> None:
    text = README.read_text(encoding="utf-8")
    start = text.index(_START) + len(_START)
    end = text.index(_END, start)
    README.write_text(text[:start] + output + text[end:], encoding="utf-8", newline="\n")
