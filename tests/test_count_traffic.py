"""Bytes moved, bytes alive, and the sums of rows."""

from __future__ import annotations

import pytest
from count_graphs import Builder, activation, known, lstm_cell, rnn_cell, steps_of, view, weight
from hypothesis import given
from hypothesis import strategies as st

from rnncost.counting.count import Counted, Counts, count
from rnncost.counting.scope import apply_rules
from rnncost.graph.dim import evaluate, symbol
from rnncost.graph.ir import Graph, Slab, Tensor

SUMS = (
    "params",
    "active_params",
    "quantization_params",
    "weight_bytes",
    "macs",
    "dense_macs",
    "parallel_macs",
    "sequential_macs",
    "multiplies",
    "adds",
    "bias_adds",
    "activations",
    "activation_bytes",
    "state_bytes",
    "compulsory_bytes",
    "streamed_bytes",
)
LARGEST = ("peak_activation_bytes", "lookahead_steps")


def row(counted: Counted, name: str) -> Counts:
    return next(row.counts for row in counted.ops if row.name == name)


def test_a_layer_moves_its_input_its_weights_and_its_output() -> None:
    x = activation("x", 4, 8)
    b = Builder()
    y = b.add("Gemm", (x, weight("w", 8, 16), weight("c", 16)), (4, 16), name="dense")
    z = b.add("Relu", (y,), (4, 16), name="relu")
    counted = count(b.graph((x,), (z,)))
    dense, relu = row(counted, "dense"), row(counted, "relu")
    x_bytes, w_bytes, y_bytes = 4 * 4 * 8, 4 * (8 * 16 + 16), 4 * 4 * 16
    assert dense.streamed_bytes == x_bytes + w_bytes + y_bytes
    assert dense.activation_bytes == x_bytes + y_bytes
    assert dense.compulsory_bytes == x_bytes + w_bytes
    assert relu.streamed_bytes == 2 * y_bytes
    assert relu.activation_bytes == relu.compulsory_bytes == y_bytes
    assert dense.peak_activation_bytes == x_bytes + y_bytes
    assert relu.peak_activation_bytes == 2 * y_bytes
    assert counted.totals.peak_activation_bytes == 2 * y_bytes


def test_the_recurrent_matrix_is_streamed_at_every_step() -> None:
    """counting.md: T·D·G·H²·s, the input matrix once a layer."""
    t, rows, i, h = 7, 2, 3, 5
    x = activation("x", t, rows, i)
    stored = (weight("W", 1, 4 * h, i), weight("R", 1, 4 * h, h))
    b = Builder()
    y = b.add("LSTM", (x, *stored), (t, 1, rows, h), hidden_size=h)
    totals = count(b.graph((x,), (y,))).totals
    activations = 4 * (t * rows * i + t * rows * h)
    assert totals.streamed_bytes == activations + 4 * 4 * h * i + t * 4 * h * h * 4
    assert totals.compulsory_bytes == activations + 4 * 4 * h * (i + h)


def test_views_move_nothing() -> None:
    x = activation("x", 4, 8)
    b = Builder()
    y = b.add("Relu", (x,), (4, 8))
    z = b.add("Reshape", (y, known("shape", 32)), (32,), name="flat")
    out = b.add("Relu", (z,), (32,), name="last")
    counted = count(b.graph((x,), (out,)))
    assert row(counted, "flat").streamed_bytes == 0
    assert row(counted, "flat").activation_bytes == 0
    # y lives on under the name of its view.
    assert row(counted, "last").peak_activation_bytes == 2 * 128
    assert counted.totals.activation_bytes == 3 * 128


def test_a_lookup_reads_rows_not_the_table() -> None:
    ids = activation("ids", 6, dtype="int64")
    b = Builder()
    y = b.add("Gather", (weight("table", 1000, 16), ids), (6, 16), name="embed")
    counted = count(b.graph((ids,), (y,)))
    embed = row(counted, "embed")
    assert embed.weight_bytes == 64000
    assert embed.streamed_bytes == 48 + 2 * 6 * 64
    assert embed.compulsory_bytes == 48 + 2 * 6 * 64


def test_lookups_never_read_more_than_the_table() -> None:
    ids = activation("ids", 600, dtype="int64")
    b = Builder()
    for _ in range(2):
        b.add("Gather", (weight("table", 10, 16), ids), (600, 16))
    assert count(b.graph((ids,), ())).totals.compulsory_bytes == 640 + 4800


def test_a_table_that_is_also_multiplied_is_read_whole() -> None:
    ids = activation("ids", 6, dtype="int64")
    table = weight("table", 100, 16)
    b = Builder()
    y = b.add("Gather", (table, ids), (6, 16), name="embed")
    z = b.add("MatMul", (y, view("t", table.stored[0], shape=(16, 100))), (6, 100), name="out")
    counted = count(b.graph((ids,), (z,)))
    assert row(counted, "embed").compulsory_bytes == 48
    assert row(counted, "out").compulsory_bytes == 6400 + 2400


