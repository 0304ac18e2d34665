"""Which stored tensors of an operator are parameters, and which only constants."""

from __future__ import annotations

import msgspec

from rnncost.counting.registry import (
    ROLE_CONSTANT,
    ROLE_STATE,
    ROLE_WEIGHT,
    Registered,
    is_parameter,
    numel,
)
from rnncost.counting.slabs import numel as slab_size
from rnncost.graph.ir import Op, Tensor
from rnncost.units import FLOAT_DTYPES

QUANTISED_DTYPES = frozenset(
    ("int32", "int16", "int8", "int4", "int2", "uint16", "uint8", "uint4", "uint2")
)
"""Stored integers that stand for real numbers once DequantizeLinear has scaled them."""


class Stored(msgspec.Struct, frozen=True):
    """A stored tensor at an input position, and the part it plays there."""

    slot: int
    tensor: Tensor
    role: str


def stored_inputs(op: Op, registered: Registered | None, kind: str | None) -> tuple[Stored, ...]:
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
        role = _role(op, slot, tensor, registered, kind)
        if role == ROLE_CONSTANT or (passes_on and role == ROLE_WEIGHT):
            continue
        result.append(Stored(slot, tensor, role))
    return tuple(result)


def _role(
    op: Op, slot: int, tensor: Tensor, registered: Registered | None, kind: str | None
) -> str:
    explicit = None if registered is None else registered.roles.get(slot)
    role = explicit or (ROLE_WEIGHT if registered is None else registered.default_role)
    if role == ROLE_STATE or (role == ROLE_WEIGHT and not explicit):
        if _is_spread(tensor) or (_is_zero(tensor) and _is_state(op, slot, role, kind)):
            return ROLE_CONSTANT
        role = ROLE_WEIGHT
    if role != ROLE_WEIGHT:
        return role
    if tensor.stored[0].dtype not in FLOAT_DTYPES:
        real = tensor.dtype in FLOAT_DTYPES and tensor.stored[0].dtype in QUANTISED_DTYPES
        return role if explicit or real else ROLE_CONSTANT
    scalar = tensor.shape is not None and numel(tensor.shape) == 1
    if scalar and not explicit and kind in (None, "elementwise") and not _is_bias(op, slot):
        return ROLE_CONSTANT
    return role


def _is_zero(tensor: Tensor) -> bool:
    return tensor.value is not None and not any(tensor.value)


def _is_spread(tensor: Tensor) -> bool:
    """Whether a tensor is one stored element, expanded: the zeros of a first state."""
    elements = sum(slab_size(slab.ranges) for slab in tensor.stored)
    return elements == 1 and tensor.shape is not None and numel(tensor.shape) != 1


def _is_state(op: Op, slot: int, role: str, kind: str | None) -> bool:
    """Whether an input is a state: by its role, or as the left operand of a stored matrix."""
    if role == ROLE_STATE:
        return True
    return slot == 0 and kind == "product" and any(map(_is_matrix, op.inputs[1:]))


def _is_matrix(tensor: Tensor | None) -> bool:
    if tensor is None or tensor.shape is None:
        return False
    return bool(tensor.stored) and len(tensor.shape) > 1


def _is_lent(op: Op, slot: int) -> bool:
    """Whether a loop's body sees the stored tensor at ``slot`` itself and so answers for it."""
    body = op.body
    return body is not None and slot < len(body.inputs) and bool(body.inputs[slot].stored)


def _is_bias(op: Op, slot: int) -> bool:
    return any(t is not None and t.shape for t in op.outputs) and is_parameter(op, slot)
