"""A result as text for a terminal and as Markdown."""

from __future__ import annotations

import textwrap

from rnncost.along_time.model import Numerics
from rnncost.along_time.tables import Table, facts, sentences, tables
from rnncost.along_time.tables import one_line as _one_line
from rnncost.report.markdown import escape
from rnncost.report.table import DEFAULT_WIDTH
from rnncost.report.text import printable

_BOLD = "\x1b[1m{}\x1b[0m"


def render_text(
    result: Numerics, *, verbose: bool = False, width: int = DEFAULT_WIDTH, color: bool = False
) -> str:
    """Lay a result out for a terminal; prose is wrapped to ``width`` columns."""

    def titled(title: str) -> str:
        return _BOLD.format(title) if color else title

    labelled = facts(result)
    indent = max(len(label) for label, _ in labelled) + 2
    lines = [
        line
        for label, text in labelled
        for line in _wrapped(text, width, f"{label:<{indent}}", " " * indent)
    ]
    for table in tables(result, verbose=verbose):
        lines += ["", titled(table.title), _grid(table)]
    for title, items in sentences(result):
        if items:
            lines += ["", titled(title)]
            lines += [line for text in items for line in _wrapped(text, width, "  ", "    ")]
    return "\n".join(lines)


def render_markdown(result: Numerics, *, verbose: bool = False) -> str:
    """The same as GitHub-flavoured Markdown."""
    from tabulate import tabulate

    (_, model), *rest = facts(result)
    blocks = [
        f"### {escape(model)}",
        "\n".join(f"- {label}: {escape(text)}" for label, text in rest),
    ]
    for table in tables(result, verbose=verbose):
        cells = [[escape(cell) for cell in row] for row in table.rows]
        heads = [escape(head) for head in table.heads]
        grid = tabulate(
            cells, headers=heads, tablefmt="pipe", disable_numparse=True, colalign=_sides(table)
        )
        blocks += [f"**{escape(table.title)}**", grid]
    for title, items in sentences(result):
        if items:
            blocks += [f"**{title}**", "\n".join(f"- {escape(text)}" for text in items)]
    return "\n\n".join(block for block in blocks if block)


def one_line(result: Numerics) -> str:
    """The half-life and the gradient's exponent of each layer."""
    return printable(_one_line(result))


def _grid(table: Table) -> str:
    from tabulate import tabulate

    cells = [[printable(cell) for cell in row] for row in table.rows]
    return str(tabulate(cells, headers=table.heads, disable_numparse=True, colalign=_sides(table)))


def _sides(table: Table) -> list[str]:
    return ["left", *["right"] * (len(table.heads) - 1)]


def _wrapped(text: str, width: int, first: str, other: str) -> list[str]:
    return textwrap.wrap(
        printable(text),
        width,
        initial_indent=first,
        subsequent_indent=other,
        break_long_words=False,
        break_on_hyphens=False,
    )
