"""Every rule: its work by hand, with integers and with free dimensions, and its roles."""

from __future__ import annotations

import subprocess
import sys

import pytest
from counting_examples import MOVES, NOTHING, examples
from counting_ops import COUNTS, check_formulas, cost_of, data, ints, make_op, weight, work_of

from rnncost.counting import registry, rules
from rnncost.counting.cost import KINDS, UncountableError
from rnncost.graph.dim import Dim, evaluate, hint, symbol
from rnncost.graph.ir import Op

EXAMPLES = examples(2, 5)
RECURRENT = {"RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"} | {
    "com.microsoft::DynamicQuantizeLSTM"
}


def _name(value: object) -> str:
    return value.op_type if isinstance(value, Op) else ""


@pytest.mark.parametrize(("op", "work"), EXAMPLES, ids=_name)
def test_work_reckoned_by_hand(op: Op, work: dict[str, int]) -> None:
    cost = cost_of(op)
    assert work_of(cost) == work
    assert cost.dense_macs == cost.macs
    assert cost.kind in KINDS
    assert cost.sequential_macs == cost.sequential_steps == 0
    check_formulas(cost)


def test_every_rule_has_an_example() -> None:
    assert {op.op_type for op, _ in EXAMPLES} == set(registry.registered()) - RECURRENT


def _values(n: Dim, t: Dim, bindings: dict[str, int]) -> list[dict[str, int]]:
    costs = [cost_of(op) for op, _ in examples(n, t)]
    for cost in costs:
        check_formulas(cost, bindings)
    return [{k: evaluate(getattr(c, k), bindings) for k in COUNTS} for c in costs]


@pytest.mark.parametrize(("n", "t"), [(2, 5), (3, 7), (4, 9)])
def test_free_dimensions_count_as_integers_do(n: int, t: int) -> None:
    free = _values(symbol("n", 7), symbol("t", 97), {"n": n, "t": t})
    assert free == _values(n, t, {})


def test_counts_are_never_negative() -> None:
    for empty in (0, 1):
        for op, _ in examples(empty, 5):
            cost = cost_of(op)
            for name in COUNTS:
                assert hint(getattr(cost, name)) >= 0, (op.op_type, name)


def test_only_renaming_moves_nothing() -> None:
    still = {op.op_type for op, _ in EXAMPLES if not cost_of(op).moves}
    assert still == set(NOTHING) | {"DequantizeLinear", "Transpose"}
    views = [op for op, _ in EXAMPLES if op.outputs[0] is not None and op.outputs[0].stored]
    assert {cost_of(op).kind for op in views} == {"constant"}
    assert all(cost_of(make_op(m, [data((3,))], [(3,)])).moves for m in MOVES if "Grid" not in m)