def test_an_input_is_read_first_once() -> None:
    x = activation("x", 4)
    b = Builder()
    for _ in range(3):
        b.add("Relu", (x,), (4,))
    totals = count(b.graph((x,), ())).totals
    assert totals.compulsory_bytes == 16
    assert totals.activation_bytes == 16 + 3 * 16
    assert totals.streamed_bytes == 3 * 32


def test_scratch_space_counts_while_the_operator_runs() -> None:
    t, rows, h = 7, 2, 5
    x = activation("x", t, rows, h)
    b = Builder()
    stored = (weight("W", 1, 3 * h, h), weight("R", 1, 3 * h, h))
    y = b.add("GRU", (x, *stored), (t, 1, rows, h), hidden_size=h, name="gru")
    b.add("Relu", (y,), (t, 1, rows, h), name="relu")
    counted = count(b.graph((x,), ()))
    gru = next(row for row in counted.ops if row.name == "gru")
    assert gru.cost.scratch_bytes != 0
    in_out = 2 * 4 * t * rows * h
    assert gru.counts.peak_activation_bytes == in_out + gru.cost.scratch_bytes
    assert row(counted, "relu").peak_activation_bytes == in_out


def loop_graph(trips: int) -> Graph:
    """h = tanh(x[t]·W + h·R) as a Scan that stacks h; x and h are [2, 8], 64 bytes."""
    x, h0 = activation("x", trips, 2, 8), activation("h0", 2, 8)
    at, entry = activation("at", 2, 8), activation("entry", 2, 8)
    body = Builder("body/")
    h = rnn_cell(body, at, entry, 8, 8)
    b = Builder()
    final, ys = activation("final", 2, 8), activation("ys", trips, 2, 8)
    b.loop(
        body.graph((entry, at), (h, h)), (h0, x), (final, ys), [("entry", h.name)], trips, "Scan"
    )
    return b.graph((x, h0), (final, ys))


def test_a_loop_moves_its_body_at_every_trip() -> None:
    trips = 5
    counted = count(loop_graph(trips))
    w, step = 256, 64
    products = 2 * (w + 2 * step)
    others = 3 * step + 2 * step
    assert counted.totals.streamed_bytes == trips * (products + others) + trips * step
    # Four results a trip; x, h0 and the stacked states once.
    assert counted.totals.activation_bytes == trips * 4 * step + trips * step + step + trips * step
    assert counted.totals.compulsory_bytes == 2 * w + 2 * (trips * step + step)


def test_what_is_alive_in_a_loop() -> None:
    trips = 5
    counted = count(loop_graph(trips))
    step = 64
    outside = trips * step + step + step + trips * step  # x, h0, final, ys
    peaks = [row.counts.peak_activation_bytes for row in counted.ops]
    # wx; wx and rh; wx, rh and their sum; the sum, whose tanh is the loop's final state.
    inside = [step, 2 * step, 3 * step, step]
    assert peaks == [outside + 3 * step, *(outside + nbytes for nbytes in inside)]


