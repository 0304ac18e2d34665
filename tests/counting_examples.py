"""One operator or more for every rule, with the work that it takes, reckoned by hand.

The numbers hold for n = 2 and t = 5; the shapes are given for any n and t, so that the
same operators serve to compare free dimensions with integers.
"""

from __future__ import annotations

from typing import Any

from counting_ops import data, ints, make_op, weight

from rnncost.graph.dim import Dim
from rnncost.graph.ir import Op, Tensor

Example = tuple[Op, dict[str, int]]


def _names(text: str) -> list[str]:
    return text.split()


ONE_ADD = _names(
    """Sub Equal Greater GreaterOrEqual Less LessOrEqual And Or Xor BitShift BitwiseAnd
BitwiseOr BitwiseXor Neg Abs Sign Ceil Floor Round IsInf IsNaN Not BitwiseNot"""
)
ONE_MULTIPLY = _names("Mul Div Mod Reciprocal")
ONE_ACTIVATION = _names(
    """Acos Acosh Asin Asinh Atan Atanh Celu Cos Cosh Elu Erf Exp Gelu HardSigmoid
HardSwish LeakyRelu Log Mish Relu Selu Shrink Sigmoid Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh
ThresholdedRelu PRelu Clip com.microsoft::Gelu com.microsoft::QuickGelu com.microsoft::FastGelu
Bernoulli RandomNormal RandomNormalLike RandomUniform RandomUniformLike
com.microsoft::QLinearSigmoid com.microsoft::QLinearLeakyRelu"""
)
NOTHING = _names(
    """BitCast Dropout Flatten Identity Optional OptionalGetElement OptionalHasElement Reshape
SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength Squeeze
Unsqueeze com.microsoft::ExpandDims torch::alias torch::detach Shape Size If Loop Scan
SequenceMap"""
)
MOVES = _names(
    """Constant ConstantOfShape EyeLike Range Cast CastLike CenterCropPad Compress DepthToSpace
Expand Gather GatherElements GatherND MaxUnpool Pad ReverseSequence Slice SpaceToDepth Split
SplitToSequence Tile Transpose Trilu com.microsoft::GatherND com.microsoft::Pad com.microsoft::Trilu
torch::copy Concat ConcatFromSequence OneHot TensorScatter Scatter ScatterElements ScatterND Resize
Upsample GridSample com.microsoft::GridSample"""
)


def scalar(value: float, shape: tuple[int, ...] = ()) -> Tensor:
    return weight(shape, value=(value,))


def elementwise(n: Dim, t: Dim) -> list[Example]:
    """x [n, 4, t] has 40 elements."""
    shape = (n, 4, t)
    x, row = data(shape), data((4, 1))

    def on_x(op_type: str, others: list[Tensor | None], **work: int) -> Example:
        return make_op(op_type, [x, *others], [shape]), work

    return [
        *(on_x(name, [row], adds=40) for name in ONE_ADD),
        *(on_x(name, [row], multiplies=40) for name in ONE_MULTIPLY),
        *(on_x(name, [], activations=40) for name in ONE_ACTIVATION),
        on_x("Add", [row], adds=40),
        on_x("Add", [x], adds=40),
        on_x("Add", [weight((4, 1))], bias_adds=40),
        (make_op("Add", [weight((4, 1)), x], [shape]), {"bias_adds": 40}),
        on_x("Add", [scalar(1e-5)], adds=40),
        on_x("Add", [scalar(1e-5, (1,))], adds=40),
        on_x("Add", [weight((4, 1), "int64")], adds=40),
        # The bias of one unit is a vector of one element.
        (make_op("Add", [data((n, t, 1)), weight((1,))], [(n, t, 1)]), {"bias_adds": 10}),
        (make_op("Add", [data((n, t, 1)), scalar(1e-5)], [(n, t, 1)]), {"adds": 10}),
        on_x("Where", [x, row], adds=40),
        on_x("Pow", [scalar(2.0)], multiplies=40),
        on_x("Pow", [scalar(3)], multiplies=80),
        on_x("Pow", [scalar(1)]),
        on_x("Pow", [scalar(0.5)], activations=40),
        on_x("Pow", [row], activations=40),
        on_x("SwiGLU", [x], multiplies=40, activations=40),
        *(on_x(name, [row, x], adds=80) for name in ("Sum", "Max", "Min")),
        on_x("Mean", [row, x], adds=80, multiplies=40),
        on_x("com.microsoft::BiasGelu", [weight((4,))], bias_adds=40, activations=40),
        on_x("com.microsoft::FastGelu", [weight((4,))], bias_adds=40, activations=40),
        on_x("com.microsoft::BiasAdd", [weight((4,)), x], bias_adds=40, adds=40),
        *(
            (make_op(name, [data(())], [(t,)]), {"activations": 5, "multiplies": 10, "adds": 5})
            for name in ("HannWindow", "HammingWindow")
        ),
        (
            make_op("BlackmanWindow", [data(())], [(t,)]),
            {"activations": 10, "multiplies": 20, "adds": 10},
        ),
    ]


