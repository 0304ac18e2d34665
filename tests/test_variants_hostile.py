"""Damaged models: a variant is made, or one sentence says why not."""

from __future__ import annotations

import random
from collections.abc import Iterator

import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from test_variants_nodes import forked, looped, pair, quantised
from test_variants_states import encoder_decoder, stacked_state, streaming

from rnncost.errors import RnncostError
from rnncost.variants import SAME_OUTPUT_WIDTH, Change, applicable, rewrite

MODELS = [
    streaming("LSTM"), stacked_state(), forked(), looped(), pair("slice"), quantised(),
    encoder_decoder("GRU", 2),
]  # fmt: skip
CHANGES = [
    Change(cell="gru"),
    Change(cell="lstm", direction="uni"),
    Change(direction="bi"),
    Change(direction="uni", policy=SAME_OUTPUT_WIDTH),
    Change(hidden_size=4),
    Change(layers=1),
    Change(layers=3),
]
OPERATORS = ["Add", "Concat", "Conv", "GRU", "Gather", "If", "LSTM", "MatMul", "Reshape", "Slice"]


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes_of(attribute.g)


def damage(model: onnx.ModelProto, draw: random.Random) -> None:
    """Change one thing about a model that a writer could get wrong."""
    nodes = list(nodes_of(model.graph))
    names = [name for node in nodes for name in node.output]
    node = draw.choice(nodes)
    kind = draw.randrange(9)
    if kind == 0 and node.input:
        node.input[draw.randrange(len(node.input))] = draw.choice(["", *names])
    elif kind == 1 and node.input:
        del node.input[draw.randrange(len(node.input))]
    elif kind == 2:
        node.input.append(draw.choice(names))
    elif kind == 3 and len(node.output):
        del node.output[draw.randrange(len(node.output))]
    elif kind == 4 and node.attribute:
        del node.attribute[draw.randrange(len(node.attribute))]
    elif kind == 5 and node.attribute:
        attribute = draw.choice(list(node.attribute))
        if attribute.type == attribute.INT:
            attribute.i = draw.choice([-5, 0, 1, 3, 99, -1, 1 << 40])
        elif attribute.ints:
            attribute.ints[draw.randrange(len(attribute.ints))] = draw.choice([-5, 0, 3, 7])
        elif attribute.type == attribute.STRING:
            attribute.s = draw.choice([b"reverse", b"bidirectional", b"sideways"])
    elif kind == 6:
        node.op_type = draw.choice(OPERATORS)
    elif kind == 7:
        tensor = draw.choice([t for t in model.graph.initializer if t.dims])
        tensor.dims[draw.randrange(len(tensor.dims))] = draw.choice([0, 1, 2, 5])
    else:
        dims = draw.choice(list(model.graph.input)).type.tensor_type.shape.dim
        if dims:
            draw.choice(list(dims)).dim_value = draw.choice([0, 1, 2, 3, 7])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(MODELS), st.sampled_from(CHANGES), st.integers(1, 3), st.integers())
def test_a_damaged_model_is_refused_in_one_sentence(
    whole: onnx.ModelProto, change: Change, times: int, seed: int
) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(whole)
    draw = random.Random(seed)
    for _ in range(times):
        damage(model, draw)
    for attempt in (lambda: rewrite(model, change), lambda: applicable(model)):
        try:
            attempt()
        except RnncostError as error:
            text = str(error)
        else:
            continue
        assert "\n" not in text
        assert len(text) > 20
