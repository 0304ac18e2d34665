"""Reductions: sums, extrema, norms, pooling, running sums, selection and losses.

n input elements reduced to m outputs take n - m adds, multiplies or comparisons.
Comparisons count as adds. Windows that reach into padding are counted in full.
"""

from __future__ import annotations

from rnncost.counting.cost import OpCost, UncountableError
from rnncost.counting.registry import (
    ROLE_CONSTANT,
    counts,
    expect,
    has,
    numel,
    output_shape,
    shape_of,
)
from rnncost.graph.dim import Dim, product
from rnncost.graph.ir import Op

_KIND = "reduction"
_AXES = {1: ROLE_CONSTANT}


@counts("ReduceSum", "ReduceMax", "ReduceMin", "com.microsoft::ReduceSumInteger", roles=_AXES)
def reduce_adds(op: Op) -> OpCost:
    """n - m adds or comparisons."""
    n, m = _sizes(op)
    return OpCost(kind=_KIND, adds=fewer(n, m))


@counts("ReduceMean", roles=_AXES)
def reduce_mean(op: Op) -> OpCost:
    """The sum, and one multiply an output."""
    n, m = _sizes(op)
    return OpCost(kind=_KIND, adds=fewer(n, m), multiplies=m)


@counts("ReduceProd", roles=_AXES)
def reduce_prod(op: Op) -> OpCost:
    """n - m multiplies."""
    n, m = _sizes(op)
    return OpCost(kind=_KIND, multiplies=fewer(n, m))


@counts("ReduceL1", roles=_AXES)
def reduce_l1(op: Op) -> OpCost:
    """n absolute values, and the sum."""
    n, m = _sizes(op)
    return OpCost(kind=_KIND, adds=n + fewer(n, m))


@counts("ReduceSumSquare", roles=_AXES)
def reduce_sum_square(op: Op) -> OpCost:
    """n squares, and the sum."""
    n, m = _sizes(op)
    return OpCost(kind=_KIND, multiplies=n, adds=fewer(n, m))


@counts("ReduceL2", roles=_AXES)
def reduce_l2(op: Op) -> OpCost:
    """n squares, the sum, and a square root an output."""
    n, m = _sizes(op)
    return OpCost(kind=_KIND, multiplies=n, adds=fewer(n, m), activations=m)


@counts("ReduceLogSum", roles=_AXES)
def reduce_log_sum(op: Op) -> OpCost:
    """The sum, and a logarithm an output."""
    n, m = _sizes(op)
    return OpCost(kind=_KIND, adds=fewer(n, m), activations=m)


@counts("ReduceLogSumExp", roles=_AXES)
def reduce_log_sum_exp(op: Op) -> OpCost:
    """n exponentials, the sum, and a logarithm an output."""
    n, m = _sizes(op)
    return OpCost(kind=_KIND, adds=fewer(n, m), activations=n + m)


@counts("ArgMax", "ArgMin")
def arg_extremum(op: Op) -> OpCost:
    """n - m comparisons."""
    n, m = _sizes(op)
    return OpCost(kind=_KIND, adds=fewer(n, m))


@counts("TopK", roles={1: ROLE_CONSTANT})
def top_k(op: Op) -> OpCost:
    """One comparison an input element: the least that any selection needs."""
    return OpCost(kind=_KIND, adds=numel(shape_of(op, 0)))


@counts("NonZero")
def non_zero(op: Op) -> OpCost:
    """One comparison an input element."""
    return OpCost(kind=_KIND, adds=numel(shape_of(op, 0)))


@counts("CumSum", roles=_AXES)
def cumulative_sum(op: Op) -> OpCost:
    """One add for each element after the first of its row."""
    return OpCost(kind=_KIND, adds=_running(op))


@counts("CumProd", roles=_AXES)
def cumulative_product(op: Op) -> OpCost:
    """One multiply for each element after the first of its row."""
    return OpCost(kind=_KIND, multiplies=_running(op))


