"""Operators in ONNX Runtime on a processor: what it fuses, what is timed, what is predicted."""

from __future__ import annotations

import math
import platform
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from rnncost.calibration.operator_models import (
    SHORTEST_S,
    Case,
    Chain,
    Given,
    Link,
    Weight,
    chain_of,
    operator_model,
    own_times,
)
from rnncost.calibration.operators_design import operator_cases
from rnncost.calibration.operators_fitting import chain_s, fit_operators
from rnncost.counting.count import count
from rnncost.frontends.onnx import load
from rnncost.graph.source import Request
from rnncost.latency.onnxruntime_cpu.convolutions import Convolution
from rnncost.latency.onnxruntime_cpu.defaults import default_constants
from rnncost.latency.onnxruntime_cpu.elementwise import stretches_of
from rnncost.latency.onnxruntime_cpu.fusion import fused
from rnncost.latency.onnxruntime_cpu.kernels import Linear, Product, kernel_time, stream_s
from rnncost.latency.onnxruntime_cpu.movement import merged_axes
from rnncost.latency.onnxruntime_cpu.operator_defaults import channels_for, default_operators
from rnncost.latency.onnxruntime_cpu.operators import (
    KEPT_SHARE,
    LOST_SHARE,
    lost_share,
    nodes_of,
    operator_times,
)
from rnncost.profiles.onnxruntime import OnnxRuntimeCpu
from rnncost.profiles.onnxruntime_operators import Operators
from rnncost.runtime.inputs import make_inputs
from rnncost.runtime.session import create_session

CACHE = 2.0 * 2**20
LEVELS = [(256.0 * 2**20, 3e10), (math.inf, 1e10)]
BLOCKED = platform.machine().lower() in ("x86_64", "amd64")


def constants() -> OnnxRuntimeCpu:
    return default_constants(
        isa="avx512f",
        clock_hz=3e9,
        peak_macs_per_s=96e9,
        first_cache_bytes=49152,
        second_cache_bytes=CACHE,
        levels=LEVELS,
    )


def operators() -> Operators:
    return default_operators(
        isa="avx512f", clock_hz=3e9, mac_s=1.1e-11, second_cache_bytes=CACHE, levels=LEVELS
    )


def array(shape: tuple[int, ...], value: float = 0.5) -> Any:
    import numpy as np

    ramp = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    return (value + ramp / 1e4).astype(np.float32)


def graph(
    nodes: list[Any], shape: tuple[Any, ...], weights: dict[str, Any], outputs: tuple[str, ...]
) -> bytes:
    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        stored,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


def runs(model: bytes, folder: Path) -> Counter[str]:
    """The nodes that ONNX Runtime is left with, by type."""
    file = folder / "optimized.onnx"
    create_session(model, optimized_path=file)
    kept = onnx.load(file, load_external_data=False)
    return Counter(node.op_type for node in kept.graph.node)


def planned(model: bytes, channels: int = 16) -> Counter[str]:
    """The nodes that the plan is left with, by type."""
    found: Counter[str] = Counter()
    counted = count(load(model, Request(assume=False)).graph)
    for plan in fused(counted, channels=channels if BLOCKED else 1):
        if not plan.runs:
            continue
        name = (plan.as_type or plan.row.op.op_type).split("::")[-1]
        if plan.activations and not plan.blocked:
            name = f"Fused{name}"
        found[name] += 1
        found["Reorder"] += len(plan.reordered)
        found["Reshape"] += plan.views
    return +found


def node(op_type: str, inputs: str, output: str, **attrs: Any) -> Any:
    return helper.make_node(op_type, inputs.split(), [output], name=output, **attrs)


def conv_with_normalisation() -> bytes:
    weights = {
        "w": array((24, 10, 3)),
        "b": array((24,)),
        "s": array((24,)),
        "m": array((24,)),
        "v": array((24,)),
    }
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1]),
        node("BatchNormalization", "c s b m v", "n"),
        node("Relu", "n", "y"),
    ]
    return graph(nodes, (2, 10, 30), weights, ("y",))


