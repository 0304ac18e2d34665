"""A summary for a pull-request comment: what broke first, what held folded away."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rnncost import __version__
from rnncost.budgets.formats.findings import (
    broken,
    costliest,
    held,
    quantity,
    repository_path,
    signed_percent,
    subject,
    value_and_limit,
    verdict,
)
from rnncost.budgets.model import CheckResult, Finding, ModelCheck
from rnncost.report.markdown import escape
from rnncost.report.text import plural, shorten

MAX_BYTES = 60_000
"""GitHub takes comments of 65 536 characters; the rest is left to who posts this."""

_NAME = 120
_NOTE = 1000
_TOTALS = ("params", "macs", "weight_bytes", "peak_activation_bytes", "sequential_steps")
_SIGNS = {"error": "❌ error", "warn": "⚠️ warn"}


class _Section(msgspec.Struct, frozen=True, kw_only=True):
    """Lines before and after, and rows between that may be left out when space is short."""

    head: str
    rows: Sequence[str]
    noun: str
    tail: str = ""

    def text(self, kept: int) -> str:
        missing = len(self.rows) - kept
        more = [f"\n… and {plural(missing, self.noun)} more"] if missing else []
        return "\n".join([self.head, *self.rows[:kept], *more, *filter(None, [self.tail])])


def marker(key: str = "") -> str:
    """The hidden first line by which a bot finds the comment that it wrote before.

    A key tells comments apart where several checks report to one pull request.
    """
    # "--" and ">" end a comment, so only what cannot build them stays as it is.
    safe = "".join(c if c.isalnum() or c in "._/" else "-" for c in key).strip("-")
    while "--" in safe:
        safe = safe.replace("--", "-")
    return f"<!-- rnncost {safe} -->" if safe else "<!-- rnncost -->"


def render(result: CheckResult, key: str = "") -> str:
    """At most ``MAX_BYTES`` of UTF-8: the least important rows are left out and counted."""
    head = f"{marker(key)}\n### rnncost: {verdict(result)}"
    foot = f"<sub>1 MAC = 2 FLOPs; made by rnncost {__version__}</sub>"
    sections = [s for s in _sections(result) if s.rows]
    kept = _fit(sections, MAX_BYTES - _size(head) - _size(foot))
    shown = (s.text(n) for s, n in zip(sections, kept, strict=True))
    return "\n\n".join([head, *shown, foot])


def _sections(result: CheckResult) -> list[_Section]:
    """The parts of the summary, the most important first."""
    return [
        _Section(head=_FINDINGS, rows=[*map(_row, broken(result))], noun="broken limit"),
        _Section(
            head=_header("model", *_TOTALS, "latency"),
            rows=[*map(_totals, result.models)],
            noun="model",
        ),
        _Section(
            head=f"<details><summary>{plural(len(held(result)), 'limit')} met</summary>\n\n"
            f"{_FINDINGS}",
            rows=[*map(_row, held(result))],
            noun="limit",
            tail="\n</details>",
        ),
        _Section(
            head="**Warnings**\n",
            rows=[f"- {_inert(shorten(text, _NOTE))}" for text in result.warnings],
            noun="warning",
        ),
    ]


def _fit(sections: Sequence[_Section], space: int) -> list[int]:
    """How many rows of each section there is room for; earlier sections come first."""
    for section in sections:
        # What stands whether rows do or not: head, tail, blank lines, "… and 9 … more".
        space -= _size(section.text(0)) + 2
    kept = []
    for section in sections:
        count = 0
        for row in section.rows:
            space -= _size(row) + 1
            if space < 0:
                break
            count += 1
        kept.append(count)
    return kept


def _header(*titles: str) -> str:
    return f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}"


_FINDINGS = _header(
    "level", "model", "metric", "value", "limit", "change", "costliest operator", "limit set at"
)


def _row(finding: Finding) -> str:
    value, limit = value_and_limit(finding)
    place = f"{repository_path(finding.place.file)}:{finding.place.line}"
    sign = "✅ met" if finding.passed else _SIGNS[finding.level]
    op = costliest(finding)
    return _cells(
        sign,
        finding.model,
        subject(finding),
        value,
        limit,
        signed_percent(finding.change),
        op,
        place,
    )


def _totals(model: ModelCheck) -> str:
    before = model.base
    counts = [
        _with_change(
            metric,
            getattr(model.report.totals, metric),
            getattr(before.totals, metric) if before else None,
        )
        for metric in _TOTALS
    ]
    latencies = {e.profile: e.latency_s for e in before.estimates} if before else {}
    times = [
        f"{_with_change('latency_s', e.latency_s, latencies.get(e.profile))} on {e.profile}"
        for e in model.report.estimates
    ]
    return _cells(model.model, *counts, ", ".join(times))


def _with_change(metric: str, value: float, before: float | None) -> str:
    text = quantity(metric, value)
    return f"{text} ({signed_percent(value / before - 1)})" if before else text


def _cells(*texts: str) -> str:
    return f"| {' | '.join(_inert(shorten(text, _NAME)) for text in texts)} |"


def _inert(text: str) -> str:
    """Keep text from acting as markup, as a mention or as a link."""
    return escape(text).replace("://", ":&#8203;//").replace("www.", "www&#8203;.")


def _size(text: str) -> int:
    return len(text.encode("utf-8"))
