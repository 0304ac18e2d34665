"""What a graph says is executed, and what ONNX Runtime executes, in the same form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from rnncost.graph.ir import Graph
from rnncost.runtime.profiling import profile_nodes

Executed = Counter[tuple[str, tuple[tuple[str, tuple[int, ...]], ...]]]

LOOPS = ("Loop", "Scan", "SequenceMap")
MAKES_SEQUENCE = (
    "Optional",
    "SequenceConstruct",
    "SequenceEmpty",
    "SequenceInsert",
    "SplitToSequence",
)
RUN_AS = {"CastLike": "Cast"}


def counted(graph: Graph, times: int = 1) -> Executed:
    """Executions by operator type and output types, loop bodies times their trips.

    What the front end itself puts in (the joining of stacked outputs) is left out, and so
    are sequences among the outputs, as a profile does not show them.
    """
    found: Executed = Counter()
    for op in graph.ops:
        if op.body is not None:
            found += counted(op.body, times * int(op.executions) * int(op.trips))
        elif not op.name.endswith("/joined"):
            made = () if op.op_type in MAKES_SEQUENCE else op.outputs
            outputs = tuple((t.dtype, t.shape) for t in made if t is not None)
            kind = op.op_type.split("::")[-1]
            found[RUN_AS.get(kind, kind), outputs] += times * int(op.executions)
    return +found


def run(
    model: onnx.ModelProto,
    shapes: Mapping[str, Sequence[int]],
    values: Mapping[str, Any] | None = None,
) -> Executed:
    """Executions as ONNX Runtime's profile of one run has them; an If without its outputs."""
    events = profile_nodes(model.SerializeToString(), shapes=shapes, values=values)
    return Counter(
        (e.op_type, () if e.op_type == "If" else e.outputs)
        for e in events
        if e.op_type not in LOOPS
    )
