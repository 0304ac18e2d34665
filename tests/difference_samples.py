"""Operators and random models for the tests of differences."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from report_samples import lstm, matmul, relu

from rnncost.report.model import OpRow


def move(name: str, size: int = 0, kind: str = "Reshape") -> OpRow:
    return OpRow(name=name, op_type=kind, kind="data", streamed_bytes=size)


def changed(op: OpRow, **facts: Any) -> OpRow:
    return msgspec.structs.replace(op, **facts)


def add(name: str, width: int, rows: int) -> OpRow:
    return OpRow(
        name=name,
        op_type="Add",
        kind="elementwise",
        params=width,
        elementwise_ops=rows * width,
        bias_adds=rows * width,
    )


def gemm(name: str, m: int, k: int, n: int) -> OpRow:
    """A product with its bias, as one operator."""
    bias = add("", n, m)
    return changed(
        matmul(name, m, k, n),
        op_type="Gemm",
        params=k * n + bias.params,
        elementwise_ops=bias.elementwise_ops,
        bias_adds=bias.bias_adds,
    )


MAKERS = (
    lambda name, size: lstm(name, i=size, h=4),
    lambda name, size: lstm(name, i=4, h=size),
    lambda name, size: matmul(name, 5, size, 3),
    lambda name, size: gemm(name, 5, size, 3),
    relu,
    lambda name, size: add(name, size, 5),
    move,
)
OPS = st.builds(
    lambda make, name, size, runs: changed(make(name, size), executions=runs),
    st.sampled_from(MAKERS),
    st.sampled_from(["a", "b", "c", "lstm.l0", "/lstm/LSTM", ""]),
    st.integers(1, 3),
    st.sampled_from([1, 1, 2]),
)
MODELS = st.lists(OPS, max_size=12)
