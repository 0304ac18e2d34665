"""Recurrent nodes that go: nothing takes their place, or the layer below stands in for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnncost.graph.dim import Shape
from rnncost.variants.adapters import join_directions
from rnncost.variants.dropped import drop
from rnncost.variants.facts import moved
from rnncost.variants.parts import Axis, Layout, Part, resized
from rnncost.variants.site import Site
from rnncost.variants.target import Target

if TYPE_CHECKING:
    from rnncost.variants.walk import Walk


def remove(walk: Walk, site: Site, target: Target) -> None:
    """Drop a node; where another stands in for it, its outputs are that node's.

    States that are only handed on go with the layer that they belong to.
    """
    made = None if target.stands_in is None else walk.outputs_of[target.stands_in]
    for at, name in enumerate(site.outputs):
        source = "" if made is None else made[at] or (made[1] if at == 2 else "")
        if not name:
            continue
        if not source or (at and target.state_only[at - 1]):
            drop(site.body, name, site.old[at], target.name)
        else:
            _stand_in(walk, site, target, source, at)


def _stand_in(walk: Walk, site: Site, target: Target, source: str, at: int) -> None:
    """Let the output of the other node be this output: [T, D, B, H], or states [D, B, H]."""
    from onnx import helper

    name, old = site.outputs[at], site.old[at]
    fact = site.body.find(source)
    batch_first = bool(site.attr("layout", 0))
    if old.shape is None or fact.new.shape is None:
        site.fail("the shape of its output is not known")
    axis = (2 if batch_first else 1) if at == 0 else (1 if batch_first else 0)
    hidden = fact.new.shape[-1]
    before, after = old.shape[axis], fact.new.shape[axis]
    if before == 1 and after == 2 and isinstance(hidden, int):
        join_directions(site, source, name, hidden, at == 0, batch_first)
    else:
        node = helper.make_node("Identity", [source], [name], name=name)
        walk.add(site.body, node)
    new = site.body.find(name).new
    site.body.facts[name] = moved(
        old, new, _layout(old.shape, new.shape or (), axis), target.name, False
    )


def _layout(old: Shape, new: Shape, directions: int) -> Layout:
    axes: list[Axis | None] = [None] * len(old)
    axes[-1] = resized(old[-1], new[-1])
    if old[directions] != new[directions]:
        axes[directions] = (Part(1, 1), Part(1, 0))
    return tuple(axes)
