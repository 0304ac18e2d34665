"""RNN, GRU and LSTM against hand-computed tables, a counting simulator, ONNX Runtime and torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from counting_ops import check_formulas, cost_of, data, ints, make_op, params_by_formula, weight
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent_simulator import (
    Step,
    Tally,
    Weights,
    gru_step,
    lstm_step,
    rnn_step,
    run_layer,
)

from rnncost.counting.cost import OpCost, UncountableError
from rnncost.graph.dim import Expr, evaluate, symbol
from rnncost.graph.ir import Op, Tensor

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def layer(
    cell: str,
    t: Any = 5,
    b: Any = 2,
    i: int = 3,
    h: int = 4,
    *,
    bias: bool = True,
    peepholes: bool = False,
    p: int = 0,
    lengths: Tensor | None = None,
    dtype: str = "float32",
    **attrs: Any,
) -> Op:
    """A layer in ONNX form; ``p`` is PyTorch's projection."""
    g = GATES[cell.removesuffix("Cell")]
    d = 2 if attrs.get("direction") == "bidirectional" else 1
    width = p or h
    x = (b, t, i) if attrs.get("layout") else (t, b, i)
    inputs: list[Tensor | None] = [
        data(x, dtype),
        weight((d, g * h, i), dtype),
        weight((d, g * h, width), dtype),
        weight((d, 2 * g * h), dtype) if bias else None,
        lengths,
        None,
        None,
        weight((d, 3 * h), dtype) if peepholes else None,
    ]
    if p:
        inputs.append(weight((d, p, h), dtype))
        attrs["proj_size"] = p
    return make_op(cell, inputs, [(t, d, b, width)], hidden_size=h, **attrs)


def assert_counts(cost: OpCost, **expected: int) -> None:
    assert {name: getattr(cost, name) for name in expected} == expected


