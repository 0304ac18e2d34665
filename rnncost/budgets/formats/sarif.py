"""SARIF 2.1.0: a rule for each metric, a result for each broken limit.

Kept to what GitHub code scanning reads: paths relative to the repository, every rule with its
descriptions and help, and a fingerprint that follows a result from run to run.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rnncost import __version__
from rnncost.budgets.formats.findings import (
    broken,
    costliest,
    repository_path,
    sentence,
    signed_percent,
    subject,
    value_and_limit,
)
from rnncost.budgets.model import CheckResult, Finding
from rnncost.report.schema import DESCRIPTIONS
from rnncost.report.text import printable

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"error": "error", "warn": "warning"}
_HELP = (
    "Make the model cheaper, or raise the limit where the budget file sets it. "
    "'rnncost analyze MODEL' shows which operators cost most."
)


def render(result: CheckResult) -> str:
    """Limits that hold are left out: code scanning would show each result as an alert."""
    findings = broken(result)
    metrics = list(dict.fromkeys(finding.metric for finding in findings))
    files = {check.model: check.report.model.path for check in result.models}
    run = {
        "tool": {
            "driver": {
                "name": "rnncost",
                "version": __version__,
                "rules": [_rule(metric) for metric in metrics],
            }
        },
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    {"level": "warning", "message": {"text": printable(text)}}
                    for text in result.warnings
                ],
            }
        ],
        "results": [
            {
                **_result(finding, metrics.index(finding.metric)),
                "relatedLocations": [_model_location(finding, files[finding.model])],
                "partialFingerprints": {"primaryLocationLineHash": fingerprint},
            }
            for finding, fingerprint in zip(findings, _fingerprints(findings), strict=True)
        ],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _rule(metric: str) -> dict[str, Any]:
    meaning = DESCRIPTIONS.get(metric, metric)
    return {
        "id": metric,
        "name": "".join(part.capitalize() for part in metric.split("_")),
        "shortDescription": {"text": f"{metric} is over its budget"},
        "fullDescription": {"text": f"{metric}: {meaning}."},
        "help": {"text": f"{metric}: {meaning}. {_HELP}"},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["cost"]},
    }


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    value, limit = value_and_limit(finding)
    facts = {
        "model": printable(finding.model),
        "metric": finding.metric,
        "profile": finding.profile,
        "value": value,
        "limit": limit,
        "change": signed_percent(finding.change),
        "costliestOp": printable(costliest(finding)),
        "key": printable(finding.place.key),
    }
    return {
        "ruleId": finding.metric,
        "ruleIndex": rule,
        "level": _LEVELS[finding.level],
        "message": {"text": printable(sentence(finding))},
        "locations": [_limit_location(finding)],
        "properties": {name: fact for name, fact in facts.items() if fact},
    }


def _limit_location(finding: Finding) -> dict[str, Any]:
    line = finding.place.line
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(finding.place.file)},
            "region": {"startLine": line, "startColumn": 1, "endLine": line},
        }
    }


def _model_location(finding: Finding, file: str) -> dict[str, Any]:
    """The model's file where it has one, and the operator that costs most."""
    location: dict[str, Any] = {"id": 1, "message": {"text": f"{subject(finding)} of this model"}}
    if Path(file).is_file():
        location["physicalLocation"] = {"artifactLocation": {"uri": _uri(file)}}
    names = [finding.model, *([finding.costliest_op] if finding.costliest_op else [])]
    location["logicalLocations"] = [
        {
            "name": printable(names[-1]),
            "fullyQualifiedName": "::".join(map(printable, names)),
            "kind": "module" if len(names) == 1 else "function",
        }
    ]
    return location


def _uri(file: str) -> str:
    path = repository_path(file)
    quoted = quote(path.encode("utf-8", "surrogatepass"), safe="/")
    if not Path(path).is_absolute():
        return quoted
    return f"file://{quoted}" if quoted.startswith("/") else f"file:///{quoted}"


def _fingerprints(findings: Sequence[Finding]) -> Iterable[str]:
    """The same for the same limit of the same model, whatever its value and its line are now.

    It stands under the one key that code scanning reads. That one would otherwise be filled
    with a hash of the line, which is one and the same for all models that a glob matches.
    """
    seen: Counter[str] = Counter()
    for finding in findings:
        place = repository_path(finding.place.file)
        identity = [place, finding.place.key, finding.model, finding.metric, finding.profile]
        digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]
        seen[digest] += 1
        yield f"{digest}:{seen[digest]}"
