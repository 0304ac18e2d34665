"""The JSON that shields.io reads at its endpoint badge: one line and a colour."""

from __future__ import annotations

import json

from rnncost.budgets.formats.findings import broken, uncounted
from rnncost.budgets.model import CheckResult
from rnncost.report.model import Report
from rnncost.report.text import plural
from rnncost.units import format_count, format_seconds


def render(result: CheckResult) -> str:
    """Red with the number of broken limits, yellow with that of warnings, else the costs.

    Yellow too where operators could not be counted, grey where no limit was checked.
    """
    errors = len(result.failures)
    warnings = len(broken(result)) - errors
    if errors:
        message, color = f"{errors:,} over budget", "red"
    elif warnings:
        message, color = plural(warnings, "warning"), "yellow"
    elif not any(model.findings for model in result.models):
        message, color = "nothing checked", "lightgrey"
    elif missed := uncounted(result):
        message, color = f"{plural(missed, 'operator')} not counted", "yellow"
    elif len(result.models) == 1:
        message, color = _costs(result.models[0].report), "brightgreen"
    else:
        message, color = f"{plural(len(result.models), 'model')} within budget", "brightgreen"
    return json.dumps(
        {
            "schemaVersion": 1,
            "label": "rnncost",
            "message": message,
            "color": color,
            "isError": bool(errors),
        },
        indent=2,
    )


def _costs(report: Report) -> str:
    costs = [f"{format_count(report.totals.macs)} MACs"]
    if report.estimates:
        costs.append(format_seconds(report.estimates[0].latency_s))
    return ", ".join(costs)
