"""Reductions and poolings: an axis that is summed away no longer matters."""

from __future__ import annotations

from rnncost.variants.parts import Layout
from rnncost.variants.site import Site
from rnncost.variants.tables import Layouts, backward, forward

_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "MaxPool")


@forward(*_REDUCTIONS)
def reduce(site: Site) -> Layouts:
    layout = site.layout(0) or ()
    axes = _axes(site)
    if site.attr("keepdims", 1):
        return [tuple([None if at in axes else axis for at, axis in enumerate(layout)])]
    return [tuple([axis for at, axis in enumerate(layout) if at not in axes])]


@backward(*_REDUCTIONS)
def reduce_back(site: Site, output: int, layout: Layout) -> None:
    axes = _axes(site)
    rank = len(site.shape(0))
    if site.attr("keepdims", 1):
        if any(layout[axis] is not None for axis in axes):
            site.fail("the axis that it sums away would come back")
        site.conform(0, layout)
        return
    rest = iter(layout)
    site.conform(0, tuple([None if at in axes else next(rest) for at in range(rank)]))


def _axes(site: Site) -> tuple[int, ...]:
    rank = len(site.shape(0))
    axes = site.attr("axes")
    if site.has(1):
        axes = site.ints(1)
        if axes is None:
            site.fail("its axes are not known")
    if not axes:
        return () if site.attr("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple([axis % rank for axis in axes if isinstance(axis, int)])


@forward("ArgMax", "ArgMin")
def arg_reduce(site: Site) -> Layouts:
    layout = site.layout(0) or ()
    axis = site.attr("axis", 0) % len(layout)
    kept = (None,) if site.attr("keepdims", 1) else ()
    return [(*layout[:axis], *kept, *layout[axis + 1 :])]


@forward("TopK")
def top_k(site: Site) -> Layouts:
    """As many entries as before are picked, from however many there are."""
    layout = site.layout(0) or ()
    axis = site.attr("axis", -1) % len(layout)
    picked = (*layout[:axis], None, *layout[axis + 1 :])
    return [picked, picked]


@forward(*_POOLS)
def pool(site: Site) -> Layouts:
    """Batch and channels pass, positions by inference."""
    auto = site.auto()
    layout = site.layout(0) or ()
    return [None if given is None else (*layout[:2], *given[2:]) for given in auto]


@backward(*_POOLS)
def pool_back(site: Site, output: int, layout: Layout) -> None:
    if any(axis is not None for axis in layout[2:]):
        site.fail("its positions would change with another value")
    site.conform(0, (*layout[:2], *(None for _ in layout[2:])))
