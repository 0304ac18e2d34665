"""The rows of a counted graph as ONNX Runtime's CPU provider runs them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from rnncost.graph.dim import hint
from rnncost.latency.assembly import OpTime, Prediction
from rnncost.latency.onnxruntime_cpu.defaults import default_constants
from rnncost.latency.onnxruntime_cpu.layers import CellName, Layer, layer_time
from rnncost.latency.onnxruntime_cpu.operators import operator_times
from rnncost.latency.roofline import device_of, time_of

if TYPE_CHECKING:
    from rnncost.counting.counted import Counted, CountedOp
    from rnncost.latency.onnxruntime_cpu.layers import LayerTime
    from rnncost.profiles.onnxruntime import OnnxRuntimeCpu
    from rnncost.profiles.schema import HardwareProfile

CELLS: dict[str, CellName] = {
    "LSTM": "lstm",
    "LSTMCell": "lstm",
    "GRU": "gru",
    "GRUCell": "gru_linear",
    "RNN": "rnn",
    "RNNCell": "rnn",
    "com.microsoft::DynamicQuantizeLSTM": "lstm_int8",
}
"""The kernel of each operator; PyTorch's GRU is the linear one."""

RECURRENT = "layers"
"""What a calibration calls the layers that it left out of its fit."""

FIRST_CACHE_BYTES = 32768.0
"""Of a processor whose profile starts with its second cache."""

HELD_OUT_WIDTH = 1.2
"""How many times wider the interval of single layers is than the ratios of those that the
calibration left out, which are few and timed in the same rounds. Chosen on the layers of one
seed, checked on those of another (docs/accuracy.md)."""

MODEL_WIDTH = 1.1
"""How many times wider the interval of a whole model is than that of single layers. Chosen on
every second of the real models, checked on the others (docs/accuracy.md)."""

UNCALIBRATED_INTERVAL = (0.58, 1.61)
"""Ratios of measured to estimated time that hold 90 % of 200 layers on one AVX-512 server
core when four data-sheet profiles of x86 servers stand for it (docs/accuracy.md)."""

SECOND_CACHE_BYTES = 1024 * 1024.0
"""Of a processor whose profile has no caches."""

LARGEST_FIRST_CACHE_BYTES = 192 * 1024.0
"""A nearest level up to this size is a first cache, a larger one the second."""

CLOCK_HZ = 3.0e9
"""Of a processor whose profile has no clock."""


def onnxruntime_cpu(
    counted: Counted, profile: HardwareProfile, *, threads: int, precision: str | None
) -> Prediction:
    """Predict the time of each row of a counted graph; see ``rnncost.latency.estimate``."""
    device = device_of(profile, threads)
    constants, notes = constants_for(profile)
    near = _near_only(constants)
    totals = counted.totals
    used = hint(totals.active_params) / max(1, hint(totals.params))
    run_bytes = used * hint(totals.weight_bytes) + hint(totals.peak_activation_bytes)
    others = operator_times(
        counted, constants, constants.operators, threads=device.threads, run_bytes=run_bytes
    )
    ops = []
    alone = True
    stand_ins: set[str] = set()
    for row, other in zip(counted.ops, others, strict=True):
        roof = time_of(row, device, precision)
        layer = layer_of(row, precision)
        if layer is None:
            alone = alone and not other.total_s
            ops.append(msgspec.structs.replace(other, level_bytes=roof.level_bytes))
            continue
        stand_ins.update(_stand_ins(row, layer, precision))
        executions = hint(row.executions)
        time = layer_time(layer, constants, device.threads, run_bytes)
        cached = layer_time(layer, near, device.threads, run_bytes)
        ops.append(_op_time(layer, time, cached, constants, executions, roof.level_bytes))
    return Prediction(
        ops=tuple(ops),
        run=OpTime(overhead_s=constants.run_s),
        threads=device.threads,
        interval=_interval(profile, device.threads, alone=alone),
        notes=(*notes, *sorted(stand_ins)),
    )