def rotary(n: Dim, t: Dim) -> list[Example]:
    """[n, t, 2 heads of 4] has 80 elements; turning 2 of each head's 4 leaves 40."""
    x = data((n, t, 8))
    whole, half = {"multiplies": 160, "adds": 80}, {"multiplies": 80, "adds": 40}
    partly = {"num_heads": 2, "rotary_embedding_dim": 2}
    return [
        (make_op("RotaryEmbedding", [x], [(n, t, 8)], num_heads=2), whole),
        (make_op("RotaryEmbedding", [data((n, 2, t, 4))], [(n, 2, t, 4)], **partly), half),
        (make_op("com.microsoft::RotaryEmbedding", [x], [(n, t, 8)], **partly), half),
    ]


def reductions(n: Dim, t: Dim) -> list[Example]:
    """40 elements reduced over t to 8."""
    shape, out = (n, 4, t), (n, 4, 1)
    x = data(shape)
    work: dict[str, dict[str, int]] = {
        "ReduceSum": {"adds": 32},
        "ReduceMax": {"adds": 32},
        "ReduceMin": {"adds": 32},
        "com.microsoft::ReduceSumInteger": {"adds": 32},
        "ReduceMean": {"adds": 32, "multiplies": 8},
        "ReduceProd": {"multiplies": 32},
        "ReduceL1": {"adds": 72},
        "ReduceSumSquare": {"multiplies": 40, "adds": 32},
        "ReduceL2": {"multiplies": 40, "adds": 32, "activations": 8},
        "ReduceLogSum": {"adds": 32, "activations": 8},
        "ReduceLogSumExp": {"adds": 32, "activations": 48},
        "ArgMax": {"adds": 32},
        "ArgMin": {"adds": 32},
        "GlobalMaxPool": {"adds": 32},
        "GlobalAveragePool": {"adds": 32, "multiplies": 8},
        "GlobalLpPool": {"multiplies": 40, "adds": 32, "activations": 8},
        "com.microsoft::QLinearGlobalAveragePool": {"adds": 40, "multiplies": 8},
        "com.microsoft::QLinearReduceMean": {"adds": 40, "multiplies": 8},
    }
    pooled = {"kernel_shape": (3,)}
    logits, targets = data((n, 4, t)), data((n, t), "int64")
    return [
        *((make_op(name, [x], [out]), expected) for name, expected in work.items()),
        (make_op("TopK", [x, ints(2)], [(n, 4, 2)]), {"adds": 40}),
        (make_op("NonZero", [x], [None]), {"adds": 40}),
        (make_op("CumSum", [x, ints(-1)], [shape]), {"adds": 32}),
        (make_op("CumSum", [x, ints(0)], [shape]), {"adds": 20}),
        (make_op("CumProd", [x, ints(1)], [shape]), {"multiplies": 30}),
        (make_op("Col2Im", [data((n, 12, t))], [(n, 4, t)]), {"adds": 120}),
        # 40 windows of 3.
        (make_op("MaxPool", [x], [shape], **pooled), {"adds": 80}),
        (make_op("com.microsoft::NhwcMaxPool", [x], [shape], **pooled), {"adds": 80}),
        (make_op("AveragePool", [x], [shape], **pooled), {"adds": 80, "multiplies": 40}),
        (
            make_op("LpPool", [x], [shape], **pooled),
            {"adds": 80, "multiplies": 120, "activations": 40},
        ),
        (
            make_op("com.microsoft::QLinearAveragePool", [x], [shape], **pooled),
            {"adds": 120, "multiplies": 40},
        ),
        # 10 targets: 10 sign changes and 9 adds, then one division.
        (
            make_op("NegativeLogLikelihoodLoss", [logits, targets], [()]),
            {"adds": 19, "multiplies": 1},
        ),
        (
            make_op("NegativeLogLikelihoodLoss", [logits, targets], [(n, t)], reduction="none"),
            {"adds": 10},
        ),
        (
            make_op("NegativeLogLikelihoodLoss", [logits, targets, weight((4,))], [()]),
            {"adds": 28, "multiplies": 11},
        ),
        # LogSoftmax of 40 in 10 rows: 30 + 40 + 30 + 40 adds, 50 activations.
        (
            make_op("SoftmaxCrossEntropyLoss", [logits, targets], [()]),
            {"adds": 159, "multiplies": 1, "activations": 50},
        ),
    ]


