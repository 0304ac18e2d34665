"""Where values of a model go to and come from, through the operators that only rearrange them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from rnncost.variants.facts import Body
from rnncost.variants.known import full_type
from rnncost.variants.target import CELLS, Key

if TYPE_CHECKING:
    import onnx

VIEWS = frozenset(
    "Cast Concat Dropout Flatten Gather Identity Reshape ReverseSequence Slice Split Squeeze "
    "Transpose Unsqueeze".split()
)
"""Operators that only rearrange their first input; Concat joins all of its inputs."""

_ARITHMETIC = frozenset(("Add", "Sub", "Mul", "Div"))

Name = tuple[str, str]
"""A value: the path of the graph that defines it, and its name."""

Kind = Literal["output", "state", "input", "compute"]


class Use(msgspec.Struct, frozen=True):
    """A place that reads a value: an input of a node, or an output of a graph (key None)."""

    body: str
    key: Key | None
    position: int


class End(msgspec.Struct, frozen=True):
    """Where a value ends up: a graph output, an initial state, an X, or a computation.

    ``key`` is the node that reads it, and ``via`` the first operator on the way that
    computes, or "".
    """

    kind: Kind
    key: Key | None = None
    position: int = 0


class Flow:
    """An index of the values of a model that was walked through without any change."""

    def __init__(self, root: Body) -> None:
        self.root = root
        self.bodies: dict[str, Body] = {}
        self.nodes: dict[Key, onnx.NodeProto] = {}
        self.uses: dict[Name, list[Use]] = {}
        self.producer: dict[Name, Key] = {}
        self._holder: dict[str, Key] = {}
        self._index(root)

    def _index(self, body: Body) -> None:
        self.bodies[body.path] = body
        for index, made in enumerate(body.nodes):
            key = (body.path, index)
            self.nodes[key] = made.node
            for position, name in enumerate(made.node.input):
                self._use(body, name, Use(body.path, key, position))
            for name in made.node.output:
                self.producer[(body.path, name)] = key
            for inner in made.inner.values():
                self._holder[inner.path] = key
                self._index(inner)
        for position, name in enumerate(body.outputs):
            self._use(body, name, Use(body.path, None, position))

    def _use(self, body: Body, name: str, use: Use) -> None:
        owner = body.owner(name) if name else None
        if owner is not None:
            self.uses.setdefault((owner.path, name), []).append(use)

    def owner(self, path: str, name: str) -> Name:
        """The value that a name stands for in a graph."""
        owner = self.bodies[path].owner(name)
        return (path if owner is None else owner.path, name)

    def recurrent(self) -> Iterator[Key]:
        """The recurrent nodes in order."""
        for key, node in self.nodes.items():
            if full_type(node) in CELLS:
                yield key

    def ends(self, value: Name) -> set[End]:
        """Everywhere that a value goes, through operators that only rearrange it."""
        found: set[End] = set()
        seen: set[Name] = set()
        waiting = [value]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            for use in self.uses.get(name, ()):
                if use.key is None:
                    waiting.extend(self._returned(use, found))
                    continue
                node = self.nodes[use.key]
                op = full_type(node)
                if self._rearranges(use):
                    waiting.extend((use.body, output) for output in node.output if output)
                elif op in CELLS and use.position in (5, 6):
                    found.add(End("state", use.key, use.position))
                elif op in CELLS and use.position == 0:
                    found.add(End("input", use.key))
                elif op != "Shape":
                    found.add(End("compute", use.key, use.position))
        return found

    def branch_outputs(self, key: Key, position: int) -> list[Name]:
        """What the branches of an If give as its output at ``position``."""
        inner = [path for path, holder in self._holder.items() if holder == key]
        return [self.owner(path, self.bodies[path].outputs[position]) for path in inner]

    def readers(self, value: Name) -> set[Key]:
        """The nodes that a value comes to, until one of them computes with it."""
        found: set[Key] = set()
        waiting = [value]
        while waiting:
            for use in self.uses.get(waiting.pop(), ()):
                if use.key is None or use.key in found:
                    continue
                found.add(use.key)
                if self._rearranges(use):
                    outputs = self.nodes[use.key].output
                    waiting.extend((use.body, output) for output in outputs if output)
        return found

    def is_reversed(self, path: str, name: str) -> bool:
        """Whether a value is turned round an odd number of times on its way."""
        turns = 0
        value = self.owner(path, name)
        while value in self.producer:
            key = self.producer[value]
            node = self.nodes[key]
            op = full_type(node)
            if op not in VIEWS or not node.input:
                break
            turns += op == "ReverseSequence" or (op == "Slice" and self._steps_back(key))
            value = self.owner(key[0], node.input[0])
        return turns % 2 == 1

    def _steps_back(self, key: Key) -> bool:
        node = self.nodes[key]
        if len(node.input) < 5:
            return False
        steps = self.bodies[key[0]].find(node.input[4]).old.value
        return steps is not None and any(step == -1 for step in steps)

    def _rearranges(self, use: Use) -> bool:
        """Whether a use hands the value on: rearranged, or with one number added to it."""
        if use.key is None:
            return False
        node = self.nodes[use.key]
        op = full_type(node)
        if op not in _ARITHMETIC:
            return op in VIEWS and (use.position == 0 or op == "Concat")
        body = self.bodies[use.body]
        others = [
            body.find(name).old.shape for at, name in enumerate(node.input) if at != use.position
        ]
        return all(shape is not None and all(dim == 1 for dim in shape) for shape in others)

    def _returned(self, use: Use, found: set[End]) -> Iterator[Name]:
        """Where an output of a graph goes: out of the model, or on as the output of an If."""
        holder = self._holder.get(use.body)
        if holder is None:
            found.add(End("output", None, use.position))
            return
        node = self.nodes[holder]
        if node.op_type == "If" and use.position < len(node.output):
            yield (holder[0], node.output[use.position])
        else:
            found.add(End("compute", holder, use.position))

    def sequence(self, path: str, name: str) -> Name:
        """The value that a value holds all entries of, in this order or another."""
        value = self.owner(path, name)
        while value in self.producer:
            key = self.producer[value]
            if not self._is_view(key) or not self._is_whole(key):
                break
            value = self.owner(key[0], self.nodes[key].input[0])
        return value

    def _is_view(self, key: Key) -> bool:
        """Whether a node rearranges its input; a look-up in a stored table makes a value."""
        node = self.nodes[key]
        op = full_type(node)
        if op not in VIEWS or not node.input:
            return False
        return op != "Gather" or not self.bodies[key[0]].find(node.input[0]).constant

    def _is_whole(self, key: Key) -> bool:
        """Whether a node that rearranges leaves nothing out and adds nothing."""
        node, body = self.nodes[key], self.bodies[key[0]]
        if full_type(node) not in ("Concat", "Gather", "Slice", "Split"):
            return True
        before, after = [body.find(name).old.shape for name in (node.input[0], node.output[0])]
        return before is not None and before == after

    def sources(self, path: str, name: str) -> set[Name]:
        """The values that a value is made of by rearranging alone."""
        found: set[Name] = set()
        seen: set[Name] = set()
        waiting = [self.owner(path, name)]
        while waiting:
            value = waiting.pop()
            if value in seen:
                continue
            seen.add(value)
            key = self.producer.get(value)
            node = None if key is None else self.nodes[key]
            if key is None or node is None or not self._is_view(key):
                found.add(value)
                continue
            read: Sequence[str] = node.input if node.op_type == "Concat" else node.input[:1]
            waiting.extend(self.owner(key[0], source) for source in read)
        return found

    def state_inputs(self) -> frozenset[str]:
        """The graph inputs that feed initial states and nothing else."""
        found = set()
        for name in self.root.facts:
            if name in self.root.stored or ("", name) in self.producer:
                continue
            ends = self.ends(("", name))
            if ends and all(end.kind == "state" for end in ends):
                found.add(name)
        return frozenset(found)
