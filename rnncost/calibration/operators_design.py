"""Which operators are timed: each constant of the operators' model shows in some of them.

Chains of small nodes show what a node takes, nodes of a middling size what an element
takes, and nodes of growing size where memory sets the pace. Sizes follow the second cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from rnncost.calibration.operator_models import Case, Extra, Given, Link, Weight

FOOTPRINTS = (0.015, 0.06, 0.25, 0.6, 1.0, 1.6, 3.0)
"""Bytes that an operator touches, in sizes of the second cache."""

MICROSOFT = "com.microsoft"
CHAIN = 24
SMALL = (4, 8)
MIDDLE = (160, 100)


def operator_cases(second_cache_bytes: float) -> list[Case]:
    """The cases to time on a machine with such a second cache."""
    return [
        *_nodes(),
        *_elements(),
        *_moves(),
        *_streams(second_cache_bytes),
        *_products(second_cache_bytes),
        *_convolutions(),
        *_loops(),
        *_mixtures(),
    ]


def _number(value: float) -> Given:
    return Given((value,), "float32", scalar=True)


def _whole(*values: int) -> Given:
    return Given(values)


_SMALL_LINKS = (
    Link("Relu"),
    Link("Sigmoid"),
    Link("Reshape", (_whole(*SMALL),)),
    Link("Add", (Weight(SMALL),)),
    Link("Mul", (_number(0.5),)),
    Link("Add", (Weight((8,)),)),
    Link("Clip", (_number(0.0), _number(6.0))),
    Link("Gather", (_whole(0, 1, 2, 3),), {"axis": 0}),
    Link("Pad", (_whole(0, 0, 0, 0),)),
    Link("Slice", (_whole(0), _whole(4), _whole(0))),
    Link("Expand", (_whole(*SMALL),)),
    Link("Softmax", (), {"axis": -1}),
    Link("LayerNormalization", (Weight((8,)), Weight((8,)))),
    Link("ReduceMean", (), {"axes": [1], "keepdims": 1}),
    Link("Expand", (_whole(*SMALL),)),
    Link("MatMul", (Weight((8, 8)),)),
    Link("Gemm", (Weight((8, 8)), Weight((8,)))),
    Link("Tanh"),
    Link("Div", (Weight(SMALL),)),
    Link("Reshape", (_whole(1, 4, 8),)),
    Link("Transpose", (), {"perm": [1, 0, 2]}),
    Link("Reshape", (_whole(*SMALL),)),
)


def _nodes() -> Iterator[Case]:
    """What one node takes."""
    chains: list[tuple[str, tuple[int, ...], Link]] = [
        ("one unary", SMALL, Link("Relu")),
        ("one view", SMALL, Link("Reshape", (_whole(*SMALL),))),
        ("one binary", SMALL, Link("Add", (Weight(SMALL),))),
        ("one gather", SMALL, Link("Gather", (_whole(0, 1, 2, 3),), {"axis": 0})),
        ("one product", SMALL, Link("MatMul", (Weight((8, 8)),))),
        ("unary", SMALL, Link("Relu")),
        ("view", SMALL, Link("Reshape", (_whole(*SMALL),))),
        ("binary", SMALL, Link("Add", (Weight(SMALL),))),
        ("scalar", SMALL, Link("Mul", (_number(0.5),))),
        ("broadcast", SMALL, Link("Add", (Weight((8,)),))),
        ("copy", SMALL, Link("Expand", (_whole(*SMALL),))),
        ("transpose", (8, 8), Link("Transpose", (), {"perm": [1, 0]})),
        ("slice", (8, 8), Link("Slice", (_whole(0), _whole(8), _whole(1)))),
        ("pad", SMALL, Link("Pad", (_whole(0, 0, 0, 0),))),
        ("gather", SMALL, Link("Gather", (_whole(0, 1, 2, 3),), {"axis": 0})),
        ("reduce", SMALL, Link("ReduceMean", (), {"axes": [1], "keepdims": 1})),
        ("softmax", SMALL, Link("Softmax", (), {"axis": -1})),
        ("normalise", SMALL, Link("LayerNormalization", (Weight((8,)), Weight((8,))))),
        ("product", SMALL, Link("MatMul", (Weight((8, 8)),))),
        ("gemm", SMALL, Link("Gemm", (Weight((8, 8)), Weight((8,))))),
        ("einsum", (1, 4, 8), Link("Einsum", (Weight((8, 8)),), {"equation": "bij,jk->bik"})),
        ("pool", (1, 16, 4, 4), _pool("MaxPool", 3)),
        ("conv", (1, 8, 4), Link("Conv", (Weight((8, 8, 1)), Weight((8,))))),
        ("integer product", SMALL, _int8(8, 8)),
    ]
    for name, shape, link in chains:
        yield Case(
            name=name, shape=shape, links=(link,) * (1 if name.startswith("one ") else CHAIN)
        )
    yield Case(name="mixed", shape=SMALL, links=_SMALL_LINKS)
    shuffled = tuple([link for start in (0, 1) for link in _SMALL_LINKS[:14][start::2]])
    yield Case(name="mixed again", shape=SMALL, links=shuffled)
    yield Case(
        name="select",
        shape=SMALL,
        dtype="bool",
        links=(Link("Where", (Extra(SMALL), Extra(SMALL))),),
    )
    yield Case(
        name="split",
        shape=SMALL,
        links=(Link("Split", (), {"axis": 1}, 2), Link("Concat", (Extra((4, 4)),), {"axis": 1}))
        * 8,
    )
    yield Case(
        name="quantize",
        shape=SMALL,
        links=(
            Link("QuantizeLinear", (_number(0.1), Given((3,), "uint8", scalar=True))),
            Link("DequantizeLinear", (_number(0.1), Given((3,), "uint8", scalar=True))),
        )
        * 8,
    )


def _elements() -> Iterator[Case]:
    """What an element takes."""
    size = MIDDLE
    four: list[tuple[str, Link]] = [
        *[(op, Link(op)) for op in ("Relu", "Sqrt", "Sigmoid", "Tanh", "Exp", "Erf", "Log")],
        ("Div", Link("Div", (Weight(size),))),
        ("Add", Link("Add", (Weight(size),))),
        ("Mul by one", Link("Mul", (_number(0.9),))),
        ("Add to rows", Link("Add", (Weight((100,)),))),
        ("Mul by column", Link("Mul", (Weight((160, 1)),))),
        ("square", Link("Pow", (_number(2.0),))),
        ("Softmax", Link("Softmax", (), {"axis": -1})),
        ("LayerNormalization", Link("LayerNormalization", (Weight((100,)), Weight((100,))))),
    ]
    for name, link in four:
        yield Case(name=name, shape=size, links=(link,) * 4)
    one: list[tuple[str, tuple[int, ...], Link]] = [
        ("Pow", (40, 100), Link("Pow", (_number(0.7),))),
        ("Softplus", (40, 100), Link("Softplus")),
        ("Softmax of long rows", (20, 1000), Link("Softmax", (), {"axis": -1})),
        ("Less", size, Link("Less", (_number(0.5),))),
        ("Cast", size, Link("Cast", (), {"to": 7})),
        ("ReduceMean", size, Link("ReduceMean", (), {"axes": [1]})),
        ("ReduceMax", size, Link("ReduceMax", (), {"axes": [1]})),
        ("ReduceMean across", size, Link("ReduceMean", (), {"axes": [0]})),
        ("ArgMax", size, Link("ArgMax", (), {"axis": 1})),
        ("CumSum", size, Link("CumSum", (Given((1,), scalar=True),))),
        ("DynamicQuantizeLinear", size, Link("DynamicQuantizeLinear", outputs=3)),
        ("QuantizeLinear", size, _quantise()),
    ]
    for name, shape, link in one:
        yield Case(name=name, shape=shape, links=(link,))
    yield Case(
        name="DequantizeLinear",
        shape=size,
        dtype="uint8",
        links=(Link("DequantizeLinear", (_number(0.1), Given((3,), "uint8", scalar=True))),),
    )
    yield Case(
        name="Where",
        shape=size,
        dtype="bool",
        links=(Link("Where", (Extra(size), Extra(size))),),
    )


def _quantise() -> Link:
    return Link("QuantizeLinear", (_number(0.1), Given((3,), "uint8", scalar=True)))


def _moves() -> Iterator[Case]:
    """What copies take."""
    cases: list[tuple[str, tuple[int, ...], Link]] = [
        ("matrix", (125, 128), Link("Transpose", (), {"perm": [1, 0]})),
        ("outer axes", (62, 4, 64), Link("Transpose", (), {"perm": [1, 0, 2]})),
        ("outer axes of short rows", (500, 4, 8), Link("Transpose", (), {"perm": [1, 0, 2]})),
        ("all axes", (10, 10, 160), Link("Transpose", (), {"perm": [2, 1, 0]})),
        ("slice of rows", (250, 64), Link("Slice", (_whole(0), _whole(32), _whole(1)))),
        (
            "slice with steps",
            (250, 64),
            Link("Slice", (_whole(0), _whole(64), _whole(1), _whole(2))),
        ),
        ("split of rows", (250, 64), Link("Split", (), {"axis": 1}, 4)),
        ("padded rows", (250, 64), Link("Pad", (_whole(0, 1, 0, 1),))),
        ("rows of 64", (250, 64), Link("Gather", (Given(tuple(range(250))),), {"axis": 0})),
        ("rows of 8", (2000, 8), Link("Gather", (Given(tuple(range(2000))),), {"axis": 0})),
        ("repeated rows", (1, 64), Link("Expand", (_whole(250, 64),))),
        ("repeated columns", (250, 1), Link("Expand", (_whole(250, 64),))),
        ("joined rows", (125, 64), Link("Concat", (Extra((125, 64)),), {"axis": 1})),
        ("joined short rows", (1000, 8), Link("Concat", (Extra((1000, 8)),), {"axis": 1})),
        ("windows of 2", (1, 16, 62, 16), _pool("MaxPool", 2)),
        ("windows of 3", (1, 16, 62, 16), _pool("AveragePool", 3)),
    ]
    for name, shape, link in cases:
        yield Case(name=name, shape=shape, links=(link,))


def _pool(op_type: str, edge: int) -> Link:
    if edge == 2:
        return Link(op_type, (), {"kernel_shape": [2, 2], "strides": [2, 2]})
    return Link(op_type, (), {"kernel_shape": [edge, edge], "pads": [1, 1, 1, 1]})


def _streams(second_cache_bytes: float) -> Iterator[Case]:
    """Operators that touch ever more memory."""
    for share in FOOTPRINTS:
        rows = max(8, round(share * second_cache_bytes / 8 / 128))
        yield Case(name=f"Relu on {share:g}", shape=(rows, 128), links=(Link("Relu"),))
        rows = max(8, round(share * second_cache_bytes / 12 / 128))
        if share >= 0.6:
            links = (Link("Sigmoid"),)
            yield Case(name=f"Sigmoid on {share:g}", shape=(rows, 128), links=links)
        extra = Extra((rows, 128))
        yield Case(name=f"Add on {share:g}", shape=(rows, 128), links=(Link("Add", (extra,)),))


def _int8(depth: int, columns: int) -> Link:
    zero = Given((0,), "int8", scalar=True)
    return Link(
        "DynamicQuantizeMatMul",
        (Weight((depth, columns), "int8"), _number(0.01), zero),
        domain=MICROSOFT,
    )


def _products(second_cache_bytes: float) -> Iterator[Case]:
    """Products beyond those of recurrent layers: second operands that are computed, 8 bits."""
    for rows, depth, columns in ((1, 128, 512), (4, 300, 400), (40, 256, 512), (100, 128, 128)):
        size = f"{rows} x {depth} x {columns}"
        x = (rows, depth)
        bias = Weight((columns,))
        yield Case(
            name=f"packed {size}", shape=x, links=(Link("MatMul", (Weight((depth, columns)),)),)
        )
        yield Case(
            name=f"Gemm {size}", shape=x, links=(Link("Gemm", (Weight((depth, columns)), bias)),)
        )
        yield Case(
            name=f"plain {size}", shape=x, links=(Link("MatMul", (Extra((depth, columns)),)),)
        )
        yield Case(name=f"int8 {size}", shape=x, links=(_int8(depth, columns),))
    # Weights of many products take turns in the caches.
    edge = 16 * round(math.sqrt(second_cache_bytes / 32) / 16)
    for rows, counts in ((1, (4, 8, 10, 12, 16, 32)), (8, (8, 16, 32))):
        for count in counts:
            yield Case(
                name=f"{count} matrices by {rows}",
                shape=(rows, edge),
                links=(Link("MatMul", (Weight((edge, edge)),)),) * count,
            )
    yield Case(name="int8 to one", shape=(400, 256), links=(_int8(256, 1),))
    for batch, rows, depth, columns in ((8, 16, 64, 16), (12, 4, 32, 4), (2, 100, 64, 100)):
        extra = Extra((batch, depth, columns))
        yield Case(
            name=f"{batch} products",
            shape=(batch, rows, depth),
            links=(Link("MatMul", (extra,)),),
        )
    for groups, width, out in ((16, 32, 8), (8, 32, 64), (1, 128, 256)):
        yield Case(
            name=f"Einsum of {groups}",
            shape=(1, 100, groups, width),
            links=(
                Link("Einsum", (Weight((groups, width, out)),), {"equation": "btgi,gih->btgh"}),
            ),
        )


def _conv(
    filters: int,
    inputs: int,
    kernel: tuple[int, ...],
    groups: int = 1,
    stride: int = 1,
    pad: int = -1,
) -> Link:
    pads = [k // 2 if pad < 0 else pad for k in kernel] * 2
    return Link(
        "Conv",
        (Weight((filters, inputs // groups, *kernel)), Weight((filters,))),
        {"pads": pads, "strides": [stride] * len(kernel), "group": groups},
    )


def _weights_of(link: Link) -> tuple[int, ...]:
    first = link.operands[0]
    return first.shape if isinstance(first, Weight) else ()


def _convolutions() -> Iterator[Case]:
    """Convolutions in each kernel; chains show them without changes of layout."""
    blocked: list[tuple[tuple[int, ...], Link, tuple[int, ...]]] = [
        ((1, 16, 16, 40), _conv(16, 16, (3, 3)), (1, 3)),
        ((1, 32, 16, 40), _conv(32, 32, (3, 3)), (1,)),
        ((1, 64, 8, 40), _conv(64, 64, (3, 3)), (1, 3)),
        ((1, 64, 4, 5), _conv(64, 64, (3, 3)), (1,)),
        ((1, 64, 16, 40), _conv(64, 64, (3, 3), stride=2), (1,)),
        ((1, 16, 50, 32), _conv(16, 16, (1, 1)), (1, 4)),
        ((1, 64, 16, 40), _conv(64, 64, (1, 1)), (1, 4)),
        ((1, 96, 16, 16), _conv(96, 96, (1, 1)), (1,)),
        ((1, 128, 1, 1), _conv(128, 128, (1, 1)), (8,)),
        ((1, 32, 16, 40), _conv(32, 32, (3, 3), groups=32), (1, 4)),
        ((1, 128, 4, 20), _conv(128, 128, (5, 5), groups=128), (1, 4)),
        ((1, 3, 32, 80), _conv(16, 3, (3, 3), stride=2), (1,)),
        ((1, 1, 50, 32), _conv(16, 1, (3, 3)), (1,)),
    ]
    for shape, link, counts in blocked:
        for count in counts:
            name = f"{count} blocked {shape} {_weights_of(link)}"
            yield Case(name=name, shape=shape, links=(link,) * count, optimised=True)
    plain: list[tuple[tuple[int, ...], Link]] = [
        ((1, 1, 640), _conv(258, 1, (256,), stride=128, pad=0)),
        ((1, 129, 4), _conv(128, 129, (3,))),
        ((1, 128, 4), _conv(64, 128, (3,), stride=2)),
        ((1, 64, 1), _conv(128, 64, (3,))),
        ((1, 64, 100), _conv(64, 64, (5,))),
        ((1, 64, 100), _conv(128, 64, (1,))),
        ((1, 32, 100), _conv(32, 32, (5,), groups=32)),
        ((1, 2, 50, 64), _conv(16, 2, (3, 3), groups=2)),
    ]
    for shape, link in plain:
        name = f"columns {shape} {_weights_of(link)}"
        yield Case(name=name, shape=shape, links=(link,))
    for shape, weights, stride, groups in (
        ((1, 16, 50, 8), (16, 16, 1, 3), [1, 2], 1),
        ((1, 32, 8, 8), (32, 32, 4, 4), [2, 2], 1),
        ((1, 16, 50, 8), (16, 1, 1, 3), [1, 2], 16),
    ):
        yield Case(
            name=f"transposed {shape} {weights}",
            shape=shape,
            links=(
                Link("ConvTranspose", (Weight(weights),), {"strides": stride, "group": groups}),
            ),
        )


def _loops() -> Iterator[Case]:
    """Trips through a body."""
    for trips in (2, 40):
        yield Case(name=f"{trips} trips", shape=SMALL, links=(Link("Relu"),) * 2, trips=trips)
    yield Case(name="trips of 10", shape=SMALL, links=(Link("Relu"),) * 10, trips=20)


def _mixtures() -> Iterator[Case]:
    """Different nodes of a middling size one after the other, as in whole models."""
    for shape, channels in (((1, 64, 8, 40), 64), ((1, 256, 2, 26), 256)):
        links = (
            _conv(channels, channels, (1, 1)),
            Link("Add", (_number(3.0),)),
            Link("Clip", (_number(0.0), _number(6.0))),
            Link("Mul", (_number(0.9),)),
            Link("Div", (_number(6.0),)),
        )
        yield Case(name=f"mixed {shape}", shape=shape, links=links * 3, optimised=True)
    yield Case(
        name="mixed convolutions",
        shape=(1, 64, 60),
        links=(
            _conv(64, 64, (3,)),
            Link("Relu"),
            _conv(96, 64, (1,)),
            Link("Tanh"),
            _conv(64, 96, (1,)),
        )
        * 2,
    )
    yield Case(
        name="mixed products",
        shape=(40, 192),
        links=(
            Link("MatMul", (Weight((192, 192)),)),
            Link("Add", (Weight((192,)),)),
            Link("Tanh"),
            Link("LayerNormalization", (Weight((192,)), Weight((192,)))),
            Link("Softmax", (), {"axis": -1}),
        )
        * 3,
    )
    yield Case(
        name="mixed copies",
        shape=(4, 64, 48),
        links=(
            Link("Transpose", (), {"perm": [0, 2, 1]}),
            Link("Sqrt"),
            Link("Pad", (_whole(0, 0, 1, 0, 0, 1),)),
            Link("Slice", (_whole(1), _whole(65), _whole(2))),
            Link("Reshape", (_whole(4, 64, 48),)),
            Link("Sigmoid"),
        )
        * 2,
    )
