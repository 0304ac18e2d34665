"""What every CI format says of a finding: its words, its order, and where its limit stands."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from rnncost.budgets.model import CheckResult, Finding
from rnncost.report.text import percent, plural
from rnncost.units import format_bytes, format_count, format_joules, format_seconds


def broken(result: CheckResult) -> list[Finding]:
    """Limits that do not hold: errors first, and of each level the farthest off first."""
    found = (f for model in result.models for f in model.findings if not f.passed)
    return sorted(found, key=lambda f: (f.level != "error", -_excess(f)))


def held(result: CheckResult) -> list[Finding]:
    """Limits that hold, the closest to its bound first."""
    found = (f for model in result.models for f in model.findings if f.passed)
    return sorted(found, key=lambda f: -_excess(f))


def verdict(result: CheckResult) -> str:
    """One sentence: how many limits do not hold, and what no limit has seen."""
    said = _held_or_not(result)
    missed = uncounted(result)
    return f"{said}; {plural(missed, 'operator')} not counted" if missed else said


def uncounted(result: CheckResult) -> int:
    """How many operators the totals that limits are held against do not have."""
    return sum(len(model.report.uncounted) for model in result.models)


def _held_or_not(result: CheckResult) -> str:
    findings = broken(result)
    errors = sum(f.level == "error" for f in findings)
    warnings = len(findings) - errors
    total = len(findings) + len(held(result))
    if not total:
        return "no limit was checked"
    if not findings:
        return f"{'the limit holds' if total == 1 else f'all {total:,} limits hold'}"
    said = f"{errors:,} of {plural(total, 'limit')} exceeded" if errors else "no error"
    return f"{said}, {plural(warnings, 'warning')}" if warnings else said


def subject(finding: Finding) -> str:
    """The metric, and the profile that it is for."""
    return f"{finding.metric} on {finding.profile}" if finding.profile else finding.metric


def sentence(finding: Finding) -> str:
    """What was found, with the model that it was found for."""
    return f"{finding.model}: {finding.message}"


def value_and_limit(finding: Finding) -> tuple[str, str]:
    """Both with their unit, and with enough digits to be told apart where they differ."""
    value = quantity(finding.metric, finding.value)
    limit = quantity(finding.metric, finding.limit)
    if value == limit and finding.value != finding.limit:
        return repr(finding.value), repr(finding.limit)
    return value, limit


def quantity(metric: str, value: float) -> str:
    """A value in the unit that ends the name of its metric; counts exact."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if metric.endswith("_bytes"):
        return format_bytes(value)
    if metric.endswith("_s"):
        return format_seconds(value)
    if metric.endswith("_j"):
        return format_joules(value)
    if metric.endswith("_share"):
        return f"{percent(value)} %"
    return f"{value:,}" if isinstance(value, int) else format_count(value)


def signed_percent(share: float | None) -> str:
    """A change over the base report, signed: ``+12.5 %``; empty when there is none to tell."""
    if share is None:
        return ""
    if share == 0:
        return "0 %"
    if abs(share) >= 10:
        return f"{100 * share:+,.0f} %"
    return f"{100 * share:+.3g} %" if abs(share) >= 0.0001 else f"{share:+.1e}"


def costliest(finding: Finding) -> str:
    """The operator with the largest part of the value and that part, or nothing."""
    if finding.costliest_op is None:
        return ""
    if finding.costliest_share is None:
        return finding.costliest_op
    return f"{finding.costliest_op} ({percent(finding.costliest_share)} %)"


def repository_path(file: str) -> str:
    """A file as its repository names it: relative to the root, with forward slashes.

    The root is the nearest folder above with a ``.git``, else the workspace of GitHub
    Actions, else the current folder. A file outside of it keeps its absolute path.
    """
    path = Path(os.path.abspath(file))
    for root in _roots(path):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.as_posix()


def _roots(path: Path) -> Iterable[Path]:
    yield from (folder for folder in path.parents if (folder / ".git").exists())
    if workspace := os.environ.get("GITHUB_WORKSPACE"):
        yield Path(os.path.abspath(workspace))
    yield Path(os.getcwd())


def _excess(finding: Finding) -> float:
    """By how much of the limit the value is above it; what must be true is above by infinity."""
    if isinstance(finding.value, bool) or not finding.limit:
        return float("-inf") if finding.passed else float("inf")
    return float(finding.value / finding.limit - 1)
