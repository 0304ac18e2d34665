"""``rnncost.latency.onnxruntime_cpu`` for recurrent layers, on arrays: term for term as there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from rnncost.latency.arrays.estimate import Model
from rnncost.latency.arrays.exact import mapped
from rnncost.latency.arrays.layer import Cell, Layer, Truth, Values
from rnncost.latency.arrays.onnxruntime_products import (
    Held,
    Table,
    far,
    held_in,
    int8_s,
    packed_s,
    table_of,
    unpacked_s,
    up,
)
from rnncost.latency.arrays.roofline import dram_bytes_of
from rnncost.latency.onnxruntime_cpu import layers as scalar
from rnncost.latency.onnxruntime_cpu.layers import CellName
from rnncost.latency.onnxruntime_cpu.predict import constants_for
from rnncost.latency.onnxruntime_cpu.products import (
    COLUMN_TILE,
    MACS_A_THREAD,
    second_cache_bytes,
)

if TYPE_CHECKING:
    from rnncost.profiles.onnxruntime import Cell as CellTimes
    from rnncost.profiles.onnxruntime import OnnxRuntimeCpu
    from rnncost.profiles.schema import HardwareProfile

_KERNELS: dict[Cell, CellName] = {"lstm": "lstm", "gru": "gru_linear", "rnn": "rnn"}
"""The kernel of each of PyTorch's layers."""

ProductKernel = Callable[[Table, Values, Values, Values, Held, Values], Values]


class Extents(msgspec.Struct, frozen=True, kw_only=True):
    """A layer as a kernel sees it; the names are those of ``onnxruntime_cpu.layers.Layer``."""

    cell: CellName
    steps: Values
    rows: Values
    inputs: Values
    hidden: Values
    directions: int
    columns: Values
    recurrent_bytes: Values
    footprint_bytes: Values
    step_set_bytes: Values


class Split(msgspec.Struct, frozen=True):
    """Rows of one thread, where the batch is what is split, and how many threads share it."""

    rows: Values
    by_batch: Truth
    threads: Values


def model_of(profile: HardwareProfile, threads: int, precision: str | None) -> Model:
    """ONNX Runtime's kernels with the constants of a profile."""
    constants, _ = constants_for(profile)
    table = table_of(constants.products)
    used = min(threads, profile.threads)

    def layer_s(layer: Layer, run_bytes: Values) -> Values:
        return _layer_s(extents_of(layer, precision), constants, table, used, run_bytes)

    return Model(
        run_s=constants.run_s,
        layer_s=layer_s,
        dram_bytes=dram_bytes_of(profile, threads, precision),
    )


def extents_of(layer: Layer, precision: str | None) -> Extents:
    """A layer as a kernel sees it."""
    name = _KERNELS[layer.cell]
    if name == "lstm" and precision == "int8":
        name = "lstm_int8"
    columns = layer.gates * layer.hidden
    size_bytes = 1 if name == "lstm_int8" else 4
    recurrent = columns * layer.hidden * size_bytes
    weights = recurrent + columns * layer.inputs * size_bytes + 2 * 4 * columns
    buffers = 1 if name == "rnn" else layer.directions
    around = buffers * columns + layer.inputs + layer.directions * layer.hidden
    return Extents(
        cell=name,
        steps=layer.steps,
        rows=layer.batch,
        inputs=layer.inputs,
        hidden=layer.hidden,
        directions=layer.directions,
        columns=columns,
        recurrent_bytes=recurrent,
        footprint_bytes=layer.directions * weights + 4 * (layer.steps * layer.batch * around),
        step_set_bytes=recurrent + 4 * layer.batch * (columns + 3 * layer.hidden),
    )


def _split_of(layer: Extents, threads: int) -> Split:
    lstm = layer.cell in ("lstm", "lstm_int8")
    if threads == 1 or not lstm:
        return Split(layer.rows, False, threads)
    few = (layer.rows >= 2) & (layer.hidden <= scalar.SPLIT_UNITS)
    many = (layer.rows > scalar.SPLIT_ROWS) | few
    cycles = layer.steps * layer.rows * (layer.columns * layer.hidden + 1)
    wanted = np.trunc((cycles - scalar.START_CYCLES) / scalar.THREAD_CYCLES + 0.9)
    rows = up(layer.rows, threads)
    shared = many & (wanted > 1)
    return Split(
        np.where(shared, rows, layer.rows),
        many,
        np.where(shared, up(layer.rows, rows), np.where(many, 1.0, threads)),
    )


