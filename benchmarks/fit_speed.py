"""How many designs a second rnncost evaluates on arrays, on one core.

    python benchmarks/fit_speed.py

A design is one recurrent layer: six totals and the latency on one profile of ONNX Runtime. In
"all sizes", steps, rows, inputs and units of each design are drawn at random, so that no two
designs share a term; in "units alone" the other three are the same for all, as in most searches.
The scalar path is ``rnncost.latency.estimate`` on the graph of a design, one by one. Times are
those of the process itself (CPU seconds), the least of the rounds; that both ways give the same
numbers is asserted on some designs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rnncost import HardwareProfile, load_profile
from rnncost.search import evaluate
from rnncost.search.stack import Design, counted, estimated

TOTALS = (
    *("params", "macs", "weight_bytes", "state_bytes", "streamed_bytes"),
    "sequential_steps",
)
COMPARED = 100
"""Designs that are estimated in both ways."""

SEARCH = """
import resource, sys, time
import rnncost
start = time.process_time()
result = rnncost.fit(
    inputs="1-1000:10", hidden_sizes="1-1000", dims={"seq": "10-1000:10"},
    maximum={f"latency_s@{sys.argv[1]}": "5 ms"},
)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
print(result.designs, time.process_time() - start, peak)
"""


def drawn(count: int) -> dict[str, Any]:
    """Sizes of designs at random, small ones as often as large ones."""
    rng = np.random.default_rng(1)
    most = {"steps": 500, "batch": 64, "inputs": 1000, "hidden": 1024}
    return {
        name: np.exp(rng.uniform(0, np.log(top), count)).astype(np.int64)
        for name, top in most.items()
    }


def least_s(function: Callable[[], object], rounds: int) -> float:
    """CPU seconds of the fastest call."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


def per_second(
    cell: Any, direction: str, sizes: dict[str, Any], profile: HardwareProfile, rounds: int
) -> tuple[float, float, float]:
    """Designs a second: of all sizes, of units alone, and by the scalar path."""
    latency = f"latency_s@{profile.name}"
    kind = {"cell": cell, "direction": direction, "profiles": [profile]}

    def columns(**extents: Any) -> dict[str, Any]:
        return evaluate((*TOTALS, latency), **kind, **extents)

    designs = [
        Design(
            cell=cell,
            directions=2 if direction == "bi" else 1,
            layers=1,
            **{name: int(values[at]) for name, values in sizes.items()},
        )
        for at in range(COMPARED)
    ]
    found = columns(**sizes)
    for at, design in enumerate(designs):
        totals = counted(design).totals
        assert all(found[name][at] == getattr(totals, name) for name in TOTALS)
        assert found[latency][at] == estimated(design, profile).latency_s
    hidden = sizes["hidden"]
    return (
        len(hidden) / least_s(lambda: columns(**sizes), rounds),
        len(hidden)
        / least_s(lambda: columns(hidden=hidden, steps=100, batch=1, inputs=80), rounds),
        COMPARED / least_s(lambda: [estimated(one, profile) for one in designs], rounds),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="x86-64-server-core")
    parser.add_argument("--designs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    # First, as a process counts the memory of the one that started it as its own peak.
    command = [sys.executable, "-c", SEARCH, options.profile]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, seconds, peak = map(float, done.stdout.split())
    print(f"a search of {count:,.0f} designs: {seconds:.1f} s of CPU time, {peak:.0f} MB at most")
    profile = load_profile(options.profile)
    print(f"profile {profile.name}, {options.designs:,} designs, {options.rounds} rounds\n")
    print("| cell, direction | all sizes | units alone | scalar path |")
    print("|---|---|---|---|")
    sizes = drawn(options.designs)
    for cell in ("lstm", "gru", "rnn"):
        for direction in ("uni", "bi"):
            rates = per_second(cell, direction, sizes, profile, options.rounds)
            arrays = " | ".join(f"{rate / 1e6:.1f} M/s" for rate in rates[:2])
            print(f"| {cell}, {direction} | {arrays} | {rates[2] / 1e3:.1f} k/s |")


if __name__ == "__main__":
    main()
