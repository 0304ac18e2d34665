"""Matrix products, convolutions and contractions against loops, NumPy and torch's counter."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from counting_ops import check_formulas, cost_of, data, make_op, weight
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rnncost.counting.cost import UncountableError
from rnncost.counting.formula import letter, term
from rnncost.graph.dim import symbol

SIZES = st.integers(1, 4)


@settings(max_examples=200, deadline=None)
@given(a=st.lists(SIZES, min_size=1, max_size=4), b=st.lists(SIZES, min_size=1, max_size=4))
def test_matmul_macs_are_the_outputs_times_the_summed_extent(a: list[int], b: list[int]) -> None:
    try:
        out = np.matmul(np.ones(a), np.ones(b))
    except ValueError:
        with pytest.raises(UncountableError):
            cost_of(make_op("MatMul", [data(tuple(a)), data(tuple(b))], [None]))
        return
    # Ones: every output is the number of its products.
    cost = cost_of(make_op("MatMul", [data(tuple(a)), data(tuple(b))], [out.shape]))
    assert cost.macs == int(out.sum())
    check_formulas(cost)


def _loop_macs(equation: str, arrays: list[np.ndarray]) -> tuple[int, int, int, np.ndarray]:
    """MACs, multiplies and adds of contracting pair by pair from the left, by counting.

    An index that only one operand has, and the result does not, is summed first.
    """
    left, _, right = equation.partition("->")
    operands = left.split(",")
    extent = {
        c: n
        for labels, a in zip(operands, arrays, strict=True)
        for c, n in zip(labels, a.shape, strict=True)
    }
    macs = multiplies = adds = 0

    def summed(labels: str, array: np.ndarray, others: list[str]) -> tuple[str, np.ndarray]:
        nonlocal adds
        distinct = "".join(dict.fromkeys(labels))
        array = np.einsum(f"{labels}->{distinct}", array)
        kept = "".join(c for c in distinct if c in right or any(c in o for o in others))
        result = np.einsum(f"{distinct}->{kept}", array)
        adds += array.size - result.size
        return kept, result

    labels, value = summed(operands[0], arrays[0], operands[1:])
    for at in range(1, len(operands)):
        later = operands[at + 1 :]
        other, array = summed(operands[at], arrays[at], [labels, *later])
        union = "".join(dict.fromkeys(labels + other))
        kept = "".join(c for c in union if c in right or any(c in o for o in later))
        result = np.zeros([extent[c] for c in kept])
        for index in itertools.product(*(range(extent[c]) for c in union)):
            where = dict(zip(union, index, strict=True))
            product = value[tuple(where[c] for c in labels)] * array[tuple(where[c] for c in other)]
            result[tuple(where[c] for c in kept)] += product
            if kept == union:
                multiplies += 1
            else:
                macs += 1
        labels, value = kept, result
    return macs, multiplies, adds, np.einsum(f"{labels}->{right}", value)


@settings(max_examples=150, deadline=None)
@given(
    operands=st.lists(st.text("abcd", min_size=1, max_size=3), min_size=1, max_size=3),
    extents=st.lists(st.integers(1, 3), min_size=4, max_size=4),
    data_=st.data(),
)
def test_einsum_counts_equal_those_of_loops(
    operands: list[str], extents: list[int], data_: st.DataObject
) -> None:
    used = sorted(set("".join(operands)))
    result = "".join(data_.draw(st.lists(st.sampled_from(used), unique=True)))
    equation = ",".join(operands) + "->" + result
    size = dict(zip("abcd", extents, strict=True))
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=[size[c] for c in labels]) for labels in operands]
    macs, multiplies, adds, value = _loop_macs(equation, arrays)
    np.testing.assert_allclose(value, np.einsum(equation, *arrays), atol=1e-9)
    cost = cost_of(
        make_op("Einsum", [data(a.shape) for a in arrays], [value.shape], equation=equation)
    )
    assert (cost.macs, cost.multiplies, cost.adds) == (macs, multiplies, adds)
    check_formulas(cost)


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("btgi,gih->btgh", [(1, 100, 8, 16), (8, 16, 32)], 409600),
        ("ij,jk", [(2, 3), (3, 4)], 24),
        ("...ij,...jk->...ik", [(5, 1, 2, 3), (7, 3, 4)], 5 * 7 * 24),
        ("i j , j k -> i k", [(2, 3), (3, 4)], 24),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], 24 + 40),
        ("ii->i", [(3, 3)], 0),
        ("i,j->ij", [(3,), (4,)], 0),
    ],
)
def test_einsum_equations(equation: str, shapes: list[tuple[int, ...]], macs: int) -> None:
    out = np.einsum(equation, *(np.ones(s) for s in shapes))
    cost = cost_of(make_op("Einsum", [data(s) for s in shapes], [out.shape], equation=equation))
    assert cost.macs == macs
    check_formulas(cost)


@pytest.mark.parametrize(
    ("equation", "shapes", "reason"),
    [
        ("ij,jk->ik", [(2, 3)], "has 2 operands, the operator 1"),
        ("ij,jk->ik", [(2, 3), (4, 5)], "index 'j' has 3 and 4 elements"),
        ("ijk,k->ij", [(2, 3), (3,)], "an operand of .* has 2 dimensions"),
        ("i1,j->ij", [(2, 3), (3,)], "not an equation of letters"),
        ("ij->ik", [(2, 3)], "an index of no operand"),
        ("", [(2,)], "has 1 dimensions"),
    ],
)
def test_faulty_equations_are_refused(
    equation: str, shapes: list[tuple[int, ...]], reason: str
) -> None:
    with pytest.raises(UncountableError, match=reason):
        cost_of(make_op("Einsum", [data(s) for s in shapes], [None], equation=equation))


@settings(max_examples=60, deadline=None)
@given(
    rank=st.integers(1, 2),
    batch=st.integers(1, 2),
    groups=st.integers(1, 2),
    c=st.integers(1, 2),
    m=st.integers(1, 2),
    data_=st.data(),
)
def test_conv_macs_equal_a_loop_over_outputs_and_taps(
    rank: int, batch: int, groups: int, c: int, m: int, data_: st.DataObject
) -> None:
    def draw(low: int, high: int) -> list[int]:
        return data_.draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    size, kernel, stride, pad = draw(1, 6), draw(1, 3), draw(1, 2), draw(0, 1)
    y = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, stride, pad, strict=True)]
    assume(min(y) > 0)
    macs = 0
    for _, group, _, *_ in itertools.product(
        range(batch), range(groups), range(m), *(range(n) for n in y)
    ):
        channels = range(group * c, (group + 1) * c)
        macs += len(channels) * sum(1 for _ in itertools.product(*(range(k) for k in kernel)))
    op = make_op(
        "Conv",
        [data((batch, groups * c, *size)), weight((groups * m, c, *kernel))],
        [(batch, groups * m, *y)],
        group=groups,
    )
    assert cost_of(op).macs == macs


@pytest.mark.torch
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        ((2, 4, 9), (6, 4, 3), {}),
        ((2, 4, 9), (6, 4, 3), {"stride": 2, "padding": 1}),
        ((1, 4, 9, 7), (6, 4, 3, 2), {"dilation": 2}),
        ((1, 3, 5, 6, 4), (2, 3, 2, 2, 2), {"stride": (1, 2, 1)}),
    ],
)
def test_conv_macs_equal_those_torch_counts(
    x: tuple[int, ...], w: tuple[int, ...], options: dict[str, Any], transposed: bool
) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    name = f"conv{'_transpose' if transposed else ''}{len(x) - 2}d"
    if transposed:
        w = (w[1], w[0], *w[2:])
    function = getattr(torch.nn.functional, name)
    with FlopCounterMode(display=False) as counter:
        y = function(torch.zeros(x), torch.zeros(w), **options)
    op = make_op("ConvTranspose" if transposed else "Conv", [data(x), weight(w)], [tuple(y.shape)])
    assert 2 * cost_of(op).macs == counter.get_total_flops()


@pytest.mark.torch
@pytest.mark.parametrize("causal", [False, True])
def test_attention_macs_equal_those_torch_counts(causal: bool) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    q, kv = (2, 4, 7, 8), (2, 4, 9, 8)
    math_kernel = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with math_kernel, FlopCounterMode(display=False) as counter:
        torch.nn.functional.scaled_dot_product_attention(
            torch.zeros(q), torch.zeros(kv), torch.zeros(kv), is_causal=causal
        )
    op = make_op("Attention", [data(q), data(kv), data(kv)], [q], is_causal=int(causal))
    assert 2 * cost_of(op).macs == counter.get_total_flops()


# Dense matrix work of nodes of published models, counted from the shapes that ONNX Runtime
# executed: df_dec, enc and erb_dec of livekit-plugins-hush 0.3.3 for 100 frames, and the int8
# models of text2tashkeel 0.1.0 for 40 characters.
EXECUTED = {
    "df_dec Einsum": (16793600, [((8, 16), (8, 16, 32)), ((1, 256), (1, 256, 640))]),
    "enc Einsum": (
        6963200,
        [((16, 32), (16, 32, 8)), ((1, 128), (1, 128, 256)), ((1, 256), (1, 256, 128))],
    ),
    "erb_dec Einsum": (6553600, [((1, 128), (1, 128, 256)), ((1, 256), (1, 256, 128))]),
}


@pytest.mark.parametrize("name", EXECUTED)
def test_einsums_of_real_models(name: str) -> None:
    macs, layers = EXECUTED[name]
    total = 0
    for groups, w in layers:
        op = make_op(
            "Einsum",
            [data((1, 100, *groups)), weight(w)],
            [(1, 100, w[0], w[2])],
            equation="btgi,gih->btgh",
        )
        cost = cost_of(op)
        assert isinstance(cost.macs, int)
        total += cost.macs
    assert total == macs


def test_transposed_convolutions_of_a_real_model() -> None:
    total = 0
    for width in (8, 16):
        op = make_op(
            "ConvTranspose",
            [data((1, 16, 100, width)), weight((16, 1, 1, 3))],
            [(1, 16, 100, 2 * width)],
            group=16,
            strides=(1, 2),
        )
        cost = cost_of(op)
        assert isinstance(cost.macs, int)
        total += cost.macs
    assert total == 115200


@pytest.mark.parametrize(
    ("macs", "products"),
    [
        # Additive attention scores each pair of 40 positions.
        (22097920, [((40,), 512), ((40,), 512), ((40, 40), 1), ((40,), 15)]),
        (1495040, [((40,), 73)]),
        (1556480, [((40,), 1), ((40,), 75)]),
    ],
)
def test_integer_products_of_real_models(
    macs: int, products: list[tuple[tuple[int, ...], int]]
) -> None:
    total = 0
    for rows, n in products:
        x = data((1, *rows, 512), "uint8")
        op = make_op("MatMulInteger", [x, weight((512, n), "uint8")], [(1, *rows, n)])
        cost = cost_of(op)
        assert isinstance(cost.macs, int)
        total += cost.macs
    assert total == macs


@pytest.mark.parametrize(("macs", "layers"), [(157286400, 3), (94371840, 2)])
def test_quantised_layers_of_real_models(macs: int, layers: int) -> None:
    total = 0
    for at in range(layers):
        i = 128 if at == 0 else 512
        op = make_op(
            "com.microsoft::DynamicQuantizeLSTM",
            [
                data((40, 1, i)),
                weight((2, i, 1024), "int8"),
                weight((2, 256, 1024), "int8"),
                weight((2, 2048)),
            ],
            [(40, 2, 1, 256)],
            direction="bidirectional",
            hidden_size=256,
        )
        cost = cost_of(op)
        assert isinstance(cost.macs, int)
        total += cost.macs
    assert total == macs


@given(values=st.lists(st.integers(1, 9), min_size=4, max_size=4))
def test_terms_keep_number_and_text_together(values: list[int]) -> None:
    a, b, c, d = (letter(n, v) for n, v in zip("abcd", values, strict=True))
    given_letters = dict(zip("abcd", values, strict=True))
    for made in (
        a + b * c,
        (a + b) * c,
        a * (b + c) * d,
        a - (b - c),
        a - (b + c) - d,
        (a + b) // c,
        a * (b // c),
        a // (b * c),
        (a * b) // (c + d) * d,
        2 * a + 3,
        7 - a * b,
        0 * a + b,
        a * 1 * b,
        a + 0 - 0,
        (a - b) * (c - d),
        term(3) * a,
        a // 1,
    ):
        assert eval(made.text, {}, given_letters) == made.value
    assert (1 * a).text == "a"
    assert (0 + a).text == "a"
    assert math.prod(values) == (a * b * c * d).value


def test_terms_take_free_dimensions() -> None:
    t, h = letter("T", symbol("seq", 9)), letter("H", 4)
    made = t * 4 * h * (h + 1)
    assert (str(made.value), made.text) == ("80*seq", "T*4*H*(H+1)")
    assert repr(made) == "Term('T*4*H*(H+1)', 80*seq)"
