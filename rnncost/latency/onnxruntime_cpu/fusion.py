"""Which rows vanish or merge when ONNX Runtime loads a model with its default optimisations.

Follows onnxruntime/core/optimizer/graph_transformer_utils.cc: constant folding and the
elimination of nodes that do nothing, common subexpressions, products and convolutions that
take in a bias, a scale, a normalisation or an activation, layer normalisation and Gelu,
8-bit products, and the blocked layout of convolutions (``layout``).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from rnncost.latency.onnxruntime_cpu import patterns
from rnncost.latency.onnxruntime_cpu.edges import Edges, Site, plan_of
from rnncost.latency.onnxruntime_cpu.elementwise import ACTIVATIONS
from rnncost.latency.onnxruntime_cpu.layout import to_blocked
from rnncost.latency.onnxruntime_cpu.tensors import (
    elements_of,
    integers_of,
    output_of,
    scalar_of,
    shape_of,
)

if TYPE_CHECKING:
    from rnncost.counting.counted import Counted
    from rnncost.latency.onnxruntime_cpu.plan import Planned

_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli")
_NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0, "Pow": 1.0}


def fused(
    counted: Counted,
    *,
    optimised: bool = True,
    channels: int = 1,
    outputs: Collection[str] = (),
) -> tuple[Planned, ...]:
    """What ONNX Runtime makes of each row, in the rows' order.

    Args:
        counted: a graph counted with integer dimensions.
        optimised: False as if graph optimisation were off: only what is known without
            running the model is settled.
        channels: channels of a block in the kernels' layout, 1 where it has none.
        outputs: names of the graph's outputs that are also read within it.
    """
    edges = Edges(counted, outputs)
    shaped = _fold(edges, optimised)
    if optimised:
        _eliminate(edges)
        _share(edges)
        _fold_affine(edges)
        patterns.layer_normalisations(edges)
        patterns.gelus(edges)
        _biases(edges, fixed=not shaped)
        patterns.integer_products(edges)
        patterns.quantised_operators(edges)
        patterns.transposed_operands(edges)
        patterns.reshapes(edges)
        patterns.parts_to_split(edges, fixed=not shaped)
        _activations(edges)
        if channels > 1:
            to_blocked(edges, channels)
    return plan_of(edges)


def _fold(edges: Edges, optimised: bool) -> bool:
    """Settle what depends on stored tensors alone, and tell whether shapes are read.

    Arithmetic on shapes is known here, but the runtime computes it in each run where a
    dimension is free; that a model reads shapes at all is taken as a sign of one.
    """
    live: set[str] = set()
    shaped = False
    for site in edges.sites:
        if site.type == "If" and optimised and _settled(edges, site):
            site.runs = False
        if site.row.cost.kind != "constant" or not site.runs:
            continue
        reads_shape = site.type in ("Shape", "Size") and not site.stored(0)
        shaped = shaped or reads_shape
        if reads_shape or not live.isdisjoint(site.inputs) or _fed(edges, site):
            live.update(t.name for t in site.op.outputs if t is not None)
        elif optimised or site.type == "Constant":
            site.runs = False
    return shaped


def _settled(edges: Edges, choice: Site) -> bool:
    """Whether the condition of an If depends on stored tensors alone."""
    condition = choice.inputs[0]
    return choice.stored(0) or (condition in edges.makers and edges.maker(condition) is None)


def _fed(edges: Edges, site: Site) -> bool:
    """Whether an input is one of the graph or of a body, whose value happens to be known."""
    return any(
        name and not site.stored(index) and name not in edges.makers
        for index, name in enumerate(site.inputs)
    )


def _eliminate(edges: Edges) -> None:
    """Nodes whose result is their input."""
    for site in edges.sites:
        if not site.runs:
            continue
        result = site.output in edges.returned or not edges.readers_of(site.output)
        kept = result and site.type == "Identity"
        if (_does_nothing(site) and not kept) or _neutral(site):
            edges.drop(site)


def _does_nothing(site: Site) -> bool:
    op = site.op
    if site.type in ("Identity", "Dropout"):
        return True
    source, out = op.tensor(0), output_of(op)
    if source is None or out is None:
        return False
    if site.type == "Cast":
        return source.dtype == out.dtype
    if site.type == "Slice":
        steps = integers_of(op.tensor(4)) or (1,)
        same = shape_of(source) == shape_of(out)
        return same and all(step == 1 for step in steps) and site.stored(1)
    if site.type == "Expand":
        return site.stored(1) and shape_of(source) == shape_of(out)
    return False


def _neutral(site: Site) -> bool:
    other = site.op.tensor(1)
    return (
        site.type in _NEUTRAL
        and site.stored(1)
        and elements_of(other) == 1
        and scalar_of(other) == _NEUTRAL[site.type]
        and shape_of(site.op.tensor(0)) == shape_of(output_of(site.op))
    )


def _share(edges: Edges) -> None:
    """Nodes that compute the same from the same."""
    known: dict[tuple[object, ...], Site] = {}
    for site in edges.sites:
        if not site.runs or site.type in _RANDOM or site.op.body is not None:
            continue
        if len(site.row.members) > 1 or site.row.cost.kind == "recurrent":
            continue
        inputs = tuple([_identity(edges, site, i) for i in range(len(site.inputs))])
        attrs = tuple(sorted((name, repr(value)) for name, value in site.op.attrs.items()))
        first = known.setdefault((site.type, site.in_body, inputs, attrs), site)
        if first is not site and len(first.op.outputs) == len(site.op.outputs):
            site.runs = False
            for mine, other in zip(site.op.outputs, first.op.outputs, strict=True):
                if mine is not None and other is not None and mine.name != other.name:
                    edges.renamed[mine.name] = other.name


def _identity(edges: Edges, site: Site, index: int) -> object:
    """What an input is: its elements where it is a small stored one, else its name."""
    tensor = site.op.inputs[index]
    if tensor is not None and tensor.stored and tensor.value is not None:
        return (tensor.dtype, tensor.shape, tensor.value)
    return edges.original(site.inputs[index])


def _fold_affine(edges: Edges) -> None:
    """Batch normalisation, scales and biases a channel go into a convolution's weights."""
    for site in edges.sites:
        if not site.runs or site.type not in ("Conv", "MatMul", "Gemm"):
            continue
        pad = edges.maker(site.inputs[0]) if site.type == "Conv" else None
        if pad is not None and pad.type == "Pad" and _zero_pad(edges, pad):
            edges.drop(pad)
        follower = edges.only_reader(site)
        while follower is not None and _affine(site, follower):
            edges.absorb(site, follower)
            follower = edges.only_reader(follower)


