"""A quick check of accuracy, for real: it fails on gross errors only, since machines are noisy.

docs/accuracy.md has the figures, and the suites that give them.
"""

from __future__ import annotations

import numpy as np
import pytest

from rnncost.calibration.design import chosen_layers, random_layers
from rnncost.calibration.fitting import fit_constants, layer_s
from rnncost.calibration.host import host
from rnncost.calibration.measuring import measure_runs, prepare_layers
from rnncost.latency.onnxruntime_cpu.defaults import default_constants
from rnncost.latency.onnxruntime_cpu.layers import Layer

FACTOR = 2.0
MEDIAN = 0.25
ATTEMPTS = 2
ROUNDS = 3
MAX_MACS = 3_000_000
"""A layer takes a millisecond at most, so that hundreds are timed in some seconds."""

HELD_OUT = [
    Layer(cell="lstm", steps=12, rows=1, inputs=20, hidden=24),
    Layer(cell="lstm", steps=40, rows=3, inputs=16, hidden=33),
    Layer(cell="lstm", steps=5, rows=6, inputs=60, hidden=48, directions=2),
    Layer(cell="gru", steps=30, rows=1, inputs=32, hidden=64),
    Layer(cell="gru", steps=9, rows=7, inputs=12, hidden=40, directions=2),
    Layer(cell="gru_linear", steps=25, rows=2, inputs=24, hidden=50),
    Layer(cell="gru_linear", steps=3, rows=12, inputs=100, hidden=32),
    Layer(cell="rnn", steps=50, rows=1, inputs=30, hidden=72),
    Layer(cell="rnn", steps=15, rows=5, inputs=18, hidden=44, directions=2),
    Layer(cell="lstm_int8", steps=20, rows=1, inputs=40, hidden=96),
    Layer(cell="lstm_int8", steps=10, rows=4, inputs=25, hidden=36),
    Layer(cell="lstm_int8", steps=35, rows=2, inputs=64, hidden=20, directions=2),
]


def ratios_of_one_attempt() -> np.ndarray:
    """Predicted over measured seconds of the held-out layers, calibrated in the same rounds."""
    facts = host()
    base = default_constants(
        isa=facts.isa,
        clock_hz=3e9,
        peak_macs_per_s=48e9,
        first_cache_bytes=facts.first_cache_bytes,
        second_cache_bytes=facts.second_cache_bytes,
        levels=((4e6, 40e9), (float("inf"), 15e9)),
    )
    small = [x for x in chosen_layers(facts.second_cache_bytes) if x.macs <= MAX_MACS]
    design = [*small, *random_layers(40, 99, MAX_MACS)]
    assert not set(design) & set(HELD_OUT)
    runs = prepare_layers([*design, *HELD_OUT], 1, lambda _: None)
    measured = measure_runs(runs, rounds=ROUNDS, threads=1, progress=lambda _: None, max_time_s=8)
    constants = fit_constants(base, design, measured.seconds[: len(design)])
    return np.asarray(
        [
            layer_s(layer, constants, 1) / seconds
            for layer, seconds in zip(HELD_OUT, measured.seconds[len(design) :], strict=True)
        ]
    )


def test_no_estimate_is_grossly_wrong() -> None:
    for _ in range(ATTEMPTS):
        ratios = ratios_of_one_attempt()
        worst = float(np.exp(np.abs(np.log(ratios)).max()))
        median = float(np.median(np.abs(ratios - 1)))
        if worst < FACTOR and median < MEDIAN:
            return
    names = [f"{x.cell} {x.hidden}: {r:.2f}" for x, r in zip(HELD_OUT, ratios, strict=True)]
    pytest.fail(f"worst by a factor of {worst:.2f}, median error {median:.0%} ({', '.join(names)})")