def product_with_bias() -> bytes:
    weights = {"w": array((32, 48)), "b": array((48,))}
    nodes = [
        node("MatMul", "x w", "m"),
        node("Add", "m b", "a"),
        node("Tanh", "a", "y"),
    ]
    return graph(nodes, (7, 32), weights, ("y",))


def product_read_twice() -> bytes:
    weights = {"w": array((32, 48)), "b": array((48,))}
    nodes = [
        node("MatMul", "x w", "m"),
        node("Add", "m b", "a"),
        node("Tanh", "m", "y"),
    ]
    return graph(nodes, (7, 32), weights, ("y", "a"))


def layer_normalisation() -> bytes:
    weights = {
        "two": array((), 2.0),
        "e": array((), 1e-5),
        "s": array((48,)),
        "b": array((48,)),
    }
    nodes = [
        node("ReduceMean", "x", "mean", axes=[-1], keepdims=1),
        node("Sub", "x mean", "d"),
        node("Pow", "d two", "p"),
        node("ReduceMean", "p", "var", axes=[-1], keepdims=1),
        node("Add", "var e", "ve"),
        node("Sqrt", "ve", "root"),
        node("Div", "d root", "n"),
        node("Mul", "n s", "ns"),
        node("Add", "ns b", "y"),
    ]
    return graph(nodes, (3, 7, 48), weights, ("y",))


def gelu() -> bytes:
    weights = {"r": array((), math.sqrt(2)), "one": array((), 1.0), "half": array((), 0.5)}
    nodes = [
        node("Div", "x r", "d"),
        node("Erf", "d", "e"),
        node("Add", "e one", "a"),
        node("Mul", "x a", "m"),
        node("Mul", "m half", "y"),
    ]
    return graph(nodes, (3, 7, 48), weights, ("y",))


def nothing_to_do() -> bytes:
    import numpy as np

    weights = {
        "one": array((), 1.0),
        "w": array((48,)),
        "zero": np.zeros(1, dtype=np.int64),
        "all": np.array([2**63 - 1]),
    }
    nodes = [
        node("Exp", "x", "e"),
        node("Identity", "e", "i"),
        node("Mul", "i one", "m"),
        node("Cast", "m", "c", to=TensorProto.FLOAT),
        node("Slice", "c zero all", "s"),
        node("Sqrt", "w", "folded"),
        node("Add", "s folded", "y"),
    ]
    return graph(nodes, (7, 48), weights, ("y",))


def the_same_twice() -> bytes:
    weights = {"w": array((48,))}
    nodes = [
        node("Exp", "x", "a"),
        node("Exp", "x", "b"),
        node("Add", "a w", "c"),
        node("Sub", "b c", "y"),
    ]
    return graph(nodes, (7, 48), weights, ("y",))


def blocked_layout() -> bytes:
    weights = {"w": array((32, 16, 3, 3)), "v": array((32, 32, 1, 1)), "u": array((32, 1, 3, 3))}
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "r"),
        node("Conv", "r u", "d", pads=[1, 1, 1, 1], group=32),
        node("Conv", "d v", "e"),
        node("MaxPool", "e", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Exp", "p", "y"),
    ]
    return graph(nodes, (1, 16, 8, 8), weights, ("y",))


def blocked_sum() -> bytes:
    weights = {"w": array((32, 32, 3, 3)), "v": array((32, 32, 1, 1))}
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "r"),
        node("Conv", "r v", "b"),
        node("Add", "b r", "s"),
        node("Exp", "s", "y"),
    ]
    return graph(nodes, (1, 32, 8, 8), weights, ("y",))


def scaled_shape() -> bytes:
    import numpy as np

    weights = {"i": np.array(0), "axis": np.array([0]), "n": np.array([-1])}
    nodes = [
        node("Relu", "x", "r"),
        node("Shape", "r", "s"),
        node("Gather", "s i", "g", axis=0),
        node("Unsqueeze", "g axis", "u"),
        node("Concat", "u n", "c", axis=0),
        node("Reshape", "r c", "y"),
    ]
    return graph(nodes, (3, 4, 5), weights, ("y",))


