"""The list of operators of one run, and where in the program each of them came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

import msgspec
import torch

from rnncost.frontends.torch.memory import Memory, View, dtype_name, same_order, stored_tensor
from rnncost.graph.ir import AttrValue, Carried, Graph, Op, Slab, Tensor

Operand = Union[Tensor, int, float, bool, None, Any]
"""What a rule gives as an input: a torch tensor, a value of the graph, a number, or None."""

MOVES = frozenset(
    (
        "Concat",
        "Cast",
        "Expand",
        "GatherElements",
        "GatherND",
        "Identity",
        "Pad",
        "Slice",
        "Tile",
        "Transpose",
        "torch::alias",
        "torch::copy",
    )
)
"""Operators without arithmetic: a module's one other operator takes the module's name."""

_NEVER_DERIVED = frozenset(
    ("MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum", "Attention", "RNN", "GRU", "LSTM")
) | {"RNNCell", "GRUCell", "LSTMCell"}


class Site(msgspec.Struct, frozen=True):
    """A place in the program: the module's path, what was called, and from where.

    The same line of a loop has one ``key`` in every trip.
    """

    path: str
    label: str
    key: tuple[Any, ...] = ()


class Pending(msgspec.Struct, kw_only=True):
    """An operator whose name is settled when the run is over."""

    site: Site
    suffix: str
    op_type: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor | None, ...]
    attrs: Mapping[str, AttrValue]
    executions: int = 1
    trips: int = 1
    body: Graph | None = None
    carried: tuple[Carried, ...] = ()


class Recorder:
    """Collects operators; gives and remembers the name of every value.

    For ``training`` it marks what forward runs without gradients (``no_grad``).
    """

    def __init__(self, *, training: bool = False) -> None:
        self.training = training
        self.memory = Memory()
        self.ops: list[Pending] = []
        self.warnings: list[str] = []
        self._constants: set[str] = set()
        self._values = 0

    # -- values ------------------------------------------------------------------------

    def new(self, dtype: str, shape: Sequence[int], stored: tuple[Slab, ...] = ()) -> Tensor:
        """A value that no operator has made yet."""
        self._values += 1
        return Tensor(f"%{self._values}", dtype, tuple(shape), stored=stored)

    def number(self, value: float | bool, dtype: str) -> Tensor:
        """A number of the program as a constant operand."""
        tensor = msgspec.structs.replace(self.new(dtype, ()), value=(value,))
        self._constants.add(tensor.name)
        return tensor

    def read(self, tensor: Any) -> Tensor:
        """The value that a torch tensor holds now."""
        return self.value(self.memory.view(tensor))

    def value(self, view: View) -> Tensor:
        """The value that a view shows now; it is written down here if it was not yet."""
        buffer = view.buffer
        if view.tensor is not None and view.version == buffer.version:
            return view.tensor
        tensor = stored_tensor(view)
        if tensor is None:
            tensor = self._derived(view)
        view.tensor = tensor
        view.version = buffer.version
        return tensor

    def _derived(self, view: View) -> Tensor:
        if view is view.buffer.whole or view.parent is None:
            if view.produce is not None:
                return view.produce()
            tensor = self.new(view.dtype, view.shape)
            if view.buffer.constant:
                self._constants.add(tensor.name)
            return tensor
        parent = self.value(view.parent)
        if same_order(view.geometry, view.parent.geometry):
            return msgspec.structs.replace(parent, shape=view.shape)
        op_type = _movement(view)
        tensor = self.new(view.dtype, view.shape)
        made = self._append(view.site or Site("", "view"), op_type, (parent,), (tensor,), {}, "")
        return made[0] or tensor

    def write(self, tensor: Any, value: Tensor, site: Site) -> None:
        """Give a torch tensor a new value, in place if its storage is known."""
        memory = self.memory
        constant = value.name in self._constants
        if not memory.known(tensor):
            buffer = memory.create(tensor)
            buffer.constant = constant
            buffer.whole.tensor = value
            return
        view = memory.view(tensor)
        buffer = view.buffer
        whole = buffer.whole
        if view is whole or _elements(view) == _elements(whole):
            after = msgspec.structs.replace(value, shape=whole.shape)
        else:
            before = self.value(whole)
            after = self.new(whole.dtype, whole.shape)
            # The first write into zeros is where their memory is taken.
            op_type = "torch::copy" if before.name in self._constants else "torch::alias"
            made = self._append(site, op_type, (before, value), (after,), {}, "")
            after = made[0] or after
        buffer.version += 1
        buffer.constant = after.name in self._constants
        whole.tensor, whole.version = after, buffer.version
        if view is not whole:
            view.tensor, view.version = value, buffer.version

    def later(self, tensor: Any, produce: Callable[[], Tensor]) -> None:
        """Bind a torch tensor to a value that is written down only if it is read."""
        self.memory.create(tensor).whole.produce = produce

    # -- operators ---------------------------------------------------------------------

    def emit(
        self,
        site: Site,
        op_type: str,
        inputs: Sequence[Operand],
        outputs: Sequence[Any],
        attrs: Mapping[str, AttrValue] | None = None,
        suffix: str = "",
    ) -> tuple[Tensor | None, ...]:
        """Write down one operator.

        An output is a torch tensor, which then holds the result, a ready value, or None.
        """
        operands = tuple([self._operand(i) for i in inputs])
        values = tuple(
            [
                self.new(dtype_name(o.dtype), o.shape) if isinstance(o, torch.Tensor) else o
                for o in outputs
            ]
        )
        values = self._append(site, op_type, operands, values, attrs or {}, suffix)
        for output, value in zip(outputs, values, strict=True):
            if isinstance(output, torch.Tensor) and value is not None:
                self.write(output, value, site)
        return values

    def _operand(self, operand: Operand) -> Tensor | None:
        if operand is None or isinstance(operand, Tensor):
            return operand
        if isinstance(operand, torch.Tensor):
            return self.read(operand)
        kind = "bool" if isinstance(operand, bool) else "int64"
        return self.number(operand, "float32" if isinstance(operand, float) else kind)

    def _append(
        self,
        site: Site,
        op_type: str,
        inputs: tuple[Tensor | None, ...],
        outputs: tuple[Tensor | None, ...],
        attrs: Mapping[str, AttrValue],
        suffix: str,
    ) -> tuple[Tensor | None, ...]:
        """Add an operator; its outputs are marked as constant or as made of stored tensors.

        What depends on nothing but constants is settled before the run: no operator.
        """
        present = [t for t in inputs if t is not None]
        active = [t for t in present if t.name not in self._constants]
        if present and not active:
            self._constants.update(t.name for t in outputs if t is not None)
            return outputs
        if active and all(t.stored for t in active) and op_type not in _NEVER_DERIVED:
            stored = tuple(dict.fromkeys(slab for t in active for slab in t.stored))
            outputs = tuple(
                [t and msgspec.structs.replace(t, stored=t.stored or stored) for t in outputs]
            )
        if self.training and not torch.is_grad_enabled():
            attrs = {**attrs, "no_grad": 1}
        self.ops.append(
            Pending(
                site=site,
                suffix=suffix,
                op_type=op_type,
                inputs=inputs,
                outputs=outputs,
                attrs=attrs,
            )
        )
        return outputs

    def is_constant(self, tensor: Tensor) -> bool:
        return tensor.name in self._constants

    def mark_constant(self, tensor: Any) -> None:
        """A tensor that the program made from nothing: zeros, a range."""
        self.memory.create(tensor).constant = True

    # -- the finished graph --------------------------------------------------------------

    def graph(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Graph:
        names = _names(self.ops)
        ops = tuple(
            [
                Op(
                    name=names[p.site] + p.suffix,
                    op_type=p.op_type,
                    inputs=p.inputs,
                    outputs=p.outputs,
                    attrs=p.attrs,
                    executions=p.executions,
                    trips=p.trips,
                    body=p.body,
                    carried=p.carried,
                )
                for p in self.ops
            ]
        )
        return Graph(inputs=tuple(inputs), outputs=tuple(outputs), ops=ops)


def _movement(view: View) -> str:
    """The ONNX operator that a view stands for, by its elements beside its parent's."""
    assert view.parent is not None
    own, all_of_it = _elements(view), _elements(view.parent)
    if own < all_of_it:
        return "Slice"
    return "Transpose" if own == all_of_it else "Expand"


def _elements(view: View) -> int:
    total = 1
    for size in view.shape:
        total *= size
    return total


_LAYERS = frozenset(("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"))


def _names(ops: Sequence[Pending]) -> dict[Site, str]:
    """A name for every place: the module's path where one place of it does arithmetic or is
    its recurrent layer, else the path and what was called, numbered where several places
    call the same.
    """
    places: dict[str, dict[Site, int]] = {}
    for op in ops:
        mine = places.setdefault(op.site.path, {})
        rank = 2 if op.op_type in _LAYERS else 0 if op.op_type in MOVES else 1
        mine[op.site] = max(mine.get(op.site, 0), rank)
    names: dict[Site, str] = {}
    for path, sites in places.items():
        highest = max(sites.values())
        foremost = [site for site, rank in sites.items() if rank == highest > 0]
        used: dict[str, int] = {}
        for site in sites:
            if len(foremost) == 1 and site is foremost[0]:
                names[site] = path
                continue
            number = used.get(site.label, 0)
            used[site.label] = number + 1
            text = f"{site.label}_{number}" if number else site.label
            names[site] = f"{path}/{text}" if path else text
    return names
