"""Modules for the tests of the PyTorch front end, and what they must cost."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear
from torch.utils.flop_counter import FlopCounterMode

from rnncost.analysis import analyze
from rnncost.frontends.torch import load_module
from rnncost.graph.ir import Graph, Op
from rnncost.graph.source import Request, Source
from rnncost.report.model import Report, Totals

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
MULTIPLIES = {"LSTM": 3, "GRU": 3, "RNN": 0}
ADDS = {"LSTM": 4 + 1, "GRU": 3 + 2, "RNN": 1}
ACTIVATIONS = {"LSTM": 5, "GRU": 3, "RNN": 1}

METRICS = ("params", "macs", "multiplies", "adds", "bias_adds", "activations", "sequential_steps")


def report(module: Any, *inputs: Any, **options: Any) -> Report:
    return analyze(module, inputs, symbolic=False, **options)


def source(module: Any, *inputs: Any, **request: Any) -> Source:
    return load_module(module, inputs, Request(**request))


def graph(module: Any, *inputs: Any, **request: Any) -> Graph:
    return source(module, *inputs, **request).graph


def ops(one: Graph, op_type: str) -> list[Op]:
    return [op for op in one.ops if op.op_type == op_type]


def shape(op: Op, index: int) -> tuple[int, ...] | None:
    tensor = op.tensor(index)
    return None if tensor is None else tensor.shape


def metrics(totals: Totals) -> dict[str, int]:
    return {name: getattr(totals, name) for name in METRICS}


def recurrent_truth(
    cell: str,
    *,
    inputs: int,
    hidden: int,
    steps: int,
    rows: int,
    layers: int = 1,
    directions: int = 1,
    bias: bool = True,
    proj: int = 0,
) -> dict[str, int]:
    """The metrics of a stack of layers, from the tables of docs/counting.md.

    ``rows`` is the number of live rows over all steps (steps times batch, if none ends early).
    """
    gates, width = GATES[cell], proj or hidden
    total = dict.fromkeys(METRICS, 0)
    for layer in range(layers):
        fan_in = inputs if layer == 0 else directions * width
        weights = gates * hidden * (fan_in + width) + proj * hidden
        biases = 2 * gates * hidden if bias else 0
        total["params"] += directions * (weights + biases)
        each = directions * rows
        total["macs"] += each * weights
        total["multiplies"] += each * MULTIPLIES[cell] * hidden
        total["adds"] += each * ADDS[cell] * hidden
        total["bias_adds"] += each * biases
        total["activations"] += each * ACTIVATIONS[cell] * hidden
        total["sequential_steps"] += steps
    return total


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def measured_macs(module: nn.Module, *inputs: Any) -> int:
    """Products that PyTorch itself counts while it runs the module, fused kernels off."""
    module.eval()
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            counter = FlopCounterMode(display=False)
            with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False), counter:
                module(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return int(counter.get_total_flops()) // 2


class CellLoop(nn.Module):
    """One of PyTorch's cells in a Python loop over [T, B, I]; states given or default."""

    def __init__(self, cell: nn.Module, *, start: bool = False, store: bool = False) -> None:
        super().__init__()
        self.cell = cell
        self.start = start
        self.store = store

    def forward(self, x: torch.Tensor, state: Any = None) -> torch.Tensor:
        if self.start:
            zeros = torch.zeros(x.shape[1], self.cell.hidden_size, device=x.device)
            state = (zeros, zeros) if isinstance(self.cell, nn.LSTMCell) else zeros
        kept = torch.empty(x.shape[0], x.shape[1], self.cell.hidden_size)
        outputs = []
        for t in range(x.shape[0]):
            state = self.cell(x[t], state)
            h = state[0] if isinstance(state, tuple) else state
            outputs.append(h)
            kept[t] = h
        return kept if self.store else torch.stack(outputs)


