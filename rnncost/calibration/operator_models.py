"""Small ONNX models of chains of operators to time, and the work that they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union

import msgspec

from rnncost.calibration.models import one_graph
from rnncost.runtime.session import Optimization

if TYPE_CHECKING:
    import numpy as np

    from rnncost.latency.onnxruntime_cpu.operators import Node

Shape = tuple[int, ...]

SHORTEST_S = 1e-6
"""What is left of two times that noise has made nearly equal."""


class Weight(msgspec.Struct, frozen=True):
    """A stored operand with made-up values."""

    shape: Shape
    dtype: str = "float32"


class Given(msgspec.Struct, frozen=True):
    """A stored operand with these values."""

    values: tuple[Union[int, float], ...]
    dtype: str = "int64"
    scalar: bool = False


class Extra(msgspec.Struct, frozen=True):
    """A further input of the model."""

    shape: Shape
    dtype: str = "float32"


Operand = Union[Weight, Given, Extra]


class Link(msgspec.Struct, frozen=True):
    """One operator of a chain, after its first input, which is what came before."""

    op_type: str
    operands: tuple[Operand, ...] = ()
    attrs: Mapping[str, Any] = {}
    outputs: int = 1
    domain: str = ""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A model to time: ``links`` one after the other on an input of this shape.

    ``optimised`` lets ONNX Runtime optimise the graph, as the blocked layout needs;
    otherwise all nodes run as they stand here. With ``trips`` the chain is the body of a Loop;
    ``branched`` puts each link into the branch of an If. So many links ``besides`` are those of
    the case before, whose time is taken off: what is left is that of the others.
    """

    name: str
    shape: Shape
    links: tuple[Link, ...]
    dtype: str = "float32"
    optimised: bool = False
    trips: int = 0
    branched: bool = False
    besides: int = 0

    @property
    def optimization(self) -> Optimization:
        """The level for ``create_session``."""
        return "all" if self.optimised else "disable"


class Chain(msgspec.Struct, frozen=True):
    """What a case runs, and the bytes that a run touches.

    ``rows`` are nodes, how often they run, whether another kernel ran before them, and the
    bytes touched since their own kernel last ran. ``alone`` is False where what a run takes
    around them is not among their time.
    """

    rows: tuple[tuple[tuple[Node, ...], int, bool, int], ...]
    run_bytes: int
    alone: bool = True


def own_times(cases: Sequence[Case], measured_s: Sequence[float]) -> list[float]:
    """The seconds of each case without those of the links that the case before it is made of."""
    before = (0.0, *measured_s)
    return [
        max(SHORTEST_S, seconds - before[at]) if case.besides else seconds
        for at, (case, seconds) in enumerate(zip(cases, measured_s, strict=True))
    ]


def operator_model(case: Case) -> bytes:
    """The model of a case, as bytes: input X, output the last link's first output."""
    import numpy as np
    from onnx import TensorProto, helper

    weights: dict[str, np.ndarray[Any, Any]] = {}
    extras: dict[str, Any] = {}
    nodes = []
    before = "X"
    for number, link in enumerate(case.links):
        names = []
        for place, operand in enumerate(link.operands):
            if isinstance(operand, Extra):
                name = f"X{place}"
                extras[name] = _info(name, operand.dtype, operand.shape)
            else:
                name = f"w{number}_{place}"
                weights[name] = _array(operand, number)
            names.append(name)
        outputs = [f"y{number}", *[f"y{number}_{i}" for i in range(1, link.outputs)]]
        nodes.append(
            helper.make_node(
                link.op_type,
                [before, *names],
                outputs,
                name=f"n{number}",
                domain=link.domain,
                **link.attrs,
            )
        )
        before = outputs[0]
    if case.branched:
        weights["yes"] = np.asarray(True)
        nodes = [_in_branch(node) for node in nodes]
    inputs = [_info("X", case.dtype, case.shape), *extras.values()]
    if not case.trips:
        return one_graph(nodes, inputs, [helper.make_empty_tensor_value_info(before)], weights)
    body = helper.make_graph(
        [helper.make_node("Identity", ["more"], ["again"], name="again"), *nodes],
        "body",
        [
            helper.make_tensor_value_info("trip", TensorProto.INT64, []),
            helper.make_tensor_value_info("more", TensorProto.BOOL, []),
            _info("X", case.dtype, case.shape),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            _info(before, case.dtype, case.shape),
        ],
    )
    loop = helper.make_node("Loop", ["trips", "", "X_in"], ["Y"], name="loop", body=body)
    weights["trips"] = _array(Given((case.trips,), scalar=True))
    start = _info("X_in", case.dtype, case.shape)
    return one_graph([loop], [start, *inputs[1:]], [_info("Y", case.dtype, case.shape)], weights)


def _in_branch(node: Any) -> Any:
    """An If that takes a branch of one node; the other branch hands its input on."""
    from onnx import helper

    (out,) = node.output
    other = helper.make_node("Identity", node.input[:1], [out])
    branches = {
        f"{name}_branch": helper.make_graph(
            [inner], name, [], [helper.make_empty_tensor_value_info(out)]
        )
        for name, inner in (("then", node), ("else", other))
    }
    return helper.make_node("If", ["yes"], [out], name=f"if {node.name}", **branches)


def chain_of(model: bytes, *, optimised: bool, channels: int, besides: int = 0) -> Chain:
    """What a model runs but for its first nodes, read from its graph as any model's is."""
    from rnncost.counting.count import count
    from rnncost.frontends.onnx import load
    from rnncost.graph.dim import hint
    from rnncost.graph.source import Request
    from rnncost.latency.onnxruntime_cpu.fusion import fused
    from rnncost.latency.onnxruntime_cpu.operators import idles_of, nodes_of

    counted = count(load(model, Request(assume=False)).graph)
    planned = [
        plan
        for plan in fused(counted, optimised=optimised, channels=channels if optimised else 1)
        if plan.runs
    ]
    runs: dict[tuple[tuple[Node, ...], bool, int], int] = {}
    before = planned[besides - 1].row.op.op_type if besides else ""
    for plan, idle in zip(planned[besides:], idles_of(planned)[besides:], strict=True):
        kernel = plan.row.op.op_type
        key = (nodes_of(plan, channels), before not in ("", kernel), idle)
        runs[key] = runs.get(key, 0) + hint(plan.row.executions)
        before = kernel
    totals = counted.totals
    run_bytes = hint(totals.weight_bytes) + hint(totals.peak_activation_bytes)
    rows = [(nodes, times, changed, idle) for (nodes, changed, idle), times in runs.items()]
    return Chain(tuple(rows), run_bytes, alone=not besides)


def _info(name: str, dtype: str, shape: Shape) -> Any:
    from onnx import TensorProto, helper

    types = {
        "float32": TensorProto.FLOAT,
        "int64": TensorProto.INT64,
        "uint8": TensorProto.UINT8,
        "bool": TensorProto.BOOL,
    }
    return helper.make_tensor_value_info(name, types[dtype], list(shape))


def _array(operand: Weight | Given, seed: int = 0) -> np.ndarray[Any, Any]:
    """Values of an operand; weights of each seed differ, as equal ones would be shared."""
    import numpy as np

    if isinstance(operand, Given):
        values = np.asarray(operand.values, dtype=operand.dtype)
        return values.reshape(()) if operand.scalar else values
    generator = np.random.default_rng(seed)
    if operand.dtype == "float32":
        block = 0.5 + 0.05 * generator.standard_normal(4099, dtype=np.float32)
    else:
        block = generator.integers(0, 100, 4099).astype(operand.dtype)
    return np.resize(block, operand.shape)
