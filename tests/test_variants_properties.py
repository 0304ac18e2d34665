"""Properties: a random stack rewritten costs what the same stack costs when it is built so."""

from __future__ import annotations

from typing import Any, NamedTuple

import onnx
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from variant_graphs import Builder, shapes, totals

from rnncost.variants import SAME_HIDDEN_SIZE, SAME_OUTPUT_WIDTH, Change, applicable, rewrite

FEATURES = 5


class Layer(NamedTuple):
    op: str
    hidden: int
    directions: int
    after: str


class Stack(NamedTuple):
    layers: tuple[Layer, ...]
    head: str
    zeros: bool
    time: int | str


def build(stack: Stack) -> onnx.ModelProto:
    """x [T, B, 5] through the layers, what comes after each, and a head."""
    b = Builder()
    y = x = b.input("x", [stack.time, "B", FEATURES])
    width = FEATURES
    for layer in stack.layers:
        extra: list[str] = []
        if stack.zeros:
            batch = b("Slice", b("Shape", x), b.ints(1), b.ints(2))
            shape = b("Concat", b.ints(layer.directions), batch, b.ints(layer.hidden), axis=0)
            zeros = b("ConstantOfShape", shape)
            extra = ["", *[zeros] * (2 if layer.op == "LSTM" else 1)]
        direction = "bidirectional" if layer.directions == 2 else "forward"
        made = b.layer(layer.op, y, width, layer.hidden, direction=direction, extra=extra)
        y = b.flat(made, layer.directions)
        width = layer.hidden * layer.directions
        y = between(b, layer.after, y, width)
    finish(b, stack, x, y, width)
    return b.model()


def between(b: Builder, after: str, y: str, width: int) -> str:
    if after == "norm":
        return b("LayerNormalization", y, b.weight(width), b.weight(width))
    if after == "scale":
        return b("Mul", b("Add", y, b.weight(width)), b.weight(1, width))
    if after == "flip":
        return b("Transpose", b("Transpose", y, perm=[2, 0, 1]), perm=[1, 2, 0])
    return b("Dropout", b("Relu", y)) if after == "relu" else y


def finish(b: Builder, stack: Stack, x: str, y: str, width: int) -> None:
    shape: list[int | str] = [stack.time, "B", 3]
    if stack.head == "steps":
        b("MatMul", y, b.weight(width, 3), outputs=("y",))
    elif stack.head == "gemm":
        flat = b("Reshape", y, b.ints(-1, width))
        made = b("Gemm", flat, b.weight(3, width), b.weight(3), transB=1)
        b(
            "Reshape",
            made,
            b("Concat", b("Slice", b("Shape", x), b.ints(0), b.ints(2)), b.ints(3), axis=0),
            outputs=("y",),
        )
    elif stack.head == "last":
        last = b("Slice", y, b.ints(-1), b.ints(1 << 60), b.ints(0))
        b("MatMul", b("Squeeze", last, b.ints(0)), b.weight(width, 3), outputs=("y",))
        shape = ["B", 3]
    elif stack.head == "conv":
        made = b("Conv", b("Transpose", y, perm=[1, 2, 0]), b.weight(3, width, 1), b.weight(3))
        b("Transpose", made, perm=[2, 0, 1], outputs=("y",))
    elif stack.head == "residual":
        made = b("Add", b("MatMul", x, b.weight(FEATURES, width)), y)
        b("MatMul", made, b.weight(width, 3), outputs=("y",))
    else:
        made = b("Concat", x, y, axis=-1)
        b("MatMul", made, b.weight(width + FEATURES, 3), outputs=("y",))
    b.output("y", shape)


