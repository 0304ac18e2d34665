"""Attention: products of queries with keys and of weights with values, and what surrounds them.

Letters: B batch, h query heads, q queries, k keys with those of the past, d and v the head
sizes of keys and values. A mask does not lessen the products: kernels that skip masked
blocks are the exception, and what they skip depends on their block size.
"""

from __future__ import annotations

import msgspec

from rnncost.counting.cost import OpCost
from rnncost.counting.formula import ZERO, Term, formulas, letter, values
from rnncost.counting.normalisation import softmax_adds
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
from rnncost.graph.dim import Dim, Shape
from rnncost.graph.ir import Op


class _Extents(msgspec.Struct, frozen=True):
    batch: Dim
    heads: Dim
    queries: Dim
    keys: Dim
    key_size: Dim
    value_size: Dim


@counts("Attention", roles={3: ROLE_CONSTANT, 6: ROLE_CONSTANT})
def attention(op: Op) -> OpCost:
    """q [B, h, q, d], k [B, h', k, d], v [B, h', k, v], or [B, length, heads·size] each.

    B·h·q·k·(d+v) MACs. Source: ONNX Attention-25.
    """
    q_heads, kv_heads = op.int_attr("q_num_heads", 0), op.int_attr("kv_num_heads", 0)
    q = _headed(shape_of(op, 0), q_heads)
    k = _headed(shape_of(op, 1), kv_heads)
    v = _headed(shape_of(op, 2), kv_heads)
    expect(agree(q[3], k[3]), f"queries have {q[3]} features a head, keys {k[3]}")
    extents = _Extents(q[0], q[1], q[2], _past(op, 4) + k[2], q[3], v[3])
    return _cost(op, extents, masked=has(op, 3) or op.int_attr("is_causal", 0) != 0)


@counts("com.microsoft::MultiHeadAttention", roles={4: ROLE_CONSTANT, 5: ROLE_CONSTANT})
def multi_head_attention(op: Op) -> OpCost:
    """q [B, q, h·d]; k, v alike, as [B, h, k, d], or packed beside q or k. Bias (position 3).

    Source: ONNX Runtime contrib MultiHeadAttention-1.
    """
    heads = op.int_attr("num_heads", 0)
    expect(heads > 0, "the attribute num_heads is missing")
    query = shape_of(op, 0)
    if len(query) == 5:  # packed Q, K and V: [B, length, heads, 3, size]
        keys, key_size, value_size = query[1], query[4], query[4]
    else:
        key_size = query[2] // heads
        keys, value_size = _keys_and_value_size(op, heads, key_size)
    extents = _Extents(query[0], heads, query[1], _past(op, 6) + keys, key_size, value_size)
    cost = _cost(op, extents, masked=_masked(op, 4, 5))
    if not has(op, 3):
        return cost
    rows_of_q = extents.batch * extents.queries * heads * key_size
    rows_of_kv = extents.batch * keys * heads * (key_size + value_size)
    return msgspec.structs.replace(cost, bias_adds=rows_of_q + rows_of_kv)


@counts(
    "com.microsoft::GroupQueryAttention",
    roles={
        **dict.fromkeys(range(5, 11), ROLE_CONSTANT),
        **dict.fromkeys((12, 13), ROLE_QUANTIZATION),
    },
)
def group_query_attention(op: Op) -> OpCost:
    """q [B, q, h·d], k and v [B, k, h'·d] or packed beside q; keys end with the present's.

    Where past and present share a buffer, its whole length is counted. Rotation of queries
    and keys is 2 multiplies and 1 add an element. Source: ONNX Runtime contrib
    GroupQueryAttention-1.
    """
    heads, kv_heads = op.int_attr("num_heads", 0), op.int_attr("kv_num_heads", 0)
    expect(heads > 0 and kv_heads > 0, "num_heads or kv_num_heads is missing")
    query = shape_of(op, 0)
    size = query[2] // heads if has(op, 1) else query[2] // (heads + 2 * kv_heads)
    present = op.outputs[1] if len(op.outputs) > 1 else None
    if present is not None and present.shape is not None:
        keys = present.shape[2]
    else:
        keys = _past(op, 3) + (shape_of(op, 1)[1] if has(op, 1) else query[1])
    extents = _Extents(query[0], heads, query[1], keys, size, size)
    cost = _cost(op, extents, masked=op.int_attr("causal", 1) != 0)
    if op.int_attr("do_rotary", 0) == 0:
        return cost
    rotated = query[0] * query[1] * (heads + kv_heads) * size
    return msgspec.structs.replace(
        cost, multiplies=cost.multiplies + 2 * rotated, adds=cost.adds + rotated
    )


@counts(
    "com.microsoft::Attention",
    roles={1: ROLE_WEIGHT, 2: ROLE_WEIGHT},
    default_role=ROLE_CONSTANT,
)
def fused_attention(op: Op) -> OpCost:
    """Projects x [B, L, I] with w [I, 2·h·d + h·v], then attends.

    Source: ONNX Runtime contrib Attention-1.
    """
    return _projected(op, past_at=4, masked=_masked(op, 3, 5))


@counts(
    "com.microsoft::QAttention",
    roles={
        1: ROLE_WEIGHT,
        2: ROLE_WEIGHT,
        **dict.fromkeys((3, 4, 6, 7), ROLE_QUANTIZATION),
    },
    default_role=ROLE_CONSTANT,
)
def quantised_attention(op: Op) -> OpCost:
    """Attention with an 8-bit projection, which one multiply an element rescales."""
    cost = _projected(op, past_at=8, masked=_masked(op, 5))
    x, w = shape_of(op, 0), shape_of(op, 1)
    return msgspec.structs.replace(cost, multiplies=cost.multiplies + x[0] * x[1] * w[1])


