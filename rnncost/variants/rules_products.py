"""Products: what is summed over changes in both operands, what is not passes to the output."""

from __future__ import annotations

from rnncost.variants.parts import Axis, Layout, new_extent, resized
from rnncost.variants.rules_elementwise import match
from rnncost.variants.site import Site
from rnncost.variants.tables import Layouts, backward, forward

_MATMULS = (
    "MatMul", "MatMulInteger", "com.microsoft::DynamicQuantizeMatMul",
    "com.microsoft::FusedMatMul", "com.microsoft::MatMulIntegerToFloat",
    "com.microsoft::TransposeMatMul",
)  # fmt: skip
_COLUMNS = {
    "MatMulInteger": (3,),
    "com.microsoft::DynamicQuantizeMatMul": (2, 3, 4),
    "com.microsoft::MatMulIntegerToFloat": (3, 5, 6),
}
"""Inputs that have one entry a column of the result, or one for all."""
_GEMMS = ("Gemm", "com.microsoft::FusedGemm")
_CONVOLUTIONS = ("Conv", "ConvInteger", "com.microsoft::FusedConv")


def _agree(site: Site, a: tuple[int, int], b: tuple[int, int]) -> None:
    """Let one (input, axis) change along with another that it is multiplied with."""
    first, second = site.axis(*a), site.axis(*b)
    if first is not None:
        if second is None or new_extent(second) != new_extent(first):
            site.conform_axis(*b, first)
    elif second is not None:
        site.conform_axis(*a, second)


def _inner_axes(site: Site) -> tuple[int, int]:
    """The summed axes of A and B, counted from the last."""
    left = -2 if site.attr("transA", 0) and len(site.shape(0)) > 1 else -1
    right = -1 if site.attr("transB", 0) or len(site.shape(1)) == 1 else -2
    return left, right


def _outer_axes(site: Site) -> tuple[int | None, int | None]:
    """The axes of A and B that the result keeps beside the batch; None for a vector."""
    left, right = _inner_axes(site)
    return (
        None if len(site.shape(0)) == 1 else -3 - left,
        None if len(site.shape(1)) == 1 else -3 - right,
    )


@forward(*_MATMULS)
def matmul(site: Site) -> Layouts:
    """A [..., M, K] and B [..., K, N] give [..., M, N]; K changes in both."""
    if site.attr("transBatchA", 0) or site.attr("transBatchB", 0):
        site.fail("its batch axes are transposed")
    left, right = _inner_axes(site)
    _agree(site, (0, left), (1, right))
    rows, columns = _outer_axes(site)
    out = site.out_shape()
    ends = [end for end in (rows, columns) if end is not None]
    batch = len(out) - len(ends)
    axes: list[Axis | None] = []
    for at in range(batch):
        aligned = [
            site.axis(index, at - batch - 2)
            for index in (0, 1)
            if len(site.shape(index)) >= batch - at + 2
        ]
        axes.append(next((axis for axis in aligned if axis is not None), None))
    for index in (0, 1):
        if len(site.shape(index)) > 2:
            match(site, index, tuple(axes), skip=2)
    if rows is not None:
        axes.append(site.axis(0, rows))
    if columns is not None:
        axes.append(site.axis(1, columns))
        _columns(site, site.axis(1, columns))
    return [tuple(axes)]


def _columns(site: Site, axis: Axis | None) -> None:
    for index in _COLUMNS.get(site.op, ()):
        if site.has(index) and site.shape(index) not in ((), (1,)):
            site.conform_axis(index, len(site.shape(index)) - 1, axis)


@backward(*_MATMULS)
def matmul_back(site: Site, output: int, layout: Layout) -> None:
    rows, columns = _outer_axes(site)
    rest = list(layout)
    if columns is not None:
        site.conform_axis(1, columns, rest.pop())
    if rows is not None:
        site.conform_axis(0, rows, rest.pop())
    if len(site.shape(0)) == len(rest) + 2:
        match(site, 0, tuple(rest), skip=2)


@forward(*_GEMMS)
def gemm(site: Site) -> Layouts:
    """A [M, K] and B [K, N], or their transposes, and C that broadcasts to [M, N]."""
    left, right = _inner_axes(site)
    _agree(site, (0, left), (1, right))
    out = (site.axis(0, -3 - left), site.axis(1, -3 - right))
    if site.has(2):
        match(site, 2, out)
    return [out]


@backward(*_GEMMS)
def gemm_back(site: Site, output: int, layout: Layout) -> None:
    left, right = _inner_axes(site)
    site.conform_axis(0, -3 - left, layout[0])
    site.conform_axis(1, -3 - right, layout[1])


