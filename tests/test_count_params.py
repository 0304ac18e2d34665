"""Parameters are stored elements, each once, wherever and however they are used."""

from __future__ import annotations

import numpy as np
import pytest
from count_graphs import Builder, activation, known, view, weight
from hypothesis import given
from hypothesis import strategies as st

from rnncost.counting.count import Counted, count
from rnncost.graph.ir import Op, Slab, Tensor

X = activation("x", 2, 8)


def params(counted: Counted) -> dict[str, int]:
    return {row.name: row.counts.params for row in counted.ops if row.counts.params}


def test_a_weight_used_twice_counts_once_at_its_first_use() -> None:
    b = Builder()
    w = weight("w", 8, 8)
    y = b.add("MatMul", (X, w), (2, 8), name="first")
    z = b.add("MatMul", (y, w), (2, 8), name="second")
    counted = count(b.graph((X,), (z,)))
    assert params(counted) == {"first": 64}
    assert counted.totals.params == counted.totals.active_params == 64
    assert counted.totals.weight_bytes == 256


def test_an_embedding_tied_to_the_output_layer_counts_once() -> None:
    ids, table = activation("ids", 2, dtype="int64"), weight("table", 50, 8)
    b = Builder()
    y = b.add("Gather", (table, ids), (2, 8), name="embed")
    turned = view("turned", table.stored[0], shape=(8, 50))
    b.add("Transpose", (table,), turned, name="turn")
    logits = b.add("MatMul", (y, turned), (2, 50), name="project")
    counted = count(b.graph((ids,), (logits,)))
    assert params(counted) == {"embed": 400}
    assert counted.totals.weight_bytes == 1600
    assert counted.totals.macs == 2 * 8 * 50


def test_only_the_rows_that_are_used_count() -> None:
    b = Builder()
    slab = Slab("w", "float32", ((0, 8, 1), (4, 12, 1)))
    y = b.add("MatMul", (X, view("a", slab)), (2, 8), name="one")
    slab = Slab("w", "float32", ((0, 8, 1), (0, 8, 1)))
    z = b.add("MatMul", (y, view("b", slab)), (2, 8), name="other")
    counted = count(b.graph((X,), (z,)))
    assert params(counted) == {"one": 64, "other": 32}


@st.composite
def uses(draw: st.DrawFn) -> list[tuple[tuple[tuple[int, int, int], ...], bool]]:
    """Slabs of one tensor [6, 8], each used by an operator that runs or only is stored."""
    result = []
    for _ in range(draw(st.integers(1, 5))):
        ranges = []
        for extent in (6, 8):
            start, stop = sorted((draw(st.integers(0, extent)), draw(st.integers(0, extent))))
            ranges.append((start, stop, draw(st.integers(1, 3))))
        result.append((tuple(ranges), draw(st.booleans())))
    return result


@given(uses())
def test_totals_are_the_union_and_rows_their_parts(
    case: list[tuple[tuple[tuple[int, int, int], ...], bool]],
) -> None:
    stored, active = np.zeros((6, 8), dtype=bool), np.zeros((6, 8), dtype=bool)
    b = Builder()
    for ranges, runs in case:
        part = view("part", Slab("w", "float16", ranges))
        x = activation("x", *part.shape)
        b.add("Concat", (x, part), (2 * part.shape[0], part.shape[1]), executions=int(runs))
        part_of = tuple(slice(*r) for r in ranges)
        stored[part_of] = True
        active[part_of] |= runs
    counted = count(b.graph((activation("x", 6, 8),), ()))
    totals = counted.totals
    assert (totals.params, totals.active_params) == (stored.sum(), active.sum())
    assert totals.weight_bytes == 2 * stored.sum()
    assert sum(row.counts.params for row in counted.ops) == stored.sum()
    assert sum(row.counts.active_params for row in counted.ops) == active.sum()


def test_a_branch_not_taken_is_stored_but_not_active() -> None:
    b = Builder()
    shared, other = weight("shared", 8, 8), weight("other", 8, 8)
    b.add("MatMul", (X, shared), (2, 8), name="idle shared", executions=0)
    b.add("MatMul", (X, other), (2, 8), name="idle", executions=0)
    y = b.add("MatMul", (X, shared), (2, 8), name="taken")
    counted = count(b.graph((X,), (y,)))
    assert params(counted) == {"idle shared": 64, "idle": 64}
    assert {r.name: r.counts.active_params for r in counted.ops if r.counts.active_params} == {
        "taken": 64
    }
    assert counted.totals.macs == 2 * 64
    assert counted.coverage == 1.0
    assert counted.totals.weight_bytes == 512
    assert counted.totals.compulsory_bytes == 256 + 2 * 64