@counts("Col2Im", roles={1: ROLE_CONSTANT, 2: ROLE_CONSTANT})
def col2im(op: Op) -> OpCost:
    """One add for each column element that falls on the image."""
    return OpCost(kind=_KIND, adds=numel(shape_of(op, 0)))


@counts("MaxPool", "com.microsoft::NhwcMaxPool")
def max_pool(op: Op) -> OpCost:
    """A window of k elements takes k - 1 comparisons."""
    outputs, window = _pool(op)
    return OpCost(kind=_KIND, adds=outputs * (window - 1))


@counts("AveragePool")
def average_pool(op: Op) -> OpCost:
    """A window of k elements takes k - 1 adds and one multiply."""
    outputs, window = _pool(op)
    return OpCost(kind=_KIND, adds=outputs * (window - 1), multiplies=outputs)


@counts("LpPool")
def lp_pool(op: Op) -> OpCost:
    """A window of k elements takes k powers, k - 1 adds and one root."""
    outputs, window = _pool(op)
    return OpCost(
        kind=_KIND,
        multiplies=outputs * window,
        adds=outputs * (window - 1),
        activations=outputs,
    )


@counts("GlobalMaxPool")
def global_max_pool(op: Op) -> OpCost:
    """As ReduceMax."""
    return reduce_adds(op)


@counts("GlobalAveragePool")
def global_average_pool(op: Op) -> OpCost:
    """As ReduceMean."""
    return reduce_mean(op)


@counts("GlobalLpPool")
def global_lp_pool(op: Op) -> OpCost:
    """As ReduceL2."""
    return reduce_l2(op)


@counts("NegativeLogLikelihoodLoss", roles={1: ROLE_CONSTANT, 2: ROLE_CONSTANT})
def nll_loss(op: Op) -> OpCost:
    """One sign change a target, its class weight if given, and the reduction."""
    return _loss(op, numel(shape_of(op, 1)))


@counts("SoftmaxCrossEntropyLoss", roles={1: ROLE_CONSTANT, 2: ROLE_CONSTANT})
def cross_entropy_loss(op: Op) -> OpCost:
    """LogSoftmax over the classes, then NegativeLogLikelihoodLoss."""
    n, rows = numel(shape_of(op, 0)), numel(shape_of(op, 1))
    loss = _loss(op, rows)
    return OpCost(
        kind=_KIND,
        adds=loss.adds + 4 * n - 2 * rows,
        multiplies=loss.multiplies,
        activations=n + rows,
    )


def fewer(n: Dim, m: Dim) -> Dim:
    """n - m, or 0 where an empty reduction has more outputs than inputs."""
    difference = n - m
    return max(difference, 0) if isinstance(difference, int) else difference


def _loss(op: Op, targets: Dim) -> OpCost:
    reduction = op.str_attr("reduction", "mean")
    summed = 0 if reduction == "none" else fewer(targets, 1)
    weighted = targets if has(op, 2) else 0
    mean = int(reduction == "mean")
    # A weighted mean also sums the weights that it divides by.
    return OpCost(
        kind=_KIND,
        adds=targets + summed * (2 if mean and has(op, 2) else 1),
        multiplies=weighted + mean,
    )


def _sizes(op: Op) -> tuple[Dim, Dim]:
    return numel(shape_of(op, 0)), numel(output_shape(op))


def _running(op: Op) -> Dim:
    shape = shape_of(op, 0)
    axis = op.tensor(1)
    value = axis.value if axis is not None else None
    at = value[0] if value else None
    if not isinstance(at, int):
        raise UncountableError("the axis is not known")
    expect(-len(shape) <= at < len(shape), f"axis {at} is none of {len(shape)} dimensions")
    rows = product(shape[:at]) * product(shape[at + 1 :] if at != -1 else ())
    return fewer(numel(shape), rows)


def _pool(op: Op) -> tuple[Dim, int]:
    """Output elements and window elements."""
    kernel = op.ints_attr("kernel_shape")
    expect(bool(kernel), "the attribute kernel_shape is missing")
    window = 1
    for extent in kernel or ():
        window *= extent
    return numel(output_shape(op)), window
