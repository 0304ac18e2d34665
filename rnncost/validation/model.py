"""The result of a validation: a timing, the estimates for it, and both node by node."""

from __future__ import annotations

import math
from typing import Any, Literal, Union

import msgspec

from rnncost.report.model import Bindings, Estimate
from rnncost.runtime.machine import Machine
from rnncost.runtime.timing import NOISY, Timing

Verdict = Literal["within", "outside", "not judged"]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate, and how many times the measured minimum, steady time and median it is.

    The steady time is the median over the rounds of the best run of each. ``speed`` is how
    fast the machine was, in terms of what it was when the profile was calibrated (by the
    reference kernel; 1 where that is not known). The estimate over the steady time is what
    is judged.
    ``kind`` is that of the profile; only a CPU's can agree with what was timed, so only a
    CPU's is judged. ``verdict`` says on which side of the tolerance the estimate lies; it
    is None where no tolerance was given.
    """

    kind: str
    estimate: Estimate
    ratio_to_min: float
    ratio_to_steady: float
    ratio_to_median: float
    speed: float
    verdict: Union[Verdict, None] = None

    @property
    def error(self) -> float:
        """The estimate over the steady time, less 1."""
        return self.ratio_to_steady - 1


class NodeLine(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of the report and the nodes that ONNX Runtime ran for them.

    ``rows`` and ``op_types`` are those of the report; ``nodes`` and ``node_types`` those
    that were measured, which differ where nodes were fused. ``measured_s`` is None where
    ONNX Runtime runs no node for the rows; ``estimated_s`` and ``bound_by`` are by profile,
    empty where no row stands for the nodes.
    """

    rows: list[str]
    op_types: list[str]
    nodes: list[str]
    node_types: list[str]
    kinds: list[str]
    measured_s: Union[float, None]
    estimated_s: dict[str, float]
    bound_by: dict[str, str]


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    """One timing of a model, and the estimates for it.

    ``reference`` is the reference kernel that ran between the timed runs. ``nodes`` are
    ordered by measured time; ``outside_s`` is what a run takes besides them,
    None without any. ``str(validation)`` is a table, ``to_dict()`` plain JSON values.
    """

    model: str
    threads: int
    bindings: Bindings
    runtime: str
    machine: Machine
    timing: Timing
    reference: Timing
    drift: float
    comparisons: list[Comparison]
    nodes: list[NodeLine] = []
    outside_s: Union[float, None] = None
    tolerance: Union[float, None] = None
    notes: list[str] = []
    warnings: list[str] = []

    @property
    def noise(self) -> float:
        """The worse noise (see ``Timing``) of the model and of the reference kernel."""
        return max(self.timing.noise, self.reference.noise)

    @property
    def failed(self) -> bool:
        """Whether an estimate lies outside the tolerance."""
        return any(c.verdict == "outside" for c in self.comparisons)

    @property
    def advice(self) -> str:
        """What to do about a noisy machine, or ``""`` for a quiet one."""
        if self.noise <= quiet_limit(self.tolerance):
            return ""
        judged = "too noisy to judge by" if self.tolerance is not None else "noisy"
        return (
            f"the machine was {judged}: half of the rounds were {self.timing.noise - 1:.0%} "
            f"or more above the minimum (reference kernel: {self.reference.noise - 1:.0%}); "
            "close other programs, use no more threads than free cores, or give a longer "
            "--min-time"
        )

    def to_dict(self) -> dict[str, Any]:
        """The validation as plain JSON values, in base units."""
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result

    def __str__(self) -> str:
        from rnncost.validation.text import render_text

        return render_text(self)


def quiet_limit(tolerance: float | None) -> float:
    """The noise up to which a machine is quiet enough to judge by."""
    return NOISY if tolerance is None else min(NOISY, 1 + tolerance)


def judge(kind: str, ratio: float, noise: float, tolerance: float | None) -> Verdict | None:
    """On which side of the tolerance an estimate lies; only a quiet machine can tell."""
    if tolerance is None:
        return None
    if kind != "cpu" or noise > quiet_limit(tolerance):
        return "not judged"
    # The limits themselves lie within, whatever the last bit of the ratio says.
    error = abs(ratio - 1)
    return "within" if error <= tolerance or math.isclose(error, tolerance) else "outside"
