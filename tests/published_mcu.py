"""The published timings of tests/data/published_mcu.csv, as counted graphs and profiles."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec
from count_graphs import Builder, activation, weight

from rnncost.counting.cost import OpCost
from rnncost.counting.count import Counted, CountedOp, Counts, count
from rnncost.graph.ir import Graph, Op
from rnncost.latency import estimate
from rnncost.profiles.schema import HardwareProfile

PATH = Path(__file__).parent / "data" / "published_mcu.csv"
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


class Case(msgspec.Struct, frozen=True):
    """One timing. ``macs``, ``operators`` and ``activations`` are those outside the layer."""

    source: str
    board: str
    core: str
    clock_hz: float
    precision: str
    model: str
    cell: str
    steps: int
    inputs: int
    hidden: int
    macs: int
    operators: int
    activations: int
    latency_s: float
    use: str


def published() -> list[Case]:
    """All rows of the table."""
    with PATH.open(encoding="utf-8", newline="") as file:
        rows = [
            {key: value or ("" if key == "cell" else "0") for key, value in row.items()}
            for row in csv.DictReader(file)
        ]
    return msgspec.convert(rows, list[Case], strict=False)


def ratio(case: Case) -> float:
    """Measured time over the estimate with the figures of the core's family."""
    result = estimate(counted(case), device(case), precision=case.precision)
    return case.latency_s / result.latency_s


def number(value: float) -> dict[str, object]:
    return {"value": value, "kind": "assumed", "source": "a test"}


def device(case: Case) -> HardwareProfile:
    """The case's core and clock, with memory that is never the limit.

    EdgeMark unrolls its LSTM: a step is 14 operators, and its activations are some of them.
    """
    unrolled = {
        "step_cycles": number(14 * 2100.0),
        "lstm_activation_cycles": {"fp32": number(640.0), "int8": number(1800.0)},
    }
    block = {"core": case.core, **(unrolled if case.cell == "LSTM" else {})}
    return microcontroller(block, clock_hz=case.clock_hz)


def microcontroller(block: dict[str, Any] | None, **changes: Any) -> HardwareProfile:
    """A profile with this ``mcu`` block, a flash of ``flash`` bytes a second and such a clock."""
    changes = {"clock_hz": 1e8, "flash": 1e15, "ram": 1e15, "peak": 1e7, **changes}
    return msgspec.convert(
        {
            "schema_version": 1,
            "name": "test",
            "title": "A microcontroller",
            "kind": "mcu",
            "runtime": "mcu",
            "version": "1",
            "threads": 1,
            "processor": {"clock_hz": number(changes["clock_hz"])} if changes["clock_hz"] else {},
            "peak_macs_per_s": {"fp32": number(changes["peak"])},
            "memory": [
                {
                    "name": "SRAM",
                    "holds": "activations",
                    "size_bytes": number(1e5),
                    "bandwidth_bytes_per_s": number(changes["ram"]),
                },
                {
                    "name": "flash",
                    "holds": "weights",
                    "bandwidth_bytes_per_s": number(changes["flash"]),
                },
            ],
            **({} if block is None else {"mcu": block}),
        },
        HardwareProfile,
    )


def counted(case: Case) -> Counted:
    """The recurrent layer of a case, counted, and a row of all the rest."""
    rest = CountedOp(
        name="rest",
        op=Op(name="rest", op_type="Gemm", inputs=(), outputs=()),
        cost=OpCost(kind="product"),
        counts=Counts(macs=case.macs, dense_macs=case.macs, activations=case.activations),
        executions=case.operators,
        precision="fp32",
    )
    if not case.cell:
        return msgspec.structs.replace(count(Graph(inputs=(), outputs=(), ops=())), ops=(rest,))
    layers = count(layer(case.cell, case.steps, case.inputs, case.hidden))
    return msgspec.structs.replace(layers, ops=(*layers.ops, rest))


def layer(cell: str, steps: int, inputs: int, hidden: int, *, batch: int = 1, **more: Any) -> Graph:
    """A recurrent layer with biases, of one or two directions."""
    directions = 2 if more.get("direction") == "bidirectional" else 1
    width = GATES[cell] * hidden
    x = activation("x", steps, batch, inputs)
    builder = Builder()
    y = builder.add(
        cell,
        [
            x,
            weight("w", directions, width, inputs),
            weight("r", directions, width, hidden),
            weight("b", directions, 2 * width),
        ],
        (steps, directions, batch, hidden),
        hidden_size=hidden,
        **more,
    )
    return Graph(inputs=(x,), outputs=(y,), ops=tuple(builder.ops))
