"""Convolutions of any rank, with groups, transposed, deformable and quantised.

Letters: N batch, S output positions, M output channels, C input channels a group, K
kernel elements. Taps that fall on padding are counted like any other, as kernels that
pad run them.
"""

from __future__ import annotations

import msgspec

from rnncost.counting.cost import OpCost
from rnncost.counting.formula import ZERO, formulas, letter, values
from rnncost.counting.registry import (
    ROLE_QUANTIZATION,
    ROLE_WEIGHT,
    agree,
    counts,
    expect,
    has,
    numel,
    output_shape,
    shape_of,
)
from rnncost.graph.dim import product
from rnncost.graph.ir import Op

_Q = ROLE_QUANTIZATION
_W = ROLE_WEIGHT


@counts("Conv")
def conv(op: Op) -> OpCost:
    """x [N, C·group, …], w [M, C, kernel…]  ->  N·S·M·C·K MACs. Source: ONNX Conv-22."""
    return _conv(op, w_at=1, bias_at=2)


@counts("ConvInteger", roles={0: _W, 1: _W, 2: _Q, 3: _Q})
def conv_integer(op: Op) -> OpCost:
    """Conv of 8-bit operands; rescaling stands in separate operators. ONNX ConvInteger-10."""
    return _conv(op, w_at=1)


@counts(
    "QLinearConv",
    "com.microsoft::QLinearConv",
    roles={0: _W, 1: _Q, 2: _Q, 3: _W, 4: _Q, 5: _Q, 6: _Q, 7: _Q, 8: _W},
)
def qlinear_conv(op: Op) -> OpCost:
    """Conv; requantising is one multiply and one add an output. Source: ONNX QLinearConv-10.

    With ``channels_last`` = 1 (com.microsoft) x and y are [N, …, C].
    """
    cost = _conv(op, w_at=3, bias_at=8, channels_last=op.int_attr("channels_last", 0) == 1)
    outputs = numel(output_shape(op))
    return msgspec.structs.replace(cost, multiplies=outputs, adds=outputs)


@counts("com.microsoft::FusedConv", "com.microsoft::NhwcFusedConv")
def fused_conv(op: Op) -> OpCost:
    """Conv, one add an output where a fourth input is summed in, and one activation."""
    nhwc = op.op_type.endswith("NhwcFusedConv")
    cost = _conv(op, w_at=1, bias_at=2, channels_last=nhwc)
    outputs = numel(output_shape(op))
    return msgspec.structs.replace(
        cost,
        adds=outputs if has(op, 3) else 0,
        activations=outputs if op.str_attr("activation", "") else 0,
    )


@counts("com.microsoft::NhwcConv")
def nhwc_conv(op: Op) -> OpCost:
    """Conv with x and y as [N, …, C]."""
    return _conv(op, w_at=1, bias_at=2, channels_last=True)


@counts("CausalConvWithState")
def causal_conv(op: Op) -> OpCost:
    """Depthwise: x [N, channels, S], w [channels, 1, K]. Source: ONNX CausalConvWithState-27."""
    cost = _conv(op, w_at=1, bias_at=2, depthwise=True)
    activated = op.str_attr("activation", "none") != "none"
    return msgspec.structs.replace(cost, activations=numel(output_shape(op)) if activated else 0)


@counts("DeformConv")
def deform_conv(op: Op) -> OpCost:
    """Conv on samples between pixels. Source: ONNX DeformConv-22.

    A sample is interpolated from four pixels (4 multiplies, 3 adds); a mask (position 4)
    is one multiply more. There are N·S·channels·K samples.
    """
    cost = _conv(op, w_at=1, bias_at=3)
    x, w, y = shape_of(op, 0), shape_of(op, 1), output_shape(op)
    expect(len(w) == 4, "only two-dimensional deformable convolution has a rule")
    samples = x[0] * x[1] * product(y[2:]) * product(w[2:])
    return msgspec.structs.replace(
        cost, multiplies=samples * (5 if has(op, 4) else 4), adds=samples * 3
    )


@counts("ConvTranspose")
def conv_transpose(op: Op) -> OpCost:
    """x [N, C, …], w [C, M, kernel…]  ->  N·S·C·M·K MACs, S input positions, M a group.

    Each input element meets each kernel element once; what ``pads`` cuts off is computed
    too. Source: ONNX ConvTranspose-22.
    """
    x, w, y = shape_of(op, 0), shape_of(op, 1), output_shape(op)
    expect(len(x) == len(w) >= 3, f"x has {len(x)} dimensions and w {len(w)}")
    expect(agree(x[1], w[0]), f"w takes {w[0]} channels, x has {x[1]}")
    n, s, k = letter("N", x[0]), letter("S", product(x[2:])), letter("K", product(w[2:]))
    c, m = letter("C", w[0]), letter("M", w[1])
    macs = n * s * c * m * k
    return OpCost(
        kind="product",
        macs=macs.value,
        dense_macs=macs.value,
        bias_adds=numel(y) if has(op, 2) else 0,
        extents=values(N=n, S=s, C=c, M=m, K=k),
        formulas=formulas(macs=macs),
    )


def _conv(
    op: Op,
    *,
    w_at: int,
    bias_at: int | None = None,
    channels_last: bool = False,
    depthwise: bool = False,
) -> OpCost:
    x, w, y = shape_of(op, 0), shape_of(op, w_at), output_shape(op)
    expect(
        len(x) == len(w) == len(y) >= 3,
        f"x has {len(x)} dimensions, w {len(w)} and y {len(y)}",
    )
    channels = x[-1] if channels_last else x[1]
    groups = channels if depthwise else op.int_attr("group", 1)
    expect(
        agree(w[1] * groups, channels),
        f"w takes {w[1]} channels in each of {groups} groups, x has {channels}",
    )
    positions = y[1:-1] if channels_last else y[2:]
    n, s, m = letter("N", y[0]), letter("S", product(positions)), letter("M", w[0])
    c, k = letter("C", w[1]), letter("K", product(w[2:]))
    macs = n * s * m * c * k
    bias_adds = n * s * m if bias_at is not None and has(op, bias_at) else ZERO
    return OpCost(
        kind="product",
        macs=macs.value,
        dense_macs=macs.value,
        bias_adds=bias_adds.value,
        extents=values(N=n, S=s, M=m, C=c, K=k),
        formulas=formulas(macs=macs, bias_adds=bias_adds),
    )
