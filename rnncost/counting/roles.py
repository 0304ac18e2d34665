"""Which stored tensors of an operator are parameters, and which only constants."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rnncost.counting.registry import (
    ROLE_CONSTANT,
    ROLE_QUANTIZATION,
    ROLE_STATE,
    ROLE_WEIGHT,
    Registered,
    is_parameter,
    numel,
)
from rnncost.counting.slabs import Ranges
from rnncost.graph.ir import Op, Tensor
from rnncost.units import FLOAT_DTYPES

QUANTISED_DTYPES = frozenset(
    ("int32", "int16", "int8", "int4", "int2", "uint16", "uint8", "uint4", "uint2")
)
"""Stored integers that stand for real numbers once DequantizeLinear has scaled them."""


_QUANTISED_BINARY = ("com.microsoft::QLinearAdd", "com.microsoft::QLinearMul")


class Stored(msgspec.Struct, frozen=True):
    """A stored tensor at an input position, and the part it plays there."""

    slot: int
    tensor: Tensor
    role: str


class Seen:
    """What the operators so far show of the part that stored tensors play.

    ``zeros`` are slabs of nothing but zeros, by their root; ``states`` the roots of those
    that were used as a state; ``scales`` the names of scales found during the run.
    """

    __slots__ = ("scales", "states", "zeros")

    def __init__(self) -> None:
        self.zeros: dict[str, list[Ranges]] = {}
        self.states: set[str] = set()
        self.scales: set[str] = set()


def note(seen: Seen, op: Op) -> None:
    """Remember what an operator shows of its tensors."""
    _note_zeros(seen, op.inputs)
    if op.op_type == "DynamicQuantizeLinear":
        seen.scales.update(t.name for t in op.outputs[1:2] if t is not None)


def _note_zeros(seen: Seen, tensors: Iterable[Tensor | None]) -> None:
    """Remember the stored tensors among ``tensors`` whose elements are known and all zero.

    A view of them may be too large for its elements to be known: the states of a large
    batch, expanded from those of one row.
    """
    for tensor in tensors:
        if tensor is None or tensor.value is None or tensor.dtype not in FLOAT_DTYPES:
            continue
        if len(tensor.stored) == 1 and not any(tensor.value):
            slab = tensor.stored[0]
            known = seen.zeros.setdefault(slab.root, [])
            if slab.ranges not in known:
                known.append(slab.ranges)


def stored_inputs(
    op: Op, registered: Registered | None, kind: str | None, seen: Seen
) -> tuple[Stored, ...]:
    """The stored inputs of an operator that count towards its weights.

    ``kind`` is the cost kind of its rule, None where no rule was applied. An operator that
    only passes stored tensors on (Transpose of a weight) leaves the weights to the
    operators that use them, and keeps scales and zero points.
    """
    result: list[Stored] = []
    passes_on: bool | None = None
    for slot, tensor in enumerate(op.inputs):
        if tensor is None or not tensor.stored or _is_lent(op, slot):
            continue
        if passes_on is None:
            passes_on = all(t.stored for t in op.outputs if t is not None) and any(op.outputs)
        role = _role(op, slot, tensor, registered, kind, seen)
        if role == ROLE_CONSTANT or (passes_on and role == ROLE_WEIGHT):
            continue
        result.append(Stored(slot, tensor, role))
    return tuple(result)


def _role(
    op: Op,
    slot: int,
    tensor: Tensor,
    registered: Registered | None,
    kind: str | None,
    seen: Seen,
) -> str:
    explicit = None if registered is None else registered.roles.get(slot)
    role = explicit or (ROLE_WEIGHT if registered is None else registered.default_role)
    if role == ROLE_CONSTANT:
        return role
    if tensor.stored[0].dtype not in FLOAT_DTYPES and role in (ROLE_WEIGHT, ROLE_STATE):
        quantised = tensor.stored[0].dtype in QUANTISED_DTYPES
        if not quantised or not (tensor.dtype in FLOAT_DTYPES or explicit == ROLE_WEIGHT):
            return ROLE_CONSTANT
    if role == ROLE_STATE or (role == ROLE_WEIGHT and not explicit):
        if _is_spread(tensor):
            return ROLE_CONSTANT
        if _is_state(op, slot, role, kind, seen) and _is_zero(tensor, seen):
            seen.states.update(slab.root for slab in tensor.stored)
            return ROLE_CONSTANT
        role = ROLE_WEIGHT
    if role != ROLE_WEIGHT:
        return role
    if op.op_type == "Mul" and any(t is not None and t.name in seen.scales for t in op.inputs):
        return ROLE_QUANTIZATION
    scalar = tensor.shape is not None and numel(tensor.shape) == 1
    if not scalar or (explicit and op.op_type not in _QUANTISED_BINARY):
        return role
    # What is settled before the run (kind None) adds no bias to anything.
    constant = kind is None or (kind == "elementwise" and not _is_bias(op, slot))
    return ROLE_CONSTANT if constant else role


def _is_zero(tensor: Tensor, seen: Seen) -> bool:
    if tensor.value is not None:
        return not any(tensor.value)
    return all(
        any(_contains(whole, slab.ranges) for whole in seen.zeros.get(slab.root, ()))
        for slab in tensor.stored
    )


def _contains(whole: Ranges, part: Ranges) -> bool:
    """Whether a slab without gaps covers another of the same root."""
    return all(
        step == 1 and start <= low and high <= stop
        for (start, stop, step), (low, high, _) in zip(whole, part, strict=True)
    )


def _is_spread(tensor: Tensor) -> bool:
    """Whether a tensor is one stored element, expanded: the zeros of a first state."""
    if len(tensor.stored) != 1 or tensor.shape is None:
        return False
    ranges = tensor.stored[0].ranges
    return all(stop - start <= step for start, stop, step in ranges) and numel(tensor.shape) != 1


def _is_state(op: Op, slot: int, role: str, kind: str | None, seen: Seen) -> bool:
    """Whether an input, if it is all zero, is a state.

    By its role; as the left operand of a stored matrix, and from then on wherever it is
    used; or, where exporters store a copy for each use, as what a gate of its own shape
    multiplies (an LSTM cell's f∘c) or what a new state is taken from (a GRU cell's h−n).
    """
    if role == ROLE_STATE:
        return True
    tensor = op.inputs[slot]
    if slot == 0 and kind == "product" and any(map(_is_matrix, op.inputs[1:])):
        return True
    if kind != "elementwise" or tensor is None or not _is_matrix(tensor):
        return False
    if op.op_type == "Mul" or (op.op_type == "Sub" and slot == 0):
        return any(t is not None and t.shape == tensor.shape for t in op.outputs)
    return all(slab.root in seen.states for slab in tensor.stored)


def _is_matrix(tensor: Tensor | None) -> bool:
    if tensor is None or tensor.shape is None:
        return False
    return bool(tensor.stored) and len(tensor.shape) > 1


def _is_lent(op: Op, slot: int) -> bool:
    """Whether a loop's body sees the stored tensor at ``slot`` itself and so answers for it."""
    body = op.body
    return body is not None and slot < len(body.inputs) and bool(body.inputs[slot].stored)


def _is_bias(op: Op, slot: int) -> bool:
    output = next((t for t in op.outputs if t is not None and t.shape), None)
    if output is None or not output.shape:
        return False
    if op.op_type in _QUANTISED_BINARY:
        tensor = op.inputs[slot]
        return tensor is not None and bool(tensor.shape) and output.shape[-1] == 1
    return is_parameter(op, slot)
