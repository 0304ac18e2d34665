"""Views of stored tensors, and the shapes that are worked out without torch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_models import graph, parameters, report

from rnncost.frontends.torch.call import Call
from rnncost.frontends.torch.recorder import Site
from rnncost.frontends.torch.shapes import SHAPES
from rnncost.frontends.torch.slabs import Root, slab_of

pytestmark = pytest.mark.torch


def root_of(tensor: Any) -> Root:
    return Root(
        name="w",
        owner="",
        dtype="float32",
        shape=tuple(tensor.shape),
        offset=tensor.storage_offset(),
        stride=tensor.stride(),
        kind="parameter",
    )


@st.composite
def viewed(draw: st.DrawFn) -> tuple[Any, Any]:
    """A tensor whose elements are their own positions, and some view of it."""
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    base = torch.arange(math.prod(shape)).reshape(shape)
    view = base
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(
            st.sampled_from(("slice", "select", "transpose", "unsqueeze", "view", "expand"))
        )
        if view.dim() == 0:
            break
        dim = draw(st.integers(0, view.dim() - 1))
        size = view.shape[dim]
        if kind == "slice" and size:
            start = draw(st.integers(0, size - 1))
            stop = draw(st.integers(start + 1, size))
            step = draw(st.integers(1, 3))
            view = view[(slice(None),) * dim + (slice(start, stop, step),)]
        elif kind == "select" and size:
            view = view.select(dim, draw(st.integers(0, size - 1)))
        elif kind == "transpose":
            view = view.transpose(dim, draw(st.integers(0, view.dim() - 1)))
        elif kind == "unsqueeze":
            view = view.unsqueeze(dim)
        elif kind == "view" and view.is_contiguous():
            view = view.view(-1) if draw(st.booleans()) else view.view(size, -1)
        elif kind == "expand":
            view = view.unsqueeze(0).expand(2, *view.shape)
    return base, view


@given(viewed())
@settings(max_examples=400, deadline=None)
def test_slab_of_a_view(pair: tuple[Any, Any]) -> None:
    """A slab holds every element of the view, and no other unless it is the whole tensor."""
    base, view = pair
    root = root_of(base)
    slab = slab_of(root, view.storage_offset(), view.shape, view.stride())
    part = base[tuple(slice(*r) for r in slab.ranges)]
    inside, seen = set(part.flatten().tolist()), set(view.flatten().tolist())
    assert seen <= inside
    if slab != root.whole():
        assert seen == inside


@pytest.mark.parametrize(
    ("view", "ranges"),
    [
        (lambda w: w[:4], ((0, 4, 1), (0, 6, 1))),
        (lambda w: w[4:8].t(), ((4, 8, 1), (0, 6, 1))),
        (lambda w: w.chunk(4)[1], ((3, 6, 1), (0, 6, 1))),
        (lambda w: w[:, ::2], ((0, 12, 1), (0, 5, 2))),
        (lambda w: w.view(4, 3, 6)[2], ((6, 9, 1), (0, 6, 1))),
        (lambda w: w.view(4, 3, 6), ((0, 12, 1), (0, 6, 1))),
        (lambda w: w.view(-1), ((0, 12, 1), (0, 6, 1))),
        (lambda w: w[5], ((5, 6, 1), (0, 6, 1))),
        (lambda w: w[3:6].unsqueeze(0).expand(7, -1, -1), ((3, 6, 1), (0, 6, 1))),
    ],
)
def test_parts_of_a_matrix_are_exact(view: Any, ranges: Any) -> None:
    w = torch.zeros(12, 6)
    part = view(w)
    slab = slab_of(root_of(w), part.storage_offset(), part.shape, part.stride())
    assert slab.ranges == ranges


def test_views_of_weights_are_no_operators() -> None:
    class Viewed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(12, 6))

        def forward(self, x: Any) -> Any:
            a, b = self.w.t().chunk(2, 1)
            return x @ a + x @ b.contiguous()

    found = graph(Viewed(), torch.zeros(3, 6))
    products = [op for op in found.ops if op.op_type == "MatMul"]
    slabs = [op.inputs[1].stored[0].ranges for op in products if op.inputs[1]]
    assert slabs == [((0, 6, 1), (0, 6, 1)), ((6, 12, 1), (0, 6, 1))]
    assert not [op for op in found.ops if op.op_type in ("Slice", "Transpose")]
    assert report(Viewed(), torch.zeros(3, 6)).totals.params == parameters(Viewed())


def test_reshapes_of_activations_are_no_operators() -> None:
    class Reshaped(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.view(2, 3, 4).unsqueeze(1).flatten(2).squeeze(1).transpose(0, 1)

    (op,) = graph(Reshaped(), torch.zeros(6, 4)).ops
    assert op.op_type == "Transpose"
    assert op.inputs[0] is not None
    assert (op.inputs[0].name, op.inputs[0].shape) == ("x", (2, 12))


def test_a_view_shows_what_was_written_since() -> None:
    class Written(nn.Module):
        def forward(self, x: Any) -> Any:
            kept = torch.zeros(2, 4)
            row = kept[0]
            kept[0] = x.tanh()
            return row.exp()

    found = graph(Written(), torch.zeros(4))
    produced = {t.name: op for op in found.ops for t in op.outputs if t}
    (last,) = [op for op in found.ops if op.op_type == "Exp"]
    behind, seen = [last], set()
    while behind:
        op = behind.pop()
        seen.add(op.op_type)
        behind.extend(produced[t.name] for t in op.inputs if t and t.name in produced)
    assert "Tanh" in seen


# -- shapes without torch -----------------------------------------------------------------

A = torch.ops.aten
sizes = st.integers(1, 4)


def layouts(draw: st.DrawFn, shape: list[int]) -> Any:
    """A float tensor of a shape, laid out in some order of its dimensions."""
    order = draw(st.permutations(range(len(shape))))
    tensor = torch.zeros([shape[d] for d in order])
    return tensor.permute([order.index(d) for d in range(len(shape))])


@st.composite
def calls(draw: st.DrawFn) -> tuple[Any, tuple[Any, ...]]:
    """A call of one of the operators whose shapes are worked out here."""
    kind = draw(st.sampled_from(("binary", "unary", "matmul", "linear", "cat", "reduce", "conv")))
    if kind == "binary":
        shape = draw(st.lists(sizes, min_size=0, max_size=4))
        other = [n if draw(st.booleans()) else 1 for n in shape]
        other = other[draw(st.integers(0, len(other))) :]
        pair = [layouts(draw, shape), layouts(draw, other)]
        if draw(st.booleans()):
            pair.reverse()
        func = draw(st.sampled_from((A.add.Tensor, A.mul.Tensor, A.gt.Tensor, A.maximum.default)))
        return func, tuple(pair)
    if kind == "unary":
        x = layouts(draw, draw(st.lists(sizes, min_size=0, max_size=4)))
        func = draw(st.sampled_from((A.sigmoid.default, A.relu.default, A.neg.default)))
        return func, (x,)
    if kind == "matmul":
        batch = draw(st.lists(sizes, max_size=2))
        m, k, n = draw(sizes), draw(sizes), draw(sizes)
        a = torch.zeros(*batch, m, k) if draw(st.booleans()) else torch.zeros(k)
        b = torch.zeros(*batch, k, n) if draw(st.booleans()) else torch.zeros(k, n)
        return A.matmul.default, (a, b)
    if kind == "linear":
        lead = draw(st.lists(sizes, max_size=3))
        x = layouts(draw, [*lead, 5])
        return A.linear.default, (x, torch.zeros(3, 5), torch.zeros(3))
    if kind == "cat":
        shape = draw(st.lists(sizes, min_size=1, max_size=3))
        parts = [layouts(draw, shape) for _ in range(draw(st.integers(1, 3)))]
        dim = draw(st.integers(-len(shape), len(shape) - 1))
        return draw(st.sampled_from((A.cat.default, A.stack.default))), (parts, dim)
    if kind == "reduce":
        x = layouts(draw, draw(st.lists(sizes, min_size=1, max_size=4)))
        dims = draw(st.lists(st.integers(0, x.dim() - 1), unique=True))
        return A.sum.dim_IntList, (x, dims, draw(st.booleans()))
    rank = draw(st.integers(1, 2))
    x = torch.zeros(2, 4, *[draw(st.integers(5, 9)) for _ in range(rank)])
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    stride, padding, dilation = draw(sizes), draw(st.integers(0, 2)), draw(st.integers(1, 2))
    if draw(st.booleans()):
        func = (A.conv1d.default, A.conv2d.default)[rank - 1]
        weight = torch.zeros(6, 2, *kernel)
        return func, (x, weight, None, [stride] * rank, [padding] * rank, [dilation] * rank, 2)
    func = (A.conv_transpose1d.default, A.conv_transpose2d.input)[rank - 1]
    weight = torch.zeros(4, 3, *kernel)
    return func, (x, weight, None, [stride] * rank, [0] * rank, [0] * rank, 2, [dilation] * rank)


@given(calls())
@settings(max_examples=500, deadline=None)
def test_shapes_are_those_of_a_real_run(made: tuple[Any, tuple[Any, ...]]) -> None:
    func, args = made
    call = Call(func, args, {}, Site("", ""))
    answer = SHAPES[call.name](call)
    if answer is None:
        return
    shape, dtype, stride = answer
    with torch.inference_mode():
        real = func(*args)
    assert (tuple(real.shape), real.dtype) == (shape, dtype)
    expected = torch.empty(shape) if stride is None else torch.empty_strided(shape, stride)
    used = [d for d, n in enumerate(shape) if n > 1]
    if all(shape):
        assert [real.stride(d) for d in used] == [expected.stride(d) for d in used]


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (A.linear.default, (torch.zeros(2, 5), torch.zeros(3, 4))),
        (A.matmul.default, (torch.zeros(2, 5), torch.zeros(4, 3))),
        (A.add.Tensor, (torch.zeros(2), torch.zeros(3))),
        (A.add.Tensor, (torch.zeros(2), torch.zeros(2, dtype=torch.float64))),
        (A.add.Tensor, (torch.zeros(2, dtype=torch.int64), 1)),
        (A.cat.default, ([torch.zeros(2, 3), torch.zeros(2, 4)],)),
        (A.conv1d.default, (torch.zeros(1, 3, 2), torch.zeros(4, 3, 5))),
        (A.sum.dim_IntList, (torch.zeros(2, 3), [2])),
    ],
)
def test_what_does_not_fit_is_left_to_torch(func: Any, args: Any) -> None:
    call = Call(func, args, {}, Site("", ""))
    assert SHAPES[call.name](call) is None
