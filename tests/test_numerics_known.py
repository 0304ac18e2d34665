"""Networks whose memory is known beforehand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import pytest
from numerics_models import layer_model, linear_rnn, pinned_gru, pinned_lstm, weights

import rnncost
from rnncost.along_time import GateMemory, LayerMemory, Numerics


def only(result: Numerics) -> LayerMemory:
    (layer,) = result.layers
    assert layer.withheld == ""
    return layer


def gate_of(result: Numerics) -> GateMemory:
    memory = only(result).memory
    assert memory is not None
    return memory


def model_of(cell: str, stored: dict[str, Any], units: int = 3, **attributes: Any) -> Any:
    return layer_model(cell, stored, {"X": ("T", 1, 2)}, hidden_size=units, **attributes)


PINNED = {
    "LSTM": (model_of("LSTM", pinned_lstm(0.99)), "forget gate"),
    "GRU": (model_of("GRU", pinned_gru(0.99)), "update gate"),
    "GRU, linear before reset": (
        model_of("GRU", pinned_gru(0.99), linear_before_reset=1),
        "update gate",
    ),
    "reverse LSTM": (model_of("LSTM", pinned_lstm(0.99), direction="reverse"), "forget gate"),
}


@pytest.mark.parametrize("name", PINNED)
def test_a_gate_that_is_pinned_at_99_percent(name: str) -> None:
    model, gate = PINNED[name]
    result = rnncost.numerics(model, dims={"T": 500}, step_period_s=0.01)
    memory = gate_of(result)
    assert memory.gate == gate
    assert only(result).steps == 500
    for quantile in ("p5", "p50", "p95"):
        assert getattr(memory.values, quantile) == pytest.approx(0.99, rel=1e-6)
        assert getattr(memory.half_life_steps, quantile) == pytest.approx(68.97, abs=0.005)
        assert getattr(memory.horizon_steps, quantile) == pytest.approx(458.2, abs=0.05)
        assert getattr(memory.half_life_s, quantile) == pytest.approx(0.6897, abs=5e-5)
        assert getattr(memory.measured_half_life_steps, quantile) == 69
        assert getattr(memory.measured_horizon_steps, quantile) == 459
    kept = {one.steps: one.share.p50 for one in memory.retention}
    assert list(kept) == [1, 2, 5, 10, 20, 50, 100, 200, 500]
    assert kept[500] == pytest.approx(0.0066, abs=5e-5)
    for steps, share in kept.items():
        assert share == pytest.approx(0.99**steps, rel=1e-4)
    assert memory.share_shorter == 1.0
    prior = only(result).prior
    assert prior is not None
    assert prior.gate is not None
    assert prior.gate.p50 == pytest.approx(0.99, rel=1e-6)
    assert prior.half_life_steps is not None
    assert prior.half_life_steps.p95 == pytest.approx(68.97, abs=0.005)


def test_a_horizon_beyond_the_sequence() -> None:
    memory = gate_of(rnncost.numerics(model_of("LSTM", pinned_lstm(0.99)), dims={"T": 60}))
    assert memory.half_life_steps.p50 == pytest.approx(68.97, abs=0.005)
    assert memory.measured_half_life_steps is not None
    assert memory.measured_half_life_steps.p50 is None
    assert memory.share_shorter == 0.0
    assert memory.half_life_s is None
    last = memory.retention[-1]
    assert (last.steps, last.windows, last.sequences) == (60, 1, 1)


def test_nothing_underflows() -> None:
    memory = gate_of(rnncost.numerics(model_of("LSTM", pinned_lstm(1e-4)), dims={"T": 1000}))
    last = memory.retention[-1]
    assert last.log10.p50 == pytest.approx(-4000, rel=1e-5)
    assert last.share.p50 == 0.0


@pytest.mark.parametrize("radius", [0.5, 0.95, 1.0, 1.05])
def test_the_exponent_of_a_linear_rnn_is_the_logarithm_of_its_spectral_radius(
    radius: float,
) -> None:
    layer = only(rnncost.numerics(linear_rnn(radius), dims={"T": 200}))
    gradient = layer.gradient
    assert layer.memory is None
    assert gradient is not None
    assert gradient.exponent == pytest.approx(math.log(radius), abs=1e-6)
    assert gradient.standard_error == pytest.approx(0, abs=1e-6)
    assert gradient.steps_back == 200
    for norm in gradient.norms:
        expected = norm.steps * math.log10(radius)
        assert norm.log10_mean == pytest.approx(expected, abs=1e-4)
        assert norm.log10_min <= norm.log10_mean <= norm.log10_max
    if radius < 1:
        assert gradient.half_life_steps == pytest.approx(math.log(0.5) / math.log(radius), rel=1e-4)
    if radius > 1:
        assert gradient.half_life_steps is None
    assert layer.prior is not None
    assert layer.prior.gate is None
    assert layer.prior.spectral_radius["h"] == pytest.approx(radius, rel=1e-5)


def test_a_gradient_aligns_with_the_slowest_direction() -> None:
    """Eigenvalues of 0.9 and 0.3: after the transient only the larger is left."""
    found = weights("RNN", 2, 4)
    found["R"] = np.diag(np.float32([0.9, 0.3, 0.3, 0.3]))[None]
    model = model_of("RNN", found, 4, activations=["Affine"], activation_alpha=[1.0])
    gradient = only(rnncost.numerics(model, dims={"T": 100})).gradient
    assert gradient is not None
    assert gradient.exponent == pytest.approx(math.log(0.9), abs=1e-6)
    assert gradient.norms[0].log10_mean < math.log10(0.9)  # the first step loses more


def hard(cell: str, bias: float) -> onnx.ModelProto:
    """A gate min(1, max(0, x)) of a constant x: it can be exactly 0 or 1."""
    stored = pinned_lstm(0.5) if cell == "LSTM" else pinned_gru(0.5)
    units, first = 3, 6 if cell == "LSTM" else 0
    stored["B"][:, first : first + units] = bias
    names = ["HardSigmoid", "Tanh", "Tanh"][: 3 if cell == "LSTM" else 2]
    return model_of(cell, stored, activations=names, activation_alpha=[1.0], activation_beta=[0.0])


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_gates_that_are_exactly_0_and_1(cell: str) -> None:
    open_gate = gate_of(rnncost.numerics(hard(cell, 1.0), dims={"T": 50}))
    assert open_gate.half_life_steps.p50 is None
    assert open_gate.retention[-1].share.p50 == 1.0
    assert open_gate.share_shorter == 0.0
    result = rnncost.numerics(hard(cell, -1.0), dims={"T": 50})
    shut = gate_of(result)
    assert shut.half_life_steps.p50 == 0.0
    assert shut.measured_half_life_steps is not None
    assert shut.measured_half_life_steps.p50 == 1
    assert shut.retention[-1].log10.p50 is None
    assert shut.retention[-1].share.p50 == 0.0
    assert any("exactly 0" in note for note in only(result).notes)
    assert result.to_dict()
    assert str(result)


def test_a_reset_is_measured_where_the_mean_gate_hides_it() -> None:
    """f is 1 but for one step in ten, where it is nearly 0."""
    stored = pinned_lstm(0.5)
    stored["W"][:, 6:9, 0] = -40.0
    stored["B"][:, 6:9] = 20.0
    x = np.zeros((200, 1, 2), np.float32)
    x[::10, 0, 0] = 1.0
    memory = gate_of(rnncost.numerics(model_of("LSTM", stored), data=x))
    assert memory.half_life_steps.p50 == pytest.approx(math.log(0.5) / (-20 / 10), rel=1e-3)
    assert memory.measured_half_life_steps is not None
    # From a random step the next reset is half a period away.
    assert memory.measured_half_life_steps.p50 == pytest.approx(5, abs=1)
    assert memory.values.p50 == pytest.approx(1.0)


def test_the_coupled_forget_gate_is_one_minus_the_input_gate() -> None:
    stored = weights("LSTM", 2, 3, scale=0.3)
    del stored["P"]
    stored["W"][:, :3] = 0
    stored["R"][:, :3] = 0
    stored["B"][:, :3] = np.log(0.01 / 0.99)
    stored["B"][:, 12:15] = 0
    memory = gate_of(rnncost.numerics(model_of("LSTM", stored, input_forget=1), dims={"T": 100}))
    assert memory.half_life_steps.p50 == pytest.approx(68.97, abs=0.01)


def test_a_gradient_that_vanishes_for_good() -> None:
    stored = weights("RNN", 2, 3)
    stored["B"][:] = -100.0
    model = model_of("RNN", stored, activations=["Relu"])
    result = rnncost.numerics(model, dims={"T": 30})
    gradient = only(result).gradient
    assert gradient is not None
    assert gradient.vanished == gradient.traces
    assert gradient.exponent is None
    assert "vanishes" in str(result)


def test_the_sequence_is_too_short_for_an_exponent() -> None:
    result = rnncost.numerics(linear_rnn(0.5), dims={"T": 5})
    gradient = only(result).gradient
    assert gradient is not None
    assert gradient.exponent is None
    assert gradient.norms[-1].steps == 5
    assert "too few steps" in str(result)


def test_weights_only_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnncost.along_time.measure.layer_calls", None)
    result = rnncost.numerics(PINNED["LSTM"][0], dims={"T": 500}, weights_only=True)
    layer = only(result)
    assert layer.memory is None
    assert layer.gradient is None
    assert layer.calls == 0
    assert layer.prior is not None
    assert layer.prior.half_life_steps is not None
    assert layer.prior.half_life_steps.p50 == pytest.approx(68.97, abs=0.005)
    assert set(layer.prior.spectral_radius) == set("iofc")
    assert result.inputs.source == "none"
    assert "Prior" in str(result)


def test_spectral_radii_are_those_of_the_blocks() -> None:
    stored = weights("GRU", 2, 5)
    layer = only(rnncost.numerics(model_of("GRU", stored, 5), dims={"T": 3}))
    assert layer.prior is not None
    for number, letter in enumerate("zrh"):
        block = stored["R"][0, 5 * number : 5 * number + 5].astype(float)
        # The radius by its own definition: the growth of high powers.
        power = np.linalg.matrix_power(block, 256)
        expected = np.linalg.norm(power) ** (1 / 256)
        assert layer.prior.spectral_radius[letter] == pytest.approx(expected, rel=0.02)


def test_quantiles_are_values_of_the_distribution() -> None:
    from rnncost.along_time.retention import quantiles

    found = quantiles(np.array([3.0, 1.0, np.inf, 2.0]))
    assert (found.p5, found.p25, found.p50, found.p75, found.p95) == (1.0, 1.0, 2.0, 3.0, None)


@pytest.mark.parametrize(
    ("steps", "reached", "expected"),
    [
        ([1, 2, 3, 4], [1, 1, 1, 1], 2),
        ([5, 5, 5, 5], [1, 1, 0, 0], 5),
        ([9, 9, 9, 9], [0, 0, 0, 0], np.inf),
        # Worked by hand: 1 - 1/5 at 2, times 1 - 1/3 at 4, times 1 - 1/2 at 6.
        ([2, 3, 4, 6, 7], [1, 0, 1, 1, 0], 6),
        # Cut short before anything happens, they say nothing.
        ([1, 1, 1, 8, 8], [0, 0, 0, 1, 1], 8),
    ],
)
def test_medians_of_times_that_are_cut_short(
    steps: list[int], reached: list[int], expected: float
) -> None:
    from rnncost.along_time.retention import median_time

    table = np.array(steps)[:, None]
    assert median_time(table, np.array(reached, bool)[:, None])[0] == expected


def test_a_batch_of_many_rows_says_which_gradients_are_followed() -> None:
    model = layer_model("GRU", pinned_gru(0.9), {"X": (12, 9, 2)}, hidden_size=3)
    layer = only(rnncost.numerics(model))
    assert layer.sequences == 9
    assert layer.gradient is not None
    assert layer.gradient.rows == 4
    assert "gradients are followed through 4 of 9 sequences" in layer.notes


def test_long_sequences_are_followed_over_their_last_steps() -> None:
    """More than a block, more than the gradient's span, and rows that end at other places."""
    model = layer_model(
        "LSTM",
        pinned_lstm(0.99),
        {"X": (2500, 2, 2), "sequence_lens": (2,)},
        hidden_size=3,
    )
    x = np.random.default_rng(0).standard_normal((2500, 2, 2)).astype(np.float32)
    layer = only(rnncost.numerics(model, data={"X": x, "sequence_lens": np.array([2500, 1800])}))
    assert layer.steps == 2500
    assert layer.gradient is not None
    assert layer.gradient.steps_back == 1000
    assert all(norm.traces == 16 for norm in layer.gradient.norms)
    assert "gradients are followed over the last 1000 steps" in layer.notes
    # The forget gate alone bounds the slowest direction from below.
    assert layer.gradient.exponent == pytest.approx(math.log(0.99), abs=0.01)