def normalisations(n: Dim, t: Dim) -> list[Example]:
    """80 elements [n, t, 8] in 10 rows, or [n, 8, t] in 16 channels or 4 groups."""
    last, first = (n, t, 8), (n, 8, t)
    x, y = data(last), data(first)
    g = weight((8,))
    # Mean 70 + 10, squares 80, mean 70 + 10, variance 10 + 10, epsilon 10, root 10, deviation
    # 80, division 80, scale 80.
    layer = {"multiplies": 270, "adds": 240, "activations": 10}
    rms = {"multiplies": 250, "adds": 80, "activations": 10}
    stats = [weight((8,)) for _ in range(4)]
    return [
        (make_op("Softmax", [x], [last]), {"multiplies": 80, "adds": 220, "activations": 80}),
        (
            make_op("Softmax", [y], [first], axis=1),
            {"multiplies": 80, "adds": 220, "activations": 80},
        ),
        # Before opset 13 everything from the axis on is one row: here 2 rows of 40.
        (
            make_op("Softmax", [y], [first], axis=1, coerced=1),
            {"multiplies": 80, "adds": 236, "activations": 80},
        ),
        (make_op("LogSoftmax", [x], [last]), {"adds": 300, "activations": 90}),
        (make_op("Hardmax", [x], [last]), {"adds": 70}),
        (
            make_op("com.microsoft::BiasSoftmax", [x, x], [last]),
            {"multiplies": 80, "adds": 300, "activations": 80},
        ),
        (
            make_op("com.microsoft::QLinearSoftmax", [x], [last]),
            {"multiplies": 80, "adds": 220, "activations": 80},
        ),
        (
            make_op("com.microsoft::QLinearSoftmax", [y], [first], axis=1, opset=12),
            {"multiplies": 80, "adds": 236, "activations": 80},
        ),
        (
            make_op("BatchNormalization", [y, *stats], [first]),
            {"multiplies": 80, "bias_adds": 80},
        ),
        (
            make_op("BatchNormalization", [y, *stats], [first], training_mode=1),
            {"multiplies": 264, "adds": 240, "bias_adds": 80, "activations": 8},
        ),
        (make_op("LayerNormalization", [x, g, g], [last]), {**layer, "bias_adds": 80}),
        (make_op("LayerNormalization", [x, g], [last]), layer),
        (make_op("LayerNormalization", [x], [last]), {**layer, "multiplies": 190}),
        (
            make_op("LayerNormalization", [x, g], [last], axis=1),
            {"multiplies": 246, "adds": 240, "activations": 2},
        ),
        (
            make_op("InstanceNormalization", [y, g, g], [first]),
            {"multiplies": 288, "adds": 240, "bias_adds": 80, "activations": 16},
        ),
        (
            make_op("GroupNormalization", [y, g, g], [first], num_groups=2),
            {"multiplies": 252, "adds": 240, "bias_adds": 80, "activations": 4},
        ),
        (
            make_op("MeanVarianceNormalization", [y], [first], axes=(0, 2)),
            {"multiplies": 184, "adds": 240, "activations": 8},
        ),
        (make_op("RMSNormalization", [x, g], [last]), rms),
        (make_op("SimplifiedLayerNormalization", [x, g], [last]), rms),
        (
            make_op("com.microsoft::SkipLayerNormalization", [x, x, g, g, g], [last]),
            {**layer, "adds": 320, "bias_adds": 160},
        ),
        (
            make_op("com.microsoft::SkipSimplifiedLayerNormalization", [x, x, g], [last]),
            {**rms, "adds": 160},
        ),
        (
            make_op(
                "com.microsoft::EmbedLayerNormalization",
                [data((n, t), "int64"), None, weight((9, 8)), weight((7, 8)), None, g, g],
                [last],
            ),
            {**layer, "adds": 320, "bias_adds": 80},
        ),
        (
            make_op("LpNormalization", [x], [last]),
            {"multiplies": 160, "adds": 70, "activations": 10},
        ),
        (make_op("LpNormalization", [x], [last], p=1), {"multiplies": 80, "adds": 150}),
        (
            make_op("LRN", [y], [first], size=3),
            {"multiplies": 240, "adds": 240, "activations": 80},
        ),
    ]


