"""Variants of PyTorch's exports against exports of the same module built as that variant."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import onnx
import pytest
from variant_graphs import run

from rnncost.analysis import analyze
from rnncost.variants import SAME_OUTPUT_WIDTH, Change, applicable, rewrite

torch = pytest.importorskip("torch")
from variant_exports import HEADS, Recurrent, export  # noqa: E402

pytestmark = pytest.mark.torch

X = {"x": (2, 9, 10)}


def exported(module: Any, *, free: bool = True) -> onnx.ModelProto:
    axes = {"x": {0: "b", 1: "t"}} if free else None
    names = {"input_names": ["x"], "output_names": ["y"]}
    model: onnx.ModelProto = export(module, torch.zeros(X["x"]), dynamic_axes=axes, **names)
    return model


def facts(model: onnx.ModelProto) -> dict[str, Any]:
    """What two models of one architecture have in common."""
    name = model.graph.input[0].name
    report = analyze(model, shapes={name: X["x"]}, symbolic=False)
    results = run(model, {"b": 2, "t": 9}, **{name: torch.zeros(X["x"]).numpy()})
    return {
        "params": report.totals.params,
        "macs": report.totals.macs,
        "sequential_macs": report.totals.sequential_macs,
        "sequential_steps": report.totals.sequential_steps,
        "state_bytes": report.totals.state_bytes,
        "lookahead_steps": report.totals.lookahead_steps,
        "outputs": [result.shape for result in results.values()],
    }


def assert_same(base: Any, native: Any, change: Change, *, free: bool = True) -> None:
    variant = rewrite(exported(base, free=free), change).model
    assert facts(variant) == facts(exported(native, free=free))


# Every way of reading a layer, with one change that alters its width each.
@pytest.mark.parametrize("head", HEADS)
def test_what_reads_a_layer_follows(head: str) -> None:
    def net(**options: Any) -> Any:
        return Recurrent("lstm", 2, head=head, **options)

    assert_same(net(bidirectional=True), net(), Change(direction="uni"))
    assert_same(net(hidden=12), net(hidden=20), Change(hidden_size=20), free=False)


@pytest.mark.parametrize(("cell", "other"), list(permutations(("lstm", "gru", "rnn"), 2)))
@pytest.mark.parametrize("bidirectional", [False, True], ids=["uni", "bi"])
def test_cells(cell: str, other: Any, bidirectional: bool) -> None:
    both = {"bidirectional": bidirectional, "head": "state"}
    assert_same(Recurrent(cell, 2, **both), Recurrent(other, 2, **both), Change(cell=other))


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("layers", [1, 3])
def test_directions(cell: str, layers: int) -> None:
    def net(hidden: int, bidirectional: bool) -> Any:
        return Recurrent(cell, layers, hidden=hidden, bidirectional=bidirectional, head="state")

    same = SAME_OUTPUT_WIDTH
    assert_same(net(12, True), net(12, False), Change(direction="uni"))
    assert_same(net(12, False), net(12, True), Change(direction="bi"))
    assert_same(net(12, True), net(24, False), Change(direction="uni", policy=same))
    assert_same(net(12, False), net(6, True), Change(direction="bi", policy=same))


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["uni", "bi"])
@pytest.mark.parametrize("head", ["steps", "state"])
def test_layers(cell: str, bidirectional: bool, head: str) -> None:
    def net(layers: int) -> Any:
        return Recurrent(cell, layers, bidirectional=bidirectional, head=head)

    assert_same(net(2), net(1), Change(layers=1))
    assert_same(net(2), net(4), Change(layers=4))


def test_everything_at_once() -> None:
    base = Recurrent("lstm", 3, bidirectional=True, hidden=16, head="attention")
    native = Recurrent("gru", 2, hidden=24, head="attention")
    change = Change(cell="gru", direction="uni", hidden_size=24, layers=2)
    assert_same(base, native, change)


def test_layers_without_bias_and_with_time_first() -> None:
    options = {"bias": False, "batch_first": False}
    base = Recurrent("lstm", 2, bidirectional=True, **options)
    assert_same(base, Recurrent("gru", 2, **options), Change(cell="gru", direction="uni"))


def test_the_structure_of_a_stack() -> None:
    structure = applicable(exported(Recurrent("gru", 3, bidirectional=True)))
    assert [len(stack) for stack in structure.stacks] == [3]
    assert structure.cells == ("gru",)
    assert structure.directions == ("bi",)
    assert [layer.input_size for layer in structure.layers] == [10, 24, 24]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_newer_exporter(cell: Any) -> None:
    pytest.importorskip("onnxscript")

    def model(**options: Any) -> onnx.ModelProto:
        made: onnx.ModelProto = export(
            Recurrent(cell, 2, **options), torch.zeros(X["x"]), dynamo=True
        )
        return made

    uni = rewrite(model(bidirectional=True, head="norm"), Change(direction="uni")).model
    assert facts(uni) == facts(model(head="norm"))
    wide = rewrite(model(head="last"), Change(hidden_size=20)).model
    assert facts(wide) == facts(model(head="last", hidden=20))


class TwoTowers(torch.nn.Module):
    """Two inputs, two layers, joined: the widths of both sides change."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first = torch.nn.LSTM(10, hidden, batch_first=True)
        self.second = torch.nn.GRU(10, hidden, batch_first=True)
        self.gate = torch.nn.Linear(2 * hidden, hidden)
        self.norm = torch.nn.LayerNorm(hidden)
        self.linear = torch.nn.Linear(hidden, 4)

    def forward(self, x: Any) -> Any:
        a, b = self.first(x)[0], self.second(x)[0]
        z = torch.sigmoid(self.gate(torch.cat([a, b], dim=-1)))
        return self.linear(self.norm(z * a + (1 - z) * b))


