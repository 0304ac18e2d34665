"""Cells in Python loops, and recurrent cells written by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch_models import (
    Attention,
    CellLoop,
    GateGru,
    Halting,
    LinearLstm,
    RawLstm,
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

T, B, IN, H = 7, 2, 6, 8
CELLS = ("LSTM", "GRU", "RNN")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("store", [False, True])
def test_a_loop_of_cells_costs_what_the_layer_does(
    cell: str, bias: bool, start: bool, store: bool
) -> None:
    module = CellLoop(getattr(nn, f"{cell}Cell")(IN, H, bias=bias), start=start, store=store)
    x = torch.zeros(T, B, IN)
    found = report(module, x)
    truth = recurrent_truth(cell, inputs=IN, hidden=H, steps=T, rows=T * B, bias=bias)
    assert metrics(found.totals) == truth
    assert found.uncounted == []
    (row,) = [row for row in found.ops if row.kind == "recurrent"]
    assert (row.name, row.op_type, row.executions) == ("cell", f"{cell}Cell", T)


def test_slots_of_a_cell_and_the_way_of_its_state() -> None:
    steps = ops(graph(CellLoop(nn.LSTMCell(IN, H)), torch.zeros(3, B, IN)), "LSTMCell")
    assert [op.name for op in steps] == ["cell"] * 3
    first, second, _ = steps
    assert [shape(first, at) for at in range(4)] == [
        (1, B, IN),
        (1, 4 * H, IN),
        (1, 4 * H, H),
        (1, 8 * H),
    ]
    assert first.tensor(5) is None
    assert [t and t.name for t in second.inputs[5:7]] == [t and t.name for t in first.outputs[1:3]]
    assert {slab.root for op in steps for t in op.inputs if t for slab in t.stored} == {
        "cell.weight_ih",
        "cell.weight_hh",
        "cell.bias_ih",
        "cell.bias_hh",
    }


def test_nonlinearity_of_a_cell() -> None:
    loop = CellLoop(nn.RNNCell(IN, H, nonlinearity="relu"))
    first = ops(graph(loop, torch.zeros(2, B, IN)), "RNNCell")[0]
    assert first.attrs["activations"] == ("Relu",)


def test_lstm_of_linear_layers() -> None:
    module = LinearLstm(IN, H)
    x = torch.zeros(T, B, IN)
    found = report(module, x)
    assert metrics(found.totals) == recurrent_truth(
        "LSTM", inputs=IN, hidden=H, steps=T, rows=T * B
    )
    assert found.totals.sequential_macs == T * B * 4 * H * H
    assert {row.name for row in found.ops if row.kind in ("product", "recurrent")} == {"i2h", "h2h"}


def test_lstm_of_bare_parameters() -> None:
    module = RawLstm(IN, H)
    x = torch.zeros(B, T, IN)
    found = report(module, x).totals
    truth = recurrent_truth("LSTM", inputs=IN, hidden=H, steps=T, rows=T * B)
    # One bias vector instead of two.
    truth["params"] -= 4 * H
    truth["bias_adds"] //= 2
    assert metrics(found) == truth
    assert found.params == parameters(module)


def test_gru_of_a_matrix_a_gate_and_a_viewed_parameter() -> None:
    module = GateGru(IN, H)
    found = report(module, torch.zeros(T, B, IN))
    truth = recurrent_truth("GRU", inputs=IN, hidden=H, steps=T, rows=T * B, bias=False)
    assert found.totals.params == truth["params"] == parameters(module)
    for name in ("macs", "multiplies", "adds", "bias_adds", "activations"):
        assert getattr(found.totals, name) == truth[name]
    # Within a step the candidate waits for the reset gate, but no weight is used twice.
    assert found.totals.sequential_steps == T


def test_decoder_with_additive_attention() -> None:
    module = Attention()
    inputs = (torch.zeros(2, 7, 16), torch.zeros(2, 5, dtype=torch.int64))
    found = report(module, *inputs)
    assert found.uncounted == []
    assert found.totals.params == parameters(module)
    assert found.totals.macs == measured_macs(module, *inputs)
    assert found.totals.sequential_steps == 7 + 5


def test_generation_follows_its_own_choices() -> None:
    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(10, IN)
            self.cell = nn.GRUCell(IN, H)
            self.head = nn.Linear(H, 10)

        def forward(self, word: Any, count: int) -> Any:
            h = torch.zeros(word.shape[0], H)
            for _ in range(count):
                h = self.cell(self.embed(word), h)
                word = self.head(h).argmax(-1)
            return word

    found = report(Generator(), torch.zeros(B, dtype=torch.int64), 6)
    assert found.totals.sequential_steps == 6
    assert found.totals.macs == 6 * B * (3 * H * (IN + H) + 10 * H)


def test_state_kept_in_a_buffer_written_in_place() -> None:
    class Memory(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.RNNCell(IN, H)

        def forward(self, x: Any) -> Any:
            states = x.new_zeros(x.shape[0] + 1, x.shape[1], H)
            for t in range(x.shape[0]):
                states[t + 1] = self.cell(x[t], states[t])
            return states

    found = report(Memory(), torch.zeros(T, B, IN)).totals
    truth = recurrent_truth("RNN", inputs=IN, hidden=H, steps=T, rows=T * B)
    assert metrics(found) == truth


def test_two_directions_by_hand_do_not_wait_for_each_other() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ahead = CellLoop(nn.GRUCell(IN, H))
            self.back = CellLoop(nn.GRUCell(IN, H))

        def forward(self, x: Any) -> Any:
            return torch.cat([self.ahead(x), self.back(x.flip(0)).flip(0)], -1)

    found = report(Both(), torch.zeros(T, B, IN))
    assert found.totals.sequential_steps == T
    assert {r.name for r in found.ops if r.kind == "recurrent"} == {"ahead.cell", "back.cell"}


def test_a_loop_that_data_decides_is_run() -> None:
    module = Halting()
    x = torch.zeros(3, 16)
    found = report(module, x)
    assert found.totals.sequential_steps == 5
    assert found.totals.macs == measured_macs(module, x)
    (warning,) = found.warnings
    assert warning.startswith("ran the module for real: aten::is_nonzero reads")
    assert "made-up x" in report(module, shapes={"x": (3, 16)}).warnings[0]


def test_known_lengths_need_no_run() -> None:
    class Ragged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(IN, H)

        def forward(self, x: Any, lengths: Any) -> Any:
            h = x.new_zeros(x.shape[1], H)
            for t in range(int(lengths.max())):
                live = (lengths > t).float().unsqueeze(1)
                h = live * self.cell(x[t], h) + (1 - live) * h
                if not (lengths > t + 1).any():
                    break
            return h[: len(lengths.tolist())]

    found = report(Ragged(), torch.zeros(T, B, IN), torch.tensor([2, 4]))
    assert found.totals.sequential_steps == 4
    assert found.warnings == []
