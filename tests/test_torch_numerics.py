"""``rnncost.numerics`` on PyTorch modules, and its gradients beside those of autograd."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rnncost
from rnncost.along_time.calls import Call, run
from rnncost.along_time.cells import pull_back
from rnncost.along_time.layers import cells
from rnncost.along_time.nodes import node_at, places
from rnncost.along_time.source import as_onnx
from rnncost.errors import BindingError, ModelError

pytestmark = pytest.mark.torch

STEPS, ROWS, INPUTS, UNITS = 12, 3, 4, 5


class Tagger(nn.Module):  # type: ignore[misc]
    """Token ids to scores through an embedding and a recurrent layer."""

    def __init__(self, cell: str = "LSTM", both: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(30, INPUTS)
        self.layer = getattr(nn, cell)(
            INPUTS, UNITS, num_layers=2, batch_first=True, bidirectional=both
        )
        self.scores = nn.Linear(2 * UNITS if both else UNITS, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.scores(self.layer(self.embedding(tokens))[0])


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_gradients_are_those_of_autograd(cell: str) -> None:
    """From the last state of every row to the first, all steps together."""
    torch.manual_seed(1)
    module = getattr(nn, cell)(INPUTS, UNITS).double()
    x = torch.randn(STEPS, ROWS, INPUTS, dtype=torch.float64)
    h = torch.randn(1, ROWS, UNITS, dtype=torch.float64, requires_grad=True)
    c = torch.randn(1, ROWS, UNITS, dtype=torch.float64, requires_grad=True)
    lstm = cell == "LSTM"
    y, after = module(x, (h, c) if lstm else h)
    states = after if lstm else (after,)
    v = [torch.randn(ROWS, UNITS, dtype=torch.float64) for _ in states]
    total = sum((state[0] * part).sum() for state, part in zip(states, v, strict=True))
    expected = torch.autograd.grad(total, (h, c) if lstm else (h,))

    example = (x.float(), (h.detach().float(), c.detach().float()) if lstm else h.detach().float())
    proto = as_onnx(module.float(), example, dims=None, shapes=None, values=None).proto
    (place,) = places(proto.graph)
    from rnncost.along_time.constants import stored_weights

    (own,) = cells(node_at(proto, place), stored_weights(proto, place, None))
    numbers = [value.detach().numpy() for value in (x, y, h[0], c[0])]
    call = Call(
        x=numbers[0],
        y=numbers[1],
        lengths=np.full(ROWS, STEPS),
        h=numbers[2],
        c=numbers[3] if lstm else None,
        y_h=states[0][0].detach().numpy(),
        y_c=states[1][0].detach().numpy() if lstm else None,
    )
    (part,) = run(own, call, ROWS, STEPS)
    back = np.concatenate([one.numpy() for one in v], axis=-1)[None]
    for t in reversed(range(STEPS)):
        back = pull_back(own, tuple(factor[t] for factor in part.block.factors), back)
    wanted = np.concatenate([one[0].numpy() for one in expected], axis=-1)
    # The exported weights are of single precision.
    np.testing.assert_allclose(back[0], wanted, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(part.block.h, call.y, atol=1e-6)


def test_a_module_runs_on_its_own_inputs() -> None:
    tokens = torch.randint(1, 30, (2, 25), generator=torch.Generator().manual_seed(0))
    module = Tagger().train()
    result = rnncost.numerics(module, (tokens,))
    assert module.training
    assert result.model == "Tagger"
    assert result.inputs.given == ["tokens"]
    assert result.inputs.source == "given"
    assert result.warnings[0].startswith("Tagger was exported to ONNX")
    assert [layer.direction for layer in result.layers] == ["forward", "reverse"] * 2
    for layer in result.layers:
        assert layer.withheld == ""
        assert (layer.sequences, layer.steps, layer.units) == (2, 25, UNITS)
    other = rnncost.numerics(Tagger(), (tokens.flip(1),))
    assert other.layers != result.layers
    data = rnncost.numerics(Tagger(), (tokens,), data={"tokens": tokens.flip(1).numpy()})
    assert data.layers == other.layers


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_a_factory_with_shapes_alone(
    cell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taggers_for_numerics.py").write_text(
        "import torch\nfrom test_torch_numerics import Tagger\n\n\ndef make():\n"
        f"    return Tagger({cell!r}, both=False)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    target = "taggers_for_numerics:make"
    result = rnncost.numerics(target, shapes={"tokens": (1, 30)})
    assert [layer.steps for layer in result.layers] == [30, 30]
    assert result.inputs.generated == {"tokens": "random rows of a table of 30"}
    with pytest.raises(BindingError, match="give --shape in place of --dim"):
        rnncost.numerics(target, dims={"seq": 3})


def test_the_forget_bias_of_a_module_shows_in_its_prior() -> None:
    module = nn.LSTM(INPUTS, UNITS)
    with torch.no_grad():
        module.bias_ih_l0.zero_()
        module.bias_hh_l0.zero_()
        module.bias_hh_l0[UNITS : 2 * UNITS] = 2.0  # PyTorch's order is i, f, g, o
    result = rnncost.numerics(module, (torch.zeros(3, 1, INPUTS),), weights_only=True)
    prior = result.layers[0].prior
    assert prior is not None
    assert prior.gate is not None
    assert prior.gate.p50 == pytest.approx(1 / (1 + np.exp(-2.0)), rel=1e-6)


def test_exports_are_not_run() -> None:
    arguments: dict[str, Any] = {"dims": None, "shapes": None, "values": None}
    with pytest.raises(ModelError, match="are not run"):
        as_onnx("module.pt2", (), **arguments)
    with pytest.raises(ModelError):
        as_onnx("module.pt", (), **arguments)


def test_a_module_without_weights_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is exported of a meta module is whatever lies in memory."""
    with torch.device("meta"):
        module = nn.LSTM(INPUTS, UNITS)
    message = "is on the meta device, so it has no weights to look at"
    for weights_only in (False, True):
        with pytest.raises(ModelError, match=f"LSTM {message}"):
            rnncost.numerics(module, (torch.zeros(3, 1, INPUTS),), weights_only=weights_only)
    (tmp_path / "meta_for_numerics.py").write_text(
        "import torch\n\n\ndef make():\n    with torch.device('meta'):\n"
        "        return torch.nn.GRU(2, 3)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    with pytest.raises(ModelError, match=f"meta_for_numerics:make {message}"):
        rnncost.numerics("meta_for_numerics:make", shapes={"input": (4, 1, 2)})


def test_a_factory_is_called_as_often_as_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once: weights and inputs are those of the same call."""
    (tmp_path / "counted_for_numerics.py").write_text(
        "import torch\n\ncalls = []\n\n\ndef make():\n    calls.append(1)\n"
        "    return torch.nn.GRU(2, 3), (torch.randn(6, 1, 2),)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    result = rnncost.numerics("counted_for_numerics:make")
    assert result.inputs.source == "given"
    assert len(sys.modules["counted_for_numerics"].calls) == 1
