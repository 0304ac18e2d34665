"""A training step by rows of the counted graph: products, and what each row keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from rnncost.counting.counted import Counted
from rnncost.counting.scope import RUN, UNCOUNTED, Node
from rnncost.graph.dim import hint
from rnncost.graph.ir import Tensor
from rnncost.training.formula import Coefficients
from rnncost.training.gradients import Gradients
from rnncost.training.kept import Kept
from rnncost.training.products import backward_products
from rnncost.training.recurrent import RECURRENT
from rnncost.training.storage import Storages, Window


class RowCost(msgspec.Struct, frozen=True, kw_only=True):
    """All executions of one row of the counted graph, in a training step."""

    forward_macs: int = 0
    backward_data_macs: int = 0
    backward_weight_macs: int = 0
    activation_bytes: int = 0
    formula: Coefficients | None = None
    implementation: str = ""
    input_gradient: bool = False


def row_costs(
    counted: Counted,
    nodes: Sequence[Node],
    visited: Sequence[Node],
    kept: Mapping[int, Kept],
    gradients: Gradients,
    storages: Storages,
    windows: int,
) -> tuple[tuple[RowCost, ...], tuple[tuple[str, str, str], ...], list[str]]:
    """The cost of each row, what has no count, and notes."""
    place: dict[tuple[str, str], int] = {}
    for at, row in enumerate(counted.ops):
        for member in row.members:
            place.setdefault((member, row.op.op_type), at)
    rows = [RowCost() for _ in counted.ops]
    uncounted: dict[tuple[str, str, str], None] = {}
    notes: dict[str, None] = {}
    held = _given(nodes, storages)

    def add(node: Node, cost: RowCost) -> None:
        at = place.get((node.op.name, node.op.op_type))
        if at is not None:
            rows[at] = _sum(rows[at], cost)

    for node in nodes:
        if node.status == RUN and hint(node.cost.macs):
            add(node, RowCost(forward_macs=hint(node.cost.macs * node.executions)))
    for node in visited:
        times = hint(node.executions)
        name, op_type = node.op.name, node.op.op_type
        if node.status == UNCOUNTED:
            uncounted[name, op_type, node.reason] = None
            continue
        products = backward_products(node, gradients, windows)
        if products.reason:
            uncounted[name, op_type, products.reason] = None
        notes.update(dict.fromkeys(products.notes))
        bytes_, formula = _own_bytes(node, kept[node.index], storages, held)
        add(
            node,
            RowCost(
                backward_data_macs=products.data_macs * times,
                backward_weight_macs=products.weight_macs * times,
                activation_bytes=bytes_,
                formula=formula,
                implementation=kept[node.index].path,
                input_gradient=op_type in RECURRENT and gradients.asked(node, 0),
            ),
        )
    return tuple(rows), tuple(uncounted), list(notes)


def _given(nodes: Sequence[Node], storages: Storages) -> set[str]:
    """The memory of activations that no operator makes: the inputs of the graph."""
    made = {name for node in nodes for name in node.writes}
    inputs = [t for node in nodes for t in node.op.inputs if t is not None and not t.stored]
    return {storages.key(t) for t in inputs if t.value is None} - made


def _own_bytes(
    node: Node, kept: Kept, storages: Storages, held: set[str]
) -> tuple[int, Coefficients | None]:
    """The bytes that an operator is the first to keep, and their formula if it is a layer."""
    total = kept.extra_bytes * hint(node.executions)
    formula = kept.coefficients
    for tensor in kept.tensors:
        key = storages.key(tensor)
        if key in held:
            continue
        held.add(key)
        nbytes = storages.held_bytes(tensor)
        total += nbytes
        if formula is not None:
            formula = formula.plus(_coefficient(node, tensor, nbytes, storages.window))
    return total, formula


def _coefficient(node: Node, tensor: Tensor, nbytes: int, window: Window | None) -> Coefficients:
    """A tensor of a layer in its formula: its sequences are T·B rows, its states B."""
    dims = {letter: hint(dim) for letter, dim in node.cost.dims.items()}
    sequences = (node.op.tensor(0), *node.op.outputs[:1])
    rows = (window.window if window is not None else dims["T"]) * dims["B"]
    if rows and any(t is not None and t.name == tensor.name for t in sequences):
        return Coefficients(each=nbytes // rows)
    return Coefficients(row=nbytes // dims["B"] if dims["B"] else 0)


def _sum(a: RowCost, b: RowCost) -> RowCost:
    formula = b.formula if a.formula is None else a.formula
    if a.formula is not None and b.formula is not None:
        formula = a.formula.plus(b.formula)
    return RowCost(
        forward_macs=a.forward_macs + b.forward_macs,
        backward_data_macs=a.backward_data_macs + b.backward_data_macs,
        backward_weight_macs=a.backward_weight_macs + b.backward_weight_macs,
        activation_bytes=a.activation_bytes + b.activation_bytes,
        formula=formula,
        implementation=a.implementation or b.implementation,
        input_gradient=a.input_gradient or b.input_gradient,
    )
