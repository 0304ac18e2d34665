"""Recurrent layers as cuDNN runs them; all other rows are rooflines with a launch each.

A layer is one call: the input product of all steps is one matrix product, then come the
steps of ``rnncost.latency.cudnn_kernels``, by the standard algorithm or by a persistent one
that PyTorch picks. Constants come from published times (docs/accuracy.md), not from
measurements of our own; those of the persistent algorithms rest on one published table.

Not modelled: layers of one call that overlap, CUDA graphs, and fp32 products that PyTorch
runs in tf32 unless told otherwise (``precision="tf32"`` shows that).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from rnncost.graph.dim import hint
from rnncost.latency.assembly import PRECISION_BITS, OpTime, Prediction
from rnncost.latency.cudnn_constants import CUDNN_6, CUDNN_8, PERSISTENT
from rnncost.latency.cudnn_kernels import (
    Constants,
    Gpu,
    Layer,
    Persistent,
    Product,
    Work,
    bounds_of,
    product_of,
    product_s,
    small_step_s,
    startup_s,
    static_step_s,
    step_s,
    work_of_layer,
)
from rnncost.latency.roofline import UNCALIBRATED, Device, device_of, roofline

if TYPE_CHECKING:
    from rnncost.counting.counted import Counted, CountedOp
    from rnncost.profiles.runtimes import Cudnn
    from rnncost.profiles.schema import HardwareProfile

_LAYERS = ("RNN", "GRU", "LSTM")
_KERNELS = {"cudnn-6": CUDNN_6, "cudnn-8": CUDNN_8}
# Inputs of the layer operators: sequence lengths.
_LENGTHS = 4


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU, the constants of its library, and who picks the algorithm."""

    device: Device
    constants: Constants
    persistent: Persistent
    cores: int
    register_bytes: float
    framework: str

    def gpu(self, precision: str) -> Gpu:
        """The GPU as a product in some precision sees it."""
        shared = [level for level in self.device.profile.memory if not level.per_core]
        names = {level.name for level in shared}
        own = [level for level in self.device.weights if level.name in names]
        levels = own or self.device.weights[-1:]
        return Gpu(
            macs_per_s=self.device.macs_per_s(precision),
            cores=self.cores,
            weight_levels=tuple([(level.size_bytes, level.bytes_per_s) for level in levels]),
            register_bytes=self.register_bytes,
        )


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """The steps of one execution of a layer.

    ``setup_s`` is spent before or besides them, ``pair_s`` is a step of all directions, and
    ``parts`` says what a step is spent on.
    """

    algorithm: str
    setup_s: float
    pair_s: float
    parts: dict[str, float]


def cudnn(
    counted: Counted, profile: HardwareProfile, *, threads: int, precision: str | None
) -> Prediction:
    """Predict the time of each row of a counted graph; see ``rnncost.latency.estimate``."""
    base = roofline(counted, profile, threads=threads, precision=precision)
    model = model_of(profile, device_of(profile, threads))
    if model is None:
        note = "no processor.cores in the profile: recurrent layers are rooflines"
        return msgspec.structs.replace(base, notes=(*base.notes, note))
    ops: list[OpTime] = []
    algorithms: set[str] = set()
    layers_s = 0.0
    for row, time in zip(counted.ops, base.ops, strict=True):
        layer = layer_of(row, precision)
        if layer is None:
            ops.append(time)
            continue
        steps = steps_of(row, layer, model, precision or row.precision)
        algorithms.add(steps.algorithm)
        ops.append(_time(row, layer, steps, time, model, precision or row.precision))
        layers_s += ops[-1].total_s
    mostly = 2 * layers_s >= math.fsum(time.total_s for time in ops) > 0
    interval, why_not = _interval(profile, model, mostly, algorithms)
    notes = [note for note in base.notes if not (mostly and note == UNCALIBRATED)]
    if algorithms:
        notes.append(f"recurrent layers: constants of {model.constants.source}")
    if algorithms - {"standard"}:
        notes.append(
            "persistent algorithms as PyTorch picks them; ONNX Runtime takes the standard one"
        )
    if any(r.cost.kind == "recurrent" and layer_of(r, precision) is None for r in counted.ops):
        notes.append("cells, unrolled steps and 8-bit layers are no layers of cuDNN: rooflines")
    return Prediction(
        ops=tuple(ops),
        run=base.run,
        threads=base.threads,
        interval=interval,
        notes=(*notes, *why_not),
    )


