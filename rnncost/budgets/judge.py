"""One limit held against one model: exact where the figures are whole, said in words."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec

from rnncost.budgets.document import where
from rnncost.budgets.formats.findings import costliest as named
from rnncost.budgets.formats.findings import quantity, signed_percent, value_and_limit
from rnncost.budgets.metrics import METRICS, Value, costliest, value_of
from rnncost.budgets.model import Finding, Limit
from rnncost.errors import BudgetError
from rnncost.report.model import Estimate, Report

if TYPE_CHECKING:
    from rnncost.profiles.schema import HardwareProfile

_UNKNOWN = {
    "latency_high_s": "nothing is known of how far estimates on {profile} are off",
    "step_s": "the model has no recurrent operator",
    "energy_j": "{profile} has no energy figures",
    "fits": "{profile} does not say how much memory it has",
}

_NO_STATE = "not every state of it is both an input and an output"


def judge(
    model: str,
    limit: Limit,
    report: Report,
    estimate: Estimate | None = None,
    *,
    base: Report | None = None,
    base_estimate: Estimate | None = None,
    profile: HardwareProfile | None = None,
) -> Finding:
    """Hold a limit against a model.

    A value at its limit passes. Whole numbers are compared exactly; others with the limit
    as the nearest floating-point number. A relative limit is the base's figure, as JSON
    writes it, times 1 + max_increase, in exact arithmetic; of whole numbers the next below.

    Args:
        model: the name of the model.
        limit: what it is held to.
        report: its report.
        estimate: its estimate on the profile of the limit, None for a total.
        base: the report that changes are from, None without one.
        base_estimate: the estimate of the base on that profile.
        profile: the profile, which tells what operators take of the energy.

    Raises:
        BudgetError: the value is not known, or a relative limit has no base.
    """
    metric = METRICS[limit.metric]
    on = estimate.profile if estimate else None
    value = value_of(limit.metric, report, estimate)
    if value is None:
        reason = _UNKNOWN[limit.metric].format(profile=on)
        raise BudgetError(f"{where(limit.place)}: {model}: {reason}; remove the limit")
    before = None
    if base is not None and (base_estimate is not None or estimate is None):
        before = value_of(limit.metric, base, base_estimate)
    bound = _bound(limit, before, model, whole=metric.whole)
    operator, share = costliest(limit.metric, report, estimate, profile)
    finding = Finding(
        model=model,
        metric=limit.metric,
        profile=on,
        level=limit.level,
        passed=value == bound if metric.is_truth else value <= bound,
        value=value,
        limit=bound,
        base=before,
        change=_change(value, before),
        costliest_op=operator,
        costliest_share=share,
        place=limit.place,
        message="",
    )
    said = _truth_said(finding, estimate) if metric.is_truth else _said(finding, limit)
    return msgspec.structs.replace(finding, message=said)


def _bound(limit: Limit, base: Value | None, model: str, *, whole: bool) -> Value:
    """The limit as a number; a metric that must be true has True."""
    if limit.maximum is not None:
        return limit.maximum
    if limit.max_increase is None:
        return True
    if base is None:
        raise BudgetError(
            f"{where(limit.place)}: {model}: the base has no {limit.metric}"
            + (f" on {limit.profile}" if limit.profile else "")
            + "; make the base with this budget file"
        )
    # The shortest decimals of a float are what its writer meant and JSON shows.
    bound = Fraction(repr(base)) * (1 + Fraction(repr(limit.max_increase)))
    return math.floor(bound) if whole else float(bound)


def _change(value: Value, base: Value | None) -> float | None:
    """The value over the base less 1; None where there is no base, or it is zero."""
    if base is None or isinstance(value, bool):
        return None
    if value == base:
        return 0.0
    return float(Fraction(value) / Fraction(base) - 1) if base else None


def _said(finding: Finding, limit: Limit) -> str:
    """``macs is 12, over its limit of 10 by 20 %; …``."""
    value, bound = value_and_limit(finding)
    subject = f"{finding.metric} on {finding.profile}" if finding.profile else finding.metric
    if finding.passed:
        verdict = f"within its limit of {bound}"
    else:
        over = signed_percent(_change(finding.value, finding.limit)).lstrip("+")
        verdict = f"over its limit of {bound}" + (f" by {over}" if over else "")
    parts = [f"{subject} is {value}, {verdict}"]
    if limit.max_increase is not None:
        parts[0] += f" ({100 * limit.max_increase:g} % above the base)"
    if finding.base is not None:
        before = f"{quantity(finding.metric, finding.base)} in the base"
        change = signed_percent(finding.change) if finding.change else "up"
        parts.append("as in the base" if finding.change == 0 else f"{change} from {before}")
    if finding.costliest_op is not None:
        parts.append(f"the largest part is {named(finding)}")
    return "; ".join(parts)


def _truth_said(finding: Finding, estimate: Estimate | None) -> str:
    if finding.metric == "streamable":
        if finding.passed:
            return "the model can run step by step on a stream"
        said = "the model cannot run step by step on a stream"
        waits = finding.costliest_op
        return f"{said}: {waits} needs later input" if waits else f"{said}: {_NO_STATE}"
    if finding.passed or estimate is None:
        return f"the model fits {finding.profile}"
    fits = {"weights": estimate.fits.weights, "activations": estimate.fits.activations}
    missing = " and ".join(part for part, fit in fits.items() if fit is False)
    return f"{missing} do not fit {finding.profile}; the largest part is {named(finding)}"
