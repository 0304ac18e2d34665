"""The report as JSON text, the contract that other tools read."""

from __future__ import annotations

from rnncost.errors import ReportError
from rnncost.report.model import Report


def render_json(report: Report) -> str:
    """A report as JSON, its keys in the order of the schema.

    Raises:
        ReportError: a figure is infinite or not a number.
    """
    return to_json(report.to_dict())


def to_json(data: object) -> str:
    """Plain values as JSON: exact integers, two spaces of indent.

    Characters that a terminal would obey are written as JSON escapes, which every JSON
    reader turns back.

    Raises:
        ReportError: a figure is infinite or not a number.
    """
    import json

    try:
        text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise ReportError(
            "the report cannot be written as JSON because a figure in it is infinite or not a "
            "number; look for a profile with a rate of zero"
        ) from error
    return "\n".join(line if line.isprintable() else _escaped(line) for line in text.split("\n"))


def _escaped(line: str) -> str:
    import json

    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)