def test_widths_that_are_tied_follow_together() -> None:
    assert_same(TwoTowers(12), TwoTowers(18), Change(hidden_size=18))


class MultiHead(torch.nn.Module):
    """Self-attention over the outputs: heads are cut out of the width by reshapes."""

    def __init__(self, hidden: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.rnn = torch.nn.GRU(10, hidden, batch_first=True)
        self.score = torch.nn.Linear(hidden, 3)

    def forward(self, x: Any) -> Any:
        y, _ = self.rnn(x)
        split = y.view(y.shape[0], y.shape[1], self.heads, -1).transpose(1, 2)
        weights = torch.softmax(split @ split.transpose(-1, -2), dim=-1)
        joined = (weights @ split).transpose(1, 2).flatten(2)
        return self.score(joined)


@pytest.mark.parametrize("free", [True, False], ids=["free", "fixed"])
def test_heads_of_an_attention_share_the_change(free: bool) -> None:
    assert_same(MultiHead(16), MultiHead(24), Change(hidden_size=24), free=free)


class Highway(torch.nn.Module):
    """A recurrent layer with a residual of its own width on top of an embedding."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(30, hidden)
        self.rnn = torch.nn.LSTM(hidden, hidden, batch_first=True)
        self.linear = torch.nn.Linear(hidden, 4)

    def forward(self, x: Any) -> Any:
        e = self.embedding(x)
        return self.linear(e + self.rnn(e)[0])


def test_an_embedding_on_the_other_side_of_a_residual_follows() -> None:
    def model(hidden: int) -> onnx.ModelProto:
        ids = torch.zeros((2, 9), dtype=torch.int64)
        made: onnx.ModelProto = export(Highway(hidden), ids, input_names=["x"])
        return made

    variant = rewrite(model(12), Change(hidden_size=8)).model
    got, due = (analyze(m, symbolic=False).totals for m in (variant, model(8)))
    assert (got.params, got.macs) == (due.params, due.macs)
    assert run(variant)[variant.graph.output[0].name].shape == (2, 9, 4)