def test_steps_behind_the_end_of_a_row_do_not_count() -> None:
    """The gate x + 0.5 is below 0 in the padding of the second row, and there alone."""
    stored = pinned_lstm(0.5)
    stored["W"][:, 6:9, 0] = 1.0
    stored["B"][:, 6:9] = 0.5
    names = {"activations": ["Affine", "Tanh", "Tanh"], "activation_alpha": [1.0]}
    model = layer_model(
        "LSTM", stored, {"X": (10, 2, 2), "sequence_lens": (2,)}, hidden_size=3, **names
    )
    x = np.zeros((10, 2, 2), np.float32)
    x[4:, 1, 0] = -5.0
    padded = only(rnncost.numerics(model, data={"X": x, "sequence_lens": np.array([10, 4])}))
    assert not any("below 0" in note for note in padded.notes)
    assert padded.memory is not None
    assert padded.memory.measured_half_life_steps is not None
    assert padded.memory.measured_half_life_steps.p50 == 1
    whole = only(rnncost.numerics(model, data={"X": x, "sequence_lens": np.array([10, 10])}))
    assert any("below 0" in note for note in whole.notes)


def test_gradients_of_which_some_vanish_are_told() -> None:
    """R is 0 but for one unit, whose ReLU is off in one row: its gradients end there."""
    stored = weights("RNN", 2, 2)
    stored["W"][:] = np.eye(2, dtype=np.float32)
    stored["R"][:] = np.diag(np.float32([0.5, 0.0]))
    stored["B"][:] = 0.0
    x = np.ones((40, 2, 2), np.float32)
    x[20, 1, 0] = -9.0
    model = layer_model("RNN", stored, {"X": (40, 2, 2)}, hidden_size=2, activations=["Relu"])
    layer = only(rnncost.numerics(model, data=x))
    assert layer.gradient is not None
    assert (layer.gradient.vanished, layer.gradient.traces) == (8, 16)
    assert layer.gradient.exponent == pytest.approx(math.log(0.5), abs=1e-6)
    assert any(note.startswith("8 of 16 random gradients became exactly 0") for note in layer.notes)


