"""Operators that take parts of an axis or join parts: Concat, Split, Slice, Gather."""

from __future__ import annotations

from rnncost.graph.dim import Dim
from rnncost.variants.parts import (
    Axis,
    Layout,
    Part,
    UnevenError,
    between,
    changed,
    new_extent,
    place,
    replaced,
    tidy,
    whole,
)
from rnncost.variants.site import Site
from rnncost.variants.tables import Layouts, backward, forward

_INPUTS_SINCE = 10
"""From this version on Slice takes its bounds as inputs."""
_SPLIT_INPUT_SINCE = 13
_FAR = 1 << 62


@forward("Concat")
def concat(site: Site) -> Layouts:
    """Inputs of which nothing is left drop out; a single one that remains is passed on."""
    left = [i for i in range(len(site.inputs)) if not site.body.find(site.inputs[i]).gone]
    if site.old[0].shape is None and not any(changed(site.layout(i)) for i in left):
        _join(site, left)
        return [None]
    rank = len(site.out_shape())
    axis = site.attr("axis", 1) % rank
    other: list[Axis | None] = [None] * rank
    for at in range(rank):
        if at != axis:
            found = [site.axis(i, at) for i in left]
            other[at] = next((a for a in found if a is not None), None)
    for index in left:
        own = list(other)
        own[axis] = site.axis(index, axis)
        site.conform(index, tuple(own))
    parts: list[Part] = []
    for index in range(len(site.inputs)):
        extent = site.shape(index)[axis]
        kept = index in left
        parts.extend(whole(site.axis(index, axis), extent) if kept else (Part(extent, 0),))
    _join(site, left)
    other[axis] = tidy(parts)
    return [tuple(other)]


def _join(site: Site, left: list[int]) -> None:
    """Read only the inputs that are left."""
    site.inputs = [site.inputs[index] for index in left]
    if len(left) == 1:
        site.op_type = "Identity"
        site.attrs["axis"] = None


@backward("Concat")
def concat_back(site: Site, output: int, layout: Layout) -> None:
    axis = site.attr("axis", 1) % len(layout)
    start: Dim = 0
    for index in range(len(site.inputs)):
        stop = start + site.shape(index)[axis]
        own = list(layout)
        along = layout[axis]
        own[axis] = None if along is None else between(along, start, stop)
        site.conform(index, tuple(own))
        start = stop


@forward("Split")
def split(site: Site) -> Layouts:
    """Sizes follow their parts; an output of which nothing is left drops out."""
    layout = site.layout(0) or (None,) * len(site.shape(0))
    at = site.attr("axis", 0) % len(layout)
    along = layout[at]
    bounds = _split_bounds(site, at)
    if along is None:
        return [layout] * len(site.old)
    sizes = [place(along, stop) - place(along, start) for start, stop in bounds]
    _set_sizes(site, sizes)
    layouts = []
    for start, stop in bounds:
        layouts.append((*layout[:at], between(along, start, stop), *layout[at + 1 :]))
    return layouts


def _split_bounds(site: Site, axis: int) -> list[tuple[Dim, Dim]]:
    """The stretch of each output, in old positions."""
    extent = site.shape(0)[axis]
    sizes = site.old_ints(1) if site.has(1) else site.attr("split")
    if sizes is None:
        if site.has(1):
            site.fail("its sizes are not known")
        sizes = [known.shape[axis] if known.shape else 0 for known in site.old]
    bounds: list[tuple[Dim, Dim]] = []
    start: Dim = 0
    for size in sizes:
        bounds.append((start, start + size))
        start = start + size
    if start != extent:
        site.fail("its sizes are not known")
    return bounds


def _set_sizes(site: Site, sizes: list[Dim]) -> None:
    kept = [size for size in sizes if size != 0]
    if len(kept) == 1:
        site.inputs = site.inputs[:1]
        site.op_type = "Identity"
        site.attrs.update(dict.fromkeys(("axis", "split", "num_outputs")))
    elif site.opset < _SPLIT_INPUT_SINCE:
        site.attrs["split"] = kept
    else:
        site.attrs["num_outputs"] = None
        site.inputs = [site.inputs[0], site.literal(kept, like=f"{site.name}_sizes")]
    site.dropped.update([at for at, size in enumerate(sizes) if size == 0])


