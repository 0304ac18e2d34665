"""PyTorch on a CPU: LSTM layers in oneDNN, GRU and RNN as single operators in a loop.

A layer in one direction (T steps, B rows, I inputs, H units, G gates)::

    LSTM        layer_s + weights / reorder rate + packed(T·B, I, G·H)
                + T · (step_s + packed(B, H, G·H))
    GRU, RNN    layer_s + product(T·B, I, G·H) + T · (step_s + unit_s·B·H + product(B, H, G·H))

An LSTM with a projection, in 8 bits, or as a cell module does not go to oneDNN and runs like
the others. The products (M rows, K, N), by what their kernels were seen to do::

    packed    max(bytes / bandwidth, MACs / (efficiency · peak))
    product   M < 16: max(⌈M / 3⌉ · bytes / bandwidth, MACs / (efficiency · peak))
              else:   2 · bytes / bandwidth + MACs / (efficiency · peak)

with bytes = the K·N weights and MACs = M·K·N, N rounded up to 32 columns. Weights are taken to
be warm, as in a second run: they come from the nearest level that holds them, and in part from
the next one as they begin to fill it.
Everything else in a model is a roofline with PyTorch's time for each operator.

The constants were fitted on 160 random layers and tested on 320 others by
benchmarks/pytorch_cpu.py: PyTorch 2.13 with its own oneDNN and MKL, one thread of an x86-64
server core with AVX-512 in a virtual machine (2.6 GHz class).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from rnncost.graph.dim import hint
from rnncost.latency.assembly import PRECISION_BITS, OpTime, Prediction, byte_scale
from rnncost.latency.roofline import Device, Level, device_of, time_of
from rnncost.latency.work import work_of
from rnncost.profiles.quantities import Duration
from rnncost.profiles.schema import Overheads

if TYPE_CHECKING:
    from rnncost.counting.counted import Counted, CountedOp
    from rnncost.profiles.schema import HardwareProfile

INTERVAL = (0.86, 1.16)
"""5 % and 95 % quantiles of measured to estimated time on 320 layers held out (seeds 2 and 3)."""

GATES = {"lstm": 4, "unfused_lstm": 4, "gru": 3, "rnn": 1}
FEW_ROWS, MANY_ROWS, TILE_COLUMNS = 3, 16, 32
FILLING, FULL = 0.4, 1.3
"""Shares of a cache beyond which weights start to miss it, and miss it wholly."""


class Constants(msgspec.Struct, frozen=True, kw_only=True):
    """The constants of ``rnncost.profiles.runtimes.PytorchCpu``, as measured here."""

    run_s: float = 9.3e-6
    op_s: float = 2.8e-6
    cell_s: float = 1.03e-5
    lstm_layer_s: float = 4.61e-5
    unfused_lstm_layer_s: float = 1.33e-5
    gru_layer_s: float = 8.9e-6
    rnn_layer_s: float = 9.5e-6
    lstm_step_s: float = 5.6e-7
    unfused_lstm_step_s: float = 8.29e-6
    gru_step_s: float = 9.12e-6
    rnn_step_s: float = 3.06e-6
    unfused_lstm_unit_s: float = 1.12e-8
    gru_unit_s: float = 7.3e-9
    rnn_unit_s: float = 2.3e-9
    reorder_bytes_per_s: float = 9.46e9
    packed_efficiency: float = 0.643
    few_rows_efficiency: float = 0.64
    many_rows_efficiency: float = 0.99


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A recurrent layer; ``output`` is H, or P with a projection.

    ``kind`` is ``lstm`` where oneDNN runs it, else ``unfused_lstm``, ``gru`` or ``rnn``.
    """

    kind: str
    steps: int
    batch: int
    inputs: int
    hidden: int
    output: int
    directions: int = 1
    precision: str = "fp32"
    cell: bool = False


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of a matrix product, by what they are spent on, and the weight bytes it reads."""

    compute_s: float = 0.0
    memory_s: float = 0.0
    read_bytes: float = 0.0
    held_bytes: float = 0.0


class LayerTime(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of one direction of a layer, in one execution."""

    fixed_s: float
    reorder_s: float
    inputs: Product
    step: Product
    step_fixed_s: float
    unit_s: float
    steps: int

    @property
    def step_s(self) -> float:
        """One step: its operators, its product and its elementwise work."""
        return self.step_fixed_s + self.unit_s + self.step.compute_s + self.step.memory_s

    @property
    def total_s(self) -> float:
        """The whole direction."""
        parallel_s = self.reorder_s + self.inputs.compute_s + self.inputs.memory_s
        return self.fixed_s + parallel_s + self.steps * self.step_s


