"""Whole-process time and memory of rnncost, interleaved with a baseline.

Each goal compares two commands that run in turn (A B A B ...), because the speed of a
shared machine drifts: the ratio of the medians is what to quote. Memory is the peak
resident set that the operating system reports for the finished process.

    python benchmarks/speed.py [--runs 15] [GOAL ...]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PYTHON = sys.executable
RNNCOST = str(Path(sys.executable).with_name("rnncost"))


class Run(NamedTuple):
    wall_s: float
    peak_bytes: int


class Goal(NamedTuple):
    """``a`` is measured against ``b``; the limits hold for the medians."""

    a: list[str]
    b: list[str]
    ratio: float | None
    added_s: float | None
    wall_s: float | None
    peak_bytes: int | None


def run_once(command: list[str]) -> Run:
    """Run a command to its end and return its wall time and peak memory."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    stderr = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{stderr.decode()}")
    return Run(wall_s, usage.ru_maxrss * 1024)


def lstm_models(folder: Path) -> None:
    """Write LSTMs of 0.4 and 200 MB in a process of their own.

    A process that is started by a large one counts that one's memory as its own peak.
    """
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from speed import lstm_model; folder = Path(sys.argv[2]);"
        "lstm_model(folder / 'small.onnx', 112); lstm_model(folder / 'large.onnx', 2500)"
    )
    subprocess.run([PYTHON, "-c", code, str(Path(__file__).parent), str(folder)], check=True)


def lstm_model(path: Path, hidden: int) -> None:
    """Write an LSTM of 4·H·2H weights, H = I, with its weights inside the file."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)
    shapes = {
        "W": (1, 4 * hidden, hidden),
        "R": (1, 4 * hidden, hidden),
        "B": (1, 8 * hidden),
    }
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "W", "R", "B"], ["y"], hidden_size=hidden)],
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["seq", "batch", hidden])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(rng.random(shape, np.float32) - 0.5, name)
            for name, shape in shapes.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    path.write_bytes(model.SerializeToString())


def small_goal(folder: Path) -> Goal:
    model = str(ROOT / "examples" / "keyword_spotter.onnx")
    load = [PYTHON, "-c", "import sys, onnx; onnx.load(sys.argv[1])", model]
    return Goal([RNNCOST, "analyze", model], load, 1.25, None, None, None)


def large_goal(folder: Path) -> Goal:
    lstm_models(folder)
    large, small = ([RNNCOST, "analyze", str(folder / f"{s}.onnx")] for s in ("large", "small"))
    return Goal(large, small, 1.3, None, None, 120_000_000)


def help_goal(folder: Path) -> Goal:
    return Goal([RNNCOST, "--help"], [PYTHON, "-c", "import click"], None, None, 0.2, None)


TORCH = """
import sys, torch
module = torch.nn.LSTM(1024, 1024, 4)
if len(sys.argv) > 1:
    import rnncost
    x = torch.empty(int(sys.argv[1]), 1, 1024, device="meta")
    assert rnncost.analyze(module, (x,)).totals.sequential_steps == 4 * int(sys.argv[1])
"""


def torch_length_goal(folder: Path) -> Goal:
    return Goal(
        [PYTHON, "-c", TORCH, "100000"], [PYTHON, "-c", TORCH, "100"], 1.1, None, None, None
    )


def torch_added_goal(folder: Path) -> Goal:
    return Goal([PYTHON, "-c", TORCH, "100000"], [PYTHON, "-c", TORCH], None, 0.3, None, None)


GOALS: dict[str, Callable[[Path], Goal]] = {
    "small": small_goal,
    "large": large_goal,
    "help": help_goal,
    "torch-length": torch_length_goal,
    "torch-added": torch_added_goal,
}


def measure(goal: Goal, runs: int) -> tuple[list[Run], list[Run]]:
    """Time both commands in turn, after one uncounted run of each."""
    run_once(goal.a), run_once(goal.b)
    pairs = [(run_once(goal.a), run_once(goal.b)) for _ in range(runs)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def spread(runs: list[Run]) -> str:
    walls = [r.wall_s * 1e3 for r in runs]
    return f"{statistics.median(walls):.0f} ({min(walls):.0f} to {max(walls):.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("goals", nargs="*", metavar="GOAL", help=f"of {', '.join(GOALS)}")
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    print(
        "| goal | A, ms: median (min to max) | B, ms | A/B | A - B, ms | A peak, MB | limit | met |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in options.goals or GOALS:
        with tempfile.TemporaryDirectory() as folder:
            goal = GOALS[name](Path(folder))
            a, b = measure(goal, options.runs)
        median_a = statistics.median(r.wall_s for r in a)
        median_b = statistics.median(r.wall_s for r in b)
        peak = max(r.peak_bytes for r in a)
        checks = {
            f"A/B <= {goal.ratio}": goal.ratio is None or median_a <= goal.ratio * median_b,
            f"A - B <= {goal.added_s} s": goal.added_s is None
            or median_a - median_b <= goal.added_s,
            f"A <= {goal.wall_s} s": goal.wall_s is None or median_a <= goal.wall_s,
            f"peak <= {(goal.peak_bytes or 0) / 1e6:.0f} MB": goal.peak_bytes is None
            or peak <= goal.peak_bytes,
        }
        given = (goal.ratio, goal.added_s, goal.wall_s, goal.peak_bytes)
        shown = [text for text, value in zip(checks, given, strict=True) if value is not None]
        met = "yes" if all(checks.values()) else "no"
        print(
            f"| {name} | {spread(a)} | {spread(b)} | {median_a / median_b:.2f} "
            f"| {(median_a - median_b) * 1e3:.0f} | {peak / 1e6:.0f} | {', '.join(shown)} | {met} |"
        )


if __name__ == "__main__":
    main()
