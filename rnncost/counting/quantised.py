"""Quantising, dequantising, and 8-bit forms of elementwise operators.

Rounding and saturating are part of the conversion, as in Cast, and are not counted.
"""

from __future__ import annotations

from rnncost.counting.cost import OpCost
from rnncost.counting.normalisation import softmax_adds
from rnncost.counting.reduction import fewer
from rnncost.counting.registry import (
    ROLE_QUANTIZATION,
    ROLE_WEIGHT,
    counts,
    has,
    numel,
    output_shape,
    shape_of,
)
from rnncost.graph.dim import product
from rnncost.graph.ir import Op

_KIND = "elementwise"
_SCALES = {1: ROLE_QUANTIZATION, 2: ROLE_QUANTIZATION}
_UNARY = {**_SCALES, 3: ROLE_QUANTIZATION, 4: ROLE_QUANTIZATION}
_BINARY = {at: ROLE_WEIGHT if at in (0, 3) else ROLE_QUANTIZATION for at in range(8)}


@counts(
    "QuantizeLinear",
    "DequantizeLinear",
    "com.microsoft::QuantizeLinear",
    "com.microsoft::DequantizeLinear",
    roles=_SCALES,
)
def quantise(op: Op) -> OpCost:
    """One multiply an element, and one add with a zero point; a stored tensor is dequantised
    before the run and costs nothing.
    """
    output = op.outputs[0]
    if output is not None and output.stored:
        return OpCost(kind="constant", moves=False)
    elements = numel(output_shape(op))
    return OpCost(kind=_KIND, multiplies=elements, adds=elements if has(op, 2) else 0)


@counts("DynamicQuantizeLinear")
def dynamic_quantise(op: Op) -> OpCost:
    """Minimum and maximum, one comparison an element each, then QuantizeLinear."""
    elements = numel(shape_of(op, 0))
    return OpCost(kind=_KIND, multiplies=elements, adds=3 * elements)


@counts("com.microsoft::QLinearAdd", roles=_BINARY)
def qlinear_add(op: Op) -> OpCost:
    """Both operands rescaled and summed: two multiplies, an add and the zero point."""
    outputs = numel(output_shape(op))
    return OpCost(kind=_KIND, multiplies=2 * outputs, adds=2 * outputs)


@counts("com.microsoft::QLinearMul", roles=_BINARY)
def qlinear_mul(op: Op) -> OpCost:
    """The product, its rescaling and the zero point."""
    outputs = numel(output_shape(op))
    return OpCost(kind=_KIND, multiplies=2 * outputs, adds=outputs)


@counts("com.microsoft::QLinearSigmoid", "com.microsoft::QLinearLeakyRelu", roles=_UNARY)
def qlinear_activation(op: Op) -> OpCost:
    """One activation an output: kernels look it up in a table of 256 entries."""
    return OpCost(kind=_KIND, activations=numel(output_shape(op)))


@counts("com.microsoft::QLinearSoftmax", roles=_UNARY)
def qlinear_softmax(op: Op) -> OpCost:
    """Softmax over the axis, or from the axis on in the form before opset 13."""
    shape = shape_of(op, 0)
    axis = op.int_attr("axis", -1) % max(len(shape), 1)
    n = numel(shape)
    flat = op.int_attr("opset", 13) < 13
    rows = product(d for at, d in enumerate(shape) if (at < axis if flat else at != axis))
    return OpCost(kind="normalisation", multiplies=n, adds=softmax_adds(n, rows), activations=n)


@counts("com.microsoft::QLinearGlobalAveragePool", "com.microsoft::QLinearReduceMean", roles=_UNARY)
def qlinear_mean(op: Op) -> OpCost:
    """The sum, then one multiply and the zero point an output."""
    n, m = numel(shape_of(op, 0)), numel(output_shape(op))
    return OpCost(kind="reduction", adds=fewer(n, m) + m, multiplies=m)


@counts("com.microsoft::QLinearAveragePool", roles=_UNARY)
def qlinear_average_pool(op: Op) -> OpCost:
    """A window of k elements: k - 1 adds, one multiply and the zero point."""
    outputs = numel(output_shape(op))
    window = product(op.ints_attr("kernel_shape") or ())
    return OpCost(kind="reduction", adds=outputs * window, multiplies=outputs)