def test_an_idle_operator_that_cannot_be_counted_is_not_uncounted() -> None:
    b = Builder()
    b.add("made::Up", (X, weight("w", 3)), Tensor("y", "float32", None), executions=0)
    counted = count(b.graph((X,), ()))
    assert counted.uncounted == ()
    assert (counted.totals.params, counted.totals.active_params) == (3, 0)


def test_statistics_take_bytes_but_are_no_parameters() -> None:
    image = activation("x", 1, 4, 6, 6)
    b = Builder()
    stored = (weight("scale", 4), weight("bias", 4), weight("mean", 4), weight("var", 4))
    y = b.add("BatchNormalization", (image, *stored), (1, 4, 6, 6))
    totals = count(b.graph((image,), (y,))).totals
    assert (totals.params, totals.weight_bytes) == (8, 64)


def test_quantised_weights_count_by_element_and_scales_apart() -> None:
    b = Builder()
    q, scale, zero = (
        weight("q", 8, 8, dtype="int8"),
        weight("s", 8),
        weight("z", 8, dtype="int8"),
    )
    real = Tensor("real", "float32", (8, 8), stored=q.stored)
    b.add("DequantizeLinear", (q, scale, zero), real, name="dequantise", axis=1)
    y = b.add("MatMul", (X, real), (2, 8), name="product")
    counted = count(b.graph((X,), (y,)))
    assert params(counted) == {"product": 64}
    assert counted.totals.quantization_params == 16
    assert counted.totals.weight_bytes == 64 + 32 + 8
    assert counted.totals.multiplies == 0
    product = next(row for row in counted.ops if row.name == "product")
    assert product.precision == "int8"


def test_integer_products_have_parameters_too() -> None:
    x = activation("x", 2, 8, dtype="uint8")
    b = Builder()
    y = b.add("MatMulInteger", (x, weight("q", 8, 8, dtype="int8")), (2, 8), dtype="int32")
    totals = count(b.graph((x,), (y,))).totals
    assert (totals.params, totals.weight_bytes) == (64, 64)


def test_weights_packed_into_bytes_count_by_weight() -> None:
    b = Builder()
    packed = weight("q", 16, 2, 8, dtype="uint8")
    inputs = (activation("x", 1, 32), packed, weight("s", 16 * 2))
    y = b.add("com.microsoft::MatMulNBits", inputs, (1, 16), K=32, N=16, bits=4, block_size=16)
    counted = count(b.graph((inputs[0],), (y,)))
    assert counted.totals.params == 32 * 16
    assert counted.totals.weight_bytes == 16 * 2 * 8 + 32 * 4
    assert counted.totals.quantization_params == 32
    assert counted.ops[0].precision == "int4"


def test_four_bit_elements_are_stored_packed() -> None:
    b = Builder()
    q = weight("q", 3, 3, dtype="uint4")
    real = Tensor("real", "float32", (3, 3), stored=q.stored)
    y = b.add("MatMul", (activation("x", 1, 3), real), (1, 3))
    totals = count(b.graph((activation("x", 1, 3),), (y,))).totals
    assert (totals.params, totals.weight_bytes) == (9, 5)


@pytest.mark.parametrize(
    ("op_type", "stored", "expected"),
    [
        ("Mul", weight("factor", 1), 0),
        ("Add", weight("epsilon"), 0),
        ("Add", weight("bias", 8), 8),
        ("Gather", weight("index", 1, dtype="int64"), 0),
        ("Mul", weight("mask", 8, dtype="bool"), 0),
        ("PRelu", weight("slope", 1), 1),
    ],
)
def test_constants_of_formulas_are_no_parameters(
    op_type: str, stored: Tensor, expected: int
) -> None:
    b = Builder()
    y = b.add(op_type, (X, stored), (2, 8))
    assert count(b.graph((X,), (y,))).totals.params == expected


@pytest.mark.parametrize(("dtype", "expected"), [("float32", 12), ("int8", 12), ("int64", 0)])
def test_a_table_of_indices_is_no_embedding(dtype: str, expected: int) -> None:
    b = Builder()
    ids = activation("ids", 2, dtype="int64")
    y = b.add("Gather", (weight("table", 4, 3, dtype=dtype), ids), (2, 3), dtype=dtype)
    assert count(b.graph((ids,), (y,))).totals.params == expected


