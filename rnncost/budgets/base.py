"""The base of relative limits: an earlier check, or the report of one model."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import msgspec

from rnncost import __version__
from rnncost.budgets.model import SCHEMA_VERSION
from rnncost.errors import ReportError
from rnncost.report.codec import json_value, report_from_dict
from rnncost.report.consistency import require_consistent
from rnncost.report.model import Estimate, Report

if TYPE_CHECKING:
    from rnncost.profiles.schema import HardwareProfile


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """Reports to compare with, by model name; ``single`` is one that stands alone.

    ``profiles`` has the digests of the profiles' figures by name, as far as they are known.
    """

    where: str
    reports: dict[str, Report] = {}
    profiles: dict[str, str] = {}
    single: Union[Report, None] = None


def read_base(given: str | Path | Report) -> Base:
    """Read what ``check -o json:FILE`` or ``analyze -o json:FILE`` wrote.

    Raises:
        ReportError: it is neither, of another schema version, or contradicts itself.
    """
    if isinstance(given, Report):
        require_consistent(given, "the base report")
        return Base(where="the base report", single=given)
    where = str(given)
    data = json_value(_read(Path(given)), where)
    if not (isinstance(data, dict) and isinstance(data.get("models"), list)):
        report = report_from_dict(data, where)
        require_consistent(report, where)
        return Base(where=where, single=report)
    _require_version(data, where)
    reports: dict[str, Report] = {}
    for index, item in enumerate(data["models"]):
        place = f"{where} at $.models[{index}]"
        name = item.get("model") if isinstance(item, dict) else None
        if not isinstance(name, str):
            raise ReportError(f"{place}: there is no model name; write the file anew")
        if name in reports:
            raise ReportError(f"{place}: {name} is there twice; write the file anew")
        reports[name] = report_from_dict(item.get("report"), f"{place}.report")
        require_consistent(reports[name], f"{place}.report")
    profiles = data.get("profiles", {})
    if not (isinstance(profiles, dict) and all(isinstance(d, str) for d in profiles.values())):
        raise ReportError(f"{where} is faulty at $.profiles; write the file anew")
    return Base(where=where, reports=reports, profiles=profiles)


def require_overlap(base: Base, models: list[str]) -> None:
    """Refuse a base that has nothing to do with the models of a check.

    Raises:
        ReportError: none of the models is in it, or it has one report for several models,
            or that of a file of another name.
    """
    if base.single is not None:
        if len(models) != 1:
            raise ReportError(
                f"{base.where} is the report of one model and {len(models)} are checked: give "
                "what 'rnncost check -o json:FILE' wrote, or name one MODEL"
            )
        theirs, ours = base.single.model.path, models[0]
        if theirs and _file_name(theirs) != _file_name(ours):
            raise ReportError(f"{base.where} is the report of {theirs}, not of {ours}")
    elif not any(model in base.reports for model in models):
        known = ", ".join(list(base.reports)[:5]) or "none"
        raise ReportError(
            f"{base.where} has no report of {', '.join(models[:5])} (its models: {known}): "
            "make it with the same budget file"
        )


def base_report(base: Base, model: str) -> Report | None:
    """The report to compare a model with, None for a model that the base does not have."""
    return base.single if base.single is not None else base.reports.get(model)


def same_run(base: Report, report: Report, where: str, model: str, bound: set[str]) -> list[str]:
    """Hold a base report to what the counts of a report are for.

    Args:
        base: the base report.
        report: the report of the model as it is now.
        where: the name of the base in messages.
        model: the name of the model in messages.
        bound: inputs whose shapes the budget gives; those of the others are the model's own
            and may have changed with it.

    Returns:
        Sentences about differences that still leave the two comparable.

    Raises:
        ReportError: dimensions, values, given shapes or the way of counting differ.
            Dimensions of other names are the same where their sizes are, or those of all
            inputs.
    """

    def refusal(what: str, now: Any, then: Any) -> ReportError:
        return ReportError(
            f"{where} is for another run of {model}: {what} is {_shown(then)} there and "
            f"{_shown(now)} here; make the base with the same bindings"
        )

    ours, theirs = report.bindings, base.bindings
    for name in ours.dims:
        if name in theirs.dims and ours.dims[name] != theirs.dims[name]:
            raise refusal(f"dimension {name!r}", ours.dims[name], theirs.dims[name])
    for name in sorted(ours.values.keys() | theirs.values.keys()):
        now, then = ours.values.get(name), theirs.values.get(name)
        if now != then:
            raise refusal(f"the value of {name!r}", now, then)
    if ours.traced != theirs.traced:
        raise refusal("trace", ours.traced, theirs.traced)
    notes = []
    for name in filter(theirs.shapes.__contains__, ours.shapes):
        now, then = ours.shapes[name], theirs.shapes[name]
        if now != then and name in bound:
            raise refusal(f"the shape of {name!r}", now, then)
        if now != then:
            shapes = f"{_shown(then)} in the base and {_shown(now)} here"
            notes.append(f"{model}: the shape of {name!r} is {shapes}")
    if sorted(ours.shapes.values()) != sorted(theirs.shapes.values()):
        now, then = _alone(ours.dims, theirs.dims), _alone(theirs.dims, ours.dims)
        if sorted(now.values()) != sorted(then.values()):
            raise refusal("what binds the free dimensions", _listed(now), _listed(then))
        now, then = _alone(ours.shapes, theirs.shapes), _alone(theirs.shapes, ours.shapes)
        if now or then:
            inputs = f"{_listed(then)} in the base alone and {_listed(now)} here alone"
            notes.append(f"{model}: of the inputs, {inputs}")
    if base.tool.version != __version__:
        versions = f"rnncost {base.tool.version}, this is {__version__}"
        notes.append(f"{model}: the base was made by {versions}; how it counts may differ")
    return notes


def profile_digest(profile: HardwareProfile) -> str:
    """A hash of the numbers of a profile and their keys; texts, as sources, may change."""
    figures = msgspec.json.encode(_figures(msgspec.to_builtins(profile)), order="sorted")
    return hashlib.sha256(figures).hexdigest()


def require_same_profiles(base: Base, report: Report, digests: dict[str, str]) -> None:
    """Refuse a base whose estimates come from other figures under the same version.

    Only a base of this rnncost is held to that: another may know keys that this one does not.

    Raises:
        ReportError: the figures of a profile differ.
    """
    for name, digest in digests.items():
        if report.tool.version == __version__ and base.profiles.get(name, digest) != digest:
            raise ReportError(
                f"{base.where} estimates {name} for another run: the figures of the profile have "
                "changed since then; make the base anew"
            )


def base_estimate(
    base: Report, estimate: Estimate, where: str, *, same_precision: bool
) -> Estimate | None:
    """The estimate of the base for the same profile, None where it has none.

    ``same_precision`` holds it to the precision too; without, the model's own may have
    changed with it.

    Raises:
        ReportError: it is for another version of the profile, other threads or precision.
    """
    for other in base.estimates:
        if other.profile != estimate.profile:
            continue
        for key in (
            *("profile_version", "runtime", "threads"),
            *(("precision",) if same_precision else ()),
        ):
            then, now = getattr(other, key), getattr(estimate, key)
            if then != now:
                raise ReportError(
                    f"{where} estimates {estimate.profile} for another run: {key} is {then!r} "
                    f"there and {now!r} here; make the base anew"
                )
        return other
    return None


def _require_version(data: dict[str, Any], where: str) -> None:
    version, major = data.get("schema_version"), SCHEMA_VERSION.partition(".")[0]
    if not isinstance(version, str):
        raise ReportError(f"{where} is not the result of a check: it has no schema_version")
    if version.partition(".")[0] != major:
        raise ReportError(
            f"{where} has schema version {version!r} and this rnncost reads {major}.x; "
            "make the base anew with this version"
        )


def _figures(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: figures for key, inner in value.items() if (figures := _figures(inner))}
    if isinstance(value, (list, tuple)):
        return [_figures(inner) for inner in value]
    return None if value is None or isinstance(value, str) else [value]


def _alone(some: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in some.items() if name not in others}


def _listed(named: dict[str, Any]) -> str:
    return ", ".join(f"{name}={_shown(value)}" for name, value in named.items()) or "none"


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(str, value)) or "scalar"
    text = "not given" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read(path: Path) -> bytes:
    try:
        if os.path.isdir(path):
            raise ReportError(
                f"the base {path} is a folder: give the file that 'rnncost check -o json:FILE' "
                "wrote"
            )
        if not path.exists():
            raise ReportError(
                f"there is no base {path}: 'rnncost check --absolute-only -o json:{path}' on "
                "the base branch makes one"
            )
        if not (path.is_file() or path.is_fifo()):  # as <(git show main:base.json)
            raise ReportError(f"the base {path} is a device, not a file")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise ReportError(f"cannot read the base {str(path)!r}: {error}") from None
