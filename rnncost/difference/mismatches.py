"""What keeps two reports from being comparable number by number, as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rnncost.difference.estimates import by_profile
from rnncost.report.model import Bindings, Estimate, Report
from rnncost.report.text import plural

_LISTED = 3
_LENGTH = 60
_CONDITIONS = {
    "profile_version": "profile version",
    "runtime": "runtime",
    "threads": "threads",
    "precision": "precision",
    "calibrated": "calibrated",
}


def mismatches(base: Report, head: Report) -> list[str]:
    """A sentence for each thing that differs beside the models, and each report's warnings."""
    return [
        *_inputs(base.bindings, head.bindings),
        *_versions(base, head),
        *_profiles(base, head),
        *_uncounted(base, head),
        *_own(base, head),
    ]


def _inputs(base: Bindings, head: Bindings) -> Iterator[str]:
    found = [
        _both(name, base.dims[name], head.dims[name])
        for name in base.dims
        if name in head.dims and base.dims[name] != head.dims[name]
    ]
    found += _shapes(base.shapes, head.shapes)
    found += [
        _both(f"the value of {name}", base.values.get(name), head.values.get(name))
        for name in dict.fromkeys((*base.values, *head.values))
        if base.values.get(name) != head.values.get(name)
    ]
    if found:
        more = f"; and {len(found) - 2 * _LISTED} more" if len(found) > 2 * _LISTED else ""
        yield f"the counts are for different inputs: {'; '.join(found[: 2 * _LISTED])}{more}"
    if base.traced != head.traced:
        yield f"only {'base' if base.traced else 'head'} is counted from a run of the model"


def _shapes(base: dict[str, list[int]], head: dict[str, list[int]]) -> list[str]:
    """Inputs of one name with different shapes; without names in common, all shapes."""
    if sorted(base.values()) == sorted(head.values()):
        return []
    shared = [name for name in base if name in head]
    if not shared:
        all_of = [", ".join(map(_shape, shapes.values())) or "none" for shapes in (base, head)]
        return [_both("the inputs", *all_of)]
    found = [
        _both(name, _shape(base[name]), _shape(head[name]))
        for name in shared
        if base[name] != head[name]
    ]
    found += [f"only base has the input {_cut(name)}" for name in base if name not in head]
    return found + [f"only head has the input {_cut(name)}" for name in head if name not in base]


def _versions(base: Report, head: Report) -> Iterator[str]:
    if base.schema_version != head.schema_version:
        yield (
            f"{_both('the schema version', base.schema_version, head.schema_version)}: keys that "
            "one of them lacks are taken as 0"
        )
    tools = [f"{report.tool.name} {report.tool.version}" for report in (base, head)]
    if tools[0] != tools[1]:
        yield f"{_both('the program', *tools)}: it may count differently"


def _profiles(base: Report, head: Report) -> Iterator[str]:
    here, there = by_profile(base), by_profile(head)
    for name, estimate in here.items():
        if name in there and (found := _conditions(estimate, there[name])):
            yield f"estimates on {_cut(name)} differ in more than the model: {'; '.join(found)}"
    for role, one, other in (("base", here, there), ("head", there, here)):
        if alone := [name for name in one if name not in other]:
            yield f"only {role} has an estimate on {_list(alone)}"


def _conditions(base: Estimate, head: Estimate) -> list[str]:
    return [
        _both(text, getattr(base, key), getattr(head, key))
        for key, text in _CONDITIONS.items()
        if getattr(base, key) != getattr(head, key)
    ]


def _uncounted(base: Report, head: Report) -> Iterator[str]:
    for role, report in (("base", base), ("head", head)):
        if report.uncounted:
            names = _list([f"{op.name} ({op.op_type})" for op in report.uncounted])
            yield (
                f"the totals of {role} leave out {plural(len(report.uncounted), 'operator')} "
                f"without a count: {names}"
            )


def _own(base: Report, head: Report) -> Iterator[str]:
    for text in dict.fromkeys((*base.warnings, *head.warnings)):
        roles = [r for r, one in (("base", base), ("head", head)) if text in one.warnings]
        yield f"{' and '.join(roles)}: {text}"


def _both(what: str, base: Any, head: Any) -> str:
    return f"{_cut(what)} is {_cut(_plain(base))} in base and {_cut(_plain(head))} in head"


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not given"}[value]
    return str(value["elements"]) if isinstance(value, dict) and "elements" in value else str(value)


def _shape(shape: list[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _list(names: list[str]) -> str:
    shown = ", ".join(map(_cut, names[:_LISTED]))
    return f"{shown} and {len(names) - _LISTED} more" if len(names) > _LISTED else shown


def _cut(text: str) -> str:
    return text if len(text) <= _LENGTH else f"{text[: _LENGTH - 1]}…"
