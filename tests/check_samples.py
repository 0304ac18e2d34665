"""Results of checks for the tests of the CI formats, written by hand."""

from __future__ import annotations

from typing import Any

import msgspec
from report_samples import HOSTILE, plain, spotter

from rnncost.budgets.model import CheckResult, Finding, ModelCheck, Place
from rnncost.report.model import Report, UncountedOp

MODEL = "models/keyword_spotter.onnx"
KEY = "budgets.'models/*.onnx'"


def finding(metric: str, value: Any, limit: Any, **facts: Any) -> Finding:
    passed = value >= limit if isinstance(limit, bool) else value <= limit
    known: dict[str, Any] = {
        "model": MODEL,
        "profile": None,
        "level": "error",
        "place": Place(file="rnncost.yaml", line=7, key=f"{KEY}.{metric}"),
        "message": f"{metric} is {value} and the limit is {limit}",
    }
    return Finding(metric=metric, value=value, limit=limit, passed=passed, **(known | facts))


def complete() -> Report:
    """A report in which every operator is counted."""
    return msgspec.structs.replace(spotter(), uncounted=[], coverage=1.0)


def mixed() -> CheckResult:
    """Two errors, a warning and two limits that hold, in two models, one with a base report."""
    report = complete()
    base = msgspec.structs.replace(
        report, totals=msgspec.structs.replace(report.totals, macs=report.totals.macs // 2)
    )
    op = report.ops[3].name
    findings = [
        finding("params", 100, 1000, place=Place(file="rnncost.yaml", line=3, key="params")),
        finding(
            "macs", 1010, 1000, base=800, change=0.2625, costliest_op=op, costliest_share=0.429
        ),
        finding("weight_bytes", 2_000_000, 1_900_000, level="warn"),
        finding("latency_s", 0.00193, 0.001, profile="x86-64-server-core"),
        finding("fits", True, True, profile="cortex-m7"),
    ]
    return CheckResult(
        models=[
            ModelCheck(model=MODEL, report=report, base=base, findings=findings),
            ModelCheck(model="models/plain.onnx", report=plain(), findings=[]),
        ],
        warnings=["the base report is from another version"],
    )


def passing() -> CheckResult:
    """One model within its budget."""
    held = [finding("macs", 1000, 1000), finding("params", 1, 2)]
    return CheckResult(models=[ModelCheck(model=MODEL, report=complete(), findings=held)])


def incomplete() -> CheckResult:
    """One model within its budget, as far as its operators can be counted."""
    (model,) = passing().models
    missing = [UncountedOp("odd", "acme::Odd", "no rule")]
    report = msgspec.structs.replace(model.report, uncounted=missing, coverage=0.5)
    return CheckResult(models=[msgspec.structs.replace(model, report=report)])


def warned() -> CheckResult:
    """One model over a limit of level warn only."""
    found = [finding("macs", 1001, 1000, level="warn")]
    return CheckResult(models=[ModelCheck(model=MODEL, report=complete(), findings=found)])


def hostile(text: str) -> CheckResult:
    """A text in every place that a model, a path or a message can supply."""
    place = Place(file=f"{text}.yaml", line=1, key=text)
    facts = {"model": text, "place": place, "message": text, "costliest_op": text}
    findings = [
        finding("macs", 2, 1, **facts),
        finding("macs", 2, 1, **facts, level="warn", profile=text),
        finding("params", 1, 1, **facts),
    ]
    model = ModelCheck(model=text, report=plain(), findings=findings)
    return CheckResult(models=[model], warnings=[text])


def hostile_texts() -> tuple[str, ...]:
    """What a name could try: markup, control characters, workflow commands, and all at once."""
    commands = (
        "::error file=x::y",
        "a%0Ab%25",
        "x,line=2::z",
        "##[error]x",
        "-->",
        "]]>",
        "<![CDATA[",
    )
    characters = ("\x00", "\ufffe", "\u2028", "\ud800", "\x85")
    return (*HOSTILE, *commands, *characters, "".join((*HOSTILE, *commands, *characters)))


def many(count: int) -> CheckResult:
    """Many models, each with a broken limit, a warning and a limit that holds."""
    models = []
    for index in range(count):
        name = f"models/{'long/' * 20}model_{index}.onnx"
        findings = [
            finding("macs", 1001 + index, 1000, model=name),
            finding("weight_bytes", 2, 1, model=name, level="warn"),
            finding("params", 1, 2, model=name),
        ]
        models.append(ModelCheck(model=name, report=plain(), findings=findings))
    return CheckResult(models=models, warnings=["x" * 5000] * 100)
