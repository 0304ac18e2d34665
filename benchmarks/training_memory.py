"""Estimated and measured memory of training steps in PyTorch on a CPU.

Runs a step of random models with Adam, and measures

- its peak in PyTorch's allocator, from the events of the profiler: no noise;
- with ``--rss`` the growth of whole processes, one a case: as they are, and with blocks from
  64 kB on mapped by themselves (MALLOC_MMAP_THRESHOLD_), so that the heap has no holes.

The loss is the sum of the doubled outputs. Printed as Markdown, with estimate / measured.

    python benchmarks/training_memory.py [--rss]
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint

import rnncost
from rnncost.report.model import TrainingPeak

CELLS = ("LSTM", "GRU", "RNN")
SHAPES = ((100, 1, 40, 64), (50, 8, 64, 128), (200, 16, 80, 256), (25, 64, 128, 512))
STACKS: dict[str, dict[str, Any]] = {
    "1 layer": {},
    "2 layers, dropout": {"layers": 2, "dropout": 0.1},
    "bidirectional": {"both": True},
}
LARGE = ((500, 32, 256, 512), (1000, 32, 512, 128), (500, 64, 64, 256))
CLASSES = 30


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A stack of layers with a linear one on top, and how it is trained."""

    cell: str
    steps: int
    batch: int
    inputs: int
    hidden: int
    layers: int = 1
    dropout: float = 0.0
    both: bool = False
    bptt: int | None = None
    segment: int | None = None


class Net(nn.Module):
    """The model of a case: outputs and the final state."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.rnn = getattr(nn, case.cell)(
            case.inputs,
            case.hidden,
            num_layers=case.layers,
            dropout=case.dropout,
            bidirectional=case.both,
        )
        self.out = nn.Linear(case.hidden * (1 + case.both), CLASSES)

    def forward(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        y, state = self.rnn(x, state)
        return self.out(y), state


class Outputs(nn.Module):
    """The outputs alone, as a loss sees them."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.net(x)[0]
        return outputs


def estimated(case: Case, net: Net, x: torch.Tensor) -> TrainingPeak:
    """The estimated peak."""
    report = rnncost.analyze(
        Outputs(net),
        (x,),
        profiles=(),
        symbolic=False,
        training=True,
        bptt=case.bptt,
        checkpoint=case.segment or False,
    )
    assert report.training is not None
    return report.training.peak


def loss_of(outputs: torch.Tensor) -> torch.Tensor:
    return (outputs * 2.0).sum()


def detached(state: Any) -> Any:
    return tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()


def train(case: Case, net: Net, optimizer: torch.optim.Optimizer, x: torch.Tensor) -> None:
    """One step: whole, truncated (an update after each window), or with checkpoints."""
    state: Any = None
    if case.bptt is not None:
        for at in range(0, case.steps, case.bptt):
            optimizer.zero_grad()
            outputs, state = net(x[at : at + case.bptt], state)
            state = detached(state)
            loss_of(outputs).backward()
            del outputs
            optimizer.step()
        return
    optimizer.zero_grad()
    if case.segment is None:
        outputs, _ = net(x)
        loss_of(outputs).backward()
    else:
        parts = []
        for at in range(0, case.steps, case.segment):
            part, state = checkpoint(net, x[at : at + case.segment], state, use_reentrant=False)
            parts.append(part)
        torch.stack([loss_of(part) for part in parts]).sum().backward()
    optimizer.step()