def products(n: Dim, t: Dim) -> list[Example]:
    """[n, t, 3] times [3, 4]: 10 rows, 120 MACs, 40 outputs."""
    a, b = data((n, t, 3)), weight((3, 4))
    out = (n, t, 4)
    a8, b8 = data((n, t, 3), "uint8"), weight((3, 4), "int8")
    scale, zero = weight(()), weight((), "uint8")
    rows = data((t, 3))
    bias = weight((4,))
    return [
        (make_op("MatMul", [a, b], [out]), {"macs": 120}),
        (make_op("MatMul", [a, data((n, 3, t))], [(n, t, t)]), {"macs": 150}),
        (make_op("MatMul", [data((6, 1, t, 3)), data((n, 3, 4))], [(6, n, t, 4)]), {"macs": 720}),
        (make_op("MatMul", [data((3,)), data((n, 3, 4))], [(n, 4)]), {"macs": 24}),
        (make_op("MatMul", [a, data((3,))], [(n, t)]), {"macs": 30}),
        (make_op("MatMul", [data((t,)), data((t,))], [()]), {"macs": 5}),
        (make_op("MatMulInteger", [a8, b8, zero, zero], [out]), {"macs": 120}),
        (
            make_op("QLinearMatMul", [a8, scale, zero, b8, scale, zero, scale, zero], [out]),
            {"macs": 120, "multiplies": 40, "adds": 40},
        ),
        (
            make_op(
                "com.microsoft::MatMulIntegerToFloat",
                [a8, b8, scale, scale, zero, zero, bias],
                [out],
            ),
            {"macs": 120, "multiplies": 40, "bias_adds": 40},
        ),
        # Quantising 30 elements: 60 comparisons, 30 multiplies, 30 adds.
        (
            make_op("com.microsoft::DynamicQuantizeMatMul", [a, b8, scale, zero, bias], [out]),
            {"macs": 120, "multiplies": 70, "adds": 90, "bias_adds": 40},
        ),
        (
            make_op(
                "com.microsoft::FusedMatMul",
                [data((n, 3, t)), weight((4, 3))],
                [out],
                transA=1,
                transB=1,
                alpha=0.5,
            ),
            {"macs": 120, "multiplies": 40},
        ),
        (
            make_op(
                "com.microsoft::TransposeMatMul",
                [data((t, n, 3)), data((n, 3, 4))],
                [out],
                transBatchA=1,
            ),
            {"macs": 120},
        ),
        (make_op("Gemm", [rows, b, bias], [(t, 4)]), {"macs": 60, "bias_adds": 20}),
        (make_op("Gemm", [rows, b], [(t, 4)]), {"macs": 60}),
        (make_op("Gemm", [rows, b, bias], [(t, 4)], beta=0.0), {"macs": 60}),
        (make_op("Gemm", [rows, b, data((t, 4))], [(t, 4)]), {"macs": 60, "adds": 20}),
        (
            make_op("Gemm", [rows, weight((4, 3)), bias], [(t, 4)], transB=1, alpha=2.0, beta=0.5),
            {"macs": 60, "bias_adds": 20, "multiplies": 40},
        ),
        (make_op("Gemm", [data((3, t)), b], [(t, 4)], transA=1), {"macs": 60}),
        (
            make_op("com.microsoft::FusedGemm", [rows, b, bias], [(t, 4)], activation="Relu"),
            {"macs": 60, "bias_adds": 20, "activations": 20},
        ),
        (
            make_op(
                "com.microsoft::QGemm",
                [data((t, 3), "uint8"), scale, zero, b8, scale, zero, weight((4,), "int32")],
                [(t, 4)],
            ),
            {"macs": 60, "bias_adds": 20, "multiplies": 20, "adds": 20},
        ),
        (
            make_op(
                "com.microsoft::MatMulNBits",
                [data((n, t, 32)), weight((4, 1, 16), "uint8"), weight((4, 1))],
                [out],
                K=32,
                N=4,
                bits=4,
                block_size=32,
            ),
            {"macs": 1280},
        ),
        # Ones for the labels: b 2, t 5, g 4, i 3, h 6.
        (
            make_op(
                "Einsum",
                [data((n, t, 4, 3)), weight((4, 3, 6))],
                [(n, t, 4, 6)],
                equation="btgi,gih->btgh",
            ),
            {"macs": 720},
        ),
        (make_op("AffineGrid", [data((n, 2, 3))], [(n, t, 7, 2)]), {"macs": 420}),
    ]


