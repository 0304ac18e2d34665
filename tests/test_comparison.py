"""Comparisons: figures against models built independently, extents, what is skipped and why."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from comparison_models import network
from onnx import TensorProto, helper, numpy_helper

import rnncost
from rnncost.comparison import Comparison, Design
from rnncost.comparison.figures import COUNTS, not_counted
from rnncost.comparison.text import render_markdown
from rnncost.comparison.words import listed, times
from rnncost.errors import BindingError, ModelError, ProfileError
from rnncost.units import format_seconds

CPU = "x86-64-server-core"
GPU = "h100-sxm"
MCU = "cortex-m7"
BASE = [("LSTM", 24, 1), ("LSTM", 16, 2), ("GRU", 12, 1)]


def compare(model: Any, **asked: Any) -> Comparison:
    return rnncost.compare(model, **{"profiles": [CPU], **asked})


def analyze(model: Any, **options: Any) -> rnncost.Report:
    return rnncost.analyze(model, profiles=[CPU], symbolic=False, **options)


def check_ratios(
    comparison: Comparison, design: Design, expected: rnncost.Report, *, all_ops: bool = True
) -> None:
    """A design has the figures of a report, and their ratios to the model as it is.

    Without ``all_ops``, the design may have operators that move data and the report has not.
    """
    before = comparison.base.report
    for name in COUNTS:
        if name == "streamed_bytes" and not all_ops:
            assert design.figures[name] >= expected.totals.streamed_bytes
            continue
        figure = getattr(expected.totals, name)
        assert design.figures[name] == figure, name
        old = getattr(before.totals, name)
        assert design.ratios.get(name) == (figure / old if old else None), name
    for a, b in zip(before.estimates, expected.estimates, strict=True):
        if not all_ops:
            continue
        for name in ("latency_s", "dram_bytes", "energy_j"):
            key, old, new = f"{name}@{a.profile}", getattr(a, name), getattr(b, name)
            assert design.figures.get(key) == new, key
            assert design.ratios.get(key) == (new / old if old else None), key


CHANGES = {
    "GRU cells": ({"cells": "gru"}, [("GRU", 24, 1), ("GRU", 16, 2), ("GRU", 12, 1)]),
    "RNN cells": ({"cells": "rnn"}, [("RNN", 24, 1), ("RNN", 16, 2), ("RNN", 12, 1)]),
    "LSTM cells": ({"cells": ["LSTM"]}, [("LSTM", 24, 1), ("LSTM", 16, 2), ("LSTM", 12, 1)]),
    "unidirectional, same hidden size": (
        {"directions": "uni", "policy": "same-hidden"},
        [("LSTM", 24, 1), ("LSTM", 16, 1), ("GRU", 12, 1)],
    ),
    "unidirectional, same output width": (
        {"directions": ["unidirectional"], "policy": "same-width"},
        [("LSTM", 24, 1), ("LSTM", 32, 1), ("GRU", 12, 1)],
    ),
    "bidirectional, same hidden size": (
        {"directions": "bi", "policy": "same hidden size"},
        [("LSTM", 24, 2), ("LSTM", 16, 2), ("GRU", 12, 2)],
    ),
    "bidirectional, same output width": (
        {"directions": "bi", "policy": "same-width"},
        [("LSTM", 12, 2), ("LSTM", 16, 2), ("GRU", 6, 2)],
    ),
    "8 hidden units": ({"hidden_sizes": [8]}, [("LSTM", 8, 1), ("LSTM", 8, 2), ("GRU", 8, 1)]),
}


@pytest.mark.parametrize(("title", "case"), CHANGES.items(), ids=CHANGES)
def test_a_rewritten_model_costs_what_such_a_model_costs(
    title: str, case: tuple[dict[str, Any], list[tuple[str, int, int]]]
) -> None:
    asked, layers = case
    dims = {"frames": 30, "batch": 2}
    comparison = compare(network(BASE), **asked, dims=dims, profiles=[CPU, GPU, MCU])
    assert comparison.skipped == []
    (design,) = comparison.variants
    assert design.title == title
    expected = rnncost.analyze(network(layers), dims=dims, profiles=[CPU, GPU, MCU])
    # A layer that gets a second direction gets operators that put both side by side.
    check_ratios(comparison, design, expected, all_ops=not title.startswith("bidirectional"))


def test_layers_are_taken_away() -> None:
    stack = [("GRU", 12, 1)] * 3
    comparison = compare(network(stack), layers=[1, 2])
    assert [design.title for design in comparison.variants] == ["1 layer", "2 layers"]
    for design, count in zip(comparison.variants, (1, 2), strict=True):
        check_ratios(comparison, design, analyze(network(stack[:count])))


def test_what_applies_stands_for_what_is_not_asked_for() -> None:
    titles = [design.title for design in compare(network(BASE)).variants]
    both = ["unidirectional, same hidden size", "unidirectional, same output width"]
    assert titles == ["GRU cells", *both]
    titles = [d.title for d in compare(network(BASE), policy="same-width").variants]
    assert titles == ["GRU cells", both[1]]
    assert [d.title for d in compare(network([("GRU", 8, 2)])).variants] == both
    nothing = compare(network([("GRU", 8, 1)]))
    assert nothing.variants == []
    assert "no contrast applies by itself" in nothing.warnings[-1]


def test_each_value_is_one_variant_of_the_model_as_it_is() -> None:
    comparison = compare(
        network(BASE), cells=["gru", "GRU"], precisions="int8", steps=50, batches=[2, 4]
    )
    titles = [design.title for design in comparison.variants]
    assert titles == ["GRU cells", "int8", "50 steps", "batch of 2", "batch of 4"]
    assert comparison.base.ratios == {}
    assert comparison.base.figures["macs"] == comparison.base.report.totals.macs


def test_half_precision_has_the_bytes_of_a_model_in_float16() -> None:
    comparison = compare(network(BASE), precisions=["fp16"])
    (design,) = comparison.variants
    half = rnncost.analyze(network(BASE, half=True), symbolic=False).totals
    for name in COUNTS:
        assert design.figures[name] == getattr(half, name), name
    estimate = rnncost.analyze(network(BASE), profiles=[CPU], precision="fp16").estimates[0]
    assert design.figures[f"latency_s@{CPU}"] == estimate.latency_s
    assert design.figures[f"dram_bytes@{CPU}"] == estimate.dram_bytes
    assert "no fp16 kernel for LSTM: timed in its own precision" in design.reasons


def test_int8_is_estimated_as_if_each_element_took_a_byte() -> None:
    comparison = compare(network(BASE), precisions=["int8", "fp32"])
    (design,) = comparison.variants
    for name in ("weight_bytes", "state_bytes", "streamed_bytes"):
        assert design.ratios[name] == 0.25, name
    assert design.ratios["macs"] == 1
    estimate = rnncost.analyze(network(BASE), profiles=[CPU], precision="int8").estimates[0]
    assert design.figures[f"latency_s@{CPU}"] == estimate.latency_s
    assert [(one.name, one.reason) for one in comparison.skipped] == [
        ("fp32", "that is what it is in already")
    ]


@pytest.mark.parametrize("free", [True, False], ids=["free", "fixed"])
def test_steps_and_batch_are_those_of_a_model_with_such_inputs(free: bool) -> None:
    """Fixed axes of an input are changed like free dimensions, where the graph allows it."""
    extents: dict[str, Any] = {} if free else {"steps": 30, "rows": 3}
    dims = {"frames": 30, "batch": 3} if free else {}
    comparison = compare(network(BASE, **extents), steps=[50, 30], batches=[7], dims=dims)
    fifty, seven = comparison.variants
    check_ratios(comparison, fifty, analyze(network(BASE, steps=50, rows=3)))
    check_ratios(comparison, seven, analyze(network(BASE, steps=30, rows=7)))
    assert fifty.notes == [f"the dimension {'frames' if free else 'x.0'!r} is 50"]
    assert [(one.name, one.reason) for one in comparison.skipped] == [
        ("30 steps", "that is what it is already")
    ]


def test_a_stride_before_the_layers_is_followed_back_to_the_input() -> None:
    comparison = compare(network(BASE, stride=2), steps=[20])
    (design,) = comparison.variants
    assert {op.dims["T"] for op in design.report.ops if "T" in op.dims} == {20}
    assert design.report.bindings.dims["frames"] == 39  # steps 0, 2 ... 38
    assert design.notes == ["the dimension 'frames' is 39"]
    check_ratios(comparison, design, analyze(network(BASE, stride=2), dims={"frames": 39}))


def doubled() -> onnx.ModelProto:
    """A model whose layers have two steps for each of the input."""
    model = network([("GRU", 4, 1)])
    first = model.graph.node[0]
    first.input[0] = "twice"
    model.graph.node.insert(0, helper.make_node("Concat", ["x", "x"], ["twice"], axis=0))
    return model


def two_inputs() -> onnx.ModelProto:
    """A model whose first layer has the steps of one input and whose second has another's."""
    model = network([("GRU", 4, 1)])
    second = network([("GRU", 4, 1)], steps="letters")
    for node in second.graph.node:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                names[at] = f"other.{name}" if name else name
        node.name = f"other.{node.name}"
        model.graph.node.append(node)
    for kind in ("input", "output", "initializer"):
        for thing in getattr(second.graph, kind):
            thing.name = f"other.{thing.name}"
            getattr(model.graph, kind).append(thing)
    return model


