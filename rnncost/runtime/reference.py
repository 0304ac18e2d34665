"""Small fixed models: a kernel that shows the machine's speed, and a chain of cheap nodes.

They are serialised here by hand, in the few protocol-buffer fields that they need (see
onnx.proto3), since ONNX Runtime alone is needed to run them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_FLOAT = 1
_ROWS, _WIDTH = 48, 256

Value = tuple[str, tuple[int, ...]]
"""Name and shape of a float tensor."""


def reference_model() -> bytes:
    """One MatMul, a [48, 256] by b [256, 256]: bound by arithmetic, its data in the caches."""
    values = [("a", (_ROWS, _WIDTH)), ("b", (_WIDTH, _WIDTH))]
    return _model([("MatMul", "product", ("a", "b"), "c")], values, ("c", (_ROWS, _WIDTH)))


def reference_inputs() -> dict[str, np.ndarray[Any, Any]]:
    """The inputs of the reference model, the same each time."""
    import numpy as np

    generator = np.random.default_rng(0)
    shapes = {"a": (_ROWS, _WIDTH), "b": (_WIDTH, _WIDTH)}
    return {n: generator.standard_normal(s, dtype=np.float32) for n, s in shapes.items()}


def chain_model(nodes: int, inputs: int = 2) -> bytes:
    """``nodes`` times a sum of one element, each with the result before it.

    Add for two inputs, Sum for more: the result before, and the model's input again.
    """
    values = ["x", *(f"y{i}" for i in range(nodes))]
    op_type = "Add" if inputs == 2 else "Sum"
    others = ("x",) * (inputs - 1)
    chain = [(op_type, f"n{i}", (values[i], *others), values[i + 1]) for i in range(nodes)]
    return _model(chain, [("x", (1,))], (values[-1], (1,)))


def chain_inputs() -> dict[str, np.ndarray[Any, Any]]:
    """The input of a chain: zero, so that sums stay what they are."""
    import numpy as np

    return {"x": np.zeros(1, np.float32)}


def _model(
    nodes: Sequence[tuple[str, str, tuple[str, ...], str]],
    inputs: Sequence[Value],
    output: Value,
) -> bytes:
    graph = b"".join(
        [
            *(_field(1, _node(*node)) for node in nodes),
            _field(2, b"g"),
            *(_field(11, _value(*value)) for value in inputs),
            _field(12, _value(*output)),
        ]
    )
    opset = _field(1, b"") + _number(2, 13)
    return _number(1, 8) + _field(7, graph) + _field(8, opset)


def _node(op_type: str, name: str, inputs: tuple[str, ...], output: str) -> bytes:
    reads = b"".join(_field(1, name.encode()) for name in inputs)
    return (
        reads + _field(2, output.encode()) + _field(3, name.encode()) + _field(4, op_type.encode())
    )


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(_field(1, _number(1, extent)) for extent in shape)
    tensor = _number(1, _FLOAT) + _field(2, dims)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    data.append(value)
    return bytes(data)
