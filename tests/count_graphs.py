"""Graphs built by hand for the tests of counting: operators, cells, loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rnncost.graph.dim import Dim
from rnncost.graph.ir import Carried, Graph, Op, Slab, Tensor


def weight(root: str, *shape: int, dtype: str = "float32", value: Any = None) -> Tensor:
    """A whole stored tensor."""
    slab = Slab(root, dtype, tuple((0, extent, 1) for extent in shape))
    return Tensor(root, dtype, shape, stored=(slab,), value=value)


def view(
    name: str, *slabs: Slab, shape: tuple[int, ...] | None = None, dtype: str = "float32"
) -> Tensor:
    """A stored tensor seen through operators."""
    extents = tuple(-(-(stop - start) // step) for start, stop, step in slabs[0].ranges)
    return Tensor(name, dtype, shape or extents, stored=slabs)


def activation(name: str, *shape: Dim, dtype: str = "float32") -> Tensor:
    return Tensor(name, dtype, shape)


def known(name: str, *values: int) -> Tensor:
    """A vector of integers that is known without running the model."""
    return Tensor(name, "int64", (len(values),), value=values)


class Builder:
    """Adds operators one by one; results are named after their number."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.ops: list[Op] = []

    def add(
        self,
        op_type: str,
        inputs: Sequence[Tensor | None],
        *results: Tensor | tuple[Dim, ...] | None,
        name: str | None = None,
        dtype: str = "float32",
        executions: Dim = 1,
        **attrs: Any,
    ) -> Tensor:
        """Append an operator; a result may be given by its shape. The first one is returned."""
        number = len(self.ops)
        outputs = tuple(
            r
            if r is None or isinstance(r, Tensor)
            else Tensor(f"{self.prefix}{number}.{at}", dtype, r)
            for at, r in enumerate(results)
        )
        self.ops.append(
            Op(
                name=name or f"{self.prefix}{op_type}_{number}",
                op_type=op_type,
                inputs=tuple(inputs),
                outputs=outputs,
                attrs=attrs,
                executions=executions,
            )
        )
        return next(tensor for tensor in outputs if tensor is not None)

    def loop(
        self,
        body: Graph,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor | None],
        carried: Sequence[tuple[str, str]],
        trips: Dim,
        op_type: str = "Loop",
    ) -> None:
        self.ops.append(
            Op(
                name=f"{self.prefix}{op_type}_{len(self.ops)}",
                op_type=op_type,
                inputs=tuple(inputs),
                outputs=tuple(outputs),
                trips=trips,
                body=body,
                carried=tuple(Carried(entry, leave) for entry, leave in carried),
            )
        )

    def graph(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Graph:
        return Graph(inputs=tuple(inputs), outputs=tuple(outputs), ops=tuple(self.ops))


def rows_of(tensor: Tensor) -> Dim:
    assert tensor.shape is not None
    return tensor.shape[0]


def lstm_cell(
    b: Builder, x: Tensor, h: Tensor, c: Tensor, width: int, hidden: int, weights: str = ""
) -> tuple[Tensor, Tensor]:
    """One step of an LSTM in MatMul, Add, Split and activations: the new h and c."""
    rows = rows_of(x)
    wide, narrow = (rows, 4 * hidden), (rows, hidden)
    sums = b.add(
        "Add",
        (
            b.add("MatMul", (x, weight(f"{weights}W", width, 4 * hidden)), wide),
            b.add("MatMul", (h, weight(f"{weights}R", hidden, 4 * hidden)), wide),
        ),
        wide,
    )
    sums = b.add("Add", (sums, weight(f"{weights}B", 4 * hidden)), wide)
    b.add("Split", (sums,), narrow, narrow, narrow, narrow)
    i, f, o, g = (t for t in b.ops[-1].outputs if t is not None)
    i, f, o = (b.add("Sigmoid", (gate,), narrow) for gate in (i, f, o))
    g = b.add("Tanh", (g,), narrow)
    c = b.add("Add", (b.add("Mul", (f, c), narrow), b.add("Mul", (i, g), narrow)), narrow)
    return b.add("Mul", (o, b.add("Tanh", (c,), narrow)), narrow), c


def split_lstm_cell(
    b: Builder, x: Tensor, h: Tensor, c: Tensor, width: int, hidden: int, weights: str = ""
) -> tuple[Tensor, Tensor]:
    """The same with one pair of matrices a gate."""
    narrow = (rows_of(x), hidden)
    gates = []
    for gate in "ifog":
        wx = b.add("MatMul", (x, weight(f"{weights}W{gate}", width, hidden)), narrow)
        rh = b.add("MatMul", (h, weight(f"{weights}R{gate}", hidden, hidden)), narrow)
        total = b.add("Add", (wx, rh), narrow)
        total = b.add("Add", (total, weight(f"{weights}B{gate}", hidden)), narrow)
        gates.append(b.add("Tanh" if gate == "g" else "Sigmoid", (total,), narrow))
    i, f, o, g = gates
    c = b.add("Add", (b.add("Mul", (f, c), narrow), b.add("Mul", (i, g), narrow)), narrow)
    return b.add("Mul", (o, b.add("Tanh", (c,), narrow)), narrow), c


def gru_cell(
    b: Builder, x: Tensor, h: Tensor, width: int, hidden: int, weights: str = ""
) -> Tensor:
    """One step of a GRU whose candidate multiplies r∘h: two products wait for each other."""
    rows = rows_of(x)
    wide, narrow = (rows, 2 * hidden), (rows, hidden)
    gates = b.add(
        "Add",
        (
            b.add("MatMul", (x, weight(f"{weights}Wzr", width, 2 * hidden)), wide),
            b.add("MatMul", (h, weight(f"{weights}Rzr", hidden, 2 * hidden)), wide),
        ),
        wide,
    )
    b.add("Split", (b.add("Sigmoid", (gates,), wide),), narrow, narrow)
    z, r = (t for t in b.ops[-1].outputs if t is not None)
    reset = b.add("Mul", (r, h), narrow)
    candidate = b.add(
        "Add",
        (
            b.add("MatMul", (x, weight(f"{weights}Wh", width, hidden)), narrow),
            b.add("MatMul", (reset, weight(f"{weights}Rh", hidden, hidden)), narrow),
        ),
        narrow,
    )
    n = b.add("Tanh", (candidate,), narrow)
    kept = b.add("Mul", (b.add("Sub", (known("one", 1), z), narrow), n), narrow)
    return b.add("Add", (b.add("Mul", (z, h), narrow), kept), narrow)


def rnn_cell(
    b: Builder, x: Tensor, h: Tensor, width: int, hidden: int, weights: str = ""
) -> Tensor:
    """One step of a plain RNN."""
    narrow = (rows_of(x), hidden)
    wx = b.add("MatMul", (x, weight(f"{weights}W", width, hidden)), narrow)
    rh = b.add("MatMul", (h, weight(f"{weights}R", hidden, hidden)), narrow)
    return b.add("Tanh", (b.add("Add", (wx, rh), narrow),), narrow)


def steps_of(b: Builder, x: Tensor, count: int) -> list[Tensor]:
    """The time steps of x [T, B, I]."""
    assert x.shape is not None
    shape = x.shape[1:]
    return [
        b.add("Gather", (x, Tensor(f"at{t}", "int64", (), value=(t,))), shape) for t in range(count)
    ]
