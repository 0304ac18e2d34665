"""Nodes that read a value of which nothing is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnncost.frontends.onnx.infer import Known
from rnncost.variants.facts import Body, Fact
from rnncost.variants.tables import FORWARD

if TYPE_CHECKING:
    from rnncost.variants.site import Site

_SUMS = frozenset(("Add", "Sum", "Sub", "Max", "Min", "Mean"))
"""Operators that join two directions: where one is dropped, the other is the result."""
_NEEDS_SHAPE = frozenset(("Reshape", "Expand", "ConstantOfShape", "Tile", "Range", "Slice", "Pad"))


def follow(site: Site) -> None:
    """Leave out a node, or what it reads of the value that is gone.

    Raises:
        VariantError: only a shape that the node needs is gone, not its data.
    """
    left = [i for i, name in enumerate(site.read) if name and not site.body.find(name).gone]
    computed = [i for i in left if not site.body.find(site.read[i]).constant]
    if site.op == "Mul":
        computed = [i for i in computed if site.body.find(site.read[i]).origin]
    if site.op == "Concat" and left:
        site.finish(FORWARD["Concat"](site))
    elif site.op in (*_SUMS, "Mul") and computed:
        if len(computed) > 1 or site.shape(computed[0]) != site.out_shape():
            site.fail("one of its operands is dropped")
        site.inputs = [site.read[computed[0]]]
        site.op_type = "Identity"
        site.finish([site.layout(0)])
    elif site.op in _NEEDS_SHAPE and 0 in left:
        site.fail("a shape that it reads is dropped")
    else:
        for name, known in zip(site.outputs, site.old, strict=True):
            drop(site.body, name, known, site.origin)


def drop(body: Body, name: str, known: Known, origin: str = "") -> None:
    """Mark a value as gone."""
    if name:
        body.facts[name] = Fact(old=known, new=known, gone=True, origin=origin)
