"""Matrix products: MatMul and Gemm, their fused and their quantised forms.

A quantised product has the MACs of the float one. Correcting for zero points (sums of
rows and columns) is not counted, since implementations fold it into the product.
"""

from __future__ import annotations

import msgspec

from rnncost.counting.cost import OpCost
from rnncost.counting.formula import ZERO, Term, formulas, letter, values
from rnncost.counting.registry import (
    ROLE_CONSTANT,
    ROLE_QUANTIZATION,
    ROLE_WEIGHT,
    agree,
    counts,
    expect,
    has,
    numel,
    shape_of,
)
from rnncost.graph.dim import Dim, Shape, product
from rnncost.graph.ir import Op

_Q = ROLE_QUANTIZATION
_W = ROLE_WEIGHT


@counts("MatMul")
def matmul(op: Op) -> OpCost:
    """a [batch…, M, K], b [batch…, K, N]  ->  batch·M·K·N MACs. Source: ONNX MatMul-13."""
    return product_cost(shape_of(op, 0), shape_of(op, 1))


@counts("MatMulInteger", roles={0: _W, 1: _W, 2: _Q, 3: _Q})
def matmul_integer(op: Op) -> OpCost:
    """Source: ONNX MatMulInteger-10; rescaling stands in separate operators."""
    return product_cost(shape_of(op, 0), shape_of(op, 1))


@counts("QLinearMatMul", roles={0: _W, 1: _Q, 2: _Q, 3: _W, 4: _Q, 5: _Q, 6: _Q, 7: _Q})
def qlinear_matmul(op: Op) -> OpCost:
    """One multiply and one add an output to requantise it. Source: ONNX QLinearMatMul-21."""
    return product_cost(shape_of(op, 0), shape_of(op, 3), rescales=1, adds=1)


@counts("com.microsoft::MatMulIntegerToFloat", roles={0: _W, 1: _W, 2: _Q, 3: _Q, 4: _Q, 5: _Q})
def matmul_integer_to_float(op: Op) -> OpCost:
    """MatMulInteger, one multiply an output to rescale it, and a bias (position 6)."""
    return product_cost(shape_of(op, 0), shape_of(op, 1), rescales=1, bias=has(op, 6))


@counts("com.microsoft::DynamicQuantizeMatMul", roles={1: _W, 2: _Q, 3: _Q})
def dynamic_quantize_matmul(op: Op) -> OpCost:
    """Quantises a as DynamicQuantizeLinear does, then counts as MatMulIntegerToFloat."""
    a = shape_of(op, 0)
    quantised = numel(a)
    return product_cost(
        a,
        shape_of(op, 1),
        rescales=1,
        bias=has(op, 4),
        more_multiplies=quantised,
        more_adds=3 * quantised,
    )


@counts("com.microsoft::FusedMatMul", "com.microsoft::TransposeMatMul")
def fused_matmul(op: Op) -> OpCost:
    """MatMul of transposed operands; a factor ``alpha`` costs one multiply an output."""
    a = _arranged(shape_of(op, 0), op.int_attr("transA", 0), op.int_attr("transBatchA", 0))
    b = _arranged(shape_of(op, 1), op.int_attr("transB", 0), op.int_attr("transBatchB", 0))
    return product_cost(a, b, rescales=int(op.float_attr("alpha", 1.0) != 1.0))


@counts("Gemm")
def gemm(op: Op) -> OpCost:
    """a [M, K], b [K, N] (either transposed), c  ->  M·K·N MACs.

    A stored c is M·N bias_adds, a computed one M·N adds; ``alpha`` and ``beta`` other than
    1 cost M·N multiplies each. Source: ONNX Gemm-13.
    """
    return _gemm(op, 0, 1, 2)


@counts("com.microsoft::FusedGemm")
def fused_gemm(op: Op) -> OpCost:
    """Gemm and one activation an output."""
    return _gemm(op, 0, 1, 2, activations=int(op.str_attr("activation", "") != ""))


@counts(
    "com.microsoft::QGemm",
    roles={0: _W, 1: _Q, 2: _Q, 3: _W, 4: _Q, 5: _Q, 6: _W, 7: _Q, 8: _Q},
)
def qgemm(op: Op) -> OpCost:
    """Gemm of 8-bit operands; requantising is one multiply and one add an output."""
    return _gemm(op, 0, 3, 6, rescales=1, adds=1)


