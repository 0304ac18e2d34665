"""``check``: models held to the budgets of a project."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rnncost.analysis import analyze
from rnncost.budgets.base import (
    Base,
    base_estimate,
    base_report,
    profile_digest,
    read_base,
    require_overlap,
    require_same_profiles,
    same_run,
)
from rnncost.budgets.document import locate_budget, read_budget, where
from rnncost.budgets.judge import judge
from rnncost.budgets.model import CheckResult, Finding, Limit, ModelCheck, Place
from rnncost.budgets.parse import Setting, merged, parse_budget
from rnncost.budgets.select import Selected, select
from rnncost.budgets.values import loaded
from rnncost.errors import BudgetError, RnncostError
from rnncost.profiles.store import load_profile
from rnncost.report.model import Report
from rnncost.report.text import plural

if TYPE_CHECKING:
    from rnncost.profiles.schema import HardwareProfile

Settings = dict[tuple[str, ...], Setting]
T = TypeVar("T")


def check(
    models: str | Path | Iterable[str | Path] = (),
    *,
    budget: str | Path | None = None,
    base: str | Path | Report | None = None,
    absolute_only: bool = False,
) -> CheckResult:
    """Hold models to the budgets of a project.

    Nothing is assumed: dimensions, shapes and values that a model leaves free are bound in
    its budget.

    Args:
        models: the models to check, as paths or ``"package.module:factory"``; by default
            all that the budget's patterns match.
        budget: a .yaml or .toml file; by default ``rnncost.yaml`` or ``[tool.rnncost]`` of
            ``pyproject.toml`` in the working directory.
        base: what relative limits compare with: the JSON of an earlier check, or the report
            of the one model that is checked.
        absolute_only: leave relative limits out, as to make such a base.

    Raises:
        BudgetError: the budget is missing or wrong, or does not cover a model.
        ReportError: the base is no report of these models.
        ModelError: a model cannot be read or followed.
        BindingError: a dimension, shape or value is missing or does not fit.
        ProfileError: a profile is missing or wrong.
    """
    if absolute_only and base is not None:
        raise BudgetError("--absolute-only leaves out what --base is for: give one of them")
    file = locate_budget(budget)
    tables = parse_budget(read_budget(file))
    selected, warnings = select(
        tables, file, (models,) if isinstance(models, (str, Path)) else models
    )
    settings = {model.name: merged(model.tables, model.name) for model in selected}
    limits = [limit for model in selected for limit in model.limits]
    compared = None if base is None else read_base(base)
    if compared is not None:
        require_overlap(compared, [model.name for model in selected])
    elif not absolute_only:
        _require_no_relative(limits)
    profiles = _load_profiles(limits)
    checks: list[ModelCheck] = []
    for model in selected:
        found, notes = _check(model, settings[model.name], profiles, compared)
        checks.append(found)
        warnings += notes
    return CheckResult(models=checks, warnings=warnings, profiles=_digests(profiles.values()))


def missed(model: str, report: Report) -> list[str]:
    """A sentence about operators that the totals of a model do not have; none if all are in."""
    if not report.uncounted:
        return []
    operators = plural(len(report.uncounted), "operator")
    return [f"{model}: the totals miss {operators} that cannot be counted"]


def in_keys(text: str) -> str:
    """A sentence with the keys of a budget in place of the options of the command line."""
    text = re.sub(r"--(dim|shape|value)\b", r"\1s", text)
    return re.sub(r"--(trace|profile|precision|threads)\b", r"\1", text)


def _require_no_relative(limits: Iterable[Limit]) -> None:
    for limit in limits:
        if limit.max_increase is not None:
            raise BudgetError(
                f"{where(limit.place)}: needs a base report: give --base FILE, or leave such "
                "limits out with --absolute-only"
            )


def _load_profiles(limits: Iterable[Limit]) -> dict[str, HardwareProfile]:
    """The profiles of all limits, by the text that the budget has for each.

    Raises:
        BudgetError: two different ones have one name, by which a base and a reader know them.
        ProfileError: one is missing or wrong.
    """
    loaded: dict[str, HardwareProfile] = {}
    texts: dict[str, str] = {}
    for limit in limits:
        if limit.profile is None or limit.profile in loaded:
            continue
        profile = _placed(limit.place, "", load_profile, limit.profile)
        other = texts.setdefault(profile.name, limit.profile)
        if loaded.get(other, profile) != profile:
            raise BudgetError(
                f"{where(limit.place)}: {other} and {limit.profile} are different profiles with "
                f"one name, {profile.name!r}: give one of them another"
            )
        loaded[limit.profile] = profile
    return loaded


def _digests(profiles: Iterable[HardwareProfile]) -> dict[str, str]:
    return {profile.name: profile_digest(profile) for profile in profiles}


def _check(
    model: Selected,
    settings: Settings,
    profiles: dict[str, HardwareProfile],
    compared: Base | None,
) -> tuple[ModelCheck, list[str]]:
    """One model against its limits, and what a reader must know of it.

    Without a base, relative limits are left out; their profiles are estimated on all the
    same, as the report is to be a base itself.
    """
    names = list(dict.fromkeys(limit.profile for limit in model.limits if limit.profile))
    report = _analyze(model, settings, [profiles[name] for name in names])
    estimates = dict(zip(names, report.estimates, strict=True))
    notes = [f"{model.name}: {in_keys(warning)}" for warning in report.warnings]
    notes += missed(model.name, report)
    base = base_report(compared, model.name) if compared else None
    if compared and base is None:
        notes.append(
            f"{model.name}: {compared.where} has no report of it, so no relative limit is held"
        )
    before = {}
    if compared and base is not None:
        require_same_profiles(compared, base, _digests(profiles[name] for name in names))
        bound = {name for kind, *names in settings if kind == "shapes" for name in names}
        notes += same_run(base, report, compared.where, model.name, bound)
        before = {
            name: base_estimate(
                base, estimate, compared.where, same_precision=("precision",) in settings
            )
            for name, estimate in estimates.items()
        }

    def judged(limit: Limit) -> Finding:
        name = limit.profile or ""
        return judge(
            model.name,
            limit,
            report,
            estimates.get(name),
            base=base,
            base_estimate=before.get(name),
            profile=profiles.get(name),
        )

    held = [limit for limit in model.limits if base is not None or limit.max_increase is None]
    findings = [judged(limit) for limit in held]
    return ModelCheck(model=model.name, report=report, base=base, findings=findings), notes


def _analyze(model: Selected, settings: Settings, profiles: list[HardwareProfile]) -> Report:
    options: dict[str, Any] = {"dims": {}, "shapes": {}, "values": {}}
    for (kind, *names), setting in settings.items():
        if names:
            options[kind][names[0]] = loaded(setting.value, where(setting.place))
        else:
            options[kind] = setting.value
    place = model.tables[0].place
    return _placed(
        place,
        model.name,
        lambda path: analyze(path, assume=False, profiles=profiles, symbolic=False, **options),
        model.path,
    )


def _placed(place: Place, model: str, call: Callable[[str], T], argument: str) -> T:
    """Call with a text of the budget; an error begins with where that stands."""
    try:
        return call(argument)
    except RnncostError as error:
        text = str(error)
        if not text.startswith(f"{place.file}:"):
            text = in_keys(text)
            named = f"{model}: " if model and not text.startswith(model) else ""
            text = f"{place.file}:{place.line}: {named}{text}"
        raise type(error)(text) from error