def _zero_pad(edges: Edges, pad: Site) -> bool:
    """Whether a Pad fills with zeros and only one site reads it."""
    filled = scalar_of(pad.op.tensor(2)) if pad.op.tensor(2) is not None else 0.0
    zero = pad.op.str_attr("mode", "constant") == "constant" and filled == 0.0
    known = integers_of(pad.op.tensor(1)) is not None or "pads" in pad.op.attrs
    return zero and known and edges.only_reader(pad) is not None


def _affine(site: Site, follower: Site) -> bool:
    if not site.stored(1):
        return False
    if follower.type == "BatchNormalization":
        return True
    if site.type != "Conv" or follower.type not in ("Add", "Mul"):
        return False
    rank = len(shape_of(output_of(site.op)))
    for index in (0, 1):
        tensor = follower.op.tensor(index)
        if follower.stored(index) and elements_of(tensor) > 1:
            shape = shape_of(tensor)
            shape = (1,) * (rank - len(shape)) + shape
            return elements_of(tensor) == shape[1]
    return False


def _biases(edges: Edges, *, fixed: bool) -> None:
    """A MatMul and the Add of a row become one Gemm; of more axes only where all are fixed."""
    for site in edges.sites:
        if not site.runs or site.type != "MatMul" or site.in_body:
            continue
        left, right = shape_of(site.op.tensor(0)), shape_of(site.op.tensor(1))
        if len(right) != 2 or not (len(left) == 2 or (len(left) > 2 and fixed)):
            continue
        add = edges.only_reader(site)
        if add is None or add.type != "Add" or len(add.inputs) != 2:
            continue
        if not site.stored(1) and len(left) > 2:
            continue
        own = edges.original(add.inputs[0]) == site.output
        bias = shape_of(add.op.tensor(1 if own else 0))
        out = shape_of(output_of(add.op))
        rows = (1, out[-2]) if len(out) > 1 else (1,)
        fits = len(bias) in (1, 2) and bias[-1] == out[-1] and (len(bias) == 1 or bias[0] in rows)
        if out != shape_of(output_of(site.op)) or not fits:
            continue
        edges.absorb(site, add)
        site.type = "Gemm"
        site.extra.append(("simple", float(elements_of(output_of(add.op)))))
        site.views += 2 if len(left) > 2 else 0


def _activations(edges: Edges) -> None:
    """An activation that is all that reads a product or a convolution."""
    for site in edges.sites:
        if not site.runs or site.type not in ("Conv", "Gemm") or site.views:
            continue
        if site.type == "Conv" and not site.stored(1):
            continue
        follower = edges.only_reader(site)
        if follower is None or follower.type not in ACTIVATIONS:
            continue
        if site.type == "Gemm" and follower.type == "Clip":
            continue
        if follower.type == "Clip" and not all(
            follower.stored(i) for i in range(1, len(follower.inputs)) if follower.inputs[i]
        ):
            continue
        if site.type == "Conv" and follower.type in ("Softplus", "Softsign", "Elu"):
            continue
        edges.absorb(site, follower)
        site.activations.append(follower.type)