def convolutions(n: Dim, t: Dim) -> list[Example]:
    """[n, 4, t] to [n, 6, t] with a kernel of 3: 60 outputs of 12 MACs."""
    x, out = data((n, 4, t)), (n, 6, t)
    x8 = data((n, 4, t), "uint8")
    w, w8, bias = weight((6, 4, 3)), weight((6, 4, 3), "int8"), weight((6,))
    scale, zero = weight(()), weight((), "uint8")
    image, kernel = data((n, t, 7, 4)), weight((6, 2, 3, 3))  # channels last, two groups
    fused: dict[str, Any] = {"activation": "Relu", "group": 2}
    return [
        (make_op("Conv", [x, w, bias], [out]), {"macs": 720, "bias_adds": 60}),
        (make_op("Conv", [x, weight((6, 2, 3))], [out], group=2), {"macs": 360}),
        (make_op("Conv", [x, weight((4, 1, 3))], [(n, 4, t)], group=4), {"macs": 120}),
        # 2·6·35 outputs of 4·9.
        (
            make_op("Conv", [data((n, 4, 5, 7)), weight((6, 4, 3, 3))], [(n, 6, 5, 7)]),
            {"macs": 15120},
        ),
        (make_op("ConvInteger", [x8, w8, zero, zero], [out]), {"macs": 720}),
        (
            make_op(
                "QLinearConv",
                [x8, scale, zero, w8, scale, zero, scale, zero, weight((6,), "int32")],
                [out],
            ),
            {"macs": 720, "multiplies": 60, "adds": 60, "bias_adds": 60},
        ),
        # 2·35·6 outputs of 2·9.
        (
            make_op(
                "com.microsoft::QLinearConv",
                [image, scale, zero, kernel, scale, zero, scale, zero],
                [(n, t, 7, 6)],
                group=2,
                channels_last=1,
            ),
            {"macs": 7560, "multiplies": 420, "adds": 420},
        ),
        (
            make_op("com.microsoft::NhwcConv", [image, kernel], [(n, t, 7, 6)], group=2),
            {"macs": 7560},
        ),
        (
            make_op(
                "com.microsoft::NhwcFusedConv",
                [image, kernel, bias, image],
                [(n, t, 7, 6)],
                **fused,
            ),
            {"macs": 7560, "bias_adds": 420, "adds": 420, "activations": 420},
        ),
        (
            make_op("com.microsoft::FusedConv", [x, weight((6, 2, 3)), bias], [out], **fused),
            {"macs": 360, "bias_adds": 60, "activations": 60},
        ),
        (
            make_op(
                "CausalConvWithState",
                [x, weight((4, 1, 3)), weight((4,))],
                [(n, 4, t)],
                activation="silu",
            ),
            {"macs": 120, "bias_adds": 40, "activations": 40},
        ),
        # 2·4·35 samples a tap, 9 taps.
        (
            make_op(
                "DeformConv",
                [data((n, 4, t, 7)), weight((6, 4, 3, 3)), data((n, 18, t, 7))],
                [(n, 6, t, 7)],
            ),
            {"macs": 15120, "multiplies": 10080, "adds": 7560},
        ),
        # 40 inputs, each with 6 channels of 3 taps.
        (
            make_op("ConvTranspose", [x, weight((4, 6, 3)), bias], [(n, 6, 2 * t)]),
            {"macs": 720, "bias_adds": 120},
        ),
        (
            make_op("ConvTranspose", [x, weight((4, 1, 3))], [(n, 4, 2 * t)], group=4),
            {"macs": 120},
        ),
    ]


