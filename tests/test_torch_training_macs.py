"""Backward products against those that PyTorch's autograd executes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch_models import Attention, CellLoop, GateGru, LinearLstm, Packed, RawLstm, Tied
from training_support import (
    Attending,
    Normed,
    Outputs,
    Speech,
    Stream,
    Words,
    clear,
    counted,
    executed,
    executed_macs,
    training,
)

pytestmark = pytest.mark.torch

T, B, IN, H = 5, 2, 6, 8
VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "LSTM": ({}, {"proj_size": 3}),
    "GRU": ({},),
    "RNN": ({}, {"nonlinearity": "relu"}),
}


def stacks(cell: str) -> Iterator[tuple[nn.Module, bool]]:
    flags = itertools.product((1, 2, 3), (False, True), (False, True), (False, True))
    for layers, both, bias, batch_first in flags:
        for options in VARIANTS[cell]:
            yield (
                getattr(nn, cell)(
                    IN,
                    H,
                    num_layers=layers,
                    bidirectional=both,
                    bias=bias,
                    batch_first=batch_first,
                    **options,
                ),
                batch_first,
            )


@pytest.mark.parametrize("cell", VARIANTS)
def test_every_stack_multiplies_what_autograd_executes(cell: str) -> None:
    for module, batch_first in stacks(cell):
        x = torch.zeros((B, T, IN) if batch_first else (T, B, IN))
        assert counted(module, x) == executed(module, x), module
        assert counted(module, x[0]) == executed(module, x[0]), module


@pytest.mark.parametrize("cell", VARIANTS)
def test_packed_sequences_send_back_live_rows(cell: str) -> None:
    lengths = torch.tensor([5, 4, 2, 2])
    for module, batch_first in stacks(cell):
        if batch_first:
            packed = Packed(module)
            x = torch.zeros(4, T, IN)
            assert counted(packed, x, lengths) == executed(packed, x, lengths), module


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_cells_in_a_loop(cell: Any, start: bool, bias: bool) -> None:
    module = CellLoop(cell(IN, H, bias=bias), start=start)
    x = torch.zeros(T, B, IN)
    assert counted(module, x) == executed(module, x)


MODELS: dict[str, tuple[Any, Any]] = {
    "linear lstm": (lambda: LinearLstm(IN, H), torch.zeros(T, B, IN)),
    "raw lstm": (lambda: RawLstm(IN, H), torch.zeros(B, T, IN)),
    "gate gru": (lambda: GateGru(IN, H), torch.zeros(T, B, IN)),
    "tied": (Tied, torch.zeros(2, 7, dtype=torch.int64)),
    "speech": (Speech, torch.zeros(2, 1, 16, 20)),
    "words": (Words, torch.zeros(2, 7, dtype=torch.int64)),
    "normed": (Normed, torch.zeros(2, 6, 24)),
    "attending": (Attending, torch.zeros(2, 6, 16)),
}


@pytest.mark.parametrize("name", MODELS)
def test_whole_models(name: str) -> None:
    make, x = MODELS[name]
    module = make()
    assert counted(module, x) == executed(module, x)


def test_an_encoder_and_a_decoder_with_attention() -> None:
    inputs = torch.zeros(2, 5, 16), torch.zeros(2, 4, dtype=torch.int64)
    assert counted(Attention(), *inputs) == executed(Attention(), *inputs)


def test_a_row_by_hand() -> None:
    found = training(nn.LSTM(IN, H, num_layers=2), torch.zeros(T, B, IN))
    first, second = found.ops
    gates = 4 * H
    assert first.forward_macs == first.backward_weight_macs == T * B * gates * (IN + H)
    # No gradient of the input, and none of the state before the first step.
    assert first.backward_data_macs == (T - 1) * B * gates * H
    assert second.backward_data_macs == T * B * gates * H + (T - 1) * B * gates * H
    total = found.forward_macs + found.backward_data_macs + found.backward_weight_macs
    assert found.step_macs == total
    assert found.recomputed_macs == 0


# What needs no gradient


class Learned(nn.Module):
    """A GRU whose first state is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(IN, H)
        self.h0 = nn.Parameter(torch.ones(1, 1, H))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gru(x, self.h0.expand(-1, x.shape[1], -1).contiguous())[0]


def test_a_learned_state_gets_a_gradient() -> None:
    x = torch.zeros(T, B, IN)
    assert counted(Learned(), x) == executed(Learned(), x)
    plain = training(nn.GRU(IN, H), x)
    learned = training(Learned(), x)
    assert learned.backward_data_macs == plain.backward_data_macs + B * 3 * H * H


def test_a_given_state_gets_none() -> None:
    inputs = torch.zeros(T, B, IN), torch.zeros(2, B, H)
    module = nn.GRU(IN, H, num_layers=2)
    assert counted(module, *inputs) == executed(module, *inputs)


