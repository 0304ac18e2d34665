"""Which inputs of a model are states, and which outputs are the same states afterwards.

An input is a state where nothing but views (slices, transpositions, branches, sums with a
constant) lies between it and the initial state of a recurrent operator; an output likewise,
from a final state.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from rnncost.along_time.nodes import RECURRENT, bodies, inputs_of
from rnncost.errors import BindingError, nearest

if TYPE_CHECKING:
    import onnx

Slot = tuple[int, str]
"""A state of a recurrent operator: the operator's number and ``h`` or ``c``."""

_VIEWS = frozenset(
    "Cast Concat Expand Flatten Gather Identity Reshape Slice Split Squeeze Transpose "
    "Unsqueeze".split()
)


def state_inputs(model: onnx.ModelProto) -> dict[str, frozenset[Slot]]:
    """The inputs that are initial states, and of which operators."""
    flow = _Flow(model.graph)
    stored = {tensor.name for tensor in model.graph.initializer}
    found = {}
    for info in model.graph.input:
        if info.name not in stored:
            reached = flow.after(info.name)
            slots = frozenset(slot for name in reached for slot in flow.initial.get(name, ()))
            if slots:
                found[info.name] = slots
    return found


def length_inputs(model: onnx.ModelProto) -> frozenset[str]:
    """The inputs that are the ``sequence_lens`` of a recurrent operator."""
    flow = _Flow(model.graph)
    return frozenset(
        info.name for info in model.graph.input if flow.after(info.name) & flow.lengths
    )


def state_pairs(model: onnx.ModelProto) -> dict[str, str]:
    """For each state input the one output that the same states come out of."""
    flow = _Flow(model.graph)
    outputs: dict[str, set[Slot]] = {}
    for name, ends in flow.final.items():
        for output in flow.after(name) & {info.name for info in model.graph.output}:
            outputs.setdefault(output, set()).update(ends)
    pairs = {}
    for name, slots in state_inputs(model).items():
        # An output that several branches lead to has the states of all of them.
        holding = {output: found for output, found in outputs.items() if found >= slots}
        exact = [output for output, found in holding.items() if found == slots]
        matching = exact or list(holding)
        if len(matching) == 1:
            pairs[name] = matching[0]
    return pairs


def final_states(model: onnx.ModelProto) -> frozenset[str]:
    """The outputs that are final states of a recurrent operator."""
    flow = _Flow(model.graph)
    reached = {value for name in flow.final for value in flow.after(name)}
    return frozenset(info.name for info in model.graph.output if info.name in reached)


def handed_on(
    model: onnx.ModelProto, named: Mapping[str, str], per_chunk: Collection[str]
) -> dict[str, str]:
    """Which inputs take what from the chunk before, as ``{input: output}``.

    Args:
        model: the model.
        named: pairs that were given; they come before those that are found.
        per_chunk: inputs that have data for each chunk, which are not handed on.

    Raises:
        BindingError: an input has both.
    """
    both = next((name for name in named if name in per_chunk), None)
    if both is not None:
        raise BindingError(
            f"input {both!r} has data for each chunk and is handed on from {named[both]!r}: give "
            "data of its start alone, or do not name it as a state"
        )
    pairs = {**state_pairs(model), **named}
    return {name: output for name, output in pairs.items() if name not in per_chunk}


class _Flow:
    """Where values go by views alone, in all graphs of a model: names are unique in it.

    ``initial`` has the slots of values that are initial states, ``final`` those of values
    that are final ones, and ``lengths`` are the numbers of steps of rows.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.initial: dict[str, list[Slot]] = {}
        self.final: dict[str, list[Slot]] = {}
        self.lengths: set[str] = set()
        self._next: dict[str, set[str]] = {}
        self._operators = 0
        self._constant: set[str] = set()
        self._follow(graph)

    def after(self, name: str) -> set[str]:
        """Every value that views make of one, itself too."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting.extend(self._next.get(one, ()))
        return found

    def _link(self, sources: Iterable[str], targets: Iterable[str]) -> None:
        targets = [name for name in targets if name]
        for source in filter(None, sources):
            self._next.setdefault(source, set()).update(targets)

    def _follow(self, graph: onnx.GraphProto) -> None:
        self._constant.update(tensor.name for tensor in graph.initializer)
        for node in graph.node:
            fixed = [name in self._constant for name in node.input]
            if all(fixed) and not any(True for _ in bodies(node)):
                self._constant.update(node.output)
            elif node.op_type in RECURRENT:
                self._slots(node)
            elif node.op_type == "Add":
                if any(fixed):
                    self._link(node.input, node.output)
            elif node.op_type in _VIEWS:
                # Further inputs say how the view looks; only those of Concat are viewed.
                viewed = node.input if node.op_type == "Concat" else node.input[:1]
                self._link(viewed, node.output)
            for _, body in bodies(node):
                self._follow(body)
                self._through(node, body)

    def _through(self, node: onnx.NodeProto, body: onnx.GraphProto) -> None:
        """Values that go into and come out of a body."""
        inside, outside = list(body.input), list(body.output)
        if node.op_type == "Loop":  # trips and condition go in, the condition comes out first
            outside = outside[1:]
            inside, read = inside[2:], node.input[2:]
        else:
            read = node.input if node.op_type == "Scan" else []
        for name, info in zip(read, inside, strict=False):
            self._link([name], [info.name])
        for info, name in zip(outside, node.output, strict=False):
            self._link([info.name], [name])

    def _slots(self, node: onnx.NodeProto) -> None:
        number = self._operators
        self._operators += 1
        inputs = inputs_of(node)
        if "sequence_lens" in inputs:
            self.lengths.add(inputs["sequence_lens"])
        for letter, name in (("h", "initial_h"), ("c", "initial_c")):
            if name in inputs:
                self.initial.setdefault(inputs[name], []).append((number, letter))
        for letter, name in zip("hc", node.output[1:], strict=False):
            if name:
                self.final.setdefault(name, []).append((number, letter))


def check_states(model: onnx.ModelProto, states: Mapping[str, str]) -> None:
    """Make sure that given pairs name inputs and outputs of a model.

    Raises:
        BindingError: a name is unknown.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    known = {
        "input": [info.name for info in model.graph.input if info.name not in stored],
        "output": [info.name for info in model.graph.output],
    }
    for pair in states.items():
        for (kind, names), name in zip(known.items(), pair, strict=True):
            if name not in names:
                raise BindingError(
                    f"the model has no {kind} {name!r}{nearest(name, names)}; its {kind}s are "
                    f"{', '.join(names)}"
                )
