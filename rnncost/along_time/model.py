"""The result of ``numerics``: how long each recurrent layer remembers."""

from __future__ import annotations

from typing import Any, Union

import msgspec

from rnncost.along_time.drift.model import Drift
from rnncost.report.model import Bindings

LEVELS = (5, 25, 50, 75, 95)
"""The percentages of ``Quantiles``."""


class Quantiles(msgspec.Struct, frozen=True, kw_only=True):
    """Values that 5, 25, 50, 75 and 95 % of a distribution do not exceed.

    None is a value beyond every bound; each field of this type says what that means.
    """

    p5: float | None
    p25: float | None
    p50: float | None
    p75: float | None
    p95: float | None


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a unit's state after ``steps`` steps by its gate alone.

    For each unit the median over ``windows`` stretches of so many steps of the product of the
    gate along them; the quantiles are over the units. ``log10`` holds where ``share`` is too
    small for a number; None there is a share of exactly 0. ``sequences`` are those that are
    long enough.
    """

    steps: int
    windows: int
    sequences: int
    share: Quantiles
    log10: Quantiles


class GateMemory(msgspec.Struct, frozen=True, kw_only=True):
    """How long the gate that keeps the state keeps it.

    ``gate`` is ``"forget gate"`` (LSTM) or ``"update gate"`` (GRU); ``values`` are over all
    units, steps and rows. The other quantiles are over units. ``half_life_steps`` and
    ``horizon_steps`` (1 % left) follow from the mean logarithm of a unit's gate; the measured
    ones are medians, over starting points, of the steps until the product of the gate first
    falls so far. None is a time without end: the gate never closes, or, if measured, too
    seldom within the sequence.
    ``share_shorter`` is the share of units whose 1 % horizon is shorter than the sequence.
    """

    gate: str
    values: Quantiles
    half_life_steps: Quantiles
    horizon_steps: Quantiles
    measured_half_life_steps: Quantiles | None
    measured_horizon_steps: Quantiles | None
    half_life_s: Quantiles | None
    horizon_s: Quantiles | None
    share_shorter: float
    retention: list[Retention]


class GradientNorm(msgspec.Struct, frozen=True, kw_only=True):
    """The norm of a gradient ``steps`` steps back, as log10 of its share of the first norm.

    The mean, the smallest and the largest over ``traces`` random gradients.
    """

    steps: int
    log10_mean: float
    log10_min: float
    log10_max: float
    traces: int


class GradientDecay(msgspec.Struct, frozen=True, kw_only=True):
    """How the norm of a gradient changes on its way back through time.

    ``exponent`` is the mean change of its natural logarithm a step, after the first
    ``transient_steps``; None where too few steps are left. ``vanished`` traces became exactly
    0. ``half_life_steps`` is None for a gradient that does not shrink.
    """

    rows: int
    traces: int
    steps_back: int
    transient_steps: int
    exponent: float | None
    standard_error: float | None
    half_life_steps: float | None
    vanished: int
    norms: list[GradientNorm]


class Prior(msgspec.Struct, frozen=True, kw_only=True):
    """What the weights alone suggest: the gate at zero input and state, and spectral radii.

    ``gate`` and ``half_life_steps`` are None for a cell without a gate that keeps its state.
    ``spectral_radius`` is that of each gate's block of the recurrent matrix, by its ONNX
    letter (``o`` is the output gate; ``c`` and ``h`` are candidates).
    """

    gate: Quantiles | None
    half_life_steps: Quantiles | None
    spectral_radius: dict[str, float]


class LayerMemory(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of a recurrent layer.

    ``calls`` is how often it ran, over ``sequences`` sequences of at most ``steps`` steps;
    with ``carried`` a call went on from the state of the call before. ``largest_difference``
    is that of the recomputed outputs from ONNX Runtime's, as a share of their largest value
    where that is above 1. ``withheld`` says why there are no measured figures, else it is
    empty.
    """

    name: str
    op_type: str
    direction: str
    units: int
    quantised: bool = False
    calls: int = 0
    sequences: int = 0
    steps: int = 0
    carried: bool = False
    largest_difference: float | None = None
    withheld: str = ""
    memory: GateMemory | None = None
    gradient: GradientDecay | None = None
    prior: Prior | None = None
    notes: list[str] = []


class NotAnalysed(msgspec.Struct, frozen=True, kw_only=True):
    """A recurrence without figures, and why."""

    name: str
    op_type: str
    reason: str


class InputsUsed(msgspec.Struct, frozen=True, kw_only=True):
    """What the model was run with.

    ``source`` is ``"given"``, ``"generated"``, ``"partly generated"`` or ``"none"``;
    ``generated`` says how each input that nobody gave was made. ``states`` are inputs that
    each chunk takes from an output of the chunk before.
    """

    source: str
    data: str = ""
    given: list[str] = []
    generated: dict[str, str] = {}
    seed: int | None = None
    chunks: int = 1
    states: dict[str, str] = {}


class Numerics(msgspec.Struct, frozen=True, kw_only=True):
    """What time does to a model. ``str(result)`` is a table, ``to_dict()`` plain JSON values."""

    model: str
    runtime: str
    bindings: Bindings
    inputs: InputsUsed
    step_period_s: float | None
    layers: list[LayerMemory]
    drift: Union[Drift, None] = None
    not_analysed: list[NotAnalysed] = []
    notes: list[str] = []
    warnings: list[str] = []

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values, in base units."""
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result

    def __str__(self) -> str:
        from rnncost.along_time.text import render_text

        return render_text(self)
