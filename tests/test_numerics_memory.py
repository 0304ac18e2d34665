"""The memory that the analysis takes is that of one layer's activations."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from numerics_models import GATES, layer_model, weights

import rnncost
from rnncost.along_time import running

STEPS, ROWS, UNITS, STEPS_BACK = 2_500, 4, 32, 200
ACTIVATION_BYTES = STEPS * ROWS * UNITS * 4


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("shortest", [STEPS, 10])
def test_what_is_kept_of_a_long_sequence(
    cell: str, shortest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layer's outputs, its gates, a block of steps and the last of all: no more.

    A row that ends early does not make the others be kept whole.
    """
    monkeypatch.setattr("rnncost.along_time.calls.BLOCK_VALUES", 1 << 13)
    for name in ("sequences", "tails"):
        monkeypatch.setattr(f"rnncost.along_time.{name}.STEPS_BACK", STEPS_BACK)
    model = layer_model(
        cell,
        weights(cell, 2, UNITS, scale=0.1),
        {"X": (STEPS, ROWS, 2), "sequence_lens": (ROWS,)},
        hidden_size=UNITS,
    )
    lengths = np.array([STEPS] * (ROWS - 1) + [shortest])
    rnncost.numerics(model, data={"sequence_lens": np.full(ROWS, 9)})  # imports what is needed
    tracemalloc.start()
    try:
        (layer,) = rnncost.numerics(model, data={"sequence_lens": lengths}).layers
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert layer.withheld == ""
    assert layer.steps == STEPS
    # Six factors of an LSTM in double precision, twice while they are put in order.
    last_bytes = 2 * 6 * STEPS_BACK * ROWS * UNITS * 8
    assert peak_bytes < 4 * ACTIVATION_BYTES + last_bytes


def test_onnx_runtime_does_not_keep_what_operators_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    create = running.create_session

    def kept(*arguments: Any, **options: Any) -> Any:
        made.append(create(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(running, "create_session", kept)
    rnncost.numerics(layer_model("GRU", weights("GRU", 2, 3), {"X": (5, 1, 2)}, hidden_size=3))
    assert len(made) == 1
    assert not made[0].get_session_options().enable_cpu_mem_arena