# T=5, B=2, I=3, H=4, P=2: 10 rows of one step. The columns of the definitions, times 10.
TABLE = {
    "RNN": (layer("RNN"), {"macs": 280, "sequential_macs": 160, "adds": 40, "activations": 40}),
    "GRU": (
        layer("GRU"),
        {"macs": 840, "sequential_macs": 480, "multiplies": 120, "adds": 200, "activations": 120},
    ),
    "LSTM": (
        layer("LSTM"),
        {"macs": 1120, "sequential_macs": 640, "multiplies": 120, "adds": 200, "activations": 200},
    ),
    "LSTM with peepholes": (
        layer("LSTM", peepholes=True),
        {"macs": 1120, "sequential_macs": 640, "multiplies": 240, "adds": 320, "activations": 200},
    ),
    "LSTM with projection": (
        layer("LSTM", p=2),
        {"macs": 880, "sequential_macs": 400, "multiplies": 120, "adds": 200, "activations": 200},
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_table_of_the_definitions(name: str) -> None:
    op, expected = TABLE[name]
    cost = cost_of(op)
    assert cost.kind == "recurrent"
    assert_counts(cost, dense_macs=expected["macs"], **expected)
    check_formulas(cost)


@pytest.mark.parametrize("name", TABLE)
def test_each_weight_is_used_once_a_step_and_row(name: str) -> None:
    op, expected = TABLE[name]
    peepholes = {7}
    matrices = [
        t
        for at, t in enumerate(op.inputs)
        if t is not None and t.stored and at not in {3} | peepholes
    ]
    elements = sum(int(np.prod(t.shape)) for t in matrices)
    assert expected["macs"] == 5 * 2 * elements


@pytest.mark.parametrize(
    ("cell", "stored", "textbook"),
    [
        # H=4, I=3: RNN H(I+H)=28, GRU 84, LSTM 112; one bias a gate, and two.
        (layer("RNN"), 28 + 8, 28 + 4),
        (layer("GRU"), 84 + 24, 84 + 12),
        (layer("LSTM"), 112 + 32, 112 + 16),
        (layer("LSTM", bias=False), 112, 112),
        (layer("LSTM", peepholes=True), 112 + 12 + 32, 112 + 12 + 16),
        (layer("LSTM", p=2), 80 + 8 + 32, 80 + 8 + 16),
        (layer("GRU", direction="bidirectional"), 2 * 108, 2 * 96),
        # 8H² when I = H and biases are dropped.
        (layer("LSTM", i=4, bias=False), 8 * 16, 8 * 16),
    ],
)
def test_parameters_stored_and_textbook(cell: Op, stored: int, textbook: int) -> None:
    cost = cost_of(cell)
    assert params_by_formula(cost) == stored
    assert cost.textbook_params == textbook


@pytest.mark.parametrize(("cell", "per_unit"), [("RNN", 2), ("GRU", 6), ("LSTM", 8)])
def test_bias_adds_are_one_for_each_stored_bias_element_step_and_row(
    cell: str, per_unit: int
) -> None:
    assert cost_of(layer(cell)).bias_adds == 5 * 2 * per_unit * 4
    assert cost_of(layer(cell, bias=False)).bias_adds == 0


@pytest.mark.parametrize("cell", GATES)
def test_two_directions_double_the_work_but_not_the_steps(cell: str) -> None:
    one, two = cost_of(layer(cell)), cost_of(layer(cell, direction="bidirectional"))
    for name in ("macs", "sequential_macs", "multiplies", "adds", "bias_adds", "activations"):
        assert getattr(two, name) == 2 * getattr(one, name)
    assert two.state_bytes == 2 * one.state_bytes
    assert (one.sequential_steps, one.executed_steps, one.lookahead_steps) == (5, 5, 0)
    assert (two.sequential_steps, two.executed_steps, two.lookahead_steps) == (5, 10, 4)
    assert two.dims["D"] == 2


def test_a_reverse_layer_needs_the_whole_future() -> None:
    assert cost_of(layer("GRU", direction="reverse")).lookahead_steps == 4
    assert cost_of(layer("GRU", t=1, direction="reverse")).lookahead_steps == 0


def test_layout_1_is_batch_first() -> None:
    first, second = cost_of(layer("LSTM")), cost_of(layer("LSTM", layout=1))
    assert first == second


@pytest.mark.parametrize(
    "attrs",
    [{"clip": 3.0}, {"activations": ("Relu", "Elu", "Affine")}, {"linear_before_reset": 1}],
)
def test_attributes_that_change_no_count(attrs: Mapping[str, Any]) -> None:
    assert cost_of(layer("GRU", **attrs)) == cost_of(layer("GRU"))


def test_coupled_gates_leave_the_forget_rows_out() -> None:
    # 3 gates: 10·3·4·7 MACs; f = 1-i is an add for the gate sum it saves; 6H bias elements.
    cost = cost_of(layer("LSTM", input_forget=1))
    assert_counts(
        cost,
        macs=840,
        dense_macs=1120,
        sequential_macs=480,
        multiplies=120,
        adds=200,
        bias_adds=240,
        activations=160,
    )
    check_formulas(cost)


def test_known_lengths_count_live_rows() -> None:
    # 3 + 5 + 0 = 8 of 15 rows are live.
    cost = cost_of(layer("LSTM", b=3, lengths=ints(3, 5, 0), direction="bidirectional"))
    assert cost.macs == 8 * 2 * 16 * 7
    assert cost.dense_macs == 15 * 2 * 16 * 7
    assert (cost.adds, cost.activations, cost.bias_adds) == (8 * 40, 8 * 40, 8 * 64)
    assert cost.extents == {"L": 8}
    assert cost.notes == ()
    check_formulas(cost)


def test_the_longest_live_length_bounds_the_steps() -> None:
    cost = cost_of(layer("GRU", lengths=ints(2, 3), direction="bidirectional"))
    assert (cost.sequential_steps, cost.executed_steps, cost.lookahead_steps) == (3, 6, 2)
    assert cost.weight_reads == {2: 3}


def test_full_lengths_are_written_in_t_and_b() -> None:
    cost = cost_of(layer("GRU", lengths=ints(5, 5)))
    assert cost == cost_of(layer("GRU"))


def test_unknown_lengths_are_counted_in_full_and_noted() -> None:
    cost = cost_of(layer("LSTM", lengths=data((2,), "int32")))
    assert cost.macs == cost.dense_macs == 1120
    assert "sequence lengths unknown" in cost.notes[0]


def test_packed_sequences_count_their_batch_sizes() -> None:
    cost = cost_of(layer("LSTM", t=4, b=3, batch_sizes=(3, 2, 2, 1)))
    assert (cost.macs, cost.dense_macs) == (8 * 112, 12 * 112)
    assert cost.sequential_steps == 4
    check_formulas(cost)


def test_traffic_and_state() -> None:
    lstm, half = cost_of(layer("LSTM")), cost_of(layer("LSTM", dtype="float16"))
    assert (lstm.state_bytes, half.state_bytes) == (2 * 2 * 4 * 4, 2 * 2 * 4 * 2)
    assert lstm.scratch_bytes == 5 * 2 * 16 * 4
    assert cost_of(layer("GRU")).state_bytes == 2 * 4 * 4
    assert cost_of(layer("LSTM", p=2)).state_bytes == 2 * (4 + 2) * 4
    assert cost_of(layer("LSTM", p=2)).weight_reads == {2: 5, 8: 5}
    two = cost_of(layer("RNN", direction="bidirectional"))
    assert two.scratch_bytes == cost_of(layer("RNN")).scratch_bytes == 5 * 2 * 4 * 4


@pytest.mark.parametrize("cell", GATES)
def test_a_cell_is_a_layer_of_one_step(cell: str) -> None:
    assert cost_of(layer(f"{cell}Cell", t=1)) == cost_of(layer(cell, t=1))


def test_formulas_read_as_the_definitions_do() -> None:
    assert cost_of(layer("LSTM")).formulas["macs"] == "T*B*D*4*H*(I+H)"
    assert cost_of(layer("GRU")).formulas["sequential_macs"] == "T*B*D*3*H*H"
    assert cost_of(layer("LSTM", p=2)).formulas["macs"] == "T*B*D*(4*H*(I+P)+P*H)"
    assert cost_of(layer("RNN", lengths=ints(1, 5))).formulas["adds"] == "L*D*H"
    assert cost_of(layer("LSTM", input_forget=1)).formulas["dense_macs"] == "T*B*D*4*H*(I+H)"


def test_weights_of_unknown_shape_fall_back_to_the_attribute() -> None:
    full = layer("LSTM", bias=False)
    unknown = Tensor(name="r", dtype="float32", shape=None)
    op = make_op("LSTM", [full.inputs[0], unknown, unknown], [(5, 1, 2, 4)], hidden_size=4)
    assert cost_of(op).macs == 1120


def test_dynamic_quantize_lstm_has_transposed_weights() -> None:
    op = make_op(
        "com.microsoft::DynamicQuantizeLSTM",
        [
            data((40, 1, 128)),
            weight((2, 128, 1024), "int8"),
            weight((2, 256, 1024), "int8"),
            weight((2, 2048)),
            None,
            None,
            None,
            None,
            weight((2,)),
            weight((2,), "int8"),
            weight((2,)),
            weight((2,), "int8"),
        ],
        [(40, 2, 1, 256)],
        hidden_size=256,
        direction="bidirectional",
    )
    cost = cost_of(op)
    assert cost.macs == 40 * 2 * 1024 * (128 + 256)
    assert cost.bias_adds == 40 * 2 * 2048
    assert params_by_formula(cost) == 2 * (1024 * 384 + 2048)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({0: data((5, 2, 7))}, "W takes 3 features, X has 7"),
        ({0: data((5, 2))}, "X has 2 dimensions where 3 are due"),
        ({0: None}, "input 0 is missing"),
        ({0: data(None)}, "the shape of input 0"),
        ({1: weight((1, 15, 3))}, "W has 15 rows"),
        ({1: weight((2, 16, 3))}, "W has 2 directions, the operator 1"),
        ({2: weight((1, 15, 4))}, "R has 15 rows"),
        ({2: weight((1, 16, 5))}, "R has 16 rows"),
        ({3: weight((1, 16))}, "B has 16 elements where 32 are due"),
        ({7: weight((1, 4))}, "P has 4 elements where 12 are due"),
        ({4: ints(5, 5, 5)}, "3 sequence lengths for a batch of 2"),
        ({4: ints(5, 6)}, "sequence length 6 does not lie in 0 … 5"),
        ({4: ints(5, -1)}, "sequence length -1"),
    ],
)
def test_contradictions_are_refused_with_the_reason(
    change: dict[int, Tensor | None], reason: str
) -> None:
    good = layer("LSTM")
    inputs = [change.get(at, tensor) for at, tensor in enumerate(good.inputs)]
    with pytest.raises(UncountableError, match=reason):
        cost_of(make_op("LSTM", inputs, [(5, 1, 2, 4)], hidden_size=4))


