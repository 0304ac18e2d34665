"""The table from operator name to counting rule.

A rule is a pure function ``Op -> OpCost``. It reads shapes and attributes, knows no
hardware and no front end, and uses only ``+``, ``-``, ``*`` and ``//`` on dimensions, so
that the same rule counts with integers and with free dimensions. An operator without a
rule is never dropped: it is listed as uncounted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from rnncost.counting.cost import OpCost, UncountableError
from rnncost.graph.dim import Dim, Shape
from rnncost.graph.ir import Op, Tensor
from rnncost.units import DTYPE_BITS, FLOAT_DTYPES

Rule = Callable[[Op], OpCost]
R = TypeVar("R", bound=Rule)

ROLE_WEIGHT = "weight"  # counts as a parameter
ROLE_QUANTIZATION = "quantization"  # scales and zero points
ROLE_STATISTIC = "statistic"  # stored, not learned: running mean and variance
ROLE_CONSTANT = "constant"  # axes, shapes, scalars of a formula: not a parameter
ROLE_STATE = "state"  # an initial state: a parameter unless its stored elements are all zero


class Registered(msgspec.Struct, frozen=True):
    """A rule, and the part that each input position plays when it is a stored tensor."""

    rule: Rule
    roles: Mapping[int, str]
    default_role: str


_RULES: dict[str, Registered] = {}


def counts(
    *op_types: str,
    roles: Mapping[int, str] | None = None,
    default_role: str = ROLE_WEIGHT,
) -> Callable[[R], R]:
    """Register a rule for operators, by ONNX name or ``domain::Name``.

    ``roles`` says which inputs are parameters when they are stored tensors: position to
    one of the ``ROLE_*`` names; positions not listed play ``default_role``.
    """

    def register(rule: R) -> R:
        for op_type in op_types:
            _RULES[op_type] = Registered(rule, roles or {}, default_role)
        return rule

    return register


def find(op_type: str) -> Registered | None:
    """The rule for an operator, or None."""
    return _RULES.get(op_type)


def registered() -> tuple[str, ...]:
    """The names of all operators that have a rule, sorted."""
    return tuple(sorted(_RULES))


def shape_of(op: Op, index: int, what: str = "input") -> Shape:
    """The shape of the input at ``index``.

    Raises:
        UncountableError: the input is missing or its shape is unknown.
    """
    tensor = op.tensor(index)
    return _known(tensor, f"{what} {index}")


def output_shape(op: Op, index: int = 0) -> Shape:
    """The shape of the output at ``index``, or of the first output that is present."""
    tensor = op.outputs[index] if index < len(op.outputs) else None
    if tensor is None:
        tensor = next((t for t in op.outputs if t is not None), None)
    return _known(tensor, f"output {index}")


def has(op: Op, index: int) -> bool:
    """Whether the input at ``index`` is present."""
    return op.tensor(index) is not None


def _known(tensor: Tensor | None, what: str) -> Shape:
    if tensor is None:
        raise UncountableError(f"{what} is missing")
    if tensor.shape is None:
        raise UncountableError(f"the shape of {what} ({tensor.name}) is unknown")
    return tensor.shape


def expect(condition: bool, reason: str) -> None:
    """Refuse to count an operator whose shapes contradict its definition."""
    if not condition:
        raise UncountableError(reason)


def agree(a: Dim, b: Dim) -> bool:
    """Whether two dimensions can be equal; free dimensions are taken to fit."""
    difference = a - b
    return not isinstance(difference, int) or difference == 0


def element_bytes(op: Op, index: int) -> int:
    """The bytes of one element of the input at ``index``, at least 1."""
    tensor = op.tensor(index)
    bits = DTYPE_BITS.get(tensor.dtype, 0) if tensor is not None else 0
    expect(bits > 0, f"the element type of input {index} has no known size")
    return max(1, bits // 8)


def is_parameter(op: Op, index: int) -> bool:
    """Whether the operand at ``index`` is a stored tensor of weights, such as a bias.

    A stored operand of one element is a constant of a formula (an epsilon, a factor),
    unless it is a vector and the output's last dimension is 1: the bias of one unit.
    """
    tensor = op.tensor(index)
    if tensor is None or tensor.shape is None or not tensor.stored:
        return False
    if tensor.dtype not in FLOAT_DTYPES:
        return False
    if numel(tensor.shape) != 1:
        return True
    shape = output_shape(op)
    return len(tensor.shape) > 0 and len(shape) > 0 and shape[-1] == 1


def numel(shape: Shape) -> Dim:
    """The number of elements of a shape."""
    total: Dim = 1
    for dim in shape:
        total = total * dim
    return total