@forward(*_CONVOLUTIONS)
def conv(site: Site) -> Layouts:
    """X [N, C, ...] and W [M, C/groups, ...] give [N, M, ...]."""
    channels = site.axis(0, 1)
    groups = site.attr("group", 1)
    bias = 2 if site.op != "ConvInteger" else len(site.inputs)
    if channels is not None:
        count = site.shape(0)[1]
        if groups == 1:
            site.conform_axis(1, 1, channels)
        elif groups == count == site.shape(1)[0]:
            site.conform_axis(1, 0, channels)
            site.attrs["group"] = new_extent(channels)
        elif new_extent(channels) % groups == 0:
            site.conform_axis(1, 1, resized(count // groups, new_extent(channels) // groups))
        else:
            site.fail(f"{new_extent(channels)} channels do not divide into {groups} groups")
    filters = site.axis(1, 0)
    if site.has(bias):
        site.conform_axis(bias, 0, filters)
    return [_convolved(site, filters)]


def _convolved(site: Site, filters: Axis | None) -> Layout:
    """Batch as it comes, channels by the filters, positions by inference."""
    (auto,) = site.auto()
    if auto is None:
        site.fail()
    return (site.axis(0, 0), filters, *auto[2:])


@backward(*_CONVOLUTIONS)
def conv_back(site: Site, output: int, layout: Layout) -> None:
    if any(axis is not None for axis in layout[2:]):
        site.fail("its positions would change with another value")
    site.conform_axis(0, 0, layout[0])
    if site.attr("group", 1) == 1:
        site.conform_axis(1, 0, layout[1])
    elif site.attr("group", 1) == site.shape(0)[1] == site.shape(1)[0]:
        site.conform_axis(0, 1, layout[1])
    else:
        site.fail("it has groups of channels")


@forward("ConvTranspose")
def conv_transpose(site: Site) -> Layouts:
    """X [N, C, ...] and W [C, M/groups, ...] give [N, M, ...]."""
    if site.attr("group", 1) != 1:
        site.fail("it has groups of channels")
    _agree(site, (0, 1), (1, 0))
    filters = site.axis(1, 1)
    if site.has(2):
        site.conform_axis(2, 0, filters)
    return [_convolved(site, filters)]


@forward("Einsum")
def einsum(site: Site) -> Layouts:
    """Each index is one axis wherever it stands."""
    operands, result = _indices(site)
    found: dict[str, Axis] = {}
    for number, letters in enumerate(operands):
        for at, letter in enumerate(letters):
            axis = site.axis(number, at)
            if axis is not None:
                found.setdefault(letter, axis)
    for number, letters in enumerate(operands):
        layout = [
            found.get(letter) if site.shape(number)[at] != 1 or site.axis(number, at) else None
            for at, letter in enumerate(letters)
        ]
        site.conform(number, tuple(layout))
    return [tuple([found.get(letter) for letter in result])]


@backward("Einsum")
def einsum_back(site: Site, output: int, layout: Layout) -> None:
    operands, result = _indices(site)
    wanted = {letter: axis for letter, axis in zip(result, layout, strict=True) if axis is not None}
    for number, letters in enumerate(operands):
        own = site.layout(number) or (None,) * len(letters)
        site.conform(
            number, tuple([wanted.get(x, axis) for x, axis in zip(letters, own, strict=True)])
        )


def _indices(site: Site) -> tuple[list[str], str]:
    """The indices of each operand and of the result, one character an axis."""
    equation = str(site.attr("equation", "")).replace(" ", "")
    if "." in equation:
        site.fail("its equation has an ellipsis")
    left, arrow, result = equation.partition("->")
    if not arrow:
        once = [c for c in sorted(set(left) - {","}) if left.count(c) == 1]
        result = "".join(once)
    return left.split(","), result


@forward("LSTM", "GRU", "RNN", "com.microsoft::DynamicQuantizeLSTM")
def recurrent(site: Site) -> Layouts:
    """A layer that stays as it is takes the width of X into W, and passes the batch on."""
    layout = site.layout(0)
    batch_first = bool(site.attr("layout", 0))
    if layout is not None:
        site.conform_axis(1, 1 if site.op.startswith("com.") else 2, layout[2])
    steps, batch = (layout or (None,) * 3)[:2]
    if batch_first:
        steps, batch = batch, steps
    for index in (5, 6):
        states = site.layout(index)
        if states is not None and any(a is not None for a in (*states[:1], *states[2:])):
            site.fail("its initial state has to keep its size")
    state = (batch, None, None) if batch_first else (None, batch, None)
    sequence = (batch, steps, None, None) if batch_first else (steps, None, batch, None)
    return [sequence, state, state][: len(site.old)]