def test_packed_weights_count_each_weight() -> None:
    (op,) = [op for op, _ in EXAMPLES if op.op_type == "com.microsoft::MatMulNBits"]
    assert cost_of(op).params_of == {1: 32 * 4}


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        (make_op("MatMul", [data((2, 3)), data((4, 5))], [(2, 5)]), "3 columns .* meet 4 rows"),
        (make_op("MatMul", [data((2, 5, 3)), data((4, 3, 5))], [None]), "2 and 4 do not broadcast"),
        (make_op("MatMul", [data(()), data((4,))], [None]), "takes no scalars"),
        (make_op("Gemm", [data((2, 2, 3)), data((3, 5))], [None]), "two dimensions"),
        (make_op("Relu", [data((2,))], [data(None)]), "the shape of output 0"),
        (make_op("Relu", [data((2,))], [None]), "output 0 is missing"),
        (make_op("Conv", [data((2, 4, 5)), weight((6, 3, 3))], [(2, 6, 5)]), "w takes 3 channels"),
        (make_op("Conv", [data((4, 5)), weight((6, 4, 3))], [(6, 5)]), "x has 2 dimensions"),
        (make_op("ConvTranspose", [data((2, 4, 5)), weight((3, 6, 3))], [None]), "output 0"),
        (make_op("MaxPool", [data((2, 4, 5))], [(2, 4, 5)]), "kernel_shape is missing"),
        (make_op("CumSum", [data((2,)), data((), "int64")], [(2,)]), "axis is not known"),
        (make_op("CumSum", [data((2,)), ints(3)], [(2,)]), "axis 3 is none of 1"),
        (make_op("Softmax", [data((2,))], [(2,)], axis=2), "axis 2 is none of 1"),
        (make_op("Resize", [data((2, 4))], [(2, 8)], mode="linear", antialias=1), "antialias"),
        (make_op("RoiAlign", [data((1, 2, 3, 4))], [(1, 2, 3, 3)]), "sampling_ratio 0"),
        (
            make_op("DFT", [data((1, symbol("t", 9), 1)), None, ints(1)], [(1, 5, 2)]),
            "length is not known",
        ),
        (make_op("DFT", [data((1, 8, 1)), None, ints(2)], [(1, 5, 2)]), "axis 2"),
        (make_op("com.microsoft::MatMulNBits", [data((2, 3))], [(2, 4)]), "K and N"),
        (make_op("Attention", [data((1, 2, 6))] * 3, [None]), "number of heads"),
        (
            make_op("Attention", [data((1, 2, 5, 3)), data((1, 2, 5, 4)), data((1, 2, 5, 4))], []),
            "queries have 3 features a head, keys 4",
        ),
        (make_op("GroupNormalization", [data((1, 4, 5))], [None]), "num_groups"),
    ],
)
def test_what_cannot_be_counted_is_refused_with_the_reason(op: Op, reason: str) -> None:
    with pytest.raises(UncountableError, match=reason):
        cost_of(op)


def role(op_type: str, index: int) -> str:
    found = registry.find(op_type)
    assert found is not None
    return found.roles.get(index, found.default_role)


@pytest.mark.parametrize(
    ("op_type", "roles"),
    [
        ("LSTM", {1: "weight", 2: "weight", 3: "weight", 4: "constant", 5: "state", 6: "state"}),
        ("LSTM", {7: "weight", 8: "weight", 9: "quantization", 12: "quantization"}),
        ("com.microsoft::DynamicQuantizeLSTM", {1: "weight", 7: "weight", 8: "quantization"}),
        ("Conv", {1: "weight", 2: "weight"}),
        ("QLinearConv", {1: "quantization", 3: "weight", 4: "quantization", 8: "weight"}),
        ("MatMulInteger", {1: "weight", 3: "quantization"}),
        ("BatchNormalization", {1: "weight", 2: "weight", 3: "statistic", 4: "statistic"}),
        ("Gather", {0: "weight", 1: "constant"}),
        ("Reshape", {0: "weight", 1: "constant"}),
        ("Slice", {0: "weight", 1: "constant", 4: "constant"}),
        ("Pad", {1: "constant", 2: "constant"}),
        ("Clip", {1: "constant", 2: "constant"}),
        ("Resize", {1: "constant", 2: "constant", 3: "constant"}),
        ("Concat", {0: "weight", 5: "weight"}),
        ("DequantizeLinear", {0: "weight", 1: "quantization", 2: "quantization"}),
        ("Where", {0: "constant", 1: "weight", 2: "weight"}),
        ("PRelu", {1: "weight"}),
        ("OneHot", {1: "constant", 2: "constant"}),
        ("ReduceSum", {1: "constant"}),
        ("STFT", {2: "constant"}),
    ],
)
def test_roles_of_stored_inputs(op_type: str, roles: dict[int, str]) -> None:
    assert {index: role(op_type, index) for index in roles} == roles


def test_rules_import_nothing_heavy() -> None:
    code = (
        "import sys, rnncost.counting.rules\n"
        "heavy = {'onnx', 'numpy', 'torch', 'onnxruntime', 'dataclasses'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": ":".join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[]"
    assert len({module.__name__ for module in rules.MODULES}) == len(rules.MODULES)
