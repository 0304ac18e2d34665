"""A model, its variants, and what each buys and costs."""

from __future__ import annotations

from typing import Any, Union

import msgspec

from rnncost.report.model import Report
from rnncost.runtime.machine import Machine


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A variant timed in ONNX Runtime beside the model as it is, in the same rounds.

    ``seconds`` is the median over the rounds of the best run of each, ``ratio`` that over the
    model's own, ``noise`` as in ``rnncost.runtime.timing.Timing``.
    """

    seconds: float
    ratio: float
    noise: float


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how designs were timed.

    ``profile`` is the one whose estimated ratios the measured ones are held against: that
    of this machine, else the first of a CPU; None where there is none. ``noise`` is that of
    the reference kernel between the runs.
    """

    machine: Machine
    runtime: str
    rounds: int
    noise: float
    profile: Union[str, None] = None


class RealTime(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a design keeps up with its input on one profile.

    ``steps`` time steps are handled in one run, which takes ``latency_s``. ``signal_s`` is how
    long the input of a run takes to arrive, ``real_time_factor`` the latency over it.
    ``algorithmic_latency_s`` is what must have arrived before the first output, besides
    computing. ``streams`` is how many inputs one device handles one after the other in real
    time, ``batch`` the largest batch that keeps up, 0 where not even one row does and None
    where the batch cannot be changed.
    """

    profile: str
    steps: int
    latency_s: float
    signal_s: float
    real_time_factor: float
    algorithmic_latency_s: float
    streams: int
    batch: Union[int, None] = None


class Design(msgspec.Struct, frozen=True, kw_only=True):
    """The model as it is, or one variant of it.

    ``policy`` is "same hidden size" or "same output width" where the change is one of width,
    else None. ``figures`` are what is compared, by the metric's name (``latency_s@PROFILE``,
    ``energy_j@PROFILE``, ``dram_bytes@PROFILE`` for estimates), and ``ratios`` those over the
    figures of the model as it is; a figure whose base is zero has none. Figures are those of
    the report, but that a variant in another precision has its bytes in that precision.
    ``one_more_step_s`` is, by profile, what the estimate grows by with one more time step.
    ``reasons`` say in words what changed and why, each from the numbers. ``notes`` are what
    the rewriting had to decide.
    """

    name: str
    policy: Union[str, None] = None
    report: Report
    figures: dict[str, Union[int, float]] = {}
    ratios: dict[str, float] = {}
    one_more_step_s: dict[str, float] = {}
    reasons: list[str] = []
    notes: list[str] = []
    real_time: list[RealTime] = []
    measured: Union[Measured, None] = None

    @property
    def title(self) -> str:
        """The name, with the policy where there is one."""
        return self.name if self.policy is None else f"{self.name}, {self.policy}"


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A variant that cannot be made, and why."""

    name: str
    reason: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A model beside its variants. ``str(comparison)`` is a table, ``to_dict()`` JSON.

    ``step_period_s`` is the time between two steps of the recurrent layers and ``chunk`` how
    many are handled in one run, where they were given. ``timed`` is set where designs were timed.
    """

    base: Design
    variants: list[Design]
    skipped: list[Skipped] = []
    warnings: list[str] = []
    step_period_s: Union[float, None] = None
    chunk: Union[int, None] = None
    timed: Union[Timed, None] = None

    @property
    def designs(self) -> list[Design]:
        """The model as it is, then its variants."""
        return [self.base, *self.variants]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain JSON values, in base units."""
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result

    def __str__(self) -> str:
        from rnncost.comparison.text import render_text

        return render_text(self)

    def _repr_html_(self) -> str:
        from rnncost.comparison.text import render_html

        return render_html(self)
