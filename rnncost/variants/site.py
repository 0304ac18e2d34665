"""One node while it is rewritten: what its inputs became, and the edits to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from rnncost.errors import VariantError
from rnncost.frontends.onnx.infer import InferenceError, Known
from rnncost.graph.dim import Dim, Shape
from rnncost.variants.facts import Body, Fact, moved
from rnncost.variants.known import attribute, full_type, inferred, label
from rnncost.variants.parts import Axis, Layout, fits, new_shape, old_extent, resized
from rnncost.variants.target import Key

if TYPE_CHECKING:
    import onnx

T = TypeVar("T")


class Walk(Protocol):
    """What a site needs of the walk over the graph."""

    opsets: dict[str, int]
    redirect: frozenset[Key]
    lost: set[Key]

    def fresh(self, name: str) -> str: ...

    def note(self, text: str) -> None: ...

    def demand(self, body: Body, name: str, layout: Layout, why: str) -> NoReturn: ...

    def literal(self, like: str, elements: Sequence[Dim], dtype: str) -> str: ...

    def edited(self, body: Body, name: str, elements: Sequence[Dim | None]) -> str | None: ...

    def resized(self, body: Body, name: str, layout: Layout) -> str | None: ...

    def add(self, body: Body, node: onnx.NodeProto) -> None: ...

    def add_quietly(self, body: Body, node: onnx.NodeProto) -> None: ...


class Site:
    """A node, the facts of its inputs, and the edits made to it.

    ``inputs`` are the names that the new node reads, ``outputs`` those that it makes (those
    ``dropped``, by position, are left out), and ``attrs`` the attributes that differ from the
    old node's (None: it has none). A node that is to ``vanish`` gives nothing any more.
    ``wished`` has the layouts that outputs must get, by position.
    """

    def __init__(
        self, walk: Walk, body: Body, node: onnx.NodeProto, old: tuple[Known, ...], key: Key
    ) -> None:
        self.walk = walk
        self.key = key
        self.body = body
        self.node = node
        self.op = full_type(node)
        self.old = old
        self.read = [str(name) for name in node.input]
        self.inputs = list(self.read)
        self.outputs = [str(name) for name in node.output]
        self.attrs: dict[str, Any] = {}
        self.op_type: str | None = None
        self.vanish = False
        self.dropped: set[int] = set()
        self.wished: dict[int, Layout] = {}

    @property
    def opset(self) -> int:
        domain = "" if self.node.domain == "ai.onnx" else self.node.domain
        return self.walk.opsets.get(domain, 1)

    @property
    def name(self) -> str:
        return label(self.node)

    @property
    def origin(self) -> str:
        """The recurrent layer that the first changed input comes from."""
        facts = [self.fact(i) for i in range(len(self.inputs))]
        return next((f.origin for f in facts if f is not None and f.origin), "")

    def attr(self, name: str, default: Any = None) -> Any:
        return self.attrs[name] if name in self.attrs else attribute(self.node, name, default)

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and bool(self.inputs[index])

    def fact(self, index: int) -> Fact | None:
        """What is known of an input as the new node reads it; None where it is omitted."""
        return self.body.find(self.inputs[index]) if self.has(index) else None

    def layout(self, index: int) -> Layout | None:
        fact = self.fact(index)
        return None if fact is None else fact.layout

    def axis(self, index: int, axis: int) -> Axis | None:
        layout = self.layout(index)
        return None if layout is None else layout[axis]

    def shape(self, index: int) -> Shape:
        """The old shape of an input.

        Raises:
            VariantError: it is not known.
        """
        fact = self.fact(index)
        if fact is None or fact.old.shape is None:
            self.fail("the shape of its input is not known")
        return fact.old.shape

    def out_shape(self, index: int = 0) -> Shape:
        """The old shape of an output.

        Raises:
            VariantError: it is not known.
        """
        shape = self.old[index].shape
        if shape is None:
            self.fail("the shape of its output is not known")
        return shape

    def ints(self, index: int) -> tuple[Dim, ...] | None:
        """The elements of an integer input as the new node reads it, where they are known."""
        fact = self.fact(index)
        if fact is None or fact.new.value is None:
            return None
        kept = tuple([e for e in fact.new.value if not isinstance(e, (float, str))])
        return kept if len(kept) == len(fact.new.value) else None

    def old_ints(self, index: int) -> tuple[Dim, ...] | None:
        """The elements of an integer input before the change, where they are known."""
        fact = self.fact(index)
        if fact is None or fact.old.value is None:
            return None
        kept = tuple([e for e in fact.old.value if not isinstance(e, (float, str))])
        return kept if len(kept) == len(fact.old.value) else None

    def fail(self, reason: str = "") -> NoReturn:
        """Refuse: the change cannot be followed through this node."""
        whose = f"of {self.origin!r} " if self.origin else ""
        text = f"the width {whose}cannot be followed through {self.op} {self.name!r}"
        raise VariantError(f"{text}: {reason}" if reason else text)

    def conform(self, index: int, wanted: Layout) -> None:
        """Give an input the extents of a layout: cut or repeat it, or ask its producer."""
        fact = self.fact(index)
        if fact is None:
            return
        shape = self.shape(index)
        if len(shape) != len(wanted):
            self.fail(f"its input {self.inputs[index]!r} has {len(shape)} axes")
        for axis, extent in zip(wanted, shape, strict=True):
            if axis is not None and old_extent(axis) != extent:
                free = "" if isinstance(extent, int) else f": give the dimension {extent}"
                extents = ", ".join(map(str, shape))
                self.fail(f"its input {self.inputs[index]!r} is [{extents}]{free}")
        if not fits(fact.layout, wanted, shape):
            self.insist(index, wanted)

    def insist(self, index: int, wanted: Layout) -> None:
        """As ``conform``, for an input that is known not to have the extents yet."""
        name = self.inputs[index]
        if self.body.find(name).constant:
            made = self.walk.resized(self.body, name, wanted)
            if made is None:
                self.fail(f"its input {name!r} cannot be resized")
            self.inputs[index] = made
            return
        origin = f"{self.origin!r} by " if self.origin else ""
        self.walk.demand(self.body, name, wanted, f"{origin}{self.op} {self.name!r}")

    def conform_axis(self, index: int, axis: int, wanted: Axis | None) -> None:
        """As ``conform``, for one axis; the others keep what they have."""
        fact = self.fact(index)
        if fact is None or wanted is None:
            return
        rank = len(self.shape(index))
        layout = list(fact.layout or (None,) * rank)
        layout[axis] = wanted
        self.conform(index, tuple(layout))

    def set_ints(self, index: int, elements: Sequence[Dim | None]) -> None:
        """Change elements of an integer input; None leaves an element as it is."""
        current = self.ints(index)
        if current is not None and all(
            e is None or e == c for e, c in zip(elements, current, strict=True)
        ):
            return
        name = self.walk.edited(self.body, self.inputs[index], elements)
        if name is None:
            self.fail(f"its input {self.inputs[index]!r} is computed")
        self.inputs[index] = name

    def literal(self, elements: Sequence[Dim], *, like: str, dtype: str = "int64") -> str:
        """A new stored tensor of one axis."""
        return self.walk.literal(like, elements, dtype)

    def make(self, op_type: str, inputs: Sequence[str], like: str, **attrs: Any) -> str:
        """A new node before this one, with one output; the output's name."""
        from onnx import helper

        output = self.walk.fresh(like)
        node = helper.make_node(op_type, list(inputs), [output], name=output, **attrs)
        self.walk.add(self.body, node)
        return output

    def built(self) -> onnx.NodeProto:
        """The node with its edits; the old one where there are none."""
        node = self.node
        same = self.inputs == self.read and not self.dropped
        if same and not self.attrs and self.op_type is None:
            return node
        from onnx import helper

        new = type(node)()
        new.CopyFrom(node)
        del new.input[:], new.output[:]
        new.input.extend(self.inputs)
        new.output.extend(self._kept(self.outputs))
        if self.op_type is not None:
            new.op_type = self.op_type
        kept = [a for a in node.attribute if a.name not in self.attrs]
        del new.attribute[:]
        new.attribute.extend(kept)
        for name, value in self.attrs.items():
            if value is not None:
                new.attribute.append(helper.make_attribute(name, value))
        return new

    def inferred(self) -> tuple[Known, ...]:
        """What is known of the outputs of the node as it is edited.

        Raises:
            VariantError: the edited inputs contradict the operator.
        """
        facts = [self.fact(i) for i in range(len(self.inputs))]
        try:
            return inferred(
                self.built(), [None if f is None else f.new for f in facts], self.walk.opsets
            )
        except InferenceError as error:
            self.fail(str(error))

    def auto(self) -> list[Layout | None]:
        """Layouts from the shapes alone: each extent that differs is one part that changes."""
        layouts: list[Layout | None] = []
        for old, new in zip(self.old, self.inferred(), strict=True):
            if old.shape is None or new.shape is None or len(old.shape) != len(new.shape):
                if old.shape != new.shape:
                    self.fail("the shape of its output is not known")
                layouts.append(None)
                continue
            pairs = zip(old.shape, new.shape, strict=True)
            layouts.append(tuple([resized(a, b) for a, b in pairs]))
        return layouts

    def finish(self, layouts: Sequence[Layout | None]) -> None:
        """Add the edited node to the new graph, with what is known of its outputs.

        Raises:
            VariantError: its outputs do not get the extents that the layouts say.
        """
        origin = self.origin
        for position, name in enumerate(self.outputs):
            if name and (self.vanish or position in self.dropped):
                known = self.old[position]
                self.body.facts[name] = Fact(old=known, new=known, gone=True, origin=origin)
        if self.vanish:
            return
        facts = [self.fact(i) for i in range(len(self.inputs))]
        constant = bool(facts) and all(f is None or f.constant for f in facts)
        new = self.inferred()
        self.walk.add_quietly(self.body, self.built())
        kept = zip(
            self._kept(self.outputs), self._kept(self.old), new, self._kept(layouts), strict=True
        )
        for name, was, now, layout in kept:
            if not name:
                continue
            if layout is not None and now.shape is not None and was.shape is not None:
                due = new_shape(layout, was.shape)
                if due != now.shape:
                    self.fail(f"it gives {list(now.shape)} where {list(due)} is due")
            self.body.facts[name] = moved(was, now, layout, origin, constant)

    def _kept(self, items: Sequence[T]) -> list[T]:
        return [item for position, item in enumerate(items) if position not in self.dropped]