def _layer_s(
    layer: Extents,
    constants: OnnxRuntimeCpu,
    table: Table,
    threads: int,
    run_bytes: Values,
) -> Values:
    """Seconds of one execution, summed as ``predict`` does."""
    cell: CellTimes = getattr(constants.cells, layer.cell)
    split = _split_of(layer, threads)
    set_up = layer.hidden * (1.0 if layer.cell == "lstm_int8" else layer.rows)
    fixed: Values = cell.node_s + layer.directions * (cell.direction_s + set_up * cell.setup_s)
    own = layer.footprint_bytes
    whole = own + scalar.OTHERS_WEIGHT * np.maximum(0.0, run_bytes - own)
    held = held_in(table, whole)
    cold = _coldness(layer, table, held)
    around = _input_s(layer, constants, table, threads, whole, held, cold)
    if layer.directions == 2 and layer.cell != "rnn":
        around = around + _reverse_s(layer, constants)
    shared: Truth = np.logical_and(split.by_batch, np.greater(split.threads, 1))
    if np.any(shared):
        fixed = fixed + np.where(shared, layer.directions * constants.fork_s, 0.0)
    each = _step_product_s(layer, constants, table, split, layer.step_set_bytes, None)
    first: Values = 0.0
    if layer.cell != "rnn":
        first = _step_product_s(layer, constants, table, split, whole, held, cold)
    step_s = each + _gates_s(layer, constants, split, shared)
    first_steps_s = layer.directions * (first - each)
    parallel_s = around + np.maximum(0.0, first_steps_s)
    sequential_s = layer.directions * layer.steps * step_s + np.minimum(0.0, first_steps_s)
    return fixed + parallel_s + sequential_s


def _gates_s(layer: Extents, constants: OnnxRuntimeCpu, split: Split, shared: Truth) -> Values:
    """Elementwise seconds of a step."""
    cell: CellTimes = getattr(constants.cells, layer.cell)
    tail = cell.tail_s * (np.ceil(layer.hidden / scalar.VECTOR) * scalar.VECTOR != layer.hidden)
    unit_s: Values = cell.unit_s
    if layer.cell == "rnn":
        unit_s = unit_s * (1 - constants.repeat_gain * _repeated(layer))
    int8 = layer.cell == "lstm_int8"
    split_s = shared * (constants.int8_split_step_s if int8 else constants.split_step_s)
    each: Values = cell.step_s + split_s + split.rows * (cell.row_s + tail + layer.hidden * unit_s)
    return each


def _coldness(layer: Extents, table: Table, held: Held) -> Values:
    alone_s, _ = far(table, layer.footprint_bytes)
    among_s = np.asarray(held.byte_s)
    share = 1 - np.divide(alone_s, among_s, out=np.ones_like(among_s), where=among_s > alone_s)
    few = np.minimum(1.0, scalar.FEW_STEPS / np.maximum(1, layer.steps))
    cold: Values = 1 + (scalar.COLD - 1) * few * share
    return cold


def _repeated(layer: Extents) -> Values:
    most, least = float(scalar.FORGOTTEN_VALUES), float(scalar.LEARNT_VALUES)
    values = np.atleast_1d(layer.directions * layer.steps * layer.rows * layer.hidden)
    learnt = (values <= least).astype(np.float64)
    between = (values > least) & (values < most)
    if between.any():
        shares = mapped(math.log, most / values[between]) / math.log(most / least)
        learnt[between] = np.minimum(1.0, np.maximum(0.0, shares))
    return learnt


def _reverse_s(layer: Extents, constants: OnnxRuntimeCpu) -> Values:
    copies = constants.copies
    values = layer.steps * layer.rows * (layer.inputs + layer.hidden)
    turned = 2 * layer.steps * layer.rows * copies.reverse_row_s
    return turned + 4 * values * copies.reverse_byte_s


