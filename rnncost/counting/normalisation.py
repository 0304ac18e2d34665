"""Softmax and the normalisations.

With n elements in r rows, work is that of the ONNX definition of each operator, step by
step. Where the definition adds a stored vector, that is n bias adds.
"""

from __future__ import annotations

from rnncost.counting.cost import OpCost
from rnncost.counting.reduction import fewer
from rnncost.counting.registry import (
    ROLE_CONSTANT,
    ROLE_STATISTIC,
    counts,
    expect,
    has,
    numel,
    output_shape,
    shape_of,
)
from rnncost.graph.dim import Dim, product
from rnncost.graph.ir import Op

_KIND = "normalisation"


@counts("Softmax")
def softmax(op: Op) -> OpCost:
    """Maximum n-r, subtraction n, exponential n, sum n-r, division n. Source: ONNX Softmax-13."""
    n, r = _softmax_extents(op)
    return OpCost(kind=_KIND, multiplies=n, adds=softmax_adds(n, r), activations=n)


@counts("LogSoftmax")
def log_softmax(op: Op) -> OpCost:
    """Softmax with a logarithm a row and a subtraction an element instead of the division."""
    n, r = _softmax_extents(op)
    return OpCost(kind=_KIND, adds=softmax_adds(n, r) + n, activations=n + r)


@counts("Hardmax")
def hardmax(op: Op) -> OpCost:
    """n - r comparisons."""
    n, r = _softmax_extents(op)
    return OpCost(kind=_KIND, adds=fewer(n, r))


@counts("com.microsoft::BiasSoftmax")
def bias_softmax(op: Op) -> OpCost:
    """Softmax of the sum with a bias."""
    n, r = _softmax_extents(op)
    return OpCost(kind=_KIND, multiplies=n, adds=softmax_adds(n, r) + n, activations=n)


@counts("BatchNormalization", roles={3: ROLE_STATISTIC, 4: ROLE_STATISTIC})
def batch_normalization(op: Op) -> OpCost:
    """One multiply and one bias add an element: at inference the statistics are folded in.

    With ``training_mode`` = 1, or without statistics, mean and variance are computed over
    each channel.
    Source: ONNX BatchNormalization-15.
    """
    shape = shape_of(op, 0)
    n = numel(shape)
    if op.int_attr("training_mode", 0) == 0 and has(op, 3):
        return OpCost(kind=_KIND, multiplies=n, bias_adds=n)
    expect(len(shape) >= 2, "the input has no channels")
    return _standardised(op, n, shape[1])


@counts("LayerNormalization")
def layer_normalization(op: Op) -> OpCost:
    """Mean and variance of each row, then scale and bias. Source: ONNX LayerNormalization-17."""
    shape = shape_of(op, 0)
    return _standardised(op, numel(shape), _rows(shape, op.int_attr("axis", -1)))


@counts("InstanceNormalization")
def instance_normalization(op: Op) -> OpCost:
    """As LayerNormalization with a row a sample and channel. ONNX InstanceNormalization-6."""
    shape = shape_of(op, 0)
    expect(len(shape) >= 2, "the input has no channels")
    return _standardised(op, numel(shape), shape[0] * shape[1])


@counts("GroupNormalization")
def group_normalization(op: Op) -> OpCost:
    """As LayerNormalization with a row a sample and group. ONNX GroupNormalization-21."""
    shape = shape_of(op, 0)
    groups = op.int_attr("num_groups", 0)
    expect(groups > 0, "the attribute num_groups is missing")
    return _standardised(op, numel(shape), shape[0] * groups)


@counts("MeanVarianceNormalization")
def mean_variance_normalization(op: Op) -> OpCost:
    """Standardisation without scale or bias. Source: ONNX MeanVarianceNormalization-13."""
    shape = shape_of(op, 0)
    axes = op.ints_attr("axes") or (0, 2, 3)
    reduced = {axis % len(shape) for axis in axes}
    r = product(d for at, d in enumerate(shape) if at not in reduced)
    n = numel(shape)
    return OpCost(kind=_KIND, multiplies=2 * n + 3 * r, adds=3 * n, activations=r)


@counts("RMSNormalization", "SimplifiedLayerNormalization")
def rms_normalization(op: Op) -> OpCost:
    """Root mean square of each row, then scale. Source: ONNX RMSNormalization-23."""
    shape = shape_of(op, 0)
    return _scaled(op, numel(shape), _rows(shape, op.int_attr("axis", -1)))


