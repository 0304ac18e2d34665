"""Fourier transforms and sampling grids."""

from __future__ import annotations

from rnncost.counting.cost import OpCost, UncountableError
from rnncost.counting.formula import formulas, letter, values
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
from rnncost.graph.ir import Op, Tensor

_NOTE = "counted as a fast transform: 5·N·log2(N) operations, half of them for real input"


@counts("DFT", default_role=ROLE_CONSTANT)
def dft(op: Op) -> OpCost:
    """Transforms of length N along one axis. Source: ONNX DFT-20."""
    x, y = shape_of(op, 0), output_shape(op)
    axis_input = _scalar(op.tensor(2))
    axis = op.int_attr("axis", -2) if axis_input is None else axis_input
    expect(-len(x) <= axis < len(x) - 1, f"axis {axis} is none of the signal's")
    axis %= len(x)
    given = _scalar(op.tensor(1))
    length = x[axis] if given is None and not has(op, 1) else given
    transforms = product(d for at, d in enumerate(y[:-1]) if at != axis)
    return _transforms(length, transforms, real=x[-1] == 1 or y[-1] == 1)


@counts("STFT", default_role=ROLE_CONSTANT)
def stft(op: Op) -> OpCost:
    """Frames weighed by a window and transformed. Source: ONNX STFT-17.

    signal [B, samples, 1 or 2]  ->  [B, frames, bins, 2].
    """
    signal, y = shape_of(op, 0), output_shape(op)
    window = op.tensor(2)
    length: Dim | None = _scalar(op.tensor(3))
    if length is None and window is not None and window.shape:
        length = window.shape[0]
    frames = y[0] * y[1]
    real = len(signal) < 3 or signal[-1] == 1
    cost = _transforms(length, frames, real)
    if window is None or length is None:
        return cost
    weighed = frames * length * (1 if real else 2)
    return OpCost(
        kind=cost.kind,
        multiplies=cost.multiplies + weighed,
        adds=cost.adds,
        notes=cost.notes,
    )


@counts("AffineGrid", roles={1: ROLE_CONSTANT})
def affine_grid(op: Op) -> OpCost:
    """Each grid point times theta [N, n, n+1]: n+1 MACs a coordinate. ONNX AffineGrid-20."""
    theta = shape_of(op, 0)
    points, width = letter("S", numel(output_shape(op))), letter("K", theta[-1])
    macs = points * width
    return OpCost(
        kind="product",
        macs=macs.value,
        dense_macs=macs.value,
        extents=values(S=points, K=width),
        formulas=formulas(macs=macs),
    )


def _transforms(length: Dim | None, transforms: Dim, real: bool) -> OpCost:
    """A radix-2 transform of N complex values has N/2·log2(N) butterflies, each of one
    complex product (4 multiplies, 2 adds) and two complex sums (4 adds).
    """
    if not isinstance(length, int):
        raise UncountableError("the transform's length is not known")
    stages = (length - 1).bit_length() if length > 1 else 0
    butterflies = (length * stages + 1) // 2
    multiplies, adds = 4 * butterflies, 6 * butterflies
    if real:
        multiplies, adds = multiplies // 2, adds // 2
    return OpCost(
        kind="reduction",
        multiplies=transforms * multiplies,
        adds=transforms * adds,
        notes=(_NOTE,),
    )


def _scalar(tensor: Tensor | None) -> int | None:
    if tensor is None or not tensor.value:
        return None
    value = tensor.value[0]
    return value if isinstance(value, int) else None
