"""Operators that rearrange axes: Transpose, Squeeze, Unsqueeze, Reshape, Flatten, Expand, Tile."""

from __future__ import annotations

from collections.abc import Iterator

from rnncost.graph.dim import Dim, Shape, product
from rnncost.variants.parts import (
    Axis,
    Layout,
    UnevenError,
    grouped,
    merged,
    new_extent,
    new_shape,
    tidy,
    unmerged,
    whole,
)
from rnncost.variants.rules_elementwise import match
from rnncost.variants.site import Site
from rnncost.variants.tables import Layouts, backward, forward

_OLD_AXES = 13
"""From this version on Squeeze and Unsqueeze take their axes as an input."""


@forward("Shape", "Size")
def shape(site: Site) -> Layouts:
    """The elements change, their number does not."""
    return [None]


@forward("Transpose")
def transpose(site: Site) -> Layouts:
    layout = site.layout(0)
    return [None if layout is None else tuple([layout[source] for source in _perm(site)])]


@backward("Transpose")
def transpose_back(site: Site, output: int, layout: Layout) -> None:
    back: list[Axis | None] = [None] * len(layout)
    for to, source in enumerate(_perm(site)):
        back[source] = layout[to]
    site.conform(0, tuple(back))


def _perm(site: Site) -> tuple[int, ...]:
    rank = len(site.shape(0))
    perm: tuple[int, ...] = site.attr("perm") or tuple(reversed(range(rank)))
    return perm


@forward("Squeeze")
def squeeze(site: Site) -> Layouts:
    layout = site.layout(0) or ()
    axes = _squeezed(site)
    if any(layout[axis] is not None for axis in axes):
        site.fail("the axis that it removes would have more than one entry")
    given = site.has(1) or site.attr("axes") is not None
    if not given:
        # Without axes it removes every axis of 1, which by now may be more of them.
        if site.opset < _OLD_AXES:
            site.attrs["axes"] = list(axes)
        else:
            site.inputs = [site.inputs[0], site.literal(axes, like=f"{site.name}_axes")]
    return [tuple([axis for at, axis in enumerate(layout) if at not in axes])]


@backward("Squeeze")
def squeeze_back(site: Site, output: int, layout: Layout) -> None:
    axes = _squeezed(site)
    rest = iter(layout)
    rank = len(site.shape(0))
    site.conform(0, tuple([None if at in axes else next(rest) for at in range(rank)]))


def _squeezed(site: Site) -> tuple[int, ...]:
    old = site.shape(0)
    axes = _given_axes(site)
    if axes is None:
        return tuple([at for at, dim in enumerate(old) if dim == 1])
    return tuple([axis % len(old) for axis in axes])


@forward("Unsqueeze")
def unsqueeze(site: Site) -> Layouts:
    rest = iter(site.layout(0) or (None,) * len(site.shape(0)))
    axes = _unsqueezed(site)
    rank = len(site.out_shape())
    return [tuple([None if at in axes else next(rest) for at in range(rank)])]


@backward("Unsqueeze")
def unsqueeze_back(site: Site, output: int, layout: Layout) -> None:
    axes = _unsqueezed(site)
    if any(layout[axis] is not None for axis in axes):
        site.fail("the axis that it adds would have more than one entry")
    site.conform(0, tuple([axis for at, axis in enumerate(layout) if at not in axes]))


def _unsqueezed(site: Site) -> tuple[int, ...]:
    axes = _given_axes(site)
    if axes is None:
        site.fail("its axes are not known")
    return tuple([axis % len(site.out_shape()) for axis in axes])


def _given_axes(site: Site) -> tuple[int, ...] | None:
    axes: tuple[Dim, ...] | None = site.attr("axes")
    if site.has(1):
        axes = site.ints(1)
        if axes is None:
            site.fail("its axes are not known")
    return None if axes is None else tuple([axis for axis in axes if isinstance(axis, int)])


