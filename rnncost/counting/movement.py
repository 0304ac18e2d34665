"""Data movement: operators that copy, rename or arrange elements, without arithmetic.

Shapes, axes and indices are constants of the operator; the data that it moves may be a
weight (an embedding table, a learned token).
"""

from __future__ import annotations

from rnncost.counting.cost import OpCost
from rnncost.counting.registry import (
    ROLE_CONSTANT,
    ROLE_QUANTIZATION,
    ROLE_WEIGHT,
    counts,
    expect,
    numel,
    output_shape,
    shape_of,
)
from rnncost.graph.dim import Dim
from rnncost.graph.ir import Op

_DATA_ONLY = dict.fromkeys(range(1, 8), ROLE_CONSTANT)


@counts(
    "BitCast",
    "Dropout",
    "Flatten",
    "Identity",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "com.microsoft::ExpandDims",
    "torch::alias",
    "torch::detach",
    roles=_DATA_ONLY,
)
def rename(op: Op) -> OpCost:
    """The same elements under another name or shape: nothing is moved."""
    return OpCost(kind="data", moves=False)


@counts(
    "Optional",
    "OptionalGetElement",
    "OptionalHasElement",
    "SequenceAt",
    "SequenceConstruct",
    "SequenceEmpty",
    "SequenceErase",
    "SequenceInsert",
    "SequenceLength",
)
def collect(op: Op) -> OpCost:
    """Handles of tensors are put together or taken apart, not their elements."""
    return OpCost(kind="data", moves=False)


@counts("Shape", "Size", default_role=ROLE_CONSTANT)
def measure(op: Op) -> OpCost:
    """Reads a shape, no elements."""
    return OpCost(kind="data", moves=False)


@counts("Constant", "ConstantOfShape", "EyeLike", "Range", default_role=ROLE_CONSTANT)
def generate(op: Op) -> OpCost:
    """Writes elements that follow from the shape."""
    return OpCost(kind="data")


@counts(
    "Cast",
    "CastLike",
    "CenterCropPad",
    "Compress",
    "DepthToSpace",
    "Expand",
    "MaxUnpool",
    "Pad",
    "ReverseSequence",
    "Slice",
    "SpaceToDepth",
    "Split",
    "SplitToSequence",
    "Tile",
    "Transpose",
    "Trilu",
    "com.microsoft::Pad",
    "com.microsoft::Trilu",
    "torch::copy",
    roles=_DATA_ONLY,
)
def move(op: Op) -> OpCost:
    """Copies or converts elements; a stored tensor is arranged before the run."""
    return _moved(op)


@counts(
    "Gather",
    "GatherElements",
    "GatherND",
    "com.microsoft::GatherND",
    roles={0: ROLE_WEIGHT, **_DATA_ONLY},
)
def look_up(op: Op) -> OpCost:
    """Copies the elements that indices name; the table, 8-bit ones too, is a weight."""
    return _moved(op)


@counts("Concat", "ConcatFromSequence")
def concat(op: Op) -> OpCost:
    """Copies each operand."""
    return _moved(op)


@counts("OneHot", default_role=ROLE_CONSTANT)
def one_hot(op: Op) -> OpCost:
    """Writes one of two values an output."""
    return OpCost(kind="data")


@counts("TensorScatter", roles={2: ROLE_CONSTANT})
def tensor_scatter(op: Op) -> OpCost:
    """Copies the update into the cache."""
    return OpCost(kind="data")


@counts("Scatter", "ScatterElements", "ScatterND", roles={1: ROLE_CONSTANT})
def scatter(op: Op) -> OpCost:
    """Copies the updates; with a reduction, one operation for each of their elements."""
    reduction = op.str_attr("reduction", "none")
    if reduction == "none":
        return OpCost(kind="data")
    updates = numel(shape_of(op, 2))
    if reduction == "mul":
        return OpCost(kind="elementwise", multiplies=updates)
    return OpCost(kind="elementwise", adds=updates)


@counts("Resize", "Upsample", roles=_DATA_ONLY)
def resize(op: Op) -> OpCost:
    """Nearest copies; linear weighs 2 and cubic 4 neighbours along each axis that changes.

    t neighbours are t multiplies and t - 1 adds an output. Source: ONNX Resize-19.
    """
    mode = op.str_attr("mode", "nearest")
    if mode == "nearest":
        return _moved(op)
    expect(op.int_attr("antialias", 0) == 0, "an antialiasing resize has no rule")
    x, y = shape_of(op, 0), output_shape(op)
    expect(len(x) == len(y), f"the input has {len(x)} dimensions, the output {len(y)}")
    changed = sum(a != b for a, b in zip(x, y, strict=True))
    return _interpolated(numel(y), (4 if mode == "cubic" else 2) ** changed)


@counts("GridSample", "com.microsoft::GridSample", roles={1: ROLE_CONSTANT})
def grid_sample(op: Op) -> OpCost:
    """Nearest copies; linear weighs 2 and cubic 4 neighbours along each spatial axis.

    Source: ONNX GridSample-22.
    """
    mode = op.str_attr("mode", "linear")
    if mode == "nearest":
        return OpCost(kind="data")
    spatial = len(shape_of(op, 0)) - 2
    taps = (4 if mode in ("cubic", "bicubic") else 2) ** spatial
    return _interpolated(numel(output_shape(op)), taps)


@counts("RoiAlign", default_role=ROLE_CONSTANT)
def roi_align(op: Op) -> OpCost:
    """``sampling_ratio``² samples an output, each of four neighbours, then their mean.

    Source: ONNX RoiAlign-22.
    """
    ratio = op.int_attr("sampling_ratio", 0)
    expect(ratio > 0, "with sampling_ratio 0 the regions' sizes decide the work")
    outputs, samples = numel(output_shape(op)), ratio * ratio
    return OpCost(
        kind="elementwise",
        multiplies=outputs * (4 * samples + 1),
        adds=outputs * (4 * samples - 1),
    )


def _interpolated(outputs: Dim, taps: int) -> OpCost:
    return OpCost(kind="elementwise", multiplies=outputs * taps, adds=outputs * (taps - 1))


def _moved(op: Op) -> OpCost:
    output = op.outputs[0] if op.outputs else None
    if output is not None and output.stored:
        return OpCost(kind="constant", moves=False)
    return OpCost(kind="data")


@counts("com.microsoft::QLinearConcat", default_role=ROLE_QUANTIZATION)
def qlinear_concat(op: Op) -> OpCost:
    """Requantises each element: one multiply and one add."""
    outputs = numel(output_shape(op))
    return OpCost(kind="elementwise", multiplies=outputs, adds=outputs)
