"""Operators built by hand for the tests of the counting rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rnncost.counting import rules
from rnncost.counting.cost import OpCost
from rnncost.counting.registry import find
from rnncost.graph.dim import Dim, Shape, evaluate, hint
from rnncost.graph.ir import Op, Slab, Tensor

assert rules.MODULES  # importing the module fills the registry

COUNTS = (
    "macs",
    "dense_macs",
    "sequential_macs",
    "multiplies",
    "adds",
    "bias_adds",
    "activations",
    "state_bytes",
    "scratch_bytes",
    "sequential_steps",
    "executed_steps",
    "lookahead_steps",
)
WORK = ("macs", "multiplies", "adds", "bias_adds", "activations")


def data(shape: Shape | None, dtype: str = "float32", value: Any = None) -> Tensor:
    """An activation."""
    return Tensor(name="x", dtype=dtype, shape=shape, value=value)


def weight(shape: tuple[int, ...], dtype: str = "float32", value: Any = None) -> Tensor:
    """A stored tensor."""
    ranges = tuple((0, extent, 1) for extent in shape)
    slab = Slab(root="w", dtype=dtype, ranges=ranges)
    return Tensor(name="w", dtype=dtype, shape=shape, stored=(slab,), value=value)


def ints(*values: int) -> Tensor:
    """A known vector of integers, as axes and lengths are given."""
    return Tensor(name="i", dtype="int64", shape=(len(values),), value=values)


def make_op(
    op_type: str,
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Shape | Tensor | None],
    **attrs: Any,
) -> Op:
    """An operator; an output may be given by its shape alone."""
    made = tuple(o if o is None or isinstance(o, Tensor) else data(o) for o in outputs)
    return Op(name=op_type, op_type=op_type, inputs=tuple(inputs), outputs=made, attrs=attrs)


def cost_of(op: Op) -> OpCost:
    """What the registered rule says."""
    found = find(op.op_type)
    assert found is not None, f"no rule for {op.op_type}"
    return found.rule(op)


def work_of(cost: OpCost) -> dict[str, Dim]:
    """The counts of arithmetic that are not zero."""
    return {name: value for name in WORK if (value := getattr(cost, name)) != 0}


def check_formulas(cost: OpCost, bindings: Mapping[str, int] | None = None) -> None:
    """Each formula, evaluated in its letters, gives the count it stands for."""
    bound = bindings or {}
    letters = {k: evaluate(v, bound) for k, v in {**cost.dims, **cost.extents}.items()}
    for name, text in cost.formulas.items():
        if name == "params":
            continue
        value = eval(text, {"__builtins__": {}}, letters)
        assert value == evaluate(getattr(cost, name), bound), (name, text, letters)


def params_by_formula(cost: OpCost) -> int:
    """The value of the formula for stored scalars."""
    letters = {k: hint(v) for k, v in cost.dims.items()}
    value = eval(cost.formulas["params"], {"__builtins__": {}}, letters)
    assert isinstance(value, int)
    return value
