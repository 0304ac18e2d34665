"""From a budget file's values to tables of bindings and limits, each with its place."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import msgspec

from rnncost.budgets.document import Node, shown
from rnncost.budgets.metrics import METRICS, Metric
from rnncost.budgets.model import Level, Limit, Place
from rnncost.errors import BudgetError, nearest
from rnncost.profiles.reader import Document
from rnncost.profiles.reader import Place as Line
from rnncost.units import LARGEST_QUANTITY, parse_quantity

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8")
LEVELS: tuple[Level, ...] = ("warn", "error")
NAMED_SETTINGS = ("dims", "shapes", "values")
SETTINGS = (*NAMED_SETTINGS, "threads", "precision", "trace", "profiles")
TABLE_KEYS = (*SETTINGS, *METRICS)
LIMIT_KEYS = ("max", "max_increase", "profile", "level")
TRUTH_KEYS = ("profile", "level")

_DEEPEST_VALUE = 16
_LARGEST_SIZE = 2**63 - 1
_SUFFIXES = frozenset(("onnx", "pt2"))


class Setting(msgspec.Struct, frozen=True):
    """What a table settles about the run of a model, and where."""

    value: Any
    place: Place


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """The budget of the models that match a pattern.

    ``settings`` are by their keys: ``("dims", "seq")``, ``("threads",)``.
    """

    pattern: str
    place: Place
    settings: dict[tuple[str, ...], Setting]
    limits: list[Limit]


def parse_budget(root: Node) -> list[Table]:
    """The tables of a budget, one a pattern, in the order of the file.

    Raises:
        BudgetError: a key is unknown, or a value is of the wrong kind; the message has the
            file, the line and the key.
    """
    tables = [
        _table(pattern, node)
        for _, models in root.items(("models",))
        for pattern, node in models.items()
    ]
    if not tables:
        raise root.fault('there is no budget: add a table as models."models/*.onnx"')
    return tables


def limits_of(metrics: Mapping[str, Any], place: Place) -> list[Limit]:
    """Limits from plain Python values: ``{"macs": "10M", "latency_s": {"max": ..., ...}}``.

    Raises:
        BudgetError: as ``parse_budget``; the messages begin with the file and line given.
    """
    document = Document(metrics, {(): Line(place.file, place.line)}, ())
    root = Node(dict(metrics), (), document)
    return [
        limit
        for name, node in root.items(tuple(METRICS))
        for limit in _limits(METRICS[name], node, ())
    ]


def amount_of(node: Node, kind: str) -> Fraction:
    """A number or a text with a unit, exactly as it is written.

    Raises:
        BudgetError: it is neither, below 0, infinite or beyond all bounds.
    """
    value = node.value
    if isinstance(value, str):
        try:
            return parse_quantity(value, kind)
        except ValueError as error:
            raise node.fault(str(error)) from None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise node.fault(f"must be a number or text with a unit, got {shown(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise node.fault(f"must be a finite number, got {value}")
    if value < 0:
        raise node.fault(f"must not be below 0, got {shown(value)}")
    if value > LARGEST_QUANTITY:
        raise node.fault("is larger than any figure of a report")
    return Fraction(repr(value))


def _table(pattern: str, node: Node) -> Table:
    if isinstance(node.value, dict):
        for suffix in _SUFFIXES & node.value.keys():  # TOML took the dot of the name for its own
            raise node.child(suffix).fault(f'put the name in quotes: models."{pattern}.{suffix}"')
    keys = node.items(TABLE_KEYS)
    settings: dict[tuple[str, ...], Setting] = {}
    for key, child in keys:
        if key in NAMED_SETTINGS:
            for name, inner in child.items():
                settings[key, name] = Setting(_SETTINGS[key](inner), inner.place)
        elif key in SETTINGS:
            settings[key,] = Setting(_SETTINGS[key](child), child.place)
    profiles = settings.pop(("profiles",), Setting((), node.place)).value
    limits = [
        limit
        for key, child in keys
        if key in METRICS
        for limit in _limits(METRICS[key], child, profiles)
    ]
    return Table(pattern=pattern, place=node.place, settings=settings, limits=limits)


def _limits(metric: Metric, node: Node, profiles: tuple[str, ...]) -> list[Limit]:
    """The limits of one metric: a short form, a table, or a list of these."""
    if not isinstance(node.value, list):
        return _one(metric, node, profiles)
    if not node.value:
        raise node.fault("the list is empty: give a limit or remove the key")
    return [limit for item in node.elements() for limit in _one(metric, item, profiles)]


def _one(metric: Metric, node: Node, profiles: tuple[str, ...]) -> list[Limit]:
    """The limits of a short form or a table: one for each bound and profile."""
    whole = isinstance(node.value, dict)
    keys = (TRUTH_KEYS if metric.is_truth else LIMIT_KEYS) if whole else ()
    given = dict(node.items(keys)) if whole else {}
    level = _level(given["level"]) if "level" in given else "error"
    bounds = _truth(node) if metric.is_truth else _bounds(metric, node, given)
    return [
        Limit(metric=metric.name, profile=profile, level=level, **bound)
        for profile in _profiles_of(metric, node, given, profiles)
        for bound in bounds
    ]


def _truth(node: Node) -> list[dict[str, Any]]:
    if not isinstance(node.value, dict) and node.value is not True:
        raise node.fault(f"must be true, or a table with a level, got {shown(node.value)}")
    return [{"place": node.place}]


def _bounds(metric: Metric, node: Node, given: dict[str, Node]) -> list[dict[str, Any]]:
    if not isinstance(node.value, dict):
        return [{"maximum": _maximum(metric, node), "place": node.place}]
    bounds: list[dict[str, Any]] = []
    if "max" in given:
        limit = given["max"]
        bounds.append({"maximum": _maximum(metric, limit), "place": limit.place})
    if "max_increase" in given:
        limit = given["max_increase"]
        bounds.append({"max_increase": _increase(limit), "place": limit.place})
    if not bounds:
        raise node.fault("sets no limit: give max or max_increase")
    return bounds


def _maximum(metric: Metric, node: Node) -> int | float:
    """The bound of a metric; of whole numbers the next one below, which is as strict."""
    amount = amount_of(node, metric.kind)
    if metric.kind == "share" and amount > 1:
        raise node.fault(f"is a share, at most 1 or 100%, got {shown(node.value)}")
    return math.floor(amount) if metric.whole else float(amount)


def _increase(node: Node) -> float:
    share = amount_of(node, "share")
    percent = isinstance(node.value, str) and node.value.rstrip().endswith("%")
    if share >= 1 and not percent:
        text = f"{float(share):g}"
        raise node.fault(
            f"would allow {float(100 * share):g} % more: write '{text}%', "
            f"or '{float(100 * share):g}%' if that is meant"
        )
    return float(share)


def _profiles_of(
    metric: Metric, node: Node, given: dict[str, Node], profiles: tuple[str, ...]
) -> tuple[str | None, ...]:
    if "profile" in given:
        if not metric.estimated:
            raise given["profile"].fault(f"{metric.name} is the same on every profile: remove it")
        return (_profile(given["profile"]),)
    if not metric.estimated:
        return (None,)
    if not profiles:
        raise node.fault(
            f"needs a profile: write {{{'' if metric.is_truth else 'max = …, '}"
            "profile = …}, or give the table profiles = […]"
        )
    return profiles


def _level(node: Node) -> Level:
    for level in LEVELS:
        if node.value == level:
            return level
    hint = nearest(node.value, LEVELS) if isinstance(node.value, str) else ""
    raise node.fault(f"must be 'warn' or 'error', got {shown(node.value)}{hint}")


def _profile(node: Node) -> str:
    """A profile as ``load_profile`` takes it; a file's path starts at the budget's folder."""
    text = node.value
    if not isinstance(text, str) or not text:
        raise node.fault(f"must be the name or the file of a profile, got {shown(text)}")
    if text.endswith((".yaml", ".yml")) or "/" in text or "\\" in text:
        return os.path.normpath(os.path.join(os.path.dirname(node.place.file) or ".", text))
    return text


def _profiles(node: Node) -> tuple[str, ...]:
    if not isinstance(node.value, list) or not node.value:
        raise node.fault(f"must be a list of profile names, got {shown(node.value)}")
    return tuple(map(_profile, node.elements()))


def _whole(node: Node) -> int:
    value = node.value
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise node.fault(f"must be a whole number from 1 on, got {shown(value)}")
    if value > _LARGEST_SIZE:
        raise node.fault("is larger than 2^63 - 1")
    return value


def _shape(node: Node) -> tuple[int, ...]:
    if not isinstance(node.value, list):
        raise node.fault(f"must be a list of whole numbers as [1, 576], got {shown(node.value)}")
    return tuple(map(_whole, node.elements()))


def _value(node: Node, depth: int = 0) -> Any:
    """A number, true or false, text, nested lists of them, or ``"@file.npy"``."""
    value = node.value
    if isinstance(value, list) and depth < _DEEPEST_VALUE:
        return [_value(item, depth + 1) for item in node.elements()]
    if isinstance(value, float) and not math.isfinite(value):
        raise node.fault(f"must be a finite number, got {value}")
    if isinstance(value, str) and value.startswith("@") and not depth:
        return f"@{os.path.join(os.path.dirname(node.place.file), value[1:])}"
    if not isinstance(value, (int, float, str)):
        raise node.fault(f"must be a number, a list of numbers or '@file.npy', got {shown(value)}")
    return value


def _precision(node: Node) -> str:
    if node.value not in PRECISIONS:
        hint = nearest(node.value, PRECISIONS) if isinstance(node.value, str) else ""
        raise node.fault(f"must be one of {', '.join(PRECISIONS)}, got {shown(node.value)}{hint}")
    return str(node.value)


def _trace(node: Node) -> bool:
    if not isinstance(node.value, bool):
        raise node.fault(f"must be true or false, got {shown(node.value)}")
    return node.value


_SETTINGS: dict[str, Callable[[Node], Any]] = {
    "dims": _whole,
    "shapes": _shape,
    "values": _value,
    "threads": _whole,
    "precision": _precision,
    "trace": _trace,
    "profiles": _profiles,
}


def merged(tables: list[Table], model: str) -> dict[tuple[str, ...], Setting]:
    """The settings of all tables that match a model.

    Raises:
        BudgetError: two of them settle one thing differently.
    """
    settings: dict[tuple[str, ...], Setting] = {}
    for table in tables:
        for key, setting in table.settings.items():
            other = settings.setdefault(key, setting)
            if other.value != setting.value:
                here, there = setting.place, other.place
                raise BudgetError(
                    f"{here.file}:{here.line}: {here.key}: {model} matches two tables, and "
                    f"line {there.line} says {shown(other.value)} in place of "
                    f"{shown(setting.value)}"
                )
    return settings
