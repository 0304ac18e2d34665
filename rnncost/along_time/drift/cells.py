"""A recurrent operator as ONNX Scans, with an arithmetic of fewer bits at each step.

The equations are those of the operators LSTM-22, GRU-22 and RNN-22, in single precision. The
arithmetic decides how h and c are kept after each step, and how what a product reads meets its
weights: X, h and, of a GRU whose reset gate comes first, that gate times h. But for what an
arithmetic adds, only operators are used that are the same in all versions of ONNX from 9 on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from rnncost.along_time.activations import Activation
from rnncost.along_time.cells import LETTERS, Cell
from rnncost.along_time.nodes import FreshNames, Step, inputs_of

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, np.dtype[Any]]

Casts = Callable[[str, str], "list[onnx.NodeProto]"]
"""Nodes that round a value, by its name and that of the result."""


class Arithmetic(Protocol):
    """What is done in fewer bits: each adds nodes, and gives the name of the result."""

    def kept(self, emit: Emit, value: str) -> str:
        """A value as it is kept for a next product or step."""

    def product(self, emit: Emit, value: str, cell: Cell, matrix: Array, letter: str) -> str:
        """A value times the rows of one gate of ``matrix``, which is W or R of the cell."""


class RoundedValues(msgspec.Struct, frozen=True):
    """What is kept is rounded; products are of single precision, with weights as they come."""

    casts: Casts

    def kept(self, emit: Emit, value: str) -> str:
        result = emit.fresh("rounded")
        emit.nodes.extend(self.casts(value, result))
        return result

    def product(self, emit: Emit, value: str, cell: Cell, matrix: Array, letter: str) -> str:
        return emit("MatMul", [value, emit.stored(cell.block(matrix, letter).T)])


class Scans(msgspec.Struct, frozen=True):
    """Where the values of an operator are: the way to their graph, and names by ONNX's own.

    ``C`` is an LSTM's cell state after each step [T, D, B, H].
    """

    path: tuple[Step, ...]
    values: Mapping[str, str]


def add_scans(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    parts: Sequence[tuple[Cell, str]],
    arithmetic: Arithmetic,
    fresh: FreshNames,
) -> dict[str, str]:
    """Add nodes to a graph that do what a recurrent operator does, and give its values' names.

    Args:
        graph: where to add them.
        node: the operator.
        parts: its directions in their order, each with ``"forward"`` or ``"reverse"``.
        arithmetic: of what bits.
        fresh: makes names.
    """
    found = inputs_of(node)
    given: dict[str, str] = {
        key: found[key] for key in ("X", "sequence_lens", "initial_h", "initial_c") if key in found
    }
    states = "hc" if parts[0][0].kind == "lstm" else "h"
    outputs = dict(zip(("Y", "Y_h", "Y_c"), node.output, strict=False))
    names = {key: outputs.get(key) or fresh(key) for key in ("Y", *(f"Y_{s}" for s in states))}
    names |= {"C": fresh("C")} if "c" in states else {}
    made: dict[str, list[str]] = {key: [] for key in names}
    emit = Emit(graph.node, graph.initializer, fresh)
    for number, (cell, way) in enumerate(parts):
        direction = _Direction(emit, arithmetic, cell, given, number, reverse=way == "reverse")
        for key, name in direction.run().items():
            made[key].append(name)
    for key, pieces in made.items():
        series = key in ("Y", "C")
        # Each piece gets an axis of directions; the last size is known, one other is open.
        shape = [0, 1, -1, parts[0][0].units] if series else [1, -1, parts[0][0].units]
        with_axis = [emit("Reshape", [piece, emit.stored(shape)]) for piece in pieces]
        emit.named("Concat", with_axis, [names[key]], axis=1 if series else 0)
    return given | names


class Emit:
    """Appends nodes to a list, and stored tensors to the graph."""

    def __init__(self, nodes: Any, tensors: Any, fresh: FreshNames) -> None:
        self.nodes = nodes
        self.tensors = tensors
        self.fresh = fresh

    def __call__(self, op_type: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node of one output, and give that one's name."""
        name = self.fresh(op_type)
        self.named(op_type, inputs, [name], **attributes)
        return name

    def named(
        self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> None:
        """Add a node."""
        from onnx import helper

        self.nodes.append(helper.make_node(op_type, inputs, outputs, **attributes))

    def stored(self, values: Any) -> str:
        """Store an array, floats in single precision and int but int8 in 64 bits; its name."""
        import numpy as np
        from onnx import numpy_helper

        array = np.asarray(values)
        if array.dtype != np.int8:
            array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        name = self.fresh("stored")
        self.tensors.append(numpy_helper.from_array(array.copy(order="C"), name))
        return name


class _Direction:
    """One direction as a Scan."""

    def __init__(
        self,
        emit: Emit,
        arithmetic: Arithmetic,
        cell: Cell,
        given: Mapping[str, str],
        number: int,
        *,
        reverse: bool,
    ) -> None:
        self.emit = emit
        self.arithmetic = arithmetic
        self.cell = cell
        self.given = given
        self.number = number
        self.reverse = reverse
        self.states = "hc" if cell.kind == "lstm" else "h"

    def run(self) -> dict[str, str]:
        """Add the nodes; the names of Y and C [T, B, H], and of Y_h and Y_c [B, H]."""
        from onnx import TensorProto

        emit, cell = self.emit, self.cell
        x = self.given["X"]
        lengths = self.given.get("sequence_lens")
        turned = self.reverse and lengths is not None
        if lengths is not None:
            lengths = emit("Cast", [lengths], to=TensorProto.INT64)
        if turned:
            x = self._turned(x, lengths)
        fed = [self._fed(x, letter) for letter in LETTERS[cell.kind]]
        initial = [self._initial(state) for state in self.states]
        if lengths is not None:
            column = emit("Reshape", [lengths, emit.stored([-1, 1])])
            initial.append(emit.stored([[0]]))
            body = self._body(column)
        else:
            body = self._body(None)
        finals = [emit.fresh("final") for _ in initial]
        series = [emit.fresh("series") for _ in self.states]
        way = int(self.reverse and lengths is None)
        emit.named(
            "Scan",
            [*initial, *fed],
            [*finals, *series],
            body=body,
            num_scan_inputs=len(fed),
            scan_input_directions=[way] * len(fed),
            scan_output_directions=[way] * len(series),
        )
        if turned:
            series = [self._turned(one, lengths) for one in series]
        found = {"Y": series[0]} | ({"C": series[1]} if len(series) > 1 else {})
        return found | {f"Y_{s}": name for s, name in zip(self.states, finals, strict=False)}

    def _turned(self, value: str, lengths: str | None) -> str:
        assert lengths is not None
        return self.emit("ReverseSequence", [value, lengths], time_axis=0, batch_axis=1)

    def _fed(self, x: str, letter: str) -> str:
        """W·X with both biases, where the recurrent one does not go through the reset gate."""
        emit, cell = self.emit, self.cell
        bias = cell.block(cell.bias_w, letter)
        if not self._bias_inside(letter):
            bias = bias + cell.block(cell.bias_r, letter)
        product = self.arithmetic.product(emit, x, cell, cell.w, letter)
        return emit("Add", [product, emit.stored(bias)])

    def _bias_inside(self, letter: str) -> bool:
        return self.cell.kind == "gru" and letter == "h" and self.cell.linear_before_reset

    def _initial(self, state: str) -> str:
        emit = self.emit
        name = self.given.get(f"initial_{state}")
        if name is not None:
            return emit("Gather", [name, emit.stored(self.number)], axis=0)
        rows = emit("Gather", [emit("Shape", [self.given["X"]]), emit.stored([1])], axis=0)
        shape = emit("Concat", [rows, emit.stored([self.cell.units])], axis=0)
        return emit("Expand", [emit.stored(0.0), shape])

    def _body(self, lengths: str | None) -> onnx.GraphProto:
        """One step: of states and what the gates read to states, and to what a series gets.

        Where rows end early the number of steps done is a state too.
        """
        from onnx import TensorProto, helper

        emit = Emit([], self.emit.tensors, self.emit.fresh)
        inside = [emit.fresh(state) for state in self.states]
        fed = {letter: emit.fresh(letter) for letter in LETTERS[self.cell.kind]}
        state: tuple[int, tuple[int | None, int]] = (TensorProto.FLOAT, (None, self.cell.units))
        count: tuple[int, tuple[int | None, int]] = (TensorProto.INT64, (1, 1))
        inputs = [(name, *state) for name in inside]
        ends: list[tuple[str, int, tuple[int | None, int]]] = []
        before = inside
        if lengths is not None:
            done = emit.fresh("done")
            inputs.append((done, *count))
            active = emit("Less", [done, lengths])
            # After its end a row's output is 0, and one step later so is the h that counts for the
            # range of h, as in ONNX Runtime.
            zero = emit.stored(0.0)
            gone = emit("Less", [lengths, done])
            before = [emit("Where", [gone, zero, old]) for old in inside]
        after = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}[self.cell.kind](
            self.cell, emit, self.arithmetic, before, fed
        )
        after = shown = [self.arithmetic.kept(emit, value) for value in after]
        if lengths is not None:
            after = [
                emit("Where", [active, new, old]) for new, old in zip(after, inside, strict=True)
            ]
            shown = [emit("Where", [active, after[0], zero]), *after[1:]]
            ends.append((emit("Add", [done, emit.stored(1)]), *count))
        inputs += [(name, *state) for name in fed.values()]
        outputs = [(name, *state) for name in after] + ends
        # An output of a graph has a name of its own.
        outputs += [(emit("Identity", [name]), *state) for name in shown]
        return helper.make_graph(
            emit.nodes,
            "step",
            [helper.make_tensor_value_info(*info) for info in inputs],
            [helper.make_tensor_value_info(*info) for info in outputs],
        )