def pytorch_cpu(
    counted: Counted, profile: HardwareProfile, *, threads: int, precision: str | None
) -> Prediction:
    """Predict the time of each row of a counted graph; see ``rnncost.latency.estimate``."""
    constants, missing = constants_of(profile)
    device = device_of(with_overheads(profile, constants), threads)
    ops = tuple([_row_time(row, device, constants, precision) for row in counted.ops])
    layers = [(row, time) for row, time in zip(counted.ops, ops, strict=True) if row.cost.dims]
    notes = list(device.rates.notes)
    if missing:
        which = (
            ", ".join(missing) if len(missing) < len(constants.__struct_fields__) else "constants"
        )
        notes.append(f"no {which} of PyTorch in the profile: those of one AVX-512 server core")
    if device.threads > 1:
        notes.append("measured with one thread; what starting and joining more takes is left out")
    if any((precision or row.precision) != "fp32" for row, _ in layers):
        notes.append("recurrent layers were measured in fp32 alone")
    interval: tuple[float, float] | None = INTERVAL
    if profile.interval is not None:
        interval = (profile.interval.low, profile.interval.high)
    elif 2 * math.fsum(t.total_s for _, t in layers) < math.fsum(t.total_s for t in ops):
        interval = None
        notes.append("no interval: most of the time is not in recurrent layers")
    else:
        notes.append("the interval is that of layers on the machine of the constants")
    return Prediction(
        ops=ops,
        run=OpTime(overhead_s=device.rates.run_s),
        threads=device.threads,
        interval=interval,
        notes=tuple(notes),
    )


def constants_of(profile: HardwareProfile) -> tuple[Constants, list[str]]:
    """The constants of a profile, and the names of those it leaves to the defaults."""
    names = Constants.__struct_fields__
    found = {name: getattr(profile.pytorch_cpu, name, None) for name in names}
    given = {name: quantity.value for name, quantity in found.items() if quantity is not None}
    return Constants(**given), [name for name in names if name not in given]


def layer_time(layer: Layer, constants: Constants, device: Device) -> LayerTime:
    """The time of one direction of a layer, in one execution."""
    fused = layer.kind == "lstm"
    width = GATES[layer.kind] * layer.hidden
    element_bytes = PRECISION_BITS[layer.precision] / 8
    peak = device.macs_per_s(layer.precision)
    weight_bytes = width * (layer.inputs + layer.output) * element_bytes

    def product(m: int, k: int, n: int) -> Product:
        size_bytes = k * n * element_bytes
        bandwidth = _bandwidth(device.weights, size_bytes)
        macs_s = m * k * math.ceil(n / TILE_COLUMNS) * TILE_COLUMNS / peak
        return (_packed if fused else _product)(m, macs_s, size_bytes, bandwidth, constants)

    step = product(layer.batch, layer.output, width)
    if layer.output != layer.hidden:
        step = _plus(step, product(layer.batch, layer.hidden, layer.output))
    unit_s = 0.0 if fused else getattr(constants, f"{layer.kind}_unit_s")
    return LayerTime(
        fixed_s=constants.cell_s if layer.cell else getattr(constants, f"{layer.kind}_layer_s"),
        reorder_s=weight_bytes / constants.reorder_bytes_per_s if fused else 0.0,
        inputs=product(layer.steps * layer.batch, layer.inputs, width),
        step=step,
        step_fixed_s=getattr(constants, f"{layer.kind}_step_s"),
        unit_s=unit_s * layer.batch * layer.hidden,
        steps=layer.steps,
    )


def _packed(m: int, macs_s: float, size_bytes: float, bandwidth: float, c: Constants) -> Product:
    """A product of oneDNN with weights that it has packed before; ``macs_s`` at the peak."""
    return _larger(macs_s / c.packed_efficiency, size_bytes, size_bytes, bandwidth)


def _product(m: int, macs_s: float, size_bytes: float, bandwidth: float, c: Constants) -> Product:
    """A product of MKL: weights read for every three rows, or packed first for many rows."""
    if m < MANY_ROWS:
        reads_bytes = math.ceil(m / FEW_ROWS) * size_bytes
        return _larger(macs_s / c.few_rows_efficiency, reads_bytes, size_bytes, bandwidth)
    return Product(
        compute_s=macs_s / c.many_rows_efficiency,
        memory_s=2 * size_bytes / bandwidth,
        read_bytes=2 * size_bytes,
        held_bytes=size_bytes,
    )


