"""A first budget from what models cost today, with head-room."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from rnncost.analysis import analyze
from rnncost.budgets.checking import missed
from rnncost.budgets.metrics import METRICS, value_of
from rnncost.budgets.select import model_name
from rnncost.budgets.values import loaded
from rnncost.errors import BudgetError
from rnncost.report.model import Report
from rnncost.report.text import printable
from rnncost.units import UNITS

TOTALS = (
    *("params", "weight_bytes", "macs", "streamed_bytes"),
    *("peak_activation_bytes", "sequential_steps"),
)
"""The totals that a first budget limits."""

ESTIMATES = ("latency_s", "energy_j")

_DIGITS = 3
_UNITS = {
    "bytes": ("TB", "GB", "MB", "kB", "B"),
    "seconds": ("s", "ms", "µs", "ns"),
    "joules": ("J", "mJ", "µJ", "nJ"),
}
_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))


def initial_budget(
    models: Sequence[str],
    *,
    folder: str = "",
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Iterable[int]] | None = None,
    values: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    profiles: Sequence[str] = (),
    headroom: Fraction = Fraction(1, 10),
) -> tuple[str, list[str]]:
    """A budget file, as YAML, whose limits are today's figures and head-room.

    A check with it passes as long as the models stay as they are.

    Args:
        models: paths from the working directory, or ``package.module:factory``.
        folder: the folder of the budget file.
        dims: values of free dimensions; those left out are assumed, and written down so.
        shapes: shapes of inputs.
        values: values of inputs, or ``"@file.npy"``.
        settings: ``threads``, ``precision`` and ``trace`` where they are not the default.
        profiles: names or files of the profiles to limit the latency on.
        headroom: the share that limits stand above today's figures.

    Returns:
        The text, and sentences about what was assumed or cannot be counted.

    Raises:
        RnncostError: as ``analyze`` raises, or a value of an input is too long to write.
    """
    given = {"dims": dims or {}, "shapes": shapes or {}, "values": values or {}}
    lines = [
        f'# Budgets for "rnncost check": what the models cost today and {_percent(headroom)} '
        "head-room.",
        *([] if profiles else ["# Add latency_s: {max: 5 ms, profile: NAME} to limit a latency."]),
        "models:",
    ]
    notes = []
    for model in models:
        report = analyze(
            model,
            dims=given["dims"],
            shapes=given["shapes"],
            values={
                name: loaded(value, f"--value {name}") for name, value in given["values"].items()
            },
            profiles=tuple(profiles),
            symbolic=False,
            **(settings or {}),
        )
        name = model_name(model, folder)
        assumed = [_assumed(report, dim) for dim in report.bindings.assumed]
        if assumed:
            notes.append(f"{name}: {', '.join(assumed)} is assumed; change it in the budget")
        notes += missed(name, report)
        table = {
            "dims": _dims(report, (*given["shapes"], *given["values"])),
            "shapes": {key: list(shape) for key, shape in given["shapes"].items()},
            "values": {key: _written(key, v, folder) for key, v in given["values"].items()},
            **(settings or {}),
            **_limits(report, [_profile(text, folder) for text in profiles], headroom),
        }
        lines.append(f"  {_yaml(name)}:")
        if assumed:
            lines.append(f"    # assumed: {printable(', '.join(assumed))}")
        lines += [f"    {key}: {_yaml(value)}" for key, value in table.items() if value != {}]
    return "\n".join(lines) + "\n", notes


def _dims(report: Report, given: Iterable[str]) -> dict[str, int]:
    """The dimensions that the shape or value of an input does not give by itself."""
    shapes = report.bindings.shapes
    axes = {f"{name}.{axis}" for name in given for axis in range(len(shapes.get(name, ())))}
    return {name: value for name, value in report.bindings.dims.items() if name not in axes}


def _limits(report: Report, profiles: Sequence[str], headroom: Fraction) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    for metric in TOTALS:
        limits[metric] = _limit(metric, getattr(report.totals, metric), headroom)
    for profile, estimate in zip(profiles, report.estimates, strict=True):
        for metric in ESTIMATES:
            value = value_of(metric, report, estimate)
            if value is not None:
                limit = {"max": _limit(metric, value, headroom), "profile": profile}
                limits.setdefault(metric, []).append(limit)
        if value_of("fits", report, estimate) is True:
            limits.setdefault("fits", []).append({"profile": profile})
    return {
        key: limit[0] if isinstance(limit, list) and len(limit) == 1 else limit
        for key, limit in limits.items()
    }


def _limit(metric: str, value: float, headroom: Fraction) -> int | str:
    """A value with head-room, rounded up to three digits, in a unit that suits it."""
    kind, whole = METRICS[metric].kind, METRICS[metric].whole
    bound = _rounded_up(Fraction(repr(value)) * (1 + headroom), whole=whole)
    if kind == "count":
        return int(bound)
    units = {unit: Fraction(UNITS[kind][unit][0]) ** UNITS[kind][unit][1] for unit in _UNITS[kind]}
    unit = next((u for u, scale in units.items() if bound >= scale), _UNITS[kind][-1])
    return f"{_decimal(bound / units[unit])} {unit}"


def _rounded_up(value: Fraction, *, whole: bool) -> Fraction:
    if not value:
        return value
    exponent = math.floor(math.log10(value)) - _DIGITS + 1
    step = Fraction(10) ** (max(exponent, 0) if whole else exponent)
    return math.ceil(value / step) * step


def _decimal(value: Fraction) -> str:
    """The digits of a decimal fraction: ``Fraction(3, 2)`` is ``"1.5"``."""
    places = 0
    while (value * 10**places).denominator > 1:
        places += 1
    return f"{float(value):.{places}f}"


def _percent(share: Fraction) -> str:
    return f"{float(100 * share):g} %"


def _assumed(report: Report, dim: str) -> str:
    value = report.bindings.dims.get(dim)
    return dim if value is None else f"{dim}={value}"


def _profile(text: str, folder: str) -> str:
    """A profile as the budget file names it: a file's path starts at its folder."""
    if text.endswith((".yaml", ".yml")) or "/" in text or "\\" in text:
        path = Path(os.path.relpath(text, folder or ".")).as_posix()
        return path if "/" in path or path.endswith((".yaml", ".yml")) else f"./{path}"
    return text


def _written(name: str, value: Any, folder: str) -> Any:
    """A value of an input as a budget file has it.

    Raises:
        BudgetError: it holds too many elements to stand in a file that people read.
    """
    if isinstance(value, str) and value.startswith("@"):
        return f"@{Path(os.path.relpath(value[1:], folder or '.')).as_posix()}"
    if isinstance(value, list) and len(value) > 1000:
        raise BudgetError(
            f"--value {name} has {len(value)} elements: save it with numpy.save and give "
            f"--value {name}=@FILE.npy"
        )
    return value


def _yaml(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_yaml(k)}: {_yaml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 else str(value)
    if not isinstance(value, str):
        return repr(value)
    if re.fullmatch(r"[A-Za-z_][\w.-]*|[0-9.]+ [nµmskMGTBJ]+", value, re.ASCII) and (
        value.lower() not in _WORDS
    ):
        return value
    return printable(json.dumps(value, ensure_ascii=False))  # its escapes are YAML's too
