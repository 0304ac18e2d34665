"""Steps and sequential work of unrolled cells, loops and recurrent operators."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from count_graphs import (
    Builder,
    activation,
    gru_cell,
    known,
    lstm_cell,
    rnn_cell,
    rows_of,
    split_lstm_cell,
    steps_of,
    weight,
)

from rnncost.counting.count import Counted, count
from rnncost.graph.dim import Dim, symbol
from rnncost.graph.ir import Graph, Tensor

T, B, N, H = 6, 2, 3, 5  # steps, rows, inputs, units
X = activation("x", T, B, N)
H0, C0 = activation("h0", B, H), activation("c0", B, H)


def steps(counted: Counted) -> tuple[Dim, Dim, Dim]:
    totals = counted.totals
    return totals.sequential_steps, totals.executed_steps, counted.wavefront_steps


def lstm_op(b: Builder, x: Tensor, name: str, inputs: int, direction: str = "forward") -> Tensor:
    """An LSTM operator without states; its Y as [T, B, D·H]."""
    time, rows = x.shape[:2]
    d = 2 if direction == "bidirectional" else 1
    stored = (weight(f"{name}W", d, 4 * H, inputs), weight(f"{name}R", d, 4 * H, H))
    shapes = ((time, d, rows, H), (d, rows, H), (d, rows, H))
    y = b.add("LSTM", (x, *stored), *shapes, name=name, hidden_size=H, direction=direction)
    y = b.add("Transpose", (y,), (time, rows, d, H))
    return b.add("Reshape", (y, known("shape", 0, 0, -1)), (time, rows, d * H))


def unrolled(cell: str, time: int = T) -> Graph:
    b = Builder()
    h, c = H0, C0
    x = activation("x", time, B, N)
    for at in steps_of(b, x, time):
        if cell == "lstm":
            h, c = lstm_cell(b, at, h, c, N, H)
        elif cell == "split lstm":
            h, c = split_lstm_cell(b, at, h, c, N, H)
        elif cell == "gru":
            h = gru_cell(b, at, h, N, H)
        else:
            h = rnn_cell(b, at, h, N, H)
    states = (h, c) if "lstm" in cell else (h,)
    return b.graph((x, H0, C0)[: 1 + len(states)], states)


CELLS = [("lstm", 4, 2), ("split lstm", 4, 2), ("gru", 3, 1), ("rnn", 1, 1)]


@pytest.mark.parametrize(("cell", "gates", "states"), CELLS)
def test_an_unrolled_cell_counts_as_the_layer_does(cell: str, gates: int, states: int) -> None:
    counted = count(unrolled(cell))
    totals = counted.totals
    assert totals.macs == T * B * gates * H * (N + H)
    assert totals.sequential_macs == T * B * gates * H * H
    assert totals.parallel_macs == T * B * gates * H * N
    assert steps(counted) == (T, T, T)
    assert totals.state_bytes == states * B * H * 4
    assert totals.params == gates * H * (N + H) + (4 * H if "lstm" in cell else 0)
    assert counted.streamable


@pytest.mark.parametrize(("cell", "gates", "states"), CELLS)
def test_the_uses_of_a_cell_share_a_row(cell: str, gates: int, states: int) -> None:
    rows = [row for row in count(unrolled(cell)).ops if row.cost.kind == "recurrent"]
    assert sum(row.counts.params for row in rows) == gates * H * H
    for row in rows:
        assert row.executions == T
        assert row.cost.dims["T"] == row.counts.sequential_steps == T
        assert row.counts.executed_steps == T
        assert (row.cost.dims["B"], row.cost.dims["H"]) == (B, H)
        assert row.counts.sequential_macs == row.counts.macs == T * row.cost.macs
    if cell in ("lstm", "rnn"):
        assert [row.cost.dims["G"] for row in rows] == [gates]


def test_one_step_of_a_cell_is_no_recurrence() -> None:
    counted = count(unrolled("lstm", time=1))
    assert steps(counted) == (0, 0, 0)
    assert counted.totals.sequential_macs == 0


def test_a_cell_that_starts_from_a_constant_still_makes_all_its_steps() -> None:
    zeros = Tensor("h0", "float32", (B, H), weight("h0", B, H).stored, (0.0,) * (B * H))
    b = Builder()
    h = zeros
    for at in steps_of(b, X, T):
        h = rnn_cell(b, at, h, N, H)
    counted = count(b.graph((X,), (h,)))
    assert steps(counted) == (T, T, T)
    assert counted.totals.macs == T * B * H * (N + H)
    assert counted.totals.params == H * (N + H)
    assert not counted.streamable


def stacked(layers: int, cell: Callable[..., Tensor], time: int = T) -> Graph:
    b = Builder()
    states = [activation(f"h{layer}", B, H) for layer in range(layers)]
    x, given = activation("x", time, B, H), tuple(states)
    ys = []
    for y in steps_of(b, x, time):
        for layer in range(layers):
            below = states[layer - 1] if layer else y
            states[layer] = cell(b, below, states[layer], H, H, f"l{layer}")
        ys.append(states[-1])
    out = b.add("Concat", ys, (time * B, H))
    return b.graph((x, *given), (out, *states))


@pytest.mark.parametrize("cell", [rnn_cell, gru_cell])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_stacked_unrolled_layers_overlap(cell: Callable[..., Tensor], layers: int) -> None:
    counted = count(stacked(layers, cell))
    assert steps(counted) == (T + layers - 1,) * 3
    gates = 3 if cell is gru_cell else 1
    assert counted.totals.sequential_macs == layers * T * B * gates * H * H
    assert counted.totals.parallel_macs == layers * T * B * gates * H * H
    assert counted.totals.state_bytes == layers * B * H * 4


def test_branches_that_share_a_weight_do_not_wait() -> None:
    b = Builder()
    w = weight("w", N, H)
    left = b.add("Relu", (b.add("MatMul", (activation("a", B, N), w), (B, H)),), (B, H))
    right = b.add("Relu", (b.add("MatMul", (activation("b", B, N), w), (B, H)),), (B, H))
    out = b.add("Sub", (left, right), (B, H))
    counted = count(b.graph((activation("a", B, N), activation("b", B, N)), (out,)))
    assert steps(counted) == (0, 0, 0)
    assert counted.totals.sequential_macs == 0
    assert counted.totals.params == N * H


def test_siamese_unrolled_networks_run_beside_each_other() -> None:
    b = Builder()
    ends = []
    for name in "ab":
        h = activation(f"h{name}", B, H)
        for at in steps_of(b, activation(name, T, B, N), T):
            h = rnn_cell(b, at, h, N, H)
        ends.append(h)
    counted = count(b.graph((activation("a", T, B, N), activation("b", T, B, N)), ends))
    assert steps(counted) == (T, T, T)
    assert counted.totals.sequential_macs == 2 * T * B * H * H
    row = next(row for row in counted.ops if row.cost.kind == "recurrent")
    assert (row.executions, row.counts.sequential_steps) == (2 * T, T)


def test_a_tied_autoencoder_uses_two_views_once_each() -> None:
    b = Builder()
    w = weight("w", N, H)
    turned = Tensor("turned", "float32", (H, N), w.stored)
    b.add("Transpose", (w,), turned)
    x = activation("x", B, N)
    code = b.add("Tanh", (b.add("MatMul", (x, w), (B, H)),), (B, H))
    y = b.add("MatMul", (code, turned), (B, N))
    counted = count(b.graph((x,), (y,)))
    assert steps(counted) == (0, 0, 0)
    assert counted.totals.params == N * H


def test_slices_of_one_buffer_are_different_weights() -> None:
    """Layers whose weights lie in one flat tensor are not steps of one cell."""
    from count_graphs import view

    from rnncost.graph.ir import Slab

    b = Builder()
    y = activation("x", B, H)
    for layer in range(3):
        part = Slab("all", "float32", ((layer * H, layer * H + H, 1), (0, H, 1)))
        y = b.add("MatMul", (y, view(f"w{layer}", part)), (B, H))
    assert steps(count(b.graph((activation("x", B, H),), (y,)))) == (0, 0, 0)


def test_a_decoder_that_reads_its_own_output() -> None:
    """Input, recurrent and output matrices all wait for the step before: T steps, not 3T."""
    b = Builder()
    y, h, c = activation("start", B, N), H0, C0
    for _ in range(T):
        h, c = lstm_cell(b, y, h, c, N, H)
        y = b.add("MatMul", (h, weight("out", H, N)), (B, N))
    counted = count(b.graph((activation("start", B, N), H0, C0), (y,)))
    assert steps(counted) == (T, T, T)
    assert counted.totals.sequential_macs == counted.totals.macs


def test_a_decoder_that_starts_from_an_encoder_waits_for_it() -> None:
    b = Builder()
    x = activation("x", T, B, N)
    shapes = ((T, 1, B, H), (1, B, H))
    inputs = (x, weight("W", 1, 3 * H, N), weight("R", 1, 3 * H, H))
    b.add("GRU", inputs, *shapes, hidden_size=H)
    h = b.add("Squeeze", (b.ops[-1].outputs[1], known("axes", 0)), (B, H))
    y = activation("start", B, N)
    for _ in range(4):
        h = rnn_cell(b, y, h, N, H, "decoder")
        y = b.add("MatMul", (h, weight("out", H, N)), (B, N))
    assert steps(count(b.graph((x, activation("start", B, N)), (y,)))) == (T + 4,) * 3


def cells(layers: int, feedback: bool = False) -> Graph:
    """LSTMCell operators, one a layer and step: an LSTM of one step without its Y."""
    b = Builder()
    x = activation("x", T, 1, B, H)
    shape = (1, B, H)
    states = [(activation(f"h{n}", *shape), activation(f"c{n}", *shape)) for n in range(layers)]
    given = tuple(t for state in states for t in state)
    start = y = activation("start", *shape)
    for at in steps_of(b, x, T):
        y = y if feedback else at
        for n, state in enumerate(states):
            stored = (weight(f"W{n}", 1, 4 * H, H), weight(f"R{n}", 1, 4 * H, H))
            inputs = (y, *stored, None, None, *state)
            b.add("LSTMCell", inputs, None, shape, shape, name=f"cell{n}", hidden_size=H)
            _, h, c = b.ops[-1].outputs
            assert h is not None
            assert c is not None
            y, states[n] = h, (h, c)
    ends = [t for state in states for t in state]
    return b.graph((x, *given, start), ends)


@pytest.mark.parametrize("layers", [1, 3])
def test_cells_are_steps_and_one_row(layers: int) -> None:
    counted = count(cells(layers))
    assert steps(counted) == (T + layers - 1,) * 3
    rows = [row for row in counted.ops if row.op.op_type == "LSTMCell"]
    assert [row.executions for row in rows] == [T] * layers
    assert [row.counts.sequential_steps for row in rows] == [T] * layers
    assert counted.totals.sequential_macs == layers * T * B * 4 * H * H
    assert counted.totals.macs == 2 * counted.totals.sequential_macs
    assert counted.totals.state_bytes == layers * 2 * B * H * 4
    assert counted.totals.params == layers * 8 * H * H
    assert counted.streamable


def test_cells_fed_with_their_own_output_wait_with_all_their_work() -> None:
    counted = count(cells(1, feedback=True))
    assert counted.totals.sequential_macs == counted.totals.macs
    assert steps(counted) == (T, T, T)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_recurrent_layers(layers: int) -> None:
    b = Builder()
    y = X
    for n in range(layers):
        y = lstm_op(b, y, f"l{n}", N if n == 0 else H)
    assert steps(count(b.graph((X,), (y,)))) == (layers * T, layers * T, T + layers - 1)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_bidirectional_layers_do_not_overlap(layers: int) -> None:
    b = Builder()
    y = X
    for n in range(layers):
        y = lstm_op(b, y, f"l{n}", N if n == 0 else 2 * H, "bidirectional")
    counted = count(b.graph((X,), (y,)))
    assert steps(counted) == (layers * T, 2 * layers * T, layers * T)
    assert counted.totals.lookahead_steps == T - 1
    assert not counted.streamable


def test_layers_side_by_side_do_not_add_up() -> None:
    b = Builder()
    left, right = lstm_op(b, X, "left", N), lstm_op(b, X, "right", N)
    out = b.add("Concat", (left, right), (T, B, 2 * H))
    assert steps(count(b.graph((X,), (out,)))) == (T, T, T)


def test_bidirectional_layers_by_hand() -> None:
    """The second layer's first step reads the backward chain's last."""
    b = Builder()
    xs = steps_of(b, X, T)
    ys: dict[str, list[Tensor]] = {}
    for way in ("forward", "backward"):
        h, ys[way] = H0, []
        for at in xs if way == "forward" else reversed(xs):
            h = rnn_cell(b, at, h, N, H, way)
            ys[way].append(h)
    both = zip(ys["forward"], reversed(ys["backward"]), strict=True)
    joined = [b.add("Concat", pair, (B, 2 * H)) for pair in both]
    h = H0
    for at in joined:
        h = rnn_cell(b, at, h, 2 * H, H, "second")
    assert steps(count(b.graph((X, H0), (h,))))[0] == 2 * T


@pytest.mark.parametrize(
    ("given", "returned", "streamable"),
    [("hc", "hc", True), ("hc", "h", False), ("h", "hc", False), ("", "", False)],
)
def test_streamable_means_that_states_come_in_and_go_out(
    given: str, returned: str, streamable: bool
) -> None:
    b = Builder()
    state = activation("state", 2, 1, B, H)
    parts: list[Tensor | None] = [
        b.add("Gather", (state, Tensor(f"i{n}", "int64", (), value=(n,))), (1, B, H))
        if letter in given
        else None
        for n, letter in enumerate("hc")
    ]
    inputs = (X, weight("W", 1, 4 * H, N), weight("R", 1, 4 * H, H), None, None, *parts)
    y = b.add("LSTM", inputs, (T, 1, B, H), (1, B, H), (1, B, H), hidden_size=H)
    ends = {"h": b.ops[-1].outputs[1], "c": b.ops[-1].outputs[2]}
    out = b.add("Relu", (y,), (T, 1, B, H))
    kept = [end for letter in returned if (end := ends[letter]) is not None]
    outs = [b.add("Concat", kept, (len(kept), 1, B, H))] if kept else []
    assert count(b.graph((X, state), (out, *outs))).streamable is streamable


# -- loops -----------------------------------------------------------------------------


def scan(
    cell: Callable[[Builder, Tensor, list[Tensor]], tuple[Tensor, list[Tensor]]],
    states: int,
    trips: Dim = T,
    op_type: str = "Scan",
) -> Graph:
    """A loop over x [T, B, N] whose body runs a cell and stacks its first result."""
    body = Builder("body/")
    entries = [activation(f"in{n}", B, H) for n in range(states)]
    lead = [
        Tensor("trip", "int64", ()),
        Tensor("go", "bool", ()),
    ]
    if op_type == "Scan":
        at = activation("slice", B, N)
        inside = [*entries, at]
    else:
        at = body.add("Gather", (X, lead[0]), (B, N))
        inside = [*lead, *entries]
    y, leaves = cell(body, at, entries)
    b = Builder()
    given = [activation(f"h{n}", B, H) for n in range(states)]
    finals = [activation(f"final{n}", B, H) for n in range(states)]
    ys = activation("ys", trips, B, *y.shape[1:])
    outside: list[Tensor | None] = [*given, X]
    if op_type == "Loop":
        outside = [known("M", T), None, *given, X]
        inside.append(X)
    b.loop(
        body.graph(inside, [*leaves, y]),
        outside,
        (*finals, ys),
        [(entry.name, leave.name) for entry, leave in zip(entries, leaves, strict=True)],
        trips,
        op_type,
    )
    return b.graph((X, *given), (ys, *finals))


def lstm_body(b: Builder, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    h, c = lstm_cell(b, x, states[0], states[1], N, H)
    return h, [h, c]


def gru_body(b: Builder, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    h = gru_cell(b, x, states[0], N, H)
    return h, [h]


def test_the_state_of_a_single_step_does_not_hold_the_next_layer_up() -> None:
    """Operators of one step between two layers: the upper layer starts after the first of them.

    A step is taken to wait for the whole of the lower layer at the latest, hence 2T + 1.
    """
    b = Builder()
    below = lstm_op(b, X, "below", N)
    h, c = activation("h", 1, B, H), activation("c", 1, B, H)
    parts = []
    for at in range(T):
        x = b.add("Slice", (below, known("at", at), known("to", at + 1)), (1, B, H))
        stored = (weight("W", 1, 4 * H, H), weight("R", 1, 4 * H, H))
        shapes = ((1, 1, B, H), (1, B, H), (1, B, H))
        b.add("LSTM", (x, *stored, None, None, h, c), *shapes, hidden_size=H)
        y, h, c = b.ops[-1].outputs
        parts.append(b.add("Reshape", (y, known("shape", 1, B, H)), (1, B, H)))
    y = lstm_op(b, b.add("Concat", parts, (T, B, H), axis=0), "top", H)
    assert steps(count(b.graph((X,), (y,)))) == (3 * T, 3 * T, 2 * T + 1)


def test_a_layer_used_twice_makes_the_input_products_of_all_steps_as_one() -> None:
    b = Builder()
    y = lstm_op(b, lstm_op(b, activation("x", T, B, H), "shared", H), "shared", H)
    counted = count(b.graph((activation("x", T, B, H),), (y,)))
    assert counted.totals.macs == 2 * T * B * 8 * H * H
    assert counted.totals.sequential_macs == 2 * T * B * 4 * H * H
    assert steps(counted)[0] == 2 * T


@pytest.mark.parametrize("op_type", ["Scan", "Loop"])
def test_a_cell_in_a_loop_counts_as_it_does_unrolled(op_type: str) -> None:
    looped, flat = count(scan(lstm_body, 2, op_type=op_type)), count(unrolled("lstm"))
    for metric in (
        "params",
        "macs",
        "sequential_macs",
        "multiplies",
        "adds",
        "bias_adds",
        "activations",
        "state_bytes",
        "sequential_steps",
        "executed_steps",
    ):
        assert getattr(looped.totals, metric) == getattr(flat.totals, metric), metric
    assert looped.wavefront_steps == T
    assert looped.streamable
    row = next(row for row in looped.ops if row.cost.kind == "recurrent")
    assert dict(row.cost.dims) == {"T": T, "B": B, "H": H, "G": 4}
    assert (row.executions, row.counts.sequential_steps) == (T, T)
    assert row.counts.streamed_bytes == T * 4 * (4 * H * H + B * H + 4 * B * H)


def test_both_products_of_a_gru_wait_in_a_loop() -> None:
    counted = count(scan(gru_body, 1))
    rows = {row.op.inputs[1].name for row in counted.ops if row.cost.kind == "recurrent"}
    assert rows == {"Rzr", "Rh"}
    assert steps(counted) == (T, T, T)


def test_a_loop_that_only_collects_results_does_not_wait() -> None:
    def body(b: Builder, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        y = b.add("MatMul", (x, weight("w", N, H)), (B, H))
        grown = b.add("Concat", (states[0], y), (B, H))
        return y, [grown]

    counted = count(scan(body, 1))
    assert steps(counted) == (0, 0, 0)
    assert counted.totals.macs == T * B * N * H
    assert counted.totals.sequential_macs == 0


def test_a_counter_is_no_state() -> None:
    def body(b: Builder, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        y = b.add("MatMul", (x, weight("w", N, H)), (B, H))
        number = Tensor(states[0].name, "int64", ())
        after = b.add("Add", (number, known("one", 1)), Tensor("after", "int64", ()))
        return y, [after]

    assert steps(count(scan(body, 1))) == (0, 0, 0)


def test_a_token_that_is_fed_back_is_a_state() -> None:
    def body(b: Builder, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        token = Tensor(states[0].name, "int64", (B,))
        embedded = b.add("Gather", (weight("table", 9, H), token), (B, H))
        logits = b.add("MatMul", (embedded, weight("w", H, 9)), (B, 9))
        chosen = b.add("ArgMax", (logits,), Tensor("chosen", "int64", (B,)), axis=-1, keepdims=0)
        return logits, [chosen]

    counted = count(scan(body, 1))
    assert steps(counted) == (T, T, T)
    assert counted.totals.sequential_macs == counted.totals.macs


def test_a_head_in_the_loop_does_not_wait_for_the_step_before() -> None:
    def body(b: Builder, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        h = rnn_cell(b, x, states[0], N, H)
        return b.add("MatMul", (h, weight("head", H, 7)), (B, 7)), [h]

    totals = count(scan(body, 1)).totals
    assert totals.sequential_macs == T * B * H * H
    assert totals.macs == T * B * (N * H + H * H + H * 7)


def test_recurrent_operators_in_a_loop() -> None:
    """Each trip runs an LSTM over a window: alone in parallel, with its state one by one."""
    window = activation("window", 4, B, N)
    stored = (weight("W", 1, 4 * H, N), weight("R", 1, 4 * H, H))
    shapes = ((4, 1, B, H), (1, B, H), (1, B, H))

    def free(b: Builder, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        y = b.add("LSTM", (window, *stored), *shapes, hidden_size=H)
        return y, []

    def kept(b: Builder, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        inputs = (window, *stored, None, None, *states)
        y = b.add("LSTM", inputs, *shapes, hidden_size=H)
        return y, [t for t in b.ops[-1].outputs[1:] if t is not None]

    assert steps(count(scan(free, 0))) == (4, 4 * T, 4)
    counted = count(scan(kept, 2))
    assert steps(counted) == (4 * T, 4 * T, 4 * T)
    row = next(row for row in counted.ops if row.op.op_type == "LSTM")
    assert (row.counts.sequential_steps, row.counts.executed_steps) == (4 * T, 4 * T)
    assert counted.totals.state_bytes == row.counts.state_bytes == 2 * B * H * 4


def test_what_leads_up_to_the_state_adds_to_one_trip_alone() -> None:
    """s' = f(s + LSTM(window)): trips wait for f, not for each other's LSTM."""
    window = activation("window", 4, B, N)
    stored = (weight("W", 1, 4 * H, N), weight("R", 1, 4 * H, H))

    def body(b: Builder, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        b.add("LSTM", (window, *stored), (4, 1, B, H), (1, B, H), hidden_size=H)
        last = b.add("Squeeze", (b.ops[-1].outputs[1], known("axes", 0)), (B, H))
        s = b.add("Tanh", (b.add("Add", (states[0], last), (B, H)),), (B, H))
        return s, [s]

    assert count(scan(body, 1)).totals.sequential_steps == (T - 1) + 4


def test_a_loop_without_trips_costs_nothing_and_keeps_its_weights() -> None:
    counted = count(scan(lstm_body, 2, trips=0))
    assert steps(counted) == (0, 0, 0)
    assert counted.totals.macs == 0
    assert counted.totals.params == 4 * H * (N + H) + 4 * H
    assert counted.totals.active_params == 0


def test_loops_in_loops_multiply() -> None:
    def inner(b: Builder, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        body = Builder("inner/")
        entry = activation("inner_in", B, H)
        h = rnn_cell(body, x, entry, N, H)
        final = activation("inner_out", B, H)
        b.loop(body.graph([entry], [h]), states, (final,), [("inner_in", h.name)], 3, "Scan")
        return final, [final]

    counted = count(scan(inner, 1))
    assert steps(counted) == (3 * T, 3 * T, 3 * T)
    row = next(row for row in counted.ops if row.cost.kind == "recurrent")
    assert (row.executions, row.cost.dims["T"], row.counts.sequential_steps) == (3 * T,) * 3
    assert counted.totals.macs == 3 * T * B * H * (N + H)
    assert counted.totals.params == H * (N + H)


def test_free_dimensions_pass_through() -> None:
    time, rows = symbol("time", 9), symbol("rows", 2)
    x = activation("x", time, rows, N)
    b = Builder()
    y = x
    for n in range(2):
        y = lstm_op(b, y, f"l{n}", N if n == 0 else H)
    totals = count(b.graph((x,), (y,))).totals
    assert str(totals.sequential_steps) == "2*time"
    assert str(totals.macs) == f"{4 * H * (N + H) + 8 * H * H}*rows*time"
    counted = count(scan(lstm_body, 2, trips=time))
    assert str(counted.totals.sequential_steps) == "time"
    assert str(counted.totals.sequential_macs) == f"{B * 4 * H * H}*time"


def test_rows_of_a_tensor() -> None:
    assert rows_of(H0) == B
