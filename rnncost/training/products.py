"""The matrix products of the backward pass.

``y = a·b`` sends back ``∂a = ∂y·bᵀ`` and ``∂b = aᵀ·∂y``, each of as many MACs as y itself. A
gradient of a value that the run computes is *backward data*, that of a stored parameter
*backward weight*. What needs no gradient costs nothing: the first layer's input, a frozen
weight, the state that a sequence starts from.
"""

from __future__ import annotations

from fractions import Fraction

import msgspec

from rnncost.counting.scope import Node
from rnncost.graph.dim import hint
from rnncost.graph.ir import Op
from rnncost.training.gradients import Gradients
from rnncost.training.recurrent import RECURRENT, recurrent_products


class Products(msgspec.Struct, frozen=True):
    """MACs of the backward products of one execution; ``reason``: why they are not known."""

    data_macs: int = 0
    weight_macs: int = 0
    reason: str = ""
    notes: tuple[str, ...] = ()


NOTHING = Products()

_TWO_OPERANDS = frozenset(
    (
        "CausalConvWithState",
        "Conv",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "com.microsoft::FusedConv",
        "com.microsoft::FusedGemm",
        "com.microsoft::FusedMatMul",
        "com.microsoft::NhwcConv",
        "com.microsoft::NhwcFusedConv",
        "com.microsoft::TransposeMatMul",
    )
)
_ATTENTIONS = frozenset(("Attention", "com.microsoft::MultiHeadAttention"))
_RECOMPUTES = "PyTorch's fused attention multiplies queries by keys once more in its backward pass"


def backward_products(node: Node, gradients: Gradients, windows: int = 1) -> Products:
    """The backward products of one execution of an operator that the backward pass visits.

    ``windows``: into how many parts truncation cuts a sequence.
    """
    op_type = node.op.op_type
    if op_type in RECURRENT:
        data, weight = recurrent_products(node, gradients, windows)
        return Products(data, weight)
    macs = hint(node.cost.macs)
    if macs == 0:
        return NOTHING
    if op_type in _TWO_OPERANDS or (op_type == "Einsum" and len(node.op.inputs) == 2):
        return _of_operands(node, gradients, macs)
    if op_type in _ATTENTIONS and all(node.op.tensor(slot) is not None for slot in range(3)):
        return _of_attention(node, gradients)
    return Products(reason=f"the backward pass of {op_type} is not known")


def _of_operands(node: Node, gradients: Gradients, macs: int) -> Products:
    data = sum(macs for slot in (0, 1) if gradients.of_input(node, slot))
    trained = sum((gradients.share_trained(node, slot) for slot in (0, 1)), Fraction(0))
    return Products(data, round(macs * trained))


def _of_attention(node: Node, gradients: Gradients) -> Products:
    """s = q·kᵀ and y = softmax(s)·v: ∂v and ∂s cost as much as y, ∂q and ∂k as much as s."""
    extents = {letter: hint(dim) for letter, dim in node.cost.extents.items()}
    pairs = extents["B"] * extents["h"] * extents["q"] * extents["k"]
    query, key, value = (gradients.asked(node, slot) for slot in range(3))
    scores_macs, values_macs = pairs * extents["d"], pairs * extents["v"]
    data = values_macs * (value + (query or key)) + scores_macs * (query + key)
    return Products(data, notes=(_RECOMPUTES,) if is_fused_attention(node.op) else ())


def is_fused_attention(op: Op) -> bool:
    """Whether one kernel of PyTorch's runs an attention on a CPU: where it has no dropout."""
    return not op.attrs.get("dropout")
