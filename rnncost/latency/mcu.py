"""A microcontroller: cycles for each MAC and each activation, weights read from flash.

Per operator, over all its executions, with the clock of ``processor.clock_hz``::

    parallel   = max(cycles / clock, bytes / bandwidth)
    step       = step cycles / clock + max(MACs of a step x cycles / clock, bytes / bandwidth)
                 + gate cycles / clock
    overhead   = (executions + loop trips) x operator cycles / clock

One core does one thing at a time, so the parts of a step add up. Biases and clipping are part
of a product. Weights come from the levels of the profile that hold weights, each time they are
used; there are no caches but those listed. Cycles of a MAC hold for weights in internal flash:
they were measured there, so the bandwidth counts only where it is slower still (external
flash or RAM).

TensorFlow Lite Micro has a kernel for an LSTM and none for GRU and RNN, which are converted to
single operators: their steps cost an interpreter's overhead for each, and their activations
are operators of their own.

Where the ``mcu`` block of a profile is silent, the core's family stands in. Sources of the
families, most of them in tests/data/published_mcu.csv: MAC cycles are those of the fully connected
autoencoder of MLPerf Tiny v1.0 and v1.1 (median of the submissions; v1.2 for float and for
Cortex-M85), for Xtensa and RISC-V of the person detection example; activations and operators
are those of EdgeMark's smallest models. docs/accuracy.md gives the errors on the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rnncost.errors import ProfileError
from rnncost.graph.dim import hint
from rnncost.latency.assembly import OpTime, Prediction, byte_scale
from rnncost.latency.roofline import Level, device_of
from rnncost.latency.work import work_of

if TYPE_CHECKING:
    from rnncost.counting.counted import Counted, CountedOp
    from rnncost.latency.work import Work
    from rnncost.profiles.quantities import Duration, Quantity
    from rnncost.profiles.schema import HardwareProfile

PRECISIONS = ("fp32", "int8")

INTERVAL = (0.45, 1.40)
"""5 % and 95 % quantiles of measured to estimated time of the published cases held out."""

TESTED_CORES = ("cortex-m0+", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")
"""The families that have such cases; for another core there is no interval."""

RUN_CYCLES, OP_CYCLES = 1700.0, 2100.0
"""An interpreter's: EdgeMark's networks of one, two and three dense layers on Cortex-M4."""

STEP_CYCLES = 1000.0
"""Assumed: the calls and loops of eight small products and five activations."""

STEP_OPERATORS = {"RNN": 4, "GRU": 15}
"""Operators that a step of a Keras cell becomes in TensorFlow Lite."""

ACTIVATION_CYCLES = {"fp32": 640.0, "int8": 1800.0}
"""On Cortex-M4: EdgeMark's simple RNN of 64 units, less its products and operators."""

LSTM_ACTIVATION_CYCLES = {"fp32": 640.0, "int8": 40.0}
"""In float the same function; in int8 a table lookup with interpolation, assumed."""

ELEMENTWISE_CYCLES = {"fp32": 20.0, "int8": 44.0}
"""int8: ESP-NN on ESP32-S3, 71 644 cycles for 1615 additions; fp32: assumed, loads and store."""


class Core(msgspec.Struct, frozen=True):
    """Cycles of a MAC by precision, and those of scalar code as a multiple of a Cortex-M4's.

    ``scalar`` scales all other cycles. It is assumed: the ratio of the int8 MACs on M0+, M7
    and M33, that of an M33 on M55, and 1 on Xtensa and RISC-V.
    """

    fp32: float
    int8: float
    scalar: float
    fp32_assumed: str = ""