def _lstm(
    cell: Cell, emit: Emit, arithmetic: Arithmetic, states: Sequence[str], fed: Mapping[str, str]
) -> list[str]:
    h, c = states
    gate, candidate, output = cell.functions
    a = {letter: _recurrent(cell, emit, arithmetic, letter, h, fed[letter]) for letter in "iofc"}

    def peeped(letter: str, state: str) -> str:
        if cell.peepholes is None:
            return a[letter]
        weights = emit.stored(cell.peepholes["iof".index(letter)])
        return emit("Add", [a[letter], emit("Mul", [weights, state])])

    i = _applied(cell, emit, gate, peeped("i", c))
    if cell.coupled:
        f = emit("Sub", [emit.stored(1.0), i])
    else:
        f = _applied(cell, emit, gate, peeped("f", c))
    g = _applied(cell, emit, candidate, a["c"])
    new = emit("Add", [emit("Mul", [f, c]), emit("Mul", [i, g])])
    o = _applied(cell, emit, gate, peeped("o", new))
    return [emit("Mul", [o, _function(emit, output, new)]), new]


def _gru(
    cell: Cell, emit: Emit, arithmetic: Arithmetic, states: Sequence[str], fed: Mapping[str, str]
) -> list[str]:
    (h,) = states
    gate, candidate = cell.functions
    z, r = (
        _applied(cell, emit, gate, _recurrent(cell, emit, arithmetic, k, h, fed[k])) for k in "zr"
    )
    if cell.linear_before_reset:
        product = arithmetic.product(emit, h, cell, cell.r, "h")
        linear = emit("Add", [product, emit.stored(cell.block(cell.bias_r, "h"))])
        through = emit("Mul", [r, linear])
    else:
        shown = arithmetic.kept(emit, emit("Mul", [r, h]))
        through = arithmetic.product(emit, shown, cell, cell.r, "h")
    n = _applied(cell, emit, candidate, emit("Add", [fed["h"], through]))
    kept = emit("Sub", [emit.stored(1.0), z])
    return [emit("Add", [emit("Mul", [kept, n]), emit("Mul", [z, h])])]


