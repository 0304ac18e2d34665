"""The result of comparing a model with itself in other precisions."""

from __future__ import annotations

from typing import Union

import msgspec

INT8_EMULATED = "int8-emulated"
"""That of int8 where recurrent layers are left in 32 bits: these are emulated."""

PRECISIONS = ("int8", INT8_EMULATED, "qdq", "fp16", "fp16-emulated", "bf16", "fp32")
"""What a model can be compared in; ``fp32`` is the model itself, which must not drift."""

USUAL = ("int8", "qdq", "fp16", "bf16")
"""What is compared where nothing is named; int8-emulated comes with int8 where it is needed."""

RUNTIME = "ONNX Runtime"
EMULATED = "emulated"


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """How the error per step grows, by the curve that was chosen.

    ``kind`` is ``"bounded"``, ``"square root"``, ``"linear"`` or ``"geometric"``; ``formula`` is
    a curve in t, the number of steps done, and ``parameters`` are its letters. ``aicc`` has
    Akaike's corrected criterion of each curve that was tried, ``residual`` the root mean square of
    the chosen one's distance to the natural logarithm of the error, over ``points`` stretches of
    steps, which are worth ``effective_points`` independent ones.
    """

    kind: str
    formula: str
    parameters: dict[str, float]
    aicc: dict[str, float]
    residual: float
    points: int
    effective_points: float


class StateDrift(msgspec.Struct, frozen=True, kw_only=True):
    """How far one state of a layer is off, over all rows and units.

    Signal-to-noise ratios are in dB, over all steps (``snr_db``) and at the last step. One is
    None where there is no error (then ``rms_error`` is 0), where the reference is 0 at all of
    its units and where the state is not finite. ``first_below`` is the first step, from 1, whose
    ratio is below the limit, ``first_not_finite`` the first whose error is no finite number (the
    same infinity in both is no error); None is never. ``steps`` numbers the steps of the curves
    ``curve_snr_db`` and ``curve_rms_error``, at most ``MOST_POINTS`` of them. ``withheld`` says why
    there are no figures, else it is empty.
    """

    state: str
    length: int = 0
    exact: bool = False
    snr_db: Union[float, None] = None
    rms_error: Union[float, None] = None
    last_snr_db: Union[float, None] = None
    last_rms_error: Union[float, None] = None
    first_below: Union[int, None] = None
    first_below_s: Union[float, None] = None
    first_not_finite: Union[int, None] = None
    growth: Union[Growth, None] = None
    steps: list[int] = []
    curve_snr_db: list[Union[float, None]] = []
    curve_rms_error: list[Union[float, None]] = []
    withheld: str = ""


class LayerDrift(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of a recurrent layer; of a reverse one, steps are in processing order.

    ``runs_as`` says what the layer is in the quantised model. ``reason`` says why nothing is
    compared, else it is empty.
    """

    name: str
    op_type: str
    direction: str
    runs_as: str = ""
    states: list[StateDrift] = []
    reason: str = ""


class OutputDrift(msgspec.Struct, frozen=True, kw_only=True):
    """How far one output of the model is off, over all its elements and all runs.

    ``max_error`` and ``rms_error`` are in the output's unit; ``differing`` is the share of
    elements that differ. ``state`` says that it is a layer's final state, which a next run can
    take. ``by_step`` has the figures along time, and ``along`` says what a step is: ``"chunk"``
    of several, or of one run the only ``"axis N"`` that is as long as the layers' sequences. None
    is as in ``StateDrift``.
    """

    name: str
    state: bool = False
    exact: bool = False
    snr_db: Union[float, None] = None
    rms_error: Union[float, None] = None
    max_error: Union[float, None] = None
    differing: Union[float, None] = None
    along: str = ""
    by_step: Union[StateDrift, None] = None
    reason: str = ""


class PrecisionDrift(msgspec.Struct, frozen=True, kw_only=True):
    """A model in one precision beside itself.

    ``method`` is ``"ONNX Runtime"`` where that runs a model so made, ``"emulated"`` where the
    rounding, or in ``int8-emulated`` that of some layers, is put into the model. ``bytes`` is the
    size of the model as a file with its weights; of an emulated one it is computed.
    ``latency_s`` is estimated on ``Drift.profile``, ``measured_s`` measured. ``in_float`` lists
    operators with weights that stay in 32 bits.
    ``reason`` says why nothing is compared, else it is empty.
    """

    precision: str
    method: str = ""
    bytes: Union[int, None] = None
    latency_s: Union[float, None] = None
    measured_s: Union[float, None] = None
    layers: list[LayerDrift] = []
    outputs: list[OutputDrift] = []
    in_float: list[str] = []
    reason: str = ""
    notes: list[str] = []


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """A model beside itself in other precisions; ``bytes`` … are those of the model as it is."""

    limit_db: float
    bytes: int
    latency_s: Union[float, None]
    measured_s: Union[float, None]
    profile: str
    precisions: list[PrecisionDrift]
    notes: list[str] = []