def one_length_fixed() -> onnx.ModelProto:
    """The same, where the longer of both inputs has a fixed length and more rows."""
    model = two_inputs()
    for value in model.graph.input:
        if value.name == "x":
            value.type.tensor_type.shape.dim[0].dim_value = 500
            value.type.tensor_type.shape.dim[1].dim_value = 9
        else:
            value.type.tensor_type.shape.dim[1].dim_param = "others"
    for value in model.graph.output:
        value.type.tensor_type.shape.dim[0].Clear()
    return model


def test_reasons_are_about_the_extent_that_changes() -> None:
    """Not about the largest one, which other layers may keep."""
    model = one_length_fixed()
    steps, batch = compare(model, steps=60, batches=4, dims={"others": 2}).variants
    at = {
        t: analyze(model, dims={"letters": t, "others": 2}).estimates[0].latency_s
        for t in (60, 100)
    }
    each = format_seconds((at[100] - at[60]) / 40)
    assert f"between 60 and 100 time steps, each costs {each}" in steps.reasons
    assert any(reason.startswith("4 rows a run in place of 2, so") for reason in batch.reasons)


def fixed_state() -> onnx.ModelProto:
    """A model whose initial state is stored, for three rows."""
    model = network([("GRU", 4, 1)], steps=30, rows=3)
    state = numpy_helper.from_array(np.zeros((1, 3, 4), np.float32), "state")
    model.graph.initializer.append(state)
    model.graph.node[0].input.extend(["", "state"])
    return model