MODELS = (
    conv_with_normalisation,
    product_with_bias,
    product_read_twice,
    layer_normalisation,
    gelu,
    nothing_to_do,
    the_same_twice,
    blocked_layout,
    blocked_sum,
)


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_the_plan_is_what_onnx_runtime_makes_of_a_graph(make: Any, tmp_path: Path) -> None:
    model = make()
    real = runs(model, tmp_path)
    real["Reorder"] = real.pop("ReorderInput", 0) + real.pop("ReorderOutput", 0)
    assert planned(model) == +real


def test_without_optimisation_every_node_runs() -> None:
    counted = count(load(product_with_bias(), Request(assume=False)).graph)
    plans = fused(counted, optimised=False)
    assert [plan.row.op.op_type for plan in plans if plan.runs] == ["MatMul", "Add", "Tanh"]


def test_a_shape_that_repeats_a_dimension_is_no_node() -> None:
    assert planned(scaled_shape()) == {"Relu": 1, "Reshape": 1}


def test_a_fused_activation_costs_its_arithmetic_but_no_node() -> None:
    fixed, own = constants(), operators()

    def total(model: bytes) -> tuple[float, float]:
        counted = count(load(model, Request(assume=False)).graph)
        times = operator_times(counted, fixed, own)
        return sum(t.overhead_s for t in times), sum(t.compute_s for t in times)

    weights = {"w": array((32, 48)), "b": array((48,))}
    bare = graph([node("MatMul", "x w", "m"), node("Add", "m b", "y")], (7, 32), weights, ("y",))
    overhead, compute = total(product_with_bias())
    assert overhead == pytest.approx(total(bare)[0])
    assert compute == pytest.approx(total(bare)[1] + 7 * 48 * own.rates.tanh * (1 + own.cold))


def test_weights_in_the_state_of_a_loop_are_not_packed() -> None:
    link = Link("MatMul", (Weight((8, 8)),))
    alone = Case(name="a", shape=(4, 8), links=(link,), trips=3)
    chain = chain_of(operator_model(alone), optimised=True, channels=1)
    kinds = {n.work.kind for nodes, *_ in chain.rows for n in nodes if isinstance(n.work, Product)}
    assert kinds == {"packed"}
    model = onnx.load_from_string(operator_model(alone))
    loop = model.graph.node[0]
    body = loop.attribute[0].g
    body.input.append(helper.make_tensor_value_info("w_in", TensorProto.FLOAT, [8, 8]))
    body.output.append(helper.make_tensor_value_info("w_out", TensorProto.FLOAT, [8, 8]))
    body.node.append(helper.make_node("Identity", ["w_in"], ["w_out"], name="keep"))
    for inner in body.node:
        if inner.op_type == "MatMul":
            stored = inner.input[1]
            inner.input[1] = "w_in"
    loop.input.append(stored)
    loop.output.append("w_last")
    chain = chain_of(model.SerializeToString(), optimised=True, channels=1)
    kinds = {n.work.kind for nodes, *_ in chain.rows for n in nodes if isinstance(n.work, Product)}
    assert kinds == {"plain"}


def looped(units: int) -> list[Any]:
    """The times of a loop that carries weights of so many units, and of the product in it."""
    model = onnx.load_from_string(
        operator_model(
            Case(name="a", shape=(4, 8), links=(Link("MatMul", (Weight((8, 8)),)),), trips=3)
        )
    )
    loop = model.graph.node[0]
    body = loop.attribute[0].g
    body.input.append(helper.make_tensor_value_info("w_in", TensorProto.FLOAT, [units, units]))
    body.output.append(helper.make_tensor_value_info("w_in", TensorProto.FLOAT, [units, units]))
    model.graph.initializer.append(numpy_helper.from_array(array((units, units)), "carried"))
    loop.input.append("carried")
    loop.output.append("w_last")
    counted = count(load(model.SerializeToString(), Request(assume=False)).graph)
    times = operator_times(counted, constants(), operators(), run_bytes=100 * CACHE)
    return [
        time
        for row, time in zip(counted.ops, times, strict=True)
        if row.op.op_type in ("Loop", "MatMul")
    ]