def test_the_bias_of_a_single_unit_is_a_parameter() -> None:
    b = Builder()
    y = b.add("MatMul", (X, weight("w", 8, 1)), (2, 1))
    z = b.add("Add", (y, weight("b", 1)), (2, 1))
    assert count(b.graph((X,), (z,))).totals.params == 9


def test_zero_states_are_no_parameters_and_learned_ones_are() -> None:
    x = activation("x", 5, 1, 3)
    matrices = (weight("W", 1, 8, 3), weight("R", 1, 8, 8))
    zeros = Tensor("h", "float32", (1, 1, 8), weight("h", 1, 1, 8).stored, (0.0,) * 8)
    large = Tensor("many", "float32", (1, 900, 8), zeros.stored)
    spread = Tensor("h", "float32", (1, 1, 8), (Slab("zero", "float32", ()),))
    for state, expected in ((zeros, 88), (spread, 88), (weight("h", 1, 1, 8), 96)):
        b = Builder()
        y = b.add("RNN", (x, *matrices, None, None, state), (5, 1, 1, 8), hidden_size=8)
        assert count(b.graph((x,), (y,))).totals.params == expected
    # The states of 900 rows are too many to be known, the one row that they repeat is.
    b = Builder()
    x = activation("x", 5, 900, 3)
    b.add("Expand", (zeros, known("shape", 1, 900, 8)), large)
    y = b.add("RNN", (x, *matrices, None, None, large), (5, 1, 900, 8), hidden_size=8)
    assert count(b.graph((x,), (y,))).totals.params == 88


def zero_state(name: str, *shape: int) -> Tensor:
    stored = weight(name, *shape).stored
    return Tensor(name, "float32", shape, stored, (0.0,) * int(np.prod(shape)))


def test_zero_states_of_unrolled_cells_are_no_parameters() -> None:
    """PyTorch's exporter stores the zeros of a cell's first step, or one copy for each use."""
    b = Builder()
    h = zero_state("h", 2, 8)
    y = b.add("MatMul", (h, weight("R", 8, 8)), (2, 8), name="product")
    y = b.add("Mul", (b.add("Sigmoid", (y,), (2, 8)), zero_state("c", 2, 8)), (2, 8))
    y = b.add("Mul", (b.add("Sub", (zero_state("copy", 2, 8), y), (2, 8)), y), (2, 8))
    y = b.add("Add", (b.add("Add", (X, h), (2, 8)), y), (2, 8))
    counted = count(b.graph((X,), (y,)))
    assert params(counted) == {"product": 64}


def test_zeros_that_are_added_or_scale_a_vector_are_parameters() -> None:
    """A bias or a scale may be zero before training."""
    b = Builder()
    y = b.add("Add", (X, zero_state("table", 2, 8)), (2, 8), name="table")
    y = b.add("Mul", (y, zero_state("scale", 8)), (2, 8), name="scale")
    y = b.add("Add", (y, zero_state("bias", 8)), (2, 8), name="bias")
    assert params(count(b.graph((X,), (y,)))) == {"table": 16, "scale": 8, "bias": 8}


def test_a_number_in_a_formula_that_is_settled_before_the_run_is_no_parameter() -> None:
    """1/√d, as exporters write attention: d is read from a shape."""
    b = Builder()
    d = b.add("Shape", (X,), Tensor("d", "int64", (1,), value=(8,)))
    d = b.add("Cast", (d,), Tensor("real", "float32", (1,), value=(8.0,)))
    one = weight("one", 1, value=(1.0,))
    scale = b.add("Div", (one, d), Tensor("scale", "float32", (1,), value=(0.125,)))
    y = b.add("Mul", (X, scale), (2, 8))
    assert count(b.graph((X,), (y,))).totals.params == 0


@pytest.mark.parametrize("per_channel", [True, False])
def test_scales_of_dynamically_quantised_products_are_no_parameters(per_channel: bool) -> None:
    """The scale of the input, found during the run, times the stored scales of the weights."""
    b = Builder()
    scale, zero = Tensor("s", "float32", ()), Tensor("z", "uint8", ())
    q = b.add("DynamicQuantizeLinear", (X,), Tensor("q", "uint8", (2, 8)), scale, zero)
    w, z = weight("w", 8, 4, dtype="int8"), weight("wz", 4, dtype="int8")
    y = b.add("MatMulInteger", (q, w, zero, z), (2, 4), dtype="int32", name="product")
    stored = weight("ws", 4) if per_channel else weight("ws")
    both = b.add("Mul", (scale, stored), stored.shape or (), name="scales")
    y = b.add("Mul", (b.add("Cast", (y,), (2, 4)), both), (2, 4))
    counted = count(b.graph((X,), (y,)))
    assert params(counted) == {"product": 32}
    assert counted.totals.quantization_params == 4 + (4 if per_channel else 1)


