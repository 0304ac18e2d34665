"""How much longer recurrent layers take in ONNX Runtime when their inputs are larger.

    python benchmarks/data_dependence.py

Prints the time with inputs of several sizes over the time with normal ones: medians over
rounds of the best run, the sizes in turns.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter

import numpy as np

from rnncost.calibration.models import recurrent_model
from rnncost.latency.onnxruntime_cpu.layers import Layer
from rnncost.runtime.session import create_session

SIZES = (1.0, 3.0, 11.0, 50.0)
ROUNDS, RUNS = 9, 6


def main() -> None:
    drawn = np.random.default_rng(0).standard_normal((300, 1, 128)).astype(np.float32)
    for cell, hidden in (("gru_linear", 256), ("gru_linear", 128), ("lstm", 256), ("lstm", 128)):
        layer = Layer(cell=cell, steps=300, rows=1, inputs=128, hidden=hidden)
        session = create_session(recurrent_model(layer), threads=1)
        best: dict[float, list[float]] = {size: [] for size in SIZES}
        for _ in range(ROUNDS):
            for size in SIZES:
                times = []
                for _ in range(RUNS):
                    start = perf_counter()
                    session.run(None, {"X": size * drawn})
                    times.append(perf_counter() - start)
                best[size].append(min(times))
        normal = median(best[1.0])
        shown = ", ".join(f"{size:g}: {median(best[size]) / normal:.2f}" for size in SIZES)
        print(f"{cell} of {hidden} units, {1e6 * normal:.0f} µs; inputs times {shown}")


if __name__ == "__main__":
    main()
