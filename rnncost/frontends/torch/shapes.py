"""Shapes, element types and strides of common operators, worked out without torch.

Torch's own functions for the meta device answer for every operator, but the first of them
imports a computer algebra system for up to a second. A function here returns
``(shape, dtype, stride)`` for each result, with None for contiguous strides, or a tensor of
integers that it could compute; or None where it leaves the answer, or the error message,
to torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Union

import torch

from rnncost.frontends.torch.call import Call

Made = tuple[tuple[int, ...], Any, tuple[int, ...] | None]
Answer = Union[Made, list[Any], None]
"""One result, or a list of ``Made`` or integer tensors for several."""
ShapeRule = Callable[[Call], Answer]

SHAPES: dict[str, ShapeRule] = {}

_ARITHMETIC = (
    "abs add addcdiv addcmul celu clamp clamp_max clamp_min copy cos div elu erf exp expm1 fill "
    "gelu hardsigmoid hardswish hardtanh leaky_relu lerp log log1p log_sigmoid masked_fill "
    "maximum minimum mish mul neg pow reciprocal relu relu6 rsqrt rsub selu sigmoid sign "
    "silu sin softplus softsign sqrt square sub tanh threshold where zero"
)
_COMPARISONS = "eq ge gt le lt ne isnan isinf logical_and logical_or logical_not logical_xor"


def shapes(*names: str) -> Callable[[ShapeRule], ShapeRule]:
    """Register the shape function of torch operators, by name as in ``emits``."""

    def register(rule: ShapeRule) -> ShapeRule:
        for name in names:
            SHAPES[name] = rule
        return rule

    return register


@shapes(*_ARITHMETIC.split())
def arithmetic(call: Call) -> Answer:
    """Operands broadcast; all of one floating-point type, bool masks aside."""
    masks = ("condition", "mask")
    types = {
        t.dtype
        for name, t in call.arguments.items()
        if isinstance(t, torch.Tensor) and name not in masks
    }
    if len(types) != 1 or any(isinstance(a, complex) for a in call.arguments.values()):
        return None
    (dtype,) = types
    if not dtype.is_floating_point or call.arguments.get("dtype") is not None:
        return None
    return _broadcast(call, dtype)


@shapes(*_COMPARISONS.split())
def comparison(call: Call) -> Answer:
    return _broadcast(call, torch.bool)


def _broadcast(call: Call, dtype: Any) -> Answer:
    tensors = call.tensors
    shape = broadcast([t.shape for t in tensors])
    if shape is None or any(tuple(t.shape) != shape for t in call.written()):
        return None
    full = [t for t in tensors if tuple(t.shape) == shape]
    rest = [t for t in tensors if tuple(t.shape) != shape]
    if any(not t.is_contiguous() for t in rest):
        return None
    if all(t.is_contiguous() for t in full):
        return shape, dtype, None
    orders = {_order(t) for t in full}
    if len(orders) != 1 or any(sum(n > 1 for n in t.shape) > 1 for t in rest):
        return None
    return shape, dtype, _compact(shape, orders.pop())


def broadcast(all_shapes: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    """The common shape under NumPy's rules, or None where there is none."""
    rank = max((len(s) for s in all_shapes), default=0)
    result = [1] * rank
    for shape in all_shapes:
        for at, size in enumerate(shape, rank - len(shape)):
            if size != 1:
                if result[at] not in (1, size):
                    return None
                result[at] = size
    return tuple(result)


def _order(tensor: Any) -> tuple[int, ...]:
    """Dimensions of more than one element, from the largest stride to the smallest."""
    dims = [d for d in range(tensor.dim()) if tensor.shape[d] > 1]
    return tuple(sorted(dims, key=lambda d: -tensor.stride(d)))


def _compact(shape: tuple[int, ...], order: tuple[int, ...]) -> tuple[int, ...]:
    stride = [1] * len(shape)
    step = 1
    for dim in reversed(order):
        stride[dim] = step
        step *= shape[dim]
    return tuple(stride)


@shapes("linear")
def linear(call: Call) -> Answer:
    x, weight = call["input"], call["weight"]
    if weight.dim() != 2 or x.dim() < 1 or x.shape[-1] != weight.shape[1]:
        return None
    return _like((*x.shape[:-1], weight.shape[0]), x, weight, call["bias"])


@shapes("mm", "bmm", "matmul")
def matmul(call: Call) -> Answer:
    a, b = call["self"], call.get("mat2", call.get("other"))
    return _product(a, b)


@shapes("addmm", "baddbmm")
def addmm(call: Call) -> Answer:
    a = call.get("mat1", call.get("batch1"))
    b = call.get("mat2", call.get("batch2"))
    return _product(a, b, call["self"])


def _product(a: Any, b: Any, *more: Any) -> Answer:
    if a.dim() < 1 or b.dim() < 1:
        return None
    left = tuple(a.shape) if a.dim() > 1 else (1, a.shape[0])
    right = tuple(b.shape) if b.dim() > 1 else (b.shape[0], 1)
    batch = broadcast([left[:-2], right[:-2]])
    if batch is None or left[-1] != right[-2]:
        return None
    rows = left[-2:-1] if a.dim() > 1 else ()
    columns = right[-1:] if b.dim() > 1 else ()
    return _like((*batch, *rows, *columns), a, b, *more)


