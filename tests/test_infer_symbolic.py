"""Inference with free dimensions equals inference with integers at every binding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from infer_support import at, call, floats, ints, run, values_at

from rnncost.frontends.onnx.infer import InferenceError, Known, infer
from rnncost.graph.dim import Dim, Expr, evaluate, symbol

SEQ, BATCH = symbol("seq", 97), symbol("batch", 7)
BINDINGS = st.fixed_dictionaries({"seq": st.integers(1, 40), "batch": st.integers(1, 9)})
Bindings = Mapping[str, int]
Settled = Callable[[Dim], Dim]


def settle(bindings: Bindings) -> Settled:
    return lambda dim: evaluate(dim, bindings)


def agree(
    op: str, sources: Callable[[Settled], list[Known]], bindings: Bindings, **attrs: Any
) -> None:
    """The free inference, evaluated, is the plain one, unless the binding contradicts the node."""
    free = infer(call(op, *sources(lambda dim: dim), **attrs))
    try:
        plain = infer(call(op, *sources(settle(bindings)), **attrs))
    except InferenceError:
        return
    for mine, truth in zip(free, plain, strict=True):
        assert mine.shape is not None
        assert at(mine.shape, bindings) == truth.shape
        if mine.value is not None and truth.value is not None:
            assert values_at(mine.value, bindings) == truth.value


DIMS = st.sampled_from([SEQ, BATCH, 2 * SEQ, SEQ + 3, SEQ * BATCH, (SEQ + 1) // 2, 1, 4, 12])
SHAPES = st.lists(DIMS, min_size=1, max_size=3)
SMALL = st.integers(1, 4)


@given(SHAPES, st.data(), BINDINGS)
@settings(max_examples=200, deadline=None)
def test_slices(dims: list[Dim], data: st.DataObject, bindings: Bindings) -> None:
    axis = data.draw(st.integers(0, len(dims) - 1))
    ends = st.one_of(st.integers(-6, 6), st.sampled_from([2**63 - 1, -(2**63), 2**31 - 1, SEQ]))
    start, end, step = data.draw(ends), data.draw(ends), data.draw(st.sampled_from([1, 2, -1, -3]))

    def sources(f: Settled) -> list[Known]:
        return [floats(*map(f, dims)), ints(f(start)), ints(f(end)), ints(axis), ints(step)]

    agree("Slice", sources, bindings)


@given(st.data(), BINDINGS)
@settings(max_examples=200, deadline=None)
def test_convolutions_and_pools(data: st.DataObject, bindings: Bindings) -> None:
    kernel, stride, dilation = (data.draw(SMALL) for _ in range(3))
    mode = data.draw(st.sampled_from(["NOTSET", "SAME_UPPER", "VALID"]))
    attrs: dict[str, Any] = {"strides": [stride], "dilations": [dilation], "auto_pad": mode}
    attrs["kernel_shape"] = [kernel]
    if mode == "NOTSET":
        attrs["pads"] = [data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))]
    op = data.draw(st.sampled_from(["Conv", "ConvTranspose", "MaxPool", "AveragePool"]))
    if op.endswith("Pool"):
        attrs["ceil_mode"] = data.draw(st.integers(0, 1))
    weights = [floats(6, 6, kernel)] if op.startswith("Conv") else []
    agree(op, lambda f: [floats(f(BATCH), 6, f(SEQ)), *weights], bindings, **attrs)


@given(SHAPES, st.data(), BINDINGS)
@settings(max_examples=200, deadline=None)
def test_shaping(dims: list[Dim], data: st.DataObject, bindings: Bindings) -> None:
    rank = len(dims)
    axis = data.draw(st.integers(0, rank - 1))
    other = data.draw(DIMS)
    op, extra, attrs = data.draw(
        st.sampled_from(
            [
                ("Shape", [], {}),
                ("Size", [], {}),
                ("Flatten", [], {"axis": axis}),
                ("Transpose", [], {}),
                ("Unsqueeze", [[0, -1]], {}),
                ("Reshape", [[-1]], {}),
                ("Reshape", [[0, -1]], {}),
                ("Reshape", [[*dims, 1]], {}),
                ("Reshape", [[dims[0], -1]], {}),
                ("Expand", [[other, *dims]], {}),
                ("Tile", [[other] * rank], {}),
                ("Pad", [[3] * rank + [0] * rank], {}),
                ("Pad", [[other] * 2 * rank], {}),
                ("ReduceSum", [[axis]], {}),
                ("Softmax", [], {}),
                ("Split", [[1, dims[axis] - 1]], {"axis": axis, "outputs": 2}),
                ("TopK", [[1]], {"axis": axis, "outputs": 2}),
                ("SpaceToDepth", [], {"blocksize": 1}),
            ]
        )
    )
    if op == "SpaceToDepth":
        dims = [*dims, 1, 1, 1][:4]

    def sources(f: Settled) -> list[Known]:
        return [floats(*map(f, dims)), *(ints(*map(f, values)) for values in extra)]

    agree(op, sources, bindings, **attrs)


@given(st.lists(st.tuples(DIMS, DIMS), min_size=1, max_size=4), BINDINGS)
@settings(max_examples=200, deadline=None)
def test_range_and_concat(pairs: list[tuple[Dim, Dim]], bindings: Bindings) -> None:
    def joined(f: Settled) -> list[Known]:
        return [floats(f(SEQ), f(a), 3) for a, _ in pairs]

    agree("Concat", joined, bindings, axis=1)
    start, limit = pairs[0]

    def ends(f: Settled) -> list[Known]:
        return [ints(f(start)), ints(f(limit)), ints(2)]

    agree("Range", ends, bindings)


ARITHMETIC = st.sampled_from(["Add", "Sub", "Mul", "Max", "Min", "Div", "Mod"])


@given(
    st.lists(DIMS, min_size=3, max_size=3), st.lists(ARITHMETIC, min_size=2, max_size=2), BINDINGS
)
@settings(max_examples=200, deadline=None)
def test_arithmetic(dims: list[Dim], ops: list[str], bindings: Bindings) -> None:
    """Sums, products and quotients of positive dimensions, where truncation is flooring."""

    def compute(f: Settled) -> tuple[Any, ...] | None:
        total = run(ops[0], ints(f(dims[0])), ints(f(dims[1])))
        divides = ops[1] in ("Div", "Mod")
        if total.value is None or (divides and ops[0] == "Sub"):
            return None
        return run(ops[1], total, ints(f(dims[2]))).value

    free, plain = compute(lambda dim: dim), compute(settle(bindings))
    if free is not None and plain is not None:
        assert values_at(free, bindings) == plain


@given(BINDINGS, st.sampled_from(["forward", "bidirectional"]), st.sampled_from([0, 1]))
def test_recurrent_layers(bindings: Bindings, direction: str, layout: int) -> None:
    directions = 2 if direction == "bidirectional" else 1
    w, r = floats(directions, 20, 6), floats(directions, 20, 5)

    def sources(f: Settled) -> list[Known]:
        return [floats(f(SEQ), f(BATCH), 6), w, r]

    agree("LSTM", sources, bindings, direction=direction, layout=layout, outputs=3)


def test_a_free_dimension_survives_shape_arithmetic() -> None:
    """The way exporters flatten all but the last axis and back."""
    x = floats(BATCH, SEQ, 256)
    shape = run("Shape", x)
    batch = run("Gather", shape, ints(0))
    target = run("Concat", batch, ints(-1, 64, 4), axis=0)
    assert run("Reshape", x, target).shape == (BATCH, SEQ, 64, 4)
    seq = run("Slice", shape, ints(1), ints(2))
    assert run("ConstantOfShape", run("Concat", seq, batch, axis=0)).shape == (SEQ, BATCH)
    flat = run("Reshape", x, ints(-1, 256))
    assert flat.shape == (BATCH * SEQ, 256)
    assert run("Reshape", flat, target).shape == (BATCH, SEQ, 64, 4)


def test_slices_of_free_dimensions_read_as_people_write_them() -> None:
    x = floats(SEQ, 4)
    assert run("Slice", x, ints(1), ints(2**63 - 1)).shape == (SEQ - 1, 4)
    assert run("Slice", x, ints(0), ints(-1)).shape == (SEQ - 1, 4)
    assert str(run("Slice", x, ints(0), ints(50)).shape) == "(min(50, seq), 4)"
    assert run("Slice", floats(SEQ + 9, 4), ints(0), ints(5)).shape == (5, 4)


def test_equal_dimensions_of_different_names() -> None:
    frames = symbol("frames", 97)
    assert run("Add", floats(SEQ, 4), floats(frames, 1)).shape == (SEQ, 4)
    assert run("Add", floats(SEQ, 4), floats(97, 1)).shape == (97, 4)
    assert run("Add", floats(symbol("b", 1), 4), floats(8, 1)).shape == (8, 4)
    assert run("Concat", floats(2, SEQ), floats(3, 97), axis=0).shape == (5, 97)


def test_expressions_stay_exact_through_resize() -> None:
    scales = Known(dtype="float32", shape=(3,), value=(1.0, 1.0, 0.5))
    resized = run("Resize", floats(1, 2, SEQ), None, scales)
    assert resized.shape is not None
    assert isinstance(resized.shape[2], Expr)
    for seq in range(1, 30):
        assert at(resized.shape, {"seq": seq}) == (1, 2, seq // 2)
