"""Everything that is wrong with a profile, found at once, a line of text for each fault."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from rnncost.errors import nearest
from rnncost.profiles.reader import Document, Fault, Path
from rnncost.profiles.schema import HardwareProfile, profile_json_schema

_TYPES = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "object": "a mapping",
    "array": "a list",
    "boolean": "true or false",
}


def schema_faults(document: Document) -> list[Fault]:
    """The places where a document departs from the schema, and its numbers without end."""
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(profile_json_schema())
    faults = number_faults(document)
    for error in validator.iter_errors(document.data):
        faults.extend(_faults_of(error, document))
    return faults


def number_faults(document: Document) -> list[Fault]:
    """The numbers that are infinite or not a number, which a JSON Schema cannot refuse."""
    return [
        Fault(document.line(path), f"{_text(path)}: must be a finite number, got {value}")
        for path, value in _floats(document.data, ())
        if not math.isfinite(value)
    ]


def memory_faults(profile: HardwareProfile, document: Document) -> list[Fault]:
    """Memory levels that contradict each other or leave something without a place."""
    faults: list[Fault] = []

    def fault(path: Path, message: str) -> None:
        faults.append(Fault(document.line(path), f"{_text(path)}: {message}"))

    levels = profile.memory
    for i, (near, far) in enumerate(pairwise(levels), start=1):
        order = f"than {near.name} before it; list the nearest level first"
        if near.size_bytes is None:
            fault(("memory", i - 1), "only the last level may leave out size_bytes")
        elif far.size_bytes is not None and far.size_bytes.value < near.size_bytes.value:
            fault(("memory", i, "size_bytes"), f"{far.name} is smaller {order}")
        if far.bandwidth_bytes_per_s.value > near.bandwidth_bytes_per_s.value:
            fault(("memory", i, "bandwidth_bytes_per_s"), f"{far.name} is faster {order}")
    for held in ("weights", "activations"):
        if not any(level.holds in ("all", held) for level in levels):
            fault(("memory",), f"no level holds {held}")
    names = [level.name for level in levels]
    for i, name in enumerate(names):
        if name in names[:i]:
            fault(("memory", i, "name"), f"{name!r} names an earlier level too")
    return faults


def _faults_of(error: Any, document: Document) -> list[Fault]:
    path: Path = tuple(error.absolute_path)
    line = document.line(path)
    kind, expected, instance = error.validator, error.validator_value, error.instance
    if kind == "anyOf":  # an optional part: the fault lies in the branch that is not null
        parts = [e for e in error.context if e.validator_value != "null"]
        return [fault for part in parts for fault in _faults_of(part, document)]
    if kind == "additionalProperties":
        known = error.schema["properties"]
        unknown = [key for key in instance if key not in known]
        return [
            Fault(
                document.line((*path, key)),
                f"{_text((*path, key))}: unknown key{nearest(key, known)}",
            )
            for key in unknown
        ]
    if kind == "required":
        missing = next(key for key in expected if error.message.startswith(repr(key)))
        return [Fault(line, f"{_text((*path, missing))}: missing")]
    return [Fault(line, f"{_text(path)}: {_message(kind, expected, instance)}")]


def _message(kind: str, expected: Any, instance: Any) -> str:
    shown = _shown(instance)
    if kind == "type":
        wanted = _TYPES.get(expected, str(expected))
        if expected in ("number", "integer") and isinstance(instance, str):
            return f"must be {wanted}, got the text {shown}{_unit_hint(instance)}"
        if expected == "string" and isinstance(instance, (int, float)):
            return f"must be text, got {shown}; put it in quotes"
        if expected == "object":
            return f"must be a mapping, got {shown}"
        return f"must be {wanted}, got {shown}"
    if kind == "enum":
        names = ", ".join(map(str, expected))
        if str(instance) in map(str, expected):  # the text '1' for the number 1
            return f"must be {names}, got the text {shown}; leave out the quotes"
        hint = nearest(instance, map(str, expected)) if isinstance(instance, str) else ""
        return f"must be {'one of ' if len(expected) > 1 else ''}{names}, got {shown}{hint}"
    if kind == "exclusiveMinimum":
        return f"must be greater than {expected}, got {shown}"
    if kind == "minimum":
        return f"must be at least {expected}, got {shown}"
    if kind == "maximum":
        return f"must be at most {expected}, got {shown}"
    if kind == "minLength":
        return "must not be empty"
    if kind == "maxLength":
        return f"must have at most {expected} characters"
    if kind == "minItems":
        return f"needs at least {expected} entry"
    if kind == "maxItems":
        return f"has more than {expected} entries"
    if kind == "pattern":
        return f"must match {expected}, got {shown}"
    return f"breaks the schema's {kind} {expected!r}, got {shown}"


def _unit_hint(text: str) -> str:
    try:
        float(text)
    except ValueError:
        return "; give base units and no unit: 900 GB/s is 900e9, 64 KiB is 65536"
    return "; leave out the quotes"


def _shown(instance: Any) -> str:
    if isinstance(instance, dict):
        return "a mapping"
    if isinstance(instance, list):
        return "a list"
    text = "nothing" if instance is None else repr(instance)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _floats(data: Any, path: Path) -> list[tuple[Path, float]]:
    if isinstance(data, dict):
        return [found for key, value in data.items() for found in _floats(value, (*path, key))]
    if isinstance(data, list):
        return [found for i, value in enumerate(data) for found in _floats(value, (*path, i))]
    return [(path, data)] if isinstance(data, float) else []


def _text(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the profile"