def attentions(n: Dim, t: Dim) -> list[Example]:
    """2 heads, 5 queries, keys of 3, values of 4; 50 scores a batch row, 10 rows."""
    q, k, v = data((n, 2, t, 3)), data((n, 2, t, 3)), data((n, 2, t, 4))
    # 100 scores: scale and division 200, softmax 80 + 100 + 80.
    self_work = {"macs": 700, "multiplies": 200, "adds": 260, "activations": 100}
    wide = data((n, t, 6))
    # keys 3, values 3
    even = {"macs": 600, "multiplies": 200, "adds": 260, "activations": 100}
    # With 4 past keys: 9 keys, 180 scores in 20 rows.
    longer = {"macs": 1080, "multiplies": 360, "adds": 500, "activations": 180}
    return [
        (make_op("Attention", [q, k, v], [(n, 2, t, 4)]), self_work),
        (
            make_op("Attention", [q, k, v], [(n, 2, t, 4)], is_causal=1, softcap=5.0),
            {"macs": 700, "multiplies": 400, "adds": 360, "activations": 200},
        ),
        (
            make_op("Attention", [q, k, v, data((t, t))], [(n, 2, t, 4)]),
            {**self_work, "adds": 360},
        ),
        (
            make_op(
                "Attention",
                [wide, data((n, t, 3)), data((n, t, 4))],
                [(n, t, 8)],
                q_num_heads=2,
                kv_num_heads=1,
            ),
            self_work,
        ),
        (
            make_op(
                "com.microsoft::MultiHeadAttention", [wide, wide, wide], [(n, t, 6)], num_heads=2
            ),
            even,
        ),
        (
            make_op(
                "com.microsoft::MultiHeadAttention",
                [data((n, t, 2, 3, 3))],
                [(n, t, 6)],
                num_heads=2,
            ),
            even,
        ),
        (
            make_op(
                "com.microsoft::MultiHeadAttention",
                [wide, data((n, t, 2, 2, 3)), None, weight((18,))],
                [(n, t, 6)],
                num_heads=2,
            ),
            {**even, "bias_adds": 180},
        ),
        (
            make_op(
                "com.microsoft::MultiHeadAttention",
                [wide, wide, wide, None, None, None, data((n, 2, 4, 3)), data((n, 2, 4, 3))],
                [(n, t, 6)],
                num_heads=2,
            ),
            longer,
        ),
        # Causal: 180 more adds. Rotation of 60 + 30 elements.
        (
            make_op(
                "com.microsoft::GroupQueryAttention",
                [wide, data((n, t, 3)), data((n, t, 3)), data((n, 1, 4, 3)), data((n, 1, 4, 3))],
                [(n, t, 6), (n, 1, t + 4, 3)],
                num_heads=2,
                kv_num_heads=1,
                do_rotary=1,
            ),
            {"macs": 1080, "multiplies": 540, "adds": 770, "activations": 180},
        ),
        (
            make_op(
                "com.microsoft::MultiHeadAttention",
                [wide, data((n, 2, t, 3)), data((n, 2, t, 3))],
                [(n, t, 6)],
                num_heads=2,
            ),
            even,
        ),
        # Queries, keys and values packed: 2 + 1 + 1 heads of 3.
        (
            make_op(
                "com.microsoft::GroupQueryAttention",
                [data((n, t, 12))],
                [(n, t, 6)],
                num_heads=2,
                kv_num_heads=1,
                causal=0,
            ),
            even,
        ),
        # Projection: 10 rows of 7·18.
        (
            make_op(
                "com.microsoft::Attention",
                [data((n, t, 7)), weight((7, 18)), weight((18,))],
                [(n, t, 6)],
                num_heads=2,
            ),
            {**even, "macs": 1860, "bias_adds": 180},
        ),
        (
            make_op(
                "com.microsoft::QAttention",
                [data((n, t, 7), "uint8"), weight((7, 18), "int8"), weight((18,))],
                [(n, t, 6)],
                num_heads=2,
            ),
            {**even, "macs": 1860, "bias_adds": 180, "multiplies": 380},
        ),
        # 10 tokens; state 3·4; 4 query heads, 2 key heads.
        (
            make_op(
                "LinearAttention",
                [data((n, t, 12)), data((n, t, 6)), data((n, t, 8))],
                [(n, t, 16)],
                q_num_heads=4,
                kv_num_heads=2,
                update_rule="linear",
            ),
            {"macs": 720, "multiplies": 160},
        ),
        (
            make_op(
                "LinearAttention",
                [data((n, t, 12)), data((n, t, 6)), data((n, t, 8)), None, data((n, t, 2))],
                [(n, t, 16)],
                q_num_heads=4,
                kv_num_heads=2,
            ),
            {"macs": 960, "multiplies": 480, "adds": 80, "activations": 20},
        ),
    ]


