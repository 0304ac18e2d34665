"""Which operators are timed: each constant of the operators' model shows in some of them.

Chains of small nodes show what a node takes, nodes of a middling size what an element
takes, and nodes of growing size where memory sets the pace. Sizes follow the second cache.
"""

from __future__ import annotations

from collections.abc import Iterator

from rnncost.calibration.operator_models import Case, Extra, Given, Link, Weight
from rnncost.calibration.products_design import (
    SMALL,
    convolutions,
    int8_product,
    integer_convolutions,
    loops,
    mixtures,
    number,
    products,
    whole,
)
from rnncost.latency.onnxruntime_cpu.operator_defaults import FOOTPRINTS

CHAIN = 24
MIDDLE = (160, 100)


def operator_cases(second_cache_bytes: float) -> list[Case]:
    """The cases to time on a machine with such a second cache."""
    return [
        *_nodes(),
        *_elements(),
        *_moves(),
        *_streams(second_cache_bytes),
        *products(second_cache_bytes),
        *convolutions(),
        *integer_convolutions(),
        *loops(),
        *mixtures(),
        *_after_products(second_cache_bytes),
    ]


_SMALL_LINKS = (
    Link("Relu"),
    Link("Sigmoid"),
    Link("Reshape", (whole(*SMALL),)),
    Link("Add", (Weight(SMALL),)),
    Link("Mul", (number(0.5),)),
    Link("Add", (Weight((8,)),)),
    Link("Clip", (number(0.0), number(6.0))),
    Link("Gather", (whole(0, 1, 2, 3),), {"axis": 0}),
    Link("Pad", (whole(0, 0, 0, 0),)),
    Link("Slice", (whole(0), whole(4), whole(0))),
    Link("Expand", (whole(*SMALL),)),
    Link("Softmax", (), {"axis": -1}),
    Link("LayerNormalization", (Weight((8,)), Weight((8,)))),
    Link("ReduceMean", (), {"axes": [1], "keepdims": 1}),
    Link("Expand", (whole(*SMALL),)),
    Link("MatMul", (Weight((8, 8)),)),
    Link("Gemm", (Weight((8, 8)), Weight((8,)))),
    Link("Tanh"),
    Link("Div", (Weight(SMALL),)),
    Link("Reshape", (whole(1, 4, 8),)),
    Link("Transpose", (), {"perm": [1, 0, 2]}),
    Link("Reshape", (whole(*SMALL),)),
)


def _nodes() -> Iterator[Case]:
    """What one node takes."""
    chains: list[tuple[str, tuple[int, ...], Link]] = [
        ("one unary", SMALL, Link("Relu")),
        ("one view", SMALL, Link("Reshape", (whole(*SMALL),))),
        ("one binary", SMALL, Link("Add", (Weight(SMALL),))),
        ("one gather", SMALL, Link("Gather", (whole(0, 1, 2, 3),), {"axis": 0})),
        ("one product", SMALL, Link("MatMul", (Weight((8, 8)),))),
        ("unary", SMALL, Link("Relu")),
        ("view", SMALL, Link("Reshape", (whole(*SMALL),))),
        ("binary", SMALL, Link("Add", (Weight(SMALL),))),
        ("scalar", SMALL, Link("Mul", (number(0.5),))),
        ("broadcast", SMALL, Link("Add", (Weight((8,)),))),
        ("copy", SMALL, Link("Expand", (whole(*SMALL),))),
        ("transpose", (8, 8), Link("Transpose", (), {"perm": [1, 0]})),
        ("slice", (8, 8), Link("Slice", (whole(0), whole(8), whole(1)))),
        ("pad", SMALL, Link("Pad", (whole(0, 0, 0, 0),))),
        ("gather", SMALL, Link("Gather", (whole(0, 1, 2, 3),), {"axis": 0})),
        ("reduce", SMALL, Link("ReduceMean", (), {"axes": [1], "keepdims": 1})),
        ("softmax", SMALL, Link("Softmax", (), {"axis": -1})),
        ("normalise", SMALL, Link("LayerNormalization", (Weight((8,)), Weight((8,))))),
        ("product", SMALL, Link("MatMul", (Weight((8, 8)),))),
        ("gemm", SMALL, Link("Gemm", (Weight((8, 8)), Weight((8,))))),
        ("einsum", (1, 4, 8), Link("Einsum", (Weight((8, 8)),), {"equation": "bij,jk->bik"})),
        ("pool", (1, 16, 4, 4), _pool("MaxPool", 3)),
        ("conv", (1, 8, 4), Link("Conv", (Weight((8, 8, 1)), Weight((8,))))),
        ("integer product", SMALL, int8_product(8, 8)),
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
            Link("QuantizeLinear", (number(0.1), Given((3,), "uint8", scalar=True))),
            Link("DequantizeLinear", (number(0.1), Given((3,), "uint8", scalar=True))),
        )
        * 8,
    )


