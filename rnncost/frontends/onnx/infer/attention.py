"""Attention, of ONNX and of ONNX Runtime, with and without caches of keys and values."""

from __future__ import annotations

from rnncost.frontends.onnx.infer.base import Call, InferenceError, Known, infers
from rnncost.frontends.onnx.infer.bounds import larger, same, shape_text
from rnncost.frontends.onnx.infer.operands import (
    expect_rank,
    int_attr,
    int_of,
    ints_attr,
    known,
    like,
    operand,
    required_int,
    unknown,
)
from rnncost.graph.dim import Dim, Shape, hint


@infers("Attention")
def attention(call: Call) -> tuple[Known, ...]:
    """Y, present_key, present_value and the product of Q and K (ONNX operator Attention-23).

    Q, K and V are [N, heads, length, size] or [N, length, heads·size].
    """
    q, k, v = operand(call, 0), operand(call, 1), operand(call, 2)
    if q.shape is None or k.shape is None or v.shape is None:
        return unknown(q.dtype, k.dtype, v.dtype, q.dtype)
    flat = len(q.shape) == 3
    kv_heads = required_int(call, "kv_num_heads") if flat else 0
    batch, heads, length, size = _by_heads(
        q.shape, required_int(call, "q_num_heads") if flat else 0, "Q"
    )
    keys, values = _by_heads(k.shape, kv_heads, "K"), _by_heads(v.shape, kv_heads, "V")
    same(size, keys[3], f"head sizes of Q {shape_text(q.shape)} and K {shape_text(k.shape)}")
    past = call.input(4)
    if past is not None:
        if past.shape is None:
            return (
                known(q.dtype, _merged(batch, heads, length, values[3], flat)),
                *unknown(k.dtype, v.dtype, q.dtype),
            )
        expect_rank(past.shape, 4, "past_key")
    total = keys[2] if past is None or past.shape is None else keys[2] + past.shape[2]
    return (
        known(q.dtype, _merged(batch, heads, length, values[3], flat)),
        known(k.dtype, (keys[0], keys[1], total, keys[3])),
        known(v.dtype, (values[0], values[1], total, values[3])),
        known(q.dtype, (batch, heads, length, total)),
    )


def _merged(batch: Dim, heads: Dim, length: Dim, size: Dim, flat: bool) -> Shape:
    return (batch, length, heads * size) if flat else (batch, heads, length, size)


def _by_heads(shape: Shape, heads: int, name: str) -> tuple[Dim, Dim, Dim, Dim]:
    """A 3-D or 4-D shape as batch, heads, length and head size."""
    if len(shape) == 4:
        return shape[0], shape[1], shape[2], shape[3]
    expect_rank(shape, 3, name)
    if heads < 1 or hint(shape[2]) % heads:
        raise InferenceError(f"{name} {shape_text(shape)} cannot be split into {heads} heads")
    return shape[0], heads, shape[1], shape[2] // heads


@infers("LinearAttention")
def linear_attention(call: Call) -> tuple[Known, ...]:
    """[B, T, Hq·dk], [B, T, Hkv·dk], [B, T, Hkv·dv] -> [B, T, Hq·dv] and [B, Hkv, dk, dv]."""
    q, k, v, past = operand(call, 0), operand(call, 1), operand(call, 2), call.input(3)
    state = q.dtype if past is None else past.dtype
    if q.shape is None or k.shape is None or v.shape is None:
        return unknown(q.dtype, state)
    heads, kv_heads = required_int(call, "q_num_heads"), required_int(call, "kv_num_heads")
    batch, _, length, _ = _by_heads(q.shape, heads, "the query")
    key_size = _by_heads(k.shape, kv_heads, "the key")[3]
    value_size = _by_heads(v.shape, kv_heads, "the value")[3]
    return (
        known(q.dtype, (batch, length, value_size * heads)),
        known(state, (batch, kv_heads, key_size, value_size)),
    )


@infers("RotaryEmbedding", "com.microsoft::RotaryEmbedding")
def rotary_embedding(call: Call) -> tuple[Known, ...]:
    return (like(operand(call, 0)),)