def _interval(
    profile: HardwareProfile, model: Model, mostly: bool, algorithms: set[str]
) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """The interval, or why there is none. ``mostly``: most of the time is in layers."""
    if not mostly:
        return None, ("no interval: most of the time is not in recurrent layers",)
    if profile.interval is not None:
        return (profile.interval.low, profile.interval.high), ()
    if algorithms != {"standard"}:
        return None, ("no interval: no persistent layer was held out of a fit",)
    return model.constants.interval, ()


def model_of(profile: HardwareProfile, device: Device) -> Model | None:
    """The constants that apply to a profile; None where it does not say its multiprocessors."""
    if profile.processor.cores is None:
        return None
    block = profile.cudnn
    constants = _KERNELS[(block and block.kernels) or "cudnn-8"]
    register_bytes = profile.processor.register_bytes
    return Model(
        device=device,
        constants=constants if block is None else _overridden(constants, block),
        persistent=PERSISTENT
        if block is None or block.persistent_floor_s is None
        else msgspec.structs.replace(PERSISTENT, floor_s=block.persistent_floor_s.value),
        cores=round(profile.processor.cores.value),
        register_bytes=262144.0 if register_bytes is None else register_bytes.value,
        framework=(block and block.framework) or "pytorch",
    )


def _overridden(constants: Constants, block: Cudnn) -> Constants:
    names = ("call_s", "startup_s", "floor_s", "bandwidth_share", "peak_share")
    own = {name: getattr(block, name) for name in names}
    values = {name: quantity.value for name, quantity in own.items() if quantity is not None}
    if not values:
        return constants
    source = f"{constants.source}, with the profile's own {', '.join(values)}"
    return msgspec.structs.replace(constants, source=source, **values)


def layer_of(row: CountedOp, precision: str | None) -> Layer | None:
    """A row as one execution of a layer of cuDNN's; None where cuDNN has no such layer."""
    dims = row.cost.dims
    used = precision or row.precision
    if row.op.op_type not in _LAYERS or not dims or used == "int8":
        return None
    directions = hint(dims["D"])
    hidden = hint(dims["H"])
    return Layer(
        gates=hint(dims["G"]),
        hidden=hidden,
        output=hint(dims.get("P", hidden)),
        batch=hint(dims["B"]),
        steps=hint(row.cost.executed_steps) // max(1, directions),
        directions=directions,
        element_bytes=PRECISION_BITS.get(used, 32) / 8,
    )


def algorithm_of(row: CountedOp, layer: Layer, model: Model, precision: str) -> str:
    """The algorithm that PyTorch picks (``aten/src/ATen/native/cudnn/RNN.cpp``).

    "small-h" for a hidden size to 192 (384 for a vanilla RNN); "static" for fp16, one
    direction, a hidden size to 1024, sizes that are multiples of 128, and batches that do
    well; neither with sequence lengths, a projection or fp64. A profile does not give the
    compute capability: 98 multiprocessors stand for Ampere and later (the rule itself asks
    for them), 80 with tensor cores and no bf16 for Volta.
    """
    lengths = row.op.ints_attr("batch_sizes") is not None or row.op.tensor(_LENGTHS) is not None
    if model.framework != "pytorch" or not model.constants.persistent or lengths:
        return "standard"
    if layer.output != layer.hidden or precision == "fp64":
        return "standard"
    if layer.hidden <= (384 if layer.gates == 1 else 192):
        return "small-h"
    sizes = (layer.hidden, hint(row.cost.dims["I"]))
    whole = all(size % 128 == 0 for size in sizes) and layer.hidden <= 1024
    if precision == "fp16" and layer.directions == 1 and whole and _suits(layer, model):
        return "static"
    return "standard"


