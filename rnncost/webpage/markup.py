"""Text made safe for a page: every name comes from a model file, which anybody can write."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from rnncost.errors import ReportError
from rnncost.report.rows import Column
from rnncost.report.text import printable

_JSON_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(text: str) -> str:
    """Text as HTML; control, bidi and unpaired characters are shown as escapes."""
    return text if isinstance(text, Markup) else html.escape(printable(text))


def script_json(data: Any) -> str:
    """Plain values as JSON that can stand inside a ``<script>``: ASCII, without ``<>&``.

    Raises:
        ReportError: a figure is infinite or not a number.
    """
    import json

    try:
        text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise ReportError(
            "the page cannot be written because a figure in the report is infinite or not a "
            "number; look for a profile with a rate of zero"
        ) from error
    return text.translate(_JSON_ESCAPES)


def section(anchor: str, title: str, *blocks: str) -> str:
    """A part of the page with its heading, or nothing where it has no content."""
    content = "".join(blocks)
    if not content:
        return ""
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-title">'
        f'<h2 id="{anchor}-title">{escape(title)}</h2>{content}</section>'
    )


def paragraph(text: str) -> str:
    """One paragraph, or nothing where there is no text."""
    return f"<p>{escape(text)}</p>" if text else ""


def bullets(lines: Iterable[str]) -> str:
    """A list, or nothing where there is no line."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def facts(lines: Iterable[tuple[str, str]]) -> str:
    """Labelled sentences, or nothing where there is none."""
    items = "".join(
        f"<div><dt>{escape(label.strip())}</dt><dd>{escape(text)}</dd></div>"
        for label, text in lines
    )
    return f'<dl class="facts">{items}</dl>' if items else ""


def titled(title: str, body: str) -> str:
    """A body under a small heading, or nothing where there is no body."""
    return f"<h3>{escape(title)}</h3>{body}" if body else ""


def table(caption: str, columns: Sequence[Column], *, strong: Iterable[int] = ()) -> str:
    """A table that scrolls in its own box; the first column names its rows.

    ``strong`` are the numbers of rows to stress, such as a total.
    """
    stressed = set(strong)
    head = "".join(
        f'<th scope="col"{_align(column)}>{escape(column.title)}</th>' for column in columns
    )
    rows = "".join(
        f"<tr{' class=strong' if number in stressed else ''}>{_row(columns, row)}</tr>"
        for number, row in enumerate(zip(*(column.cells for column in columns), strict=True))
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f"<table><caption><span>{escape(caption)}</span></caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def folded(title: str, body: str) -> str:
    """A body that a reader opens, or nothing where there is no body."""
    return f"<details><summary>{escape(title)}</summary>{body}</details>" if body else ""


def _row(columns: Sequence[Column], cells: Sequence[str]) -> str:
    name, *others = map(escape, cells)
    pairs = zip(columns[1:], others, strict=True)
    data = "".join(f"<td{_align(column)}>{cell}</td>" for column, cell in pairs)
    return f'<th scope="row"><span>{name}</span></th>{data}'


def _align(column: Column) -> str:
    return " class=number" if column.number else ""
