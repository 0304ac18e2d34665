"""Groups of rows that ONNX Runtime runs as one node: normalisations, Gelu, 8-bit products."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnncost.latency.onnxruntime_cpu.edges import Edges, Site
from rnncost.latency.onnxruntime_cpu.tensors import (
    elements_of,
    integers_of,
    output_of,
    scalar_of,
    shape_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def layer_normalisations(edges: Edges) -> None:
    """(x - mean) / sqrt(mean of its square + epsilon), with or without a scale and a bias."""
    for division in edges.sites:
        if not division.runs or division.type != "Div":
            continue
        centred = _maker(edges, division, 0, "Sub")
        root = _maker(edges, division, 1, "Sqrt")
        shifted = root and _maker(edges, root, 0, "Add")
        mean = shifted and _maker(edges, shifted, 0, "ReduceMean")
        square = mean and _maker(edges, mean, 0, "Pow")
        if centred is None or root is None or shifted is None or mean is None or square is None:
            continue
        centre = _maker(edges, centred, 1, "ReduceMean")
        if centre is None or edges.maker(square.inputs[0]) is not centred:
            continue
        last = division
        for wanted in ("Mul", "Add"):
            follower = edges.only_reader(last)
            if follower is None or follower.type != wanted or not _has_stored(follower):
                break
            last = follower
        if last.type != "Add":
            continue
        for site in _between(edges, division, last):
            site.runs = False
        for site in (centred, root, shifted, mean, square, centre):
            site.runs = False
        last.runs = True
        last.type = "LayerNormalization"
        last.inputs = [centred.inputs[0]]
        before = edges.maker(centred.inputs[0])
        if before is not None and before.type == "Add" and not _has_stored(before):
            before.runs = False
            last.extra.append(("simple", float(elements_of(output_of(last.op)))))


def _between(edges: Edges, first: Site, last: Site) -> Sequence[Site]:
    found = [first]
    while found[-1] is not last:
        follower = edges.only_reader(found[-1])
        if follower is None:
            break
        found.append(follower)
    return found


def gelus(edges: Edges) -> None:
    """x (1 + erf(x / sqrt 2)) / 2, in either order of its products."""
    for erf in edges.sites:
        if not erf.runs or erf.type != "Erf":
            continue
        scaled = _maker(edges, erf, 0, "Div") or _maker(edges, erf, 0, "Mul")
        added = edges.only_reader(erf)
        if scaled is None or added is None or added.type != "Add":
            continue
        product = edges.only_reader(added)
        if product is None or product.type != "Mul":
            continue
        halved = edges.only_reader(product)
        if halved is not None and halved.type == "Mul" and _has_stored(halved):
            last = halved
        else:
            last = product
            for index in (0, 1):
                half = _maker(edges, product, index, "Mul")
                if half is not None and _has_stored(half):
                    half.runs = False
        for site in (erf, scaled, added, product):
            site.runs = False
        last.runs = True
        last.type = "Gelu"
        last.inputs = [scaled.inputs[0]]


def integer_products(edges: Edges) -> None:
    """MatMulInteger, the cast and the scales of its result, and quantising its input."""
    for site in edges.sites:
        if not site.runs or site.type != "MatMulInteger":
            continue
        cast = edges.only_reader(site)
        scaled = edges.only_reader(cast) if cast is not None and cast.type == "Cast" else None
        if cast is None or scaled is None or scaled.type != "Mul":
            continue
        for name in scaled.inputs:
            scales = edges.maker(name)
            if (
                scales is not None
                and scales.type == "Mul"
                and elements_of(output_of(scales.op)) <= elements_of(output_of(site.op))
            ):
                scales.runs = not _only(edges, scales, scaled) and scales.runs
        edges.absorb(site, cast)
        edges.absorb(cast, scaled)
        site.type = "com.microsoft::MatMulIntegerToFloat"
        add = edges.only_reader(scaled)
        if add is not None and add.type == "Add" and _has_stored(add):
            edges.absorb(scaled, add)
        before = edges.maker(site.inputs[0])
        if before is not None and before.type == "DynamicQuantizeLinear":
            products = [r for r in edges.read_by.get(before.output, ()) if r.runs]
            if len(products) == 1:
                before.runs = False
                site.type = "com.microsoft::DynamicQuantizeMatMul"


def quantised_operators(edges: Edges) -> None:
    """Between dequantised inputs and a quantised result an operator runs in 8 bits.

    A Relu before the result is quantised is part of the range that it is quantised to.
    """
    names = {
        "MatMul": "QLinearMatMul",
        "Conv": "QLinearConv",
        "Gemm": "com.microsoft::QGemm",
    }
    for site in edges.sites:
        if not site.runs or site.type not in (*names, "Add", "Mul", "Sigmoid"):
            continue
        # Stored operands are dequantised before the run, were it not for this operator.
        sources = [edges.makers.get(edges.original(name)) for name in site.inputs[:2]]
        if not all(s is not None and s.type == "DequantizeLinear" for s in sources):
            continue
        after = edges.only_reader(site)
        clipped = after if after is not None and after.type == "Relu" else None
        if clipped is not None:
            after = edges.only_reader(clipped)
        if after is None or after.type != "QuantizeLinear":
            continue
        for source in sources:
            if source is not None and source.runs and _only(edges, source, site):
                source.runs = False
        if clipped is not None:
            edges.absorb(site, clipped)
        edges.absorb(clipped or site, after)
        if site.type not in names:
            site.extra.append(("dequantize", float(elements_of(output_of(site.op)))))
        site.type = names.get(site.type, site.type)


def transposed_operands(edges: Edges) -> None:
    """A Transpose of the last two axes goes into the product that reads it."""
    for site in edges.sites:
        if not site.runs or site.type != "MatMul":
            continue
        for index in (0, 1):
            turned = edges.maker(site.inputs[index])
            if turned is None or turned.type != "Transpose" or not _only(edges, turned, site):
                continue
            rank = len(shape_of(turned.op.tensor(0)))
            perm = turned.op.ints_attr("perm") or tuple(range(rank))[::-1]
            swapped = (*range(rank - 2), rank - 1, rank - 2)
            batches = (*range(1, rank - 1), 0, rank - 1)
            if rank >= 2 and perm in (swapped, batches):
                turned.runs = False


def reshapes(edges: Edges) -> None:
    """A shape that only repeats dimensions of what is reshaped becomes a constant."""
    for site in edges.sites:
        if not site.runs or site.type != "Reshape":
            continue
        joined = _maker(edges, site, 1, "Concat")
        if joined is None or not _only(edges, joined, site):
            continue
        chains: list[Site] = []
        unknown = 0
        for place, name in enumerate(joined.inputs):
            chain = _dimension(edges, name, place, edges.original(site.inputs[0]))
            chains += chain
            known = joined.stored(place)
            unknown += not (chain or known)
            unknown += known and -1 in (integers_of(joined.op.tensor(place)) or ())
        if unknown > 1:
            continue
        joined.runs = False
        for part in chains:
            if not edges.readers(part):
                part.runs = False


def _dimension(edges: Edges, name: str, place: int, source: str) -> list[Site]:
    """The nodes that read one dimension of a value, the last first; none if others do."""
    unsqueezed = edges.maker(name)
    if unsqueezed is None or unsqueezed.type != "Unsqueeze":
        return []
    gathered = _maker(edges, unsqueezed, 0, "Gather")
    measured = gathered and _maker(edges, gathered, 0, "Shape")
    if gathered is None or measured is None or scalar_of(gathered.op.tensor(1)) != place:
        return []
    if edges.original(measured.inputs[0]) != source:
        return []
    return [unsqueezed, gathered, measured]


def parts_to_split(edges: Edges, *, fixed: bool) -> None:
    """Slices, or where shapes are fixed lookups, of one value that together are all of it."""
    parts: dict[tuple[str, str, int], list[tuple[int, int, Site]]] = {}
    for site in edges.sites:
        if not site.runs or len(site.row.members) > 1 or site.type not in ("Slice", "Gather"):
            continue
        maker = edges.maker(site.inputs[0])
        if maker is not None and maker.row.cost.kind == "constant":
            continue
        part = _slice_of(site) if site.type == "Slice" else _lookup_of(site, fixed)
        if part is not None:
            axis, low, high = part
            key = (site.type, edges.original(site.inputs[0]), axis)
            parts.setdefault(key, []).append((low, high, site))
    for (op_type, _, axis), found in parts.items():
        found.sort(key=lambda part: part[:2])
        size = shape_of(found[0][2].op.tensor(0))[axis]
        bounds = [0, *(high for _, high, _ in found)]
        joined = all(part[0] == bound for part, bound in zip(found, bounds, strict=False))
        if len(found) < 2 or not joined or bounds[-1] != size:
            continue
        first = found[0][2]
        whole = elements_of(first.op.tensor(0)) - elements_of(output_of(first.op))
        first.type = "Split"
        first.extra += [("piece", float(len(found))), ("simple", 0.5 * whole)]
        first.views += op_type == "Gather"
        for _, _, site in found[1:]:
            site.runs = op_type == "Gather"
            site.type = "Squeeze"


def _slice_of(site: Site) -> tuple[int, int, int] | None:
    """Axis, start and end of a slice along one axis."""
    starts, ends, axes, steps = (integers_of(site.op.tensor(i)) for i in range(1, 5))
    if starts is None or ends is None or axes is None or len(axes) != 1:
        return None
    if steps is not None and steps != (1,):
        return None
    shape = shape_of(site.op.tensor(0))
    axis = axes[0] % len(shape)
    low, high = (
        min(max(at + shape[axis] if at < 0 else at, 0), shape[axis]) for at in (starts[0], ends[0])
    )
    return axis, low, high


def _lookup_of(site: Site, fixed: bool) -> tuple[int, int, int] | None:
    """Axis and place of a lookup of one row."""
    shape, index = shape_of(site.op.tensor(0)), scalar_of(site.op.tensor(1))
    if not fixed or index is None or not shape or shape_of(site.op.tensor(1)) or site.stored(0):
        return None
    axis = site.op.int_attr("axis", 0) % len(shape)
    low = int(index) % shape[axis]
    return axis, low, low + 1


def _maker(edges: Edges, site: Site, index: int, op_type: str) -> Site | None:
    """What makes an input, if it is of this type."""
    if index >= len(site.inputs):
        return None
    maker = edges.maker(site.inputs[index])
    return maker if maker is not None and maker.type == op_type else None


def _has_stored(site: Site) -> bool:
    """Whether an operand is stored or known."""
    return any(
        tensor is not None and (tensor.stored or scalar_of(tensor) is not None)
        for tensor in site.op.inputs
    )


def _only(edges: Edges, maker: Site, reader: Site) -> bool:
    """Whether nothing else reads what a site makes."""
    return all(site is reader for site in edges.readers(maker))
