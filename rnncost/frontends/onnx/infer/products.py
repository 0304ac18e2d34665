"""Matrix products: MatMul, Gemm, Einsum and their fused and quantised forms."""

from __future__ import annotations

from rnncost.frontends.onnx.infer.base import Call, InferenceError, Known, infers
from rnncost.frontends.onnx.infer.bounds import broadcast, broadcast_dim, same, shape_text
from rnncost.frontends.onnx.infer.operands import (
    dtype_attr,
    expect_rank,
    int_attr,
    known,
    operand,
    quoted,
    required_int,
    str_attr,
    unknown,
)
from rnncost.graph.dim import Dim, Shape


def matmul_shape(a: Shape, b: Shape) -> Shape:
    """The shape of numpy's matmul: 1-D operands act as a row or a column and lose it again.

    Raises:
        InferenceError: an operand is a scalar, or the inner or the batch dimensions differ.
    """
    if not a or not b:
        raise InferenceError("a matrix product needs operands of at least 1 dimension")
    left = (1, *a) if len(a) == 1 else a
    right = (*b, 1) if len(b) == 1 else b
    same(left[-1], right[-2], f"the inner dimensions of {shape_text(a)} and {shape_text(b)}")
    batch = broadcast(left[:-2], right[:-2])
    rows = () if len(a) == 1 else (left[-2],)
    columns = () if len(b) == 1 else (right[-1],)
    return (*batch, *rows, *columns)


def _product(a: Known, b: Known, dtype: str) -> tuple[Known, ...]:
    if a.shape is None or b.shape is None:
        return unknown(dtype)
    return (known(dtype, matmul_shape(a.shape, b.shape)),)


@infers("MatMul")
def matmul(call: Call) -> tuple[Known, ...]:
    a = operand(call, 0)
    return _product(a, operand(call, 1), a.dtype)


@infers("MatMulInteger", "com.microsoft::MatMulInteger16")
def matmul_integer(call: Call) -> tuple[Known, ...]:
    return _product(operand(call, 0), operand(call, 1), "int32")


@infers("QLinearMatMul")
def qlinear_matmul(call: Call) -> tuple[Known, ...]:
    return _product(operand(call, 0), operand(call, 3), operand(call, 7).dtype)


@infers("com.microsoft::MatMulIntegerToFloat")
def matmul_integer_to_float(call: Call) -> tuple[Known, ...]:
    return _product(operand(call, 0), operand(call, 1), operand(call, 2).dtype)


@infers("com.microsoft::DynamicQuantizeMatMul")
def dynamic_quantize_matmul(call: Call) -> tuple[Known, ...]:
    a = operand(call, 0)
    return _product(a, operand(call, 1), a.dtype)


@infers(
    "com.microsoft::FusedMatMul",
    "com.microsoft::FusedMatMulActivation",
    "com.microsoft::TransposeMatMul",
    "com.microsoft::SparseToDenseMatMul",
)
def fused_matmul(call: Call) -> tuple[Known, ...]:
    """MatMul after swapping the last two dimensions, or moving the batch inwards."""
    a, b = operand(call, 0), operand(call, 1)
    if a.shape is None or b.shape is None:
        return unknown(a.dtype)
    left = _turned(a.shape, int_attr(call, "transBatchA", 0), int_attr(call, "transA", 0))
    right = _turned(b.shape, int_attr(call, "transBatchB", 0), int_attr(call, "transB", 0))
    return (known(a.dtype, matmul_shape(left, right)),)


def _turned(shape: Shape, batch: int, swap: int) -> Shape:
    """The operand as the product sees it.

    ``batch`` moves the first dimension to the last but one, ``swap`` then exchanges the
    last two (attributes transBatchA and transA of ONNX Runtime's FusedMatMul).
    """
    if len(shape) < 2:
        return shape
    if batch:
        shape = (*shape[1:-1], shape[0], shape[-1])
    return (*shape[:-2], shape[-1], shape[-2]) if swap else shape


@infers("Gemm", "com.microsoft::FusedGemm", "com.microsoft::GemmFastGelu")
def gemm(call: Call) -> tuple[Known, ...]:
    a = operand(call, 0)
    return _gemm(call, a, operand(call, 1), call.input(2), a.dtype)