@forward("Flatten")
def flatten(site: Site) -> Layouts:
    layout, old = site.layout(0) or (), site.shape(0)
    at = site.attr("axis", 1) % (len(old) + 1) if old else 0
    return [(merged(layout[:at], old[:at]), merged(layout[at:], old[at:]))]


@backward("Flatten", "Reshape")
def reshape_back(site: Site, output: int, layout: Layout) -> None:
    """The axes that were flattened take up the change, the last of them first."""
    for option in _options(layout, site.out_shape(), site.shape(0)):
        site.conform(0, option)
        return
    site.fail("the axes do not divide so")


@forward("Reshape")
def reshape(site: Site) -> Layouts:
    """Where the new shape is computed it decides which axis changes, else the last that can.

    An axis of entries of which some go, as one of directions, loses these entries in any case.
    """
    old_in, old_out = site.shape(0), site.out_shape()
    layout = site.layout(0) or (None,) * len(old_in)
    wanted = _computed_shape(site, layout)
    if 0 in site.wished:
        wanted = new_shape(site.wished[0], old_out)
    first: Layout | None = None
    for option in _options(layout, old_in, old_out):
        first = first or option
        if not site.wished and _loses_entries(first):
            break
        if wanted is not None and new_shape(option, old_out) == wanted:
            _set_shape(site, wanted)
            return [option]
    if first is None:
        raise UnevenError
    _set_shape(site, new_shape(first, old_out))
    return [first]


def _loses_entries(layout: Layout) -> bool:
    """Whether what goes are single entries of an axis, as the second of two directions."""
    gone = [part for axis in layout for part in axis or () if part.new == 0]
    return bool(gone) and all(part.old == 1 for part in gone)


def _computed_shape(site: Site, layout: Layout) -> Shape | None:
    """The shape that the node would give as it stands, where it holds all elements."""
    elements = site.ints(1)
    if elements is None:
        return None
    given = new_shape(layout, site.shape(0))
    dims = list(elements)
    if not site.attr("allowzero", 0):
        dims = [given[at] if dim == 0 else dim for at, dim in enumerate(dims)]
    if -1 in dims:
        rest = product([dim for dim in dims if dim != -1])
        dims[dims.index(-1)] = product(given) // rest if rest != 0 else 0
    return tuple(dims) if product(dims) == product(given) else None


def _set_shape(site: Site, wanted: Shape) -> None:
    """Edit the elements of the shape that say something else than what is wanted."""
    elements = site.ints(1)
    if elements is None:
        site.fail("its shape is not known")
    edits: list[Dim | None] = []
    for at, (element, dim) in enumerate(zip(elements, wanted, strict=True)):
        copies = element == 0 and not site.attr("allowzero", 0)
        keeps = _passes(site, at, dim) if copies else element in (dim, -1)
        edits.append(None if keeps else dim)
    site.set_ints(1, edits)


def _passes(site: Site, at: int, dim: Dim) -> bool:
    """Whether a 0 in the shape, which copies the input's extent, gives what is wanted."""
    if at >= len(site.shape(0)):
        return False
    axis = site.axis(0, at)
    return dim == (site.shape(0)[at] if axis is None else new_extent(axis))


def _options(layout: Layout, old_in: Shape, old_out: Shape) -> Iterator[Layout]:
    """The ways in which a reshaped tensor can take up a change, the last axes first."""
    partial: list[tuple[Axis | None, ...]] = [()]
    for ins, outs in grouped(old_in, old_out):
        axes = [layout[at] for at in ins]
        extents = [old_in[at] for at in ins]
        targets = [old_out[at] for at in outs]
        choices = list(_group(axes, extents, targets))
        partial = [(*done, *choice) for done in partial for choice in choices]
    yield from partial


def _group(axes: list[Axis | None], extents: list[Dim], targets: list[Dim]) -> Iterator[Layout]:
    if all(axis is None for axis in axes):
        yield (None,) * len(targets)
        return
    if len(targets) == len(extents) and targets == extents:
        yield tuple(axes)
        return
    flat = merged(axes, extents)
    if flat is None:
        yield (None,) * len(targets)
        return
    for strict in (True, False):
        for at in reversed(range(len(targets))):
            axis = _taken_up(flat, targets, at, strict)
            if axis is not None:
                yield tuple([axis if to == at else None for to in range(len(targets))])


