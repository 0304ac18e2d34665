"""The pytest fixture ``rnncost_check``: a model held to limits that stand in a test.

pytest imports this in every session, so nothing but pytest is imported until a test calls it.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from inspect import signature
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rnncost.analysis import Model
    from rnncost.budgets.model import Finding, Limit, Place
    from rnncost.profiles.schema import HardwareProfile
    from rnncost.report.model import Report


@pytest.fixture(scope="session")
def rnncost_check() -> Callable[..., Report]:
    """Hold a model to limits: ``rnncost_check("model.onnx", dims={"seq": 100}, macs="10M")``."""
    return check_cost


def check_cost(
    model: Model,
    *,
    inputs: tuple[Any, ...] = (),
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Iterable[int]] | None = None,
    values: Mapping[str, Any] | None = None,
    trace: bool = False,
    profile: str | Path | HardwareProfile | None = None,
    threads: int = 1,
    precision: str | None = None,
    **limits: Any,
) -> Report:
    """Analyse a model and fail the test if it is over a limit; the report otherwise.

    Operators that cannot be counted are a Python warning.

    Args:
        model: what ``rnncost.analyze`` takes: a path, an ``onnx.ModelProto``, a
            ``torch.nn.Module`` or a ``torch.export.ExportedProgram``.
        inputs: for a module, its positional arguments.
        dims: values of free dimensions by name; none is assumed.
        shapes: shapes of inputs by name.
        values: values of inputs by name.
        trace: run the model once and count what was executed.
        profile: the hardware that latency_s and the other metrics of an estimate are for.
        threads: threads of the runtime that the estimate is for.
        precision: estimate as if the model ran in fp32, tf32, fp16, bf16 or int8.
        limits: the largest value of each metric, as a number in base units or as text with
            a unit: ``macs="10M"``, ``latency_s="5 ms"``; ``fits=True``, ``streamable=True``.

    Raises:
        AssertionError: a limit does not hold.
        RnncostError: a limit, a profile, a binding or the model is wrong.
    """
    __tracebackhide__ = True
    from rnncost.analysis import analyze
    from rnncost.budgets.checking import in_keys, missed
    from rnncost.errors import RnncostError
    from rnncost.profiles.store import load_profile

    caller = sys._getframe(1)
    place = _place(caller.f_code.co_filename, caller.f_lineno)
    try:
        loaded = load_profile(profile) if isinstance(profile, (str, Path)) else profile
        held = _limits(limits, loaded, place)
        report = analyze(
            model,
            inputs,
            dims=dims,
            shapes=shapes,
            values=values,
            trace=trace,
            assume=False,
            profiles=() if loaded is None else (loaded,),
            threads=threads,
            precision=precision,
            symbolic=False,
            sha256=False,
        )
        over = _broken(_name(model), held, report, loaded)
    except RnncostError as error:
        # What the command line binds with --dim, the caller binds with dims.
        raise type(error)(in_keys(str(error))) from None
    for sentence in missed(_name(model), report):
        warnings.warn(sentence, stacklevel=2)
    if over:
        raise AssertionError(_message(over, report))
    return report


def _place(file: str, line: int) -> Place:
    from rnncost.budgets.model import Place

    path = Path(file)
    here = Path(os.getcwd())
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return Place(file=shown.as_posix(), line=line, key="")


def _limits(given: Mapping[str, Any], profile: HardwareProfile | None, place: Place) -> list[Limit]:
    """The limits as those of a budget file, whose checks and messages they share.

    Raises:
        BudgetError: none is given, a metric is unknown, or a value is no limit of it.
    """
    from rnncost.budgets.metrics import METRICS
    from rnncost.budgets.parse import limits_of
    from rnncost.errors import BudgetError, nearest

    if not given:
        raise BudgetError("there is no limit: give one, as rnncost_check(model, macs='10M')")
    tables: dict[str, Any] = {}
    for name, limit in given.items():
        value = _number(limit)
        if name not in METRICS:
            known = (*METRICS, *signature(check_cost).parameters)
            raise BudgetError(f"there is no metric or argument {name!r}{nearest(name, known)}")
        metric = METRICS[name]
        if isinstance(value, (Mapping, list, tuple)):
            raise BudgetError(f"{name} takes the largest value alone, as {name}=10 or with a unit")
        if metric.is_truth and value is not True:
            raise BudgetError(f"{name} has no limit but {name}=True, got {value!r}")
        tables[name] = value
        if metric.estimated:
            if profile is None:
                raise BudgetError(f"{name} is of an estimate: say of which with profile='NAME'")
            bound = {} if metric.is_truth else {"max": value}
            tables[name] = {"profile": profile.name, **bound}
    return limits_of(tables, place)


def _number(value: Any) -> Any:
    """A number of NumPy as one of Python, anything else as it is."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, Real) and hasattr(value, "dtype") else value


def _broken(
    name: str, limits: Iterable[Limit], report: Report, profile: HardwareProfile | None
) -> list[Finding]:
    from rnncost.budgets.judge import judge

    findings = [
        judge(name, limit, report, report.estimates[0] if limit.profile else None, profile=profile)
        for limit in limits
    ]
    return [finding for finding in findings if not finding.passed]


def _message(over: list[Finding], report: Report) -> str:
    from rnncost.report.text import printable

    lines = [f"{over[0].model} is over budget"]
    lines += [f"  {finding.message}" for finding in over]
    if report.bindings.dims:
        dims = ", ".join(f"{name}={value}" for name, value in report.bindings.dims.items())
        lines.append(f"  (counted for {dims})")
    return "\n".join(map(printable, lines))


def _name(model: Any) -> str:
    if isinstance(model, (str, Path)):
        return str(model)
    graph = getattr(model, "graph", None)
    name = getattr(graph, "name", "")
    return name if isinstance(name, str) and name else type(model).__name__