def test_contradictory_attributes_are_refused() -> None:
    op = layer("LSTM")
    with pytest.raises(UncountableError, match="hidden_size is 5, but R is made for 4"):
        cost_of(make_op("LSTM", op.inputs, [None], hidden_size=5))
    with pytest.raises(UncountableError, match="'sideways'"):
        cost_of(make_op("LSTM", op.inputs, [None], direction="sideways"))


# --- against the simulator, whose outputs are held against ONNX Runtime and torch below


def _weights(cell: str, i: int, h: int, bias: bool, peepholes: bool, p: int) -> Weights:
    rng = np.random.default_rng(7)
    g = GATES[cell]
    return Weights(
        rng.normal(size=(g * h, i)),
        rng.normal(size=(g * h, p or h)),
        rng.normal(size=2 * g * h) if bias else None,
        rng.normal(size=3 * h) if peepholes else None,
        rng.normal(size=(p, h)) if p else None,
    )


def _step(cell: str, weights: Weights, h: int, coupled: bool, before_reset: bool) -> Step:
    if cell == "LSTM":
        return lstm_step(weights, h, coupled)
    if cell == "GRU":
        return gru_step(weights, h, before_reset)
    return rnn_step(weights, h)


@settings(max_examples=150, deadline=None)
@given(
    cell=st.sampled_from(list(GATES)),
    t=st.integers(1, 5),
    i=st.integers(1, 4),
    h=st.integers(1, 4),
    directions=st.sampled_from(["forward", "reverse", "bidirectional"]),
    bias=st.booleans(),
    peepholes=st.booleans(),
    coupled=st.booleans(),
    before_reset=st.booleans(),
    p=st.integers(0, 3),
    data_=st.data(),
)
def test_counts_equal_those_of_the_simulator(
    cell: str,
    t: int,
    i: int,
    h: int,
    directions: str,
    bias: bool,
    peepholes: bool,
    coupled: bool,
    before_reset: bool,
    p: int,
    data_: st.DataObject,
) -> None:
    lstm = cell == "LSTM"
    peepholes, coupled, p = peepholes and lstm, coupled and lstm, p if lstm and p < h else 0
    lengths = data_.draw(st.lists(st.integers(0, t), min_size=1, max_size=3))
    weights = _weights(cell, i, h, bias, peepholes, p)
    count = 2 if directions == "bidirectional" else 1
    tally = Tally()
    run_layer(
        tally,
        [_step(cell, weights, h, coupled, before_reset)] * count,
        np.ones((t, len(lengths), i)),
        (p or h, h) if lstm else (h,),
        lengths,
    )
    cost = cost_of(
        layer(
            cell,
            t,
            len(lengths),
            i,
            h,
            bias=bias,
            peepholes=peepholes,
            p=p,
            lengths=ints(*lengths),
            direction=directions,
            input_forget=int(coupled),
            linear_before_reset=int(before_reset),
        )
    )
    assert_counts(
        cost,
        macs=tally.macs,
        sequential_macs=tally.recurrent_macs,
        multiplies=tally.multiplies,
        adds=tally.adds,
        bias_adds=tally.bias_adds,
        activations=tally.activations,
        sequential_steps=max(lengths),
    )
    check_formulas(cost)


