"""Which value each tensor holds: storages, the views on them, and writes in place.

A value of the graph belongs to a storage and a geometry (offset, size, stride), so two
Python objects that show the same elements are one value. A view is written down as an
operator only when something reads it, from what the storage holds at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from rnncost.frontends.torch.slabs import Root, slab_of
from rnncost.graph.ir import Tensor

Geometry = tuple[int, tuple[int, ...], tuple[int, ...], str]

CONSTANT_LIMIT = 1 << 16
"""The most elements of a floating-point constant whose values are kept."""

SCALAR_LIMIT = 16
"""The most elements of a parameter whose values are read."""

_QUANTISED = {"qint8": "int8", "quint8": "uint8", "qint32": "int32", "quint4x2": "uint4"}
_NAMES: dict[Any, str] = {}


def dtype_name(dtype: Any) -> str:
    """``torch.float32`` -> ``"float32"``; a quantised type is named by what it stores."""
    name = _NAMES.get(dtype)
    if name is None:
        plain = str(dtype).removeprefix("torch.")
        name = _NAMES[dtype] = _QUANTISED.get(plain, plain)
    return name


def tensors_in(values: Any) -> Iterator[Any]:
    """The tensors among the arguments or results of an operator, lists included."""
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from tensors_in(value)
    elif isinstance(values, dict):
        for value in values.values():
            yield from tensors_in(value)


class View:
    """One geometry of a storage. ``tensor`` is its value as of ``version``.

    ``produce`` makes the value of a whole storage on first use, ``parent`` and ``step``
    say how a view comes from another; ``site`` is where the program made it.
    """

    __slots__ = (
        "buffer",
        "dtype",
        "geometry",
        "index",
        "parent",
        "produce",
        "shape",
        "site",
        "tensor",
        "version",
    )

    def __init__(self, buffer: Buffer, geometry: Geometry, parent: View | None, site: Any) -> None:
        self.buffer = buffer
        self.index = len(buffer.views)
        self.geometry = geometry
        self.shape = geometry[1]
        self.dtype = geometry[3]
        self.parent = parent
        self.site = site
        self.tensor: Tensor | None = None
        self.produce: Callable[[], Tensor] | None = None
        self.version = 0


class Buffer:
    """One storage: the stored tensors in it, its views, and how often it was written.

    ``constant``: it holds what depends on no input and no stored tensor. ``zero``: zeros
    made inside the run. ``unknown``: its elements were written with values not followed.
    """

    __slots__ = (
        "constant",
        "fresh",
        "label",
        "reference",
        "roots",
        "unknown",
        "version",
        "views",
        "whole",
        "zero",
    )

    def __init__(self, tensor: Any, *, fresh: bool) -> None:
        self.reference = _reference(tensor)
        self.fresh = fresh
        self.roots: list[Root] = []
        self.views: dict[Geometry, View] = {}
        self.version = 0
        self.constant = False
        self.zero = False
        self.unknown = False
        self.label = ""
        self.whole = self.view(_geometry(tensor), None, None)

    def view(self, geometry: Geometry, parent: View | None, site: Any) -> View:
        known = self.views.get(geometry)
        if known is None:
            known = self.views[geometry] = View(self, geometry, parent, site)
        return known

    def root_of(self, geometry: Geometry) -> Root | None:
        """The smallest stored tensor that a view lies within."""
        offset, size, stride, _ = geometry
        spans = [root for root in self.roots if root.spans(offset, size, stride)]
        return min(spans, key=lambda root: root.numel) if spans else None


class Memory:
    """All storages that the run has met."""

    def __init__(self) -> None:
        self._buffers: dict[int, Buffer] = {}
        self._kept: list[Any] = []
        self._twins: dict[tuple[int, str], Any] = {}
        self._twin_views: dict[tuple[int, Geometry], Any] = {}
        self._saved: dict[int, tuple[Any, Any]] = {}
        self.roots: list[Root] = []

    # -- what was there before the run -------------------------------------------------

    def store(self, tensor: Any, name: str, owner: str, kind: str) -> None:
        """Take in a tensor that a module keeps, unless its elements are known already."""
        buffer = self.buffer(tensor)
        buffer.constant = False
        geometry = _geometry(tensor)
        if any(r.spans(*geometry[:3]) for r in buffer.roots):
            return
        offset, size, stride, dtype = geometry
        root = Root(
            name=name,
            owner=owner,
            dtype=dtype,
            shape=size,
            offset=offset,
            stride=stride,
            kind=kind,
            trained=bool(tensor.requires_grad),
        )
        buffer.roots.append(root)
        self.roots.append(root)

    def feed(self, tensor: Any, value: Tensor, label: str) -> None:
        """Take in an input of the model."""
        buffer = self.buffer(tensor)
        buffer.constant = False
        buffer.label = label
        view = buffer.view(_geometry(tensor), buffer.whole, None)
        view.tensor = value

    # -- lookup ------------------------------------------------------------------------

    def known(self, tensor: Any) -> bool:
        return _key(tensor) in self._buffers

    def buffer(self, tensor: Any) -> Buffer:
        """The storage of a tensor; one not met before is a constant of the program."""
        key = _key(tensor)
        buffer = self._buffers.get(key)
        if buffer is None:
            buffer = self._buffers[key] = Buffer(tensor, fresh=False)
            buffer.constant = True
            self._kept.append(tensor)
        return buffer

    def view(self, tensor: Any) -> View:
        buffer = self.buffer(tensor)
        return buffer.view(_geometry(tensor), buffer.whole, None)

    def view_from(self, tensor: Any, parent: View, site: Any) -> View:
        """The view that an operator made of ``parent``."""
        return parent.buffer.view(_geometry(tensor), parent, site)

    def create(self, tensor: Any) -> Buffer:
        """A storage that an operator made."""
        buffer = self._buffers[_key(tensor)] = Buffer(tensor, fresh=True)
        return buffer

    def is_zero(self, tensor: Any) -> bool:
        """Whether a tensor is zeros that the program made and never wrote to."""
        buffer = self.buffer(tensor)
        return buffer.zero and buffer.version == 0

    def valued(self, tensor: Any) -> bool:
        """Whether the elements are at hand and few enough to compute with."""
        if tensor.is_meta:
            return False
        buffer = self.buffer(tensor)
        if buffer.unknown:
            return False
        if not (tensor.is_floating_point() or tensor.is_complex()) or buffer.fresh:
            return True
        learned = any(root.kind == "parameter" for root in buffer.roots)
        return bool(tensor.numel() <= (SCALAR_LIMIT if learned else CONSTANT_LIMIT))

    # -- writes ------------------------------------------------------------------------

    def save(self, tensor: Any) -> None:
        """Keep the elements of a tensor from before the run, which a write will change."""
        buffer = self.buffer(tensor)
        if not buffer.fresh and id(buffer) not in self._saved:
            whole = _flat(tensor)
            self._saved[id(buffer)] = (whole, whole.clone())

    def restore(self) -> None:
        """Undo all writes to tensors from before the run."""
        for tensor, elements in self._saved.values():
            tensor.copy_(elements)
        self._saved.clear()

    def forget(self, tensor: Any) -> None:
        """From now on the elements of this storage are not known."""
        self.buffer(tensor).unknown = True

    # -- twins on the meta device --------------------------------------------------------

    def twin(self, tensor: Any) -> Any:
        """A tensor of the same geometry on the meta device; the tensor itself if it is there.

        Twins of views of one storage are views of one twin storage, so that aliasing shows.
        """
        if tensor.is_meta:
            return tensor
        buffer = self.buffer(tensor)
        geometry = _geometry(tensor)
        twin = self._twin_views.get((id(buffer), geometry))
        if twin is not None:
            return twin
        base = self._twins.get((id(buffer), geometry[3]))
        if base is None:
            dtype = _plain(tensor)
            elements = _storage_bytes(tensor) // tensor.element_size()
            # A view of a tensor from outside inference mode must be such a tensor itself.
            with torch.inference_mode(tensor.is_inference()):
                base = torch.empty(elements, dtype=dtype, device="meta")
            self._twins[id(buffer), geometry[3]] = base
            self._buffers[_key(base)] = buffer
        twin = base.as_strided(geometry[1], geometry[2], geometry[0])
        self._twin_views[id(buffer), geometry] = twin
        return twin


def stored_tensor(view: View) -> Tensor | None:
    """The value of a view of a stored tensor that nothing has written to."""
    buffer = view.buffer
    if buffer.version or not buffer.roots:
        return None
    root = buffer.root_of(view.geometry)
    if root is None:
        return None
    offset, size, stride, _ = view.geometry
    slab = slab_of(root, offset, size, stride)
    whole = slab == root.whole() and size == root.shape
    name = root.name if whole else f"{root.name}#{view.index}"
    return Tensor(name, view.dtype, size, stored=(slab,))


def same_order(a: Geometry, b: Geometry) -> bool:
    """Whether two views run over the same elements in the same order (a reshape)."""
    return a[0] == b[0] and a[3] == b[3] and _runs(a[1], a[2]) == _runs(b[1], b[2])


def _runs(size: Sequence[int], stride: Sequence[int]) -> list[tuple[int, int]]:
    """Size and stride with dimensions of one element dropped and contiguous ones joined."""
    runs: list[tuple[int, int]] = []
    for n, s in zip(size, stride, strict=True):
        if n == 1:
            continue
        if runs and runs[-1][1] == n * s:
            runs[-1] = (runs[-1][0] * n, s)
        else:
            runs.append((n, s))
    return runs


def _geometry(tensor: Any) -> Geometry:
    if tensor.layout is not torch.strided:
        return 0, tuple(tensor.shape), (0,) * tensor.dim(), dtype_name(tensor.dtype)
    return (
        tensor.storage_offset(),
        tuple(tensor.shape),
        tensor.stride(),
        dtype_name(tensor.dtype),
    )


def _key(tensor: Any) -> int:
    if tensor.layout is not torch.strided:
        return id(tensor)
    return int(tensor.untyped_storage()._cdata)


def _reference(tensor: Any) -> Any:
    """What keeps the key of a storage from being given to another one."""
    if tensor.layout is not torch.strided:
        return tensor
    return StorageWeakRef(tensor.untyped_storage())


def _storage_bytes(tensor: Any) -> int:
    return int(tensor.untyped_storage().nbytes())


def _plain(tensor: Any) -> Any:
    if not tensor.is_quantized:
        return tensor.dtype
    return {1: torch.int8, 4: torch.int32}[tensor.element_size()]


def _flat(tensor: Any) -> Any:
    """All elements of a tensor's storage."""
    count = _storage_bytes(tensor) // tensor.element_size()
    return tensor.detach().as_strided((count,), (1,), 0)
