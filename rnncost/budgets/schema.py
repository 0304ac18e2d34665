"""The JSON Schema of a budget file, for editors; docs/budget.schema.json is a copy."""

from __future__ import annotations

import json
from typing import Any

from rnncost.budgets.metrics import METRICS, Metric
from rnncost.budgets.parse import LEVELS, PRECISIONS
from rnncost.report.schema import DESCRIPTIONS
from rnncost.units import UNITS

_NUMBER = r"\+?([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"
_TEXT = {"type": "string", "minLength": 1}
_WHOLE = {"type": "integer", "minimum": 1}


def budget_json_schema() -> dict[str, Any]:
    """The JSON Schema of a budget: of rnncost.yaml, and of [tool.rnncost]."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Budgets of rnncost check",
        "type": "object",
        "additionalProperties": False,
        "required": ["models"],
        "properties": {
            "models": {
                "description": "a table for each model, or pattern such as models/*.onnx",
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {"$ref": "#/$defs/budget"},
            }
        },
        "$defs": {
            **{kind: _quantity(kind) for kind in UNITS},
            **{_limit_name(metric): _limits(metric) for metric in METRICS.values()},
            "level": {
                "description": "what breaking the limit means; error by default",
                "enum": list(LEVELS),
            },
            "profile": {"description": "name of a hardware profile, or its file", **_TEXT},
            "value": {
                "description": "a number, true or false, text, '@file.npy', or lists of these",
                "anyOf": [
                    {"type": ["number", "boolean", "string"]},
                    {"type": "array", "items": {"$ref": "#/$defs/value"}},
                ],
            },
            "budget": {
                "type": "object",
                "additionalProperties": False,
                "properties": {**_settings(), **{m.name: _metric(m) for m in METRICS.values()}},
            },
        },
    }


def budget_json_schema_text() -> str:
    """The JSON Schema as it is published."""
    return json.dumps(budget_json_schema(), indent=2)


def _settings() -> dict[str, Any]:
    return {
        "dims": _by_name("values of free dimensions", _WHOLE),
        "shapes": _by_name("shapes of inputs", {"type": "array", "items": _WHOLE}),
        "values": _by_name("values of inputs", {"$ref": "#/$defs/value"}),
        "threads": {"description": "threads of the runtime; 1 by default", **_WHOLE},
        "precision": {
            "description": "estimate as if the model ran in it",
            "enum": list(PRECISIONS),
        },
        "trace": {
            "description": "run the model once and count what was executed",
            "type": "boolean",
        },
        "profiles": {
            "description": "profiles of the limits below that name none",
            "type": "array",
            "minItems": 1,
            "items": {"$ref": "#/$defs/profile"},
        },
    }


def _by_name(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "type": "object", "additionalProperties": schema}


def _quantity(kind: str) -> dict[str, Any]:
    """A number in base units, or text with a unit."""
    units = "|".join(UNITS[kind])
    return {
        "anyOf": [
            {"type": "number", "minimum": 0},
            {"type": "string", "pattern": rf"^\s*{_NUMBER}\s*({units})\s*$"},
        ]
    }


def _metric(metric: Metric) -> dict[str, Any]:
    return {
        "description": DESCRIPTIONS[metric.name],
        "$ref": f"#/$defs/{_limit_name(metric)}",
    }


def _limit_name(metric: Metric) -> str:
    kind = "truth" if metric.is_truth else metric.kind
    return f"limit_of_{kind}{'_on_a_profile' if metric.estimated else ''}"


def _limits(metric: Metric) -> dict[str, Any]:
    """A limit in its short form, a table, or a list of these."""
    one = [_short(metric), _table(metric)]
    return {"anyOf": [*one, {"type": "array", "minItems": 1, "items": {"anyOf": one}}]}


def _short(metric: Metric) -> dict[str, Any]:
    return {"const": True} if metric.is_truth else {"$ref": f"#/$defs/{metric.kind}"}


def _table(metric: Metric) -> dict[str, Any]:
    keys: dict[str, Any] = {"level": {"$ref": "#/$defs/level"}}
    if metric.estimated:
        keys["profile"] = {"$ref": "#/$defs/profile"}
    table = {"type": "object", "additionalProperties": False, "properties": keys}
    if metric.is_truth:
        return table
    keys["max"] = {"description": "the largest value allowed", "$ref": f"#/$defs/{metric.kind}"}
    keys["max_increase"] = {
        "description": "by how much it may be above the base report, such as 5%",
        "$ref": "#/$defs/share",
    }
    return {**table, "anyOf": [{"required": ["max"]}, {"required": ["max_increase"]}]}