def _input_s(
    layer: Extents,
    constants: OnnxRuntimeCpu,
    table: Table,
    threads: int,
    working_set: Values,
    held: Held,
    cold: Values,
) -> Values:
    copies = constants.copies
    rows, columns = layer.steps * layer.rows, layer.columns
    seconds = _product_s(
        layer, constants, table, rows, layer.inputs, columns, threads, working_set, held, cold
    )
    buffer = 4 * rows * columns
    room = second_cache_bytes(constants.products)
    beyond = np.minimum(1.0, np.maximum(0.0, (buffer + layer.recurrent_bytes) / room - 1))
    seconds = seconds + buffer * (beyond * copies.far_byte_s + (1 - beyond) * copies.near_byte_s)
    if layer.cell == "rnn":
        seconds = seconds + rows * columns * copies.bias_s
    return layer.directions * seconds


def _step_product_s(
    layer: Extents,
    constants: OnnxRuntimeCpu,
    table: Table,
    split: Split,
    working_set: Values,
    held: Held | None,
    cold: Values = 1.0,
) -> Values:
    threads: Values = np.where(split.by_batch, 1.0, split.threads)
    slowdown: Values = 1.0
    if np.any(split.by_batch):
        alone = 1 + constants.products.sharing * (split.threads - 1)
        slowdown = np.where(split.by_batch, alone, 1.0)
    widths = (2, 1) if layer.cell == "gru_linear" else (scalar.GATES[layer.cell],)
    place = held_in(table, working_set) if held is None else held
    total: Values = 0.0
    for width in widths:
        total = total + _product_s(
            layer,
            constants,
            table,
            split.rows,
            layer.hidden,
            width * layer.hidden,
            threads,
            working_set,
            place,
            slowdown * cold,
        )
    return total


def _product_s(
    layer: Extents,
    constants: OnnxRuntimeCpu,
    table: Table,
    rows: Values,
    depth: Values,
    columns: Values,
    threads: Values,
    working_set: Values,
    held: Held,
    slowdown: Values = 1.0,
) -> Values:
    """One product; ``held`` is where its weights are with the working set of one thread."""
    products = table.products
    used = np.minimum(threads, np.floor(rows * depth * columns / MACS_A_THREAD) + 1)
    kernel = _KERNEL_OF.get(layer.cell, packed_s)
    before: Values = 0.0
    if layer.cell == "lstm_int8":
        before = _quantised_s(constants, table, rows, depth, columns, threads, used)
    alone = kernel(table, rows, depth, columns, held, slowdown)
    if not np.any(np.greater(used, 1)):
        return before + alone
    handed = constants.fork_s + 4 * rows * columns * (used - 1) / used * constants.exchange_byte_s
    wide = columns > rows
    parts = np.minimum(columns, up(columns, COLUMN_TILE * used) * COLUMN_TILE)
    shared = handed + kernel(
        table,
        np.where(wide, rows, up(rows, used)),
        depth,
        np.where(wide, parts, columns),
        held_in(table, np.where(wide, working_set / used, working_set)),
        slowdown * (1 + products.sharing * (used - 1)),
    )
    split = np.minimum(alone + constants.dispatch_s, shared)
    return before + np.where(used == 1, alone, split)


_KERNEL_OF: dict[str, ProductKernel] = {"rnn": unpacked_s, "lstm_int8": int8_s}


def _quantised_s(
    constants: OnnxRuntimeCpu,
    table: Table,
    rows: Values,
    depth: Values,
    columns: Values,
    threads: Values,
    used: Values,
) -> Values:
    """What an 8-bit product takes besides: its activations quantised, its result turned back."""
    copies = constants.copies
    parts = np.where(rows * depth >= scalar.QUANTIZED_TOGETHER, threads, 1.0)
    seconds = rows * depth * copies.quantize_s / parts
    seconds = seconds + rows * (copies.quantize_row_s + columns * copies.dequantize_s / used)
    seconds = seconds + (parts > 1) * (2 * constants.fork_s)
    byte_s, _ = far(table, 4 * rows * depth)
    seconds = seconds + 2 * 4 * rows * depth * byte_s / parts
    ragged = up(columns, COLUMN_TILE) * COLUMN_TILE != columns
    return seconds + ragged * (rows * columns * copies.ragged_s / used)
