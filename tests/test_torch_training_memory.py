"""What training keeps and its peak, against PyTorch's saved tensors and its allocator."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from test_torch_training_macs import run_checkpointed, run_truncated
from torch import nn
from torch_models import CellLoop, GateGru, LinearLstm, Packed, RawLstm, Tied
from training_support import (
    Attending,
    Net,
    Normed,
    Outputs,
    Speech,
    Stream,
    Words,
    allocated_peak,
    counted,
    executed,
    saved_bytes,
    step_peak,
    training,
)

from rnncost.report.model import Training
from rnncost.training.layers import workspace_bytes

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(
        platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available(),
        reason="the figures are those of PyTorch on x86 with oneDNN",
    ),
]

T, B, IN, H = 5, 2, 6, 8
TOLERANCE = 0.1
CELLS = ("LSTM", "GRU", "RNN")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other make small layers slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def kept(module: nn.Module, *inputs: Any) -> int:
    return training(module, *inputs).activation_bytes


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("both", [False, True])
def test_layers_keep_what_autograd_saves(cell: str, layers: int, both: bool) -> None:
    more: tuple[dict[str, Any], ...] = ({}, {"proj_size": 3}) if cell == "LSTM" else ({},)
    flags = itertools.product((False, True), (False, True), (0.0, 0.2), more)
    for bias, batch_first, dropout, options in flags:
        if dropout and layers == 1:
            continue
        module = getattr(nn, cell)(
            IN,
            H,
            num_layers=layers,
            bidirectional=both,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            **options,
        )
        x = torch.randn((B, T, IN) if batch_first else (T, B, IN))
        assert kept(module, x) == saved_bytes(module, x), module
        assert kept(module, x[0]) == saved_bytes(module, x[0]), module


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("both", [False, True])
def test_given_states_are_the_callers(cell: str, both: bool) -> None:
    module = getattr(nn, cell)(IN, H, num_layers=2, bidirectional=both)
    h = torch.randn(2 * (1 + both), B, H)
    state = (h, torch.randn_like(h)) if cell == "LSTM" else h
    x = torch.randn(T, B, IN)
    assert kept(module, x, state) == saved_bytes(module, x, state)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_packed_sequences_keep_live_rows(cell: str, both: bool, dropout: float) -> None:
    for options in ({}, {"proj_size": 3}) if cell == "LSTM" else ({},):
        layer = getattr(nn, cell)(
            IN,
            H,
            num_layers=2,
            bidirectional=both,
            dropout=dropout,
            batch_first=True,
            **options,
        )
        inputs = torch.randn(4, T, IN), torch.tensor([5, 4, 2, 2])
        assert kept(Packed(layer), *inputs) == saved_bytes(Packed(layer), *inputs)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
@pytest.mark.parametrize("start", [False, True])
def test_cells_keep_what_autograd_saves(cell: Any, start: bool) -> None:
    module, x = CellLoop(cell(IN, H), start=start), torch.randn(T, B, IN)
    assert kept(module, x) == saved_bytes(module, x)


MODELS: dict[str, tuple[Any, Any]] = {
    "linear lstm": (lambda: LinearLstm(16, 32), torch.randn(30, 4, 16)),
    "raw lstm": (lambda: RawLstm(16, 32), torch.randn(4, 30, 16)),
    "gate gru": (lambda: GateGru(16, 32), torch.randn(30, 4, 16)),
    "tied": (lambda: Tied(300, 64), torch.randint(300, (8, 40))),
    "speech": (Speech, torch.randn(4, 1, 40, 20)),
    "words": (Words, torch.randint(300, (8, 35))),
    "normed": (Normed, torch.randn(8, 50, 24)),
}


@pytest.mark.parametrize("name", MODELS)
def test_whole_models_keep_what_autograd_saves(name: str) -> None:
    make, x = MODELS[name]
    module = make()
    assert kept(module, x) == saved_bytes(module, x)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_attention_keeps_what_autograd_saves(dropout: float) -> None:
    """With dropout PyTorch takes single operators, which keep the weights of all pairs."""
    for module in (
        Attending(dropout),
        nn.TransformerEncoderLayer(16, 4, 32, dropout, batch_first=True),
    ):
        x = torch.randn(4, 30, 16)
        assert kept(module, x) == saved_bytes(module, x)
        assert counted(module, x) == executed(module, x)


class Between(nn.Module):
    """A linear layer, a function of its result, and another linear layer."""

    def __init__(self, function: Any, module: nn.Module | None = None) -> None:
        super().__init__()
        self.below, self.above = nn.Linear(6, 8), nn.Linear(8, 8)
        self.function, self.module = function, module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.above(self.function(self.below(x)))


FUNCTIONS: dict[str, Any] = {
    "maximum": lambda y: torch.maximum(y, y.sin()),
    "minimum": lambda y: torch.minimum(y, y * 2),
    "max of an axis": lambda y: y.max(1)[0],
    "amax": lambda y: y.amax(1),
    "rms": nn.RMSNorm(8),
    "rms without weight": nn.RMSNorm(8, elementwise_affine=False),
    "layer": nn.LayerNorm(8),
    "instance": nn.InstanceNorm1d(5),
    "instance with weight": nn.InstanceNorm1d(5, affine=True),
    "group": nn.GroupNorm(5, 5),
    "logsumexp": lambda y: y.logsumexp(1, keepdim=True) + y,
    "silu": nn.functional.silu,
    "max pool": nn.MaxPool2d((2, 1)),
    "top": lambda y: y.topk(2, 1)[0],
    "softmax": lambda y: y.softmax(-1),
    "division": lambda y: y / (y.abs() + 1),
    "choice": lambda y: torch.where(y > 0, y, y * 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_keep_what_autograd_saves(name: str) -> None:
    function = FUNCTIONS[name]
    module = Between(function, function if isinstance(function, nn.Module) else None)
    x = torch.randn(4, 5, 6)
    assert kept(module, x) == saved_bytes(module, x)


class Ordered(nn.Module):
    """A layer on values that lie in memory in another order than it needs, or in its own."""

    def __init__(self, cell: str, how: str) -> None:
        super().__init__()
        self.how = how
        self.front = nn.Linear(6, 6)
        self.rnn = getattr(nn, cell)(6, 8, batch_first=how != "steps first")
        self.next = getattr(nn, cell)(8, 8, batch_first=how == "stacked")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.front(x)
        if self.how == "channels":
            y = torch.relu(y.transpose(1, 2).contiguous()).transpose(1, 2)
        elif self.how in ("transposed", "steps first"):
            y = y.transpose(0, 1)
        y = self.rnn(y)[0]
        if self.how == "back":
            y = y.transpose(0, 1)
        return self.next(y)[0]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("how", ["channels", "transposed", "steps first", "back", "stacked"])
def test_layers_copy_what_does_not_lie_step_by_step(cell: str, how: str) -> None:
    module, x = Ordered(cell, how), torch.randn(3, T, 6)
    assert kept(module, x) == saved_bytes(module, x)


def test_double_precision_runs_as_single_operators() -> None:
    module = nn.LSTM(IN, H).double()
    x = torch.randn(T, B, IN, dtype=torch.float64)
    found = training(module, x)
    assert found.ops[0].implementation == "native"
    assert found.activation_bytes == saved_bytes(module, x)


def test_the_workspace_by_hand() -> None:
    """oneDNN's own parts at T = 20, B = 4, I = 32, H = 64, each on a page of its own."""
    gates = 4 * 20 * 4 * (256 + 16)  # a multiple of 256 columns gets 16 more
    parts = [gates, 4 * 20 * 4 * 64, *[4 * 2 * 21 * 4 * 64] * 5]
    total = sum(-(-part // 4096) * 4096 for part in parts)
    assert workspace_bytes(20, 4, 32, 64) == total == 335872


# Formulas


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_formulas_give_the_bytes_of_every_length_and_batch(
    cell: str, both: bool, bias: bool
) -> None:
    module = getattr(nn, cell)(IN, H, num_layers=2, bidirectional=both, bias=bias, batch_first=True)
    for steps, batch in ((2, 2), (7, 3), (40, 5)):
        found = training(module, torch.zeros(batch, steps, IN))
        again = training(module, torch.zeros(3, 9, IN))
        assert found.formula == again.formula
        value = eval(again.formula, {"T": steps, "B": batch})
        pages = 7 * 4096 * 2 * (1 + both) if cell == "LSTM" else 0
        assert value <= found.activation_bytes <= value + pages
        if not pages:
            assert sum(eval(op.formula, {"T": steps, "B": batch}) for op in found.ops) == value


# Peaks


def beside(found: Training) -> int:
    """The peak without parameters, optimiser and inputs, which are there before the step."""
    peak = found.peak
    return peak.total_bytes - peak.parameter_bytes - peak.optimizer_bytes - peak.input_bytes


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("steps", "batch", "inputs", "hidden"),
    [(50, 8, 32, 64), (100, 4, 64, 128), (12, 32, 96, 256), (10, 130, 16, 32)],
)
def test_peaks_of_layers(cell: str, steps: int, batch: int, inputs: int, hidden: int) -> None:
    x = torch.randn(steps, batch, inputs)
    options: tuple[dict[str, Any], ...] = (
        {},
        {"num_layers": 2, "dropout": 0.1},
        {"bidirectional": True},
        {"last": True},
    )
    for option in options:
        module = Net(cell, inputs, hidden, **option)
        estimate = beside(training(module, x, optimizer="none"))
        assert estimate == pytest.approx(step_peak(module, x), rel=TOLERANCE), option
        module.rnn.requires_grad_(False)
        estimate = beside(training(module, x, optimizer="none"))
        assert estimate == pytest.approx(step_peak(module, x), rel=TOLERANCE), ("frozen", option)


class Fixed(Net):
    """The same with the recurrent layer under ``no_grad``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y = self.rnn(x)[0]
        return self.fc(y)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("both", [False, True])
def test_peaks_without_gradients(cell: str, both: bool) -> None:
    module = Fixed(cell, 64, 96, bidirectional=both)
    for x in (torch.randn(100, 4, 64), torch.randn(20, 130, 64)):
        estimate = beside(training(module, x, optimizer="none"))
        assert estimate == pytest.approx(step_peak(module, x), rel=TOLERANCE)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("steps", [1, 2])
def test_peaks_of_short_sequences(cell: str, steps: int) -> None:
    module, x = Net(cell, 64, 64), torch.randn(steps, 4, 64)
    estimate = beside(training(module, x, optimizer="none"))
    assert estimate == pytest.approx(step_peak(module, x), rel=TOLERANCE)


@pytest.mark.parametrize("name", MODELS)
def test_peaks_of_whole_models(name: str) -> None:
    make, x = MODELS[name]
    module = make()
    estimate = beside(training(module, x, optimizer="none"))
    assert estimate == pytest.approx(step_peak(module, x), rel=TOLERANCE)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("layers", "steps", "window"), [(1, 60, 10), (2, 60, 7)])
def test_peaks_of_windows(cell: str, layers: int, steps: int, window: int) -> None:
    module, x = Stream(cell, 32, 64, layers), torch.randn(steps, 8, 32)
    for run, options in (
        (run_truncated, {"bptt": window}),
        (run_checkpointed, {"checkpoint": window}),
    ):
        found = training(Outputs(module), x, **options)
        run(module, x, window)
        module.zero_grad(set_to_none=True)
        measured = allocated_peak(partial(run, module, x, window))
        given = found.peak.total_bytes - beside(found)
        assert found.peak.total_bytes == pytest.approx(given + measured, rel=TOLERANCE), options


def test_truncation_and_checkpoints_need_less() -> None:
    module, x = nn.LSTM(32, 64, num_layers=2), torch.zeros(400, 8, 32)
    whole = training(module, x)
    truncated = training(module, x, bptt=20)
    again = training(module, x, checkpoint=20)
    # The states of the segments' ends come on top of a window.
    assert truncated.activation_bytes < again.activation_bytes < whole.activation_bytes / 10
    assert truncated.peak.total_bytes < again.peak.total_bytes < whole.peak.total_bytes / 3
    assert (truncated.bptt_steps, again.checkpoint_steps) == (20, 20)
    longer = training(module, torch.zeros(800, 8, 32), bptt=20)
    assert longer.activation_bytes == truncated.activation_bytes


def test_the_parts_of_a_peak_are_the_whole() -> None:
    for module, x in ((nn.GRU(IN, H), torch.zeros(T, B, IN)), (Words(), MODELS["words"][1])):
        peak = training(module, x).peak
        parts = (
            peak.parameter_bytes,
            peak.optimizer_bytes,
            peak.input_bytes,
            peak.activation_bytes,
            peak.gradient_bytes,
            peak.transient_bytes,
        )
        assert sum(parts) == peak.total_bytes
        assert min(parts) >= 0


# Optimisers


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("adam", torch.optim.Adam),
        ("sgd", lambda p: torch.optim.SGD(p, 0.1)),
        ("sgd-momentum", lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
    ],
)
def test_optimizers_hold_what_torch_optim_holds(name: str, make: Any) -> None:
    module, x = Net("GRU", 32, 64), torch.randn(2, 1, 32)
    optimizer = make(module.parameters())
    for _ in range(2):
        module(x).sum().backward()
        optimizer.step()
    state = sum(
        value.nbytes
        for each in optimizer.state.values()
        for value in each.values()
        if isinstance(value, torch.Tensor) and value.dim()
    )
    found = training(module, x, optimizer=name)
    assert found.optimizer_bytes == state
    assert found.gradient_bytes == sum(p.nbytes for p in module.parameters())
    if name == "adam":
        # So short a sequence that the optimiser needs most.
        assert found.peak.where == "optimizer"
        working = found.peak.transient_bytes
        assert working == pytest.approx(allocated_peak(optimizer.step), rel=0.05)


# What is written to


def test_memory_that_onednn_reserves_and_never_writes_to_is_left_out() -> None:
    steps, batch, inputs, hidden = 50, 8, 32, 64
    module, x = nn.LSTM(inputs, hidden), torch.zeros(steps, batch, inputs)
    peak = training(module, x).peak
    states = (steps + 1) * batch
    # Room for a projection, and for the states of one layer more: three as wide as the wider of
    # input and state, and two cell states.
    unused = 4 * steps * batch * hidden + 4 * states * (3 * hidden + 2 * hidden)
    assert peak.where == "backward pass of LSTM"
    assert peak.total_bytes - peak.resident_bytes == unused
    plain = training(nn.GRU(inputs, hidden), x).peak
    assert plain.resident_bytes == plain.total_bytes
