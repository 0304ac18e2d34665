"""ONNX Runtime's fused operators of transformers: embeddings, skip connections, activations."""

from __future__ import annotations

from rnncost.frontends.onnx.infer.base import Call, Known, infers
from rnncost.frontends.onnx.infer.bounds import broadcast
from rnncost.frontends.onnx.infer.operands import (
    expect_rank,
    known,
    like,
    operand,
    unknown,
)


@infers(
    "com.microsoft::FastGelu",
    "com.microsoft::Gelu",
    "com.microsoft::QuickGelu",
)
def activation(call: Call) -> tuple[Known, ...]:
    return (like(operand(call, 0)),)


@infers("com.microsoft::BiasAdd", "com.microsoft::BiasGelu")
def biased(call: Call) -> tuple[Known, ...]:
    x, bias = operand(call, 0), operand(call, 1)
    if x.shape is None or bias.shape is None:
        return unknown(x.dtype)
    return (known(x.dtype, broadcast(x.shape, bias.shape)),)


@infers("com.microsoft::SkipLayerNormalization", "com.microsoft::SkipSimplifiedLayerNormalization")
def skip_layer_normalization(call: Call) -> tuple[Known, ...]:
    """Y, mean and inverse deviation over the last dimension, and the sum before it."""
    x = operand(call, 0)
    shape = None if x.shape is None else (*x.shape[:-1], 1)
    statistics = known("float32", shape)
    return (like(x), statistics, statistics, like(x))


@infers("com.microsoft::EmbedLayerNormalization")
def embed_layer_normalization(call: Call) -> tuple[Known, ...]:
    """Ids [B, S] and a table [V, H] -> [B, S, H], mask index [B], and the sum before."""
    ids, table = operand(call, 0), operand(call, 2)
    if ids.shape is None or table.shape is None:
        return unknown(table.dtype, "int32", table.dtype)
    expect_rank(ids.shape, 2, "input_ids")
    expect_rank(table.shape, 2, "word_embedding")
    made = known(table.dtype, (*ids.shape, table.shape[1]))
    return (made, known("int32", ids.shape[:1]), made)
