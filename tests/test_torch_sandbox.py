"""A module is left as it was found, and nothing else is changed by looking at it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch_models import Halting, Packed, Tied, report

from rnncost.errors import ModuleError

pytestmark = pytest.mark.torch


class Busy(nn.Module):
    """Writes to everything that it can reach."""

    def __init__(self, *, fail: bool = False) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("mean", torch.zeros(4))
        self.state: Any = None
        self.log: list[Any] = []
        self.cache: dict[str, Any] = {"a": 1}
        self.fail = fail

    def forward(self, x: Any) -> Any:
        self.calls += 1
        self.mean.mul_(0.9).add_(x.mean(0))
        self.fc.weight.data.add_(1.0)
        self.fc.bias.data[0] = 5.0
        self.mean = self.mean + 1
        self.state = self.fc(x)
        self.log.append(self.state)
        self.cache["b"] = self.state
        self.fc.weight = nn.Parameter(torch.zeros(4, 4))
        self.extra = nn.Linear(2, 2)
        if self.fail:
            raise ValueError("stop")
        return self.state


def snapshot(module: Any) -> Any:
    kept = []
    for one in module.modules():
        attributes = dict(one.__dict__)
        held = {k: list(v) for k, v in attributes.items() if isinstance(v, (list, dict))}
        named = (*one._parameters.items(), *one._buffers.items())
        tensors = {k: v.clone() for k, v in named if v is not None}
        kept.append((one, attributes, held, tensors))
    return kept


def assert_unchanged(kept: Any) -> None:
    for one, attributes, held, tensors in kept:
        assert list(one.__dict__) == list(attributes)
        assert all(one.__dict__[k] is v for k, v in attributes.items())
        assert all(list(one.__dict__[k]) == v for k, v in held.items())
        for name, value in tensors.items():
            assert torch.equal(getattr(one, name), value)


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("trace", [False, True])
def test_a_module_that_writes_everywhere(fail: bool, trace: bool) -> None:
    module = Busy(fail=fail)
    weight = module.fc.weight
    kept = snapshot(module)
    if fail:
        with pytest.raises(ModuleError, match="ValueError: stop"):
            report(module, torch.zeros(2, 4), trace=trace)
    else:
        report(module, torch.zeros(2, 4), trace=trace)
    assert_unchanged(kept)
    assert module.fc.weight is weight
    assert module.calls.item() == 0


@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        (nn.LSTM(4, 4, 2, dropout=0.3), (torch.zeros(5, 2, 4),)),
        (nn.TransformerEncoderLayer(8, 2, 8), (torch.zeros(5, 2, 8),)),
        (Tied(), (torch.zeros(2, 7, dtype=torch.int64),)),
        (Halting(), (torch.zeros(3, 16),)),
        (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout()), (torch.zeros(3, 4),)),
        (Packed(nn.GRU(4, 4, batch_first=True)), (torch.zeros(2, 3, 4), torch.tensor([3, 2]))),
    ],
)
def test_training_mode_parameters_and_random_state(module: Any, inputs: Any) -> None:
    module.train()
    list(module.modules())[-1].eval()
    before = torch.get_rng_state()
    kept = snapshot(module)
    report(module, *inputs)
    assert_unchanged(kept)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.backends.mha.get_fastpath_enabled()
    assert not torch.is_inference_mode_enabled()


def test_inputs_are_not_written_to() -> None:
    class Writes(nn.Module):
        def forward(self, x: Any, n: Any) -> Any:
            x += 1
            n += 1
            return x[: int(n[0])]

    x, n = torch.zeros(3), torch.tensor([1])
    for trace in (False, True):
        report(Writes(), x, n, trace=trace)
        assert x.sum() == 0
        assert n.tolist() == [1]


def test_no_hook_stays_behind() -> None:
    from torch.nn.modules import module as internals

    before = len(internals._global_forward_hooks), len(internals._global_forward_pre_hooks)
    report(nn.Linear(2, 2), torch.zeros(1, 2))
    with pytest.raises(ModuleError):
        report(Busy(fail=True), torch.zeros(2, 4))
    after = len(internals._global_forward_hooks), len(internals._global_forward_pre_hooks)
    assert after == before


def test_the_front_end_does_not_import_torch_by_itself() -> None:
    code = (
        "import sys, rnncost, rnncost.frontends.torch\n"
        "assert 'torch' not in sys.modules\n"
        "assert 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_common_models_are_followed_without_heavy_imports() -> None:
    """The algebra system and the compiler of torch take a second; shapes need neither."""
    code = (
        "import sys, torch\n"
        "from torch import nn\n"
        "from rnncost.frontends.torch import load_module\n"
        "from rnncost.graph.source import Request\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.front = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.ReLU())\n"
        "        self.lstm = nn.LSTM(8, 8, 2, bidirectional=True, batch_first=True)\n"
        "        self.cell, self.head = nn.GRUCell(16, 8), nn.Linear(8, 3)\n"
        "    def forward(self, x):\n"
        "        y, _ = self.lstm(self.front(x))\n"
        "        h = y.new_zeros(y.shape[0], 8)\n"
        "        for t in range(y.shape[1]):\n"
        "            h = self.cell(y[:, t], h)\n"
        "        return torch.softmax(self.head(h) + torch.sigmoid(h[:, :3]) * 2, -1)\n"
        "load_module(Net(), (torch.empty(2, 5, 8, device='meta'),), Request())\n"
        "assert 'sympy' not in sys.modules\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
