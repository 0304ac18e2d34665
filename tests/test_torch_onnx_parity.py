"""A module and its own ONNX export have equal parameters, MACs and steps."""

from __future__ import annotations

import io
import warnings
from typing import Any

import onnx
import pytest
import torch
from torch import nn
from torch_models import CellLoop, LinearLstm, metrics, report

from rnncost.analysis import analyze
from rnncost.report.model import Report

pytestmark = pytest.mark.torch

T, B, IN, H = 5, 2, 6, 8


def exported(module: Any, *inputs: Any) -> Report:
    """The report of the model that PyTorch's TorchScript-based exporter writes."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), inputs, stream, dynamo=False, opset_version=17)
    return analyze(onnx.load_from_string(stream.getvalue()), symbolic=False)


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_recurrent_layers(cell: str, layers: int, both: bool, bias: bool) -> None:
    module = getattr(nn, cell)(IN, H, num_layers=layers, bidirectional=both, bias=bias)
    x = torch.zeros(T, B, IN)
    mine, other = report(module, x).totals, exported(module, x).totals
    for name in (
        "params",
        "macs",
        "dense_macs",
        "sequential_macs",
        "sequential_steps",
        "executed_steps",
        "wavefront_steps",
        "lookahead_steps",
        "multiplies",
        "adds",
        "bias_adds",
        "activations",
        "state_bytes",
        "weight_bytes",
    ):
        assert getattr(mine, name) == getattr(other, name), name


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_given_states_and_batch_first(cell: str) -> None:
    module = getattr(nn, cell)(IN, H, num_layers=2, batch_first=True)
    state = torch.zeros(2, B, H)
    given = (state, state.clone()) if cell == "LSTM" else state
    x = torch.zeros(B, T, IN)
    mine, other = report(module, x, given).totals, exported(module, x, given).totals
    assert metrics(mine) == metrics(other)
    assert mine.compulsory_bytes == other.compulsory_bytes


@pytest.mark.parametrize(
    ("make", "states"),
    [
        (lambda: CellLoop(nn.LSTMCell(IN, H)), 2),
        (lambda: CellLoop(nn.GRUCell(IN, H)), 1),
        (lambda: CellLoop(nn.RNNCell(IN, H)), 1),
        (lambda: LinearLstm(IN, H), 2),
    ],
)
def test_unrolled_cells(make: Any, states: int) -> None:
    """The exporter unrolls the loop into products; the chain through them is the same.

    The states are inputs, as the exporter would store zeros as weights.
    """
    module, x = make(), torch.zeros(T, B, IN)
    given = tuple(torch.zeros(B, H) for _ in range(states))
    state = given if states == 2 else given[0]
    mine, other = report(module, x, state).totals, exported(module, x, state).totals
    assert mine.params == other.params
    assert mine.macs == other.macs
    assert mine.sequential_steps == other.sequential_steps


def test_a_whole_network() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.front = nn.Conv1d(IN, 10, 3, padding=1)
            self.norm = nn.LayerNorm(10)
            self.gru = nn.GRU(10, H, bidirectional=True, batch_first=True)
            self.head = nn.Linear(2 * H, 4)

        def forward(self, x: Any) -> Any:
            y = torch.relu(self.front(x.transpose(1, 2))).transpose(1, 2)
            y, _ = self.gru(self.norm(y))
            return self.head(y.mean(1))

    module, x = Net(), torch.zeros(B, T, IN)
    mine, other = report(module, x).totals, exported(module, x).totals
    assert metrics(mine) == metrics(other)
