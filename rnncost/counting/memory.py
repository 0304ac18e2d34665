"""The sizes of activations, and how many bytes of them are alive at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rnncost.counting.loops import body_inputs, loop_states
from rnncost.counting.scope import RUN, UNCOUNTED, Node, Scope
from rnncost.graph.dim import Dim, hint, product
from rnncost.graph.ir import Tensor
from rnncost.graph.liveness import Life, live_bytes
from rnncost.units import DTYPE_BITS

_NOTHING = Life((), ())


def tensor_bytes(tensor: Tensor) -> Dim:
    """The bytes of a tensor; 0 where its shape or the size of its elements is unknown."""
    if tensor.shape is None:
        return 0
    bits = DTYPE_BITS.get(tensor.dtype, 0)
    elements = product(tensor.shape)
    return elements * (bits // 8) if bits % 8 == 0 else -(-elements * bits // 8)


def activation_sizes(root: Scope, nodes: Sequence[Node]) -> dict[str, Dim]:
    """The bytes of every activation, by name."""
    sizes = {t.name: tensor_bytes(t) for t in root.graph.inputs}
    for node in nodes:
        if node.body is not None:
            sizes.update((t.name, tensor_bytes(t)) for t in body_inputs(node.op))
        if node.writes:
            for tensor in node.op.outputs:
                if tensor is not None and not tensor.stored:
                    sizes[tensor.name] = tensor_bytes(tensor)
    return sizes


def peak_bytes(root: Scope, nodes: Sequence[Node], sizes: Mapping[str, Dim]) -> dict[int, Dim]:
    """The bytes alive while each operator runs, by its index.

    Views share the buffer of what they view. While a loop runs, its initial and final
    values are the buffers of its carried values, and its body adds its own peak.
    """
    given = {t.name: sizes[t.name] for t in root.graph.inputs}
    return _scope_peaks(root, sizes, _shared_buffers(nodes), given, ())


def _shared_buffers(nodes: Sequence[Node]) -> dict[str, str]:
    """From the name of a view to the name of the tensor whose buffer it shares."""
    base: dict[str, str] = {}
    for node in nodes:
        if node.status == RUN and not node.cost.moves and node.reads:
            shared = base.get(node.reads[0], node.reads[0])
            base.update(dict.fromkeys(node.writes, shared))
    return base


def _scope_peaks(
    scope: Scope,
    sizes: Mapping[str, Dim],
    base: Mapping[str, str],
    given: Mapping[str, Dim],
    held: Collection[str],
) -> dict[int, Dim]:
    """The bytes alive in a scope; ``held`` names buffers that the loop's results hold."""
    lives: list[Life] = []
    inner: dict[int, dict[int, Dim]] = {}
    for node in scope.nodes:
        if node.status not in (RUN, UNCOUNTED):
            lives.append(_NOTHING)
            continue
        extra = node.cost.scratch_bytes
        if node.body is not None:
            inner[node.index] = _body_peaks(node, node.body, sizes, base)
            extra = max(inner[node.index].values(), key=hint, default=0)
        reads = [base.get(name, name) for name in node.reads]
        made = [name for name in node.writes if name not in base]
        lives.append(Life(reads, [(n, 0 if n in held else sizes[n]) for n in made], extra))
    kept = {base.get(t.name, t.name) for t in scope.graph.outputs}
    peaks: dict[int, Dim] = {}
    for node, life, alive in zip(scope.nodes, lives, live_bytes(lives, given, kept), strict=True):
        if life is _NOTHING:
            continue
        peaks[node.index] = alive
        outside = alive - life.extra
        for index, local in inner.get(node.index, {}).items():
            peaks[index] = outside + local
    return peaks


def _body_peaks(
    node: Node, body: Scope, sizes: Mapping[str, Dim], base: Mapping[str, str]
) -> dict[int, Dim]:
    """The bytes alive in a loop's body, beyond what is alive around the loop."""
    states = loop_states(node.op)
    outside = set(node.reads)
    given = {
        state.entry.name: sizes[state.entry.name]
        for state in states
        if state.initial is None or state.initial.name not in outside
    }
    held = {base.get(s.leave, s.leave) for s in states if s.final is not None}
    return _scope_peaks(body, sizes, base, given, held)
