"""The result of counting a graph."""

from __future__ import annotations

import msgspec

from rnncost.counting.cost import OpCost
from rnncost.graph.dim import Dim
from rnncost.graph.ir import Op, Uncounted


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Every metric of counting.md, executions included; integers or free-dimension terms."""

    params: Dim = 0
    active_params: Dim = 0
    quantization_params: Dim = 0
    weight_bytes: Dim = 0
    macs: Dim = 0
    dense_macs: Dim = 0
    parallel_macs: Dim = 0
    sequential_macs: Dim = 0
    multiplies: Dim = 0
    adds: Dim = 0
    bias_adds: Dim = 0
    activations: Dim = 0
    activation_bytes: Dim = 0
    state_bytes: Dim = 0
    peak_activation_bytes: Dim = 0
    compulsory_bytes: Dim = 0
    streamed_bytes: Dim = 0
    sequential_steps: Dim = 0
    executed_steps: Dim = 0
    lookahead_steps: Dim = 0


class CountedOp(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the report: an operator, or several that are one module or one cell.

    ``cost`` is one execution of ``op`` (the first of them), ``counts`` all executions;
    ``members`` are the names of all of them.
    """

    name: str
    op: Op
    cost: OpCost
    counts: Counts
    executions: Dim
    precision: str
    members: tuple[str, ...] = ()


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """A counted graph. ``coverage`` is the share of operators that were counted."""

    ops: tuple[CountedOp, ...]
    totals: Counts
    wavefront_steps: Dim
    streamable: bool
    uncounted: tuple[Uncounted, ...]
    coverage: float
    warnings: tuple[str, ...] = ()
