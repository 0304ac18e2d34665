"""Measured nodes beside rows: every row and every node in one line, fused ones together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import rnncost
from rnncost.counting.count import count
from rnncost.frontends.onnx.proto import GraphProto, NodeProto
from rnncost.graph.ir import Graph, Op, Tensor
from rnncost.runtime.node_times import NodeTime
from rnncost.validation import NodeLine, Validation, validate
from rnncost.validation.matching import match

ONCE: dict[str, Any] = {"min_time_s": 0.0, "max_time_s": 0.0}
FLOAT = TensorProto.FLOAT
MANIFEST = Path(rnncost.__file__).parent / "suites" / "real_models.json"
REAL = json.loads(MANIFEST.read_text(encoding="utf-8"))["models"]


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    shape: list[int],
    weights: dict[str, tuple[int, ...]],
    constants: dict[str, np.ndarray[Any, Any]] | None = None,
) -> Path:
    """A model from x to the last node's output, with random weights."""
    generator = np.random.default_rng(0)
    stored = {n: generator.standard_normal(s, dtype=np.float32) for n, s in weights.items()}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info(nodes[-1].output[0], FLOAT, None)],
        [numpy_helper.from_array(a, n) for n, a in {**stored, **(constants or {})}.items()],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def node(op_type: str, inputs: str, output: str, **attrs: Any) -> onnx.NodeProto:
    """A node that is named as its output."""
    return helper.make_node(op_type, inputs.split(), [output], name=output, **attrs)


def check_sums(result: Validation) -> None:
    """Each row and node is in one line; the lines and what is outside make the whole."""
    profile = result.comparisons[0].estimate
    assert result.nodes
    assert result.outside_s is not None
    measured = sum(line.measured_s or 0.0 for line in result.nodes)
    assert measured + result.outside_s == pytest.approx(result.timing.steady_s)
    rows = Counter(row for line in result.nodes for row in line.rows)
    costly = Counter(op.name for op in profile.ops if op.latency_s > 0)
    assert all(rows[name] == count for name, count in costly.items())
    estimated = sum(line.estimated_s.get(profile.profile, 0.0) for line in result.nodes)
    assert estimated == pytest.approx(sum(op.latency_s for op in profile.ops))


def line_of(result: Validation, row: str) -> NodeLine:
    (found,) = (line for line in result.nodes if row in line.rows)
    return found


def test_a_fused_convolution_holds_what_was_fused_into_it(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w", "conv", kernel_shape=[3, 3]),
        node("Relu", "conv", "relu"),
        node("Conv", "relu w2", "conv2", kernel_shape=[3, 3]),
        node("Relu", "conv2", "relu2"),
        node("Softmax", "relu2", "soft", axis=-1),
    ]
    weights = {"w": (16, 16, 3, 3), "w2": (16, 16, 3, 3)}
    path = save(tmp_path / "conv.onnx", nodes, [1, 16, 12, 12], weights)
    result = validate(path, **ONCE)
    check_sums(result)
    first, second = line_of(result, "conv"), line_of(result, "conv2")
    assert set(first.rows) == {"conv", "relu"}
    assert set(second.rows) == {"conv2", "relu2"}
    assert first.measured_s is not None
    assert any("Conv" in kind for kind in first.node_types)
    assert line_of(result, "soft").node_types == ["Softmax"]
    # The blocked layout is made before the first and undone after the last, not in between.
    assert len(result.nodes) <= 4


def test_a_product_and_its_bias_become_one(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", "x w", "product"),
        node("Add", "product b", "biased"),
        node("Tanh", "biased", "tanh"),
    ]
    path = save(tmp_path / "m.onnx", nodes, [2, 5, 64], {"w": (64, 32), "b": (32,)})
    result = validate(path, **ONCE)
    check_sums(result)
    line = line_of(result, "product")
    assert {"product", "biased"} <= set(line.rows)
    assert any("Gemm" in kind for kind in line.node_types)


def test_an_activation_that_is_a_pattern_of_nodes(tmp_path: Path) -> None:
    """GELU written out: x · 0.5 · (1 + erf(x / √2))."""
    nodes = [
        node("Div", "x root", "scaled"),
        node("Erf", "scaled", "erf"),
        node("Add", "erf one", "shifted"),
        node("Mul", "x shifted", "times"),
        node("Mul", "times half", "gelu"),
        node("MatMul", "gelu w", "product"),
    ]
    constants = {
        "root": np.array(np.sqrt(2), np.float32),
        "one": np.array(1, np.float32),
        "half": np.array(0.5, np.float32),
    }
    path = save(tmp_path / "gelu.onnx", nodes, [1, 8, 64], {"w": (64, 64)}, constants)
    result = validate(path, **ONCE)
    check_sums(result)
    assert set(line_of(result, "erf").rows) == {"scaled", "erf", "shifted", "times", "gelu"}
    assert line_of(result, "product").rows == ["product"]