def quantisations(n: Dim, t: Dim) -> list[Example]:
    shape = (n, 4, t)
    x, scale, zero = data(shape), weight(()), weight((), "uint8")
    both = {"multiplies": 40, "adds": 40}
    contrib = ("com.microsoft::QuantizeLinear", "com.microsoft::DequantizeLinear")
    return [
        *(
            (make_op(name, [x, scale, zero], [shape]), both)
            for name in ("QuantizeLinear", "DequantizeLinear", *contrib)
        ),
        (make_op("QuantizeLinear", [x, scale], [shape]), {"multiplies": 40}),
        (make_op("DequantizeLinear", [weight((6, 7), "int8"), scale], [weight((6, 7))]), {}),
        (make_op("DynamicQuantizeLinear", [x], [shape, (), ()]), {"multiplies": 40, "adds": 120}),
        (make_op("com.microsoft::QLinearAdd", [x], [shape]), {"multiplies": 80, "adds": 80}),
        (make_op("com.microsoft::QLinearMul", [x], [shape]), {"multiplies": 80, "adds": 40}),
        (make_op("com.microsoft::QLinearConcat", [], [shape]), both),
    ]


def movements(n: Dim, t: Dim) -> list[Example]:
    shape = (n, 4, t)
    x = data(shape)
    wide = data((n, 4, t, 6))
    nearest = {"mode": "nearest"}
    return [
        *((make_op(name, [x], [shape]), {}) for name in NOTHING),
        *((make_op(name, [x], [shape], **nearest), {}) for name in MOVES if "Grid" not in name),
        *(
            (make_op(name, [wide, data((n, 8, 9, 2))], [(n, 4, 8, 9)], **nearest), {})
            for name in MOVES
            if "Grid" in name
        ),
        (make_op("Transpose", [weight((3, 4))], [weight((4, 3))]), {}),
        (
            make_op("ScatterND", [x, ints(0), data((n, t))], [shape], reduction="add"),
            {"adds": 10},
        ),
        (
            make_op("ScatterElements", [x, ints(0), data((n, t))], [shape], reduction="mul"),
            {"multiplies": 10},
        ),
        # 240 outputs of 4 and of 16 neighbours.
        (
            make_op("Resize", [x], [(n, 4, 2 * t)], mode="linear"),
            {"multiplies": 160, "adds": 80},
        ),
        (
            make_op("Upsample", [wide], [(n, 4, 2 * t, 12)], mode="linear"),
            {"multiplies": 3840, "adds": 2880},
        ),
        (
            make_op("Resize", [wide], [(n, 4, t, 12)], mode="cubic"),
            {"multiplies": 1920, "adds": 1440},
        ),
        (
            make_op("GridSample", [wide, data((n, 8, 9, 2))], [(n, 4, 8, 9)], mode="linear"),
            {"multiplies": 2304, "adds": 1728},
        ),
        (
            make_op("RoiAlign", [wide], [(n, 4, 3, 3)], sampling_ratio=2),
            {"multiplies": 1224, "adds": 1080},
        ),
    ]


