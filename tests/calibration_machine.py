"""A made-up machine: it answers a calibration's timings from constants that are known."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from rnncost.calibration import measuring, run
from rnncost.calibration.fitting import layer_s
from rnncost.calibration.host import Host
from rnncost.calibration.operator_models import Case, chain_of, operator_model
from rnncost.calibration.operators_fitting import chain_s
from rnncost.calibration.vector import constants_of, numbers_of
from rnncost.latency.onnxruntime_cpu.defaults import default_constants
from rnncost.latency.onnxruntime_cpu.layers import Layer
from rnncost.profiles.onnxruntime import OnnxRuntimeCpu
from rnncost.runtime.machine import Machine
from rnncost.runtime.timing import Interleaved, Run, Timing
from rnncost.suites import layers as suite

FACTS = Host(first_cache_bytes=32768, second_cache_bytes=524288, isa="avx2", assumed=())
CORES = 2


def true_constants(spread: float = 0.3) -> OnnxRuntimeCpu:
    """A machine that no data sheet describes: each constant is off the defaults."""
    base = default_constants(
        isa=FACTS.isa,
        clock_hz=3.5e9,
        peak_macs_per_s=56e9,
        first_cache_bytes=FACTS.first_cache_bytes,
        second_cache_bytes=FACTS.second_cache_bytes,
        levels=((8e6, 50e9), (float("inf"), 20e9)),
    )
    draw = random.Random(17)
    values = [v * math.exp(draw.uniform(-spread, spread)) for v in numbers_of(base).values()]
    return constants_of(base, values)


class MadeUpMachine:
    """Stands in for the sessions and the clock; ``noise`` and ``drift`` are on logarithms.

    ``timed`` are the layers of each calibration with their threads, ``options`` how they
    were to be timed. ``before`` is called before a round. ``pace`` is how many times slower
    the machine, reference kernel included, runs while so many threads are timed.
    """

    def __init__(
        self,
        constants: OnnxRuntimeCpu,
        *,
        noise: float = 0.01,
        drift: float = 0.1,
        before: Callable[[int], None] = lambda _: None,
        pace: Mapping[int, float] | None = None,
    ) -> None:
        self.constants = constants
        self.noise, self.drift, self.before = noise, drift, before
        self.pace = pace or {}
        self.timed: list[tuple[int, list[Layer]]] = []
        self.options: list[dict[str, Any]] = []
        self._draw = random.Random(5)

    def take_over(self, patch: pytest.MonkeyPatch) -> MadeUpMachine:
        machine = Machine(cpu="Made-up CPU", cores=CORES, system="Test 1")
        for module in (run, suite):
            patch.setattr(module, "host", lambda: FACTS)
            patch.setattr(module, "machine", lambda: machine)
            patch.setattr(module, "prepare_layers", self._prepare)
        patch.setattr(run, "prepare_operators", self._prepare_operators)
        patch.setattr(measuring, "time_interleaved", self._time)
        return self

    def _prepare(self, layers: Sequence[Layer], threads: int, progress: Any) -> list[Run]:
        progress(f"building {len(layers)} models")
        self.timed.append((threads, list(layers)))
        return [self._run_of(layer_s(layer, self.constants, threads)) for layer in layers]

    def _prepare_operators(self, cases: Sequence[Case], progress: Any) -> list[Run]:
        progress(f"building {len(cases)} chains of operators")
        operators = self.constants.operators
        channels = operators.convolutions.channels
        return [
            self._run_of(chain_s(chain, self.constants, operators))
            for chain in (
                chain_of(operator_model(case), optimised=case.optimised, channels=channels)
                for case in cases
            )
        ]

    def _run_of(self, seconds: float) -> Run:
        return Run(lambda: seconds * math.exp(abs(self._draw.gauss(0, self.noise))))

    def _time(self, runs: Sequence[Run], *, rounds: int, **options: Any) -> Interleaved:
        self.options.append(options)
        pace = self.pace.get(self.timed[-1][0], 1.0)
        minima: list[list[float]] = [[] for _ in runs]
        orders = []
        for number in range(rounds):
            self.before(number)
            orders.append(tuple(self._draw.sample(range(len(runs)), len(runs))))
            for place, index in enumerate(orders[-1]):
                moment = number + place / len(runs)
                speed = pace * math.exp(self.drift * math.sin(7 * moment))
                minima[index].append(speed * min(runs[index].run() for _ in range(3)))
        return Interleaved(
            timings=tuple(map(timing, minima)),
            reference=timing([pace * 1e-4] * rounds),
            orders=tuple(orders),
        )


def timing(minima: Sequence[float]) -> Timing:
    middle = sorted(minima)[len(minima) // 2]
    return Timing(
        min_s=min(minima),
        median_s=middle,
        p90_s=max(minima),
        iqr_s=0.0,
        runs=len(minima),
        per_round_min_s=tuple(minima),
    )
