"""The report: one frozen object that every output format renders.

Keys are the contract of docs/report.md. They may be added; none is renamed or dropped
without a new major ``schema_version``. All quantities are in base units.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

SCHEMA_VERSION = "1.0"

Count = Annotated[int, msgspec.Meta(ge=0)]
Amount = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Tool(msgspec.Struct, frozen=True):
    name: str
    version: str


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Where the model came from. ``opset`` maps an ONNX domain to its version."""

    path: str
    format: str
    sha256: str = ""
    producer: str = ""
    opset: dict[str, int] = msgspec.field(default_factory=dict)


class Bindings(msgspec.Struct, frozen=True, kw_only=True):
    """What the counts hold for: dimension values, input shapes and input values.

    ``assumed`` names the dimensions that nobody gave and a default stands in for.
    """

    dims: dict[str, int] = msgspec.field(default_factory=dict)
    assumed: list[str] = msgspec.field(default_factory=list)
    shapes: dict[str, list[int]] = msgspec.field(default_factory=dict)
    values: dict[str, Any] = msgspec.field(default_factory=dict)
    traced: bool = False


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """The counts shared by totals and by each operator; docs/counting.md defines them."""

    params: Count = 0
    active_params: Count = 0
    quantization_params: Count = 0
    weight_bytes: Count = 0
    macs: Count = 0
    dense_macs: Count = 0
    parallel_macs: Count = 0
    sequential_macs: Count = 0
    elementwise_ops: Count = 0
    multiplies: Count = 0
    adds: Count = 0
    bias_adds: Count = 0
    activations: Count = 0
    activation_bytes: Count = 0
    state_bytes: Count = 0
    peak_activation_bytes: Count = 0
    compulsory_bytes: Count = 0
    streamed_bytes: Count = 0
    sequential_steps: Count = 0
    executed_steps: Count = 0
    lookahead_steps: Count = 0


class Totals(Metrics, frozen=True, kw_only=True):
    """Sums of the operators; for steps the graph's longest path, for peaks the largest."""

    wavefront_steps: Count = 0
    sequential_share: Share = 0.0
    streamable: bool = True
    compulsory_arithmetic_intensity: Amount = 0.0
    streamed_arithmetic_intensity: Amount = 0.0


class OpRow(Metrics, frozen=True, kw_only=True):
    """One operator (or one module called several times).

    ``dims`` has the letters T, B, I, H, D, G of a recurrent operator; ``extents`` those
    of any other formula. ``formulas`` gives counts of one execution in those letters.
    """

    name: str
    op_type: str
    kind: str
    executions: Count = 1
    precision: str = ""
    dims: dict[str, int] = msgspec.field(default_factory=dict)
    extents: dict[str, int] = msgspec.field(default_factory=dict)
    textbook_params: Count | None = None
    formulas: dict[str, str] = msgspec.field(default_factory=dict)
    notes: list[str] = msgspec.field(default_factory=list)


OP_IDENTITY = ("name", "op_type", "kind", "executions", "precision", "dims")
"""The keys that come first in an operator's JSON object."""


class UncountedOp(msgspec.Struct, frozen=True):
    name: str
    op_type: str
    reason: str


class Fits(msgspec.Struct, frozen=True):
    """Whether weights and peak activations fit the device; None where a size is unknown."""

    weights: bool | None = None
    activations: bool | None = None


