"""The figures of an accuracy suite: errors, rank correlation, coverage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Union

import msgspec

from rnncost.suites.model import Case, SuiteResult

if TYPE_CHECKING:
    import numpy as np

MODEL = "rnncost"
"""The name of the estimator that is tested, beside those of the baselines."""

MOST_VALUES = 8
"""A number with more values than this in a group is broken down by powers of two."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The errors of one estimator over some cases; an error is |predicted / measured - 1|.

    ``spearman`` is the rank correlation of predicted and measured times, None where it is
    not defined (fewer than three cases, or all equal). ``coverage`` is the share of the
    cases with an interval whose interval holds the measured time, None without any.
    """

    group: str
    estimator: str
    cases: int
    median: float
    p90: float
    maximum: float
    spearman: Union[float, None] = None
    coverage: Union[float, None] = None


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of the cases of a group that have one value of a feature in common."""

    group: str
    feature: str
    value: str
    figures: Figures


def error(case: Case) -> float:
    """|predicted / measured - 1| of the model."""
    return abs(case.predicted_s / case.measured_s - 1)


def figures(cases: Sequence[Case], group: str) -> list[Figures]:
    """The figures of the model, then of each baseline, over the cases that have it.

    Raises:
        ValueError: there are no cases.
    """
    baselines = dict.fromkeys(name for case in cases for name in case.baselines)
    found = [_figures(cases, group, MODEL, lambda case: case.predicted_s)]
    for name in baselines:
        having = [case for case in cases if name in case.baselines]
        found.append(_figures(having, group, name, _baseline(name)))
    return found


def all_figures(result: SuiteResult) -> list[Figures]:
    """The figures of every group, in the order in which the groups first appear."""
    return [f for group, cases in by_group(result).items() for f in figures(cases, group)]


def by_group(result: SuiteResult) -> dict[str, list[Case]]:
    """The cases of each group."""
    groups: dict[str, list[Case]] = {}
    for case in result.cases:
        groups.setdefault(case.group, []).append(case)
    return groups


def breakdown(cases: Sequence[Case], group: str) -> list[Part]:
    """The model's figures by each feature that tells cases of a group apart.

    A feature of numbers with many values is cut at powers of two; one of texts with as many
    values as cases names them, and is left out.
    """
    features = dict.fromkeys(name for case in cases for name in case.features)
    parts = []
    for feature in features:
        having = [case for case in cases if feature in case.features]
        split = _split(having, feature)
        if not 1 < len(split) < len(having):
            continue
        for value, members in split:
            whole = _figures(members, group, MODEL, lambda case: case.predicted_s)
            parts.append(Part(group=group, feature=feature, value=value, figures=whole))
    return parts


def worst(cases: Iterable[Case], count: int) -> list[Case]:
    """The cases with the largest errors of the model, the worst first."""
    return sorted(cases, key=error, reverse=True)[:count]


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties at their average rank; None where it is not defined.

    It is Pearson's correlation of the ranks (Spearman, The American Journal of Psychology
    15, 1904).
    """
    import numpy as np

    if len(a) < 3:
        return None
    first, second = _ranks(a), _ranks(b)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def to_dict(result: SuiteResult) -> dict[str, Any]:
    """A suite's figures and cases as plain JSON values, in base units."""
    groups = by_group(result)
    parts = [part for group, cases in groups.items() for part in breakdown(cases, group)]
    return {
        "suite": result.suite,
        "facts": dict(result.facts),
        "notes": list(result.notes),
        "figures": msgspec.to_builtins(all_figures(result)),
        "breakdown": msgspec.to_builtins(parts),
        "cases": msgspec.to_builtins(result.cases),
    }


def _baseline(name: str) -> Callable[[Case], float]:
    return lambda case: case.baselines[name]


def _figures(
    cases: Sequence[Case], group: str, estimator: str, predicted: Callable[[Case], float]
) -> Figures:
    import numpy as np

    if not cases:
        raise ValueError(f"the group {group!r} has no cases")
    errors = np.array([abs(predicted(case) / case.measured_s - 1) for case in cases])
    return Figures(
        group=group,
        estimator=estimator,
        cases=len(cases),
        median=float(np.median(errors)),
        p90=float(np.quantile(errors, 0.9)),
        maximum=float(errors.max()),
        spearman=spearman([predicted(c) for c in cases], [c.measured_s for c in cases]),
        coverage=_coverage(cases) if estimator == MODEL else None,
    )


def _coverage(cases: Iterable[Case]) -> float | None:
    inside = [
        case.low_s <= case.measured_s <= case.high_s
        for case in cases
        if case.low_s is not None and case.high_s is not None
    ]
    return sum(inside) / len(inside) if inside else None


def _ranks(values: Sequence[float]) -> np.ndarray[Any, Any]:
    """Ranks from 1; equal values have the average of theirs."""
    import numpy as np

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: np.ndarray[Any, Any] = (last - (counts - 1) / 2)[place]
    return ranks


def _split(cases: Sequence[Case], feature: str) -> list[tuple[str, list[Case]]]:
    values = {case.features[feature] for case in cases}
    numbers = {value for value in values if not isinstance(value, str)}
    ranged = len(numbers) == len(values) and len(values) > MOST_VALUES
    split: dict[tuple[bool, float, str], list[Case]] = {}
    for case in cases:
        value = case.features[feature]
        if isinstance(value, str):
            key = (True, 0.0, value)
        elif ranged and value >= 1:
            low = 1 << (int(value).bit_length() - 1)
            key = (False, float(low), f"{low} to {2 * low - 1}" if low > 1 else "1")
        else:
            key = (False, 0.0, "below 1") if ranged else (False, float(value), f"{value:g}")
        split.setdefault(key, []).append(case)
    return [(text, split[key]) for key in sorted(split) for text in [key[2]]]
