"""What sets the number of time steps, or the batch, of a model: found by trying.

A dimension sets an extent if the extent of some recurrent operator changes with it. A free
dimension is preferred; without one, an input's axis of just that extent is made free in a
copy of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec

from rnncost.comparison.setting import Subject, analysed
from rnncost.comparison.words import listed
from rnncost.errors import BindingError, ModelError, VariantError
from rnncost.report.model import Report
from rnncost.variants import load_for_change

Letter = Literal["T", "B"]
WORDS: dict[Letter, str] = {"T": "time steps", "B": "rows of a batch"}

LARGEST = 1 << 24
"""No larger value of a dimension is tried."""


class Axis(msgspec.Struct, frozen=True, kw_only=True):
    """A dimension that sets an extent: of a model, or of a copy in which it was made free.

    ``ops`` are the numbers of the report's operators whose extent changes with it.
    """

    letter: Letter
    subject: Subject
    name: str
    ops: tuple[int, ...]

    @property
    def extent(self) -> int:
        """What the extent is in the report of the subject."""
        return self.extent_in(self.subject.report)

    def extent_in(self, report: Report) -> int:
        """The extent in a report of the same operators."""
        return max(report.ops[number].dims[self.letter] for number in self.ops)

    def at(self, value: int, *, estimates: bool = True) -> Report:
        """The report with the dimension at a value.

        Raises:
            BindingError, ModelError: the model does not work with it.
        """
        return self.subject.at({self.name: value}, estimates=estimates)

    def value_for(self, extent: int) -> int:
        """A value of the dimension for which the extent is as wanted: itself, or the smallest.

        Raises:
            VariantError: there is none.
        """

        def reached(value: int) -> int:
            try:
                return self.extent_in(self.at(value, estimates=False))
            except (BindingError, ModelError):
                return 0

        if reached(extent) == extent:
            return extent
        value = _smallest(lambda value: reached(value) >= extent)
        if value is None or reached(value) != extent:
            raise VariantError(
                f"no value of the dimension {self.name!r} gives {extent:,} {WORDS[self.letter]}"
            )
        return value


class Axes:
    """The axes of one subject, each looked for once and only where it is needed.

    ``like`` are those of another design: dimensions that set its extents are tried first.
    """

    def __init__(self, subject: Subject, like: Axes | None = None) -> None:
        self.subject = subject
        self._like = like
        self._found: dict[Letter, Axis | VariantError] = {}

    def find(self, letter: Letter) -> Axis:
        """The one dimension that sets an extent.

        Raises:
            VariantError: none does, or more than one.
        """
        if letter not in self._found:
            try:
                self._found[letter] = axis_of(self.subject, letter, self._hint(letter))
            except VariantError as error:
                self._found[letter] = error
        found = self._found[letter]
        if isinstance(found, VariantError):
            raise found
        return found

    def _hint(self, letter: Letter) -> str:
        known = None if self._like is None else self._like._found.get(letter)
        return known.name if isinstance(known, Axis) else ""


def largest_extent(report: Report, letter: Letter) -> int:
    """The largest extent of any recurrent operator, 0 where no operator has one."""
    return max((op.dims[letter] for op in report.ops if letter in op.dims), default=0)


def axis_of(subject: Subject, letter: Letter, hint: str = "") -> Axis:
    """The one dimension that sets an extent; ``hint`` is tried alone first.

    Raises:
        VariantError: none does, or more than one.
    """
    if not largest_extent(subject.report, letter):
        raise VariantError("the model has no recurrent operator whose steps are known")
    free = subject.report.bindings.dims
    if hint in free and (axis := _tried(subject, letter, hint)) is not None:
        return axis
    found = [axis for name in free if (axis := _tried(subject, letter, name)) is not None]
    found = found or list(_opened(subject, letter))
    if not found:
        fixed = _fixed_by_values(subject.report)
        mend = (
            f"as values fix the shape of {listed(fixed)}, give shapes alone"
            if fixed
            else "export the model with that dimension free"
        )
        raise VariantError(
            f"no free dimension and no single axis of an input sets the {WORDS[letter]} of the "
            f"recurrent operators: {mend}"
        )
    if len(found) > 1:
        names = " and ".join(repr(axis.name) for axis in found)
        raise VariantError(
            f"the {WORDS[letter]} of the recurrent operators hang on more than one dimension, "
            f"{names}: compare two runs of 'rnncost analyze' with --dim or --shape instead"
        )
    return found[0]


def _fixed_by_values(report: Report) -> list[str]:
    """Inputs that have no other shape than that of the value that was given for them."""
    values = report.bindings.values.items()
    return [repr(name) for name, value in values if isinstance(value, dict) and value["shape"]]


def _tried(subject: Subject, letter: Letter, name: str) -> Axis | None:
    """The axis that a dimension is, or None where it sets no such extent."""
    value = subject.report.bindings.dims[name]
    try:
        other = subject.at({name: 2 * value}, estimates=False)
    except (BindingError, ModelError):
        return None
    if len(other.ops) != len(subject.report.ops):
        return None
    pairs = enumerate(zip(subject.report.ops, other.ops, strict=True))
    ops = [n for n, (a, b) in pairs if letter in a.dims and a.dims[letter] != b.dims.get(letter)]
    if not ops or any(letter not in other.ops[number].dims for number in ops):
        return None
    return Axis(letter=letter, subject=subject, name=name, ops=tuple(ops))


def _opened(subject: Subject, letter: Letter) -> Iterator[Axis]:
    """Axes of inputs that set the extent once they are free in a copy of the model."""
    extents = {op.dims[letter] for op in subject.report.ops if letter in op.dims}
    bindings = subject.report.bindings
    model = None
    for name, shape in bindings.shapes.items():
        for number, size in enumerate(shape):
            if size not in extents or name in bindings.values:
                continue
            model = model if model is not None else load_for_change(subject.model)
            copy = with_free_axis(model, name, number)
            if copy is None:
                continue
            dims = {**bindings.dims, f"{name}.{number}": size}
            try:
                report = analysed(
                    copy, subject.setting, dims, precision=subject.precision, estimates=False
                )
            except (BindingError, ModelError):
                continue
            opened = msgspec.structs.replace(subject, model=copy, report=report)
            if report.totals != subject.report.totals:
                continue  # the copy lacks what the file says of shapes
            axis = _tried(opened, letter, f"{name}.{number}")
            if axis is not None:
                yield axis


def with_free_axis(model: Any, name: str, axis: int) -> Any | None:
    """A copy of an ``onnx.ModelProto`` in which an axis of an input has no fixed extent.

    The dimension then is called ``name.axis``. What the file says of the shapes of other
    values is dropped. None where the axis is free already, or not declared.
    """
    copy = type(model)()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        if value.name == name:
            dims = value.type.tensor_type.shape.dim
            if axis >= len(dims) or not dims[axis].HasField("dim_value"):
                return None
            dims[axis].Clear()
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        if value.type.HasField("tensor_type"):
            for dim in value.type.tensor_type.shape.dim:
                dim.Clear()
    return copy


def _smallest(holds: Callable[[int], bool]) -> int | None:
    """The smallest value from 1 on that a monotone condition holds for."""
    high = 1
    while not holds(high):
        high *= 2
        if high > LARGEST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