class LinearLstm(nn.Module):
    """An LSTM of two nn.Linear layers, over [T, B, I]."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.i2h = nn.Linear(inputs, 4 * hidden)
        self.h2h = nn.Linear(hidden, 4 * hidden)
        self.hidden = hidden

    def forward(self, x: torch.Tensor, state: Any = None) -> torch.Tensor:
        zeros = x.new_zeros(x.shape[1], self.hidden)
        h, c = (zeros, zeros) if state is None else state
        for t in range(x.shape[0]):
            i, f, g, o = (self.i2h(x[t]) + self.h2h(h)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return h


class RawLstm(nn.Module):
    """An LSTM of bare parameters, over [B, T, I], gates cut out by slicing."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(inputs, 4 * hidden))
        self.u = nn.Parameter(torch.randn(hidden, 4 * hidden))
        self.b = nn.Parameter(torch.zeros(4 * hidden))
        self.hidden = hidden

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        n = self.hidden
        h = torch.zeros(x.size(0), n).to(x.device)
        c = torch.zeros(x.size(0), n).to(x.device)
        sequence = []
        for t in range(x.size(1)):
            gates = x[:, t] @ self.w + h @ self.u + self.b
            i, f = torch.sigmoid(gates[:, :n]), torch.sigmoid(gates[:, n : 2 * n])
            g, o = torch.tanh(gates[:, 2 * n : 3 * n]), torch.sigmoid(gates[:, 3 * n :])
            c = f * c + i * g
            h = o * torch.tanh(c)
            sequence.append(h.unsqueeze(0))
        return torch.cat(sequence, 0).transpose(0, 1).contiguous(), h


class GateGru(nn.Module):
    """A GRU with a matrix a gate for the input and one parameter, viewed, for the state."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.w = nn.ParameterList([nn.Parameter(torch.randn(hidden, inputs)) for _ in range(3)])
        self.u = nn.Parameter(torch.randn(3 * hidden, hidden))
        self.hidden = hidden

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x.new_zeros(x.shape[1], self.hidden)
        u = self.u.view(3, self.hidden, self.hidden)
        for t in range(x.shape[0]):
            r = torch.sigmoid(linear(x[t], self.w[0]) + linear(h, u[0]))
            z = torch.sigmoid(linear(x[t], self.w[1]) + linear(h, u[1]))
            n = torch.tanh(linear(x[t], self.w[2]) + linear(r * h, u[2]))
            h = (1 - z) * n + z * h
        return h


class Attention(nn.Module):
    """An encoder and a decoder that attends to it additively, word by word."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.GRU(16, 12, bidirectional=True, batch_first=True)
        self.embed = nn.Embedding(20, 8)
        self.cell = nn.GRUCell(8 + 24, 10)
        self.keys = nn.Linear(24, 10)
        self.query = nn.Linear(10, 10)
        self.score = nn.Linear(10, 1, bias=False)
        self.out = nn.Linear(10, 20)

    def forward(self, x: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        encoded, _ = self.encoder(x)
        keys = self.keys(encoded)
        h = encoded.new_zeros(x.shape[0], 10)
        outputs = []
        for t in range(words.shape[1]):
            scores = self.score(torch.tanh(keys + self.query(h).unsqueeze(1))).squeeze(-1)
            context = torch.bmm(scores.softmax(1).unsqueeze(1), encoded).squeeze(1)
            h = self.cell(torch.cat([self.embed(words[:, t]), context], 1), h)
            outputs.append(self.out(h))
        return torch.stack(outputs, 1)


class Packed(nn.Module):
    """A layer between pack_padded_sequence and pad_packed_sequence, over [B, T, I]."""

    def __init__(self, layer: nn.Module, *, sort: bool = False) -> None:
        super().__init__()
        self.layer = layer
        self.sort = sort

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=not self.sort
        )
        output, _ = self.layer(packed)
        padded, _ = nn.utils.rnn.pad_packed_sequence(output, batch_first=True)
        return padded


class Tied(nn.Module):
    """A language model whose output layer is its embedding."""

    def __init__(self, words: int = 30, width: int = 16) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(self.embed(words))[0])


class Halting(nn.Module):
    """A cell that runs until a value computed from its state says stop."""

    def __init__(self, limit: int = 5) -> None:
        super().__init__()
        self.cell = nn.GRUCell(16, 12)
        self.halt = nn.Linear(12, 1)
        self.limit = limit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.shape[0], 12)
        steps = 0
        while steps < self.limit and self.halt(h).mean() < 1e9:
            h = self.cell(x, h)
            steps += 1
        return h


def tiny_net() -> nn.Module:
    """For factories on the command line."""
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh())


def words_net() -> tuple[nn.Module, Sequence[torch.Tensor]]:
    return Tied(), (torch.zeros(2, 7, dtype=torch.int64),)
