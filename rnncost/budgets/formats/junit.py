"""JUnit XML: a suite for each model, a test case for each limit."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from rnncost.budgets.formats.findings import (
    costliest,
    repository_path,
    signed_percent,
    subject,
    value_and_limit,
)
from rnncost.budgets.model import CheckResult, Finding, ModelCheck
from rnncost.report.text import printable

_PROPERTIES = ("params", "macs", "weight_bytes", "peak_activation_bytes", "sequential_steps")


def render(result: CheckResult) -> str:
    """A broken limit of level error is a failure, one of level warn is skipped with its message.

    Names from the model are escaped, so that the document is XML 1.0 whatever they hold.
    """
    findings = [finding for model in result.models for finding in model.findings]
    root = ET.Element("testsuites", {"name": "rnncost", **_counts(findings)})
    root.extend(map(_suite, result.models))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}'


def _counts(findings: Sequence[Finding]) -> dict[str, str]:
    return {
        "tests": str(len(findings)),
        "failures": str(sum(not f.passed and f.level == "error" for f in findings)),
        "errors": "0",
    }


def _suite(model: ModelCheck) -> ET.Element:
    skipped = sum(not f.passed and f.level == "warn" for f in model.findings)
    counts = _counts(model.findings)
    suite = ET.Element(
        "testsuite", {"name": printable(model.model), **counts, "skipped": str(skipped)}
    )
    properties = ET.SubElement(suite, "properties")
    for name in _PROPERTIES:
        value = str(getattr(model.report.totals, name))
        ET.SubElement(properties, "property", {"name": name, "value": value})
    suite.extend(map(_case, model.findings))
    return suite


def _case(finding: Finding) -> ET.Element:
    name = f"{subject(finding)} [{finding.place.key}]"
    case = ET.Element("testcase", {"classname": printable(finding.model), "name": printable(name)})
    if not finding.passed:
        tag = "failure" if finding.level == "error" else "skipped"
        message = printable(" ".join(finding.message.split()))
        kind = "over budget" if finding.level == "error" else "warning"
        outcome = ET.SubElement(case, tag, {"type": kind, "message": message})
        outcome.text = "\n".join(map(printable, _lines(finding)))
    return case


def _lines(finding: Finding) -> list[str]:
    value, limit = value_and_limit(finding)
    place = finding.place
    facts = {
        "metric": subject(finding),
        "value": value,
        "limit": limit,
        "change": signed_percent(finding.change),
        "costliest op": costliest(finding),
        "limit at": f"{repository_path(place.file)}:{place.line} ({place.key})",
    }
    return [f"{label}: {text}" for label, text in facts.items() if text]
