"""One design as a graph: what the closed forms stand for.

A design is ``torch.nn.LSTM(inputs, hidden, layers, bidirectional=...)``, ``GRU`` or ``RNN``, of
which the output sequence is used: one recurrent operator a layer, two bias vectors a gate, states
of zeros, and nothing between the layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Union

import msgspec

from rnncost.counting.count import Counted, count
from rnncost.graph.ir import AttrValue, Graph, Op, Slab, Tensor
from rnncost.latency import estimate
from rnncost.latency.arrays import Cell
from rnncost.latency.arrays.layer import GATES

if TYPE_CHECKING:
    from rnncost.profiles.schema import HardwareProfile
    from rnncost.report.model import Estimate

DTYPE = "float32"


class Design(msgspec.Struct, frozen=True, kw_only=True):
    """One point of a design space. ``precision`` is that of its estimates and bytes."""

    cell: Cell
    directions: int
    layers: int
    hidden: int
    inputs: int
    steps: int
    batch: int
    precision: Union[str, None] = None


def counted(design: Design) -> Counted:
    """The count of a design by the rules that count any model."""
    return count(graph_of(design))


def estimated(design: Design, profile: HardwareProfile, *, threads: int = 1) -> Estimate:
    """The estimate of a design by the models that estimate any graph."""
    return estimate(counted(design), profile, threads=threads, precision=design.precision)


def graph_of(design: Design) -> Graph:
    """The operators of a design."""
    t, b, d, h = design.steps, design.batch, design.directions, design.hidden
    x = given = Tensor("x", DTYPE, (t, b, design.inputs))
    ops: list[Op] = []
    for number in range(design.layers):
        made = (t, d, b, h), *[(d, b, h)] * (2 if design.cell == "lstm" else 1)
        outputs = [Tensor(f"y{at}.l{number}", DTYPE, shape) for at, shape in enumerate(made)]
        width = design.inputs if number == 0 else d * h
        ops.append(
            Op(
                name=f"{design.cell}.l{number}",
                op_type=design.cell.upper(),
                inputs=(x, *_weights(design, number, width)),
                outputs=tuple(outputs),
                attrs=_attributes(design),
            )
        )
        x = Tensor(outputs[0].name, DTYPE, (t, b, d * h))
    return Graph(inputs=(given,), outputs=(x,), ops=tuple(ops))


def _weights(design: Design, number: int, width: int) -> tuple[Tensor, ...]:
    d, h = design.directions, design.hidden
    columns = GATES[design.cell] * h
    shapes = {"w": (d, columns, width), "r": (d, columns, h), "b": (d, 2 * columns)}
    return tuple(
        [
            Tensor(
                name=f"{letter}.l{number}",
                dtype=DTYPE,
                shape=shape,
                stored=(Slab(f"{letter}.l{number}", DTYPE, tuple([(0, n, 1) for n in shape])),),
            )
            for letter, shape in shapes.items()
        ]
    )


def _attributes(design: Design) -> Mapping[str, AttrValue]:
    attributes: dict[str, AttrValue] = {
        "hidden_size": design.hidden,
        "direction": "bidirectional" if design.directions == 2 else "forward",
    }
    if design.cell == "gru":
        attributes["linear_before_reset"] = 1
    return attributes
