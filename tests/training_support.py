"""What PyTorch itself executes, keeps and allocates in a training step."""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from rnncost.analysis import analyze
from rnncost.report.model import Training


def training(module: nn.Module, *inputs: Any, **options: Any) -> Training:
    found = analyze(module, inputs, symbolic=False, profiles=(), training=True, **options).training
    assert found is not None
    return found


def results(value: Any) -> list[torch.Tensor]:
    """The tensors of a result that a loss can depend on."""
    if isinstance(value, torch.Tensor):
        return [value] if value.requires_grad else []
    return [t for part in value for t in results(part)] if isinstance(value, (list, tuple)) else []


@contextlib.contextmanager
def single_operators() -> Iterator[None]:
    """Layers as loops of single operators, whose products PyTorch's counter sees."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
            yield


def executed_macs(run: Callable[[], Any]) -> int:
    """The MACs that a function executes, forwards and backwards."""
    with single_operators(), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) // 2


def executed(module: nn.Module, *inputs: Any) -> tuple[int, int]:
    """The MACs of the forward and of the backward pass of all results."""
    module.train()
    found: list[torch.Tensor] = []
    forward = executed_macs(lambda: found.extend(results(module(*inputs))))
    gradients = [torch.ones_like(t) for t in found]
    return forward, executed_macs(lambda: torch.autograd.backward(found, gradients))


def counted(module: nn.Module, *inputs: Any, **options: Any) -> tuple[int, int]:
    found = training(module, *inputs, **options)
    assert found.uncounted == []
    return found.forward_macs, found.backward_data_macs + found.backward_weight_macs


def saved_bytes(module: nn.Module, *inputs: Any) -> int:
    """The bytes of the storages that autograd keeps, without parameters and inputs."""
    module.train()
    given = [t for value in inputs for t in _tensors(value)]
    own = {_place(t) for t in (*module.parameters(), *module.buffers(), *given)}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(_place(tensor), tensor)
        return tensor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            held = module(*inputs)
    total = sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in own)
    del held
    return total


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for part in value for t in _tensors(part)] if isinstance(value, (list, tuple)) else []


def _place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def allocated_peak(run: Callable[[], Any]) -> int:
    """The most bytes that PyTorch's CPU allocator gave out at once while a function ran."""
    gc.collect()  # what was allocated before must not be freed meanwhile
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            run()
    events: list[tuple[int, int]] = []

    def walk(nodes: Any) -> None:
        for node in nodes:
            if node.tag.name == "Allocation":
                events.append((node.start_time_ns, node.extra_fields.alloc_size))
            walk(node.children)

    kineto = recorded.profiler
    assert kineto is not None
    walk(kineto.kineto_results.experimental_event_tree())
    live = peak = 0
    for _, size in sorted(events, key=lambda event: event[0]):
        live += size
        peak = max(peak, live)
    return peak


def step_peak(module: nn.Module, *inputs: Any) -> int:
    """The peak of one training step beside parameters, optimiser and inputs.

    The loss is a sum of the doubled results, so that their gradients are tensors of their own.
    """
    module.train()

    def step() -> Any:
        found = results(module(*inputs))
        torch.stack([(t * 2.0).sum() for t in found]).sum().backward()
        return found

    step()
    clear(module)
    return allocated_peak(step)


def clear(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.grad = None


class Net(nn.Module):
    """A recurrent layer and a linear one; with ``last`` on the last step alone."""

    def __init__(
        self, cell: str, inputs: int, hidden: int, *, last: bool = False, **options: Any
    ) -> None:
        super().__init__()
        self.rnn = getattr(nn, cell)(inputs, hidden, **options)
        self.fc = nn.Linear(hidden * (2 if options.get("bidirectional") else 1), 12)
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.rnn(x)[0]
        return self.fc(y[-1] if self.last else y)


class Stream(nn.Module):
    """A stack with its state in and out, to be run over windows of steps."""

    def __init__(self, cell: str, inputs: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.rnn = getattr(nn, cell)(inputs, hidden, num_layers=layers)
        self.fc = nn.Linear(hidden, 12)

    def forward(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        y, state = self.rnn(x, state)
        return self.fc(y), state


class Outputs(nn.Module):
    """The first result alone."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)[0]


class Speech(nn.Module):
    """Convolutions, batch normalisation, bidirectional GRUs, log-softmax; over [B, 1, T, F]."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Sequential(
            nn.Conv2d(1, 4, (5, 5), stride=(2, 2), padding=(2, 2)),
            nn.BatchNorm2d(4),
            nn.Hardtanh(0, 20),
            nn.Conv2d(4, 4, (3, 3), padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
        )
        self.rnn = nn.GRU(
            4 * 10, 32, num_layers=2, bidirectional=True, batch_first=True, dropout=0.1
        )
        self.fc = nn.Linear(64, 30)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.front(x)
        b, c, t, f = y.shape
        y = y.permute(0, 2, 1, 3).reshape(b, t, c * f)
        return self.fc(self.rnn(y)[0]).log_softmax(-1)


class Words(nn.Module):
    """A language model: embedding, two LSTM layers, dropout, output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(300, 32)
        self.drop = nn.Dropout(0.2)
        self.lstm = nn.LSTM(32, 64, 2, dropout=0.2, batch_first=True)
        self.out = nn.Linear(64, 300)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.out(self.drop(self.lstm(self.drop(self.embed(words)))[0]))


class Normed(nn.Module):
    """Layer normalisation around an LSTM, and a feed-forward head."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(24), nn.LayerNorm(32)
        self.lstm = nn.LSTM(24, 32, batch_first=True)
        self.head = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.after(self.lstm(self.before(x))[0]))


class Attending(nn.Module):
    """A GRU and self-attention over its outputs."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.gru = nn.GRU(16, 32, batch_first=True)
        self.attention = nn.MultiheadAttention(32, 4, dropout, batch_first=True)
        self.out = nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.gru(x)
        z, _ = self.attention(y, y, y, need_weights=False)
        return self.out(y + z).softmax(-1)
