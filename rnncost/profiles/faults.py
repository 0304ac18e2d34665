"""Everything that is wrong with a profile, found at once, a line of text for each fault."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from rnncost.errors import nearest
from rnncost.profiles.quantities import NAME_PATTERN
from rnncost.profiles.reader import Document, Fault, Path
from rnncost.profiles.schema import (
    CURRENCY_PATTERN,
    RUNTIME_KINDS,
    HardwareProfile,
    MemoryLevel,
    resolved_json_schema,
)

_TYPES = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "object": "a mapping",
    "array": "a list",
    "boolean": "true or false",
}
_PATTERNS = {
    NAME_PATTERN: "lower-case letters, digits, '-' and '.', and begin with a letter or digit",
    CURRENCY_PATTERN: "the three capital letters of a currency, as USD",
}


def schema_faults(document: Document) -> list[Fault]:
    """The places where a document departs from the schema, and its numbers without end."""
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(resolved_json_schema())
    faults = number_faults(document)
    for error in validator.iter_errors(document.data):
        faults.extend(_faults_of(error, document))
    return faults


def number_faults(document: Document) -> list[Fault]:
    """The numbers that are infinite or not a number, which a JSON Schema cannot refuse."""
    return [
        Fault(document.place(path), f"{_text(path)}: must be a finite number, got {value}")
        for path, value in _floats(document.data, ())
        if not math.isfinite(value)
    ]


def sense_faults(profile: HardwareProfile, document: Document) -> list[Fault]:
    """Parts that are well formed but contradict each other."""
    return [*_runtime_faults(profile, document), *_memory_faults(profile, document)]


def _runtime_faults(profile: HardwareProfile, document: Document) -> list[Fault]:
    """An execution model that does not run on such a device."""
    if profile.kind in RUNTIME_KINDS[profile.runtime]:
        return []
    fitting = [name for name, fits in RUNTIME_KINDS.items() if profile.kind in fits]
    return [
        Fault(
            document.place(("runtime",)),
            f"runtime: {profile.runtime} does not run on a {profile.kind}; "
            f"choose one of {', '.join(fitting)}",
        )
    ]


def _memory_faults(profile: HardwareProfile, document: Document) -> list[Fault]:
    """Memory levels in the wrong order, or something without a place.

    Levels that hold weights and levels that hold activations are each in order for
    themselves: a microcontroller's flash may be smaller than its memory.
    """
    faults: list[Fault] = []

    def fault(path: Path, message: str) -> None:
        faults.append(Fault(document.place(path), f"{_text(path)}: {message}"))

    levels = list(enumerate(profile.memory))
    for held in ("weights", "activations"):
        chain = [(i, level) for i, level in levels if level.holds in ("all", held)]
        if not chain:
            fault(("memory",), f"no level holds {held}")
        for (before, near), (i, far) in pairwise(chain):
            order = f"than {near.name} before it; list the nearest level first"
            if near.size_bytes is None:
                fault(("memory", before), "only the last level may leave out size_bytes")
            elif far.size_bytes is not None and far.size_bytes.value < near.size_bytes.value:
                fault(("memory", i, "size_bytes"), f"{far.name} is smaller {order}")
            key, speed = _speed_for_one_core(far)
            if speed > _speed_for_one_core(near)[1]:
                fault(("memory", i, key), f"{far.name} is faster {order}")
    names = [level.name for level in profile.memory]
    for i, level in levels:
        if level.name in names[:i]:
            fault(("memory", i, "name"), f"{level.name!r} names an earlier level too")
        one = level.core_bandwidth_bytes_per_s
        if one is not None and level.per_core:
            message = "a level of each core has it in bandwidth_bytes_per_s; leave one out"
        elif one is not None and one.value > level.bandwidth_bytes_per_s.value:
            message = "one core cannot draw more than bandwidth_bytes_per_s"
        else:
            continue
        fault(("memory", i, "core_bandwidth_bytes_per_s"), message)
    return faults


def _speed_for_one_core(level: MemoryLevel) -> tuple[str, float]:
    if level.core_bandwidth_bytes_per_s is None:
        return "bandwidth_bytes_per_s", level.bandwidth_bytes_per_s.value
    return "core_bandwidth_bytes_per_s", level.core_bandwidth_bytes_per_s.value


def _faults_of(error: Any, document: Document) -> list[Fault]:
    path: Path = tuple(error.absolute_path)
    place = document.place(path)
    kind, expected, instance = error.validator, error.validator_value, error.instance
    if kind == "anyOf":  # an optional part: the fault lies in the branch that is not null
        parts = [e for e in error.context if e.validator_value != "null"]
        return [fault for part in parts for fault in _faults_of(part, document)]
    if kind == "additionalProperties":
        known = error.schema["properties"]
        unknown = [key for key in instance if key not in known]
        return [
            Fault(
                document.place((*path, key)),
                f"{_text((*path, key))}: unknown key{nearest(key, known)}",
            )
            for key in unknown
        ]
    if kind == "required":
        missing = next(key for key in expected if error.message.startswith(repr(key)))
        return [Fault(place, f"{_text((*path, missing))}: missing")]
    return [Fault(place, f"{_text(path)}: {_message(kind, expected, instance)}")]


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
        return f"must be {_PATTERNS.get(expected, f'of the form {expected}')}, got {shown}"
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
