"""Everything around the recurrent layers: parameters and MACs against PyTorch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch_models import (
    Tied,
    graph,
    measured_macs,
    ops,
    parameters,
    report,
    shape,
    source,
)

pytestmark = pytest.mark.torch


class Speech(nn.Module):
    """Convolutions, a recurrent stack and a classifier of the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Sequential(
            nn.Conv1d(16, 24, 3, padding=1, stride=2),
            nn.BatchNorm1d(24),
            nn.ReLU(),
            nn.MaxPool1d(2),
        )
        self.lstm = nn.LSTM(24, 10, 2, batch_first=True)
        self.head = nn.Linear(10, 4)

    def forward(self, x: Any) -> Any:
        y, _ = self.lstm(self.front(x.transpose(1, 2)).transpose(1, 2))
        return self.head(y[:, -1]).log_softmax(-1)


def signal(*size: int) -> Any:
    return torch.zeros(size)


MODULES: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(16, 4), (2, 7, 16)),
    "linear without bias": (lambda: nn.Linear(16, 4, bias=False), (2, 7, 16)),
    "conv1d": (lambda: nn.Conv1d(16, 8, 3, padding=1, stride=2, dilation=2), (2, 16, 30)),
    "conv1d without batch": (lambda: nn.Conv1d(16, 8, 3), (16, 30)),
    "conv1d same": (lambda: nn.Conv1d(16, 8, 3, padding="same"), (2, 16, 30)),
    "depthwise": (lambda: nn.Conv1d(16, 16, 3, groups=16), (2, 16, 30)),
    "conv2d": (lambda: nn.Conv2d(3, 8, (3, 5), padding=(1, 2), groups=1), (2, 3, 12, 9)),
    "conv3d": (lambda: nn.Conv3d(2, 4, 3), (1, 2, 5, 6, 7)),
    "transposed": (lambda: nn.ConvTranspose1d(16, 8, 4, 2, 1, output_padding=1), (2, 16, 7)),
    "transposed groups": (lambda: nn.ConvTranspose2d(8, 6, 3, groups=2), (1, 8, 5, 5)),
    "batch norm": (lambda: nn.BatchNorm1d(16), (2, 16, 7)),
    "batch norm without affine": (lambda: nn.BatchNorm2d(3, affine=False), (2, 3, 4, 4)),
    "instance norm": (lambda: nn.InstanceNorm1d(16, affine=True), (2, 16, 7)),
    "group norm": (lambda: nn.GroupNorm(4, 16), (2, 16, 7)),
    "layer norm": (lambda: nn.LayerNorm(16), (2, 7, 16)),
    "layer norm of two": (lambda: nn.LayerNorm((7, 16), bias=False), (2, 7, 16)),
    "activations": (
        lambda: nn.Sequential(nn.PReLU(16), nn.GELU(), nn.SiLU(), nn.Softplus(), nn.Hardswish()),
        (2, 16),
    ),
    "learned slope": (nn.PReLU, (2, 16)),
    "glu": (lambda: nn.Sequential(nn.Conv1d(16, 16, 1), nn.GLU(1)), (2, 16, 7)),
    "pooled": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
        ),
        (2, 3, 12, 12),
    ),
    "upsampled": (
        lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv1d(7, 3, 3)),
        (2, 7, 16),
    ),
    "weight norm": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Conv1d(16, 8, 3)),
        (2, 16, 7),
    ),
    "speech": (Speech, (2, 40, 16)),
    "padded": (lambda: nn.Sequential(nn.ConstantPad1d(2, 0.0), nn.Conv1d(16, 4, 3)), (2, 16, 7)),
    "container": (
        lambda: nn.Sequential(nn.Unflatten(1, (8, 2)), nn.Flatten(), nn.Identity()),
        (2, 16),
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_parameters_and_macs(name: str) -> None:
    make, size = MODULES[name]
    module = make()
    found = report(module, signal(*size))
    assert found.totals.params == parameters(module)
    assert found.totals.macs == measured_macs(module, signal(*size))
    assert found.uncounted == []
    assert found.warnings == []


@pytest.mark.parametrize("name", MODULES)
def test_shapes_alone_give_the_graph_of_a_real_run(name: str) -> None:
    make, size = MODULES[name]
    module = make()
    followed, run = (graph(module, signal(*size), trace=trace) for trace in (False, True))
    assert followed == run


def test_embedding_and_tied_weights_are_stored_once() -> None:
    module = Tied()
    words = torch.zeros(2, 7, dtype=torch.int64)
    found = report(module, words)
    assert found.totals.params == parameters(module)
    assert found.totals.macs == measured_macs(module, words)
    (row,) = [row for row in found.ops if row.op_type == "Gather"]
    assert (row.name, row.params) == ("embed", 30 * 16)


def test_weights_tied_by_storage_are_stored_once() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(8, 8, bias=False)
            self.b = nn.Linear(8, 4, bias=False)
            self.b.weight = nn.Parameter(self.a.weight.data[:4])

        def forward(self, x: Any) -> Any:
            return self.b(self.a(x))

    assert report(Shared(), signal(2, 8)).totals.params == 64


def test_embedding_bag() -> None:
    found = report(nn.EmbeddingBag(20, 8, mode="sum"), torch.zeros(2, 7, dtype=torch.int64))
    assert found.totals.params == 160
    assert found.totals.adds == (2 * 7 - 2) * 8


def test_multihead_attention() -> None:
    module = nn.MultiheadAttention(16, 4, batch_first=True)
    x = signal(2, 7, 16)
    found = report(module, x, x, x)
    projections = 2 * 7 * 16 * 16 * 4
    products = 2 * (2 * 4 * 7 * 7 * 4)
    assert found.totals.macs == projections + products
    assert found.totals.params == parameters(module)


@pytest.mark.parametrize("training", [False, True])
def test_transformer_layer_is_counted_as_it_is_written(training: bool) -> None:
    module = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    module.train(training)
    x = signal(2, 7, 16)
    found = report(module, x)
    attention = 2 * (2 * 4 * 7 * 7 * 4)
    # PyTorch's own count leaves attention out on the CPU.
    assert found.totals.macs == measured_macs(module, x) + attention
    assert found.totals.params == parameters(module)
    assert found.uncounted == []


def test_scaled_dot_product_attention() -> None:
    class Causal(nn.Module):
        def forward(self, q: Any, k: Any, v: Any) -> Any:
            return scaled_dot_product_attention(q, k, v, is_causal=True)

    q, k, v = signal(2, 4, 7, 8), signal(2, 4, 9, 8), signal(2, 4, 9, 6)
    (op,) = ops(graph(Causal(), q, k, v), "Attention")
    assert [shape(op, at) for at in range(3)] == [(2, 4, 7, 8), (2, 4, 9, 8), (2, 4, 9, 6)]
    assert op.attrs["is_causal"] == 1
    assert report(Causal(), q, k, v).totals.macs == 2 * 4 * 7 * 9 * (8 + 6)


def test_einsum_keeps_its_equation() -> None:
    class Contract(nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            return torch.einsum("bij,bjd->bid", a, b)

    a, b = signal(2, 3, 4), signal(2, 4, 5)
    (op,) = ops(graph(Contract(), a, b), "Einsum")
    assert op.attrs["equation"] == "bij,bjd->bid"
    assert report(Contract(), a, b).totals.macs == 2 * 3 * 4 * 5


def test_linear_layer_as_gemm() -> None:
    (op,) = ops(graph(nn.Linear(16, 4), signal(2, 7, 16)), "Gemm")
    assert [shape(op, at) for at in range(3)] == [(14, 16), (4, 16), (4,)]
    assert op.attrs == {"transB": 1}
    found = report(nn.Linear(16, 4), signal(2, 7, 16)).totals
    assert (found.macs, found.bias_adds, found.adds) == (14 * 64, 14 * 4, 0)


def test_convolution_attributes() -> None:
    module = nn.Conv1d(16, 8, 3, padding=1, stride=2, dilation=2, groups=4)
    (op,) = ops(graph(module, signal(2, 16, 30)), "Conv")
    assert op.attrs == {
        "group": 4,
        "kernel_shape": (3,),
        "strides": (2,),
        "dilations": (2,),
        "pads": (1, 1),
    }


def test_statistics_are_no_parameters() -> None:
    (op,) = ops(graph(nn.BatchNorm1d(16), signal(2, 16, 7)), "BatchNormalization")
    roots = [t.stored[0].root for t in op.inputs[1:] if t]
    assert roots == ["weight", "bias", "running_mean", "running_var"]
    assert report(nn.BatchNorm1d(16), signal(2, 16, 7)).totals.params == 32


def test_buffers_used_as_weights_are_counted_and_named() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.zeros(50, 16))
            self.register_buffer("mask", torch.ones(50, 50, dtype=torch.bool))
            self.scores = nn.Linear(16, 7)

        def forward(self, x: Any) -> Any:
            x = self.scores(x + self.table[: x.shape[1]])
            return x.masked_fill(self.mask[:7, :7], 0.0)

    module = Positions()
    found = report(module, signal(2, 7, 16))
    assert found.totals.params == parameters(module) + 7 * 16
    assert found.warnings == ["buffers used as weights are counted in params: table"]


def test_unused_parameters_are_stored_but_not_active() -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used = nn.Linear(8, 4)
            self.spare = nn.Linear(8, 5)

        def forward(self, x: Any) -> Any:
            return self.used(x)

    module = Spare()
    found = report(module, signal(2, 8))
    assert found.totals.params == parameters(module)
    assert found.totals.active_params == 8 * 4 + 4
    assert found.warnings == ["never used in this run, but stored: spare.weight, spare.bias"]
    spare = [op for op in graph(module, signal(2, 8)).ops if op.executions == 0]
    assert [op.name for op in spare] == ["spare/weight", "spare/bias"]


def test_parts_of_a_parameter_and_scalars_are_counted_whole() -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.zeros(50, 16))
            self.scale = nn.Parameter(torch.tensor(2.0))
            self.factor = nn.Parameter(torch.zeros(1))

        def forward(self, x: Any) -> Any:
            return (x + self.table[: x.shape[1]]) * self.scale * self.factor

    module = Parts()
    assert report(module, signal(2, 7, 16)).totals.params == parameters(module)


