"""Which part of a stored tensor a view shows, from storage offsets, sizes and strides."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rnncost.graph.ir import Slab


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """A stored tensor: a parameter, a buffer, or another tensor that a module keeps.

    ``offset`` and ``stride`` count elements of its storage. ``owner`` is the path of the
    module that keeps it, ``kind`` how: "parameter", "buffer" or "attribute". ``trained``:
    whether it asks for gradients.
    """

    name: str
    owner: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    stride: tuple[int, ...]
    kind: str
    trained: bool = False

    @property
    def numel(self) -> int:
        total = 1
        for size in self.shape:
            total *= size
        return total

    def whole(self) -> Slab:
        return Slab(self.name, self.dtype, tuple([(0, size, 1) for size in self.shape]))

    def spans(self, offset: int, size: Sequence[int], stride: Sequence[int]) -> bool:
        """Whether every element of a view lies between this tensor's first and last."""
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        end = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        return self.offset <= offset and last <= end


def slab_of(root: Root, offset: int, size: Sequence[int], stride: Sequence[int]) -> Slab:
    """The part of ``root`` that a view shows; all of it where the part is no rectangle.

    ``offset`` and ``stride`` are the view's, in elements of the storage.
    """
    axes = sorted(
        (axis for axis, n in enumerate(root.shape) if n > 1),
        key=lambda axis: root.stride[axis],
    )
    starts = _starts(root, offset, axes)
    if starts is None or 0 in size:
        return root.whole()
    pieces: dict[int, list[tuple[int, int]]] = {axis: [] for axis in axes}
    for n, step in zip(size, stride, strict=True):
        if n == 1 or step == 0:
            continue
        if not _spread(root, axes, starts, pieces, n, step):
            return root.whole()
    ranges = [(0, n, 1) for n in root.shape]
    for axis in axes:
        part = _joined(pieces[axis])
        if part is None or starts[axis] + part[0] * (part[1] - 1) >= root.shape[axis]:
            return root.whole()
        step, count = part
        start = starts[axis]
        ranges[axis] = (start, start + step * (count - 1) + 1, step)
    return Slab(root.name, root.dtype, tuple(ranges))


def _starts(root: Root, offset: int, axes: Sequence[int]) -> dict[int, int] | None:
    """The index of a view's first element on each axis of the root."""
    rest = offset - root.offset
    starts: dict[int, int] = {}
    for axis in reversed(axes):
        starts[axis], rest = divmod(rest, root.stride[axis])
        if not 0 <= starts[axis] < root.shape[axis]:
            return None
    return starts if rest == 0 else None


def _spread(
    root: Root,
    axes: Sequence[int],
    starts: dict[int, int],
    pieces: dict[int, list[tuple[int, int]]],
    count: int,
    stride: int,
) -> bool:
    """Lay ``count`` elements ``stride`` apart on the axes; False where they fit none."""
    for axis in reversed(axes):
        unit, extent = root.stride[axis], root.shape[axis]
        if stride % unit or stride // unit >= extent:
            continue
        step = stride // unit
        if starts[axis] + step * (count - 1) < extent:
            pieces[axis].append((step, count))
            return True
        # Longer than the axis: a flattened view, which must run over all of the axis.
        inner = extent // step
        if starts[axis] or extent % step or count % inner:
            return False
        pieces[axis].append((step, inner))
        return _spread(root, axes, starts, pieces, count // inner, unit * extent)
    return False


def _joined(pieces: list[tuple[int, int]]) -> tuple[int, int] | None:
    """One ``(step, count)`` that covers the same indices as several, if there is one."""
    step, count = 1, 1
    for number, (next_step, next_count) in enumerate(sorted(pieces)):
        if number == 0:
            step, count = next_step, next_count
        elif next_step == step * count:
            count *= next_count
        else:
            return None
    return step, count
