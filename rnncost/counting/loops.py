"""The values that a Loop or Scan hands from trip to trip, inside and outside its body."""

from __future__ import annotations

import msgspec

from rnncost.graph.ir import Op, Tensor


class LoopState(msgspec.Struct, frozen=True):
    """One carried value: on entry to a trip, on exit, and before and after the loop."""

    entry: Tensor
    leave: str
    initial: Tensor | None
    final: Tensor | None


def is_captured(op: Op, position: int) -> bool:
    """Whether a loop only lends its body the input at ``position``, under the same name."""
    if op.body is None or position >= len(op.body.inputs):
        return False
    outside = op.tensor(position)
    return outside is not None and outside.name == op.body.inputs[position].name


def body_inputs(op: Op) -> tuple[Tensor, ...]:
    """What a loop hands its body anew in each trip: without what it captures."""
    if op.body is None:
        return ()
    inputs = enumerate(op.body.inputs)
    return tuple([tensor for at, tensor in inputs if not is_captured(op, at)])


def loop_states(op: Op) -> tuple[LoopState, ...]:
    """The carried values of a loop, without a Loop's condition.

    A body's inputs stand in the order of its operator's: Loop has the trip number and the
    condition first, Scan the slices of its sequences after the states, and captured
    values come last. The operator's first outputs are the final values.
    Source: ONNX Loop-21 and Scan-21.
    """
    if op.body is None:
        return ()
    skipped = 2 if op.op_type == "Loop" else 0
    positions = {tensor.name: at for at, tensor in enumerate(op.body.inputs)}
    states: list[LoopState] = []
    for carried in op.carried:
        at = positions.get(carried.entry, -1)
        if at < skipped:
            continue
        result = at - skipped
        final = op.outputs[result] if result < len(op.outputs) else None
        states.append(LoopState(op.body.inputs[at], carried.exit, op.tensor(at), final))
    return tuple(states)
