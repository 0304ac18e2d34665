"""What PyTorch's autograd keeps of each operator until its backward pass.

The rules follow ``tools/autograd/derivatives.yaml`` of PyTorch: a product keeps an operand
where the other one needs a gradient, an activation its input or its result. Parameters are
in memory anyway and are not counted here. An operator without a rule is taken to keep its
inputs and its results.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rnncost.counting.recurrent_layer import INITIAL_C, INITIAL_H, X
from rnncost.counting.scope import RUN, Node
from rnncost.graph.dim import hint
from rnncost.graph.ir import Op, Tensor
from rnncost.training.formula import Coefficients, layer_coefficients
from rnncost.training.gradients import Gradients
from rnncost.training.layers import CELL, forward_only_bytes, layer_memory
from rnncost.training.products import is_fused_attention
from rnncost.training.recurrent import RECURRENT, Shape, shape_of
from rnncost.training.storage import Storages, is_layer, is_view


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What one execution of an operator keeps, and needs while it runs, in bytes.

    ``tensors`` of the graph stay, and ``extra_bytes`` beside them. ``forward_bytes`` and
    ``backward_bytes`` are needed for a while (gradients of operands not included, but for
    recurrent layers); ``sum_bytes`` of the latter hold a running sum of a parameter's
    gradients. Of ``extra_bytes``, ``idle_bytes`` are never written to, ``late_bytes`` only in
    the backward pass. ``assumed``: no rule is known. ``path`` is PyTorch's implementation of a
    recurrent layer or cell, ``coefficients`` the formula of a layer's ``extra_bytes``.
    """

    tensors: tuple[Tensor, ...] = ()
    extra_bytes: int = 0
    forward_bytes: int = 0
    backward_bytes: int = 0
    sum_bytes: int = 0
    idle_bytes: int = 0
    late_bytes: int = 0
    assumed: bool = False
    path: str = ""
    coefficients: Coefficients | None = None


NOTHING = Kept()


def resident(kept: Kept) -> Kept:
    """The same without what is reserved and not written to."""
    return msgspec.structs.replace(
        kept,
        extra_bytes=kept.extra_bytes - kept.idle_bytes - kept.late_bytes,
        backward_bytes=kept.backward_bytes + kept.late_bytes,
    )


_RESULT = frozenset(
    ("Exp", "LogSoftmax", "Reciprocal", "Relu", "Sigmoid", "Softmax", "Sqrt", "Tan", "Tanh")
)
_INPUT = frozenset(
    (
        "Abs",
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "AveragePool",
        "Celu",
        "Clip",
        "Cos",
        "Cosh",
        "Elu",
        "Erf",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Log",
        "LpNormalization",
        "Mish",
        "PRelu",
        "Pow",
        "Selu",
        "Shrink",
        "Sin",
        "Sinh",
        "Softplus",
        "Softsign",
        "Swish",
        "ThresholdedRelu",
        "com.microsoft::FastGelu",
        "com.microsoft::Gelu",
        "com.microsoft::QuickGelu",
    )
)
_BOTH = frozenset(
    (
        "CumProd",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSumExp",
        "ReduceProd",
    )
)
_NOTHING = frozenset(
    (
        "Add",
        "Cast",
        "Concat",
        "CumSum",
        "DepthToSpace",
        "Expand",
        "GlobalAveragePool",
        "Mean",
        "Neg",
        "Pad",
        "ReduceMean",
        "ReduceSum",
        "Resize",
        "ReverseSequence",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Sub",
        "Sum",
        "Tile",
        "Transpose",
        "Trilu",
        "torch::copy",
    )
)
_INDICES = frozenset(("Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"))
_TWO_OPERANDS = frozenset(
    ("Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul", "Mul", "com.microsoft::FusedMatMul")
)
_COPIES = frozenset(("Gemm", "MatMul"))
_POSITION_BYTES = 8


def kept_of(node: Node, gradients: Gradients, storages: Storages) -> Kept:
    """What one execution of an operator that the backward pass visits keeps."""
    op = node.op
    if op.op_type in RECURRENT and node.status == RUN:
        return _of_layer(node, storages)
    rule = _RULES.get(op.op_type) if node.status == RUN else None
    if rule is not None:
        return rule(node, gradients, storages)
    if op.op_type in _NOTHING or is_view(node) or node.body is not None:
        return NOTHING
    first = [t for t in op.inputs[:1] if t is not None and not t.stored]
    results = [t for t in op.outputs[:1] if t is not None]
    if op.op_type in _RESULT:
        return Kept(tensors=tuple(results))
    if op.op_type in _INPUT:
        return Kept(tensors=tuple(first))
    if op.op_type in _BOTH:
        return Kept(tensors=(*first, *results))
    inputs = [t for t in op.inputs if t is not None and not t.stored and t.value is None]
    outputs = [t for t in op.outputs if t is not None]
    return Kept(tensors=(*inputs, *outputs), assumed=True)


