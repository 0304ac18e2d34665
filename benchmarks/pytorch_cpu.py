"""Fit the constants of rnncost.latency.pytorch_cpu, and test them on layers not fitted.

Draws random recurrent layers, times each in PyTorch with one thread (the least of many runs,
all layers in turn again and again, because a shared machine's speed drifts), fits the
constants on one half and prints them with the errors on the other half.

    python benchmarks/pytorch_cpu.py [--layers 160] [--rounds 12] [--save timings.json]
    python benchmarks/pytorch_cpu.py --load timings.json
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rnncost.latency.pytorch_cpu import Constants, Layer, layer_time
from rnncost.latency.roofline import Device, device_of
from rnncost.profiles.schema import HardwareProfile

KINDS = ("lstm", "unfused_lstm", "gru", "rnn")
SEEDS = {"fitted": 1, "held out": 3}
MIN_S, MIN_RUNS = 0.004, 3


class Timings(msgspec.Struct, frozen=True):
    """Seconds: of each drawn layer, and of what is measured by itself."""

    layers: dict[str, list[tuple[Layer, float]]]
    peak_macs_per_s: float
    near_bytes_per_s: float
    far_bytes_per_s: float
    op_s: float
    cell_s: float


def draw(seed: int, count: int) -> list[Layer]:
    """Random layers, each kind in turn; sizes uniform in their logarithm."""
    rng = random.Random(seed)

    def between(low: int, high: int) -> int:
        return round(math.exp(rng.uniform(math.log(low), math.log(high))))

    layers = []
    for i in range(count):
        hidden = between(8, 1024)
        layers.append(
            Layer(
                kind=KINDS[i % len(KINDS)],
                steps=between(1, 100),
                batch=between(1, 16),
                inputs=between(8, 512),
                hidden=hidden,
                output=hidden,
                directions=2 if rng.random() < 0.25 else 1,
            )
        )
    return layers


def least_s(run: Callable[[], Any]) -> float:
    """The least time of a run, over at least 4 ms after a first one."""
    run()
    best, runs, end = math.inf, 0, time.perf_counter() + MIN_S
    while runs < MIN_RUNS or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
        runs += 1
    return best


def measure(count: int, rounds: int) -> Timings:
    """Time all layers, and the rates of this machine, with one thread."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)

    def runner(layer: Layer) -> Callable[[], Any]:
        name = layer.kind.removeprefix("unfused_").upper()
        module = getattr(torch.nn, name)(
            layer.inputs, layer.hidden, bidirectional=layer.directions == 2
        ).eval()
        x = torch.randn(layer.steps, layer.batch, layer.inputs)
        return lambda: module(x)

    def stack(module: type[torch.nn.Module], depth: int, *sizes: int) -> Callable[[], Any]:
        model = torch.nn.Sequential(*(module(*sizes) for _ in range(depth))).eval()
        x = torch.randn(1, 8)
        return lambda: model(x)

    def product(rows: int, inputs: int, outputs: int) -> Callable[[], Any]:
        weights, x = torch.randn(outputs, inputs), torch.randn(rows, inputs)
        return lambda: torch.nn.functional.linear(x, weights)

    def call(module: torch.nn.Module, *shape: int) -> Callable[[], Any]:
        module, x = module.eval(), torch.randn(shape)
        return lambda: module(x)

    probes = {
        "peak": product(1024, 1024, 1024),
        "near": product(2, 256, 1024),
        "far": product(2, 256, 32768),
        "cell": call(torch.nn.GRUCell(8, 8), 1, 8),
        "gru 10": call(torch.nn.GRU(8, 8), 10, 1, 8),
        "gru 30": call(torch.nn.GRU(8, 8), 30, 1, 8),
        **{f"linear {n}": stack(torch.nn.Linear, n, 8, 8) for n in (10, 50)},
        **{f"relu {n}": stack(torch.nn.ReLU, n) for n in (10, 50)},
    }
    drawn = {name: draw(seed, count) for name, seed in SEEDS.items()}
    every = [(layer, runner(layer)) for layers in drawn.values() for layer in layers]
    best = [math.inf] * len(every)
    least = dict.fromkeys(probes, math.inf)
    with torch.inference_mode():
        for _ in range(rounds):
            for name, run in probes.items():
                least[name] = min(least[name], least_s(run))
            for i, (layer, run) in enumerate(every):
                with torch.backends.mkldnn.flags(enabled=layer.kind != "unfused_lstm"):
                    best[i] = min(best[i], least_s(run))
    timed = iter(best)
    stacks_s = [least[f"linear {n}"] + least[f"relu {n}"] for n in (10, 50)]
    return Timings(
        layers={name: [(layer, next(timed)) for layer in layers] for name, layers in drawn.items()},
        peak_macs_per_s=1024**3 / least["peak"],
        near_bytes_per_s=4 * 256 * 1024 / least["near"],
        far_bytes_per_s=4 * 256 * 32768 / least["far"],
        op_s=(stacks_s[1] - stacks_s[0]) / 80,
        cell_s=least["cell"] - (least["gru 30"] - least["gru 10"]) / 20,
    )


