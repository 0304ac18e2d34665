"""quantize_dynamic: the MACs of the float module, weights by element, scales apart."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch_models import (
    CellLoop,
    Packed,
    graph,
    metrics,
    ops,
    recurrent_truth,
    report,
)

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(
        not torch.backends.quantized.supported_engines[1:], reason="no engine for 8-bit weights"
    ),
]

T, B, IN, H = 5, 2, 6, 8


def quantized(module: Any, dtype: Any = torch.qint8) -> Any:
    kinds = {nn.LSTM, nn.GRU, nn.Linear, nn.LSTMCell, nn.GRUCell, nn.RNNCell}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.ao.quantization import quantize_dynamic

        return quantize_dynamic(module, kinds, dtype=dtype)


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_layers(cell: str, both: bool, batch_first: bool) -> None:
    layer = getattr(nn, cell)(IN, H, num_layers=2, bidirectional=both, batch_first=batch_first)
    module = quantized(nn.Sequential(layer))
    found = report(module, torch.zeros((B, T, IN) if batch_first else (T, B, IN)))
    truth = recurrent_truth(
        cell, inputs=IN, hidden=H, steps=T, rows=T * B, layers=2, directions=1 + both
    )
    assert metrics(found.totals) == truth
    # A scale and a zero point for each of two matrices a layer and direction.
    assert found.totals.quantization_params == 2 * 2 * 2 * (1 + both)
    assert found.uncounted == []
    assert found.warnings == []
    weights = truth["params"] - 2 * (1 + both) * 2 * {"LSTM": 4, "GRU": 3}[cell] * H
    assert found.totals.weight_bytes >= weights
    assert found.totals.weight_bytes < 2 * truth["params"]


def test_weights_keep_their_names_and_types() -> None:
    module = quantized(nn.Sequential(nn.LSTM(IN, H, bidirectional=True)))
    (op,) = ops(graph(module, torch.zeros(T, B, IN)), "LSTM")
    assert op.name == "0"
    w, r, b = op.inputs[1:4]
    assert w is not None
    assert r is not None
    assert b is not None
    assert (w.dtype, w.shape) == ("int8", (2, 4 * H, IN))
    assert (r.dtype, r.shape) == ("int8", (2, 4 * H, H))
    assert (b.dtype, b.shape) == ("float32", (2, 8 * H))
    assert [slab.root for slab in w.stored] == ["0.weight_ih_l0", "0.weight_ih_l0_reverse"]
    assert [t and t.shape for t in op.inputs[9:]] == [(2, 1)] * 4


def test_packed_sequence() -> None:
    module = quantized(Packed(nn.LSTM(IN, H, batch_first=True)))
    found = report(module, torch.zeros(2, T, IN), torch.tensor([5, 3])).totals
    assert metrics(found) == recurrent_truth("LSTM", inputs=IN, hidden=H, steps=T, rows=8)


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_cells(cell: str) -> None:
    module = quantized(CellLoop(getattr(nn, f"{cell}Cell")(IN, H)))
    found = report(module, torch.zeros(T, B, IN)).totals
    assert metrics(found) == recurrent_truth(cell, inputs=IN, hidden=H, steps=T, rows=T * B)
    assert found.quantization_params == 4


def test_linear_layer() -> None:
    module = quantized(nn.Sequential(nn.Linear(16, 4)))
    found = report(module, torch.zeros(3, 5, 16)).totals
    assert (found.params, found.macs, found.bias_adds) == (68, 15 * 64, 15 * 4)
    assert found.quantization_params == 2
    (op,) = ops(graph(module, torch.zeros(3, 5, 16)), "com.microsoft::DynamicQuantizeMatMul")
    assert [t and t.shape for t in op.inputs] == [(15, 16), (16, 4), (1,), (1,), (4,)]
    weight = op.inputs[1]
    assert weight is not None
    assert (weight.dtype, weight.stored[0].root) == ("int8", "0.weight")


def test_half_precision_weights() -> None:
    module = quantized(nn.Sequential(nn.LSTM(IN, H)), torch.float16)
    found = report(module, torch.zeros(T, B, IN)).totals
    assert metrics(found) == recurrent_truth("LSTM", inputs=IN, hidden=H, steps=T, rows=T * B)
    (op,) = ops(graph(module, torch.zeros(T, B, IN)), "LSTM")
    assert op.inputs[1] is not None
    assert op.inputs[1].dtype == "float16"
    assert found.quantization_params == 0