def _suits(layer: Layer, model: Model) -> bool:
    """Whether PyTorch expects the static persistent algorithm to pay at this batch."""
    batch, steps = layer.batch, layer.steps
    peaks = model.device.profile.peak_macs_per_s
    if model.cores >= 98:
        few = batch % 8 == 0 and batch <= 128
        return few and layer.gates != 3 and (layer.gates == 4 or batch < 96 or layer.hidden < 896)
    tensor_cores = peaks.fp16 is not None and peaks.fp16.value >= 4 * peaks.fp32.value
    if model.cores >= 80 and tensor_cores and peaks.bf16 is None:
        good = (batch % 16 == 0 and batch not in (80, 112)) or batch == 8
        return good and any(
            steps >= least and batch <= most for least, most in ((40, 128), (20, 96), (10, 32))
        )
    return False


def steps_of(row: CountedOp, layer: Layer, model: Model, precision: str) -> Steps:
    """The steps of one execution of a layer by the algorithm that is picked for it."""
    algorithm = algorithm_of(row, layer, model, precision)
    gpu = model.gpu(precision)
    work = work_of_layer(layer, gpu)
    if algorithm == "standard":
        return Steps(
            algorithm=algorithm,
            setup_s=startup_s(work, model.constants),
            pair_s=step_s(work, model.constants),
            parts=_parts(work, model.constants),
        )
    kernel = small_step_s if algorithm == "small-h" else static_step_s
    pair_s = kernel(layer, gpu, model.persistent)
    floor_s = model.persistent.floor_s * layer.directions
    if algorithm == "static":
        floor_s = model.persistent.grid_s
    return Steps(
        algorithm=algorithm,
        setup_s=layer.recurrent_bytes / gpu.weight_levels[-1][1],
        pair_s=pair_s,
        parts={"latency": floor_s, "compute": pair_s - floor_s, "memory": 0.0},
    )


def _parts(work: Work, constants: Constants) -> dict[str, float]:
    """What a step is spent on: launches, and each product by its largest bound."""
    parts = {"latency": work.directions * constants.floor_s, "compute": 0.0, "memory": 0.0}
    for product in work.products:
        bounds = bounds_of(product, constants)
        parts[max(bounds, key=bounds.__getitem__)] += product_s(product, constants)
    return parts


def _time(
    row: CountedOp, layer: Layer, steps: Steps, base: OpTime, model: Model, precision: str
) -> OpTime:
    """The time of all executions of a layer; ``base`` is its roofline."""
    executions = hint(row.executions)
    input_s = executions * product_s(_inputs(row, layer, model.gpu(precision)), model.constants)
    setup_s = executions * steps.setup_s
    passes = executions * layer.steps
    # The roofline's parallel part knows the bytes of W, of the input and of the output.
    parallel_s = max(input_s, base.parallel_s)
    parts = {part: passes * seconds for part, seconds in steps.parts.items()}
    parts["compute" if input_s >= base.parallel_s else "memory"] += parallel_s
    parts["memory"] += setup_s
    return OpTime(
        overhead_s=executions * model.constants.call_s,
        compute_s=parts["compute"],
        memory_s=parts["memory"],
        latency_s=parts["latency"],
        parallel_s=parallel_s + setup_s,
        sequential_s=passes * steps.pair_s,
        step_s=steps.pair_s / max(1, layer.directions),
        level_bytes=base.level_bytes,
    )


def _inputs(row: CountedOp, layer: Layer, gpu: Gpu) -> Product:
    """The input product of all steps, of all directions."""
    return product_of(
        layer.gates * layer.hidden,
        layer.batch * layer.steps,
        hint(row.cost.dims["I"]),
        gpu,
        copies=layer.directions,
        bytes_per_s=gpu.weight_levels[-1][1],
        element_bytes=layer.element_bytes,
    )