def constants_for(profile: HardwareProfile) -> tuple[OnnxRuntimeCpu, tuple[str, ...]]:
    """The profile's own constants, or what its data sheet implies, with notes."""
    if profile.onnxruntime_cpu is not None:
        when = profile.calibration
        notes = [] if when is None else [f"calibrated on {when.date} with {when.runtime}"]
        return profile.onnxruntime_cpu, tuple(notes)
    clock = profile.processor.clock_hz
    levels = [
        (
            level.size_bytes.value if level.size_bytes is not None else float("inf"),
            (level.core_bandwidth_bytes_per_s or level.bandwidth_bytes_per_s).value,
        )
        for level in profile.memory
    ]
    first_bytes = FIRST_CACHE_BYTES
    if len(levels) > 1 and levels[0][0] <= LARGEST_FIRST_CACHE_BYTES:
        first_bytes, levels = levels[0][0], levels[1:]
    second_bytes = levels[0][0] if levels[0][0] < math.inf else SECOND_CACHE_BYTES
    constants = default_constants(
        isa=profile.processor.isa,
        clock_hz=clock.value if clock is not None else CLOCK_HZ,
        peak_macs_per_s=profile.peak_macs_per_s.fp32.value,
        first_cache_bytes=first_bytes,
        second_cache_bytes=second_bytes,
        levels=levels[1:] or levels,
    )
    run = profile.overheads.run_s
    if run is not None:
        constants = msgspec.structs.replace(constants, run_s=run.value)
    notes = ["uncalibrated: kernel times of another processor, scaled by clock and peak"]
    if clock is None:
        notes.append(f"no clock_hz in the profile: {CLOCK_HZ / 1e9:g} GHz taken")
    if second_bytes != levels[0][0]:
        notes.append(f"no cache in the profile: one of {SECOND_CACHE_BYTES / 2**20:g} MiB taken")
    return constants, tuple(notes)


def interval_of(profile: HardwareProfile, threads: int) -> tuple[float, float] | None:
    """Ratios of measured to estimated time: of the calibration, or else of the profile."""
    held_out = profile.calibration.held_out if profile.calibration is not None else ()
    for cases in held_out:
        if cases.threads == threads and cases.what == RECURRENT:
            return _widened(cases.low, cases.high, HELD_OUT_WIDTH)
    if profile.interval is None:
        return UNCALIBRATED_INTERVAL if profile.onnxruntime_cpu is None else None
    return profile.interval.low, profile.interval.high


def _interval(profile: HardwareProfile, threads: int, *, alone: bool) -> tuple[float, float] | None:
    """The interval of a graph; ``alone`` says that it is nothing but recurrent nodes."""
    layers = interval_of(profile, threads)
    if layers is None or alone or profile.calibration is None:
        return layers
    return _widened(*layers, MODEL_WIDTH)


def _widened(low: float, high: float, times: float) -> tuple[float, float]:
    return max(0.05, 1 - times * (1 - low)), 1 + times * (high - 1)


def layer_of(row: CountedOp, precision: str | None) -> Layer | None:
    """The layer that a row runs, or None where it is no recurrent node."""
    name = CELLS.get(row.op.op_type)
    dims = {letter: hint(dim) for letter, dim in row.cost.dims.items()}
    if name is None or not dims:
        return None
    if name == "gru" and row.op.int_attr("linear_before_reset", 0):
        name = "gru_linear"
    if name == "lstm" and precision == "int8":
        name = "lstm_int8"
    runs = max(1, hint(row.executions))
    steps = hint(row.counts.executed_steps) // (runs * dims["D"])
    return Layer(
        cell=name,
        steps=steps,
        rows=dims["B"],
        inputs=dims["I"],
        hidden=dims["H"],
        directions=dims["D"],
        initial_state=len(row.op.inputs) > 5 and row.op.inputs[5] is not None,
        reverse=row.op.str_attr("direction", "forward") == "reverse",
    )


def _stand_ins(row: CountedOp, layer: Layer, precision: str | None) -> list[str]:
    """Notes on what a row is timed as, where ONNX Runtime has no such kernel."""
    notes = []
    if precision not in (None, "int8" if layer.cell == "lstm_int8" else "fp32"):
        notes.append(f"no {precision} kernel for {row.op.op_type}: timed in its own precision")
    if "P" in row.cost.dims:
        notes.append(f"no kernel for {row.op.op_type} with a projection: timed without")
    return notes


def _op_time(
    layer: Layer,
    time: LayerTime,
    cached: LayerTime,
    constants: OnnxRuntimeCpu,
    executions: int,
    level_bytes: dict[str, int],
) -> OpTime:
    """The time of a layer's executions; ``cached`` is its time if all weights were near."""
    # First steps wait longer for their weights; the RNN's is shorter, as it has no product.
    parallel_s = time.input_s + max(0.0, time.first_steps_s)
    sequential_s = time.steps * time.step_s + min(0.0, time.first_steps_s)
    memory_s = time.total_s - cached.total_s
    latency_s = time.steps * getattr(constants.cells, layer.cell).step_s
    return OpTime(
        overhead_s=executions * time.fixed_s,
        compute_s=executions * (parallel_s + sequential_s - memory_s - latency_s),
        memory_s=executions * memory_s,
        latency_s=executions * latency_s,
        parallel_s=executions * parallel_s,
        sequential_s=executions * sequential_s,
        step_s=time.step_s,
        level_bytes=level_bytes,
    )


def _near_only(constants: OnnxRuntimeCpu) -> OnnxRuntimeCpu:
    """The same kernels with all weights in the near caches."""
    products = constants.products
    far = tuple([msgspec.structs.replace(point, s_per_byte=0.0) for point in products.far])
    return msgspec.structs.replace(constants, products=msgspec.structs.replace(products, far=far))