def test_a_loop_copies_what_it_hands_on_once() -> None:
    def most(units: int) -> float:
        return max(time.memory_s for time in looped(units))

    copied_bytes = 2 * 4 * 1024**2  # read and written
    assert most(1024) == pytest.approx(copied_bytes * stream_s(operators(), copied_bytes), rel=0.2)
    assert most(8) < 1e-3 * most(1024)


def test_weights_of_a_loop_are_where_its_own_trips_left_them() -> None:
    link = Link("MatMul", (Weight((256, 256)),))

    def product_s(trips: int) -> float:
        """One execution, in a run that touches a hundred caches."""
        case = Case(name="a", shape=(1, 256), links=(link,), trips=trips)
        counted = count(load(operator_model(case), Request(assume=False)).graph)
        times = operator_times(counted, constants(), operators(), run_bytes=100 * CACHE)
        (seconds,) = [
            time.total_s
            for row, time in zip(counted.ops, times, strict=True)
            if row.op.op_type == "MatMul"
        ]
        return seconds / max(1, trips)

    assert product_s(3) < 0.8 * product_s(0)


def test_threads_share_the_product_of_each_image() -> None:
    def seconds(images: int, positions: int, threads: int) -> float:
        work = Convolution(
            kind="columns",
            images=images,
            groups=1,
            inputs=128,
            filters=64,
            taps=3,
            positions=positions,
        )
        return kernel_time(work, constants(), operators(), threads).total_s

    # 64 x 384 x 2 MACs an image are too few to share, however many images there are.
    assert seconds(500, 2, 2) == seconds(500, 2, 1)
    assert seconds(500, 32, 2) < seconds(500, 32, 1)
    assert seconds(1, 4000, 2) < 0.6 * seconds(1, 4000, 1)


CASES = operator_cases(CACHE)


def test_cases_have_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) <= 185


@pytest.mark.parametrize("case", CASES[::4], ids=lambda case: case.name)
def test_cases_run_the_nodes_that_are_predicted(case: Case, tmp_path: Path) -> None:
    model = operator_model(case)
    chain = chain_of(model, optimised=case.optimised, channels=16 if BLOCKED else 1)
    predicted = chain_s(chain, constants(), operators())
    assert 1e-6 < predicted < 5e-3
    session = create_session(model, optimization=case.optimization)
    session.run(None, make_inputs(session))
    if not case.optimised and not case.trips:
        nodes = sum(executions * len(nodes) for nodes, executions, *_ in chain.rows)
        assert nodes == (1 + case.branched) * len(case.links)


def test_what_stands_before_is_taken_off() -> None:
    """What the links of a case take is its time less that of the case before it."""
    fixed, own = constants(), operators()
    pairs = [(CASES[at - 1], case) for at, case in enumerate(CASES) if case.besides]
    assert pairs
    for alone, case in pairs:
        assert case.links[: case.besides] == alone.links
        both = [chain_of(operator_model(c), optimised=False, channels=1) for c in (alone, case)]
        rest = chain_of(operator_model(case), optimised=False, channels=1, besides=case.besides)
        whole = [chain_s(chain, fixed, own) for chain in both]
        assert sum(executions for _, executions, *_ in rest.rows) == len(case.links) - case.besides
        # The product finds its weights a little farther away when the others run too.
        assert own_times((alone, case), whole)[1] == pytest.approx(
            chain_s(rest, fixed, own), rel=0.05
        )
    assert own_times(pairs[0], (2e-6, 2e-6)) == [2e-6, SHORTEST_S]


def test_every_constant_shows_in_a_case() -> None:
    chains = [
        chain_of(operator_model(case), optimised=case.optimised, channels=16, besides=case.besides)
        for case in CASES
    ]
    fixed, own = constants(), operators()
    before = [chain_s(chain, fixed, own) for chain in chains]

    def moved(part: str, name: str) -> Operators:
        old = getattr(own, part)
        changed = msgspec.structs.replace(old, **{name: 2 * getattr(old, name)})
        return msgspec.structs.replace(own, **{part: changed})

    for part in ("nodes", "rates", "convolutions"):
        for name in getattr(own, part).__struct_fields__:
            if name == "channels":
                continue
            after = [chain_s(chain, fixed, moved(part, name)) for chain in chains]
            largest = max(b / a for a, b in zip(before, after, strict=True))
            assert largest > 1.01, f"no case shows {part}.{name}"