def test_free_dimensions_stay_in_the_bytes() -> None:
    rows = symbol("rows", 3)
    x = activation("x", rows, 8)
    b = Builder()
    y = b.add("MatMul", (x, weight("w", 8, 4)), (rows, 4))
    totals = count(b.graph((x,), (y,))).totals
    assert str(totals.streamed_bytes) == "48*rows + 128"
    assert str(totals.peak_activation_bytes) == "48*rows"


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random graphs of dense layers, cells and loops over a few shared weights."""
    b = Builder()
    x = activation("x", 3, 2, 4)
    values = [activation("v", 2, 4), *steps_of(b, x, 3)]
    for number in range(draw(st.integers(0, 8))):
        y = draw(st.sampled_from(values))
        shared = f"w{draw(st.integers(0, 2))}"
        kind = draw(st.sampled_from(["product", "slice", "sum", "view", "cell", "loop", "odd"]))
        if kind == "product":
            name = draw(st.sampled_from([None, "module"]))
            made = b.add("MatMul", (y, weight(shared, 4, 4)), (2, 4), name=name)
        elif kind == "slice":
            low = draw(st.integers(0, 4))
            slab = Slab(shared, "float32", ((low, low + 4, 1), (0, 4, 1)))
            made = b.add(
                "MatMul", (y, view("part", slab)), (2, 4), executions=draw(st.integers(0, 2))
            )
        elif kind == "sum":
            made = b.add("Add", (y, draw(st.sampled_from(values))), (2, 4))
        elif kind == "view":
            made = b.add("Reshape", (y, known("shape", 2, 4)), (2, 4))
        elif kind == "cell":
            made, _ = lstm_cell(b, y, draw(st.sampled_from(values)), y, 4, 4, shared)
        elif kind == "loop":
            body = Builder(f"body{number}/")
            entry, final = activation(f"entry{number}", 2, 4), activation(f"final{number}", 2, 4)
            h = rnn_cell(body, y, entry, 4, 4, shared)
            carried = [(entry.name, h.name)]
            trips = draw(st.integers(0, 4))
            inside = body.graph((entry, y), (h,))
            b.loop(inside, (draw(st.sampled_from(values)), y), (final,), carried, trips, "Scan")
            made = final
        else:
            made = b.add("made::Up", (y, weight(shared, 4, 4)), (2, 4))
        values.append(made)
    outs = draw(st.lists(st.sampled_from(values), max_size=2, unique_by=lambda t: t.name))
    return b.graph((x, values[0]), outs)


@given(graphs())
def test_rows_sum_to_the_totals(graph: Graph) -> None:
    counted = count(graph)
    for metric in SUMS:
        total = sum(getattr(row.counts, metric) for row in counted.ops)
        assert total == getattr(counted.totals, metric), metric
    for metric in LARGEST:
        most = max((getattr(row.counts, metric) for row in counted.ops), default=0)
        assert most == getattr(counted.totals, metric), metric
    assert {*SUMS, *LARGEST, "sequential_steps", "executed_steps"} == set(Counts.__struct_fields__)


@given(graphs())
def test_what_always_holds(graph: Graph) -> None:
    counted = count(graph)
    totals = counted.totals
    assert totals.active_params <= totals.params
    assert totals.params * 4 <= totals.weight_bytes
    assert totals.macs == totals.parallel_macs + totals.sequential_macs
    assert 0 <= totals.sequential_macs <= totals.macs
    assert 0 <= counted.wavefront_steps <= totals.sequential_steps <= totals.executed_steps
    steps = [row.counts.sequential_steps for row in counted.ops]
    assert max(steps, default=0) <= totals.sequential_steps <= sum(steps)
    made = apply_rules(graph).nodes
    assert sum(row.executions for row in counted.ops) == sum(
        node.executions for node in made if node.status not in ("idle", "uncounted")
    ) + sum(1 for row in counted.ops if row.op.op_type == "made::Up" for _ in range(row.executions))


@given(graphs(), st.integers(1, 9))
def test_a_free_batch_agrees_with_numbers(graph: Graph, seed: int) -> None:
    """A batch as a free dimension gives the counts of every number put in its place."""
    rows = symbol("rows", 2)

    def widen(tensor: Tensor | None, to: object) -> Tensor | None:
        if tensor is None or tensor.stored or tensor.shape is None or 2 not in tensor.shape:
            return tensor
        if tensor.dtype != "float32":
            return tensor
        shape = tuple(to if extent == 2 else extent for extent in tensor.shape)
        return Tensor(tensor.name, tensor.dtype, shape)  # type: ignore[arg-type]

    def rebuilt(graph: Graph, to: object) -> Graph:
        from msgspec.structs import replace

        ops = tuple(
            replace(
                op,
                inputs=tuple(widen(t, to) for t in op.inputs),
                outputs=tuple(widen(t, to) for t in op.outputs),
                body=None if op.body is None else rebuilt(op.body, to),
            )
            for op in graph.ops
        )
        inputs = tuple(widen(t, to) for t in graph.inputs)
        outputs = tuple(widen(t, to) for t in graph.outputs)
        return replace(graph, ops=ops, inputs=inputs, outputs=outputs)

    free, bound = count(rebuilt(graph, rows)).totals, count(rebuilt(graph, seed)).totals
    for metric in (*SUMS, "sequential_steps", "executed_steps"):
        value = evaluate(getattr(free, metric), {"rows": seed})
        assert value == getattr(bound, metric), metric


def test_a_graph_of_20_000_operators_is_counted_in_seconds() -> None:
    """The work grows with the graph, not with its square."""
    import time

    def seconds(steps: int) -> float:
        b = Builder()
        h, c = activation("h", 2, 8), activation("c", 2, 8)
        x = activation("x", steps, 2, 8)
        for at in steps_of(b, x, steps):
            h, c = lstm_cell(b, at, h, c, 8, 8)
        graph = b.graph((x,), (h,))
        start = time.perf_counter()
        assert count(graph).totals.sequential_steps == steps
        return time.perf_counter() - start

    small = min(seconds(150) for _ in range(2))
    assert seconds(1500) < 40 * small


@pytest.mark.parametrize("name", ["module", "other"])
def test_a_module_called_twice_has_one_row(name: str) -> None:
    x = activation("x", 4, 8)
    b = Builder()
    b.add("Gemm", (x, weight("w", 8, 8)), (4, 8), name="module")
    b.add("Gemm", (x, weight("w", 8, 8)), (4, 8), name=name)
    counted = count(b.graph((x,), ()))
    assert [row.executions for row in counted.ops] == ([2] if name == "module" else [1, 1])
    assert counted.totals.macs == 2 * 256