def _of_layer(node: Node, storages: Storages) -> Kept:
    """A recurrent layer or cell: its input and given states, and what its kernels keep."""
    op = node.op
    shape = shape_of(op)
    window = storages.window
    if window is not None and is_layer(node) and shape.steps == window.steps:
        shape = _windowed(shape, window.window)
    x = op.inputs[X]
    states = [t for t in (op.tensor(INITIAL_H), op.tensor(INITIAL_C)) if t is not None]
    copied = is_layer(node) and shape.steps > 1 and shape.batch > 1 and _is_reordered(op, storages)
    memory = layer_memory(op, shape, given_states=bool(states), copied_input=copied)
    tensors = [t for t in (None if copied else x, *states) if t is not None and not t.stored]
    output = op.outputs[1 if memory.path == CELL else 0]
    if memory.keeps_output and output is not None:
        tensors.append(output)
    return Kept(
        tensors=tuple(tensors),
        extra_bytes=memory.kept_bytes,
        forward_bytes=memory.forward_bytes,
        backward_bytes=memory.backward_bytes,
        sum_bytes=memory.sum_bytes,
        idle_bytes=memory.idle_bytes,
        late_bytes=memory.late_bytes,
        path=memory.path,
        coefficients=layer_coefficients(op, shape, given_states=bool(states), copied_input=copied)
        if is_layer(node) and shape.batch_sizes is None
        else None,
    )


def _is_reordered(op: Op, storages: Storages) -> bool:
    """Whether a layer copies its input, because it does not lie in memory step by step."""
    x = op.inputs[X]
    if x is None:
        return False
    if op.int_attr("batch_first", 0):
        return x.name not in storages.time_major
    return op.ints_attr("batch_sizes") is None and x.name in storages.strided


def forward_only(node: Node) -> Kept:
    """What an operator that the backward pass does not visit needs while it runs."""
    if not is_layer(node):
        return NOTHING
    without = node.op.int_attr("no_grad", 0) != 0
    nbytes = forward_only_bytes(node.op, shape_of(node.op), without_gradients=without)
    return Kept(forward_bytes=nbytes)


def _windowed(shape: Shape, steps: int) -> Shape:
    return msgspec.structs.replace(shape, steps=steps, rows=steps * shape.batch, batch_sizes=None)


def _of_operands(node: Node, gradients: Gradients, storages: Storages) -> Kept:
    """A product of two: each operand where the other one gets a gradient."""
    op = node.op
    if len([t for t in op.inputs if t is not None]) == 1:
        return _of_dropout(node, storages)
    tensors: list[Tensor] = []
    extra = 0
    output = next((t for t in op.outputs if t is not None), None)
    for slot, other in ((0, 1), (1, 0)):
        tensor = op.tensor(slot)
        if tensor is None or tensor.stored or not gradients.asked(node, other):
            continue
        if tensor.value is not None and not tensor.shape:
            continue  # a number
        if _is_copied(op, op.tensor(other), output) and tensor.name in storages.strided:
            extra += storages.bytes_of(tensor)
        else:
            tensors.append(tensor)
    return Kept(tensors=tuple(tensors), extra_bytes=extra)


def _is_copied(op: Op, weights: Tensor | None, output: Tensor | None) -> bool:
    """Whether a product lays its activation out as a matrix before it multiplies."""
    deep = output is not None and len(output.shape or ()) > 2
    return op.op_type in _COPIES and deep and weights is not None and bool(weights.stored)


def _of_dropout(node: Node, storages: Storages) -> Kept:
    """Dropout: a product with a mask of the size and type of its input."""
    return Kept(extra_bytes=sum(storages.bytes_of(t) for t in node.op.inputs if t is not None))


def _of_division(node: Node, gradients: Gradients, storages: Storages) -> Kept:
    """x / y keeps y for x, and both for y."""
    op = node.op
    both = gradients.asked(node, 1)
    slots = (0, 1) if both else (1,)
    operands = [op.tensor(slot) for slot in slots]
    kept = [t for t in operands if t is not None and not t.stored and t.value is None]
    return Kept(tensors=tuple(kept))


def _of_choice(node: Node, gradients: Gradients, storages: Storages) -> Kept:
    """Where keeps its condition."""
    condition = node.op.tensor(0)
    return Kept(tensors=(condition,) if condition is not None and not condition.stored else ())


def _of_indices(node: Node, gradients: Gradients, storages: Storages) -> Kept:
    """Look-ups keep the positions that they looked at."""
    integers = [
        t
        for t in node.op.inputs[1:]
        if t is not None and "int" in t.dtype and not t.stored and t.value is None
    ]
    return Kept(tensors=tuple(integers))