def test_the_fit_finds_constants_that_were_changed() -> None:
    """Times are made with other constants; the fit must predict them from the defaults."""
    cases = [case for case in CASES if not case.optimised][::2]
    chains = [chain_of(operator_model(case), optimised=False, channels=16) for case in cases]
    fixed, own = constants(), operators()
    rates = msgspec.structs.replace(
        own.rates, tanh=3 * own.rates.tanh, shuffled=own.rates.shuffled / 2
    )
    nodes = msgspec.structs.replace(own.nodes, view=2 * own.nodes.view)
    truth = msgspec.structs.replace(own, rates=rates, nodes=nodes)
    slower = msgspec.structs.replace(fixed, run_s=2 * fixed.run_s)
    measured = [chain_s(chain, slower, truth) for chain in chains]
    start = [abs(chain_s(c, fixed, own) / s - 1) for c, s in zip(chains, measured, strict=True)]
    found, run_s, errors = fit_operators(own, fixed, chains, measured)
    assert max(start) > 0.5
    assert max(abs(error) for error in errors) < 0.05
    assert run_s == pytest.approx(slower.run_s, rel=0.1)
    assert found.rates.tanh == pytest.approx(rates.tanh, rel=0.1)


@pytest.mark.parametrize(
    ("operands", "out", "expected"),
    [
        ([(160, 100), (100,)], (160, 100), (160, True)),
        ([(160, 100), (160, 1)], (160, 100), (160, False)),
        ([(160, 100), (160, 100)], (160, 100), (1, True)),
        ([(160, 100), ()], (160, 100), (1, False)),
        ([(2, 16, 5, 5), (16, 1, 1)], (2, 16, 5, 5), (32, False)),
    ],
)
def test_stretches_of_a_broadcast(operands: Any, out: Any, expected: Any) -> None:
    assert stretches_of(operands, out) == expected


@pytest.mark.parametrize(
    ("shape", "perm", "expected"),
    [
        ((4, 1, 8), (1, 0, 2), ((32,), (0,))),
        ((4, 6, 8), (1, 0, 2), ((4, 6, 8), (1, 0, 2))),
        ((1, 16, 5, 7), (0, 2, 3, 1), ((16, 35), (1, 0))),
        ((2, 3, 4), (2, 0, 1), ((6, 4), (1, 0))),
        ((2, 3), None, ((2, 3), (1, 0))),
    ],
)
def test_axes_that_stay_together_are_one(shape: Any, perm: Any, expected: Any) -> None:
    assert merged_axes(shape, perm) == expected


def test_a_stream_is_interpolated_between_its_points() -> None:
    own = operators()
    first, last = own.stream[0], own.stream[-1]
    assert stream_s(own, 1) == first.s_per_byte
    assert stream_s(own, 1e12) == last.s_per_byte
    for point in own.stream:
        assert stream_s(own, point.footprint_bytes) == pytest.approx(point.s_per_byte)


@given(
    rows=st.integers(1, 200),
    depth=st.integers(1, 600),
    columns=st.integers(1, 600),
    kind=st.sampled_from(("packed", "plain", "transposed", "int8")),
)
def test_a_product_takes_longer_with_more_depth(
    rows: int, depth: int, columns: int, kind: Any
) -> None:
    def seconds(more: int) -> float:
        work = Product(kind=kind, rows=rows, depth=depth + more, columns=columns)
        return kernel_time(work, constants(), operators(), run_bytes=1e6).total_s

    assert seconds(0) > 0
    # A multiple of 8 more, as single-row products pay for what is no multiple.
    assert seconds(512) > seconds(0)


@given(width=st.integers(1, 100), filters=st.sampled_from((16, 32, 48, 64, 128)))
def test_a_convolution_takes_longer_with_more_rows(width: int, filters: int) -> None:
    def seconds(lines: int) -> float:
        work = Convolution(
            kind="blocked",
            images=1,
            groups=1,
            inputs=32,
            filters=filters,
            taps=9,
            positions=lines * width,
            lines=lines,
            width=width,
        )
        return kernel_time(work, constants(), operators()).total_s

    assert seconds(20) > seconds(10) > 0