@pytest.mark.parametrize(
    ("cell", "case"),
    [
        ("RNN", {}),
        ("RNN", {"direction": "bidirectional", "lengths": [4, 2]}),
        ("GRU", {}),
        ("GRU", {"linear_before_reset": 1, "direction": "reverse"}),
        ("GRU", {"linear_before_reset": 1, "lengths": [3, 4], "bias": False}),
        ("LSTM", {}),
        ("LSTM", {"bias": False, "direction": "bidirectional"}),
        ("LSTM", {"peepholes": True, "lengths": [2, 4]}),
        ("LSTM", {"input_forget": 1}),
        ("LSTM", {"input_forget": 1, "peepholes": True}),
    ],
)
def test_the_simulator_computes_what_onnx_runtime_computes(cell: str, case: Any) -> None:
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    t, b, i, h = 4, 2, 3, 5
    options = dict(case)
    lengths = options.pop("lengths", [t] * b)
    bias, peepholes = options.pop("bias", True), options.pop("peepholes", False)
    direction = options.get("direction", "forward")
    weights = _weights(cell, i, h, bias, peepholes, 0)
    step = _step(
        cell,
        weights,
        h,
        options.get("input_forget", 0) == 1,
        options.get("linear_before_reset", 0) == 1,
    )
    d = 2 if direction == "bidirectional" else 1
    x = np.random.default_rng(3).normal(size=(t, b, i)).astype(np.float32)
    lstm = cell == "LSTM"
    y = run_layer(Tally(), [step] * d, x, (h, h) if lstm else (h,), lengths, direction == "reverse")

    stored = {"W": weights.w, "R": weights.r, "B": weights.b, "": None, "P": weights.p}
    tensors = [
        numpy_helper.from_array(np.stack([value] * d).astype(np.float32), name)
        for name, value in stored.items()
        if value is not None
    ]
    tensors.append(numpy_helper.from_array(np.array(lengths, np.int32), "lens"))
    names = ["x", "W", "R", "B" if bias else "", "lens", "", "", "P" if peepholes else ""]
    node = helper.make_node(cell, names[: 8 if lstm else 5], ["y"], hidden_size=h, **options)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y.shape)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"x": x})
    np.testing.assert_allclose(got, y, atol=1e-5)


