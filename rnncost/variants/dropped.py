"""Nodes that read a value of which nothing is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnncost.frontends.onnx.infer import Known
from rnncost.variants.facts import Body, Fact
from rnncost.variants.tables import FORWARD
from rnncost.variants.target import CELLS

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
    if site.op in CELLS and 0 in left:
        from_zeros(site)
        site.finish(FORWARD[site.op](site))
    elif site.op == "Concat" and left:
        site.finish(FORWARD["Concat"](site))
    elif site.op in (*_SUMS, "Mul") and computed:
        if len(computed) > 1 or site.shape(computed[0]) != site.out_shape():
            site.fail("one of its operands is dropped")
        if site.op == "Mul":
            site.walk.note(f"Mul {site.name!r} has one operand left, and passes it on")
        site.inputs = [site.read[computed[0]]]
        site.op_type = "Identity"
        site.finish([site.layout(0)])
    elif site.op in _NEEDS_SHAPE and 0 in left:
        site.fail("a shape that it reads is dropped")
    else:
        for name, known in zip(site.outputs, site.old, strict=True):
            drop(site.body, name, known, site.origin)


def from_zeros(site: Site) -> None:
    """Let a recurrent node do without the initial states of which nothing is left."""
    gone = [i for i in (5, 6) if site.has(i) and site.body.find(site.inputs[i]).gone]
    for index in gone:
        site.inputs[index] = ""
    while site.inputs and not site.inputs[-1]:
        site.inputs.pop()
    if gone:
        site.walk.note(f"{site.name!r} starts from zeros: what its initial state was is dropped")


def drop(body: Body, name: str, known: Known, origin: str = "") -> None:
    """Mark a value as gone."""
    if name:
        body.facts[name] = Fact(old=known, new=known, gone=True, origin=origin)