@backward("Split")
def split_back(site: Site, output: int, layout: Layout) -> None:
    old = site.shape(0)
    at = site.attr("axis", 0) % len(old)
    start, stop = _split_bounds(site, at)[output]
    own = list(layout)
    own[at] = replaced(None, old[at], start, whole(layout[at], stop - start))
    site.insist(0, tuple(own))


@forward("Slice")
def slice_(site: Site) -> Layouts:
    """Bounds on an axis that changes go to where their places went."""
    layout = list(site.layout(0) or (None,) * len(site.shape(0)))
    bounds = _bounds(site)
    starts, ends = list(bounds.starts), list(bounds.ends)
    for number, axis in enumerate(bounds.axes):
        along = layout[axis]
        if along is None:
            continue
        low, high, step = bounds.resolved(site, number)
        kept = between(along, low, high)
        first, last = place(along, low), place(along, high)
        if first == last and low != high:
            if site.key in site.walk.redirect:
                kept, first, last = None, 0, high - low
                site.walk.note(_redirected(site))
            else:
                site.walk.lost.add(site.key)
        if step < 0:
            kept = None if kept is None else tuple(reversed(kept))
            first, last = last - 1, first - 1
            last = -_FAR if last < 0 else last
        layout[axis] = kept
        extent = new_extent(along)
        now = _resolve(starts[number], ends[number], step, extent)
        if now != (first, last):
            starts[number], ends[number] = first, last
    _set_bounds(site, bounds, starts, ends)
    return [tuple(layout)]


class _Bounds:
    """The bounds of a Slice as they are stored, and its axes counted from the front."""

    def __init__(
        self,
        starts: tuple[Dim, ...],
        ends: tuple[Dim, ...],
        axes: tuple[int, ...],
        steps: tuple[Dim, ...],
    ) -> None:
        self.starts = starts
        self.ends = ends
        self.axes = axes
        self.steps = steps

    def resolved(self, site: Site, number: int) -> tuple[Dim, Dim, int]:
        """The old stretch that is taken, from its lower end to its upper, and the step."""
        extent = site.shape(0)[self.axes[number]]
        step = self.steps[number]
        if not isinstance(step, int) or step not in (1, -1):
            site.fail("it leaves out every second entry or more")
        first, last = _resolve(self.starts[number], self.ends[number], step, extent)
        if step > 0:
            return first, last if last > first else first, step
        lower: Dim = 0 if last < 0 else last + 1
        return lower, first + 1, step


def _resolve(start: Dim, end: Dim, step: int, extent: Dim) -> tuple[Dim, Dim]:
    """Bounds counted from the front and clamped, as Slice does it (ONNX operator Slice-13)."""
    first = start + extent if start < 0 else start
    last = end + extent if end < 0 else end
    top = extent if step > 0 else extent - 1
    first = top if first > top else first
    last = top if last > top else last
    lowest = 0 if step > 0 else -1
    return (
        0 if first < 0 else first,
        (lowest if step > 0 else -_FAR) if last < lowest or (step < 0 and last < 0) else last,
    )


def _bounds(site: Site) -> _Bounds:
    rank = len(site.shape(0))
    if site.opset < _INPUTS_SINCE:
        starts, ends = site.attr("starts"), site.attr("ends")
        axes = site.attr("axes")
        steps = None
    else:
        starts, ends = site.old_ints(1), site.old_ints(2)
        axes = site.old_ints(3) if site.has(3) else None
        steps = site.old_ints(4) if site.has(4) else None
        if (site.has(3) and axes is None) or (site.has(4) and steps is None):
            site.fail("its bounds are not known")
    if starts is None or ends is None:
        site.fail("its bounds are not known")
    named = range(len(starts)) if axes is None else axes
    return _Bounds(
        tuple(starts),
        tuple(ends),
        tuple([axis % rank for axis in named if isinstance(axis, int)]),
        (1,) * len(starts) if steps is None else tuple(steps),
    )


def _set_bounds(site: Site, bounds: _Bounds, starts: list[Dim], ends: list[Dim]) -> None:
    for index, name, old, new in (
        (1, "starts", bounds.starts, starts),
        (2, "ends", bounds.ends, ends),
    ):
        if tuple(new) == tuple(old):
            continue
        if site.opset < _INPUTS_SINCE:
            site.attrs[name] = new
        else:
            site.set_ints(index, [None if a == b else b for a, b in zip(old, new, strict=True)])