layers = st.builds(
    Layer,
    op=st.sampled_from(["LSTM", "GRU", "RNN"]),
    hidden=st.sampled_from([2, 4, 6]),
    directions=st.sampled_from([1, 2]),
    after=st.sampled_from(["", "norm", "scale", "flip", "relu"]),
)
stacks = st.builds(
    Stack,
    layers=st.lists(layers, min_size=1, max_size=3).map(tuple),
    head=st.sampled_from(["steps", "gemm", "last", "conv", "residual", "skip"]),
    zeros=st.booleans(),
    time=st.sampled_from(["T", 6]),
)
changes = st.builds(
    Change,
    cell=st.sampled_from([None, "lstm", "gru", "rnn"]),
    direction=st.sampled_from([None, "uni", "bi"]),
    hidden_size=st.sampled_from([None, 4, 10]),
    policy=st.sampled_from([SAME_HIDDEN_SIZE, SAME_OUTPUT_WIDTH]),
)


def expected(stack: Stack, change: Change) -> Stack:
    """The stack in its new form."""
    made = []
    for layer in stack.layers:
        directions = {None: layer.directions, "uni": 1, "bi": 2}[change.direction]
        hidden = change.hidden_size or layer.hidden
        if change.policy == SAME_OUTPUT_WIDTH:
            hidden = layer.hidden * layer.directions // directions
        op = layer.op if change.cell is None else change.cell.upper()
        made.append(Layer(op, hidden, directions, layer.after))
    return stack._replace(layers=tuple(made))


def facts(model: onnx.ModelProto, stack: Stack) -> dict[str, Any]:
    dims = {"B": 2} | ({"T": 6} if stack.time == "T" else {})
    counted = totals(model, dims)
    names = (
        "params", "macs", "sequential_macs", "elementwise_ops", "state_bytes", "sequential_steps",
        "lookahead_steps", "streamable",
    )  # fmt: skip
    return {name: getattr(counted, name) for name in names} | shapes(model, dims)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stacks, changes)
def test_a_variant_is_the_model_built_so(stack: Stack, change: Change) -> None:
    goal = expected(stack, change)
    assume(goal != stack)
    assume(change.policy == SAME_HIDDEN_SIZE or (change.direction and not change.hidden_size))
    variant = rewrite(build(stack), change).model
    assert facts(variant, stack) == facts(build(goal), stack)
    onnx.checker.check_model(variant, full_check=True)


@settings(max_examples=30, deadline=None)
@given(stacks, st.integers(1, 4))
def test_layers_are_cut_and_repeated(stack: Stack, count: int) -> None:
    """What comes after the last layer stays where it is."""
    plain = stack._replace(layers=tuple(layer._replace(after="") for layer in stack.layers))
    assume(count != len(plain.layers))
    kept = plain.layers[:count]
    goal = plain._replace(layers=kept + (kept[-1],) * (count - len(kept)))
    variant = rewrite(build(plain), Change(layers=count)).model
    assert facts(variant, stack) == facts(build(goal), stack)


OPPOSITES = [
    (Change(cell="gru"), Change(cell="lstm"), "LSTM", 0),
    (Change(cell="rnn"), Change(cell="gru"), "GRU", 0),
    (Change(direction="uni"), Change(direction="bi"), "LSTM", 2),
    (Change(direction="bi"), Change(direction="uni"), "GRU", 1),
    (Change(direction="bi", cell="lstm"), Change(direction="uni", cell="gru"), "GRU", 1),
]


@settings(max_examples=30, deadline=None)
@given(stacks, st.sampled_from(OPPOSITES))
def test_there_and_back_costs_the_same(
    stack: Stack, opposites: tuple[Change, Change, str, int]
) -> None:
    there, back, op, directions = opposites
    layers = [x._replace(op=op, directions=directions or x.directions) for x in stack.layers]
    stack = stack._replace(layers=tuple(layers))
    model = build(stack)
    again = rewrite(rewrite(model, there).model, back).model
    assert facts(again, stack) == facts(model, stack)


@settings(max_examples=40, deadline=None)
@given(stacks)
def test_the_structure_is_that_of_the_stack(stack: Stack) -> None:
    found = applicable(build(stack))
    assert [(x.cell.upper(), x.hidden_size, x.direction) for x in found.layers] == [
        (x.op, x.hidden, "bi" if x.directions == 2 else "uni") for x in stack.layers
    ]