def _rnn(
    cell: Cell, emit: Emit, arithmetic: Arithmetic, states: Sequence[str], fed: Mapping[str, str]
) -> list[str]:
    (h,) = states
    a = _recurrent(cell, emit, arithmetic, "h", h, fed["h"])
    return [_applied(cell, emit, cell.functions[0], a)]


def _recurrent(
    cell: Cell, emit: Emit, arithmetic: Arithmetic, letter: str, h: str, fed: str
) -> str:
    return emit("Add", [fed, arithmetic.product(emit, h, cell, cell.r, letter)])


def _applied(cell: Cell, emit: Emit, function: Activation, value: str) -> str:
    """A gate's function of its input within ``clip``."""
    if cell.clip is not None:
        value = emit("Min", [value, emit.stored(cell.clip)])
        value = emit("Max", [value, emit.stored(-cell.clip)])
    return _function(emit, function, value)


_PLAIN = {
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "softsign": "Softsign",
    "softplus": "Softplus",
}
_WITH_ALPHA = {"leakyrelu": "LeakyRelu", "elu": "Elu"}


def _function(emit: Emit, function: Activation, value: str) -> str:
    """An activation as operators that exist in all versions."""
    name, alpha, beta = function.name, function.alpha, function.beta
    if name in _PLAIN:
        return emit(_PLAIN[name], [value])
    if name in _WITH_ALPHA:
        return emit(_WITH_ALPHA[name], [value], alpha=alpha)
    if name == "hardsigmoid":
        return emit("HardSigmoid", [value], alpha=alpha, beta=beta)
    if name == "scaledtanh":
        inner = emit("Tanh", [emit("Mul", [emit.stored(beta), value])])
        return emit("Mul", [emit.stored(alpha), inner])
    if name == "thresholdedrelu":
        above = emit("Less", [emit.stored(alpha), value])
        return emit("Where", [above, value, emit.stored(0.0)])
    inner = emit("Mul", [emit.stored(alpha), value])  # affine
    return emit("Add", [inner, emit.stored(beta)])
