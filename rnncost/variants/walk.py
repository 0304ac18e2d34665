"""The walk: every node of a model in order, each with what its inputs have become.

Where a node needs an input to change that nothing changed yet (the other side of an
addition, an initial state), the wish is kept and the walk starts again: the producer of that
input then sees it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from rnncost.errors import VariantError
from rnncost.frontends.onnx.elements import DTYPE_BY_NUMBER
from rnncost.frontends.onnx.infer import Known
from rnncost.graph.dim import Dim, Shape, hint, product
from rnncost.variants import control, dropped, recurrent, resizing, rules, states
from rnncost.variants.facts import Body, Fact, Made, moved, unchanged
from rnncost.variants.known import (
    constant_tensor,
    full_type,
    label,
    stored,
    subgraphs,
    tolerant,
)
from rnncost.variants.parts import Layout, UnevenError, changed, fits, new_shape, overlaid
from rnncost.variants.site import Site
from rnncost.variants.stored import Literal, Recipe
from rnncost.variants.tables import Layouts
from rnncost.variants.target import CELLS, Key, Target

if TYPE_CHECKING:
    import onnx

LARGEST_ELEMENTS = 1 << 29
"""2 GB of fp32, which is what one protobuf message can hold."""

_MOST_STARTS = 1000
_MISFITS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading a node raises that lacks an input, an attribute or a branch."""

Name = tuple[str, str]
"""A value: the path of the graph that defines it, and its name."""


class _AgainError(Exception):
    """A new wish: start again."""