@infers("com.microsoft::Attention", "com.microsoft::QAttention")
def merged_attention(call: Call) -> tuple[Known, ...]:
    """[B, S, I] with weights [I, Hq + Hk + Hv] -> [B, S, Hv] and [2, B, heads, total, size].

    The quantised form has the scales third and fourth, and gives their type.
    """
    quantised = call.op_type.endswith("QAttention")
    x, w = operand(call, 0), operand(call, 1)
    dtype = operand(call, 3).dtype if quantised else x.dtype
    past = call.input(8 if quantised else 4)
    if x.shape is None or w.shape is None:
        return unknown(dtype, dtype)
    expect_rank(x.shape, 3, "the input")
    expect_rank(w.shape, 2, "the weights")
    same(x.shape[2], w.shape[0], f"sizes of {shape_text(x.shape)} and {shape_text(w.shape)}")
    sizes = ints_attr(call, "qkv_hidden_sizes")
    hidden = sizes[2] if sizes and len(sizes) == 3 else w.shape[1] // 3
    batch, length = x.shape[:2]
    heads = required_int(call, "num_heads")
    shape = (batch, length, hidden)
    if past is not None and past.shape is None:
        return (known(dtype, shape), known(dtype, None))
    total = length
    if past is not None and past.shape is not None:
        expect_rank(past.shape, 5, "past")
        shared = int_attr(call, "past_present_share_buffer", 0)
        total = past.shape[3] if shared else past.shape[3] + length
    return (known(dtype, shape), known(dtype, (2, batch, heads, total, hidden // heads)))


@infers("com.microsoft::MultiHeadAttention")
def multi_head_attention(call: Call) -> tuple[Known, ...]:
    """Output [B, S, Hv], present key and value [B, heads, total, size].

    The query may pack all three as [B, S, heads, 3, size], the key two as
    [B, L, heads, 2, size]; key and value may already be [B, heads, L, size].
    """
    q, k, v = operand(call, 0), call.input(1), call.input(2)
    heads = required_int(call, "num_heads")
    everything = unknown(q.dtype, q.dtype, q.dtype, q.dtype)
    if q.shape is None or (k and k.shape is None) or (v and v.shape is None):
        return everything
    batch, length = q.shape[:2]
    key: Shape | None = q.shape if len(q.shape) == 5 else None
    value = key
    if k is not None and k.shape is not None:
        key = value = k.shape
    if v is not None and v.shape is not None:
        value = v.shape
    if key is None or value is None:
        raise InferenceError("the key is required and missing")
    key_length, key_size = _cache_sizes(key, heads)
    value_length, value_size = _cache_sizes(value, heads)
    past = call.input(6)
    if past is not None:
        if past.shape is None:
            return (known(q.dtype, (batch, length, value_size * heads)), *everything[1:])
        expect_rank(past.shape, 4, "past_key")
        shared = call.input(8) is not None
        key_length = past.shape[2] if shared else past.shape[2] + key_length
        value_length = past.shape[2] if shared else past.shape[2] + value_length
    return (
        known(q.dtype, (batch, length, value_size * heads)),
        known(q.dtype, (batch, heads, key_length, key_size)),
        known(q.dtype, (batch, heads, value_length, value_size)),
        known(q.dtype, (batch, heads, length, key_length)),
    )


def _cache_sizes(shape: Shape, heads: int) -> tuple[Dim, Dim]:
    """Length and head size of a key or value in any of its forms."""
    if len(shape) == 5:
        return shape[1], shape[4]
    _, _, length, size = _by_heads(shape, heads, "key or value")
    return length, size


@infers("com.microsoft::GroupQueryAttention")
def group_query_attention(call: Call) -> tuple[Known, ...]:
    """Output [B, S, heads·size]; caches [B, kv_heads, max(past, total), size].

    ``total_sequence_length`` (input 6) sizes a cache that grows; where it is unknown the
    caches' length is too.
    """
    q, k, past = operand(call, 0), call.input(1), call.input(3)
    heads, kv_heads = required_int(call, "num_heads"), required_int(call, "kv_num_heads")
    cache = q.dtype if past is None else past.dtype
    if q.shape is None:
        return unknown(q.dtype, cache, cache)
    expect_rank(q.shape, 3, "the query")
    batch, length, width = q.shape
    size = width // (heads if k is not None else heads + 2 * kv_heads)
    output = known(q.dtype, (batch, length, size * heads))
    total = int_of(call.input(6), "total_sequence_length")
    if past is None:
        kept = length if total is None else total
    elif past.shape is None or (total is None and not int_attr(call, "sliding_window_cache", 0)):
        return (output, *unknown(cache, cache))
    else:
        expect_rank(past.shape, 4, "past_key")
        kept = past.shape[2] if total is None else larger(past.shape[2], total)
    present = known(cache, (batch, kv_heads, kept, size))
    return (output, present, present)
