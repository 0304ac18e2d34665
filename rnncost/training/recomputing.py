"""What checkpointing computes a second time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnncost.counting.scope import Node
from rnncost.graph.dim import hint
from rnncost.training.kept import Kept
from rnncost.training.recurrent import RECURRENT


def recomputed_macs(visited: Sequence[Node], kept: Mapping[int, Kept]) -> int:
    """The forward MACs that are executed again before the backward pass.

    ``torch.utils.checkpoint`` stops as soon as everything is there that the backward pass
    needs: a last product keeps its operands, not its result, so it is not run again.
    """
    keeping = [n for n in visited if kept[n.index].tensors or kept[n.index].extra_bytes]
    if not keeping:
        return 0
    last = keeping[-1]
    again = [n for n in visited if n.index < last.index]
    if last.op.op_type in RECURRENT:
        again.append(last)
    return sum(hint(node.cost.macs * node.executions) for node in again)
