"""PyTorch modules with recurrent layers, and their ONNX exports, for the tests of variants."""

from __future__ import annotations

import io
import warnings
from typing import Any

import onnx
import torch
from torch import nn

LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class Recurrent(nn.Module):
    """A stack of one kind, read by a head in the way that ``head`` names."""

    def __init__(
        self,
        cell: str,
        layers: int = 1,
        *,
        bidirectional: bool = False,
        hidden: int = 12,
        head: str = "steps",
        features: int = 10,
        batch_first: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.rnn = LAYERS[cell](
            features,
            hidden,
            layers,
            bidirectional=bidirectional,
            batch_first=batch_first,
            bias=bias,
        )
        width = hidden * (2 if bidirectional else 1)
        self.head = head
        self.directions = 2 if bidirectional else 1
        if head == "norm":
            self.norm = nn.LayerNorm(width)
        if head == "batchnorm":
            self.norm = nn.BatchNorm1d(width)
        if head == "conv":
            self.conv = nn.Conv1d(width, 7, 3, padding=1)
        if head == "depthwise":
            self.conv = nn.Conv1d(width, width, 3, padding=1, groups=width)
        if head == "attention":
            self.score = nn.Linear(width, 1)
        if head == "residual":
            self.inward = nn.Linear(features, width)
        if head == "mlp":
            self.first = nn.Linear(width, 8)
        read = {"conv": 7, "mlp": 8, "skip": width + features}.get(head, width)
        self.linear = nn.Linear(read, 5)

    def forward(self, x: torch.Tensor, *state: torch.Tensor) -> Any:
        given = (state if len(state) > 1 else state[0]) if state else None
        y, final = self.rnn(x, given)
        hidden = final[0] if isinstance(final, tuple) else final
        head = self.head
        if head == "stream":
            return (self.linear(y), *(final if isinstance(final, tuple) else (final,)))
        if head == "last":
            return self.linear(y[:, -1])
        if head == "state":
            last = hidden[-self.directions :]
            return self.linear(torch.cat(list(last), dim=-1) if len(last) > 1 else last[0])
        if head in ("norm",):
            y = self.norm(y)
        if head == "batchnorm":
            y = self.norm(y.transpose(1, 2)).transpose(1, 2)
        if head in ("conv", "depthwise"):
            y = torch.relu(self.conv(y.transpose(1, 2))).transpose(1, 2)
        if head == "attention":
            y = (torch.softmax(self.score(torch.tanh(y)), dim=1) * y).sum(1)
        if head == "residual":
            y = y + self.inward(x)
        if head == "skip":
            y = torch.cat([y, x], dim=-1)
        if head == "mlp":
            y = torch.relu(self.first(y))
        if head == "pool":
            y = y.mean(dim=1)
        return self.linear(y)


HEADS = (
    "steps", "last", "state", "norm", "batchnorm", "conv", "depthwise", "attention", "residual",
    "skip", "mlp", "pool",
)  # fmt: skip


def export(module: nn.Module, *inputs: torch.Tensor, dynamo: bool = False, **options: Any) -> Any:
    """The module as an ONNX model."""
    module.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            program = torch.onnx.export(module, inputs, dynamo=True, verbose=False, **options)
            assert program is not None
            return program.model_proto
        buffer = io.BytesIO()
        torch.onnx.export(module, inputs, buffer, dynamo=False, **options)
    return onnx.load_from_string(buffer.getvalue())