def test_nodes_without_names_are_found(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "v"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["d"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, [64, 256], {"w": (256, 256), "v": (256, 8)})
    result = validate(path, min_time_s=0.02)
    check_sums(result)
    assert [len(line.rows) for line in result.nodes] == [1] * 4
    wide, narrow = (line_of(result, f"MatMul_{index}") for index in (0, 2))
    assert wide.node_types == narrow.node_types == ["MatMul"]
    # Thirty times the work: the two are not taken for one another.
    assert (wide.measured_s or 0) > 2 * (narrow.measured_s or 0)


def test_an_unrolled_cell_is_one_line(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x w", "h0")]
    for step in range(3):
        nodes += [
            node("MatMul", f"h{step} w", f"product{step}"),
            node("Tanh", f"product{step}", f"h{step + 1}"),
        ]
    path = save(tmp_path / "cell.onnx", nodes, [1, 32], {"w": (32, 32)})
    result = validate(path, **ONCE)
    check_sums(result)
    (cell,) = (line for line in result.nodes if "MatMul" in line.op_types)
    assert len(cell.nodes) == 4


def test_a_branch_and_a_loop_body_are_seen_inside(tmp_path: Path) -> None:
    def branch(op_type: str) -> onnx.GraphProto:
        inner = node(op_type, "x", f"out_{op_type}")
        out = helper.make_tensor_value_info(f"out_{op_type}", FLOAT, None)
        return helper.make_graph([inner], op_type, [], [out])

    body = helper.make_graph(
        [node("Identity", "go", "still"), node("MatMul", "h w", "next")],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("h", FLOAT, [1, 64]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", FLOAT, [1, 64]),
        ],
    )
    nodes = [
        node("ReduceSum", "x", "total", keepdims=0),
        node("Greater", "total zero", "positive"),
        node("If", "positive", "chosen", then_branch=branch("Relu"), else_branch=branch("Tanh")),
        node("Loop", "trips yes chosen", "last", body=body),
    ]
    constants = {
        "zero": np.array(-1e9, np.float32),
        "trips": np.array(20, np.int64),
        "yes": np.array(True),
    }
    path = save(tmp_path / "c.onnx", nodes, [1, 64], {"w": (64, 64)}, constants)
    result = validate(path, trace=True, **ONCE)
    check_sums(result)
    assert line_of(result, "next").nodes == ["next"]
    assert line_of(result, "last").node_types == ["Loop"]
    # The nodes of the branch have lines of their own.
    choice = line_of(result, "chosen")
    assert choice.node_types == ["If"]
    assert len(choice.rows) == 1
    assert line_of(result, "out_Relu").nodes == ["out_Relu"]


def tensor(name: str) -> Tensor:
    return Tensor(name, "float32", (1,))


def op(name: str, inputs: str, output: str, op_type: str = "Add") -> Op:
    return Op(
        name=name,
        op_type=op_type,
        inputs=tuple(tensor(n) for n in inputs.split()),
        outputs=(tensor(output),),
    )


def run_as(op_type: str, name: str, inputs: str, output: str) -> NodeProto:
    """A node of the optimised model."""
    return NodeProto(op_type=op_type, name=name, inputs=tuple(inputs.split()), outputs=(output,))


def lines_of(ops: list[Op], *nodes: NodeProto, lost: str = "") -> set[tuple[str, str]]:
    """Rows and nodes of each line by name, for a graph from x and the nodes that it runs as."""
    last = tuple(output for output in ops[-1].outputs if output is not None)
    graph = Graph(inputs=(tensor("x"),), outputs=last, ops=tuple(ops))
    rows = count(graph).ops
    ran = [(node.name, node.op_type) for node in nodes] + ([(lost, "Lost")] if lost else [])
    times = [
        NodeTime(name=name, op_type=op_type, path=(), executions=1, seconds=1e-6)
        for name, op_type in ran
    ]
    return {
        (" ".join(rows[r].name for r in line.rows), " ".join(times[n].name for n in line.nodes))
        for line in match(graph, rows, times, GraphProto(nodes=nodes))
    }


def test_measured_nodes_that_nothing_is_known_of_stand_alone() -> None:
    """Not in the optimised model, or with tensors that the file does not have."""
    nodes = run_as("Add", "a", "x x", "y"), run_as("Odd", "odd", "p", "q")
    assert lines_of([op("a", "x x", "y")], *nodes, lost="nowhere") == {
        ("a", "a"),
        ("", "odd"),
        ("", "nowhere"),
    }


def test_a_layout_change_belongs_to_the_node_that_wants_it() -> None:
    ops = [op("a", "x x", "p"), op("b", "p p", "y", "Mul")]
    nodes = (
        run_as("Add", "a", "x x", "p"),
        run_as("ReorderInput", "new", "p", "t"),
        run_as("Mul", "b", "t t", "y"),
    )
    assert lines_of(ops, *nodes) == {("a", "a"), ("b", "new b")}


def test_a_layout_that_is_changed_back_belongs_to_the_node_before() -> None:
    """The result has the name of the original's, and the node another type."""
    ops = [op("a", "x x", "p", "Mul"), op("b", "p p", "y")]
    nodes = (
        run_as("Mul", "a_renamed", "x x", "t"),
        run_as("ReorderOutput", "back", "t", "p"),
        run_as("Add", "b", "p p", "y"),
    )
    assert lines_of(ops, *nodes) == {("a", "a_renamed back"), ("b", "b")}


def test_what_is_gone_went_where_its_result_went() -> None:
    ops = [op("a", "x x", "p"), op("b", "p p", "q", "Tanh"), op("c", "q q", "y", "Mul")]
    nodes = run_as("Fused", "f", "x x", "q"), run_as("Mul", "c", "q q", "y")
    assert lines_of(ops, *nodes) == {("a b", "f"), ("c", "c")}


def test_what_is_known_before_the_run_went_nowhere() -> None:
    """The shape of x is known; it is no part of the node that reads it."""
    shape = msgspec.structs.replace(
        op("shape", "x", "s", "Shape"), outputs=(Tensor("s", "int64", (1,), value=(1,)),)
    )
    ops = [shape, op("a", "x s", "y", "Reshape")]
    assert lines_of(ops, run_as("Reshape", "a", "x c", "y")) == {("shape", ""), ("a", "a")}


def test_the_same_node_in_several_runs_of_trips_is_measured_once() -> None:
    ops = [op("a", "x x", "p"), op("a#2", "p p", "p#2"), op("b", "p#2 p#2", "y")]
    nodes = run_as("Add", "a", "x x", "p"), run_as("Add", "b", "p p", "y")
    assert lines_of(ops, *nodes) == {("a a#2", "a"), ("b", "b")}
    renamed = run_as("Add", "a", "x x", "t"), run_as("Add", "b", "t t", "y")
    assert lines_of(ops, *renamed) == {("a a#2", "a"), ("b", "b")}


def test_a_layout_change_of_the_files_own_stands_alone() -> None:
    ops = [op("a", "x x", "p", "Mul"), op("turn", "p", "y", "Transpose")]
    nodes = run_as("Mul", "a", "x x", "p"), run_as("Transpose", "turn", "p", "y")
    assert lines_of(ops, *nodes) == {("a", "a"), ("turn", "turn")}


@pytest.mark.real_models
@pytest.mark.parametrize("model", REAL, ids=[Path(m["path"]).stem for m in REAL])
def test_real_models_add_up(model: dict[str, Any], real_model: Callable[[str], Path]) -> None:
    setting = model["settings"][0]
    given = model["inputs"].items()
    result = validate(
        real_model(model["path"]),
        shapes={n: [setting.get(e, e) for e in g["shape"]] for n, g in given if "shape" in g},
        values={n: g["value"] for n, g in given if "value" in g},
        **ONCE,
    )
    check_sums(result)
    recurrent = [line for line in result.nodes if "recurrent" in line.kinds]
    # Two models are cells of one step written out in products: no step waits for another.
    assert bool(recurrent) == (
        Path(model["path"]).stem not in ("model_2", "silero_vad_op18_ifless")
    )
    for line in recurrent:
        assert line.measured_s, "a recurrent layer runs"
        kinds = [kind.removeprefix("DynamicQuantize") for kind in line.node_types]
        assert set(kinds) & {"LSTM", "GRU", "MatMul"}, line
