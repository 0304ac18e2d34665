"""Einsum: contractions, pair by pair from the left."""

from __future__ import annotations

from collections.abc import Mapping

from rnncost.counting.cost import OpCost
from rnncost.counting.formula import ZERO, Term, formulas, letter, values
from rnncost.counting.registry import agree, counts, expect, shape_of
from rnncost.graph.dim import Dim, Shape, product
from rnncost.graph.ir import Op

_Labels = tuple[str, ...]


@counts("Einsum")
def einsum(op: Op) -> OpCost:
    """The operands are combined two at a time, from the left, as ONNX Runtime does.

    A pair with an index to sum costs the product of all its index extents in MACs; a pair
    without one costs as many multiplies. An index of one operand alone that is not in the
    result is summed beforehand, as adds. Source: ONNX Einsum-12.
    """
    equation = op.str_attr("equation", "").replace(" ", "")
    shapes = [shape_of(op, i) for i in range(len(op.inputs))]
    operands, result = _labels(equation, shapes)
    extents = _extents(operands, shapes)
    letters = {label: letter(label, extents[label]) for label in extents}

    macs, multiplies = ZERO, ZERO
    adds: Dim = 0
    left = _kept(operands[0], operands[1:], result)
    adds = adds + _summed(operands[0], left, extents)
    for at, labels in enumerate(operands[1:], start=1):
        others = operands[at + 1 :]
        right = _kept(labels, [left, *others], result)
        adds = adds + _summed(labels, right, extents)
        both = _union(left, right)
        left = _kept(both, others, result)
        work = _product(both, letters)
        if len(left) < len(both):
            macs = macs + work
        else:
            multiplies = multiplies + work
    return OpCost(
        kind="product",
        macs=macs.value,
        dense_macs=macs.value,
        multiplies=multiplies.value,
        adds=adds,
        extents=values(**letters),
        formulas=formulas(macs=macs, multiplies=multiplies),
    )


def _labels(equation: str, shapes: list[Shape]) -> tuple[list[_Labels], _Labels]:
    """The labels of each operand and of the result; an ellipsis becomes ``e1``, ``e2`` …

    Ellipsis labels are numbered from the right, as the dimensions broadcast.
    """
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    expect(
        len(terms) == len(shapes),
        f"the equation {equation!r} has {len(terms)} operands, the operator {len(shapes)}",
    )
    operands = [_expand(t, len(s), equation) for t, s in zip(terms, shapes, strict=True)]
    ellipsis = max(([label for label in labels if len(label) > 1] for labels in operands), key=len)
    if arrow:
        named = [tuple(part) for part in right.split("...")]
        expect(len(named) <= 2, f"the equation {equation!r} has two ellipses in its result")
        result = (*named[0], *ellipsis, *named[1]) if len(named) == 2 else named[0]
    else:
        once = sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1)
        result = (*ellipsis, *once)
    known = {label for labels in operands for label in labels}
    expect(known.issuperset(result), f"the result of {equation!r} has an index of no operand")
    return operands, result


def _expand(term: str, rank: int, equation: str) -> _Labels:
    head, dots, tail = term.partition("...")
    hidden = rank - len(head) - len(tail)
    expect(
        (head + tail).isalpha() or not head + tail,
        f"{equation!r} is not an equation of letters",
    )
    expect(
        hidden == 0 or (bool(dots) and hidden > 0),
        f"an operand of {equation!r} has {rank} dimensions",
    )
    return (*head, *(f"e{n}" for n in range(hidden, 0, -1)), *tail)


def _extents(operands: list[_Labels], shapes: list[Shape]) -> dict[str, Dim]:
    extents: dict[str, Dim] = {}
    for labels, shape in zip(operands, shapes, strict=True):
        for label, dim in zip(labels, shape, strict=True):
            known = extents.get(label, 1)
            expect(
                dim == 1 or known == 1 or agree(known, dim),
                f"index {label!r} has {known} and {dim} elements",
            )
            if dim != 1 and not (isinstance(known, int) and known != 1):
                extents[label] = dim
            else:
                extents.setdefault(label, known)
    return extents


def _kept(labels: _Labels, others: list[_Labels], result: _Labels) -> _Labels:
    """The distinct labels that a later operand or the result still needs."""
    needed = set(result).union(*others)
    return tuple(label for label in dict.fromkeys(labels) if label in needed)


def _union(left: _Labels, right: _Labels) -> _Labels:
    return tuple(dict.fromkeys((*left, *right)))


def _summed(labels: _Labels, kept: _Labels, extents: Mapping[str, Dim]) -> Dim:
    """Adds to sum over the labels that are not kept."""
    distinct = dict.fromkeys(labels)
    if len(kept) == len(distinct):
        return 0
    return product(extents[x] for x in distinct) - product(extents[x] for x in kept)


def _product(labels: _Labels, letters: Mapping[str, Term]) -> Term:
    work = Term("1", 1)
    for label in labels:
        work = work * letters[label]
    return work