@pytest.mark.parametrize(
    "frozen",
    ["weight_ih_l0", "weight_hh_l0", "weight_hh_l1", "weight_ih_l1_reverse", "l0", "l1", "weight"],
)
@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_frozen_weights_get_none(frozen: str, cell: str) -> None:
    module = getattr(nn, cell)(IN, H, num_layers=2, bidirectional=True)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(frozen not in name)
    x = torch.zeros(T, B, IN)
    assert counted(module, x) == executed(module, x)


class CutOff(nn.Module):
    """Two layers; gradients are cut off between them, and a third runs without any."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = nn.GRU(IN, H), nn.GRU(H, H)
        self.side = nn.Linear(H, H)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.below(x)[0].detach()
        with torch.no_grad():
            z = self.side(y)
        return self.above(y + z)[0]


def test_gradients_that_forward_cuts_off() -> None:
    x = torch.zeros(T, B, IN)
    assert counted(CutOff(), x) == executed(CutOff(), x)
    found = training(CutOff(), x)
    above = sum(p.numel() for p in CutOff().above.parameters())
    assert found.trained_params == above
    assert {op.name: op.backward_weight_macs > 0 for op in found.ops} == {
        "below": False,
        "side": False,
        "above": True,
    }


class DeadEnd(nn.Module):
    """A branch that no output depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 3), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.unused(x)
        return self.used(x)


def test_what_leads_to_no_output_is_not_run_backwards() -> None:
    x = torch.zeros(2, 4)
    assert counted(DeadEnd(), x) == executed(DeadEnd(), x) == (2 * 4 * 8, 2 * 4 * 3)


class Products(nn.Module):
    """Products of two computed values, by several operators."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.a, self.b = nn.Linear(4, 6), nn.Linear(4, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = self.a(x), self.b(x)
        if self.kind == "einsum":
            return torch.einsum("bti,bsi->bts", left, right)
        if self.kind == "bmm":
            return torch.bmm(left, right.transpose(1, 2))
        if self.kind == "attention":
            return nn.functional.scaled_dot_product_attention(
                left[:, None], right[:, None], x[:, None]
            )
        return left[0] @ right[0].T


@pytest.mark.parametrize("kind", ["einsum", "bmm", "attention", "matmul"])
def test_products_of_two_computed_values(kind: str) -> None:
    module, x = Products(kind), torch.zeros(2, 5, 4)
    assert counted(module, x) == executed(module, x)


def test_convolutions() -> None:
    module = nn.Sequential(
        nn.Conv1d(4, 6, 3, stride=2, padding=1), nn.ReLU(), nn.ConvTranspose1d(6, 4, 4, stride=2)
    )
    x = torch.zeros(2, 4, 11)
    assert counted(module, x) == executed(module, x)


def test_groups_divide_all_products_alike() -> None:
    """PyTorch's counter leaves the groups out of the gradient of weights, so by hand."""
    found = training(nn.Conv1d(4, 6, 3, padding=1, groups=2), torch.zeros(2, 4, 10))
    assert found.forward_macs == found.backward_weight_macs == 2 * 10 * 6 * (4 // 2) * 3
    assert found.backward_data_macs == 0


# Truncation and checkpointing


def detached(state: Any) -> Any:
    return tuple(s.detach() for s in state) if isinstance(state, (tuple, list)) else state.detach()


def run_truncated(module: nn.Module, x: torch.Tensor, steps: int) -> None:
    """Each window's backward pass before the next one; the optimiser would run between."""
    state: Any = None
    for at in range(0, len(x), steps):
        clear(module)
        y, state = module(x[at : at + steps], state)
        state = detached(state)
        (y * 2.0).sum().backward()


def run_checkpointed(module: nn.Module, x: torch.Tensor, steps: int) -> None:
    clear(module)
    state: Any = None
    results = []
    for at in range(0, len(x), steps):
        y, state = checkpoint(module, x[at : at + steps], state, use_reentrant=False)
        results.append(y)
    torch.stack([(y * 2.0).sum() for y in results]).sum().backward()


def step_macs(module: nn.Module, x: torch.Tensor, **options: Any) -> int:
    return training(Outputs(module), x, **options).step_macs


@pytest.mark.parametrize("cell", VARIANTS)
@pytest.mark.parametrize("layers", [1, 2])
def test_windows_execute_what_is_counted(cell: str, layers: int) -> None:
    module, x = Stream(cell, IN, H, layers), torch.zeros(13, B, IN)
    for steps in (1, 4, 13, 50):
        truncated = executed_macs(partial(run_truncated, module, x, steps))
        assert step_macs(module, x, bptt=steps) == truncated, steps
        again = executed_macs(partial(run_checkpointed, module, x, steps))
        assert step_macs(module, x, checkpoint=steps) == again, steps


def test_segments_are_the_square_root_of_the_steps() -> None:
    module = nn.LSTM(IN, H)
    for steps, segment in ((1, 1), (16, 4), (17, 5), (100, 10)):
        found = training(module, torch.zeros(steps, B, IN), checkpoint=True)
        assert found.checkpoint_steps == segment
        assert found.recomputed_macs == found.forward_macs
