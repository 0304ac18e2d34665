"""Views of stored tensors name the elements that they show: checked against numpy on indices."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from infer_support import call, floats, ints, run, scalar

from rnncost.frontends.onnx.infer import Known, infer
from rnncost.graph.dim import symbol
from rnncost.graph.ir import Slab

Place = tuple[str, tuple[int, ...]]
Step = tuple[str, list[Known], dict[str, Any]]


def stored(name: str, *shape: int) -> Known:
    slab = Slab(name, "float32", tuple((0, dim, 1) for dim in shape))
    return Known(dtype="float32", shape=shape, stored=(slab,))


def constant(*values: int) -> Known:
    slab = Slab("indices", "int64", ((0, len(values), 1),))
    return Known(dtype="int64", shape=(len(values),), value=values, stored=(slab,))


def places(name: str, *shape: int) -> np.ndarray:
    """An array whose elements say where they come from."""
    array = np.empty(shape, object)
    for index in product(*map(range, shape)):
        array[index] = (name, index)
    return array


def covered(known: Known) -> set[Place]:
    return {
        (slab.root, index)
        for slab in known.stored
        for index in product(*(range(*interval) for interval in slab.ranges))
    }


@st.composite
def exact_step(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Step, Any]:
    """An operator that keeps views exact, and the same in numpy."""
    rank = len(shape)
    axis = draw(st.integers(0, rank - 1))
    extent = shape[axis]
    start = draw(st.integers(0, extent - 1))
    stop = draw(st.integers(start + 1, extent))
    step = draw(st.integers(1, 3))
    perm = draw(st.permutations(range(rank)))
    cut = (slice(None),) * axis + (slice(start, stop, step),)
    picked = list(range(start, stop, step))
    size = draw(st.integers(1, extent))
    other = (*shape[:axis], 2, *shape[axis + 1 :])
    choices: list[tuple[Step, Any]] = [
        (("Identity", [], {}), lambda x: x),
        (("Cast", [], {"to": 10}), lambda x: x),
        (("Transpose", [], {"perm": perm}), lambda x: x.transpose(perm)),
        (
            ("Slice", [ints(start), ints(stop), ints(axis), ints(step)], {}),
            lambda x: x[cut],
        ),
        (("Gather", [constant(*picked)], {"axis": axis}), lambda x: x.take(picked, axis)),
        (("Unsqueeze", [ints(axis)], {}), lambda x: np.expand_dims(x, axis)),
    ]
    if rank > 1:
        choices.append((("Gather", [scalar(start)], {"axis": axis}), lambda x: x.take(start, axis)))
    if size < extent:
        choices.append(
            (
                ("Split", [ints(size, extent - size)], {"axis": axis, "outputs": 2}),
                lambda x: np.split(x, [size], axis)[0],
            )
        )
    if np.prod(shape) < 40:
        choices.append(
            (
                ("Concat", [stored("other", *other)], {"axis": axis}),
                lambda x: np.concatenate([x, places("other", *other)], axis),
            )
        )
    return draw(st.sampled_from(choices))


@st.composite
def loose_step(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Step, Any]:
    """An operator after which a view may show more than there is, never less."""
    rank = len(shape)
    axis = draw(st.integers(0, rank - 1))
    order = draw(st.lists(st.integers(0, shape[axis] - 1), min_size=1, max_size=4))
    flipped = (slice(None),) * axis + (slice(None, None, -1),)
    split = next((d for d in (2, 3) if shape[axis] % d == 0), 1)
    factored = (*shape[:axis], split, shape[axis] // split, *shape[axis + 1 :])
    choices: list[tuple[Step, Any]] = [
        (("Gather", [constant(*order)], {"axis": axis}), lambda x: x.take(order, axis)),
        (("Reshape", [ints(-1)], {}), lambda x: x.reshape(-1)),
        (("Reshape", [ints(*factored)], {}), lambda x: x.reshape(factored)),
        (
            ("Slice", [ints(-1), ints(-(2**63)), ints(axis), ints(-1)], {}),
            lambda x: x[flipped],
        ),
    ]
    if np.prod(shape) < 40:
        choices.append(
            (("Expand", [ints(2, *shape)], {}), lambda x: np.broadcast_to(x, (2, *shape)))
        )
    return draw(st.sampled_from(choices))


SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@given(SHAPES, st.data())
@settings(max_examples=200, deadline=None)
def test_cuts_and_turns_are_exact(shape: tuple[int, ...], data: st.DataObject) -> None:
    known, truth = stored("root", *shape), places("root", *shape)
    for _ in range(5):
        (op, extra, attrs), move = data.draw(exact_step(truth.shape))
        known, truth = run(op, known, *extra, **attrs), move(truth)
        assert known.shape == truth.shape
        assert covered(known) == set(truth.ravel().tolist())


@given(SHAPES, st.data())
@settings(max_examples=200, deadline=None)
def test_no_view_shows_less_than_is_used(shape: tuple[int, ...], data: st.DataObject) -> None:
    known, truth = stored("root", *shape), places("root", *shape)
    for _ in range(5):
        choose = st.one_of(exact_step(truth.shape), loose_step(truth.shape))
        (op, extra, attrs), move = data.draw(choose)
        known, truth = run(op, known, *extra, **attrs), move(truth)
        assert known.shape == truth.shape
        assert covered(known) >= set(truth.ravel().tolist())


def test_gates_in_another_order_are_all_still_there() -> None:
    """PyTorch's gate order to ONNX's: slices of one weight, joined again."""
    w = stored("w", 12, 5)
    gates = infer(call("Split", w, ints(3, 3, 3, 3), axis=0, outputs=4))
    joined = run("Concat", gates[0], gates[3], gates[1], gates[2], axis=0)
    layer = run("Unsqueeze", joined, ints(0))
    assert layer.shape == (1, 12, 5)
    assert covered(layer) == covered(w)
    forget = run("Slice", layer, ints(3), ints(6), ints(1))
    assert covered(forget) == covered(gates[3])


def test_arithmetic_makes_a_computed_tensor() -> None:
    w = stored("w", 4, 4)
    for op in ("Relu", "Softmax", "Neg"):
        assert run(op, w).stored == ()
    assert run("Add", w, w).stored == ()
    assert run("MatMul", w, w).stored == ()


def test_dequantised_weights_stay_weights() -> None:
    slab = Slab("w", "int8", ((0, 4, 1), (0, 6, 1)))
    w = Known(dtype="int8", shape=(4, 6), stored=(slab,))
    dequantised = run("DequantizeLinear", w, floats())
    assert (dequantised.dtype, dequantised.stored) == ("float32", (slab,))
    assert run("Transpose", dequantised).stored == (slab,)
    trained = stored("trained", 4, 6)  # quantisation-aware training stores floats
    assert run("DequantizeLinear", run("QuantizeLinear", trained, floats()), floats()).stored == (
        trained.stored
    )


def test_rows_picked_by_given_ids_are_activations() -> None:
    table = stored("table", 10, 4)
    assert run("Gather", table, ints(1, 2, 3)).stored == ()
    assert run("Gather", table, Known(dtype="int64", shape=(2, 7))).stored == ()
    assert covered(run("Gather", table, constant(7, 2, 2))) == {
        ("table", (row, column)) for row in (2, 7) for column in range(4)
    }


def test_joining_with_an_activation_makes_an_activation() -> None:
    w = stored("w", 3, 4)
    assert run("Concat", w, floats(3, 4), axis=0).stored == ()
    zeros = Known(dtype="float32", shape=(1, 4), value=(0.0,) * 4)
    assert run("Concat", w, zeros, axis=0).stored == w.stored


def test_a_cut_at_a_free_dimension_keeps_the_whole() -> None:
    positions = stored("positions", 512, 8)
    part = run("Slice", positions, ints(0), ints(symbol("seq", 97)))
    assert part.stored == positions.stored
    assert run("Slice", part, ints(0), ints(1)).stored == positions.stored


def test_joining_a_value_to_itself_over_and_over_stays_small() -> None:
    known = stored("w", 1, 2)
    for _ in range(40):
        known = run("Concat", known, known, axis=0)
    assert known.shape == (2**40, 2)
    assert len(known.stored) < 2000
    assert covered(known) == covered(stored("w", 1, 2))
