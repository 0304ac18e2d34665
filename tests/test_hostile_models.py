"""Spoiled models through the whole of ``analyze``: a sound report or one clear sentence, soon."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import time
import tracemalloc
from pathlib import Path
from typing import Any

import jsonschema
import onnx
import pytest
from hostile_seeds import BOOL, FLOAT, SEEDS, array, floats, node, spoil, value
from hostile_seeds import model as build
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

import rnncost
from rnncost.errors import ModelError
from rnncost.frontends.onnx import NEWEST_OPSET
from rnncost.report.csv_table import render_csv
from rnncost.report.json_text import render_json
from rnncost.report.markdown import render_markdown

ROOT = Path(__file__).parent.parent
SCHEMA = json.loads((ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
LIMIT_S = 10.0
"""Processor time for one model of a few kilobytes; nearly all take 0.01 s."""

SUMS = (
    "params active_params quantization_params weight_bytes macs dense_macs parallel_macs "
    "sequential_macs elementwise_ops multiplies adds bias_adds activations streamed_bytes"
).split()

MODELS = {name: make() for name, make in SEEDS.items()}
MODELS["spotter"] = onnx.load(ROOT / "examples" / "keyword_spotter.onnx")
EXAMPLES = int(os.environ.get("RNNCOST_HOSTILE_EXAMPLES", "500"))
unhurried = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def outcome(data: bytes, folder: Path) -> rnncost.Report | None:
    """The report on a model file, or None when it was refused; anything else fails."""
    path = folder / "model.onnx"
    path.write_bytes(data)
    start = time.process_time()
    try:
        report = rnncost.analyze(str(path), profiles=("x86-64-server-core",))
    except rnncost.RnncostError as error:
        message = str(error)
        assert message
        assert "\n" not in message
        assert len(message) < 2000
        report = None
    assert time.process_time() - start < LIMIT_S
    if report is not None:
        check(report)
    return report


def copy_of(name: str) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(MODELS[name])
    return model


def check(report: rnncost.Report) -> None:
    for metric in SUMS:
        rows = sum(getattr(op, metric) for op in report.ops)
        assert getattr(report.totals, metric) == rows, metric
    steps = [op.sequential_steps for op in report.ops]
    assert max(steps, default=0) <= report.totals.sequential_steps <= sum(steps)
    assert report.totals.macs == report.totals.parallel_macs + report.totals.sequential_macs
    assert min(min(vars_of(row)) for row in (report.totals, *report.ops)) >= 0
    assert len({op.name for op in report.ops}) == len(report.ops)
    assert (report.coverage == 1.0) == (not report.uncounted)
    assert all(u.reason for u in report.uncounted)
    data = json.loads(render_json(report))
    VALIDATOR.validate(data)
    assert rnncost.Report.from_dict(data) == report
    for text in (str(report), render_markdown(report), render_csv(report)):
        assert "\x1b" not in text
    estimate = report.estimates[0]
    parts = estimate.overhead_s + estimate.parallel_s + estimate.sequential_s
    assert estimate.latency_s == pytest.approx(parts)


def vars_of(row: Any) -> list[int]:
    return [getattr(row, metric) for metric in SUMS]


@pytest.mark.parametrize("name", MODELS)
def test_the_models_that_are_spoiled_below_are_sound(name: str, tmp_path: Path) -> None:
    report = outcome(MODELS[name].SerializeToString(), tmp_path)
    assert report is not None
    assert [u.op_type for u in report.uncounted] == ["mine::Unheard"] * (name == "functions")


@unhurried
@given(st.sampled_from(sorted(MODELS)), st.integers(0, 2**32), st.integers(1, 4))
def test_a_spoiled_model_is_counted_or_refused(
    tmp_path: Path, name: str, seed: int, changes: int
) -> None:
    model = copy_of(name)
    rng = random.Random(seed)
    for _ in range(changes):
        spoil(model, rng)
    outcome(model.SerializeToString(), tmp_path)


@unhurried
@given(st.sampled_from(sorted(SEEDS)), st.integers(0, 2**32), st.integers(1, 8))
def test_a_damaged_file_is_counted_or_refused(
    tmp_path: Path, name: str, seed: int, edits: int
) -> None:
    rng = random.Random(seed)
    data = bytearray(MODELS[name].SerializeToString())
    other = MODELS[rng.choice(sorted(SEEDS))].SerializeToString()
    for _ in range(edits):
        at, size = rng.randrange(len(data) + 1), rng.randrange(1, 40)
        what = rng.randrange(6)
        if what < 3 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif what == 3:
            data[at : at + size] = rng.randbytes(size)
        elif what == 4:
            start = rng.randrange(len(other))
            data[at : at + size] = other[start : start + size]
        elif rng.random() < 0.2:
            del data[at:]
    outcome(bytes(data), tmp_path)


def test_the_newest_opset_is_that_of_the_newest_onnx_package() -> None:
    """An older package may be installed; a newer one means that rules need a look."""
    assert onnx.defs.onnx_opset_version() <= NEWEST_OPSET


@pytest.mark.parametrize(
    ("opset", "warning"),
    [
        (1, "opset 1 of ai.onnx"),
        (6, "before 7 operators broadcast otherwise"),
        (7, ""),
        (NEWEST_OPSET, ""),
        (999, "opset 999 .* is the newest that rnncost knows"),
    ],
)
def test_unfamiliar_opsets_are_named(opset: int, warning: str, tmp_path: Path) -> None:
    model = copy_of("branches")
    model.opset_import[0].version = opset
    report = outcome(model.SerializeToString(), tmp_path)
    assert report is not None
    found = [text for text in report.warnings if "opset" in text]
    assert len(found) == bool(warning)
    assert re.search(warning, " ".join(found))


@pytest.mark.parametrize("opset", [0, -1, 2**31, 2**63 - 1])
def test_impossible_opsets_are_refused(opset: int) -> None:
    """The onnx package cannot even be asked for such operators."""
    model = copy_of("functions")
    model.opset_import[0].version = opset
    with pytest.raises(rnncost.RnncostError, match=f"imports ai.onnx in version {opset:,}"):
        rnncost.analyze(model)


def test_a_product_of_one_stored_matrix_with_itself() -> None:
    model = copy_of("branches")
    inner = model.graph.node[3].attribute[1].g.node[0].attribute[1].g.node[0]
    assert inner.op_type == "MatMul"
    inner.input[:] = ["w", "w"]
    report = rnncost.analyze(model, dims={"seq": 20})
    assert report.totals.macs == 27


def test_a_trip_count_that_is_a_bool_is_refused() -> None:
    model = copy_of("counting_loop")
    model.graph.node[0].input[0] = "yes"
    with pytest.raises(ModelError, match=r"the trip count of .* is a bool"):
        rnncost.analyze(model)


def test_an_operator_without_outputs_is_listed() -> None:
    model = copy_of("quantised")
    del model.graph.node[-1].output[:], model.graph.output[:]
    report = rnncost.analyze(model)
    found = [(u.op_type, u.reason) for u in report.uncounted]
    assert found == [("DequantizeLinear", "it has no outputs")]


def nested_ifs(depth: int) -> onnx.ModelProto:
    """A chain of branches: another chain one shorter, or a Relu."""

    def branch(body: list[onnx.NodeProto]) -> onnx.GraphProto:
        return helper.make_graph(body, "branch", [], [value("y", FLOAT, None)])

    body = [node("Relu", ["x"], ["y"])]
    for _ in range(depth):
        other = branch([node("Add", ["x", "x"], ["y"])])
        body = [node("If", ["b"], ["y"], then_branch=branch(body), else_branch=other)]
    return build([*body], [value("x", FLOAT, ["n"]), value("b", BOOL, [])], ["y"], [])


def test_branches_in_branches_cost_no_more_than_they_hold() -> None:
    start = time.process_time()
    report = rnncost.analyze(nested_ifs(25))
    assert time.process_time() - start < LIMIT_S
    assert [op.op_type for op in report.ops] == [*["If"] * 25, "Relu"]
    assert len(report.warnings) == 1


def test_more_trips_than_can_be_followed_are_refused_soon(tmp_path: Path) -> None:
    """Each trip has another shape, so that each is followed by itself."""
    model = copy_of("counting_loop")
    limit = next(tensor for tensor in model.graph.initializer if tensor.name == "limit")
    limit.CopyFrom(array("limit", 65_536))
    start = time.process_time()
    with pytest.raises(ModelError, match="unfolds to more than 100,000 operators"):
        rnncost.analyze(model)
    assert time.process_time() - start < LIMIT_S


def test_thousands_of_free_dimensions_do_not_hang() -> None:
    names = [f"x{i}" for i in range(1500)]
    inputs = [value(name, FLOAT, [f"n{name}", 3]) for name in names]
    nodes = [node("Concat", names, ["all"], axis=0), node("MatMul", ["all", "w"], ["y"])]
    start = time.process_time()
    report = rnncost.analyze(build(nodes, inputs, ["y"], [floats("w", 3, 3)]))
    assert time.process_time() - start < LIMIT_S
    assert report.totals.macs == 1500 * 100 * 9


BIG = [10**12]
BOMBS: dict[str, tuple[list[onnx.NodeProto], list[int]]] = {
    "range": ([node("Range", ["zero", "big0", "unit"], ["y"])], BIG),
    "fill": ([node("ConstantOfShape", ["big"], ["y"])], [10**9, 10**9]),
    "filled and read": (
        [node("ConstantOfShape", ["big"], ["f"]), node("NonZero", ["f"], ["y"])],
        [10**8],
    ),
    "tile": (
        [
            *(node("Tile", ["big", "big"], ["a"]), node("Tile", ["a", "big"], ["b"])),
            node("ConstantOfShape", ["b"], ["y"]),
        ],
        [10**5],
    ),
    "tile by two signs": ([node("Tile", ["square", "signs"], ["y"])], BIG),
    "expand": ([node("Expand", ["unit1", "big"], ["y"])], [10**5, 10**5]),
    "doubling": (
        [node("Concat", [f"d{i}"] * 2, [f"d{i + 1}"], axis=0) for i in range(40)]
        + [node("Reshape", ["x", "d40"], ["y"])],
        BIG,
    ),
    "squaring": (
        [node("Mul", [f"d{i}"] * 2, [f"d{i + 1}"]) for i in range(60)]
        + [node("ConstantOfShape", ["d60"], ["y"])],
        BIG,
    ),
    "power": ([node("Pow", ["big", "big"], ["p"]), node("ConstantOfShape", ["p"], ["y"])], BIG),
    "onehot": ([node("OneHot", ["big", "big0", "pair"], ["y"])], BIG),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_with_huge_tensors_takes_little_memory_and_time(name: str) -> None:
    nodes, size = BOMBS[name]
    stored = [
        *(array("big", size), array("d0", [3]), array("big0", size[0]), array("zero", 0)),
        *(array("unit", 1), array("unit1", [1]), array("pair", [0, 1])),
        *(array("square", [[1]]), array("signs", [2**62, -(2**31)])),
    ]
    model = build(nodes, [value("x", FLOAT, ["n", 2])], ["y"], stored)
    start = time.process_time()
    tracemalloc.start()
    try:
        with contextlib.suppress(rnncost.RnncostError):
            check(rnncost.analyze(model, profiles=("x86-64-server-core",)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < LIMIT_S
    assert peak < 30_000_000


def test_a_long_text_of_the_file_is_cut_in_messages() -> None:
    spelled = "ab,bc->" + "a" * 100_000
    model = build(
        [node("Einsum", ["x"], ["y"], equation=spelled)],
        *([value("x", FLOAT, ["n", 2])], ["y"], []),
    )
    with pytest.raises(rnncost.RnncostError, match=r"equation 'ab,bc->a+…' does not have 1 terms"):
        rnncost.analyze(model)
