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

from rnncost.counting.loops import is_captured
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
    order of elements than their base, which products copy; ``time_major`` are those of them
    that lie in memory step by step, though their first axis is the batch. ``copies`` are the
    trips of the loop that makes a tensor: what autograd keeps of it, it keeps of each.
    ``over_time`` shrink with the window. ``live`` is the share of a packed sequence that holds
    rows, where its tensor has the shape of the padded one.
    """

    base: dict[str, str]
    sizes: dict[str, int]
    strided: frozenset[str]
    time_major: frozenset[str]
    copies: dict[str, int]
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
        nbytes = self.scaled(key, self.sizes.get(key, hint(tensor_bytes(tensor))))
        return nbytes * self.copies.get(key, 1)

    def scaled(self, name: str, nbytes: int) -> int:
        """The bytes that belong to a tensor, of the steps that are in memory at a time."""
        nbytes = int(nbytes * self.live.get(name, 1))
        if self.window is None or name not in self.over_time:
            return nbytes
        return self.window.of(nbytes)


def find_storages(root: Scope, nodes: Sequence[Node], window: Window | None) -> Storages:
    """Follow the views of a graph and of its loop bodies."""
    layouts = _Layouts()
    live: dict[str, Fraction] = {}
    copies: dict[str, int] = {}
    sizes = {t.name: hint(tensor_bytes(t)) for t in root.graph.inputs}
    for node in nodes:
        if node.status not in (RUN, UNCOUNTED):
            continue
        op = node.op
        real = [t for t in op.outputs if t is not None and not t.stored]
        sizes.update((t.name, hint(tensor_bytes(t))) for t in real)
        if (trips := hint(node.executions)) > 1:
            copies.update((t.name, trips) for t in real)
        source = next((t for t in op.inputs if t is not None and not t.stored), None)
        if source is None:
            continue
        layouts.follow(node, source, real)
        if source.name in live and op.op_type == "Mul":
            live.update((t.name, live[source.name]) for t in real)
        elif is_layer(node) and real and op.ints_attr("batch_sizes") is not None:
            shape = shape_of(op)
            live[real[0].name] = Fraction(shape.rows, max(1, shape.steps * shape.batch))
    over_time = _over_time(root, nodes, window) if window is not None else frozenset[str]()
    return Storages(
        base=_through_trips(layouts.base, nodes),
        sizes=sizes,
        strided=frozenset(layouts.strided),
        time_major=frozenset(layouts.time_major),
        copies=copies,
        over_time=over_time,
        live=live,
        window=window,
    )


class _Layouts:
    """Whose memory each tensor shows, and in which order its elements lie there.

    ``attended`` are results of attention, which lie in memory as the queries do, and
    ``ordered`` the views of them that undo that order, so that nothing copies them.
    """

    def __init__(self) -> None:
        self.base: dict[str, str] = {}
        self.strided: set[str] = set()
        self.time_major: set[str] = set()
        self.attended: set[str] = set()
        self.ordered: set[str] = set()

    def follow(self, node: Node, source: Tensor, real: Sequence[Tensor]) -> None:
        """Note the results of an operator; ``source`` is its first activation."""
        op, names = node.op, {t.name for t in real}
        if is_view(node):
            self._view(op, source, real)
        elif op.op_type == "torch::copy" and source.name in self.ordered:
            self.base.update(dict.fromkeys(names, self.base.get(source.name, source.name)))
        elif op.op_type in _KEEPS_LAYOUT and source.name in self.strided:
            self.strided.update(names)
            if source.name in self.time_major:
                self.time_major.update(names)
        elif op.op_type == "Attention" and source.name in self.strided:
            self.attended.update(names)
        elif is_layer(node) and real and op.int_attr("batch_first", 0):
            self.strided.add(real[0].name)
            self.time_major.add(real[0].name)

    def _view(self, op: Op, source: Tensor, real: Sequence[Tensor]) -> None:
        names = {t.name for t in real}
        self.base.update(dict.fromkeys(names, self.base.get(source.name, source.name)))
        if op.op_type == "Transpose" and source.name in self.attended:
            self.ordered.update(names)
        if op.op_type == "Transpose" and all(_swapped(source, t) for t in real):
            if source.name in self.time_major:
                return  # as it lies in memory
            if source.name not in self.strided:
                self.time_major.update(names)
        renamed = op.op_type not in _VIEWS and source.name in self.strided
        if renamed or op.op_type in ("Expand", "Slice", "Transpose"):
            self.strided.update(names)


def _swapped(source: Tensor, result: Tensor) -> bool:
    """Whether a view of three axes shows the first two in the opposite order."""
    before, after = ([hint(n) for n in t.shape or ()] for t in (source, result))
    return len(before) == 3 and after == [before[1], before[0], before[2]]


def _through_trips(base: dict[str, str], nodes: Sequence[Node]) -> dict[str, str]:
    """The same with what loops hand to their bodies.

    The value that a trip starts from is the one that the trip before left, and a step of a
    Scan's sequence is a view of it.
    """
    base = dict(base)
    for node in nodes:
        op = node.op
        if node.body is None or op.body is None:
            continue
        entries = {c.entry: c.exit for c in op.carried if c.exit != c.entry}
        base.update(entries)
        if op.op_type == "Scan":
            for at, inner in enumerate(op.body.inputs):
                outer = op.tensor(at)
                own = inner.name not in entries and not is_captured(op, at)
                if outer is not None and own and not outer.stored:
                    base[inner.name] = outer.name
    return {name: _root(base, name) for name in base}


def _root(base: dict[str, str], name: str) -> str:
    seen = {name}
    while (name := base.get(name, name)) not in seen:
        seen.add(name)
    return name


def is_view(node: Node) -> bool:
    """Whether an operator shows its first input's memory in another way."""
    if node.op.op_type in _VIEWS:
        return True
    return node.status == RUN and node.cost.kind == "data" and not node.cost.moves


def is_layer(node: Node) -> bool:
    """Whether an operator is a counted recurrent layer over a sequence."""
    op_type = node.op.op_type
    return node.status == RUN and op_type in RECURRENT and not op_type.endswith("Cell")


def _over_time(root: Scope, nodes: Sequence[Node], window: Window) -> frozenset[str]:
    found: set[str] = {t.name for t in root.graph.inputs if _has_axis(t, window)}
    for node in nodes:
        op = node.op
        if is_layer(node) and shape_of(op).steps == window.steps:
            found.update(t.name for t in op.outputs[:1] if t is not None)
        elif any(t is not None and t.name in found for t in op.inputs):
            found.update(t.name for t in _present(op.outputs) if _has_axis(t, window))
    return frozenset(found)


def _has_axis(tensor: Tensor, window: Window) -> bool:
    extents = [hint(n) for n in tensor.shape or ()]
    return window.steps in extents or window.steps * window.batch in extents


def _present(tensors: Iterable[Tensor | None]) -> list[Tensor]:
    return [t for t in tensors if t is not None]
