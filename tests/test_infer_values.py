"""Folded elements equal what onnx's reference evaluator computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from infer_support import array_known, floats, ints, run, scalar
from onnx import helper
from onnx.reference import ReferenceEvaluator

from rnncost.frontends.onnx.infer import Call, InferenceError, Known, infer
from rnncost.frontends.onnx.infer.base import VALUE_LIMIT
from rnncost.graph.dim import symbol

Arrays = dict[str, np.ndarray]


def reference(op_type: str, arrays: list[np.ndarray], **attrs: Any) -> list[np.ndarray]:
    names = [f"x{i}" for i in range(len(arrays))]
    outputs = attrs.pop("outputs", 1)
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op_type, names, made, **attrs)
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in zip(names, arrays, strict=True)
        ],
        [helper.make_empty_tensor_value_info(name) for name in made],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return ReferenceEvaluator(model).run(None, dict(zip(names, arrays, strict=True)))


def folded(op_type: str, arrays: list[np.ndarray], **attrs: Any) -> tuple[Known, ...]:
    outputs = attrs.pop("outputs", 1)
    frozen = {k: tuple(v) if isinstance(v, list) else v for k, v in attrs.items()}
    inputs = tuple(array_known(a) for a in arrays)
    return infer(Call(op_type=op_type, opset=21, attrs=frozen, inputs=inputs, outputs=outputs))


def check(op_type: str, arrays: list[np.ndarray], **attrs: Any) -> None:
    """Every output is folded, and to what the reference computes."""
    truth = reference(op_type, arrays, **attrs)
    for mine, theirs in zip(folded(op_type, arrays, **attrs), truth, strict=True):
        assert mine.shape == theirs.shape
        assert mine.value is not None
        assert mine.value == tuple(theirs.ravel().tolist())


@st.composite
def arrays(draw: st.DrawFn, dtype: str = "int64", low: int = -9, high: int = 9) -> np.ndarray:
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    size = int(np.prod(shape))
    values = draw(st.lists(st.integers(low, high), min_size=size, max_size=size))
    return np.array(values, dtype).reshape(shape)


@st.composite
def pairs(draw: st.DrawFn, dtype: str = "int64", low: int = -9) -> list[np.ndarray]:
    """Two arrays that broadcast together."""
    a = draw(arrays(dtype, low))
    keep = [d if draw(st.booleans()) else 1 for d in a.shape][draw(st.integers(0, 1)) :]
    size = int(np.prod(keep))
    values = draw(st.lists(st.integers(low, 9), min_size=size, max_size=size))
    return [a, np.array(values, dtype).reshape(keep)]


WIDTHS = st.sampled_from(["int64", "int32", "float32", "float64", "float16"])
EXACT = ["Add", "Sub", "Mul", "Max", "Min", "Equal", "Less", "LessOrEqual", "Greater"]


@given(st.data(), st.sampled_from([*EXACT, "GreaterOrEqual"]), WIDTHS)
@settings(max_examples=150, deadline=None)
def test_binary_arithmetic_and_comparisons(data: st.DataObject, op: str, dtype: str) -> None:
    check(op, data.draw(pairs(dtype)))


@given(pairs("int64"), st.sampled_from([0, 1]))
@settings(deadline=None)
def test_integer_division_and_remainders(sources: list[np.ndarray], fmod: int) -> None:
    divisor = np.where(sources[1] == 0, 4, sources[1])
    check("Mod", [sources[0], divisor], fmod=fmod)
    (quotient,) = folded("Div", [sources[0], divisor])
    assert quotient.value == tuple(np.trunc(sources[0] / divisor).astype(int).ravel().tolist())


@given(pairs("float32"))
@settings(deadline=None)
def test_float_division_is_rounded_to_the_format(sources: list[np.ndarray]) -> None:
    check("Div", [sources[0], np.where(sources[1] == 0, 7, sources[1]).astype("float32")])


@given(pairs("bool", 0), st.sampled_from(["And", "Or", "Xor"]))
@settings(deadline=None)
def test_logic(sources: list[np.ndarray], op: str) -> None:
    check(op, sources)
    check("Not", sources[:1])


@given(arrays("float32"), st.sampled_from(["Abs", "Neg", "Floor", "Ceil", "Round", "Sign"]))
@settings(deadline=None)
def test_unary(source: np.ndarray, op: str) -> None:
    check(op, [(source / np.float32(2)).astype("float32")])


@given(arrays(low=0), st.sampled_from(["float32", "float64"]))
@settings(deadline=None)
def test_roots_and_powers(source: np.ndarray, dtype: str) -> None:
    check("Sqrt", [source.astype(dtype)])
    check("Pow", [source, np.array(3, "int64")])


DTYPES = ["int64", "int32", "int8", "uint8", "uint16", "bool", "float32", "float16", "float64"]


@given(arrays(low=-300, high=300), st.sampled_from(DTYPES), st.sampled_from(DTYPES))
@settings(max_examples=150, deadline=None)
def test_casts(source: np.ndarray, first: str, second: str) -> None:
    start = source.astype(first)
    to = helper.np_dtype_to_tensor_dtype(np.dtype(second))
    (mine,) = folded("Cast", [start], to=to)
    if mine.value is None:  # a float outside the integer's range has no defined result
        low, high = np.iinfo(second).min, np.iinfo(second).max
        assert start.dtype.kind == "f"
        wide = start.astype("float64")
        assert not ((wide >= low) & (wide <= high)).all()
    else:
        (theirs,) = reference("Cast", [start], to=to)
        assert mine.value == tuple(theirs.ravel().tolist())


REDUCTIONS = ["ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceMean"]


@given(st.data(), st.sampled_from(REDUCTIONS), st.sampled_from([0, 1]))
@settings(deadline=None)
def test_reductions(data: st.DataObject, op: str, keepdims: int) -> None:
    source = data.draw(arrays("float32" if op == "ReduceMean" else "int64"))
    axes = data.draw(st.sets(st.integers(-source.ndim, source.ndim - 1), min_size=1, max_size=2))
    if len({axis % source.ndim for axis in axes}) == len(axes):
        (theirs,) = reference(op, [source, np.array(sorted(axes))], keepdims=keepdims)
        (mine,) = folded(op, [source, np.array(sorted(axes))], keepdims=keepdims)
        assert mine.shape == theirs.shape
        assert mine.value == pytest.approx(theirs.ravel().tolist(), rel=1e-6)


@given(st.data(), st.booleans(), st.booleans())
@settings(deadline=None)
def test_running_sums(data: st.DataObject, reverse: bool, exclusive: bool) -> None:
    source = data.draw(arrays())
    axis = np.array(data.draw(st.integers(0, source.ndim - 1)))
    check("CumSum", [source, axis], reverse=int(reverse), exclusive=int(exclusive))


@given(st.data(), st.sampled_from(["ArgMax", "ArgMin"]), st.sampled_from([0, 1]))
@settings(deadline=None)
def test_extremes(data: st.DataObject, op: str, last: int) -> None:
    source = data.draw(arrays(low=-2, high=2))
    axis = data.draw(st.integers(0, source.ndim - 1))
    check(op, [source], axis=axis, select_last_index=last)
    k = data.draw(st.integers(1, source.shape[axis]))
    # The reference leaves the order among equal elements open; values do not depend on it.
    mine, _ = folded("TopK", [source, np.array([k])], axis=axis, outputs=2)
    theirs, _ = reference("TopK", [source, np.array([k])], axis=axis, outputs=2)
    assert mine.value == tuple(theirs.ravel().tolist())


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_slices(data: st.DataObject) -> None:
    source = data.draw(arrays())
    axis = data.draw(st.integers(-source.ndim, source.ndim - 1))
    ends = st.one_of(st.integers(-5, 5), st.sampled_from([2**63 - 1, -(2**63) + 1, 2**31 - 1]))
    start, end = data.draw(ends), data.draw(ends)
    step = data.draw(st.sampled_from([1, 2, 3, -1, -2]))
    if step < 0:  # ONNX clamps a start before the front to 0, the reference leaves nothing
        start = max(start, -source.shape[axis])
    check("Slice", [source, *(np.array([n]) for n in (start, end, axis, step))])


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_chains_of_shape_arithmetic(data: st.DataObject) -> None:
    """A few operators in a row, each on the result before."""
    array = data.draw(arrays())
    mine = array_known(array)
    for _ in range(4):
        op, extra, attrs = data.draw(_step(array))
        frozen = {k: tuple(v) if isinstance(v, list) else v for k, v in attrs.items()}
        given_ = (mine, *(array_known(e) for e in extra))
        (mine,) = infer(Call(op_type=op, opset=21, attrs=frozen, inputs=given_, outputs=1))
        (array,) = reference(op, [array, *extra], **attrs)
        assert mine.shape == array.shape
        assert mine.value == tuple(array.ravel().tolist())


@st.composite
def _step(draw: st.DrawFn, x: np.ndarray) -> tuple[str, list[np.ndarray], dict[str, Any]]:
    rank = x.ndim
    axis = draw(st.integers(0, max(rank - 1, 0)))
    steps: list[tuple[str, list[np.ndarray], dict[str, Any]]] = [
        ("Reshape", [np.array([-1])], {}),
        ("Unsqueeze", [np.array([0])], {}),
        ("Unsqueeze", [np.array([-1, 0])], {}),
        ("Expand", [np.array([2, *x.shape])], {}),
        ("Add", [np.array(3)], {}),
        ("Identity", [], {}),
        ("Mul", [np.array(-2)], {}),
        ("Shape", [], {}),
        ("Size", [], {}),
    ]
    if rank and x.size:
        extent = x.shape[axis]
        indices = draw(st.lists(st.integers(-extent, extent - 1), min_size=1, max_size=3))
        pads = draw(st.lists(st.integers(0, 2), min_size=2 * rank, max_size=2 * rank))
        steps += [
            ("Gather", [np.array(indices)], {"axis": axis}),
            ("Gather", [np.array(indices[0])], {"axis": axis}),
            ("Transpose", [], {"perm": draw(st.permutations(range(rank)))}),
            ("Concat", [x + 1], {"axis": axis}),
            ("Tile", [np.array([2] + [1] * (rank - 1))], {}),
            ("Pad", [np.array(pads), np.array(7)], {}),
            ("Squeeze", [], {}),
            ("Flatten", [], {"axis": draw(st.integers(0, rank))}),
            ("CumSum", [np.array(axis)], {}),
        ]
    return draw(st.sampled_from([s for s in steps if x.size < 300 or s[0] in ("Shape", "Size")]))


def test_split_where_and_one_hot() -> None:
    source = np.arange(12).reshape(3, 4)
    for mine, theirs in zip(
        folded("Split", [source, np.array([1, 3])], axis=1, outputs=2),
        reference("Split", [source, np.array([1, 3])], axis=1, outputs=2),
        strict=True,
    ):
        assert mine.value == tuple(theirs.ravel().tolist())
    check("Where", [source > 4, source, np.array(-1)])
    for axis in (-1, 0, 1):
        check("OneHot", [source % 3, np.array(3), np.array([5, 6])], axis=axis)
    check("NonZero", [source % 3])
    check("ScatterElements", [source, np.array([[1, 0]]), np.array([[70, 80]])], axis=0)
    check("ScatterND", [source, np.array([[1], [2]]), source[:2] * 9])
    check("GatherND", [source, np.array([[1, 2], [0, 3]])])
    check("Range", [np.array(7), np.array(-3), np.array(-2)])
    check("Range", [np.array(0.0), np.array(4.0), np.array(1.0)])


def test_integers_wrap_at_their_width() -> None:
    check("Add", [np.array([2**31 - 1], "int32"), np.array([1], "int32")])
    check("Mul", [np.array([200], "uint8"), np.array([2], "uint8")])
    check("Sub", [np.array([0], "uint8"), np.array([1], "uint8")])


def test_what_is_not_certain_is_unknown() -> None:
    assert run("Div", ints(1), ints(0)).value is None
    nan = Known(dtype="float32", shape=(1,), value=(float("nan"),))
    assert run("Cast", nan, to=7).value is None
    assert run("Sqrt", Known(dtype="float32", shape=(1,), value=(-1.0,))).value is None
    huge = Known(dtype="float32", shape=(1,), value=(3e38,))
    assert run("Mul", huge, huge).value is None
    assert run("Range", scalar(0.0, "float32"), scalar(1.0, "float32"), scalar(0.1, "float32")) == (
        Known(dtype="float32", shape=(10,))
    )


def test_large_results_keep_their_shape_alone() -> None:
    result = run("Expand", ints(1), ints(VALUE_LIMIT + 1))
    assert (result.shape, result.value) == ((VALUE_LIMIT + 1,), None)
    assert run("ConstantOfShape", ints(10**9, 10**9)).shape == (10**9, 10**9)
    assert run("Tile", ints(), ints(2**40)).value == ()
    empty = Known(dtype="int64", shape=(2**40, 0), value=())
    assert run("Transpose", empty).value == ()
    assert run("ReduceSum", empty, ints(1)).value is None


def test_huge_powers_stay_small() -> None:
    assert run("Pow", ints(3), ints(2**40)).value == (pow(3, 2**40, 2**64) - 2**64,)


def test_free_dimensions_in_arithmetic() -> None:
    seq = symbol("seq", 97)
    half = run("Div", run("Add", ints(seq), ints(1)), ints(2))
    assert str(half.value) == "(((seq + 1) // 2),)"
    as_float = run("Cast", ints(4 * seq), to=1)
    assert run("Cast", run("Mul", as_float, as_float), to=7).value == (16 * seq * seq,)
    two = Known(dtype="float32", shape=(1,), value=(2.0,))
    assert run("Floor", run("Div", as_float, two)).value == (2 * seq,)
    assert (
        run(
            "Div", run("Add", as_float, two), Known(dtype="float32", shape=(1,), value=(8.0,))
        ).value
        is None
    )
    halves = Known(dtype="float32", shape=(2,), value=(seq, 1.0))
    assert run("ReduceMean", halves).value is None


def test_comparisons_of_free_dimensions_are_known_only_where_every_size_agrees() -> None:
    """A formula must hold for other sizes than the sample too; every size is at least 1."""
    seq, batch = symbol("seq", 97), symbol("batch", 3)
    assert run("Less", ints(seq), ints(98)).value is None
    assert run("Less", ints(seq - 1), ints(seq)).value == (True,)
    assert run("Less", ints(seq), ints(1)).value == (False,)
    assert run("GreaterOrEqual", ints(seq + batch), ints(2)).value == (True,)
    assert run("Greater", ints(seq + batch), ints(2)).value is None
    assert run("Equal", ints(seq), ints(5)).value is None
    assert run("Equal", ints(seq), ints(-1)).value == (False,)
    assert run("Equal", ints(2 * seq), ints(seq + seq)).value == (True,)
    assert run("Sign", ints(seq)).value == (1,)
    assert run("Sign", ints(seq - 5)).value is None
    assert str(run("Abs", ints(seq - 5)).value) == "(max(-seq + 5, seq - 5),)"


def test_expressions_do_not_grow_without_bounds() -> None:
    a, b = symbol("a", 3), symbol("b", 5)
    sums, powers = ints(a + b), ints(a + b)
    for _ in range(64):
        sums = run("Add", run("Div", sums, ints(2)), run("Div", sums, ints(3)))
        powers = run("Mul", powers, powers)
    assert sums.value is None
    assert powers.value is None
    with pytest.raises(InferenceError, match="too long"):
        run("Size", floats(*(symbol(f"d{i}", 2) + 1 for i in range(200))))