@backward("Slice")
def slice_back(site: Site, output: int, layout: Layout) -> None:
    old = site.shape(0)
    own = list(layout)
    bounds = _bounds(site)
    for number, axis in enumerate(bounds.axes):
        along = layout[axis]
        if along is not None:
            low, _, step = bounds.resolved(site, number)
            inner = tuple(reversed(along)) if step < 0 else along
            own[axis] = replaced(None, old[axis], low, inner)
    site.insist(0, tuple(own))


@forward("Gather")
def gather(site: Site) -> Layouts:
    """Indices on an axis that changes go to where their places went."""
    rank = len(site.shape(0))
    axis = site.attr("axis", 0) % rank
    layout = site.layout(0) or (None,) * rank
    chosen = site.layout(1) or (None,) * len(site.shape(1))
    along = layout[axis]
    if along is not None:
        chosen = _picked(site, along, site.shape(0)[axis])
    return [(*layout[:axis], *chosen, *layout[axis + 1 :])]


def _picked(site: Site, along: Axis, extent: Dim) -> Layout:
    indices = site.old_ints(1)
    if indices is None:
        site.fail("its indices are not known")
    rank = len(site.shape(1))
    wanted: list[Dim] = []
    parts: list[Part] = []
    for index in indices:
        at = index + extent if index < 0 else index
        new = _spot(along, at)
        if new is None and site.key in site.walk.redirect:
            site.walk.note(_redirected(site))
            new = 0
        parts.append(Part(1, 0 if new is None else 1))
        if new is not None:
            wanted.append(index if index < 0 and index + new_extent(along) == new else new)
    if len(wanted) == len(indices):
        site.set_ints(1, [None if a == b else b for a, b in zip(indices, wanted, strict=True)])
        return (None,) * rank
    if not wanted:
        site.vanish = True
        site.walk.lost.add(site.key)
        return (None,) * rank
    if rank != 1:
        site.fail("some of its indices are dropped")
    site.inputs[1] = site.literal(wanted, like=site.inputs[1])
    return (tidy(parts),)


def _spot(along: Axis, at: Dim) -> Dim | None:
    """The new place of one entry; None where it is dropped."""
    start: Dim = 0
    for part in along:
        inside = at - start
        if inside < part.old:
            if part.new == 0:
                return None
            if part.old == part.new or inside == 0:
                return place(along, start) + inside
            if inside == part.old - 1:
                return place(along, start) + part.new - 1
            raise UnevenError
        start = start + part.old
    raise UnevenError


@backward("Gather")
def gather_back(site: Site, output: int, layout: Layout) -> None:
    rank = len(site.shape(0))
    axis = site.attr("axis", 0) % rank
    count = len(site.shape(1))
    if any(a is not None for a in layout[axis : axis + count]):
        site.fail("more entries would have to be picked")
    site.conform(0, (*layout[:axis], None, *layout[axis + count :]))


@forward("GatherElements")
def gather_elements(site: Site) -> Layouts:
    """Indices [.., n, ..] pick along one axis; along the others both have the same extents."""
    rank = len(site.shape(0))
    axis = site.attr("axis", 0) % rank
    if site.axis(0, axis) is not None:
        site.fail("it picks along the axis that changes")
    data, chosen = site.shape(0), site.shape(1)
    for at in range(rank):
        if at != axis and data[at] == chosen[at]:
            site.conform_axis(1, at, site.axis(0, at))
    return [site.layout(1)]


@forward("GatherND")
def gather_nd(site: Site) -> Layouts:
    """Indices [..., k] pick from the first k axes after the batch; the rest passes through."""
    batch = site.attr("batch_dims", 0)
    depth = site.shape(1)[-1]
    layout = site.layout(0) or (None,) * len(site.shape(0))
    if not isinstance(depth, int) or any(a is not None for a in layout[batch : batch + depth]):
        site.fail("it picks along the axis that changes")
    chosen = site.layout(1) or (None,) * len(site.shape(1))
    return [(*chosen[:-1], *layout[batch + depth :])]


def _redirected(site: Site) -> str:
    return f"{site.op} {site.name!r} read the direction that is dropped; it reads the other one now"
