"""Moving the elements of small tensors: flat, row-major tuples and their shapes.

Every function returns None where the result would have more than ``VALUE_LIMIT`` elements,
or a number of them that a free dimension decides. The operands hold as many elements as
their shapes say; that a tensor without elements may have other dimensions of any size is
why an empty result is returned before anything is laid out.
"""

from __future__ import annotations

from collections.abc import Sequence

from rnncost.frontends.onnx.infer.base import VALUE_LIMIT, Element
from rnncost.graph.dim import Shape

Elements = tuple[Element, ...]


def count(shape: Shape) -> int | None:
    """The number of elements of a shape, or None where it is free or above the limit."""
    total = 1
    for dim in shape:
        if not isinstance(dim, int) or dim < 0:
            return None
        total *= dim
    return total if total <= VALUE_LIMIT else None


def integers(shape: Shape) -> tuple[int, ...] | None:
    """The shape, when all its dimensions are plain integers."""
    ints = tuple([dim for dim in shape if isinstance(dim, int)])
    return ints if len(ints) == len(shape) else None


def numel(shape: Sequence[int]) -> int:
    total = 1
    for dim in shape:
        total *= dim
    return total


def strides(shape: Sequence[int]) -> list[int]:
    """How far apart neighbours along each axis lie."""
    steps = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        steps[axis] = steps[axis + 1] * shape[axis + 1]
    return steps


def offsets(shape: Sequence[int], steps: Sequence[int]) -> list[int]:
    """The positions that a walk over ``shape`` visits, with the given step an axis."""
    places = [0]
    for dim, step in zip(shape, steps, strict=True):
        places = [place + index * step for place in places for index in range(dim)]
    return places


def broadcast(value: Elements, shape: Shape, target: Shape) -> Elements | None:
    """The elements after numpy's broadcasting of ``shape`` to ``target``."""
    if shape == target:
        return value
    total = count(target)
    goal, own = integers(target), integers(shape)
    if total is None or goal is None or own is None:
        return None
    if total == 0:
        return ()
    if len(value) == 1:
        return value * total
    lead = len(goal) - len(own)
    steps = [0] * lead + [
        step if dim > 1 else 0 for dim, step in zip(own, strides(own), strict=True)
    ]
    return tuple([value[place] for place in offsets(goal, steps)])


def permute(value: Elements, shape: Shape, axes: Sequence[int]) -> Elements | None:
    """The elements of a transposed tensor: axis i of the result is ``axes[i]`` of the source."""
    own = integers(shape)
    if own is None:
        return None
    if len(value) < 2:
        return value
    steps = strides(own)
    places = offsets([own[axis] for axis in axes], [steps[axis] for axis in axes])
    return tuple([value[place] for place in places])


def take(value: Elements, shape: Shape, axis: int, indices: Sequence[int]) -> Elements | None:
    """The elements at the given (non-negative) indices of one axis, in their order."""
    own = integers(shape)
    total = None if own is None else count((*own[:axis], len(indices), *own[axis + 1 :]))
    if own is None or total is None:
        return None
    if total == 0:
        return ()
    inner = numel(own[axis + 1 :])
    block = inner * own[axis]
    result: list[Element] = []
    for start in range(0, len(value), block):
        for index in indices:
            place = start + index * inner
            result.extend(value[place : place + inner])
    return tuple(result)


def concat(parts: Sequence[tuple[Elements, Shape]], axis: int) -> Elements | None:
    """The elements of tensors joined along an axis."""
    shapes = [integers(shape) for _, shape in parts]
    if sum(len(value) for value, _ in parts) > VALUE_LIMIT:
        return None
    blocks: list[int] = []
    outer = 0
    for (value, _), shape in zip(parts, shapes, strict=True):
        if shape is None:
            return None
        blocks.append(numel(shape[axis:]))
        if value:
            outer = numel(shape[:axis])
    result: list[Element] = []
    for index in range(outer):
        for (value, _), block in zip(parts, blocks, strict=True):
            result.extend(value[index * block : (index + 1) * block])
    return tuple(result)


def rows(value: Elements, shape: Shape, axes: Sequence[int]) -> list[Elements] | None:
    """The elements grouped for a reduction over ``axes``: one tuple an output element."""
    own = integers(shape)
    if own is None:
        return None
    kept = [axis for axis in range(len(own)) if axis not in axes]
    groups = count(tuple([own[axis] for axis in kept]))
    if groups is None:
        return None
    width = numel([own[axis] for axis in axes])
    moved = permute(value, shape, [*kept, *axes])
    if moved is None:
        return None
    return [moved[index * width : (index + 1) * width] for index in range(groups)]


def unrow(value: Elements, shape: Shape, axes: Sequence[int]) -> Elements | None:
    """The inverse of ``rows`` for elements of the same shape, laid out row after row."""
    order = [axis for axis in range(len(shape)) if axis not in axes] + list(axes)
    back = sorted(range(len(order)), key=order.__getitem__)
    return permute(value, tuple([shape[axis] for axis in order]), back)
