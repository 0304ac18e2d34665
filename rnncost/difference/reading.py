"""The two sides of a difference: models are analysed, reports are read and checked."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from rnncost.analysis import analyze
from rnncost.errors import BindingError, ReportError
from rnncost.report.codec import report_from_json
from rnncost.report.consistency import require_consistent
from rnncost.report.model import Report

_MODELS = (".onnx", ".pt2", ".pt", ".pth")
_BEFORE_JSON = b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"  # white space, and what marks an encoding
_ANEW = "rnncost analyze -o json:FILE"


def report_in(given: Any) -> Report | None:
    """The report that was given, or that a file holds; None for anything else, as a model.

    A file is a report if its name ends in .json or its text begins as a JSON object. It may
    be a pipe.

    Raises:
        ReportError: the file cannot be read, or holds no report of this major version, or the
            report contradicts itself.
    """
    if isinstance(given, Report):
        require_consistent(given, "the report")
        return given
    if not isinstance(given, str | Path) or str(given).endswith(_MODELS):
        return None
    path = str(given)
    named = path.endswith(".json")
    try:
        if not named and not os.path.isfile(path) and not _is_pipe(path):
            return None
        with open(path, "rb") as file:
            if stat.S_ISCHR(os.fstat(file.fileno()).st_mode):
                raise ReportError(f"{path} is a device, not a report: give a JSON file")
            start = file.read(64)
            if not (named or start.lstrip(_BEFORE_JSON).startswith(b"{")):
                return None
            report = report_from_json(start + file.read(), path)
            require_consistent(report, path)
            return report
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise ReportError(f"cannot read {path}: {reason}") from error


def analysed(
    role: str, model: Any, inputs: tuple[Any, ...], bound: dict[str, Any], *, both: bool
) -> Report:
    """Analyse one side; ``both`` says that the other side is a model too, with the same options.

    Raises:
        RnncostError: what ``analyze`` raises.
    """
    try:
        return analyze(model, inputs, symbolic=False, **bound)
    except BindingError as error:
        if not (both and any(bound[name] for name in ("dims", "shapes", "values"))):
            raise
        raise BindingError(
            f"{role}: {error}; both sides get the same options: where they need different ones, "
            f"write a report of each with {_ANEW}, and compare the reports"
        ) from error


def is_module(given: Any) -> bool:
    """Whether an object is a ``torch.nn.Module``, without importing torch."""
    kinds = {f"{c.__module__.split('.')[0]}.{c.__name__}" for c in type(given).__mro__}
    return "torch.Module" in kinds


def refuse_options(inputs: tuple[Any, ...], bound: dict[str, Any]) -> None:
    """Refuse what only holds for models.

    Raises:
        BindingError: something was given.
    """
    unset: dict[str, Any] = {"threads": 1, "trace": False, "profiles": None}
    given = [f"{k} (--{_flag(k)})" for k, v in bound.items() if _is_set(v, unset.get(k))]
    given += ["inputs"] if inputs else []
    if given:
        raise BindingError(
            f"{', '.join(given)} cannot apply: base and head are both reports, which are counted "
            "and estimated already; leave it out, or give models"
        )


def _is_set(value: Any, default: Any) -> bool:
    return value != default if default is not None else value is not None and value != {}


def _flag(argument: str) -> str:
    many = ("dims", "shapes", "values", "profiles")
    return argument[:-1] if argument in many else argument


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False