def _taken_up(flat: Axis, targets: list[Dim], at: int, strict: bool) -> Axis | None:
    """One axis that takes up the change of what several are flattened from; None if it cannot."""
    if targets[at] == 1 and len(targets) > 1:
        return None
    try:
        return unmerged(flat, product(targets[:at]), product(targets[at + 1 :]), strict=strict)
    except UnevenError:
        return None


@forward("Expand")
def expand(site: Site) -> Layouts:
    """Axes that are there already keep their change; the shape is edited where it names them."""
    old, out = site.shape(0), site.out_shape()
    layout = site.layout(0) or (None,) * len(old)
    elements = site.ints(1)
    if elements is None:
        site.fail("its shape is not known")
    missing = len(out) - len(old)
    axes: list[Axis | None] = [*(None for _ in range(missing)), *layout]
    first = len(out) - len(elements)
    edits: list[Dim | None] = [None] * len(elements)
    for at, axis in enumerate(axes):
        if axis is not None and at >= first and elements[at - first] not in (1, new_extent(axis)):
            edits[at - first] = new_extent(axis)
    site.set_ints(1, edits)
    (auto,) = site.auto()
    given = auto or (None,) * len(out)
    return [tuple([a if a is not None else b for a, b in zip(axes, given, strict=True)])]


@backward("Expand")
def expand_back(site: Site, output: int, layout: Layout) -> None:
    elements = site.ints(1)
    if elements is None:
        site.fail("its shape is not known")
    first = len(layout) - len(elements)
    edits: list[Dim | None] = []
    for at, element in enumerate(elements):
        axis = layout[first + at]
        edits.append(None if axis is None or element == 1 else new_extent(axis))
    site.set_ints(1, edits)
    match(site, 0, layout)


@backward("ConstantOfShape", "RandomNormal", "RandomUniform")
def filled_back(site: Site, output: int, layout: Layout) -> None:
    wanted = new_shape(layout, site.out_shape())
    site.set_ints(
        0, [None if axis is None else dim for axis, dim in zip(layout, wanted, strict=True)]
    )


@forward("Tile")
def tile(site: Site) -> Layouts:
    layout, repeats = site.layout(0), site.ints(1)
    if repeats is None:
        site.fail("its repeats are not known")
    axes: list[Axis | None] = []
    for axis, times in zip(layout or (), repeats, strict=True):
        if axis is not None and not isinstance(times, int):
            site.fail("its repeats depend on a free dimension")
        axes.append(axis if axis is None or not isinstance(times, int) else tidy(axis * times))
    return [tuple(axes)]


@backward("Tile")
def tile_back(site: Site, output: int, layout: Layout) -> None:
    repeats = site.ints(1)
    if repeats is None:
        site.fail("its repeats are not known")
    pairs = zip(layout, repeats, strict=True)
    if any(axis is not None and times != 1 for axis, times in pairs):
        site.fail("it repeats the axis that changes")
    site.conform(0, layout)


@forward("Pad")
def pad(site: Site) -> Layouts:
    """Padding stays as wide as it is."""
    layout, old = site.layout(0) or (), site.shape(0)
    pads = site.ints(1) if site.has(1) else site.attr("pads")
    if pads is None or len(pads) != 2 * len(old):
        site.fail("its padding is not known")
    axes: list[Axis | None] = []
    for at, axis in enumerate(layout):
        if axis is None:
            axes.append(None)
            continue
        before, after = pads[at], pads[at + len(old)]
        if before < 0 or after < 0:
            site.fail("it cuts the axis that changes")
        axes.append(
            tidy((*whole(None, before), *axis, *whole(None, after)))
            if (before, after) != (0, 0)
            else axis
        )
    return [tuple(axes)]
