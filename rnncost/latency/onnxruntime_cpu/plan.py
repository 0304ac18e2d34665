"""Which nodes ONNX Runtime makes of the rows of a counted graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from rnncost.counting.counted import CountedOp
    from rnncost.graph.ir import Tensor


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a row after the runtime has optimised the graph.

    ``runs`` is False for a row that is settled when the model is loaded or has become part
    of another. ``as_type`` is the operator that runs in its place, with ``activations`` that it
    applies to its result and ``extra`` units of work that it took over. ``blocked`` says
    that it runs on the blocked layout; ``reordered`` are tensors that change their layout
    before or after it. ``packable`` is False where a stored operand goes through the state of a
    loop, so that it cannot be packed beforehand. ``views`` are nodes that only rename, added
    around it.
    """

    row: CountedOp
    runs: bool = True
    as_type: str = ""
    activations: tuple[str, ...] = ()
    extra: tuple[tuple[str, float], ...] = ()
    blocked: bool = False
    reordered: tuple[Tensor, ...] = ()
    packable: bool = True
    views: int = 0
