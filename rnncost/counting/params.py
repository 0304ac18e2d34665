"""Parameters: every stored element once, at the first operator that uses it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rnncost.counting.registry import ROLE_QUANTIZATION, ROLE_WEIGHT
from rnncost.counting.roles import Stored
from rnncost.counting.scope import IDLE, Node
from rnncost.counting.slabs import Region, numel
from rnncost.graph.dim import Dim, minimum, product
from rnncost.graph.ir import Tensor
from rnncost.units import DTYPE_BITS, FLOAT_DTYPES

_SELECTS = frozenset(("Gather", "GatherElements", "GatherND"))


class Weights(msgspec.Struct, frozen=True):
    """What an operator adds to the stored weights: elements that no earlier one used.

    ``read_bytes`` is the part of them that one run must read at least, counted at the
    first operator that is executed: a table that is only looked up in is read row by row.
    """

    params: Dim = 0
    active_params: Dim = 0
    quantization_params: Dim = 0
    weight_bytes: Dim = 0
    read_bytes: Dim = 0


NO_WEIGHTS = Weights()


def attribute_weights(nodes: Sequence[Node], outputs: Sequence[Tensor]) -> list[Weights]:
    """Share the stored weights out over the operators, in execution order.

    Float tensors in the slot of a weight are parameters, and integers that
    DequantizeLinear turns into weights; scales and zero points are quantisation
    parameters; running statistics add bytes alone. ``outputs`` are the graph's: a stored
    tensor that leaves the graph belongs to the operator that passes it out.
    """
    leaving = {t.name for t in outputs if t.stored and t.stored[0].dtype in FLOAT_DTYPES}
    used = [(node, _used(node, leaving)) for node in nodes]
    holders = [(node, stored) for node, stored in used if stored]
    if not holders:
        return [NO_WEIGHTS] * len(nodes)

    every: dict[str, Region] = {}
    new = {node.index: [_claim(every, node, s) for s in stored] for node, stored in holders}
    active = new
    if any(node.status == IDLE for node, _ in holders):
        running: dict[str, Region] = {}
        active = {
            node.index: [_claim(running, node, s) for s in stored]
            for node, stored in holders
            if node.status != IDLE
        }
    looked_up = any(looks_up(node, s) for node, stored in holders for s in stored)
    if looked_up:
        read = _read_bytes(holders)
    else:
        read = {index: sum(claim.nbytes for claim in claims) for index, claims in active.items()}
    result = [NO_WEIGHTS] * len(nodes)
    for node, _ in holders:
        claims = new[node.index]
        result[node.index] = Weights(
            params=_sum(claims, ROLE_WEIGHT),
            active_params=_sum(active.get(node.index, ()), ROLE_WEIGHT),
            quantization_params=_sum(claims, ROLE_QUANTIZATION),
            weight_bytes=sum(claim.nbytes for claim in claims),
            read_bytes=read.get(node.index, 0),
        )
    return result


def looks_up(node: Node, stored: Stored) -> bool:
    """Whether an operator reads only some rows of a stored table."""
    return stored.slot == 0 and node.op.op_type in _SELECTS


def stored_bytes(tensor: Tensor) -> int:
    """The bytes that a stored tensor takes as it is stored."""
    return sum(_packed(numel(slab.ranges), slab.dtype) for slab in tensor.stored)


def looked_up_bytes(node: Node, stored: Stored) -> Dim:
    """The bytes of the rows that one execution looks up, as they are stored."""
    shape = next((t.shape for t in node.op.outputs if t is not None), None)
    bits = DTYPE_BITS.get(stored.tensor.stored[0].dtype, 0)
    return 0 if shape is None else -(-product(shape) * bits // 8)


class _Claim(msgspec.Struct, frozen=True):
    role: str
    params: Dim
    nbytes: int


def _used(node: Node, leaving: set[str]) -> tuple[Stored, ...]:
    if not leaving:
        return node.stored
    passed = [t for t in node.op.outputs if t is not None and t.name in leaving]
    return (*node.stored, *(Stored(-1, t, ROLE_WEIGHT) for t in passed))


def _claim(regions: dict[str, Region], node: Node, stored: Stored) -> _Claim:
    elements = nbytes = total = 0
    for slab in stored.tensor.stored:
        region = regions.get(slab.root)
        if region is None:
            region = regions[slab.root] = Region()
        new = region.claim(slab.ranges)
        elements += new
        nbytes += _packed(new, slab.dtype)
    params: Dim = elements
    packed = node.cost.params_of.get(stored.slot)
    if packed is not None:
        total = sum(numel(slab.ranges) for slab in stored.tensor.stored)
        params = packed if elements == total else packed * elements // max(total, 1)
    return _Claim(stored.role, params, nbytes)


def _read_bytes(holders: Sequence[tuple[Node, Sequence[Stored]]]) -> dict[int, Dim]:
    """The weight bytes that each executed operator is the first to read.

    Lookups come last: what another operator reads whole need not be read again.
    """
    regions: dict[str, Region] = {}
    result: dict[int, Dim] = {}
    lookups: list[tuple[Node, Stored]] = []
    for node, all_stored in holders:
        if node.status == IDLE:
            continue
        total: Dim = 0
        for stored in all_stored:
            if looks_up(node, stored):
                lookups.append((node, stored))
            else:
                total = total + _claim(regions, node, stored).nbytes
        result[node.index] = total
    left: dict[tuple[object, ...], Dim] = {}
    for node, stored in lookups:
        table = stored.tensor.stored
        whole = left.setdefault(table, _claim(regions, node, stored).nbytes)
        part = minimum(whole, looked_up_bytes(node, stored) * node.executions)
        left[table] = whole - part
        result[node.index] = result[node.index] + part
    return result


def _sum(claims: Sequence[_Claim], role: str) -> Dim:
    return sum(claim.params for claim in claims if claim.role == role)


def _packed(elements: int, dtype: str) -> int:
    return -(-elements * DTYPE_BITS.get(dtype, 0) // 8)
