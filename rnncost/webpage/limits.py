"""The budgets of a check: which limits hold and which do not."""

from __future__ import annotations

from rnncost.budgets.formats.findings import (
    broken,
    costliest,
    held,
    sentence,
    signed_percent,
    subject,
    value_and_limit,
    verdict,
)
from rnncost.budgets.model import CheckResult, Finding
from rnncost.report.model import Report
from rnncost.report.rows import Column
from rnncost.webpage.markup import Markup, bullets, escape, paragraph, section, table, titled
from rnncost.webpage.sections import short_name


def budgets_section(check: CheckResult, report: Report) -> str:
    """The verdict, every limit with its value, and a sentence for each that does not hold.

    ``report`` is what the rest of the page is about.
    """
    several = len(check.models) > 1
    about = f"The rest of this page is about {report.model.path}." if several else ""
    kind = "missed" if check.failures else "warned" if broken(check) else "met"
    word = "Over budget" if check.failures else "Within budget"
    return section(
        "budgets",
        "Budgets",
        f'<p><span class="{kind}">{word}</span>: {escape(verdict(check))}.</p>',
        _table(check),
        bullets(sentence(finding) for finding in broken(check)),
        titled("Warnings", bullets(check.warnings)),
        paragraph(about),
    )


def _table(check: CheckResult) -> str:
    """Broken limits first, then those that hold, the closest to its bound first."""
    findings = [*broken(check), *held(check)]
    if not findings:
        return ""
    pairs = [value_and_limit(finding) for finding in findings]
    columns = [
        Column("metric", tuple(short_name(subject(f)) for f in findings), number=False),
        Column("result", tuple(map(_result, findings)), number=False),
        Column("value", tuple(value for value, _ in pairs)),
        Column("limit", tuple(limit for _, limit in pairs)),
        Column("on the base", tuple(signed_percent(f.change) for f in findings)),
        Column("costliest", tuple(short_name(costliest(f)) for f in findings), number=False),
        Column("set in", tuple(map(_place, findings)), number=False),
    ]
    if len(check.models) > 1:
        columns.insert(1, Column("model", tuple(short_name(f.model) for f in findings), False))
    return table("Limits", [column for column in columns if any(column.cells)])


def _result(finding: Finding) -> Markup:
    if finding.passed:
        return Markup('<span class="met">✓ met</span>')
    if finding.level == "warn":
        return Markup('<span class="warned">! warning</span>')
    return Markup('<span class="missed">✗ missed</span>')


def _place(finding: Finding) -> str:
    return short_name(f"{finding.place.file}:{finding.place.line}")