@pytest.mark.parametrize(
    ("model", "asked", "reason"),
    [
        (doubled(), {"steps": [51]}, "no value of the dimension 'frames' gives 51 time steps"),
        (two_inputs(), {"steps": [51]}, "more than one dimension, 'frames' and 'letters'"),
        (fixed_state(), {"batches": [4]}, "export the model with that dimension free"),
    ],
    ids=["odd", "two inputs", "fixed state"],
)
def test_what_cannot_be_made_says_why(
    model: onnx.ModelProto, asked: dict[str, Any], reason: str
) -> None:
    comparison = compare(model, **asked)
    assert comparison.variants == []
    (skipped,) = comparison.skipped
    assert reason in skipped.reason


def test_a_change_that_changes_nothing_is_skipped() -> None:
    comparison = compare(
        network([("GRU", 8, 1)]), cells="gru", directions="uni", hidden_sizes=8, layers=1
    )
    assert comparison.variants == []
    names = ["GRU cells", "unidirectional, same hidden size", "unidirectional, same output width"]
    assert [one.name for one in comparison.skipped] == [*names, "8 hidden units", "1 layer"]


def test_twice_the_steps_and_two_inputs_work_where_they_can() -> None:
    (design,) = compare(doubled(), steps=[52]).variants
    assert design.report.bindings.dims["frames"] == 26
    (design,) = compare(fixed_state(), steps=[52]).variants
    assert design.report.totals.sequential_steps == 52


def test_one_more_step_is_the_difference_of_two_estimates() -> None:
    comparison = compare(network(BASE), cells=["gru"])
    gru = network([("GRU", hidden, directions) for _, hidden, directions in BASE])
    for design, model in zip(comparison.designs, (network(BASE), gru), strict=True):
        at_100, at_101 = (analyze(model, dims={"frames": t}).estimates[0] for t in (100, 101))
        cost_s = at_101.latency_s - at_100.latency_s
        assert design.one_more_step_s == {CPU: pytest.approx(cost_s, rel=1e-12)}


