"""The cells of a recurrent operator, from its attributes and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnncost.along_time.activations import Activation, activations
from rnncost.along_time.cells import LETTERS, Cell, Kind
from rnncost.along_time.nodes import QUANTISED, attributes

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, np.dtype[Any]]

KINDS: dict[str, Kind] = {"LSTM": "lstm", QUANTISED: "lstm", "GRU": "gru", "RNN": "rnn"}
_DEFAULTS = {"lstm": ("Sigmoid", "Tanh", "Tanh"), "gru": ("Sigmoid", "Tanh"), "rnn": ("Tanh",)}
_DIRECTIONS = {
    "forward": ("forward",),
    "reverse": ("reverse",),
    "bidirectional": ("forward", "reverse"),
}


def directions(node: onnx.NodeProto) -> tuple[str, ...]:
    """The directions of an operator in their order: ``"forward"`` or ``"reverse"``.

    Raises:
        ValueError: its direction is none of ONNX's.
    """
    name = attributes(node).get("direction", "forward")
    if name not in _DIRECTIONS:
        raise ValueError(f"its direction {name!r} is none that ONNX knows")
    return _DIRECTIONS[name]


def cells(node: onnx.NodeProto, weights: Mapping[str, Array]) -> list[Cell]:
    """The directions of an operator as cells, in their order.

    Args:
        node: the operator.
        weights: by their ONNX names, of all directions.

    Raises:
        ValueError: an attribute is wrong, or a weight has another shape than it says.
    """
    attrs = attributes(node)
    kind = KINDS[node.op_type]
    count = len(directions(node))
    functions = _functions(attrs, kind, count)
    w, r = _matrices(weights)
    gates = len(LETTERS[kind])
    units = r.shape[-1]
    rows = gates * units
    bias = weights.get("B")
    peepholes = weights.get("P") if kind == "lstm" else None
    shapes = (w.shape[:2], r.shape, None if bias is None else bias.shape)
    if shapes[:2] != ((count, rows), (count, rows, units)) or shapes[2] not in (
        None,
        (count, 2 * rows),
    ):
        raise ValueError("its weights have other shapes than its attributes say")
    clip = attrs.get("clip")
    return [
        Cell(
            kind=kind,
            units=units,
            functions=functions[number],
            clip=None if clip is None or (kind == "rnn" and clip < 0) else float(clip),
            coupled=kind == "lstm" and bool(attrs.get("input_forget", 0)),
            linear_before_reset=bool(attrs.get("linear_before_reset", 0)),
            quantised=node.op_type == QUANTISED,
            w=_double(w[number]),
            r=_double(r[number]),
            bias_w=_bias(bias, number, rows, 0),
            bias_r=_bias(bias, number, rows, 1),
            peepholes=None if peepholes is None else _double(peepholes[number]).reshape(3, units),
        )
        for number in range(count)
    ]


def _functions(attrs: Mapping[str, Any], kind: Kind, count: int) -> list[tuple[Activation, ...]]:
    usual = _DEFAULTS[kind]
    each = len(usual)
    names = attrs.get("activations") or usual * count
    alphas, betas = attrs.get("activation_alpha", ()), attrs.get("activation_beta", ())
    # The default of an RNN lists two functions, whatever the direction.
    found = activations(names[:count] if kind == "rnn" else names, alphas, betas)
    if len(found) != each * count:
        raise ValueError(f"it lists {len(found)} activations, not {each * count}")
    return [tuple(found[at : at + each]) for at in range(0, len(found), each)]


def _matrices(weights: Mapping[str, Array]) -> tuple[Array, Array]:
    """W [D, G·H, I] and R [D, G·H, H], dequantised where they have scales.

    A quantised W is [D, I, G·H]; scales and zero points are [D] or [D, G·H].
    """
    if "W_scale" not in weights:
        return weights["W"], weights["R"]
    found = []
    for name in "WR":
        values = weights[name]
        scale = weights[f"{name}_scale"].reshape(len(values), 1, -1)
        zero = weights[f"{name}_zero_point"].reshape(len(values), 1, -1)
        found.append(((values - zero) * scale).swapaxes(1, 2))
    return found[0], found[1]


def _bias(bias: Array | None, number: int, rows: int, half: int) -> Array:
    import numpy as np

    if bias is None:
        return np.zeros(rows)
    return _double(bias[number][half * rows : (half + 1) * rows])


def _double(values: Array) -> Array:
    import numpy as np

    return np.ascontiguousarray(values, dtype=np.float64)
