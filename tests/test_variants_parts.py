"""How an axis changes: cutting, joining, flattening and splitting its parts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from rnncost.graph.dim import hint, symbol
from rnncost.variants.parts import (
    Axis,
    Part,
    UnevenError,
    between,
    fits,
    grouped,
    is_gone,
    merged,
    new_extent,
    new_shape,
    old_extent,
    overlaid,
    place,
    repeated,
    replaced,
    resized,
    tidy,
    unmerged,
)
from rnncost.variants.stored import Cut, Drawn, Literal, make

HALVES: Axis = (Part(4, 4), Part(4, 0))
parts = st.lists(
    st.tuples(st.integers(1, 6), st.integers(0, 6)).map(lambda p: Part(*p)), min_size=1, max_size=5
)


@given(parts)
def test_tidying_keeps_both_extents(given_parts: list[Part]) -> None:
    axis = tidy(given_parts)
    old = sum(hint(part.old) for part in given_parts)
    new = sum(hint(part.new) for part in given_parts)
    if axis is None:
        assert all(part.old == part.new for part in given_parts)
    else:
        assert (old_extent(axis), new_extent(axis)) == (old, new)
        assert not any(a.old == a.new and b.old == b.new for a, b in pairwise(axis))


@given(parts, st.data())
def test_the_pieces_of_an_axis_make_it_up(given_parts: list[Part], data: st.DataObject) -> None:
    """Cut at the bounds of parts, the pieces have the extents of the whole."""
    axis = tuple(given_parts)
    bounds = [0]
    for part in axis:
        bounds.append(bounds[-1] + hint(part.old))
    at = data.draw(st.sampled_from(bounds))
    pieces = [between(axis, 0, at), between(axis, at, bounds[-1])]
    lengths = (at, bounds[-1] - at)
    total = sum(
        n if piece is None else hint(new_extent(piece))
        for piece, n in zip(pieces, lengths, strict=True)
    )
    assert total == new_extent(axis)
    first = pieces[0]
    assert place(axis, at) == (at if first is None else new_extent(first))


def test_a_place_inside_a_part_is_proportional_or_refused() -> None:
    axis = (Part(8, 4),)
    assert place(axis, 4) == 2
    with pytest.raises(UnevenError):
        place(axis, 3)
    assert place((Part(8, 8), Part(4, 2)), 5) == 5


def test_the_halves_of_a_bidirectional_layer() -> None:
    assert between(HALVES, 0, 4) is None
    assert between(HALVES, 4, 8) == (Part(4, 0),)
    assert is_gone((None, between(HALVES, 4, 8)))
    assert not is_gone((None, HALVES))
    assert merged([(Part(1, 1), Part(1, 0)), None], [2, 4]) == HALVES
    assert unmerged(HALVES, 1, 4, strict=True) == (Part(1, 1), Part(1, 0))
    with pytest.raises(UnevenError):
        unmerged(HALVES, 2, 1, strict=True)
    assert unmerged(HALVES, 2, 1, strict=False) == (Part(4, 2),)


def test_an_axis_of_every_row_changes_alike() -> None:
    """Flattened with rows before it, an axis changes in each; and it can be told apart again."""
    axis = merged([None, (Part(4, 6),)], [3, 4])
    assert axis == (Part(4, 6),) * 3
    assert unmerged(axis, 3, 1, strict=True) == (Part(4, 6),)
    free = symbol("T", 97)
    flat = merged([None, (Part(4, 6),)], [free, 4])
    assert flat is not None
    assert (old_extent(flat), new_extent(flat)) == (4 * free, 6 * free)
    assert unmerged(flat, free, 1, strict=True) == (Part(4, 6),)


def test_many_parts_become_one() -> None:
    assert merged([None, (Part(4, 6), Part(1, 2))], [100, 5]) == (Part(500, 800),)


@given(st.integers(0, 5), st.integers(1, 4), st.integers(0, 4))
def test_a_stretch_that_is_replaced(start: int, length: int, new: int) -> None:
    inner = (Part(length, new),)
    axis = replaced(None, 10, start, inner)
    if new == length:
        assert axis is None
    else:
        assert axis is not None
        assert new_extent(axis) == 10 - length + new
        assert between(axis, start, start + length) == inner


def test_two_changes_of_different_stretches_are_both_made() -> None:
    first = (Part(1, 1), Part(1, 0), Part(2, 2))
    second = (Part(2, 2), Part(1, 1), Part(1, 0))
    both = (Part(1, 1), Part(1, 0), Part(1, 1), Part(1, 0))
    assert overlaid((first, None), (second, resized(5, 6)), (4, 5)) == (both, (Part(5, 6),))
    with pytest.raises(UnevenError):
        overlaid(((Part(4, 2),),), ((Part(4, 3),),), (4,))


def test_layouts_fit_by_their_extents() -> None:
    assert fits(None, (None, (Part(4, 4),)), (2, 4))
    assert fits((None, HALVES), (None, (Part(8, 4),)), (2, 8))
    assert not fits(None, (None, HALVES), (2, 8))
    assert new_shape((None, HALVES), (2, 8)) == (2, 4)
    assert new_extent(repeated((Part(5, 3),), 4)) == 12


def test_the_axes_of_a_reshape_that_belong_together() -> None:
    t, b = symbol("T", 97), symbol("B", 11)
    groups = [(list(i), list(o)) for i, o in grouped((t, b, 2, 4), (t, b, 8))]
    assert groups == [([0], [0]), ([1], [1]), ([2, 3], [2]), ([], [])]
    groups = [(list(i), list(o)) for i, o in grouped((6, 4), (2, 12))]
    assert groups == [([0, 1], [0, 1]), ([], [])]
    groups = [(list(i), list(o)) for i, o in grouped((b, 8), (b, 8, 1))]
    assert groups == [([0], [0]), ([1], [1]), ([], [2])]
    with pytest.raises(UnevenError):
        list(grouped((3, 4), (5, 2)))


@given(parts)
def test_a_stored_tensor_is_cut_part_by_part(given_parts: list[Part]) -> None:
    axis = tuple(given_parts)
    size = hint(old_extent(axis))
    stored = numpy_helper.from_array(np.arange(2 * size, dtype=np.float32).reshape(2, size), "w")
    made = numpy_helper.to_array(make(Cut(stored, (None, axis)), "n", np.random.default_rng(0)))
    assert made.shape == (2, new_extent(axis))
    at, to = 0, 0
    for part in axis:
        old, new = hint(part.old), hint(part.new)
        for row in range(new):
            assert made[0, to + row] == at + row % old
        at, to = at + old, to + new


def test_types_of_new_tensors() -> None:
    random = np.random.default_rng(0)
    for dtype in ("float32", "float64", "float16"):
        drawn = numpy_helper.to_array(make(Drawn(dtype, (50, 40), 0.5), "n", random))
        assert drawn.dtype == np.dtype(dtype)
        assert 0.45 < np.abs(drawn).max() <= 0.5
        assert abs(float(drawn.astype("f8").mean())) < 0.05
    brain = make(Drawn("bfloat16", (3,), 0.5), "n", random)
    assert (brain.data_type, list(brain.dims)) == (16, [3])
    ints = make(Literal("int64", (3, -1)), "n", random)
    assert numpy_helper.to_array(ints).tolist() == [3, -1]
    assert numpy_helper.to_array(make(Literal("int32", (7,), True), "n", random)).shape == ()
    packed = numpy_helper.from_array(np.arange(8, dtype=np.int8).reshape(2, 4), "w")
    cut = make(Cut(packed, ((Part(2, 1),), None)), "n", random)
    assert (cut.data_type, list(cut.dims)) == (packed.data_type, [1, 4])
