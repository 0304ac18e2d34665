"""Totals as formulas: right at other dimensions than those that they were checked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rnncost.analysis import analyze
from rnncost.report.model import Report

POINTS = [(1, 100), (3, 1), (2, 2), (1, 3), (2, 7), (1, 31), (3, 64), (2, 1000)]


def ints(name: str, value: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, np.int64), name)


def model(
    nodes: list[onnx.NodeProto], outputs: list[str], constants: list[onnx.TensorProto]
) -> onnx.ModelProto:
    """A model of x [batch, seq, 8] with the weights W and R of an LSTM of 4 units."""
    weights = [
        numpy_helper.from_array(np.ones(shape, np.float32), name)
        for name, shape in (("W", (1, 16, 8)), ("R", (1, 16, 4)), ("K", (12, 4)))
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "seq", 8])
    results = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
    graph = helper.make_graph(nodes, "g", [x], results, [*weights, *constants])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def lstm(x: str, y: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Transpose", [x], [f"{y}.time"], perm=[1, 0, 2]),
        helper.make_node("LSTM", [f"{y}.time", "W", "R"], [y], hidden_size=4),
    ]


LENGTH = [
    helper.make_node("Shape", ["x"], ["shape"]),
    helper.make_node("Gather", ["shape", "one"], ["length"]),
]


def cut(bound: str) -> list[onnx.NodeProto]:
    """The first ``bound`` steps of x through an LSTM."""
    return [
        helper.make_node("Unsqueeze", [bound, "zeros"], ["stop"]),
        helper.make_node("Slice", ["x", "zeros", "stop", "axis"], ["part"]),
        *lstm("part", "y"),
    ]


def halves() -> onnx.ModelProto:
    split = helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2)
    return model([split, *lstm("a", "y"), *lstm("b", "z")], ["y", "z"], [])


CONSTANTS = [
    ints("one", 1),
    ints("two", 2),
    ints("fifty", 50),
    ints("zeros", [0]),
    ints("axis", [1]),
]


def distance() -> onnx.ModelProto:
    nodes = [
        *LENGTH,
        helper.make_node("Sub", ["length", "fifty"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["bound"]),
        *cut("bound"),
    ]
    return model(nodes, ["y"], CONSTANTS)


def chosen() -> onnx.ModelProto:
    nodes = [
        *LENGTH,
        helper.make_node("Less", ["length", "fifty"], ["short"]),
        helper.make_node("Where", ["short", "two", "fifty"], ["bound"]),
        *cut("bound"),
    ]
    return model(nodes, ["y"], CONSTANTS)


def all_but_two_trips() -> onnx.ModelProto:
    """A cell in a Loop of seq - 2 trips, none for shorter inputs."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["x", "i"], ["step"], axis=1),
            helper.make_node("Concat", ["step", "h"], ["both"], axis=1),
            helper.make_node("MatMul", ["both", "K"], ["sums"]),
            helper.make_node("Tanh", ["sums"], ["next"]),
            helper.make_node("Identity", ["on"], ["go"]),
        ],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("on", TensorProto.BOOL, []),
            value("h", TensorProto.FLOAT, None),
        ],
        [value("go", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, None)],
    )
    nodes = [
        *LENGTH,
        helper.make_node("Sub", ["length", "two"], ["trips"]),
        helper.make_node("Slice", ["x", "zeros", "four", "last"], ["starts"]),
        helper.make_node("ReduceMax", ["starts", "axis"], ["h0"], keepdims=0),
        helper.make_node("Loop", ["trips", "", "h0"], ["y"], body=body),
    ]
    return model(nodes, ["y"], [*CONSTANTS, ints("four", [4]), ints("last", [2])])


def evaluated(report: Report, batch: int, seq: int) -> dict[str, int]:
    assert report.symbolic is not None
    names = {"min": min, "max": max, "batch": batch, "seq": seq}
    return {
        metric: eval(formula.replace("^", "**"), names)
        for metric, formula in report.symbolic.items()
    }


@pytest.mark.parametrize("make", [halves, distance, chosen, all_but_two_trips])
def test_formulas_hold_at_every_size(make: Any) -> None:
    proto = make()
    report = analyze(proto)
    for batch, seq in POINTS:
        truth = analyze(proto, dims={"batch": batch, "seq": seq}, symbolic=False).totals
        for metric, value in evaluated(report, batch, seq).items():
            if metric == "state_bytes" and truth.sequential_steps == 0:
                continue  # a loop without trips holds no state
            assert value == getattr(truth, metric), (metric, batch, seq)


def test_formulas_that_hold_for_one_branch_say_so() -> None:
    info = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    cut_off = helper.make_node("Slice", ["x", "zeros", "fifties", "axis"], ["out"])
    short = helper.make_graph([helper.make_node("Identity", ["x"], ["out"])], "short", [], info)
    long = helper.make_graph([cut_off], "long", [], info)

    def choice(limit: str, *, symbolic: bool = True) -> Report:
        nodes = [
            *LENGTH,
            helper.make_node("Less", ["length", limit], ["less"]),
            helper.make_node("If", ["less"], ["part"], then_branch=short, else_branch=long),
            *lstm("part", "y"),
        ]
        made = model(nodes, ["y"], [*CONSTANTS, ints("fifties", [50])])
        return analyze(made, symbolic=symbolic)

    def provisos(report: Report) -> list[str]:
        return [text for text in report.warnings if "formulas hold" in text]

    (text,) = provisos(choice("fifty"))
    assert "If node that makes 'part' takes its else_branch" in text
    assert provisos(choice("fifty", symbolic=False)) == []
    # No length is below 1, so this branch is taken whatever the dimensions are.
    assert provisos(choice("one")) == []
