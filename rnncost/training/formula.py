"""The bytes that a recurrent layer keeps, as a formula in its steps T and rows B."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rnncost.graph.ir import Op
from rnncost.training.layers import layer_memory
from rnncost.training.recurrent import Shape


class Coefficients(msgspec.Struct, frozen=True):
    """``each``·T·B + ``row``·B + ``once`` bytes."""

    each: int = 0
    row: int = 0
    once: int = 0

    def plus(self, other: Coefficients) -> Coefficients:
        return Coefficients(self.each + other.each, self.row + other.row, self.once + other.once)

    def __str__(self) -> str:
        terms = ((self.each, "*T*B"), (self.row, "*B"), (self.once, ""))
        return " + ".join(f"{n}{name}" for n, name in terms if n) or "0"


def layer_coefficients(
    op: Op, shape: Shape, *, given_states: bool, copied_input: bool
) -> Coefficients:
    """What a layer keeps beside tensors of the graph, without the pages of oneDNN's workspace."""

    def kept(steps: int, batch: int) -> int:
        part = msgspec.structs.replace(shape, steps=steps, batch=batch, rows=steps * batch)
        return layer_memory(
            op, part, given_states=given_states, copied_input=copied_input, paged=False
        ).kept_bytes

    return _bilinear(kept)


def _bilinear(value: Callable[[int, int], int]) -> Coefficients:
    """The coefficients of a·T·B + b·B + c, from three of its values."""
    base, longer, wider = value(2, 2), value(3, 2), value(2, 3)
    each = (longer - base) // 2
    row = wider - base - 2 * each
    return Coefficients(each, row, base - 4 * each - 2 * row)