@counts("com.microsoft::SkipLayerNormalization")
def skip_layer_normalization(op: Op) -> OpCost:
    """The sum with the skip input and a bias (position 4), then LayerNormalization."""
    shape = shape_of(op, 0)
    cost = _standardised(op, numel(shape), product(shape[:-1]), 2, 3)
    return _with_sum(cost, numel(shape), has(op, 4))


@counts("com.microsoft::SkipSimplifiedLayerNormalization")
def skip_rms_normalization(op: Op) -> OpCost:
    """The sum with the skip input and a bias (position 3), then RMSNormalization."""
    shape = shape_of(op, 0)
    cost = _scaled(op, numel(shape), product(shape[:-1]), 2)
    return _with_sum(cost, numel(shape), has(op, 3))


@counts(
    "com.microsoft::EmbedLayerNormalization",
    roles={0: ROLE_CONSTANT, 1: ROLE_CONSTANT, 7: ROLE_CONSTANT, 8: ROLE_CONSTANT},
)
def embed_layer_normalization(op: Op) -> OpCost:
    """Two or three embeddings summed, then LayerNormalization."""
    shape = output_shape(op)
    n = numel(shape)
    cost = _standardised(op, n, product(shape[:-1]), 5, 6)
    return OpCost(
        kind=_KIND,
        multiplies=cost.multiplies,
        adds=cost.adds + n * (2 if has(op, 4) else 1),
        bias_adds=cost.bias_adds,
        activations=cost.activations,
    )


@counts("LpNormalization")
def lp_normalization(op: Op) -> OpCost:
    """The L1 or L2 norm of each row, and one division an element. ONNX LpNormalization-22."""
    shape = shape_of(op, 0)
    n = numel(shape)
    axis = op.int_attr("axis", -1) % max(len(shape), 1)
    r = product(d for at, d in enumerate(shape) if at != axis)
    if op.int_attr("p", 2) == 1:
        return OpCost(kind=_KIND, multiplies=n, adds=n + fewer(n, r))
    return OpCost(kind=_KIND, multiplies=2 * n, adds=fewer(n, r), activations=r)


@counts("LRN")
def local_response_normalization(op: Op) -> OpCost:
    """Squares, sums over ``size`` channels, scale, power and division. Source: ONNX LRN-13."""
    n = numel(shape_of(op, 0))
    size = op.int_attr("size", 1)
    return OpCost(kind=_KIND, multiplies=3 * n, adds=n * size, activations=n)


def softmax_adds(n: Dim, r: Dim) -> Dim:
    """Adds of a softmax over n elements in r rows: maximum, subtraction and sum."""
    return n + 2 * fewer(n, r)


def _softmax_extents(op: Op) -> tuple[Dim, Dim]:
    """Elements and rows; ``coerced`` marks the form before opset 13, which flattens from axis."""
    shape = shape_of(op, 0)
    axis = op.int_attr("axis", -1)
    expect(
        -len(shape) <= axis < len(shape),
        f"axis {axis} is none of {len(shape)} dimensions",
    )
    axis %= len(shape)
    if op.int_attr("coerced", 0):
        return numel(shape), product(shape[:axis])
    return numel(shape), product(d for at, d in enumerate(shape) if at != axis)


def _rows(shape: tuple[Dim, ...], axis: int) -> Dim:
    expect(
        -len(shape) <= axis < len(shape),
        f"axis {axis} is none of {len(shape)} dimensions",
    )
    return product(shape[: axis % len(shape)])


def _standardised(op: Op, n: Dim, r: Dim, scale_at: int = 1, bias_at: int = 2) -> OpCost:
    """Mean (n-r adds, r multiplies), mean of squares (n multiplies, then the same), its
    variance (r multiplies, r adds), epsilon (r adds), root (r), deviation (n adds),
    division (n), and where they are given scale (n) and bias (n).
    """
    return OpCost(
        kind=_KIND,
        multiplies=(3 if has(op, scale_at) else 2) * n + 3 * r,
        adds=3 * n,
        bias_adds=n if has(op, bias_at) else 0,
        activations=r,
    )


def _scaled(op: Op, n: Dim, r: Dim, scale_at: int = 1) -> OpCost:
    """Squares (n), their mean (n-r adds, r multiplies), epsilon (r adds), root (r), division
    (n), and scale (n) where it is given.
    """
    multiplies = (3 if has(op, scale_at) else 2) * n + r
    return OpCost(kind=_KIND, multiplies=multiplies, adds=n, activations=r)


def _with_sum(cost: OpCost, n: Dim, biased: bool) -> OpCost:
    return OpCost(
        kind=_KIND,
        multiplies=cost.multiplies,
        adds=cost.adds + n,
        bias_adds=cost.bias_adds + (n if biased else 0),
        activations=cost.activations,
    )
