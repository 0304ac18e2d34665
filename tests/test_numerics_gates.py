"""Gates that are computed anew give the runtime's own outputs, and gradients their slopes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numerics_models import GATES, layer_model, weights
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

import rnncost
from rnncost.along_time import layers
from rnncost.along_time.activations import Activation
from rnncost.along_time.cells import Cell, forward, pull_back
from rnncost.along_time.sequences import TOLERANCE

FUNCTIONS = [
    *("Sigmoid", "Tanh", "Relu", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh"),
    *("HardSigmoid", "Elu", "Softsign", "Softplus"),
]
EACH = {"LSTM": 3, "GRU": 2, "RNN": 1}
SMALL = st.integers(1, 4)
PARAMETER = st.sampled_from([0.1, 0.5, 0.9])


@st.composite
def cases(draw: st.DrawFn) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A model of one recurrent operator with any attributes, and its inputs."""
    cell = draw(st.sampled_from(list(GATES)))
    steps, batch, inputs, units = draw(st.integers(1, 9)), draw(SMALL), draw(SMALL), draw(SMALL)
    direction = draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    count = 2 if direction == "bidirectional" else 1
    seed = draw(st.integers(0, 10**6))
    # Small weights, so that functions without bounds do not grow beyond all numbers.
    stored = weights(cell, inputs, units, count, seed=seed, scale=0.25)
    optional = [name for name in ("B", "P") if name in stored and draw(st.booleans())]
    stored = {name: stored[name] for name in ("W", "R", *optional)}
    generator = np.random.default_rng(seed + 1)

    def drawn(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape).astype(np.float32)

    feed = {"X": drawn(steps, batch, inputs)}
    if draw(st.booleans()):
        # ONNX Runtime's RNN reads memory that is not its own for a row without steps.
        least = 0 if cell != "RNN" else 1
        feed["sequence_lens"] = generator.integers(least, steps + 1, batch).astype(np.int32)
    if draw(st.booleans()):
        feed["initial_h"] = drawn(count, batch, units)
        if cell == "LSTM" and draw(st.booleans()):
            feed["initial_c"] = drawn(count, batch, units)
    attributes: dict[str, Any] = {"hidden_size": units, "direction": direction}
    if draw(st.booleans()):
        attributes["clip"] = draw(st.sampled_from([0.3, 1.0]))
    if cell == "LSTM" and draw(st.booleans()):
        attributes["input_forget"] = 1
    if cell == "GRU" and draw(st.booleans()):
        attributes["linear_before_reset"] = 1
    if draw(st.booleans()):
        names = draw(st.lists(st.sampled_from(FUNCTIONS), min_size=EACH[cell], max_size=EACH[cell]))
        attributes["activations"] = names * count
        if draw(st.booleans()):
            number = EACH[cell] * count
            parameters = st.lists(PARAMETER, min_size=number, max_size=number)
            attributes["activation_alpha"] = draw(parameters)
            attributes["activation_beta"] = draw(parameters)
    wanted = draw(st.sampled_from([("Y",), ("Y_h",), ("Y", "Y_h")]))
    shapes = {name: tuple(value.shape) for name, value in feed.items()}
    return layer_model(cell, stored, shapes, wanted, **attributes), feed


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_outputs_are_reproduced_whatever_the_attributes(
    case: tuple[onnx.ModelProto, dict[str, np.ndarray]],
) -> None:
    model, feed = case
    if not feed.get("sequence_lens", np.ones(1)).any():
        return  # nothing runs at all
    result = rnncost.numerics(model, data=feed)
    assert result.not_analysed == []
    assert result.inputs.source == "given"
    for layer in result.layers:
        assert layer.withheld == ""
        assert layer.largest_difference is not None
        assert layer.largest_difference <= TOLERANCE
        lengths = feed.get("sequence_lens", np.full(feed["X"].shape[1], len(feed["X"])))
        assert layer.sequences == np.count_nonzero(lengths)
        assert layer.steps == lengths.max()
        assert layer.gradient is not None
        assert (layer.memory is None) == (layer.op_type == "RNN")
    assert str(result)


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("weight", ["W", "R", "B"])
def test_wrong_equations_are_found_and_withheld(
    cell: str, weight: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one weight a little off nothing is told of the layer but its prior."""
    model = layer_model(cell, weights(cell, 2, 3), {"X": (5, 1, 2)}, hidden_size=3)
    right = rnncost.numerics(model)
    assert right.layers[0].withheld == ""
    read = layers.cells

    def wrong(node: onnx.NodeProto, stored: dict[str, np.ndarray]) -> list[Cell]:
        return read(node, stored | {weight: stored[weight] + np.float32(1e-3)})

    monkeypatch.setattr("rnncost.along_time.measure.cells", wrong)
    result = rnncost.numerics(model)
    (layer,) = result.layers
    assert "differ from ONNX Runtime's by" in layer.withheld
    assert layer.largest_difference is not None
    assert TOLERANCE < layer.largest_difference < 0.1
    assert layer.memory is None
    assert layer.gradient is None
    assert layer.prior is not None
    assert layer.withheld in str(result).replace("\n    ", " ")


def test_outputs_that_are_not_finite_are_withheld() -> None:
    stored = weights("RNN", 2, 3, scale=3.0)
    model = layer_model(
        "RNN",
        stored,
        {"X": (400, 1, 2)},
        hidden_size=3,
        activations=["Affine"],
        activation_alpha=[9.0],
    )
    (layer,) = rnncost.numerics(model).layers
    assert layer.withheld == "its outputs are not finite"
    assert layer.largest_difference is None
    assert layer.gradient is None


@pytest.mark.parametrize("cell", GATES)
def test_batch_first_layers_are_those_with_time_first(cell: str) -> None:
    """``layout`` 1, which ONNX Runtime itself refuses."""
    stored = weights(cell, 2, 3)
    states = ("initial_h", "initial_c") if cell == "LSTM" else ("initial_h",)
    time_first = {"X": (6, 4, 2), **dict.fromkeys(states, (1, 4, 3))}
    batch_first = {"X": ("B", 6, 2), **dict.fromkeys(states, ("B", 1, 3))}
    generator = np.random.default_rng(0)
    feed = {n: generator.standard_normal(s).astype(np.float32) for n, s in time_first.items()}
    turned = {name: value.swapaxes(0, 1) for name, value in feed.items()}
    attributes: dict[str, Any] = {"hidden_size": 3}
    if cell == "GRU":
        attributes["linear_before_reset"] = 1
    one = layer_model(cell, stored, time_first, ("Y", "Y_h"), **attributes)
    other = layer_model(cell, stored, batch_first, ("Y", "Y_h"), layout=1, **attributes)
    expected, found = rnncost.numerics(one, data=feed), rnncost.numerics(other, data=turned)
    assert found.layers[0].withheld == ""
    assert found.layers == expected.layers
    # What runs is the batch-first model as onnx's own implementation sees it.
    from rnncost.along_time.layout import time_first as rewritten
    from rnncost.runtime.session import create_session

    # That of older onnx packages takes a batch of one row only, and has another Y_h.
    first = {name: value[:1] for name, value in turned.items()}
    outputs = create_session(rewritten(other).SerializeToString()).run(None, first)
    own = ReferenceEvaluator(other).run(None, first)
    np.testing.assert_allclose(outputs[0], own[0], atol=1e-5)


@st.composite
def steps_of_cells(draw: st.DrawFn) -> tuple[Cell, int]:
    kind = draw(st.sampled_from(["lstm", "gru", "rnn"]))
    units, inputs = draw(SMALL), draw(SMALL)
    seed = draw(st.integers(0, 10**6))
    found = weights(kind.upper(), inputs, units, seed=seed)
    functions = [
        Activation(name.lower(), 0.7, 0.4)
        for name in draw(
            st.lists(
                st.sampled_from(FUNCTIONS), min_size=EACH[kind.upper()], max_size=EACH[kind.upper()]
            )
        )
    ]
    rows = GATES[kind.upper()] * units
    cell = Cell(
        kind=kind,
        units=units,
        functions=tuple(functions),
        clip=draw(st.sampled_from([None, 0.8])),
        coupled=kind == "lstm" and draw(st.booleans()),
        linear_before_reset=draw(st.booleans()),
        quantised=False,
        w=found["W"][0].astype(float),
        r=found["R"][0].astype(float),
        bias_w=found["B"][0, :rows].astype(float),
        bias_r=found["B"][0, rows:].astype(float),
        peepholes=found["P"].reshape(3, units).astype(float)
        if kind == "lstm" and draw(st.booleans())
        else None,
    )
    return cell, seed


@settings(max_examples=100, deadline=None)
@given(steps_of_cells())
def test_a_gradient_pulled_back_is_that_of_the_equations(case: tuple[Cell, int]) -> None:
    """Against differences of the equations themselves, for a random state and direction."""
    cell, seed = case
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((1, 1, cell.w.shape[1]))
    width = 2 * cell.units if cell.kind == "lstm" else cell.units
    state, v, direction = generator.standard_normal((3, width))

    def after(values: np.ndarray, rows: int = 0) -> tuple[np.ndarray, Any]:
        h = values[: cell.units][None, None]
        c = values[cell.units :][None] if cell.kind == "lstm" else None
        block = forward(cell, x, h, c, np.ones((1, 1), bool), rows)
        parts = [block.h[0, 0]] if block.c is None else [block.h[0, 0], block.c[0, 0]]
        return np.concatenate(parts), tuple(factor[0] for factor in block.factors)

    _, factors = after(state, rows=1)
    back = pull_back(cell, factors, v[None, None])[0, 0]
    slopes = []
    for size in (1e-6, -1e-6):
        change = after(state + size * direction)[0] - after(state)[0]
        slopes.append(float(v @ change) / size)
    if not math.isclose(*slopes, rel_tol=1e-3, abs_tol=1e-5):
        return  # a kink of an activation or of the clip lies right here
    assert float(back @ direction) == pytest.approx(sum(slopes) / 2, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_slopes_and_logarithms_of_activations(name: str) -> None:
    function = Activation(name.lower(), 0.7, 0.4)
    x = np.linspace(-3.003, 3.01, 100)
    slope = (function(x + 1e-6) - function(x - 1e-6)) / 2e-6
    np.testing.assert_allclose(function.slope(x), slope, atol=1e-4)
    value = function(x)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(function.log_magnitude(x), np.log(np.abs(value)), atol=1e-9)


def test_the_logarithm_of_an_open_sigmoid_keeps_its_digits() -> None:
    (log,) = Activation("sigmoid").log_magnitude(np.array([50.0]))
    assert log == pytest.approx(-math.exp(-50), rel=1e-9)
    (log,) = Activation("sigmoid").log_magnitude(np.array([-2000.0]))
    assert log == -2000.0


def quantised(batch: int, lengths: list[int] | None, per_channel: bool) -> onnx.ModelProto:
    """A DynamicQuantizeLSTM of both directions."""
    stored = weights("LSTM", 3, 4, 2)
    made: dict[str, np.ndarray] = {"B": stored["B"]}
    for name in "WR":
        values = stored[name].swapaxes(1, 2)
        axes = (1,) if per_channel else (1, 2)
        scale = (np.abs(values).max(axes) / 127).astype(np.float32)
        wide = scale[:, None] if per_channel else scale[:, None, None]
        made[name] = np.round(values / wide).astype(np.int8)
        made[f"{name}_scale"] = scale
        made[f"{name}_zero_point"] = np.zeros(scale.shape, np.int8)
    given = {"X": (7, batch, 3)}
    if lengths:
        given["sequence_lens"] = (batch,)
    model = layer_model(
        "DynamicQuantizeLSTM",
        {name: made[name] for name in "WRB"},
        given,
        ("Y",),
        domain="com.microsoft",
        hidden_size=4,
        direction="bidirectional",
    )
    node = model.graph.node[0]
    scales = ("W_scale", "W_zero_point", "R_scale", "R_zero_point")
    node.input.extend([""] * (8 - len(node.input)) + list(scales))
    model.graph.initializer.extend([numpy_helper.from_array(made[n], n) for n in scales])
    return model


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("batch", "lengths"), [(1, None), (3, None), (3, [7, 2, 5]), (6, None)])
def test_weights_of_8_bits(batch: int, lengths: list[int] | None, per_channel: bool) -> None:
    generator = np.random.default_rng(1)
    feed = {"X": generator.standard_normal((7, batch, 3)).astype(np.float32)}
    if lengths:
        feed["sequence_lens"] = np.array(lengths, np.int32)
    result = rnncost.numerics(quantised(batch, lengths, per_channel), data=feed)
    assert len(result.layers) == 2
    for layer in result.layers:
        assert layer.withheld == ""
        assert layer.quantised
        assert any("8 bits" in note for note in layer.notes)


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("steps_back", [20, 1000])
def test_figures_do_not_depend_on_the_size_of_blocks(
    cell: str, steps_back: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps at once, and a few at a time with no more kept than is needed."""
    stored = weights(cell, 2, 3, 2)
    shapes = {"X": (60, 3, 2), "sequence_lens": (3,)}
    model = layer_model(cell, stored, shapes, hidden_size=3, direction="bidirectional")
    generator = np.random.default_rng(0)
    x = generator.standard_normal(shapes["X"]).astype(np.float32)
    for name in ("sequences", "tails"):
        monkeypatch.setattr(f"rnncost.along_time.{name}.STEPS_BACK", steps_back)
    for lengths in ([60, 60, 60], [60, 31, 44]):
        feed = {"X": x, "sequence_lens": np.array(lengths, np.int32)}
        results = []
        for size in (1 << 21, 100):
            monkeypatch.setattr("rnncost.along_time.calls.BLOCK_VALUES", size)
            results.append(rnncost.numerics(model, data=feed).layers)
        whole, parts = results
        for one, other in zip(whole, parts, strict=True):
            assert one.withheld == ""
            assert one.memory == other.memory
            assert one.gradient is not None
            assert one.gradient.steps_back == min(60, steps_back)
            assert other.gradient is not None
            for field in ("exponent", "standard_error", "traces", "steps_back"):
                ours, theirs = getattr(one.gradient, field), getattr(other.gradient, field)
                assert ours == pytest.approx(theirs, rel=1e-9)
