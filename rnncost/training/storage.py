"""Which activations share memory, how large they are, and which of them run over time.

Views take no memory of their own, as in PyTorch. With truncation or checkpointing only some
of the steps are in memory at a time: ``window`` of ``steps``. A tensor runs over time where
it comes from the sequence of a recurrent layer, or goes into one, and an axis has as many
elements as there are steps (or steps times rows).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

import msgspec

from rnncost.counting.memory import tensor_bytes
from rnncost.counting.scope import RUN, UNCOUNTED, Node, Scope
from rnncost.graph.dim import hint
from rnncost.graph.ir import Op, Tensor
from rnncost.training.recurrent import RECURRENT, shape_of

_VIEWS = frozenset(("Expand", "Slice", "Split", "Transpose", "torch::detach"))
_KEEPS_LAYOUT = frozenset(("Add", "Clip", "LeakyRelu", "Mul", "Relu", "Sigmoid", "Sub", "Tanh"))


class Window(msgspec.Struct, frozen=True):
    """The steps that are in memory at a time, and the steps and rows of the whole sequence."""

    window: int
    steps: int
    batch: int

    def of(self, nbytes: int) -> int:
        """The bytes of a tensor over all steps that belong to one window."""
        return -(-nbytes * self.window // self.steps) if self.steps else nbytes


class Storages(msgspec.Struct, frozen=True):
    """The memory of activations.

    ``base`` names the tensor whose memory a view shows; ``strided`` are views with another
    order of elements than their base, which products copy; ``over_time`` shrink with the
    window. ``live`` is the share of a packed sequence that holds rows, where its tensor has
    the shape of the padded one.
    """

    base: dict[str, str]
    sizes: dict[str, int]
    strided: frozenset[str]
    over_time: frozenset[str]
    live: dict[str, Fraction]
    window: Window | None

    def key(self, tensor: Tensor) -> str:
        """The name of the memory that a tensor lies in."""
        return self.base.get(tensor.name, tensor.name)

    def bytes_of(self, tensor: Tensor) -> int:
        """The bytes of a tensor's own elements."""
        return self.scaled(tensor.name, hint(tensor_bytes(tensor)))

    def held_bytes(self, tensor: Tensor) -> int:
        """The bytes that stay while a tensor is kept: those of the memory that it shows."""
        key = self.key(tensor)
        return self.scaled(key, self.sizes.get(key, hint(tensor_bytes(tensor))))

    def scaled(self, name: str, nbytes: int) -> int:
        """The bytes that belong to a tensor, of the steps that are in memory at a time."""
        nbytes = int(nbytes * self.live.get(name, 1))
        if self.window is None or name not in self.over_time:
            return nbytes
        return self.window.of(nbytes)


def find_storages(root: Scope, nodes: Sequence[Node], window: Window | None) -> Storages:
    """Follow the views of a graph and of its loop bodies."""
    base: dict[str, str] = {}
    strided: set[str] = set()
    live: dict[str, Fraction] = {}
    sizes = {t.name: hint(tensor_bytes(t)) for t in root.graph.inputs}
    for node in nodes:
        if node.status not in (RUN, UNCOUNTED):
            continue
        op = node.op
        real = [t for t in op.outputs if t is not None and not t.stored]
        sizes.update((t.name, hint(tensor_bytes(t))) for t in real)
        source = next((t for t in op.inputs if t is not None and not t.stored), None)
        if source is None:
            continue
        if is_view(node):
            shared = base.get(source.name, source.name)
            base.update((t.name, shared) for t in real)
            renamed = op.op_type not in _VIEWS and source.name in strided
            if renamed or op.op_type in ("Expand", "Slice", "Transpose"):
                strided.update(t.name for t in real)
        elif op.op_type in _KEEPS_LAYOUT and source.name in strided:
            strided.update(t.name for t in real)
        elif source.name in live and op.op_type == "Mul":
            live.update((t.name, live[source.name]) for t in real)
        elif is_layer(op) and real:
            if op.int_attr("batch_first", 0):
                strided.add(real[0].name)
            if op.ints_attr("batch_sizes") is not None:
                shape = shape_of(op)
                live[real[0].name] = Fraction(shape.rows, max(1, shape.steps * shape.batch))
    over_time = _over_time(root, nodes, window) if window is not None else frozenset[str]()
    return Storages(base, sizes, frozenset(strided), over_time, live, window)


def is_view(node: Node) -> bool:
    """Whether an operator shows its first input's memory in another way."""
    if node.op.op_type in _VIEWS:
        return True
    return node.status == RUN and node.cost.kind == "data" and not node.cost.moves


def is_layer(op: Op) -> bool:
    """Whether an operator is a recurrent layer over a sequence."""
    return op.op_type in RECURRENT and not op.op_type.endswith("Cell")


def _over_time(root: Scope, nodes: Sequence[Node], window: Window) -> frozenset[str]:
    found: set[str] = {t.name for t in root.graph.inputs if _has_axis(t, window)}
    for node in nodes:
        op = node.op
        if is_layer(op) and shape_of(op).steps == window.steps:
            found.update(t.name for t in op.outputs[:1] if t is not None)
        elif any(t is not None and t.name in found for t in op.inputs):
            found.update(t.name for t in _present(op.outputs) if _has_axis(t, window))
    return frozenset(found)


def _has_axis(tensor: Tensor, window: Window) -> bool:
    extents = [hint(n) for n in tensor.shape or ()]
    return window.steps in extents or window.steps * window.batch in extents


def _present(tensors: Iterable[Tensor | None]) -> list[Tensor]:
    return [t for t in tensors if t is not None]