def _like(shape: tuple[int, ...], *operands: Any) -> Answer:
    """A contiguous result of the operands' floating-point type."""
    types = {t.dtype for t in operands if t is not None}
    if len(types) != 1:
        return None
    (dtype,) = types
    return (shape, dtype, None) if dtype.is_floating_point else None


@shapes("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d")
def convolution(call: Call) -> Answer:
    x, weight = call["input"], call["weight"]
    rank = weight.dim() - 2
    padding = call["padding"]
    if isinstance(padding, str) or x.dim() != rank + 2 or not x.is_contiguous():
        return None
    stride, dilation = spread(call["stride"], rank), spread(call["dilation"], rank)
    padding = spread(padding, rank)
    groups = call["groups"]
    transposed = call.name.startswith("conv_transpose") or call.get("transposed", False)
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    if x.shape[1] != (weight.shape[0] if transposed else weight.shape[1] * groups):
        return None
    extra = spread(call.get("output_padding", 0), rank)
    sizes: list[int] = []
    for at in range(rank):
        reach = dilation[at] * (weight.shape[at + 2] - 1)
        n = x.shape[at + 2]
        if transposed:
            size = (n - 1) * stride[at] - 2 * padding[at] + reach + extra[at] + 1
        else:
            size = (n + 2 * padding[at] - reach - 1) // stride[at] + 1
        if size < 1:
            return None
        sizes.append(size)
    return _like((x.shape[0], channels, *sizes), x, weight, call["bias"])


def spread(value: Any, rank: int) -> tuple[int, ...]:
    """An int or a list of one or ``rank`` ints as ``rank`` ints."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * rank if len(values) == 1 else values


@shapes("embedding")
def embedding(call: Call) -> Answer:
    weight, indices = call["weight"], call["indices"]
    if weight.dim() != 2:
        return None
    return (*indices.shape, weight.shape[1]), weight.dtype, None


@shapes("softmax", "_softmax", "log_softmax", "_log_softmax", "layer_norm", "batch_norm", "prelu")
def same(call: Call) -> Answer:
    """A result like the first operand."""
    x = call.tensors[0]
    plain = x.is_floating_point() and x.is_contiguous() and call.get("dtype") is None
    return (tuple(x.shape), x.dtype, None) if plain and x.dim() else None


@shapes("cat")
def cat(call: Call) -> Answer:
    tensors = call["tensors"]
    if not all(t.is_contiguous() and t.dim() == tensors[0].dim() > 0 for t in tensors):
        return None
    dim = call["dim"] % tensors[0].dim()
    shape = list(tensors[0].shape)
    for t in tensors[1:]:
        if any(a != b for at, (a, b) in enumerate(zip(t.shape, shape, strict=True)) if at != dim):
            return None
        shape[dim] += t.shape[dim]
    return _like(tuple(shape), *tensors)


@shapes("stack")
def stack(call: Call) -> Answer:
    tensors = call["tensors"]
    if not all(t.is_contiguous() and t.shape == tensors[0].shape for t in tensors):
        return None
    shape = list(tensors[0].shape)
    shape.insert(call["dim"] % (len(shape) + 1), len(tensors))
    return _like(tuple(shape), *tensors)


@shapes("sum", "mean", "amax", "amin")
def reduction(call: Call) -> Answer:
    x = call["self"]
    if not (x.is_floating_point() and x.is_contiguous() and call.get("dtype") is None):
        return None
    dims = call.get("dim", ())
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    if any(not -x.dim() <= d < x.dim() for d in dims):
        return None
    reduced = {d % x.dim() for d in dims} or set(range(x.dim()))
    if call.get("keepdim", False):
        return tuple(1 if d in reduced else n for d, n in enumerate(x.shape)), x.dtype, None
    return tuple(n for d, n in enumerate(x.shape) if d not in reduced), x.dtype, None


@shapes("scaled_dot_product_attention")
def attention(call: Call) -> Answer:
    query, key, value = call["query"], call["key"], call["value"]
    if query.dim() < 2 or query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        return None
    return _like((*query.shape[:-1], value.shape[-1]), query, key, value)


@shapes("_pack_padded_sequence")
def pack(call: Call) -> Answer:
    """The live rows [sum of lengths, ...], and how many rows each step has.

    Needs the lengths; they hold no more than integers.
    """
    x, lengths = call["input"], call["lengths"]
    if lengths.is_meta:
        return None
    steps = torch.arange(int(lengths.max()) if lengths.numel() else 0)
    sizes = (lengths.reshape(1, -1) > steps.reshape(-1, 1)).sum(1)
    return [((int(sizes.sum()), *x.shape[2:]), x.dtype, None), sizes]


@shapes("_pad_packed_sequence")
def unpack(call: Call) -> Answer:
    """The padded batch, and the length of each of its rows."""
    data, sizes = call["data"], call["batch_sizes"]
    if sizes.is_meta or not sizes.numel():
        return None
    batch = int(sizes[0])
    steps = max(int(call["total_length"]), sizes.numel())
    lengths = (sizes.reshape(1, -1) > torch.arange(batch).reshape(-1, 1)).sum(1)
    lead = (batch, steps) if call["batch_first"] else (steps, batch)
    return [((*lead, *data.shape[1:]), data.dtype, None), lengths]
