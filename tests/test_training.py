"""Training in the report, on the command line, for ONNX models; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from count_graphs import Builder, activation, weight

import rnncost
from rnncost.cli.main import main
from rnncost.counting.count import count
from rnncost.errors import BindingError, ModelError, RnncostError
from rnncost.graph.ir import Carried, Graph, Op
from rnncost.report.html import render_html_fragment
from rnncost.report.markdown import render_markdown
from rnncost.report.model import Report, Training
from rnncost.report.schema import report_json_schema
from rnncost.report.table import render_table
from rnncost.report.training import training_columns
from rnncost.training.costing import TrainingCost, training_cost
from rnncost.training.options import Options, training_options

SPOTTER = str(Path(__file__).parent.parent / "examples" / "keyword_spotter.onnx")
Capture = pytest.CaptureFixture[str]


def spotter(**options: Any) -> Report:
    return rnncost.analyze(SPOTTER, profiles=(), training=True, **options)


def block(report: Report) -> Training:
    assert report.training is not None
    return report.training


def cost(graph: Graph, **options: Any) -> TrainingCost:
    return training_cost(graph, count(graph), None, Options(**options))


# The report


def test_a_report_holds_training_only_where_it_was_asked_for() -> None:
    assert rnncost.analyze(SPOTTER, profiles=()).training is None
    report = spotter()
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    jsonschema.Draft202012Validator(report_json_schema()).validate(report.to_dict())


def test_the_rows_make_the_totals() -> None:
    report = spotter()
    training = block(report)
    assert training.forward_macs == report.totals.macs
    for key in ("forward_macs", "backward_data_macs", "backward_weight_macs", "activation_bytes"):
        assert getattr(training, key) == sum(getattr(op, key) for op in training.ops), key
    assert training.parameter_bytes == report.totals.weight_bytes
    assert training.trained_params == report.totals.params
    assert training.optimizer_bytes == 2 * training.gradient_bytes == 8 * training.trained_params
    assert [op.implementation for op in training.ops] == ["oneDNN", "oneDNN", "native", "", ""]


def test_the_spotter_by_hand() -> None:
    """An LSTM, a bidirectional LSTM on its outputs, a GRU on those."""
    report = spotter()
    dims = {op.name: op.dims for op in report.ops}
    for op in block(report).ops[:3]:
        t, b, i, h, d, g = (dims[op.name][letter] for letter in "TBIHDG")
        inputs = 0 if op.name == "lstm" else t * b * d * g * h * i
        assert op.backward_weight_macs == t * b * d * g * h * (i + h)
        assert op.backward_data_macs == inputs + (t - 1) * b * d * g * h * h


def test_every_format_shows_the_step() -> None:
    report = spotter(optimizer="sgd-momentum")
    training = block(report)
    table = render_table(report, verbose=True)
    for text in (table, render_markdown(report), render_html_fragment(report)):
        for number in (training.step_macs, training.backward_data_macs, training.trained_params):
            assert f"{number:,}" in text
        assert "sgd" in text
        assert "training step" in text.lower()
    # GRU of 64 units on 96 inputs: 7·64 values and the input, 4 bytes each.
    assert f"gru: keeps {4 * (7 * 64 + 96)}·T·B bytes" in table
    columns = {c.title: c.cells for c in training_columns(report)}
    for title in ("forward", "backward data", "backward weight"):
        exact = [int(cell.replace(",", "")) for cell in columns[title]]
        assert sum(exact[:-1]) == exact[-1] > 0
    assert "training step" not in render_table(rnncost.analyze(SPOTTER, profiles=()))
    assert training_columns(rnncost.analyze(SPOTTER, profiles=())) == []


def test_lines_of_the_table_fit_a_terminal() -> None:
    for width in (80, 100):
        lines = render_table(spotter(), width=width).split("\n")
        start = lines.index("training step")
        assert max(map(len, lines[start:])) <= width


# The command line


def run(*arguments: str) -> int:
    return main(["analyze", SPOTTER, "--profile", "h100-sxm", *arguments])


def test_the_command_gives_the_same(capsys: Capture) -> None:
    assert run("--training", "--optimizer", "sgd", "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)["training"]
    expected = rnncost.analyze(SPOTTER, profiles="h100-sxm", training=True, optimizer="sgd")
    assert found == expected.to_dict()["training"]
    assert found["estimates"][0]["profile"] == "h100-sxm"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--bptt", "5"), "bptt is about training"),
        (("--checkpoint",), "checkpoint is about training"),
        (("--optimizer", "sgd"), "optimizer is about training"),
        (("--training", "--bptt", "5"), "bilstm runs backwards in time"),
        (("--training", "--checkpoint-steps", "5"), "bilstm runs backwards in time"),
        (("--training", "--bptt", "5", "--checkpoint"), "exclude each other"),
        (("--training", "--bptt", "0"), "--bptt"),
        (("--training", "--optimizer", "adagrad"), "--optimizer"),
        (("--training", "--precision", "int8"), "float numbers"),
    ],
)
def test_faults_are_one_sentence(arguments: tuple[str, ...], said: str, capsys: Capture) -> None:
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"optimizer": "adma"}, "did you mean 'adam'"),
        ({"bptt": 0}, "at least 1 step"),
        ({"bptt": 2.5}, "whole number"),
        ({"checkpoint": 0}, "at least 1 step"),
        ({"checkpoint": "4"}, "whole number"),
        ({"bptt": 3, "checkpoint": True}, "exclude each other"),
    ],
)
def test_the_function_refuses_what_makes_no_sense(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BindingError, match=said):
        spotter(**options)


def test_options_of_the_function() -> None:
    assert training_options(False, None, None, False) is None
    assert training_options(True, None, None, False) == Options(optimizer="adam")
    assert training_options(True, "sgd", 3, False) == Options(optimizer="sgd", bptt=3)
    assert training_options(True, None, None, True) == Options(segment=0)
    assert training_options(True, None, None, 7) == Options(segment=7)
    with pytest.raises(BindingError, match="bptt is about training"):
        training_options(False, None, 3, False)


# Graphs


def product_graph(*, frozen: bool = False) -> Graph:
    builder = Builder()
    x = activation("x", 5, 4)
    hidden = builder.add("MatMul", [x, weight("w", 4, 3)], (5, 3))
    squashed = builder.add("Tanh", [hidden], (5, 3))
    y = builder.add("MatMul", [squashed, weight("v", 3, 2)], (5, 2))
    return Graph(inputs=(x,), outputs=(y,), ops=tuple(builder.ops))


def test_two_products_by_hand() -> None:
    found = cost(product_graph())
    first, second = (row for row in found.rows if row.forward_macs)
    assert (first.forward_macs, second.forward_macs) == (60, 30)
    assert (first.backward_data_macs, first.backward_weight_macs) == (0, 60)
    assert (second.backward_data_macs, second.backward_weight_macs) == (30, 30)
    # The first product keeps the input, which is in memory anyway; tanh keeps its result.
    assert found.activation_bytes == 4 * 5 * 3
    assert found.trained_params == 4 * 3 + 3 * 2
    # Highest when the gradients of both matrices, of tanh and of y meet what is still there.
    assert found.peak.where.startswith("backward pass")


def test_weights_that_torch_says_are_frozen() -> None:
    graph = product_graph()
    found = training_cost(graph, count(graph), frozenset({"v"}), Options())
    assert [row.backward_data_macs for row in found.rows] == [0, 0, 0]
    assert [row.backward_weight_macs for row in found.rows] == [0, 0, 30]
    assert found.trained_params == 6
    with pytest.raises(ModelError, match="nothing to train"):
        training_cost(graph, count(graph), frozenset(), Options())


def loop_graph() -> Graph:
    inside = Builder("b")
    state = activation("s", 2, 3)
    grown = inside.add("MatMul", [state, weight("w", 3, 3)], (2, 3))
    body = Graph(
        inputs=(activation("i", dtype="int64"), activation("c", dtype="bool"), state),
        outputs=(activation("c", dtype="bool"), grown),
        ops=tuple(inside.ops),
    )
    builder = Builder()
    x, y = activation("x", 2, 3), activation("y", 2, 3)
    builder.loop(body, [None, None, x], [y], [("s", grown.name)], trips=7)
    return Graph(inputs=(x,), outputs=(y,), ops=tuple(builder.ops))


def test_products_in_a_loop_send_back_in_every_trip() -> None:
    found = cost(loop_graph())
    macs = 7 * 2 * 3 * 3
    rows = [row for row in found.rows if row.forward_macs]
    assert [row.forward_macs for row in rows] == [macs]
    assert rows[0].backward_weight_macs == rows[0].backward_data_macs == macs
    assert any("first trip" in note for note in found.notes)
    with pytest.raises(BindingError, match="needs recurrent layers"):
        cost(loop_graph(), bptt=2)


def test_what_a_loop_keeps_it_keeps_of_every_trip() -> None:
    """Each trip multiplies the state that the trip before left: [2, 3] in fp32."""
    found = cost(loop_graph())
    assert found.activation_bytes == 7 * 4 * 2 * 3
    assert sum(row.activation_bytes for row in found.rows) == found.activation_bytes
    assert found.peak.total_bytes > found.activation_bytes


def scan_graph(trips: int) -> Graph:
    """A plain RNN: a step takes a slice of the input, and hands on tanh(x·w + h·r)."""
    inside = Builder("b")
    x, h = activation("step", 2, 4), activation("h", 2, 3)
    wide = inside.add("MatMul", [x, weight("w", 4, 3)], (2, 3))
    deep = inside.add("MatMul", [h, weight("r", 3, 3)], (2, 3))
    both = inside.add("Add", [wide, deep], (2, 3))
    new = inside.add("Tanh", [both], (2, 3))
    body = Graph(inputs=(h, x), outputs=(new,), ops=tuple(inside.ops))
    builder = Builder()
    start, sequence = activation("h0", 2, 3), activation("x", trips, 2, 4)
    seen = builder.add("Tanh", [sequence], (trips, 2, 4))
    scaled = builder.add("Mul", [seen, weight("s", 4)], (trips, 2, 4))
    last = activation("last", 2, 3)
    builder.ops.append(
        Op(
            name="scan",
            op_type="Scan",
            inputs=(start, scaled),
            outputs=(last,),
            trips=trips,
            body=body,
            carried=(Carried("h", new.name),),
        )
    )
    return Graph(inputs=(start, sequence), outputs=(last,), ops=tuple(builder.ops))


@pytest.mark.parametrize("trips", [1, 5])
def test_steps_of_a_scan_are_views_of_its_sequence(trips: int) -> None:
    """Kept: tanh of the input for the product with s, the scaled sequence once, each state."""
    found = cost(scan_graph(trips))
    sequence, states = 4 * trips * 2 * 4, 4 * trips * 2 * 3
    assert found.activation_bytes == 2 * sequence + states
    assert sum(row.activation_bytes for row in found.rows) == found.activation_bytes


def test_a_layer_without_a_count_is_listed_and_runs_no_rule() -> None:
    builder = Builder()
    x = activation("x", 2, 4)
    made = builder.add("MatMul", [x, weight("w", 4, 3)], (2, 3))
    bare = msgspec.structs.replace(made, shape=None)
    weights = [weight("v", 1, 9, 3), weight("r", 1, 9, 3)]
    y = builder.add("GRU", [bare, *weights], (6, 1, 2, 3), name="gru", hidden_size=3)
    graph = Graph(inputs=(x,), outputs=(y,), ops=tuple(builder.ops))
    found = cost(graph)
    assert [(name, op_type) for name, op_type, _ in found.uncounted] == [("gru", "GRU")]
    assert any(note.startswith("taken to keep") and "GRU" in note for note in found.notes)
    with pytest.raises(BindingError, match="needs recurrent layers"):
        cost(graph, bptt=2)


def one_operator(op_type: str, **attrs: Any) -> Graph:
    """An operator on a trained value [2, 3]."""
    builder = Builder()
    x = activation("x", 2, 4)
    made = builder.add("MatMul", [x, weight("w", 4, 3)], (2, 3))
    y = builder.add(op_type, [made], (2, 3), **attrs)
    return Graph(inputs=(x,), outputs=(y,), ops=tuple(builder.ops))


def test_an_operator_without_a_rule_is_said() -> None:
    found = cost(one_operator("my::Strange"))
    assert found.uncounted == (
        ("my::Strange_1", "my::Strange", "no counting rule for this operator"),
    )
    assert any("my::Strange" in note for note in found.notes)
    # Taken to keep its input and its result.
    assert found.activation_bytes == 2 * 4 * 2 * 3


def test_products_without_a_backward_rule_are_listed() -> None:
    builder = Builder()
    x = activation("x", 2, 4)
    made = builder.add("MatMul", [x, weight("w", 4, 4)], (2, 4))
    y = builder.add("Einsum", [made, made, made], (2,), equation="bi,bi,bi->b")
    graph = Graph(inputs=(x,), outputs=(y,), ops=tuple(builder.ops))
    found = cost(graph)
    assert [(name, reason) for name, _, reason in found.uncounted] == [
        ("Einsum_1", "the backward pass of Einsum is not known")
    ]


@pytest.mark.parametrize(
    ("op_type", "tensors"),
    [("Sigmoid", 1), ("Gelu", 1), ("Neg", 0), ("ReduceMax", 2), ("Max", 0), ("Transpose", 0)],
)
def test_what_activations_keep(op_type: str, tensors: int) -> None:
    assert cost(one_operator(op_type)).activation_bytes == tensors * 4 * 2 * 3


@pytest.mark.parametrize(
    ("op_type", "dtype"), [("DequantizeLinear", "int8"), ("MatMulInteger", "int8")]
)
def test_quantised_models_are_refused(op_type: str, dtype: str) -> None:
    builder = Builder()
    x = activation("x", 2, 4)
    stored = weight("w", 4, 3, dtype=dtype)
    if op_type == "DequantizeLinear":
        scale = weight("s", 1)
        loose = activation("q", 4, 3, dtype=dtype)
        w = builder.add(op_type, [loose, scale], (4, 3))
        y = builder.add("MatMul", [x, w], (2, 3))
        inputs = (x, loose)
    else:
        whole = activation("i", 2, 4, dtype="uint8")
        y = builder.add(op_type, [whole, stored], (2, 3), dtype="int32")
        inputs = (x, whole)
    graph = Graph(inputs=inputs, outputs=(y,), ops=tuple(builder.ops))
    with pytest.raises(ModelError, match="is quantised"):
        cost(graph)


def layer_graph(**attrs: Any) -> Graph:
    builder = Builder()
    x = activation("x", 6, 2, 4)
    y = builder.add(
        "GRU",
        [x, weight("w", 1, 9, 4), weight("r", 1, 9, 3)],
        (6, 1, 2, 3),
        name="gru",
        hidden_size=3,
        **attrs,
    )
    return Graph(inputs=(x,), outputs=(y,), ops=tuple(builder.ops))


def test_windows_of_an_onnx_layer() -> None:
    # Two cuts more: two more steps whose state has no gradient.
    whole, cut = cost(layer_graph()), cost(layer_graph(), bptt=2)
    assert whole.rows[0].backward_data_macs == 5 * 2 * 9 * 3
    assert cut.rows[0].backward_data_macs == 3 * 2 * 9 * 3
    assert cut.window is not None
    assert (cut.window.window, cut.windows) == (2, 3)
    assert cut.activation_bytes == 2 * 2 * 7 * 3 * 4
    assert cost(layer_graph(), bptt=100).activation_bytes == whole.activation_bytes
    for options in ({"bptt": 2}, {"segment": 2}):
        with pytest.raises(BindingError, match="gru runs backwards"):
            cost(layer_graph(direction="reverse"), **options)


def test_layers_of_different_lengths_have_no_window() -> None:
    builder = Builder()
    x, z = activation("x", 6, 2, 4), activation("z", 5, 2, 4)
    weights = [weight("w", 1, 9, 4), weight("r", 1, 9, 3)]
    first = builder.add("GRU", [x, *weights], (6, 1, 2, 3), hidden_size=3)
    second = builder.add("GRU", [z, *weights], (5, 1, 2, 3), hidden_size=3)
    graph = Graph(inputs=(x, z), outputs=(first, second), ops=tuple(builder.ops))
    with pytest.raises(BindingError, match="one number of steps"):
        cost(graph, bptt=2)
    with pytest.raises(BindingError, match="needs recurrent layers"):
        cost(product_graph(), segment=0)


def test_errors_are_those_of_rnncost() -> None:
    with pytest.raises(RnncostError):
        rnncost.analyze(SPOTTER, profiles=(), training=True, bptt=3)


# Other models of PyTorch


@pytest.mark.torch
def test_an_exported_program_is_trained_as_it_was_exported() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
    module[0].weight.requires_grad_(False)
    x = torch.zeros(5, 4)
    exported = torch.export.export(module, (x,))
    found = block(rnncost.analyze(exported, profiles=(), training=True))
    same = block(rnncost.analyze(module, (x,), profiles=(), training=True))
    assert found.step_macs == same.step_macs
    assert found.trained_params == same.trained_params == 3 + 6 + 2


@pytest.mark.torch
def test_a_factory_is_trained(capsys: Capture) -> None:
    pytest.importorskip("torch")
    shape = ("--shape", "input=5x4", "--profile", "h100-sxm")
    assert main(["analyze", "torch_models:tiny_net", *shape, "--training", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["training"]
    assert found["trained_params"] == 4 * 3 + 3
    assert found["backward_weight_macs"] == 5 * 4 * 3


@pytest.mark.torch
def test_following_in_training_mode_leaves_the_module_alone() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6)).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    rnncost.analyze(module, (torch.randn(5, 4),), profiles=(), training=True)
    assert not any(one.training for one in module.modules())
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.is_grad_enabled()