@counts(
    "com.microsoft::MatMulNBits",
    roles={1: _W, 2: _Q, 3: _Q, 4: ROLE_CONSTANT, 5: _W},
)
def matmul_nbits(op: Op) -> OpCost:
    """a [batch…, M, K] times weights of 2 to 8 bits, K·N of them packed into bytes.

    Unpacking the weights is not counted. Source: ONNX Runtime contrib MatMulNBits-1.
    """
    k, n = op.int_attr("K", 0), op.int_attr("N", 0)
    expect(k > 0 and n > 0, "the attributes K and N are missing")
    cost = product_cost(shape_of(op, 0), (k, n), bias=has(op, 5))
    return msgspec.structs.replace(cost, params_of={1: k * n})


def _gemm(
    op: Op, a_at: int, b_at: int, c_at: int, rescales: int = 0, adds: int = 0, activations: int = 0
) -> OpCost:
    a, b = shape_of(op, a_at), shape_of(op, b_at)
    expect(len(a) == 2 and len(b) == 2, "Gemm takes matrices of two dimensions")
    a = _arranged(a, op.int_attr("transA", 0), 0)
    b = _arranged(b, op.int_attr("transB", 0), 0)
    beta = op.float_attr("beta", 1.0)
    with_c = has(op, c_at) and beta != 0.0
    c = op.tensor(c_at)
    stored = c is not None and bool(c.stored)
    scales = int(op.float_attr("alpha", 1.0) != 1.0) + int(with_c and beta != 1.0)
    return product_cost(
        a,
        b,
        rescales=rescales + scales,
        adds=adds + int(with_c and not stored),
        bias=with_c and stored,
        activations=activations,
    )


def product_cost(
    a: Shape,
    b: Shape,
    *,
    rescales: int = 0,
    adds: int = 0,
    bias: bool = False,
    activations: int = 0,
    more_multiplies: Dim = 0,
    more_adds: Dim = 0,
) -> OpCost:
    """The product of a and b under NumPy's matmul rules, with work per output element.

    ``rescales``, ``adds`` and ``activations`` are per output; ``more_…`` are totals.

    Raises:
        UncountableError: the shapes do not fit each other.
    """
    expect(len(a) > 0 and len(b) > 0, "a matrix product takes no scalars")
    batch_dims, m, k, n = matmul_extents(a, b)
    letters: dict[str, Term] = {}
    if len(batch_dims) > 0:
        letters["batch"] = letter("batch", product(batch_dims))
    letters.update(M=letter("M", m), K=letter("K", k), N=letter("N", n))
    batch = letters.get("batch")
    rows = letters["M"] if batch is None else batch * letters["M"]
    macs = rows * letters["K"] * letters["N"]
    outputs = rows * letters["N"]
    bias_adds = outputs if bias else ZERO
    return OpCost(
        kind="product",
        macs=macs.value,
        dense_macs=macs.value,
        multiplies=outputs.value * rescales + more_multiplies,
        adds=outputs.value * adds + more_adds,
        bias_adds=bias_adds.value,
        activations=outputs.value * activations,
        extents=values(**letters),
        formulas=formulas(macs=macs, bias_adds=bias_adds),
    )


def matmul_extents(a: Shape, b: Shape) -> tuple[Shape, Dim, Dim, Dim]:
    """Batch dimensions, M, K and N of a product of a and b, vectors included."""
    left = a if len(a) > 1 else (1, *a)
    right = b if len(b) > 1 else (*b, 1)
    expect(
        agree(left[-1], right[-2]),
        f"{left[-1]} columns of the first operand meet {right[-2]} rows of the second",
    )
    inner = left[-1] if isinstance(left[-1], int) else right[-2]
    return broadcast(left[:-2], right[:-2]), left[-2], inner, right[-1]


def broadcast(a: Shape, b: Shape) -> Shape:
    """The shape of two operands together, as NumPy broadcasts them."""
    rank = max(len(a), len(b))
    a = (1,) * (rank - len(a)) + a
    b = (1,) * (rank - len(b)) + b
    return tuple(_broadcast_dim(x, y) for x, y in zip(a, b, strict=True))


def _broadcast_dim(x: Dim, y: Dim) -> Dim:
    if x == 1:
        return y
    if y == 1:
        return x
    expect(agree(x, y), f"dimensions {x} and {y} do not broadcast")
    return x if isinstance(x, int) else y


def _arranged(shape: Shape, transpose: int, batch_inside: int) -> Shape:
    """A matrix operand's shape as the product sees it, [batch…, rows, columns]."""
    if batch_inside:
        shape = (*shape[1:-1], shape[0], shape[-1])
    if transpose and len(shape) > 1:
        shape = (*shape[:-2], shape[-1], shape[-2])
    return shape
