"""A check as text for a terminal: a line for each limit, then what does not hold, in words."""

from __future__ import annotations

from rnncost.budgets.formats.findings import (
    broken,
    signed_percent,
    subject,
    value_and_limit,
    verdict,
)
from rnncost.budgets.model import CheckResult, Finding
from rnncost.report.model import Bindings
from rnncost.report.text import percent, plural, printable

_RED, _YELLOW, _BOLD = "31", "33", "1"
_CODES = {"FAIL": _RED, "warn": _YELLOW}
_GAP = "  "


def render_text(result: CheckResult, *, color: bool = False) -> str:
    """Every limit beside its value, a sentence for each that does not hold, the verdict."""

    def painted(text: str, code: str | None) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if color and code else text

    blocks = []
    for check in result.models:
        lines = [painted(printable(check.model), _BOLD) + _run(check.report.bindings)]
        columns = zip(*map(_row, check.findings), strict=True)
        padded = [
            [cell.ljust(max(map(len, column))) for cell in column]
            for column in columns
            if any(column)
        ]
        for cells in map(list, zip(*padded, strict=True)):
            cells[0] = painted(cells[0], _CODES.get(cells[0].strip()))
            lines.append(f"{_GAP}{_GAP.join(cells).rstrip()}")
        blocks.append("\n".join(lines))
    blocks += ["\n".join(_sentence(finding) for finding in broken(result))]
    blocks += ["\n".join(f"warning: {printable(text)}" for text in result.warnings)]
    code = None if result.passed else _RED
    blocks += [painted(one_line(result), code)]
    return "\n\n".join(filter(None, blocks))


def one_line(result: CheckResult) -> str:
    """The verdict, and which limits of level error do not hold."""
    names = list(dict.fromkeys(f"{f.model}: {subject(f)}" for f in result.failures))
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    said = f"{plural(len(result.models), 'model')}: {verdict(result)}"
    return printable(f"{said} ({shown})" if names else said)


def _run(bindings: Bindings) -> str:
    """What the counts are for."""
    parts = [f"{name}={value}" for name, value in bindings.dims.items()]
    return f" ({printable(', '.join(parts))})" if parts else ""


def _row(finding: Finding) -> list[str]:
    value, limit = value_and_limit(finding)
    state = "ok" if finding.passed else "FAIL" if finding.level == "error" else "warn"
    used = ""
    if not isinstance(finding.value, bool) and finding.limit:
        used = f"{percent(finding.value / finding.limit)} %"
    change = "as the base" if finding.change == 0 else signed_percent(finding.change)
    cells = (
        state,
        subject(finding),
        value,
        f"of {limit}",
        used,
        f"{change} on the base" if finding.change else change,
        f"{finding.place.file}:{finding.place.line}",
    )
    return [printable(cell) for cell in cells]


def _sentence(finding: Finding) -> str:
    level = "error" if finding.level == "error" else "warning"
    place = finding.place
    return printable(
        f"{place.file}:{place.line}: {level}: {finding.model}: {finding.message} ({place.key})"
    )
