"""nn.RNN, nn.GRU and nn.LSTM against the tables of docs/counting.md."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch_models import (
    Packed,
    graph,
    measured_macs,
    metrics,
    ops,
    parameters,
    recurrent_truth,
    report,
    shape,
)

pytestmark = pytest.mark.torch

T, B, IN, H = 5, 2, 6, 8
CELLS = ("LSTM", "GRU", "RNN")


def layer(cell: str, **options: Any) -> Any:
    return getattr(nn, cell)(IN, H, **options)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_every_metric_of_every_stack(cell: str, layers: int, both: bool, bias: bool) -> None:
    for batch_first in (False, True):
        module = layer(
            cell, num_layers=layers, bidirectional=both, bias=bias, batch_first=batch_first
        )
        x = torch.zeros((B, T, IN) if batch_first else (T, B, IN))
        found = report(module, x)
        assert metrics(found.totals) == recurrent_truth(
            cell,
            inputs=IN,
            hidden=H,
            steps=T,
            rows=T * B,
            layers=layers,
            directions=1 + both,
            bias=bias,
        )
        assert found.totals.params == parameters(module)
        assert found.uncounted == []
        assert found.warnings == []


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("both", [False, True])
def test_macs_are_those_that_pytorch_counts_when_it_runs(cell: str, both: bool) -> None:
    module = layer(cell, num_layers=2, bidirectional=both)
    x = torch.zeros(T, B, IN)
    assert report(module, x).totals.macs == measured_macs(module, x)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_projection(layers: int, both: bool, bias: bool) -> None:
    module = nn.LSTM(IN, H, num_layers=layers, bidirectional=both, bias=bias, proj_size=3)
    x = torch.zeros(T, B, IN)
    found = report(module, x).totals
    assert metrics(found) == recurrent_truth(
        "LSTM",
        inputs=IN,
        hidden=H,
        steps=T,
        rows=T * B,
        layers=layers,
        directions=1 + both,
        bias=bias,
        proj=3,
    )
    assert found.params == parameters(module)
    assert found.macs == measured_macs(module, x)
    (first, *_) = ops(graph(module, x), "LSTM")
    assert first.attrs["proj_size"] == 3
    assert shape(first, 2) == (1 + both, 4 * H, 3)
    assert shape(first, 8) == (1 + both, 3, H)


def test_slots_and_attributes_of_a_layer() -> None:
    module = nn.GRU(IN, H, num_layers=2, bidirectional=True)
    first, second = ops(graph(module, torch.zeros(T, B, IN)), "GRU")
    assert (first.name, second.name) == ("GRU.l0", "GRU.l1")
    assert [shape(first, at) for at in range(4)] == [
        (T, B, IN),
        (2, 3 * H, IN),
        (2, 3 * H, H),
        (2, 6 * H),
    ]
    assert first.attrs == {
        "direction": "bidirectional",
        "hidden_size": H,
        "linear_before_reset": 1,
    }
    y, y_h = first.outputs
    assert y is not None
    assert y_h is not None
    assert (y.shape, y_h.shape) == ((T, 2, B, H), (2, B, H))
    above = second.inputs[0]
    assert above is not None
    assert (above.name, above.shape) == (y.name, (T, B, 2 * H))
    roots = [slab.root for tensor in first.inputs if tensor for slab in tensor.stored]
    assert roots == [
        "weight_ih_l0",
        "weight_ih_l0_reverse",
        "weight_hh_l0",
        "weight_hh_l0_reverse",
        "bias_ih_l0",
        "bias_hh_l0",
        "bias_ih_l0_reverse",
        "bias_hh_l0_reverse",
    ]


def test_nonlinearity() -> None:
    module = nn.RNN(IN, H, nonlinearity="relu", bidirectional=True)
    (op,) = ops(graph(module, torch.zeros(T, B, IN)), "RNN")
    assert op.attrs["activations"] == ("Relu", "Relu")
    (op,) = ops(graph(nn.RNN(IN, H), torch.zeros(T, B, IN)), "RNN")
    assert op.attrs["activations"] == ("Tanh",)


@pytest.mark.parametrize("cell", CELLS)
def test_input_without_a_batch_is_a_batch_of_one(cell: str) -> None:
    module = layer(cell, num_layers=2, bidirectional=True)
    found = report(module, torch.zeros(T, IN)).totals
    assert metrics(found) == recurrent_truth(
        cell, inputs=IN, hidden=H, steps=T, rows=T, layers=2, directions=2
    )


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_between_layers_costs_nothing_in_evaluation(cell: str) -> None:
    plain, dropped = layer(cell, num_layers=3), layer(cell, num_layers=3, dropout=0.5)
    x = torch.zeros(T, B, IN)
    assert metrics(report(dropped, x).totals) == metrics(report(plain, x).totals)


@pytest.mark.parametrize("layers", [1, 2])
def test_given_states_are_inputs_of_the_graph(layers: int) -> None:
    module = nn.LSTM(IN, H, num_layers=layers)
    states = (torch.zeros(layers, B, H), torch.zeros(layers, B, H))
    found = graph(module, torch.zeros(T, B, IN), states)
    assert [t.name for t in found.inputs] == ["input", "hx.0", "hx.1"]
    for op in ops(found, "LSTM"):
        assert (shape(op, 5), shape(op, 6)) == ((1, B, H), (1, B, H))
    truth = recurrent_truth("LSTM", inputs=IN, hidden=H, steps=T, rows=T * B, layers=layers)
    assert metrics(report(module, torch.zeros(T, B, IN), states).totals) == truth


def test_zero_states_made_inside_are_no_operands() -> None:
    class Explicit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(IN, H)

        def forward(self, x: Any) -> Any:
            h = torch.zeros(1, 1, H).expand(1, x.shape[1], H).contiguous()
            return self.lstm(x, (h, x.new_zeros(1, x.shape[1], H)))[0]

    (op,) = ops(graph(Explicit(), torch.zeros(T, B, IN)), "LSTM")
    assert op.name == "lstm"
    assert (op.tensor(5), op.tensor(6)) == (None, None)


def test_learned_initial_state_is_a_parameter() -> None:
    class Learned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.RNN(IN, H)
            self.h0 = nn.Parameter(torch.zeros(1, 1, H))

        def forward(self, x: Any) -> Any:
            return self.rnn(x, self.h0.expand(-1, x.shape[1], -1))[0]

    module = Learned()
    assert report(module, torch.zeros(T, B, IN)).totals.params == parameters(module)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("both", [False, True])
def test_packed_sequences_count_live_rows(cell: str, both: bool) -> None:
    module = Packed(layer(cell, num_layers=2, bidirectional=both, batch_first=True))
    lengths = torch.tensor([5, 4, 2])
    found = report(module, torch.zeros(3, T, IN), lengths).totals
    truth = recurrent_truth(
        cell, inputs=IN, hidden=H, steps=T, rows=5 + 4 + 2, layers=2, directions=1 + both
    )
    assert metrics(found) == truth
    assert found.macs == measured_macs(module, torch.zeros(3, T, IN), lengths)
    dense = recurrent_truth(
        cell, inputs=IN, hidden=H, steps=T, rows=3 * T, layers=2, directions=1 + both
    )
    assert found.dense_macs == dense["macs"]
    first = ops(graph(module, torch.zeros(3, T, IN), lengths), cell)[0]
    assert first.attrs["batch_sizes"] == (3, 3, 2, 2, 1)
    assert shape(first, 0) == (T, 3, IN)
    unsorted = Packed(module.layer, sort=True)
    again = report(unsorted, torch.zeros(3, T, IN), torch.tensor([2, 5, 4])).totals
    assert again.macs == truth["macs"]


def test_a_packed_sequence_as_the_input() -> None:
    packed = nn.utils.rnn.pack_sequence([torch.zeros(4, IN), torch.zeros(2, IN)])
    found = report(nn.GRU(IN, H), packed).totals
    truth = recurrent_truth("GRU", inputs=IN, hidden=H, steps=4, rows=6)
    assert metrics(found) == truth


def test_a_layer_used_twice_is_stored_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(H, H)

        def forward(self, x: Any) -> Any:
            return self.gru(self.gru(x)[0])[0]

    found = report(Twice(), torch.zeros(T, B, H)).totals
    once = recurrent_truth("GRU", inputs=H, hidden=H, steps=T, rows=T * B)
    assert found.params == once["params"]
    assert found.macs == 2 * once["macs"]
    assert found.sequential_steps == 2 * T


def test_cost_of_analysing_does_not_depend_on_the_number_of_steps() -> None:
    module = nn.LSTM(IN, H, num_layers=4)
    short = graph(module, torch.empty(100, 1, IN, device="meta"))
    long = graph(module, torch.empty(100_000, 1, IN, device="meta"))
    assert len(short.ops) == len(long.ops)
    found = report(module, torch.empty(100_000, 1, IN, device="meta")).totals
    assert found.sequential_steps == 400_000


def test_shapes_alone_take_no_memory_for_activations() -> None:
    huge = torch.empty(1_000_000, 64, 512, device="meta")
    assert report(nn.LSTM(512, 1024, device="meta"), huge).totals.sequential_steps == 1_000_000