@pytest.mark.parametrize("weight", ["R", "B"])
def test_weights_that_are_not_finite_have_no_prior(weight: str) -> None:
    stored = pinned_lstm(0.9)
    stored[weight].flat[7] = np.nan
    for weights_only in (False, True):
        result = rnncost.numerics(
            model_of("LSTM", stored), dims={"T": 5}, weights_only=weights_only
        )
        (layer,) = result.layers
        assert layer.prior is None
        assert "weights hold NaN or infinity: there is no prior" in layer.notes
        assert layer.withheld == ("" if weights_only else "its weights hold NaN or infinity")
        assert "NaN" in str(result)


def test_of_many_rows_stretches_begin_everywhere() -> None:
    """The gate is 0.2 at the first step and 0.9 after it."""
    stored = pinned_lstm(0.9)
    x = np.zeros((20, 600, 2), np.float32)
    x[0, :, 0] = 1.0
    stored["W"][:, 6:9, 0] = np.log(0.2 / 0.8) - np.log(0.9 / 0.1)
    model = layer_model("LSTM", stored, {"X": (20, 600, 2)}, hidden_size=3)
    memory = gate_of(rnncost.numerics(model, data=x))
    first = memory.retention[0]
    assert (first.windows, first.sequences) == (600, 600)
    assert first.share.p50 == pytest.approx(0.9, rel=1e-5)
    last = memory.retention[-1]
    assert last.share.p50 == pytest.approx(0.2 * 0.9**19, rel=1e-4)
    assert memory.measured_half_life_steps is not None
    assert memory.measured_half_life_steps.p50 == 7


def test_of_many_values_those_of_all_steps_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of four steps, of which only the first has a gate of 0.2."""
    monkeypatch.setattr("rnncost.along_time.retention._MOST_VALUES", 60)
    stored = pinned_lstm(0.9)
    x = np.zeros((4, 200, 2), np.float32)
    x[0, :, 0] = 1.0
    stored["W"][:, 6:9, 0] = np.log(0.2 / 0.8) - np.log(0.9 / 0.1)
    model = layer_model("LSTM", stored, {"X": (4, 200, 2)}, hidden_size=3)
    values = gate_of(rnncost.numerics(model, data=x)).values
    assert values.p5 == pytest.approx(0.2, rel=1e-5)
    assert values.p50 == pytest.approx(0.9, rel=1e-5)
