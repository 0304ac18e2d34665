"""Budgets as they were written, and what a check against them found."""

from __future__ import annotations

from typing import Any, Literal, Union

import msgspec

from rnncost import __version__
from rnncost.report.model import Report, Tool

SCHEMA_VERSION = "1.0"
"""Of the JSON of a check, which a later check takes as its base."""

Level = Literal["warn", "error"]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a limit stands: the file, its line from 1 on, and the dotted key."""

    file: str
    line: int
    key: str


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """The bound of one metric, in base units.

    ``maximum`` is absolute; ``max_increase`` is a share of the value in a base report, so
    that 0.05 allows 5 % more. ``profile`` is set for what an estimate gives (latency_s,
    energy_j, dram_bytes, fits); the values of ``fits`` and ``streamable`` must be true.
    """

    metric: str
    profile: Union[str, None] = None
    maximum: Union[int, float, None] = None
    max_increase: Union[float, None] = None
    level: Level = "error"
    place: Place


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One limit held against one model.

    ``limit`` is the bound in base units, that of a relative limit too; ``base`` the value
    in the base report and ``change`` the value over it less 1, None without a base report.
    ``costliest_op`` is the operator with the largest part of the value, None where no
    operator has one; ``costliest_share`` is that part from 0 to 1, None where the value is
    no sum over operators. ``message`` names neither the model nor the place.
    """

    model: str
    metric: str
    profile: Union[str, None]
    level: Level
    passed: bool
    value: Union[int, float, bool]
    limit: Union[int, float, bool]
    base: Union[int, float, bool, None] = None
    change: Union[float, None] = None
    costliest_op: Union[str, None] = None
    costliest_share: Union[float, None] = None
    place: Place
    message: str


class ModelCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What was found for one model; ``report`` is what it was judged by.

    ``base`` is the report that relative limits compare with, None without one.
    """

    model: str
    report: Report
    base: Union[Report, None] = None
    findings: list[Finding]


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """The check of all models. ``str(result)`` is a table, ``to_dict()`` plain JSON values.

    ``profiles`` has the digest of each profile's figures by its name.
    """

    models: list[ModelCheck]
    warnings: list[str] = []
    profiles: dict[str, str] = {}

    @property
    def failures(self) -> list[Finding]:
        """Limits of level error that do not hold."""
        return [f for m in self.models for f in m.findings if not f.passed and f.level == "error"]

    @property
    def passed(self) -> bool:
        """Whether no limit of level error is broken; those of level warn do not count."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values, in base units; base reports are left out."""
        return {
            "schema_version": SCHEMA_VERSION,
            "tool": msgspec.to_builtins(Tool("rnncost", __version__)),
            "passed": self.passed,
            "models": [
                {
                    "model": check.model,
                    "findings": msgspec.to_builtins(check.findings),
                    "report": check.report.to_dict(),
                }
                for check in self.models
            ],
            "profiles": dict(self.profiles),
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        from rnncost.budgets.text import render_text

        return render_text(self)
