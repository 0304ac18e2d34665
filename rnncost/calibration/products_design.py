"""Products, convolutions, loops and mixtures to time, for ``operators_design``."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rnncost.calibration.operator_models import Case, Extra, Given, Link, Weight

MICROSOFT = "com.microsoft"
SMALL = (4, 8)
"""The shape of what chains of small nodes work on."""


def number(value: float) -> Given:
    """A stored floating-point number."""
    return Given((value,), "float32", scalar=True)


def whole(*values: int) -> Given:
    """A stored list of integers."""
    return Given(values)


def int8_product(depth: int, columns: int) -> Link:
    """A product that quantises what comes in."""
    zero = Given((0,), "int8", scalar=True)
    return Link(
        "DynamicQuantizeMatMul",
        (Weight((depth, columns), "int8"), number(0.01), zero),
        domain=MICROSOFT,
    )


def products(second_cache_bytes: float) -> Iterator[Case]:
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
        yield Case(name=f"int8 {size}", shape=x, links=(int8_product(depth, columns),))
    # Weights of many products take turns in the caches.
    edge = 16 * round(math.sqrt(second_cache_bytes / 32) / 16)
    for rows, counts in ((1, (4, 8, 10, 12, 16, 32)), (8, (8, 16, 32))):
        for count in counts:
            yield Case(
                name=f"{count} matrices by {rows}",
                shape=(rows, edge),
                links=(Link("MatMul", (Weight((edge, edge)),)),) * count,
            )
    yield Case(name="int8 to one", shape=(400, 256), links=(int8_product(256, 1),))
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


def convolutions() -> Iterator[Case]:
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


def integer_convolutions() -> Iterator[Case]:
    """Convolutions of dynamic quantisation, of few and of many positions."""
    cases: list[tuple[tuple[int, int, int], str]] = [
        *[(shape, "int8") for shape in ((1, 128, 1), (1, 128, 8), (1, 128, 100), (8, 32, 50))],
        *[(shape, "uint8") for shape in ((1, 128, 8), (1, 128, 100))],
    ]
    for shape, dtype in cases:
        channels = shape[1]
        yield Case(
            name=f"integer {shape} {dtype}",
            shape=shape,
            dtype="uint8",
            links=(
                Link(
                    "ConvInteger",
                    (Weight((channels, channels, 3), dtype), Given((3,), "uint8", scalar=True)),
                    {"pads": [1, 1]},
                ),
            ),
        )


def loops() -> Iterator[Case]:
    """Trips through a body, and branches."""
    for trips in (2, 40):
        yield Case(name=f"{trips} trips", shape=SMALL, links=(Link("Relu"),) * 2, trips=trips)
    yield Case(name="trips of 10", shape=SMALL, links=(Link("Relu"),) * 10, trips=20)
    for count in (1, 12):
        yield Case(
            name=f"{count} branches", shape=SMALL, links=(Link("Relu"),) * count, branched=True
        )


def mixtures() -> Iterator[Case]:
    """Different nodes of a middling size one after the other, as in whole models."""
    for shape, channels in (((1, 64, 8, 40), 64), ((1, 256, 2, 26), 256)):
        links = (
            _conv(channels, channels, (1, 1)),
            Link("Add", (number(3.0),)),
            Link("Clip", (number(0.0), number(6.0))),
            Link("Mul", (number(0.9),)),
            Link("Div", (number(6.0),)),
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
            Link("Pad", (whole(0, 0, 1, 0, 0, 1),)),
            Link("Slice", (whole(1), whole(65), whole(2))),
            Link("Reshape", (whole(4, 64, 48),)),
            Link("Sigmoid"),
        )
        * 2,
    )