def _after_products(second_cache_bytes: float) -> Iterator[Case]:
    """Small nodes behind a product whose weights push them out of the near caches."""
    depth = 1024
    for share in (0.6, 0.8, 1.0, 1.5, 3.0):
        columns = max(64, round(share * second_cache_bytes / (4 * depth)))
        product = (
            Link("MatMul", (Weight((depth, columns)),)),
            Link("Slice", (whole(0), whole(32), whole(1))),
            Link("Reshape", (whole(*SMALL),)),
        )
        alone = Case(name=f"product of {share:g}", shape=(1, depth), links=product)
        yield alone
        yield Case(
            name=f"mixed after {share:g}",
            shape=alone.shape,
            links=(*product, *_SMALL_LINKS),
            besides=len(product),
        )


def _elements() -> Iterator[Case]:
    """What an element takes."""
    size = MIDDLE
    four: list[tuple[str, Link]] = [
        *[(op, Link(op)) for op in ("Relu", "Sqrt", "Sigmoid", "Tanh", "Exp", "Erf", "Log")],
        ("Div", Link("Div", (Weight(size),))),
        ("Add", Link("Add", (Weight(size),))),
        ("Mul by one", Link("Mul", (number(0.9),))),
        ("Add to rows", Link("Add", (Weight((100,)),))),
        ("Mul by column", Link("Mul", (Weight((160, 1)),))),
        ("square", Link("Pow", (number(2.0),))),
        ("Softmax", Link("Softmax", (), {"axis": -1})),
        ("LayerNormalization", Link("LayerNormalization", (Weight((100,)), Weight((100,))))),
    ]
    for name, link in four:
        yield Case(name=name, shape=size, links=(link,) * 4)
    one: list[tuple[str, tuple[int, ...], Link]] = [
        ("Pow", (40, 100), Link("Pow", (number(0.7),))),
        ("Softplus", (40, 100), Link("Softplus")),
        ("Softmax of long rows", (20, 1000), Link("Softmax", (), {"axis": -1})),
        ("Less", size, Link("Less", (number(0.5),))),
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
        links=(Link("DequantizeLinear", (number(0.1), Given((3,), "uint8", scalar=True))),),
    )
    yield Case(
        name="Where",
        shape=size,
        dtype="bool",
        links=(Link("Where", (Extra(size), Extra(size))),),
    )


def _quantise() -> Link:
    return Link("QuantizeLinear", (number(0.1), Given((3,), "uint8", scalar=True)))


def _moves() -> Iterator[Case]:
    """What copies take."""
    cases: list[tuple[str, tuple[int, ...], Link]] = [
        ("matrix", (125, 128), Link("Transpose", (), {"perm": [1, 0]})),
        ("outer axes", (62, 4, 64), Link("Transpose", (), {"perm": [1, 0, 2]})),
        ("outer axes of short rows", (500, 4, 8), Link("Transpose", (), {"perm": [1, 0, 2]})),
        ("all axes", (10, 10, 160), Link("Transpose", (), {"perm": [2, 1, 0]})),
        ("slice of rows", (250, 64), Link("Slice", (whole(0), whole(32), whole(1)))),
        (
            "slice with steps",
            (250, 64),
            Link("Slice", (whole(0), whole(64), whole(1), whole(2))),
        ),
        ("split of rows", (250, 64), Link("Split", (), {"axis": 1}, 4)),
        ("padded rows", (250, 64), Link("Pad", (whole(0, 1, 0, 1),))),
        ("rows of 64", (250, 64), Link("Gather", (Given(tuple(range(250))),), {"axis": 0})),
        ("rows of 8", (2000, 8), Link("Gather", (Given(tuple(range(2000))),), {"axis": 0})),
        ("repeated rows", (1, 64), Link("Expand", (whole(250, 64),))),
        ("repeated columns", (250, 1), Link("Expand", (whole(250, 64),))),
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
        if 0.6 <= share <= 3:
            links = (Link("Sigmoid"),)
            yield Case(name=f"Sigmoid on {share:g}", shape=(rows, 128), links=links)
        extra = Extra((rows, 128))
        yield Case(name=f"Add on {share:g}", shape=(rows, 128), links=(Link("Add", (extra,)),))
