"""Unrolled cells: operators that use the same weights again along a chain of dependence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from rnncost.counting.memory import tensor_bytes
from rnncost.counting.registry import ROLE_WEIGHT
from rnncost.counting.scope import RUN, Node
from rnncost.graph.dim import Dim, hint, product
from rnncost.graph.ir import Tensor
from rnncost.graph.paths import Preds, Region, Reuse, reuse


class Cell(msgspec.Struct, frozen=True):
    """One weight of an unrolled cell: the operators that use it, and their longest chain.

    ``fed_back`` is True where both the operators' input and their state depend on an
    earlier use, as in a decoder that reads its own output. In a stack of layers with the
    same weights the input alone does, and its products are still made for all steps at
    once. ``state_bytes`` is the state of the whole cell at one of its weights, 0 at the others.
    """

    uses: tuple[int, ...]
    steps: Dim
    fed_back: bool
    state_bytes: Dim


class Cells(msgspec.Struct, frozen=True):
    """The unrolled cells of one scope; operators go by their place in it.

    ``regions`` says to which cell and which of its steps an operator belongs. Recurrent
    operators used again have no regions: each makes its own steps.
    """

    cells: tuple[Cell, ...] = ()
    regions: Mapping[int, Region] = {}


def find_cells(nodes: Sequence[Node], preds: Preds) -> Cells:
    """The weights that chains of one scope use again."""
    numbers: dict[tuple[object, ...], int] = {}
    keys: list[int | None] = []
    for node in nodes:
        key = _weights_used(node)
        keys.append(None if key is None else numbers.setdefault(key, len(numbers)))
    found = reuse(preds, keys)
    if not found.chained:
        return Cells()
    writer = {name: index for index, node in enumerate(nodes) for name in node.writes}
    operators = {
        weight.group for weight in found.chained if nodes[weight.uses[0]].cost.kind == "recurrent"
    }
    regions = {at: region for at, region in found.regions.items() if region[0] not in operators}
    states = _state_bytes(nodes, writer, regions)
    cells = [
        Cell(
            uses=weight.uses,
            steps=own_steps(nodes[weight.uses[0]]) * weight.length,
            fed_back=any(_fed_back(nodes[use], weight.key, found, writer) for use in weight.uses),
            # The first weight of a cell answers for its state.
            state_bytes=states.pop(weight.group, 0),
        )
        for weight in found.chained
    ]
    return Cells(tuple(cells), regions)


def _state_bytes(
    nodes: Sequence[Node], writer: Mapping[str, int], regions: Mapping[int, Region]
) -> dict[int, Dim]:
    """For each cell the bytes that one step makes and the next one reads.

    Taken between two steps in the middle. The last step is not seen in full, since what
    follows it is no part of the cell: of two steps, only what the weight multiplies is.
    """
    lengths: dict[int, int] = {}
    for group, step in regions.values():
        lengths[group] = max(lengths.get(group, 0), step)
    crossing: dict[int, dict[str, Dim]] = {}
    for reader, (group, step) in regions.items():
        middle = max(1, (lengths[group] - 1) // 2)
        if step != middle + 1:
            continue
        for name in nodes[reader].reads:
            source = writer.get(name, -1)
            if regions.get(source) == (group, middle):
                made = nodes[source].op.outputs
                tensor = next(t for t in made if t is not None and t.name == name)
                crossing.setdefault(group, {})[name] = tensor_bytes(tensor)
    return {group: sum(sizes.values()) for group, sizes in crossing.items()}


def own_steps(node: Node) -> Dim:
    """The steps of all executions of one operator: a product is one step."""
    if node.cost.kind == "recurrent":
        return node.cost.sequential_steps * node.op.executions
    return node.op.executions


def _weights_used(node: Node) -> tuple[object, ...] | None:
    """What tells a weight in its use: the operator, its attributes and the stored slabs.

    Another view of the same tensor (its transpose in a tied decoder, the slice of another
    layer) is another weight. Matrices computed before the run go by their name.
    """
    op, kind = node.op, node.cost.kind
    if node.status != RUN or kind not in ("recurrent", "product") or node.cost.macs == 0:
        return None
    matrices = [s.tensor for s in node.stored if s.role == ROLE_WEIGHT and _is_matrix(s.tensor)]
    if kind == "product" and len(matrices) > 1:
        # A stored left operand beside a stored right one is a constant state.
        right = [t for t in matrices if t is not op.tensor(0)]
        matrices = [max(right or matrices, key=_elements)]
    weights: tuple[object, ...] = tuple((t.stored, t.shape) for t in matrices)
    if not weights:
        inputs = [t for t in op.inputs if t is not None and not t.stored and t.value is None]
        weights = tuple(t.name for t in inputs if _is_matrix(t) and t.name not in node.reads)
    return (op.op_type, tuple(sorted(op.attrs.items())), *weights) if weights else None


def _is_matrix(tensor: Tensor) -> bool:
    return tensor.shape is not None and len(tensor.shape) > 1


def _elements(tensor: Tensor) -> int:
    return hint(product(tensor.shape or ()))


def _fed_back(node: Node, key: int, found: Reuse, writer: Mapping[str, int]) -> bool:
    def follows(tensor: Tensor | None) -> bool:
        at = None if tensor is None else writer.get(tensor.name)
        return at is not None and found.follows(at, key)

    return follows(node.op.tensor(0)) and any(map(follows, node.op.inputs[1:]))