def test_threads_share_large_work_and_leave_small_work_alone() -> None:
    small = Linear(node="unary", units=(("tanh", 1000.0),), bytes=8000)
    large = Linear(node="unary", units=(("tanh", 1e6),), bytes=8_000_000)

    def seconds(work: Linear, threads: int) -> float:
        return kernel_time(work, constants(), operators(), threads).total_s

    assert seconds(small, 4) == seconds(small, 1)
    assert seconds(large, 1) / 4 < seconds(large, 4) < seconds(large, 1) / 3


def test_memory_that_was_not_used_for_long_is_written_slowly() -> None:
    work = Linear(node="unary", units=(("simple", 1e4),), bytes=80_000, written=40_000)
    near = kernel_time(work, constants(), operators(), reach_bytes=0).total_s
    far = kernel_time(work, constants(), operators(), reach_bytes=1e9).total_s
    assert far > near


@pytest.mark.parametrize(
    ("isa", "channels"), [("avx512f", 16), ("amx-int8", 16), ("avx2", 8), ("neon", 1)]
)
def test_blocks_follow_the_vectors(isa: str, channels: int) -> None:
    assert channels_for(isa) == channels


def test_a_chain_of_one_kernel_has_no_changes() -> None:
    same = Case(name="s", shape=(4, 8), links=(Link("Relu"),) * 5)
    mixed = Case(
        name="m",
        shape=(4, 8),
        links=(Link("Relu"), Link("Reshape", (Given((4, 8)),)), Link("Relu")),
    )

    def changes(case: Case) -> int:
        chain: Chain = chain_of(operator_model(case), optimised=False, channels=1)
        return sum(executions for _, executions, changed, _ in chain.rows if changed)

    assert changes(same) == 0
    assert changes(mixed) == 2


def after_product(columns: int) -> list[Any]:
    """The rows' operators and times of a few small nodes behind a product."""
    nodes = [
        node("MatMul", "x w", "m"),
        node("ReduceMean", "m", "r", axes=[1]),
        node("Relu", "r", "p"),
        node("Relu", "p", "q"),
        node("Sigmoid", "q", "y"),
    ]
    model = graph(nodes, (1, 64), {"w": array((64, columns))}, ("y",))
    counted = count(load(model, Request(assume=False)).graph)
    return list(zip(counted.ops, operator_times(counted, constants(), operators()), strict=True))


def test_small_nodes_wait_for_what_large_weights_pushed_out() -> None:
    """Each kernel once a run: the second of two like nodes finds its own at hand."""

    def fixed(columns: int) -> list[float]:
        return [time.overhead_s for _, time in after_product(columns)]

    small, large = fixed(64), fixed(int(2 * CACHE / (4 * 64)))
    extra = [far - near for far, near in zip(large, small, strict=True)]
    share = math.log(2 / KEPT_SHARE) / math.log(LOST_SHARE / KEPT_SHARE)
    wait = operators().nodes.refetch * share
    assert extra == pytest.approx([0.0, wait, wait, 0.0, wait], rel=0.02, abs=1e-12)


@given(st.floats(0, 1e12), st.floats(0, 1e12))
def test_a_kernel_is_lost_by_degrees(one: float, other: float) -> None:
    products = constants().products
    less, more = sorted((one, other))
    assert 0.0 <= lost_share(products, less) <= lost_share(products, more) <= 1.0
    assert lost_share(products, KEPT_SHARE * CACHE) == 0.0
    assert lost_share(products, LOST_SHARE * CACHE) == 1.0


def test_a_body_keeps_its_kernels_near() -> None:
    """What lies around a loop is far, what its own trips touch is not."""
    links = (Link("Relu"), Link("Sigmoid"))
    counted = count(
        load(
            operator_model(Case(name="a", shape=(4, 8), links=links, trips=5)),
            Request(assume=False),
        ).graph
    )
    own = operators()
    near = operator_times(counted, constants(), own)
    lost = msgspec.structs.replace(own, nodes=msgspec.structs.replace(own.nodes, refetch=1.0))
    assert operator_times(counted, constants(), lost) == near