def device(timings: Timings, near_bytes: float) -> Device:
    """A profile of the machine: its peak, and two levels of memory."""

    def number(value: float) -> dict[str, object]:
        return {"value": value, "kind": "measured", "source": "benchmarks/pytorch_cpu.py"}

    profile = {
        "schema_version": 1,
        "name": "measured",
        "title": "The machine of this benchmark",
        "kind": "cpu",
        "runtime": "pytorch-cpu",
        "version": "1",
        "threads": 1,
        "peak_macs_per_s": {"fp32": number(timings.peak_macs_per_s)},
        "memory": [
            {
                "name": "near",
                "size_bytes": number(near_bytes),
                "bandwidth_bytes_per_s": number(timings.near_bytes_per_s),
            },
            {"name": "far", "bandwidth_bytes_per_s": number(timings.far_bytes_per_s)},
        ],
    }
    return device_of(msgspec.convert(profile, HardwareProfile), 1)


def estimated_s(layer: Layer, constants: Constants, machine: Device) -> float:
    """A call of a module of one layer."""
    return constants.run_s + layer.directions * layer_time(layer, constants, machine).total_s


def fit(rows: Sequence[tuple[Layer, float]], machine: Device, start: Constants) -> Constants:
    """Change one constant at a time while the squared log-ratios of the layers fall."""
    fixed = ("op_s", "cell_s")
    values = {name: getattr(start, name) for name in Constants.__struct_fields__}
    steps = {name: 0.3 for name in values if name not in fixed}

    def loss(trial: dict[str, float]) -> float:
        constants = Constants(**trial)
        return sum(math.log(estimated_s(r, constants, machine) / s) ** 2 for r, s in rows)

    best = loss(values)
    while max(steps.values()) > 1e-3:
        for name, step in steps.items():
            trials = [{**values, name: values[name] * math.exp(d)} for d in (step, -step)]
            losses = [loss(trial) for trial in trials]
            if min(losses) < best:
                best = min(losses)
                values = trials[losses.index(best)]
                steps[name] = step * 1.3
            else:
                steps[name] = step / 2
    return Constants(**values)


def report(name: str, rows: Sequence[tuple[Layer, float]], fitted: Constants, on: Device) -> str:
    """Errors and ratios of a set of layers, as a line of text."""
    ratios = sorted(seconds / estimated_s(layer, fitted, on) for layer, seconds in rows)
    errors = sorted(abs(1 / ratio - 1) for ratio in ratios)
    ninety = statistics.quantiles(errors, n=10)[-1]
    low, *_, high = statistics.quantiles(ratios, n=20)
    return (
        f"{name:22} n {len(rows):3}  median {statistics.median(errors):5.1%}  p90 {ninety:5.1%}"
        f"  max {errors[-1]:5.1%}  measured/estimated 5 % {low:.2f} 95 % {high:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=160, help="layers fitted, and as many tested")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--near-bytes", type=float, default=2 * 2**20, help="cache of one core")
    parser.add_argument("--save", type=Path, help="write the timings as JSON")
    parser.add_argument("--load", type=Path, help="fit timings that were saved before")
    options = parser.parse_args()
    if options.load:
        timings = msgspec.json.decode(options.load.read_bytes(), type=Timings)
    else:
        timings = measure(options.layers, options.rounds)
    if options.save:
        options.save.write_text(json.dumps(msgspec.to_builtins(timings)) + "\n")
    machine = device(timings, options.near_bytes)
    start = Constants(op_s=timings.op_s, cell_s=timings.cell_s)
    fitted = fit(timings.layers["fitted"], machine, start)
    for key in ("peak_macs_per_s", "near_bytes_per_s", "far_bytes_per_s"):
        print(f"{key:22} {getattr(timings, key):.3g}")
    for key in Constants.__struct_fields__:
        print(f"{key:22} {getattr(fitted, key):.3g}")
    for name, rows in timings.layers.items():
        print(report(name, rows, fitted, machine))
        for kind in KINDS:
            print(report(f"  {kind}", [r for r in rows if r[0].kind == kind], fitted, machine))


if __name__ == "__main__":
    main()