CORES = {
    # No FPU. Float: EdgeMark, Cortex-M4 with its FPU off, 186.8 ms for 199 328 MACs at 120 MHz.
    "cortex-m0+": Core(112.0, 11.28, 3.2, "software floating point of a Cortex-M4"),
    "cortex-m4": Core(9.52, 3.54, 1.0),
    "cortex-m7": Core(5.54, 1.44, 0.41),
    "cortex-m33": Core(7.9, 2.94, 0.83, "a Cortex-M4's, in proportion to int8"),
    # Measured on Cortex-M85, which has the same vector instructions (MVE).
    "cortex-m55": Core(3.9, 0.964, 0.83, "four times int8's, as its lanes are four times wider"),
    # Float: ESP-DSP's dot products of 256 elements, 1047 and 432 cycles.
    "xtensa-lx6": Core(4.09, 12.74, 1.0),
    "xtensa-lx7": Core(1.69, 1.81, 1.0),
    "riscv32": Core(112.0, 9.52, 1.0, "software floating point of a Cortex-M4"),
}


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Cycles of a profile, its own or those of its core's family, and the clock."""

    clock_hz: float
    mac: dict[str, float]
    activation: dict[str, float]
    lstm_activation: dict[str, float]
    elementwise: dict[str, float]
    run: float
    op: float
    step: float
    weights: tuple[Level, ...]
    activations: tuple[Level, ...]
    notes: tuple[str, ...] = ()


def mcu(
    counted: Counted, profile: HardwareProfile, *, threads: int, precision: str | None
) -> Prediction:
    """Predict the time of each row of a counted graph; see ``rnncost.latency.estimate``.

    Raises:
        ProfileError: the profile has no clock.
    """
    rates = rates_of(profile)
    used = {precision} if precision else {r.precision for r in counted.ops if hint(r.counts.macs)}
    other = sorted(p for p in used if p not in PRECISIONS)
    notes = [f"no cycles for {', '.join(other)}: fp32's are used"] if other else []
    core = profile.mcu.core if profile.mcu is not None else None
    interval = INTERVAL if core in TESTED_CORES else None
    if profile.interval is not None:
        interval = (profile.interval.low, profile.interval.high)
    elif interval is None:
        notes.append(f"no interval: no published timing of {core or 'this core'} was held out")
    return Prediction(
        ops=tuple([_time_of(row, rates, precision) for row in counted.ops]),
        run=OpTime(overhead_s=rates.run / rates.clock_hz),
        threads=min(threads, profile.threads),
        interval=interval,
        notes=(*notes, *rates.notes),
    )


def rates_of(profile: HardwareProfile) -> Rates:
    """The cycles of a profile, with a note on each kind that it leaves to its core's family.

    Raises:
        ProfileError: the profile has no clock.
    """
    if profile.processor.clock_hz is None:
        raise ProfileError(
            f"the profile {profile.name!r} has the runtime mcu and no processor.clock_hz: add it"
        )
    clock_hz = profile.processor.clock_hz.value
    block = profile.mcu
    name = block.core if block is not None else None
    family = CORES[name] if name is not None else None
    scalar = 1.0 if family is None else family.scalar
    missing: list[str] = []
    notes: list[str] = []

    def fixed(key: str, seconds: Duration | None, cycles: float) -> float:
        given: Quantity | None = getattr(block, key, None)
        if given is not None:
            return given.value
        if seconds is not None:
            return seconds.value * clock_hz
        missing.append(key)
        return cycles * scalar

    def table(key: str, cycles: dict[str, float]) -> dict[str, float]:
        given = {p: getattr(getattr(block, key, None), p, None) for p in PRECISIONS}
        absent = [p for p in PRECISIONS if given[p] is None]
        if absent:
            missing.append(key if len(absent) == len(PRECISIONS) else f"{key}.{absent[0]}")
        return {p: cycles[p] * scalar if q is None else q.value for p, q in given.items()}

    peaks = profile.peak_macs_per_s
    mac: dict[str, float] = {}
    for precision in PRECISIONS:
        given = getattr(block.mac_cycles, precision) if block is not None else None
        if given is not None:
            mac[precision] = given.value
        elif family is not None:
            mac[precision] = getattr(family, precision)
            if precision == "fp32" and family.fp32_assumed:
                notes.append(f"cycles of a float MAC are assumed: {family.fp32_assumed}")
            missing.append(f"mac_cycles.{precision}")
        else:
            peak = getattr(peaks, precision) or peaks.fp32
            mac[precision] = clock_hz / peak.value
            notes.append(f"no core and no mac_cycles.{precision} in the profile: its peak is used")
    device = device_of(profile, 1)
    rates = Rates(
        clock_hz=clock_hz,
        mac=mac,
        activation=table("activation_cycles", ACTIVATION_CYCLES),
        lstm_activation=table("lstm_activation_cycles", LSTM_ACTIVATION_CYCLES),
        elementwise=table("elementwise_cycles", ELEMENTWISE_CYCLES),
        run=fixed("run_cycles", profile.overheads.run_s, RUN_CYCLES),
        op=fixed("op_cycles", profile.overheads.op_s, OP_CYCLES),
        step=fixed("step_cycles", profile.overheads.step_s, STEP_CYCLES),
        weights=device.weights,
        activations=device.activations,
    )
    if missing:
        notes.append(f"no {', '.join(missing)} in the profile: those of {name or 'cortex-m4'}")
    return msgspec.structs.replace(rates, notes=tuple(notes))