@counts("LinearAttention")
def linear_attention(op: Op) -> OpCost:
    """A state of d·v a key head, updated and read at each of T tokens.

    Update k⊗v and, with the delta rules, the read-out that it corrects: d·v MACs each a key
    head; output: d·v MACs a query head. Decay is d·v multiplies and an exponential each
    element of it; the delta rules add v adds and v multiplies. The tokens can be taken in
    parallel chunks, so no steps are counted. Source: ONNX LinearAttention-27.
    """
    heads, kv_heads = op.int_attr("q_num_heads", 0), op.int_attr("kv_num_heads", 0)
    expect(heads > 0 and kv_heads > 0, "q_num_heads or kv_num_heads is missing")
    rule = op.str_attr("update_rule", "gated_delta")
    query, value = shape_of(op, 0), shape_of(op, 2)
    d, v = letter("d", query[2] // heads), letter("v", value[2] // kv_heads)
    batch, tokens = letter("B", query[0]), letter("T", query[1])
    h, kv = letter("h", heads), letter("g", kv_heads)
    delta, gated = rule.endswith("delta"), rule.startswith("gated")
    macs = batch * tokens * d * v * (h + (2 if delta else 1) * kv)
    multiplies = batch * tokens * h * v
    if gated:
        multiplies = multiplies + batch * tokens * kv * d * v
    if delta:
        multiplies = multiplies + batch * tokens * kv * v
    adds = batch * tokens * kv * v if delta else ZERO
    return OpCost(
        kind="product",
        macs=macs.value,
        dense_macs=macs.value,
        multiplies=multiplies.value,
        adds=adds.value,
        activations=numel(shape_of(op, 4)) if gated else 0,
        extents=values(B=batch, T=tokens, h=h, g=kv, d=d, v=v),
        formulas=formulas(macs=macs, multiplies=multiplies, adds=adds),
    )


def _projected(op: Op, past_at: int, masked: bool) -> OpCost:
    x, w = shape_of(op, 0), shape_of(op, 1)
    heads = op.int_attr("num_heads", 0)
    expect(heads > 0, "the attribute num_heads is missing")
    expect(len(x) == 3 and len(w) == 2, "input and weights are not [B, L, I] and [I, …]")
    expect(agree(x[2], w[0]), f"the weights take {w[0]} features, the input has {x[2]}")
    sizes = op.ints_attr("qkv_hidden_sizes") or (w[1] // 3, w[1] // 3, w[1] // 3)
    past = op.tensor(past_at)
    before = past.shape[3] if past is not None and past.shape is not None else 0
    extents = _Extents(x[0], heads, x[1], before + x[1], sizes[0] // heads, sizes[2] // heads)
    projection = letter("I", w[0]) * letter("W", w[1])
    cost = _cost(op, extents, masked, projection)
    biased = has(op, 2)
    return msgspec.structs.replace(
        cost,
        bias_adds=x[0] * x[1] * w[1] if biased else 0,
        extents={**cost.extents, "I": w[0], "W": w[1]},
    )


def _cost(op: Op, extents: _Extents, masked: bool, projection: Term = ZERO) -> OpCost:
    """The two products, and the scale, mask, soft cap and softmax of the scores.

    ``projection`` is the MACs of one query row before that.
    """
    b, h, q = letter("B", extents.batch), letter("h", extents.heads), letter("q", extents.queries)
    k, d, v = (
        letter("k", extents.keys),
        letter("d", extents.key_size),
        letter("v", extents.value_size),
    )
    macs = b * h * q * k * (d + v)
    if projection is not ZERO:
        macs = macs + b * q * projection
    rows = (b * h * q).value
    scores = rows * extents.keys
    capped = op.float_attr("softcap", 0.0) != 0.0
    # Scale and softmax division; the soft cap divides, takes tanh and multiplies again.
    return OpCost(
        kind="product",
        macs=macs.value,
        dense_macs=macs.value,
        multiplies=scores * (4 if capped else 2),
        adds=softmax_adds(scores, rows) + (scores if masked else 0),
        activations=scores * (2 if capped else 1),
        extents=values(B=b, h=h, q=q, k=k, d=d, v=v),
        formulas=formulas(macs=macs),
    )


def _headed(shape: Shape, heads: int) -> tuple[Dim, Dim, Dim, Dim]:
    """[B, heads, length, size] of a tensor given so or as [B, length, heads·size]."""
    if len(shape) == 4:
        return shape[0], shape[1], shape[2], shape[3]
    expect(len(shape) == 3, f"an operand has {len(shape)} dimensions, neither 3 nor 4")
    expect(heads > 0, "three-dimensional operands need the number of heads")
    return shape[0], heads, shape[1], shape[2] // heads


def _past(op: Op, index: int) -> Dim:
    """The length of past keys [B, heads, length, size]; 0 without any."""
    return shape_of(op, index)[2] if has(op, index) else 0


def _masked(op: Op, *positions: int) -> bool:
    return any(has(op, at) for at in positions) or op.int_attr("unidirectional", 0) != 0


def _keys_and_value_size(op: Op, heads: int, key_size: Dim) -> tuple[Dim, Dim]:
    key = shape_of(op, 1)
    if len(key) == 5:  # packed K and V: [B, length, heads, 2, size]
        return key[1], key_size
    if len(key) == 4:  # [B, heads, length, size]
        return key[2], shape_of(op, 2)[3]
    return key[1], shape_of(op, 2)[2] // heads