def _larger(compute_s: float, read_bytes: float, held_bytes: float, bandwidth: float) -> Product:
    memory_s = read_bytes / bandwidth
    if compute_s >= memory_s:
        return Product(compute_s=compute_s, read_bytes=read_bytes, held_bytes=held_bytes)
    return Product(memory_s=memory_s, read_bytes=read_bytes, held_bytes=held_bytes)


def _plus(a: Product, b: Product) -> Product:
    return Product(**{f: getattr(a, f) + getattr(b, f) for f in Product.__struct_fields__})


def _bandwidth(levels: tuple[Level, ...], size_bytes: float) -> float:
    """Bytes a second at which weights of a size are read again and again."""
    shares = _shares(levels, size_bytes)
    return 1 / sum(share / level.bytes_per_s for level, share in zip(levels, shares, strict=True))


def _shares(levels: tuple[Level, ...], size_bytes: float) -> list[float]:
    """Which share of weights that are read again and again comes from each level."""
    left, shares = 1.0, []
    for level in levels[:-1]:
        misses = (size_bytes / level.size_bytes - FILLING) / (FULL - FILLING)
        hit = left * (1 - min(1.0, max(0.0, misses)))
        shares.append(hit)
        left -= hit
    return [*shares, left]


def _row_time(
    row: CountedOp, device: Device, constants: Constants, precision: str | None
) -> OpTime:
    layer = _layer(row, precision)
    if layer is None or row.cost.kind == "constant":
        return time_of(row, device, precision)
    time = layer_time(layer, constants, device)
    count = hint(row.executions) * layer.directions
    steps = count * time.steps
    return OpTime(
        overhead_s=count * time.fixed_s,
        compute_s=count * time.inputs.compute_s + steps * (time.step.compute_s + time.unit_s),
        memory_s=count * (time.reorder_s + time.inputs.memory_s) + steps * time.step.memory_s,
        latency_s=steps * time.step_fixed_s,
        parallel_s=count * (time.reorder_s + time.inputs.compute_s + time.inputs.memory_s),
        sequential_s=steps * time.step_s,
        step_s=time.step_s if steps else None,
        level_bytes=_level_bytes(row, time, device, count, byte_scale(row.precision, precision)),
    )


def _level_bytes(
    row: CountedOp, time: LayerTime, device: Device, count: int, scale: float
) -> dict[str, int]:
    read = {level.name: 0.0 for level in (*device.weights, *device.activations)}
    for product, times in ((time.inputs, count), (time.step, count * time.steps)):
        shares = _shares(device.weights, product.held_bytes)
        for level, share in zip(device.weights, shares, strict=True):
            read[level.name] += times * share * product.read_bytes
    work = work_of(row)
    held = work.activation_set_bytes * scale
    near = next((x for x in device.activations if held <= x.size_bytes), device.activations[-1])
    read[near.name] += work.activation_bytes * scale
    return {name: round(size) for name, size in read.items() if size}


def _layer(row: CountedOp, precision: str | None) -> Layer | None:
    """The row as a recurrent layer, or None where it is none or has steps of its own."""
    dims = {letter: hint(dim) for letter, dim in row.cost.dims.items()}
    name = row.op.op_type.removeprefix("com.microsoft::").removeprefix("DynamicQuantize")
    kind = name.removesuffix("Cell").lower()
    if not dims or kind not in GATES:
        return None
    cell, used = name.endswith("Cell"), precision or row.precision
    if kind == "lstm" and (cell or "P" in dims or used == "int8"):
        kind = "unfused_lstm"
    return Layer(
        kind=kind,
        steps=dims["T"],
        batch=dims["B"],
        inputs=dims["I"],
        hidden=dims["H"],
        output=dims.get("P", dims["H"]),
        directions=dims["D"],
        precision=used if used in PRECISION_BITS else "fp32",
        cell=cell,
    )


def with_overheads(profile: HardwareProfile, constants: Constants) -> HardwareProfile:
    """The profile with PyTorch's times for what is not a recurrent layer."""

    def measured(seconds: float) -> Duration:
        return Duration(value=seconds, kind="measured", source="the constants of PyTorch")

    return msgspec.structs.replace(
        profile,
        overheads=Overheads(
            run_s=measured(constants.run_s),
            op_s=measured(constants.op_s),
            step_s=measured(0.0),
            loop_s=measured(constants.op_s),
        ),
    )