def _time_of(row: CountedOp, rates: Rates, precision: str | None) -> OpTime:
    """The time of all executions of one row."""
    if row.cost.kind == "constant":
        return OpTime()
    work = work_of(row)
    wanted = precision or row.precision
    kernel = wanted if wanted in PRECISIONS else "fp32"
    second = 1.0 / rates.clock_hz
    mac_s = rates.mac[kernel] * second
    gates_s = second * _elementwise_cycles(row, rates, kernel)
    read_s, step_read_s, level_bytes = _reads(work, rates, byte_scale(row.precision, precision))
    compute_s = work.parallel_macs * mac_s + (0.0 if work.steps else gates_s)
    parallel_s = max(compute_s, read_s)
    parts = {"compute": 0.0, "memory": 0.0}
    parts["compute" if compute_s >= read_s else "memory"] += parallel_s
    wait_s, step_s = 0.0, None
    if work.steps:
        macs_s = work.sequential_macs / work.steps * mac_s
        product_s = max(macs_s, step_read_s)
        wait_s = _step_cycles(row, rates) * second
        step_s = wait_s + product_s + gates_s / work.steps
        parts["compute" if macs_s >= step_read_s else "memory"] += work.steps * product_s
        parts["compute"] += gates_s
    return OpTime(
        overhead_s=(work.executions + work.trips) * rates.op * second,
        compute_s=parts["compute"],
        memory_s=parts["memory"],
        latency_s=work.steps * wait_s,
        parallel_s=parallel_s,
        sequential_s=work.steps * step_s if step_s is not None else 0.0,
        step_s=step_s,
        level_bytes=level_bytes,
    )


def _elementwise_cycles(row: CountedOp, rates: Rates, kernel: str) -> float:
    """Cycles of all elementwise work. Biases are added within a product."""
    lstm = row.op.op_type.removesuffix("Cell").endswith("LSTM")
    activation = (rates.lstm_activation if lstm else rates.activation)[kernel]
    others = hint(row.counts.multiplies) + hint(row.counts.adds)
    return hint(row.counts.activations) * activation + others * rates.elementwise[kernel]


def _step_cycles(row: CountedOp, rates: Rates) -> float:
    """Fixed cycles of a step of a recurrent layer; an unrolled one has operators instead."""
    if not row.cost.dims:
        return 0.0
    operators = STEP_OPERATORS.get(row.op.op_type.removesuffix("Cell"))
    return rates.step if operators is None else operators * rates.op


def _reads(work: Work, rates: Rates, scale: float) -> tuple[float, float, dict[str, int]]:
    """Seconds for the bytes outside the steps and in one step, and bytes by memory level."""
    if not work.executions:
        return 0.0, 0.0, {}
    level_bytes: dict[str, float] = {}

    def add(levels: tuple[Level, ...], held_bytes: float, size_bytes: float) -> float:
        level = next((x for x in levels if held_bytes <= x.size_bytes), levels[-1])
        level_bytes[level.name] = level_bytes.get(level.name, 0.0) + size_bytes
        return size_bytes / level.bytes_per_s

    weights = work.weight_bytes * scale
    seconds = add(rates.weights[-1:], weights, weights)
    seconds += add(rates.weights, weights, (work.executions - 1) * weights)
    seconds += add(
        rates.activations, work.activation_set_bytes * scale, work.activation_bytes * scale
    )
    step = work.step_bytes * scale
    step_s = add(rates.weights, step, work.steps * step) / work.steps if work.steps else 0.0
    return seconds, step_s, {name: round(size) for name, size in level_bytes.items()}