@pytest.mark.torch
def test_the_simulator_computes_torchs_projection() -> None:
    torch = pytest.importorskip("torch")
    t, b, i, h, p = 4, 2, 3, 5, 2
    module = torch.nn.LSTM(i, h, proj_size=p).double()
    state = {name: value.detach().numpy() for name, value in module.named_parameters()}
    order = [0, 3, 1, 2]  # torch keeps i, f, g, o; ONNX i, o, f, c

    def gates(name: str) -> np.ndarray:
        parts = np.split(state[name], 4)
        return np.concatenate([parts[at] for at in order])

    weights = Weights(
        gates("weight_ih_l0"),
        gates("weight_hh_l0"),
        np.concatenate([gates("bias_ih_l0"), gates("bias_hh_l0")]),
        None,
        state["weight_hr_l0"],
    )
    x = torch.randn(t, b, i, dtype=torch.float64)
    y = run_layer(Tally(), [lstm_step(weights, h, False)], x.numpy(), (p, h), [t] * b)
    np.testing.assert_allclose(module(x)[0].detach().numpy(), y[:, 0], atol=1e-12)


@pytest.mark.torch
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("cell", "p"), [("RNN", 0), ("GRU", 0), ("LSTM", 0), ("LSTM", 3)])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_params_equal_torchs(cell: str, p: int, direction: str, bias: bool) -> None:
    torch = pytest.importorskip("torch")
    options: dict[str, Any] = {"bias": bias, "bidirectional": direction == "bidirectional"}
    if p:
        options["proj_size"] = p
    module = getattr(torch.nn, cell)(6, 5, **options)
    cost = cost_of(layer(cell, i=6, h=5, bias=bias, p=p, direction=direction))
    assert params_by_formula(cost) == sum(v.numel() for v in module.parameters())


@pytest.mark.torch
@pytest.mark.parametrize("cell", GATES)
def test_macs_equal_those_torch_counts_in_a_loop_over_the_cell(cell: str) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    t, b, i, h = 4, 2, 6, 5
    module = getattr(torch.nn, f"{cell}Cell")(i, h)
    state = None
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for x in torch.randn(t, b, i):
            state = module(x, state)
    assert 2 * cost_of(layer(cell, t, b, i, h)).macs == counter.get_total_flops()


@settings(max_examples=60, deadline=None)
@given(
    cell=st.sampled_from(list(GATES)),
    t=st.integers(1, 40),
    b=st.integers(1, 9),
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    p=st.integers(0, 2),
)
def test_free_dimensions_count_as_integers_do(
    cell: str, t: int, b: int, direction: str, p: int
) -> None:
    p = p if cell == "LSTM" else 0
    symbolic = cost_of(layer(cell, symbol("t", 97), symbol("b", 7), p=p, direction=direction))
    plain = cost_of(layer(cell, t, b, p=p, direction=direction))
    bindings = {"t": t, "b": b}
    assert isinstance(symbolic.macs, Expr)
    for name in TABLE["GRU"][1] | {"state_bytes": 0, "scratch_bytes": 0, "lookahead_steps": 0}:
        assert evaluate(getattr(symbolic, name), bindings) == getattr(plain, name)
    assert symbolic.formulas == plain.formulas
    assert symbolic.textbook_params == plain.textbook_params
    check_formulas(symbolic, bindings)