class OpEstimate(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    latency_s: Amount
    bound_by: str
    step_s: Amount | None = None
    overhead_s: Amount = 0.0
    sequential_s: Amount = 0.0
    parallel_s: Amount = 0.0
    dram_bytes: Count = 0
    level_bytes: dict[str, int] = msgspec.field(default_factory=dict)


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """The predicted latency on one profile; ``latency_s`` = overhead + parallel + sequential.

    ``step_s`` is the time of one step of the slowest recurrent operator, None without
    one. ``level_bytes`` are the bytes that come from or go to each memory level, by its
    name; ``dram_bytes`` those of the farthest. 90 % of cases are expected to lie between
    ``latency_low_s`` and ``latency_high_s``. ``calibrated`` is False for a profile made of
    data-sheet figures.
    """

    profile: str
    profile_version: str
    runtime: str
    threads: Count
    precision: str
    latency_s: Amount
    latency_low_s: Amount | None = None
    latency_high_s: Amount | None = None
    sequential_s: Amount = 0.0
    parallel_s: Amount = 0.0
    overhead_s: Amount = 0.0
    step_s: Amount | None = None
    bound_by: str = ""
    dram_bytes: Count = 0
    level_bytes: dict[str, int] = msgspec.field(default_factory=dict)
    energy_j: Amount | None = None
    fits: Fits = Fits()
    calibrated: bool = False
    notes: list[str] = msgspec.field(default_factory=list)
    ops: list[OpEstimate] = msgspec.field(default_factory=list)


class TrainingOp(msgspec.Struct, frozen=True, kw_only=True):
    """One operator in a training step, all executions. ``formula`` has ``activation_bytes`` of
    a recurrent layer, in its steps T and rows B.
    """

    name: str
    op_type: str
    forward_macs: Count = 0
    backward_data_macs: Count = 0
    backward_weight_macs: Count = 0
    activation_bytes: Count = 0
    formula: str = ""
    implementation: str = ""


class TrainingPeak(msgspec.Struct, frozen=True, kw_only=True):
    """The highest point of memory in a training step, and what it is made of.

    ``resident_bytes`` is the highest point without what is reserved and not written to.
    """

    where: str
    total_bytes: Count
    resident_bytes: Count
    parameter_bytes: Count
    optimizer_bytes: Count
    input_bytes: Count
    activation_bytes: Count
    gradient_bytes: Count
    transient_bytes: Count


class TrainingEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """The predicted time of a training step; ``step_s`` is the sum of its parts."""

    profile: str
    profile_version: str
    precision: str
    step_s: Amount
    step_low_s: Amount | None = None
    step_high_s: Amount | None = None
    forward_s: Amount
    backward_data_s: Amount
    backward_weight_s: Amount
    recompute_s: Amount
    optimizer_s: Amount
    notes: list[str] = msgspec.field(default_factory=list)


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """What a training step costs; docs/training.md defines every number.

    ``bptt_steps`` and ``checkpoint_steps`` are those of truncation and of checkpointing, None
    without. ``formula`` has the activation bytes of all recurrent layers.
    """

    optimizer: str
    runtime: str
    bptt_steps: Count | None = None
    checkpoint_steps: Count | None = None
    trained_params: Count
    forward_macs: Count
    backward_data_macs: Count
    backward_weight_macs: Count
    recomputed_macs: Count
    step_macs: Count
    parameter_bytes: Count
    gradient_bytes: Count
    optimizer_bytes: Count
    input_bytes: Count
    activation_bytes: Count
    formula: str = ""
    peak: TrainingPeak
    ops: list[TrainingOp] = msgspec.field(default_factory=list)
    uncounted: list[UncountedOp] = msgspec.field(default_factory=list)
    estimates: list[TrainingEstimate] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs. ``str(report)`` is the table, ``to_dict()`` the JSON."""

    schema_version: str = SCHEMA_VERSION
    tool: Tool
    model: ModelInfo
    bindings: Bindings
    totals: Totals
    ops: list[OpRow]
    uncounted: list[UncountedOp]
    coverage: Share
    estimates: list[Estimate] = msgspec.field(default_factory=list)
    symbolic: dict[str, str] | None = None
    training: Training | None = None
    warnings: list[str] = msgspec.field(default_factory=list)

    def __str__(self) -> str:
        from rnncost.report.table import render_table

        return render_table(self)

    def _repr_html_(self) -> str:
        from rnncost.report.html import render_html_fragment

        return render_html_fragment(self)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values, each operator's identity before its counts."""
        result: dict[str, Any] = msgspec.to_builtins(self)
        result["ops"] = [{key: row[key] for key in OP_IDENTITY} | row for row in result["ops"]]
        return result

    @classmethod
    def from_dict(cls, data: object) -> Report:
        """Rebuild a report from ``to_dict()`` or from parsed JSON.

        Raises:
            ReportError: the data is not a report, or of another major schema version.
        """
        from rnncost.report.codec import report_from_dict

        return report_from_dict(data)
