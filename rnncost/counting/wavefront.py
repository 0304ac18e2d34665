"""The steps that are left when the layers of a stack overlap."""

from __future__ import annotations

from collections.abc import Mapping

from rnncost.counting.loops import loop_states
from rnncost.counting.scope import Node, Scope
from rnncost.graph.dim import Dim
from rnncost.graph.paths import Region, larger

_FROM_START: tuple[Dim, Dim, Region | None] = (0, 0, None)


def wavefront_steps(root: Scope, steps: Mapping[int, Dim], regions: Mapping[int, Region]) -> Dim:
    """The steps when layers overlap: T + L - 1 for L layers of T steps each.

    For every tensor the step at which its first part is there and that at which all of it
    is. A causal layer starts one step after the first part of its input; one that looks
    ahead starts when all is there, as does what starts from a final state. What lies
    between layers is taken to work step by step.
    """
    ready: dict[str, tuple[Dim, Dim, Region | None]] = {}
    end: Dim = 0
    for local, node in enumerate(root.nodes):
        region = regions.get(local)
        first: Dim = 0 if region is None else 1
        last = first
        for name in node.reads:
            start, stop, source = ready.get(name, _FROM_START)
            if region is not None and source != region:
                start, stop = start + 1, stop + 1
            first, last = larger(first, start), larger(last, stop)
        own = steps.get(local)
        if own is not None:
            if node.cost.lookahead_steps == 0:
                first, last = first + 1, larger(first + own, last + 1)
            else:
                first = last = last + own
        if last == 0:
            continue
        end = larger(end, last)
        # After a single step the final state is as early as the output of the first step.
        finals = () if own is None or own == 1 else _final_outputs(node)
        for position, tensor in enumerate(node.op.outputs):
            if tensor is not None:
                start = last if position in finals else first
                ready[tensor.name] = (start, last, region)
    return end


def _final_outputs(node: Node) -> range:
    """The outputs that hold a state after the last step; the others have every step."""
    if node.cost.kind == "recurrent":
        return range(1, len(node.op.outputs))
    return range(len(loop_states(node.op)))