@infers("com.microsoft::QGemm")
def qgemm(call: Call) -> tuple[Known, ...]:
    """Quantised output when a zero point for it is given, float output otherwise."""
    scale, zero_point = operand(call, 1), call.input(8)
    dtype = scale.dtype if zero_point is None else zero_point.dtype
    return _gemm(call, operand(call, 0), operand(call, 3), call.input(6), dtype)


@infers("com.microsoft::GemmFloat8")
def gemm_float8(call: Call) -> tuple[Known, ...]:
    dtype = dtype_attr(call, "dtype", "float32")
    return _gemm(call, operand(call, 0), operand(call, 1), call.input(2), dtype)


def _gemm(call: Call, a: Known, b: Known, c: Known | None, dtype: str) -> tuple[Known, ...]:
    if a.shape is None or b.shape is None:
        return unknown(dtype)
    expect_rank(a.shape, 2, "A")
    expect_rank(b.shape, 2, "B")
    rows, inner = a.shape[::-1] if int_attr(call, "transA", 0) else a.shape
    other, columns = b.shape[::-1] if int_attr(call, "transB", 0) else b.shape
    same(inner, other, f"the inner dimensions of {shape_text(a.shape)} and {shape_text(b.shape)}")
    shape = (rows, columns)
    if c is not None and c.shape is not None and len(broadcast(shape, c.shape)) != 2:
        raise InferenceError(f"C {shape_text(c.shape)} does not broadcast to {shape_text(shape)}")
    return (known(dtype, shape),)


@infers("com.microsoft::MatMulNBits", "com.microsoft::MatMulBnb4", "com.microsoft::MatMulFpQ4")
def matmul_nbits(call: Call) -> tuple[Known, ...]:
    """[..., K] times a packed [N, K] weight -> [..., N]."""
    a = operand(call, 0)
    if a.shape is None:
        return unknown(a.dtype)
    inner, columns = required_int(call, "K"), required_int(call, "N")
    same(a.shape[-1], inner, f"the last dimension of {shape_text(a.shape)} and K")
    return (known(a.dtype, (*a.shape[:-1], columns)),)


@infers("Einsum")
def einsum(call: Call) -> tuple[Known, ...]:
    """The terms of the equation name dimensions; an ellipsis stands for those that broadcast."""
    sources = [operand(call, index) for index in range(len(call.inputs))]
    if not sources:
        raise InferenceError("an Einsum needs at least one input")
    shapes = [source.shape for source in sources if source.shape is not None]
    if len(shapes) != len(sources):
        return unknown(sources[0].dtype)
    equation = str_attr(call, "equation", "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise InferenceError(f"equation {quoted(equation)} does not have {len(shapes)} terms")
    extents: dict[str, Dim] = {}
    spread: Shape = ()
    for term, shape in zip(terms, shapes, strict=True):
        spread = _bind(term, shape, extents, spread)
    if not arrow:
        letters = sorted(letter for letter in extents if left.count(letter) == 1)
        right = ("..." if "..." in left else "") + "".join(letters)
    return (known(sources[0].dtype, _output(right, extents, spread)),)


def _bind(term: str, shape: Shape, extents: dict[str, Dim], spread: Shape) -> Shape:
    """Give each letter of a term its dimension; the ellipsis aligns with those before."""
    before, dots, after = term.partition("...")
    free = len(shape) - len(before) - len(after)
    if free < 0 or (free and not dots):
        raise InferenceError(f"term {quoted(term)} does not fit {shape_text(shape)}")
    tail = shape[len(shape) - len(after) :]
    pairs = [*zip(before, shape, strict=False), *zip(after, tail, strict=True)]
    for letter, dim in pairs:
        if not letter.isalpha():
            raise InferenceError(f"term {quoted(term)} is not made of letters")
        shared = broadcast_dim(extents.get(letter, dim), dim)
        if shared is None:
            raise InferenceError(f"dimension {letter!r} is both {extents[letter]} and {dim}")
        extents[letter] = shared
    inner = shape[len(before) : len(before) + free]
    return broadcast(spread, inner) if dots else spread


def _output(term: str, extents: dict[str, Dim], spread: Shape) -> Shape:
    before, dots, after = term.partition("...")
    for letter in before + after:
        if letter not in extents:
            raise InferenceError(f"the output term {quoted(term)} names no dimension of the inputs")
    middle = spread if dots else ()
    return (*[extents[c] for c in before], *middle, *[extents[c] for c in after])
