"""The blocked layout: which operators run on it and where tensors change to and from it.

Follows onnxruntime/core/optimizer/nchwc_transformer.cc. Channels stand together in blocks;
a value enters the layout once, whoever reads it there, and leaves it once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnncost.latency.onnxruntime_cpu.elementwise import ACTIVATIONS
from rnncost.latency.onnxruntime_cpu.tensors import output_of, shape_of

if TYPE_CHECKING:
    from rnncost.latency.onnxruntime_cpu.edges import Edges, Site

ALIGNMENT = 4
"""The reordering kernels take channels in fours."""

_POOLS = ("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool")
_RANK = 4
_TO_CHANNELS_LAST = (0, 2, 3, 1)


def to_blocked(edges: Edges, channels: int) -> None:
    """Mark what runs on the blocked layout and the tensors that are reordered."""
    inside: set[str] = set()
    entered: set[str] = set()
    makers: dict[str, Site] = {}
    for site in edges.sites:
        if not site.runs:
            continue
        names = [edges.original(name) for name in site.inputs]
        if site.type == "Conv" and _takes_convolution(site, channels):
            planar = site.op.int_attr("group", 1) == 1 and _inputs(site) < channels
            if not planar:
                _enter(site, names[0], inside, entered)
            _fuse_sum(edges, site, inside)
        elif site.type in _POOLS and _takes_pool(site, channels):
            _enter(site, names[0], inside, entered)
        elif not _follows(site, names, inside):
            continue
        site.blocked = True
        inside.add(site.output)
        makers[site.output] = site
    for name, site in makers.items():
        readers = edges.readers_of(name)
        outside = [reader for reader in readers if not _reads_blocked(reader)]
        if readers and not outside and name not in edges.returned:
            continue
        turned = next((r for r in outside if _to_channels_last(r)), None)
        if turned is not None:
            edges.absorb(site, turned)
        out = output_of(site.op)
        if out is not None:
            site.reordered.append(out)


def _reads_blocked(site: Site) -> bool:
    return site.blocked


def _inputs(site: Site) -> int:
    return shape_of(site.op.tensor(1))[1]


def _takes_convolution(site: Site, channels: int) -> bool:
    weights = shape_of(site.op.tensor(1))
    if len(weights) != _RANK or not site.stored(1):
        return False
    tensor = site.op.tensor(0)
    if tensor is None or tensor.dtype != "float32":
        return False
    groups, filters, inputs = site.op.int_attr("group", 1), weights[0], weights[1]
    if groups > 1:
        if filters % ALIGNMENT:
            return False
        if inputs == 1 and filters == groups:
            return True
        return inputs % channels == 0 and (filters // groups) % channels == 0
    return inputs < channels or inputs % ALIGNMENT == 0


def _takes_pool(site: Site, channels: int) -> bool:
    shape = shape_of(site.op.tensor(0))
    return len(shape) == _RANK and shape[1] % channels == 0 and len(site.op.outputs) == 1


def _enter(site: Site, name: str, inside: set[str], entered: set[str]) -> None:
    tensor = site.op.tensor(0)
    if name not in inside and name not in entered and tensor is not None:
        entered.add(name)
        site.reordered.append(tensor)


def _follows(site: Site, names: list[str], inside: set[str]) -> bool:
    """Whether an operator runs on the layout because all its inputs have it."""
    shape = shape_of(output_of(site.op))
    if len(shape) != _RANK:
        return False
    if site.type in ACTIVATIONS or site.type == "BatchNormalization":
        return names[0] in inside
    if site.type in ("Add", "Sum", "Mul"):
        same = all(shape_of(tensor) == shape for tensor in site.op.inputs)
        return same and all(name in inside for name in names)
    if site.type == "Concat":
        return site.op.int_attr("axis", 0) == 1 and all(name in inside for name in names)
    return False


def _fuse_sum(edges: Edges, site: Site, inside: set[str]) -> None:
    """A sum of the result with another blocked tensor goes into the convolution."""
    if site.activations:
        return
    add = edges.only_reader(site)
    if add is None or add.type not in ("Add", "Sum") or len(add.inputs) != 2:
        return
    others = [edges.original(n) for n in add.inputs if edges.original(n) != site.output]
    shape = shape_of(output_of(add.op))
    same = all(shape_of(tensor) == shape for tensor in add.op.inputs)
    if len(others) == 1 and same and others[0] in inside:
        edges.absorb(site, add)
        follower = edges.only_reader(add)
        if follower is not None and follower.type == "Relu":
            edges.absorb(add, follower)


def _to_channels_last(site: Site) -> bool:
    return site.type == "Transpose" and site.op.ints_attr("perm") == _TO_CHANNELS_LAST