def allocated_peak(run: Callable[[], None]) -> int:
    """The most bytes that the CPU allocator gave out at once."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    events: list[tuple[int, int]] = []

    def walk(nodes: Any) -> None:
        for node in nodes:
            if node.tag.name == "Allocation":
                events.append((node.start_time_ns, node.extra_fields.alloc_size))
            walk(node.children)

    assert recorded.profiler is not None
    walk(recorded.profiler.kineto_results.experimental_event_tree())
    live = peak = 0
    for _, size in sorted(events, key=lambda event: event[0]):
        live += size
        peak = max(peak, live)
    return peak


def prepared(case: Case) -> tuple[Net, torch.optim.Optimizer, torch.Tensor]:
    torch.manual_seed(1)
    net = Net(case)
    return net, torch.optim.Adam(net.parameters()), torch.randn(case.steps, case.batch, case.inputs)


def in_allocator(case: Case) -> tuple[int, int]:
    """Estimated and measured bytes: what is there before, and the step's peak."""
    net, optimizer, x = prepared(case)
    train(case, net, optimizer, x)
    optimizer.zero_grad()
    peak = estimated(case, net, x)
    before = peak.parameter_bytes + peak.optimizer_bytes + peak.input_bytes
    return peak.total_bytes, before + allocated_peak(lambda: train(case, net, optimizer, x))


def in_process(case: Case) -> tuple[int, int]:
    """Estimated bytes that are written to, and the growth of this process."""
    small = msgspec.structs.replace(case, steps=2, batch=1, bptt=None, segment=None)
    net, optimizer, x = prepared(small)
    train(small, net, optimizer, x)
    net, optimizer, x = prepared(msgspec.structs.replace(case, inputs=1, hidden=1))
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = resident("VmRSS")
    net, optimizer, x = prepared(case)
    train(case, net, optimizer, x)
    train(case, net, optimizer, x)
    return estimated(case, net, x).resident_bytes, resident("VmHWM") - before


def resident(key: str) -> int:
    """Bytes of this process in memory: now (VmRSS), or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def grown(case: Case, how: str) -> tuple[int, int]:
    """``in_process`` in a process of its own."""
    command = [sys.executable, __file__, "--one", msgspec.json.encode(case).decode()]
    more = {"MALLOC_MMAP_THRESHOLD_": "65536"} if how == "mapped" else {}
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, **more}
    )
    estimate, measured = (int(part) for part in done.stdout.split()[-2:])
    return estimate, measured


def cases() -> Iterator[tuple[str, Case]]:
    for cell in CELLS:
        for steps, batch, inputs, hidden in SHAPES:
            given = Case(cell=cell, steps=steps, batch=batch, inputs=inputs, hidden=hidden)
            for name, options in STACKS.items():
                yield name, msgspec.structs.replace(given, **options)
            yield "bptt 10", msgspec.structs.replace(given, bptt=10)
            yield "checkpoints every 10", msgspec.structs.replace(given, segment=10)


def large_cases() -> Iterator[tuple[str, Case]]:
    for cell in CELLS:
        for steps, batch, inputs, hidden in LARGE:
            given = Case(cell=cell, steps=steps, batch=batch, inputs=inputs, hidden=hidden)
            yield "1 layer", given
            yield "3 layers", msgspec.structs.replace(given, layers=3)


def line(name: str, case: Case, estimate: int, measured: int) -> str:
    shape = " | ".join(str(n) for n in (case.steps, case.batch, case.inputs, case.hidden))
    sizes = f"{estimate / 1e6:.2f} | {measured / 1e6:.2f} | {estimate / measured:.3f}"
    return f"| {case.cell} | {name} | {shape} | {sizes} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rss", action="store_true", help="measure whole processes instead")
    parser.add_argument("--one", metavar="JSON", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if arguments.one:
        estimate, measured = in_process(msgspec.json.decode(arguments.one, type=Case))
        print(estimate, measured)
        return
    print("| cell | stack | T | B | I | H | estimated, MB | measured, MB | estimated / measured |")
    print("|---|---|---|---|---|---|---|---|---|")
    ratios = []
    for name, case in large_cases() if arguments.rss else cases():
        for how in ("heap", "mapped") if arguments.rss else ("",):
            estimate, measured = grown(case, how) if how else in_allocator(case)
            ratios.append(estimate / measured)
            print(line(f"{name} {how}".strip(), case, estimate, measured), flush=True)
    print(f"\n{len(ratios)} cases: {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
