"""Resizing and rearranging space: Resize, Upsample, DepthToSpace and kin."""

from __future__ import annotations

import math

from rnncost.frontends.onnx.infer import fold
from rnncost.frontends.onnx.infer.base import Call, InferenceError, Known, infers
from rnncost.frontends.onnx.infer.bounds import shape_text
from rnncost.frontends.onnx.infer.operands import (
    axes_of,
    expect_rank,
    ints_attr,
    ints_of,
    known,
    operand,
    required_int,
    str_attr,
    unknown,
)
from rnncost.graph.dim import Dim, Expr, Shape, hint

_DENOMINATOR_LIMIT = 1 << 16


def scaled(dim: Dim, scale: Dim | float) -> Dim | None:
    """``floor(dim * scale)`` in float32, or None where a free dimension leaves it open."""
    if isinstance(scale, Expr):
        return dim * scale
    if isinstance(dim, int):
        return math.floor(fold.to_float32(dim * scale))
    numerator, denominator = scale.as_integer_ratio()
    return dim * numerator // denominator if denominator <= _DENOMINATOR_LIMIT else None


@infers("Resize", "Upsample")
def resize(call: Call) -> tuple[Known, ...]:
    """Scales from an attribute (Upsample-7) or input, or sizes (Resize-11 and later)."""
    x = operand(call, 0)
    if x.shape is None:
        return unknown(x.dtype)
    given = ints_attr(call, "axes")
    axes = tuple(range(len(x.shape))) if given is None else axes_of(given, len(x.shape))
    listed = call.input(3)
    if listed is not None and listed.shape != (0,):
        sizes = ints_of(listed, "the sizes")
        return (
            unknown(x.dtype) if sizes is None else (known(x.dtype, _sized(call, x, axes, sizes)),)
        )
    scales = _scales(call)
    if scales is None:
        return unknown(x.dtype)
    if len(scales) != len(axes):
        raise InferenceError(f"{len(scales)} scales do not fit {shape_text(x.shape)}")
    dims = list(x.shape)
    for axis, scale in zip(axes, scales, strict=True):
        extent = scaled(dims[axis], scale)
        if extent is None:
            return unknown(x.dtype)
        dims[axis] = extent
    return (known(x.dtype, tuple(dims)),)


def _scales(call: Call) -> tuple[Dim | float, ...] | None:
    given = call.attrs.get("scales")
    if isinstance(given, tuple):
        return tuple([v for v in given if isinstance(v, (int, float))])
    with_roi = call.op_type == "Resize" and call.opset > 10
    elements = operand(call, 2 if with_roi else 1).value
    if elements is None:
        return None
    return tuple([v for v in elements if isinstance(v, (int, float, Expr))])


def _sized(call: Call, x: Known, axes: tuple[int, ...], sizes: Shape) -> Shape | None:
    assert x.shape is not None
    if len(sizes) != len(axes):
        raise InferenceError(f"{len(sizes)} sizes do not fit {shape_text(x.shape)}")
    policy = str_attr(call, "keep_aspect_ratio_policy", "stretch")
    dims = list(x.shape)
    if policy != "stretch":
        if not all(isinstance(d, int) for d in (*sizes, *dims)):
            return None
        choose = min if policy == "not_larger" else max
        pairs = [(hint(size), hint(dims[axis])) for axis, size in zip(axes, sizes, strict=True)]
        scale = choose(size / dim for size, dim in pairs)
        sizes = tuple(math.floor(scale * dim + 0.5) for _, dim in pairs)
    for axis, size in zip(axes, sizes, strict=True):
        dims[axis] = size
    return tuple(dims)


@infers("DepthToSpace")
def depth_to_space(call: Call) -> tuple[Known, ...]:
    """[N, C, H, W] -> [N, C / b², H·b, W·b]."""
    x, block = operand(call, 0), _block(call)
    if x.shape is None:
        return unknown(x.dtype)
    expect_rank(x.shape, 4, "the input")
    batch, channels, height, width = x.shape
    _divides(block * block, channels)
    shape = (batch, channels // (block * block), height * block, width * block)
    return (known(x.dtype, shape),)


@infers("SpaceToDepth")
def space_to_depth(call: Call) -> tuple[Known, ...]:
    """[N, C, H, W] -> [N, C·b², H / b, W / b]."""
    x, block = operand(call, 0), _block(call)
    if x.shape is None:
        return unknown(x.dtype)
    expect_rank(x.shape, 4, "the input")
    batch, channels, height, width = x.shape
    _divides(block, height)
    _divides(block, width)
    return (known(x.dtype, (batch, channels * block * block, height // block, width // block)),)


def _block(call: Call) -> int:
    block = required_int(call, "blocksize")
    if block < 1:
        raise InferenceError(f"blocksize is {block}")
    return block


def _divides(divisor: int, dim: Dim) -> None:
    if hint(dim) % divisor:
        raise InferenceError(f"{dim} is no multiple of {divisor}")


@infers("GridSample")
def grid_sample(call: Call) -> tuple[Known, ...]:
    """[N, C, *S] sampled at grid [N, *S', len(S)] -> [N, C, *S']."""
    x, grid = operand(call, 0), operand(call, 1)
    if x.shape is None or grid.shape is None:
        return unknown(x.dtype)
    return (known(x.dtype, (*x.shape[:2], *grid.shape[1:-1])),)