@pytest.mark.parametrize(("op_type", "width", "expected"), [("Mul", 8, 0), ("Add", 1, 1)])
def test_a_quantised_number_is_a_constant_and_a_quantised_bias_a_parameter(
    op_type: str, width: int, expected: int
) -> None:
    b = Builder()
    x = activation("x", 2, width, dtype="uint8")
    scale, zero = weight("s"), weight("z", dtype="uint8")
    one = weight("one", 1, dtype="uint8")
    inputs = (x, scale, zero, one, scale, zero, scale, zero)
    y = b.add(f"com.microsoft::QLinear{op_type}", inputs, (2, width), dtype="uint8")
    totals = count(b.graph((x,), (y,))).totals
    assert totals.params == expected
    assert totals.quantization_params == 2


def test_work_on_stored_tensors_alone_is_done_before_the_run() -> None:
    """w = g·v/|v|: the parts are parameters, the arithmetic costs nothing."""
    b = Builder()
    v, g = weight("v", 8, 8), weight("g", 8, 1)
    scaled = b.add("Mul", (v, g), (8, 8), name="scale")
    y = b.add("MatMul", (X, scaled), (2, 8), name="product")
    counted = count(b.graph((X,), (y,)))
    assert counted.totals.params == 72
    assert counted.totals.multiplies == 0
    assert counted.ops[0].cost.kind == "constant"
    # The product still reads the 8 x 8 matrix that was made.
    assert counted.totals.streamed_bytes == 256 + 2 * 64
    assert counted.totals.macs == 128


def test_known_values_cost_nothing() -> None:
    b = Builder()
    shape = b.add("Shape", (X,), Tensor("shape", "int64", (2,), value=(2, 8)))
    size = b.add("Mul", (shape, known("two", 2)), Tensor("size", "int64", (2,), value=(4, 16)))
    y = b.add("Reshape", (X, size), (4, 4))
    counted = count(b.graph((X,), (y,)))
    assert [row.cost.kind for row in counted.ops] == ["constant", "constant", "data"]
    assert counted.totals.activation_bytes == 64


def test_an_input_whose_value_the_caller_gave_is_still_an_input() -> None:
    rate = Tensor("rate", "int64", (), value=(16000,))
    b = Builder()
    is_wide = Tensor("wide", "bool", (), value=(True,))
    b.add("Equal", (rate, known("k", 16000)), is_wide)
    counted = count(b.graph((rate,), (is_wide,)))
    assert counted.totals.adds == 1
    assert counted.totals.activation_bytes == 8 + 1


def test_what_is_not_counted_is_listed_with_its_weights() -> None:
    b = Builder()
    y = b.add("made::Up", (X, weight("w", 5)), (2, 8), name="strange")
    z = b.add("Relu", (y,), Tensor("z", "float32", None), name="shapeless")
    b.add("Relu", (X,), (2, 8))
    counted = count(b.graph((X,), (z,)))
    assert [(u.name, u.op_type) for u in counted.uncounted] == [
        ("strange", "made::Up"),
        ("shapeless", "Relu"),
    ]
    assert "rule" in counted.uncounted[0].reason
    assert "z" in counted.uncounted[1].reason
    assert counted.coverage == pytest.approx(1 / 3)
    assert counted.totals.params == 5
    row = next(row for row in counted.ops if row.name == "strange")
    assert "only its weights" in row.cost.notes[0]


def test_a_loop_without_its_body_is_uncounted() -> None:
    op = Op(name="loop", op_type="Loop", inputs=(), outputs=(activation("y", 2),))
    b = Builder()
    b.ops.append(op)
    counted = count(b.graph((), ()))
    assert [u.op_type for u in counted.uncounted] == ["Loop"]
    assert counted.coverage == 0.0


def test_an_empty_graph() -> None:
    counted = count(Builder().graph((), ()))
    assert counted.coverage == 1.0
    assert counted.totals.macs == 0
    assert counted.streamable
    assert counted.wavefront_steps == 0


def test_a_stored_tensor_that_leaves_the_graph_counts() -> None:
    w = weight("w", 4)
    out = Tensor("out", "float32", (4,), stored=w.stored)
    b = Builder()
    b.add("Identity", (w,), out)
    totals = count(b.graph((), (out,))).totals
    assert (totals.params, totals.weight_bytes) == (4, 16)
