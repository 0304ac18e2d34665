"""Elementwise operators, normalisations and quantisation: extents follow by broadcasting."""

from __future__ import annotations

from rnncost.variants.parts import Axis, Layout, new_extent, old_extent
from rnncost.variants.site import Site
from rnncost.variants.tables import Layouts, backward, forward

SAME = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "CastLike",
    "Ceil", "Celu", "Clip", "Cos", "Cosh", "CumSum", "Dropout", "Elu", "Erf", "Exp", "Floor",
    "Gelu", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "IsInf", "IsNaN", "LeakyRelu",
    "Log", "LogSoftmax", "LpNormalization", "MeanVarianceNormalization", "Mish", "Neg", "Not",
    "Reciprocal", "Relu", "ReverseSequence", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin",
    "Sinh", "Softmax", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
    "Trilu", "com.microsoft::FastGelu", "com.microsoft::Gelu", "com.microsoft::QuickGelu",
)  # fmt: skip
BROADCAST = (
    "Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater",
    "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu",
    "Pow", "Sub", "Sum", "Where", "Xor", "com.microsoft::BiasGelu", "com.microsoft::FusedMul",
)  # fmt: skip
_PER_CHANNEL = ("BatchNormalization", "InstanceNormalization")
_LAST_AXES = ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")


@forward(*SAME)
def same(site: Site) -> Layouts:
    """Every output has the extents of the first input."""
    layout = site.layout(0)
    first = site.shape(0)
    return [layout if known.shape == first else None for known in site.old]


@backward(*SAME, "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
@backward(*_PER_CHANNEL, *_LAST_AXES, "GroupNormalization")
def same_back(site: Site, output: int, layout: Layout) -> None:
    site.conform(0, layout)


@forward("DynamicQuantizeLinear")
def dynamic_quantize(site: Site) -> Layouts:
    """Scale and zero point are scalars."""
    return [site.layout(0), None, None]


@forward("QuantizeLinear", "DequantizeLinear")
def quantize(site: Site) -> Layouts:
    """A scale for each channel goes along the attribute's axis."""
    layout = site.layout(0)
    for index in range(1, len(site.inputs)):
        if site.has(index) and layout is not None and site.shape(index) not in ((), (1,)):
            if len(site.shape(index)) != 1:
                site.fail("its scales are in blocks")
            site.conform_axis(index, 0, layout[site.attr("axis", 1)])
    return [layout]


@forward(*BROADCAST)
def broadcast(site: Site) -> Layouts:
    """Operands of one extent change together; those that are broadcast stay."""
    out = site.out_shape()
    operands = [i for i in range(len(site.inputs)) if site.has(i)]
    axes = [shared_axis(site, operands, at - len(out)) for at in range(len(out))]
    for index in operands:
        match(site, index, tuple(axes))
    return [tuple(axes)]


def shared_axis(site: Site, operands: list[int], axis: int) -> Axis | None:
    """How an axis, counted from the last, changes in the first operand where it does."""
    for index in operands:
        if len(site.shape(index)) >= -axis:
            found = site.axis(index, axis)
            if found is not None:
                if old_extent(found) == 1 and site.out_shape()[axis] != 1:
                    site.fail("the axis that changes was the same for all entries")
                return found
    return None


def match(site: Site, index: int, axes: Layout, *, skip: int = 0) -> None:
    """Let an operand change along with the axes that it is aligned with at the end.

    ``skip`` axes at the end are not aligned (those of a matrix product).
    """
    shape = site.shape(index)
    layout = list(site.layout(index) or (None,) * len(shape))
    for at in range(1, min(len(shape) - skip, len(axes)) + 1):
        wanted, own = axes[-at], layout[-at - skip]
        if wanted is None or (own is not None and new_extent(own) == new_extent(wanted)):
            continue
        if shape[-at - skip] != 1:
            layout[-at - skip] = wanted
    site.conform(index, tuple(layout))


@backward(*BROADCAST)
def broadcast_back(site: Site, output: int, layout: Layout) -> None:
    for index in range(len(site.inputs)):
        if site.has(index):
            match(site, index, layout)


@forward(*_PER_CHANNEL, "GroupNormalization")
def per_channel(site: Site) -> Layouts:
    """X [N, C, ...]; the parameters have one entry a channel, those of old GroupNorm a group."""
    layout = site.layout(0)
    channels = None if layout is None else layout[1]
    if channels is not None:
        count = site.attr("num_groups", 1)
        if new_extent(channels) % count != 0:
            site.fail(f"{new_extent(channels)} channels do not divide into {count} groups")
        for index in range(1, len(site.inputs)):
            if site.has(index) and site.shape(index) == (site.shape(0)[1],):
                site.conform_axis(index, 0, channels)
    return [layout, *(None for _ in site.old[1:])]


@forward(*_LAST_AXES)
def last_axes(site: Site) -> Layouts:
    """Scale and bias align with the axes that are normalised; mean and deviation lack these."""
    layout = site.layout(0)
    rank = len(site.shape(0))
    first = site.attr("axis", -1) % rank
    layouts: list[Layout | None] = [layout]
    if layout is not None:
        for index in range(1, len(site.inputs)):
            if site.has(index):
                match(site, index, layout)
        kept = tuple([axis if at < first else None for at, axis in enumerate(layout)])
        layouts += [kept] * (len(site.old) - 1)
    return layouts


@forward("com.microsoft::SkipLayerNormalization", "com.microsoft::SkipSimplifiedLayerNormalization")
def skip_normalization(site: Site) -> Layouts:
    """X and the skip have one shape; gamma, beta and bias its last axis."""
    axes = [shared_axis(site, [0, 1], at - len(site.shape(0))) for at in range(len(site.shape(0)))]
    for index in range(len(site.inputs)):
        if site.has(index):
            match(site, index, tuple(axes))
    return [tuple(axes) if known.shape == site.shape(0) else None for known in site.old]