def _of_maxima(node: Node, gradients: Gradients, storages: Storages) -> Kept:
    """Pooling keeps its input and the position of each maximum."""
    op = node.op
    first = tuple([t for t in op.inputs[:1] if t is not None and not t.stored])
    positions = sum(_elements(t) for t in op.outputs[:1] if t is not None)
    return Kept(tensors=first, extra_bytes=_POSITION_BYTES * positions)


def _of_chosen(node: Node, gradients: Gradients, storages: Storages) -> Kept:
    """The largest elements: their positions."""
    positions = sum(_elements(t) for t in node.op.outputs[:1] if t is not None)
    return Kept(extra_bytes=_POSITION_BYTES * positions)


def _of_extremes(node: Node, gradients: Gradients, storages: Storages) -> Kept:
    """The largest of several tensors keeps them all, that of an axis the input and the result,
    or the positions alone where they are a result too.
    """
    op = node.op
    inputs = [t for t in op.inputs if t is not None and not t.stored and t.value is None]
    results = [t for t in op.outputs if t is not None]
    if not op.op_type.startswith("Reduce"):
        return Kept(tensors=tuple(inputs) if len(inputs) > 1 else ())
    if len(results) > 1:
        return Kept(extra_bytes=_POSITION_BYTES * _elements(results[0]))
    return Kept(tensors=(*inputs[:1], *results[:1]))


def _of_normalisation(node: Node, gradients: Gradients, storages: Storages) -> Kept:
    """The input, and two statistics a normalised row.

    RMS normalisation runs as single operators: one statistic, and the normalised values for
    the gradient of its weight. Instance normalisation repeats its weight for each row.
    """
    op = node.op
    first = op.tensor(0)
    if first is None or first.stored:
        return NOTHING
    rows = _normalised_rows(op, first)
    weighted = gradients.share_trained(node, 1) > 0
    each, again = 2, 0
    if op.op_type == "RMSNormalization":
        each, again = 1, storages.bytes_of(first) if weighted else 0
    elif op.op_type == "InstanceNormalization" and weighted:
        each = 3
    statistics = storages.scaled(first.name, 4 * each * rows)
    return Kept(tensors=(first,), extra_bytes=statistics + again)


def _normalised_rows(op: Op, x: Tensor) -> int:
    shape = [hint(n) for n in x.shape or ()]
    if op.op_type == "BatchNormalization":
        return shape[1] if len(shape) > 1 else 1
    if op.op_type == "GroupNormalization":
        return shape[0] * op.int_attr("num_groups", 1)
    if op.op_type == "InstanceNormalization":
        return shape[0] * shape[1]
    axis = op.int_attr("axis", -1)
    rows = 1
    for n in shape[: axis if axis >= 0 else len(shape) + axis]:
        rows *= n
    return rows


def _of_attention(node: Node, gradients: Gradients, storages: Storages) -> Kept:
    """Queries, keys, values, the result, and one sum a query and head.

    With dropout PyTorch runs single operators: queries and keys are scaled, and of each query
    and key stay the weight, the mask and their product.
    """
    op = node.op
    inputs = [t for t in op.inputs[:4] if t is not None and not t.stored]
    outputs = [t for t in op.outputs[:1] if t is not None]
    extents = {letter: hint(dim) for letter, dim in node.cost.extents.items()}
    queries = extents.get("B", 0) * extents.get("h", 0) * extents.get("q", 0)
    if not is_fused_attention(op):
        scaled = sum(storages.bytes_of(t) for t in inputs[:2])
        pairs = queries * extents.get("k", 0)
        return Kept(tensors=tuple(inputs[2:]), extra_bytes=scaled + 3 * 4 * pairs)
    return Kept(tensors=(*inputs, *outputs), extra_bytes=4 * queries)


def _elements(tensor: Tensor) -> int:
    total = 1
    for n in tensor.shape or ():
        total *= hint(n)
    return total


Rule = Callable[[Node, Gradients, Storages], Kept]
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_TWO_OPERANDS, _of_operands),
    **dict.fromkeys(_INDICES, _of_indices),
    **dict.fromkeys(
        (
            "BatchNormalization",
            "GroupNormalization",
            "InstanceNormalization",
            "LayerNormalization",
            "RMSNormalization",
        ),
        _of_normalisation,
    ),
    **dict.fromkeys(("Max", "Min", "ReduceMax", "ReduceMin"), _of_extremes),
    "Attention": _of_attention,
    "Div": _of_division,
    "GlobalMaxPool": _of_maxima,
    "MaxPool": _of_maxima,
    "TopK": _of_chosen,
    "Where": _of_choice,
}
