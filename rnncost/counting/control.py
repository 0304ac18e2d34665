"""Control flow: the operators themselves cost nothing, their bodies are counted apart."""

from __future__ import annotations

from rnncost.counting.cost import OpCost
from rnncost.counting.registry import ROLE_STATE, counts
from rnncost.graph.ir import Op


@counts("If", "Loop", "Scan", "SequenceMap", default_role=ROLE_STATE)
def control(op: Op) -> OpCost:
    """A branch or a loop; its body is counted as a graph of its own."""
    return OpCost(kind="control", moves=False)