def test_a_model_without_recurrence_says_so() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    comparison = compare(model)
    assert comparison.variants == []
    assert "no recurrent layer" in comparison.warnings[-1]
    comparison = compare(model, steps=[5], step_period_s=0.01)
    assert "no recurrent operator" in comparison.skipped[0].reason
    assert "no real-time figures: the model has no recurrent" in comparison.base.reasons[0]
    assert CPU in str(comparison)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"cells": ["lstmm"]}, "there is no cell 'lstmm', did you mean 'lstm'?"),
        ({"directions": ["both"]}, "there is no direction 'both'"),
        ({"precisions": ["fp8"]}, "there is no precision 'fp8'"),
        ({"hidden_sizes": [0]}, "the hidden size must be a whole number from 1 on, not 0"),
        ({"layers": [1.5]}, "the number of layers must be a whole number from 1 on, not 1.5"),
        ({"steps": [True]}, "the number of steps must be a whole number from 1 on, not True"),
        ({"batches": ["x"]}, "the batch must be a whole number from 1 on, not 'x'"),
        ({"policy": "same"}, "there is no policy 'same'"),
        ({"policy": "both", "steps": [5]}, "a policy is that of a change of direction"),
        ({"step_period_s": 0.0}, "the step period must be seconds above 0, got 0.0"),
        ({"step_period_s": math.nan}, "the step period must be seconds above 0, got nan"),
        ({"step_period_s": "10ms"}, "the step period must be seconds above 0, got '10ms'"),
        ({"step_period_s": True}, "the step period must be seconds above 0, got True"),
        ({"chunk": 0, "step_period_s": 1.0}, "the chunk must be a whole number from 1 on, not 0"),
        ({"chunk": True, "step_period_s": 1.0}, "the chunk must be a whole number from 1 on"),
        ({"chunk": 4}, "a chunk needs the time between two steps too"),
        ({"inputs": (1,)}, "inputs are those of a torch.nn.Module"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"dims": {"seq": 3}}, "the model has no free dimension 'seq'"),
    ],
)
def test_odd_arguments_are_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(BindingError, match=said.replace("?", r"\?").replace("(", r"\(")):
        compare(network([("GRU", 4, 1)]), **asked)


def test_odd_models_and_profiles_are_refused() -> None:
    with pytest.raises(ModelError, match="cannot compare an object of type int"):
        compare(3)
    with pytest.raises(ModelError, match="no-such"):
        compare("no-such.onnx")
    with pytest.raises(ModelError, match="files of others are not run"):
        compare("program.pt2")
    with pytest.raises(ProfileError, match="no-such"):
        compare(network([("GRU", 4, 1)]), profiles="no-such")


def test_figures_of_two_profiles_of_one_name_are_not_mixed_up() -> None:
    gpu = msgspec.structs.replace(rnncost.load_profile(GPU), name=CPU)
    with pytest.raises(ProfileError, match=f"two profiles are named '{CPU}'"):
        compare(network([("GRU", 4, 1)]), profiles=[CPU, gpu])
    once = compare(network([("GRU", 4, 1)]), profiles=[CPU, rnncost.load_profile(CPU)], steps=5)
    assert [estimate.profile for estimate in once.base.report.estimates] == [CPU]


def test_what_is_not_counted_is_said() -> None:
    """Nothing behind an operator that no rule knows has a shape, so that its MACs are missing."""
    model = network([("GRU", 8, 2)])
    model.graph.node.insert(0, helper.make_node("Odd", ["x"], ["odd"], "odd one", domain="test"))
    model.graph.node[1].input[0] = "odd"
    model.opset_import.append(helper.make_opsetid("test", 1))
    comparison = compare(model, precisions="fp16")
    assert comparison.base.figures["macs"] == 0
    assert len(comparison.base.report.uncounted) == 5
    assert comparison.warnings[0].startswith("the figures miss 5 operators: odd one (test::Odd): ")
    assert "; and 2 more" in comparison.warnings[0]
    for text in (str(comparison), render_markdown(comparison), comparison._repr_html_()):
        assert "the figures miss 5 operators: odd one" in " ".join(text.split())
    report = comparison.base.report
    assert not_counted(report, report.uncounted) == []  # what is known already
    assert not_counted(report, report.uncounted[1:]) == [
        f"the figures miss 1 operator: odd one (test::Odd): {report.uncounted[0].reason}"
    ]


def test_a_variant_names_only_what_it_alone_does_not_count() -> None:
    model = network([("GRU", 8, 2)])
    model.graph.node.append(helper.make_node("Odd", ["y"], ["odd"], "odd one", domain="test"))
    model.graph.output[0].name = "odd"
    model.opset_import.append(helper.make_opsetid("test", 1))
    comparison = compare(model, hidden_sizes=4)
    assert comparison.warnings[0].startswith("the figures miss 1 operator: odd one (test::Odd): ")
    (design,) = comparison.variants
    assert len(design.report.uncounted) == 1
    assert not any("miss" in note for note in design.notes)


def test_the_general_profile_stands_for_none() -> None:
    comparison = rnncost.compare(network([("GRU", 4, 1)]), batches=[2])
    assert [estimate.profile for estimate in comparison.base.report.estimates] == [CPU]


def test_ratios_and_lists_as_words() -> None:
    assert [times(r) for r in (0, 0.754, 1, 12.3, 0.00123, 1234.5)] == [
        *("0.00x", "0.75x", "1.00x", "12.30x", "0.0012x", "1,234x"),
    ]
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a", "b", "c", "d"]) == "a, b and 2 more"