class Walk:
    """The state of rewriting one model.

    ``demands`` are layouts that values must get, by the path of their graph and their name;
    ``state_inputs`` the graph inputs that may change, because they feed initial states
    alone. The nodes of ``redirect``, which read a dropped direction, read the one that is kept;
    ``lost`` are others like them.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        inputs: Mapping[str, Known],
        targets: Mapping[Key, Target],
        *,
        state_inputs: frozenset[str] = frozenset(),
        demands: Mapping[Name, Layout] | None = None,
        redirect: frozenset[Key] = frozenset(),
    ) -> None:
        self.model = model
        self.inputs = inputs
        self.targets = targets
        self.state_inputs = state_inputs
        self.redirect = redirect
        self.opsets = {
            "" if o.domain == "ai.onnx" else str(o.domain): int(o.version)
            for o in model.opset_import
        }
        self.demands: dict[Name, Layout] = dict(demands or {})
        self.old: dict[Key, tuple[Known, ...]] = {}
        self.names = _names(model.graph)
        self._start()

    def _start(self) -> None:
        self.taken: dict[str, int] = {}
        self.recipes: dict[str, Recipe] = {}
        self.elements = 0
        self.notes: list[str] = []
        self.lost: set[Key] = set()
        self.new_inputs: list[str] = []
        self.twins: dict[Name, str] = {}
        self.outputs_of: dict[Key, tuple[str, str, str]] = {}
        self.old_outputs: dict[Key, list[str]] = {}
        self._made_before: dict[Hashable, str] = {}
        self.root = Body(self.model.graph, None, "")

    def run(self) -> Body:
        """The new main graph.

        Raises:
            VariantError: a change cannot be followed.
        """
        for _ in range(_MOST_STARTS):
            self._start()
            try:
                self._bind_inputs()
                self.graph(self.root)
                states.add_outputs(self)
            except _AgainError:
                continue
            return self.root
        raise VariantError("the widths of the model depend on each other in too many places")

    def _bind_inputs(self) -> None:
        for name, known in self.inputs.items():
            wanted = self.demands.get(("", name))
            if wanted is None or known.shape is None:
                self.root.facts[name] = unchanged(known)
                continue
            new = Known(dtype=known.dtype, shape=new_shape(wanted, known.shape))
            self.root.facts[name] = moved(known, new, wanted, "", False)

    def graph(self, body: Body) -> None:
        """Rewrite the nodes of a graph whose inputs are bound already."""
        for name, tensor in body.stored.items():
            body.facts.setdefault(name, unchanged(stored(tensor), constant=True))
        for sparse in body.graph.sparse_initializer:
            dtype = DTYPE_BY_NUMBER.get(sparse.values.data_type, "")
            known = Known(dtype=dtype, shape=tuple(sparse.dims))
            body.facts.setdefault(sparse.values.name, unchanged(known, constant=True))
        for index, node in enumerate(body.graph.node):
            self._checked(body, node, index)

    def _checked(self, body: Body, node: onnx.NodeProto, index: int) -> None:
        try:
            self._node(body, node, index)
        except _MISFITS as error:
            reason = next(iter(str(error).splitlines()), "")[:200] or type(error).__name__
            raise VariantError(
                f"{node.op_type} {label(node)!r} does not fit its definition ({reason}): check "
                "the model with onnx.checker"
            ) from None

    def _node(self, body: Body, node: onnx.NodeProto, index: int) -> None:
        for name in node.input:
            if name and body.owner(name) is None:
                raise VariantError(
                    f"{node.op_type} {label(node)!r} reads {name!r} before it is made: sort the "
                    "model's nodes first"
                )
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            tensor = constant_tensor(node)
            known = Known(dtype="", shape=None) if tensor is None else stored(tensor)
            body.facts[node.output[0]] = unchanged(known, constant=True)
            self.add_quietly(body, node)
            return
        key = (body.path, index)
        if any(True for _ in subgraphs(node)):
            control.follow(self, body, node, key)
            return
        facts = [body.find(name) if name else None for name in node.input]
        if key not in self.old:
            old_inputs = [None if fact is None else fact.old for fact in facts]
            self.old[key] = tolerant(node, old_inputs, self.opsets)
        site = Site(self, body, node, self.old[key], key)
        if key in self.targets:
            self.old_outputs[key] = [name for name in node.output if name]
            recurrent.rewrite(self, site, self.targets[key])
            return
        wanted = self.wanted(body, node.output)
        if not wanted and not any(fact is not None and fact.moved for fact in facts):
            self.keep(body, node, self.old[key])
        elif any(fact is not None and fact.gone for fact in facts):
            dropped.follow(site)
        else:
            self._follow(site, wanted)

    def _follow(self, site: Site, wanted: Mapping[int, Layout]) -> None:
        try:
            trial = Site(self, site.body, site.node, site.old, site.key)
            site.wished = trial.wished = dict(wanted)
            nodes = len(site.body.nodes)
            layouts = [None] * len(site.old) if not _moved(trial) else self._forward(trial)
            if all(_meets(site, layouts[k], wanted[k], k) for k in wanted):
                site = trial
            else:
                del site.body.nodes[nodes:]
                for k, layout in wanted.items():
                    back = rules.BACKWARD.get(site.op)
                    if back is None:
                        site.fail("its output has to change with another, and cannot")
                    back(site, k, layout)
                layouts = list(self._forward(site))
                if not all(_meets(site, layouts[k], wanted[k], k) for k in wanted):
                    site.fail("its output has to change with another, and cannot")
            merged = [
                _merged(layout, wanted[k]) if k in wanted else layout
                for k, layout in enumerate(layouts)
            ]
        except UnevenError:
            site.fail("the parts of its input do not divide evenly")
        site.finish(merged)

    def _forward(self, site: Site) -> Layouts:
        if not any(changed(site.layout(i)) for i in range(len(site.inputs))):
            return site.auto()
        rule = rules.FORWARD.get(site.op)
        if rule is None:
            site.fail()
        return rule(site)

    def has_targets(self, path: str) -> bool:
        """Whether a graph, or one inside it, has a node that is to change."""
        return any(place == path or place.startswith(f"{path}/") for place, _ in self.targets)

    def forget(self, path: str) -> None:
        """Take back what was made of the nodes of a graph that stays as it is."""
        for key in list(self.outputs_of):
            if key[0] == path or key[0].startswith(f"{path}/"):
                del self.outputs_of[key]

    def wanted(self, body: Body, names: Sequence[str]) -> dict[int, Layout]:
        """The layouts that some of these values must get, by position."""
        found = {}
        for position, name in enumerate(names):
            layout = self.demands.get((body.path, name)) if name else None
            if layout is not None:
                found[position] = layout
        return found

    def keep(self, body: Body, node: onnx.NodeProto, old: Sequence[Known]) -> None:
        """Add a node that nothing reaches."""
        read = [body.find(name) for name in node.input if name]
        constant = bool(read) and all(fact.constant for fact in read) and not _fills(node)
        origin = next((fact.origin for fact in read if fact.origin), "")
        if full_type(node) in CELLS:
            origin = label(node)
        for name, known in zip(node.output, old, strict=True):
            if name:
                body.facts[name] = unchanged(known, constant=constant, origin=origin)
        self.add_quietly(body, node)

    def add_quietly(
        self, body: Body, node: onnx.NodeProto, inner: dict[str, Body] | None = None
    ) -> None:
        """Add a node whose outputs' facts the caller sets."""
        body.nodes.append(Made(node, inner or {}))
        body.made.update({name: node for name in node.output if name})

    def add(self, body: Body, node: onnx.NodeProto) -> None:
        """Add a new node, and what is known of its outputs."""
        self.keep(body, node, tolerant(node, [body.find(n).new for n in node.input], self.opsets))

    def demand(self, body: Body, name: str, layout: Layout, why: str) -> NoReturn:
        """Wish that a value had a layout, and start again.

        Raises:
            VariantError: the wish contradicts another, or was made before in vain.
        """
        owner = body.owner(name)
        if owner is None:
            raise VariantError(f"{why} reads {name!r}, which nothing makes")
        key = (owner.path, name)
        shape: Shape | None = owner.facts[name].old.shape
        before = self.demands.get(key)
        try:
            if before is not None and shape is not None:
                layout = overlaid(before, layout, shape)
        except UnevenError:
            layout = before or layout
        if layout == before or shape is None:
            raise VariantError(f"the width of {name!r} is tied to that of {why} and cannot follow")
        is_input = owner.parent is None and name in self.inputs
        if is_input and name not in self.state_inputs:
            raise VariantError(
                f"the graph input {name!r} is tied to the width of {why} and cannot follow"
            )
        self.demands[key] = layout
        raise _AgainError

    def fresh(self, name: str) -> str:
        """A name that no value of the model has."""
        number = self.taken.get(name, 0)
        wanted = name
        while wanted in self.names or wanted in self.taken:
            number += 1
            wanted = f"{name}_{number}"
        self.taken[name] = number
        self.taken.setdefault(wanted, 0)
        return wanted

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def store(self, name: str, recipe: Recipe, fact: Fact) -> str:
        """A new stored tensor of the main graph, which every graph inside it sees."""
        self.elements += hint(product(fact.new.shape or ()))
        if self.elements > LARGEST_ELEMENTS:
            raise VariantError("the variant would have more than 2 GB of weights")
        name = self.fresh(name)
        self.recipes[name] = recipe
        self.root.facts[name] = fact
        return name

    def shared(self, key: Hashable, name: str, recipe: Recipe, fact: Fact) -> str:
        """As ``store``, but the same tensor for the same key."""
        made = self._made_before.get(key)
        if made is None:
            made = self._made_before[key] = self.store(name, recipe, fact)
        return made

    def literal(
        self, like: str, elements: Sequence[Dim], dtype: str, *, scalar: bool = False
    ) -> str:
        """A new stored tensor of these whole numbers.

        Raises:
            VariantError: one of them depends on a free dimension.
        """
        whole = [element for element in elements if isinstance(element, int)]
        if len(whole) != len(elements):
            raise VariantError(f"{like!r} depends on a free dimension and cannot be written out")
        shape = () if scalar else (len(whole),)
        known = Known(dtype=dtype, shape=shape, value=tuple(whole))
        recipe = Literal(dtype, tuple(whole), scalar)
        return self.store(like, recipe, unchanged(known, constant=True))

    def edited(self, body: Body, name: str, elements: Sequence[Dim | None]) -> str | None:
        return resizing.edited(self, body, name, elements)

    def resized(self, body: Body, name: str, layout: Layout) -> str | None:
        return resizing.resized(self, body, name, layout)


def _moved(site: Site) -> bool:
    facts = [site.fact(i) for i in range(len(site.inputs))]
    return any(fact is not None and fact.moved for fact in facts)


def _meets(site: Site, layout: Layout | None, wanted: Layout, output: int) -> bool:
    return fits(layout, wanted, site.out_shape(output))


def _merged(layout: Layout | None, wanted: Layout) -> Layout:
    """The finer parts of what was wanted, and the rest of what came."""
    given = layout or (None,) * len(wanted)
    return tuple([w if w is not None else g for w, g in zip(wanted, given, strict=True)])


def _fills(node: onnx.NodeProto) -> bool:
    """Whether a node only fills a shape: its output is resized by that, and no constant."""
    return full_type(node) in ("ConstantOfShape", "Expand", "Range")


def _names(graph: onnx.GraphProto) -> set[str]:
    names = {info.name for info in (*graph.input, *graph.output)}
    names.update(tensor.name for tensor in graph.initializer)
    for node in graph.node:
        names.update(node.output)
        for _, inner in subgraphs(node):
            names |= _names(inner)
    return names