@pytest.mark.parametrize("stored", [True, False])
def test_an_if_is_a_node_unless_its_condition_is_stored(stored: bool, tmp_path: Path) -> None:
    branches = {
        f"{name}_branch": helper.make_graph(
            [node(op_type, "x", name)], name, [], [helper.make_empty_tensor_value_info(name)]
        )
        for name, op_type in (("then", "Relu"), ("else", "Tanh"))
    }
    nodes = [helper.make_node("If", ["go"], ["z"], name="if", **branches), node("Neg", "z", "y")]
    model = onnx.load_from_string(graph(nodes, (2, 3), {}, ("y",)))
    if stored:
        model.graph.initializer.append(helper.make_tensor("go", TensorProto.BOOL, [], [True]))
    else:
        model.graph.input.append(helper.make_tensor_value_info("go", TensorProto.BOOL, []))
    data = model.SerializeToString()
    plan = planned(data)
    assert plan == {"Relu": 1, "Neg": 1} | ({} if stored else {"If": 1})
    ran = runs(data, tmp_path)
    assert ran["If"] == plan["If"]


@pytest.mark.parametrize("relu", [True, False])
def test_a_convolution_between_quantised_values_runs_in_8_bits(relu: bool, tmp_path: Path) -> None:
    import numpy as np

    weights = {
        "s": np.array(0.1, np.float32),
        "z": np.array(0, np.uint8),
        "sw": np.array(0.02, np.float32),
        "zw": np.array(0, np.int8),
        "w": np.ones((32, 16, 3), np.int8),
    }
    nodes = [
        node("QuantizeLinear", "x s z", "xq"),
        node("DequantizeLinear", "xq s z", "xd"),
        node("DequantizeLinear", "w sw zw", "wd"),
        node("Conv", "xd wd", "c", pads=[1, 1]),
        *([node("Relu", "c", "r")] if relu else []),
        node("QuantizeLinear", "r s z" if relu else "c s z", "yq"),
        node("DequantizeLinear", "yq s z", "y"),
    ]
    model = graph(nodes, (1, 16, 50), weights, ("y",))
    plan, ran = planned(model), runs(model, tmp_path)
    kinds = ("QuantizeLinear", "QLinearConv", "DequantizeLinear", "Conv", "Relu")
    assert {k: plan[k] for k in kinds} == {k: ran[k] for k in kinds}
    assert plan["QLinearConv"] == 1
    counted = count(load(model, Request(assume=False)).graph)
    (work,) = [
        n.work
        for plan_ in fused(counted)
        for n in nodes_of(plan_, 16)
        if isinstance(n.work, Product)
    ]
    assert (work.kind, work.rows, work.depth, work.columns) == ("int8", 50, 48, 32)


def test_a_dynamic_convolution_packs_anew_for_each_image() -> None:
    def work(images: int, dtype: str = "int8") -> Any:
        weight = Weight((32, 16, 3), dtype)
        link = Link("ConvInteger", (weight, Given((3,), "uint8", scalar=True)), {"pads": [1, 1]})
        case = Case(name="a", shape=(images, 16, 50), dtype="uint8", links=(link,))
        chain = chain_of(operator_model(case), optimised=False, channels=1)
        return chain.rows[0][0][0].work

    assert (work(1).kind, work(1).rows, work(1).depth, work(1).columns) == ("integer", 32, 48, 50)
    fixed, own = constants(), operators()
    seconds = [kernel_time(work(n), fixed, own).compute_s for n in (1, 8)]
    assert seconds[1] == pytest.approx(8 * seconds[0])
    rates = own.convolutions
    weights_s = 32 * 48 * (50 * rates.integer_mac_s + rates.integer_weight_s)
    assert seconds[0] == pytest.approx(weights_s + 50 * 48 * own.rates.cast)
    assert work(1, "uint8").kind == "unsigned"
    faster_s = kernel_time(work(1, "uint8"), fixed, own).compute_s
    saved = 50 * rates.integer_mac_s - 64 * rates.unsigned_mac_s  # 64 columns are computed
    assert seconds[0] - faster_s == pytest.approx(32 * 48 * saved)
