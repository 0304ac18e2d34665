"""Counting a whole graph: each operator's cost, its weights and traffic, and the totals."""

from __future__ import annotations

import msgspec

from rnncost.counting import rules
from rnncost.counting.counted import Counted, CountedOp, Counts
from rnncost.counting.params import attribute_weights
from rnncost.counting.recurrence import find_recurrence
from rnncost.counting.rows import build_rows, sum_rows
from rnncost.counting.scope import apply_rules
from rnncost.counting.streaming import exposes_state
from rnncost.counting.traffic import measure_traffic
from rnncost.graph.ir import Graph

__all__ = ["RULES", "Counted", "CountedOp", "Counts", "count"]

RULES = rules.MODULES
"""The modules of counting rules; importing them fills the registry."""


def count(graph: Graph) -> Counted:
    """Count every operator of a graph.

    An operator without a rule, or whose shapes are unknown, is listed in ``uncounted``;
    nothing is raised for it. Sums over the rows are the totals, steps are those of the
    longest path. The model is streamable when no output needs later input and every
    state comes in and goes out.
    """
    applied = apply_rules(graph)
    weights = attribute_weights(applied.nodes, graph.outputs)
    recurrence = find_recurrence(applied.scope)
    traffic = measure_traffic(applied.scope, applied.nodes, weights)
    rows = build_rows(applied.nodes, weights, traffic, recurrence)
    steps = recurrence.steps
    totals = msgspec.structs.replace(
        sum_rows(rows), sequential_steps=steps.sequential, executed_steps=steps.executed
    )
    return Counted(
        ops=rows,
        totals=totals,
        wavefront_steps=steps.wavefront,
        streamable=totals.lookahead_steps == 0 and exposes_state(applied.scope, recurrence),
        uncounted=applied.uncounted,
        coverage=applied.coverage,
    )