def test_an_operator_without_a_rule_is_listed() -> None:
    class Odd(nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.special.bessel_j0(x)

    found = report(Odd(), signal(2, 8))
    assert [u.op_type for u in found.uncounted] == ["torch::special_bessel_j0"]
    assert found.coverage == 0.0


def test_names_follow_named_modules() -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x: Any) -> Any:
            for _ in range(3):
                x = torch.tanh(self.fc(x)) + x
            return torch.sigmoid(x) + torch.sigmoid(-x)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Inner(), Inner()])
            self.rnn = nn.GRU(8, 8, 2)

        def forward(self, x: Any) -> Any:
            for block in self.blocks:
                x = block(x)
            return self.rnn(x)[0]

    names = [op.name for op in graph(Outer(), signal(5, 2, 8)).ops]
    assert names[:3] == ["blocks.0.fc", "blocks.0/tanh", "blocks.0/add"]
    assert names[3:9] == names[:3] * 2
    assert names[9:13] == [
        "blocks.0/sigmoid",
        "blocks.0/neg",
        "blocks.0/sigmoid_1",
        "blocks.0/add_1",
    ]
    assert names[13:26] == [name.replace("blocks.0", "blocks.1") for name in names[:13]]
    assert names[26:] == ["rnn.l0", "rnn.l1"]


def test_inputs_outputs_and_origin() -> None:
    found = source(nn.LSTM(6, 8), signal(5, 2, 6))
    assert [(t.name, t.dtype, t.shape) for t in found.graph.inputs] == [
        ("input", "float32", (5, 2, 6))
    ]
    assert [t.shape for t in found.graph.outputs] == [(5, 2, 8), (1, 2, 8), (1, 2, 8)]
    assert found.format == "torch"
    assert found.producer == f"pytorch {torch.__version__}"
    assert found.shapes == {"input": (5, 2, 6)}
    assert found.symbolic is None


def test_half_precision() -> None:
    module = nn.LSTM(6, 8).bfloat16()
    found = source(module, shapes={"input": (5, 2, 6)})
    (op,) = ops(found.graph, "LSTM")
    assert {t.dtype for t in (*op.inputs, *op.outputs) if t} == {"bfloat16"}


def test_a_compiled_module_is_followed_as_written() -> None:
    module = nn.Sequential(nn.Linear(8, 4), nn.Tanh())
    assert report(torch.compile(module), signal(2, 8)).totals.macs == 64