def transforms(n: Dim, t: Dim) -> list[Example]:
    """Length 8 has 12 butterflies of 4 multiplies and 6 adds; real input takes half."""
    return [
        (
            make_op("DFT", [data((n, 8, 2)), None, ints(1)], [(n, 8, 2)]),
            {"multiplies": 96, "adds": 144},
        ),
        (
            make_op("DFT", [data((n, t, 8, 1)), None, ints(2)], [(n, t, 5, 2)], onesided=1),
            {"multiplies": 240, "adds": 360},
        ),
        (
            make_op("DFT", [data((n, 8, t, 2)), None], [(n, 8, t, 2)], axis=1),
            {"multiplies": 480, "adds": 720},
        ),
        # Frames of 8: 10 real transforms, each weighed by its window.
        (
            make_op("STFT", [data((n, 40, 1)), ints(8), weight((8,)), ints(8)], [(n, t, 5, 2)]),
            {"multiplies": 320, "adds": 360},
        ),
        (
            make_op("STFT", [data((n, 40)), ints(8), weight((8,))], [(n, t, 5, 2)]),
            {"multiplies": 320, "adds": 360},
        ),
        (
            make_op("STFT", [data((n, 40, 1)), ints(8), None, ints(8)], [(n, t, 5, 2)]),
            {"multiplies": 240, "adds": 360},
        ),
    ]


def examples(n: Dim, t: Dim) -> list[Example]:
    """All of them; the recurrent operators have their own tests."""
    return [
        *elementwise(n, t),
        *rotary(n, t),
        *reductions(n, t),
        *normalisations(n, t),
        *products(n, t),
        *convolutions(n, t),
        *attentions(n, t),
        *quantisations(n, t),
        *movements(n, t),
        *transforms(n, t),
    ]
