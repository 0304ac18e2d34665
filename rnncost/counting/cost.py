"""What one operator costs, independent of hardware: the result of a counting rule."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rnncost.graph.dim import Dim

KINDS = (
    "recurrent",  # a time loop inside the operator, or a weight used again along a chain
    "product",  # matrix work: MatMul, Gemm, Conv, Einsum, attention
    "elementwise",
    "reduction",
    "normalisation",
    "data",  # moves or renames data, no arithmetic
    "control",  # If, Loop, Scan themselves; their bodies are counted apart
    "constant",  # settled before the run: shape arithmetic and constants
)


class UncountableError(Exception):
    """A rule cannot count this operator; the text is the reason that the user reads."""


class OpCost(msgspec.Struct, frozen=True, kw_only=True):
    """The work of one execution of one operator, in the words of docs/counting.md.

    Every count is for a single execution; the caller multiplies by ``executions``.
    ``weight_reads`` maps an input position to how often that stored tensor is read when
    nothing stays on chip (once unless given). ``moves`` is False for an operator that
    only renames its input (Reshape, Identity). ``params_of`` maps an input position to its
    parameters where several are packed into one stored element. ``dims`` are the letters of
    counting.md (T, B, I, H, D, G and P) and are given by recurrent operators alone;
    ``extents`` are the other letters of the formulas.
    """

    kind: str
    macs: Dim = 0
    dense_macs: Dim = 0
    sequential_macs: Dim = 0
    multiplies: Dim = 0
    adds: Dim = 0
    bias_adds: Dim = 0
    activations: Dim = 0
    state_bytes: Dim = 0
    scratch_bytes: Dim = 0
    sequential_steps: Dim = 0
    executed_steps: Dim = 0
    lookahead_steps: Dim = 0
    weight_reads: Mapping[int, Dim] = msgspec.field(default_factory=dict)
    params_of: Mapping[int, Dim] = msgspec.field(default_factory=dict)
    moves: bool = True
    textbook_params: int | None = None
    dims: Mapping[str, Dim] = msgspec.field(default_factory=dict)
    extents: Mapping[str, Dim] = msgspec.field(default_factory=dict)
    formulas: Mapping[str, str] = msgspec.field(default_factory=dict)
    notes: tuple[str, ...] = ()
