"""A first budget passes today, says what it assumed, and fails when a model grows."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from budget_support import EXAMPLE, lines_of, mystery, product
from hypothesis import given
from hypothesis import strategies as st

import rnncost
from rnncost.budgets.document import read_budget
from rnncost.budgets.initial import TOTALS, initial_budget
from rnncost.budgets.parse import parse_budget
from rnncost.errors import BudgetError


def written(text: str, path: str = "rnncost.yaml") -> None:
    Path(path).parent.mkdir(exist_ok=True, parents=True)
    Path(path).write_text(text, encoding="utf-8")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_budget_of_the_example() -> None:
    written("", "examples/.keep")
    Path("examples/keyword_spotter.onnx").write_bytes(EXAMPLE.read_bytes())
    text, notes = initial_budget(
        ["examples/keyword_spotter.onnx"],
        dims={"frames": 100},
        profiles=("raspberry-pi-4", "cortex-m7"),
    )
    report = rnncost.analyze(EXAMPLE, profiles=("raspberry-pi-4", "cortex-m7"))
    pi = math.ceil(report.estimates[0].latency_s * 1.1e5) / 1e2  # 1 to 10 ms
    m7 = math.ceil(report.estimates[1].latency_s * 1.1e3)  # 100 ms to 1 s
    assert text == (
        '# Budgets for "rnncost check": what the models cost today and 10 % head-room.\n'
        "models:\n"
        '  "examples/keyword_spotter.onnx":\n'
        "    # assumed: batch=1\n"
        "    dims: {batch: 1, frames: 100}\n"
        "    params: 114_000\n"
        "    weight_bytes: 453 kB\n"
        "    macs: 11_100_000\n"
        "    streamed_bytes: 21.3 MB\n"
        "    peak_activation_bytes: 240 kB\n"
        "    sequential_steps: 330\n"
        f"    latency_s: [{{max: {pi:.3g} ms, profile: raspberry-pi-4}}, "
        f"{{max: {m7:.3g} ms, profile: cortex-m7}}]\n"
        "    fits: {profile: cortex-m7}\n"
    )
    assert notes == ["examples/keyword_spotter.onnx: batch=1 is assumed; change it in the budget"]
    written(text)
    assert rnncost.check().passed


@pytest.mark.parametrize("headroom", [Fraction(0), Fraction(1, 20), Fraction(3)])
def test_today_passes_and_more_than_the_head_room_fails(headroom: Fraction) -> None:
    product(Path("m.onnx"), 1234, rows="rows")
    text, _ = initial_budget(
        ["m.onnx"], dims={"rows": 7}, headroom=headroom, profiles=("x86-64-server-core",)
    )
    written(text)
    assert rnncost.check().passed
    product(Path("m.onnx"), int(1234 * (1 + headroom) * Fraction(102, 100)), rows="rows")
    failed = {finding.metric for finding in rnncost.check().failures}
    assert failed >= {"params", "macs", "weight_bytes", "streamed_bytes"}
    for limit in parse_budget(read_budget(Path("rnncost.yaml")))[0].limits:
        if limit.metric == "macs":
            today = 7 * 10 * 1234
            assert today * (1 + headroom) <= (limit.maximum or 0) < today * (1 + headroom) * 1.01


def test_bindings_and_files_are_written_from_the_folder_of_the_budget() -> None:
    product(Path("models/m.onnx"), 5, rows="rows")
    np.save("x.npy", np.ones((3, 10), np.float32))
    shipped = rnncost.list_profiles()[0].name
    from rnncost.profiles.store import locate_profile

    written(locate_profile(shipped).read_text(encoding="utf-8"), f"hw/{shipped}.yaml")
    text, notes = initial_budget(
        ["models/m.onnx"],
        folder="sub",
        values={"x": "@x.npy"},
        settings={"threads": 2, "trace": True, "precision": "fp16"},
        profiles=(f"hw/{shipped}.yaml",),
    )
    assert notes == []
    for line in (
        '  "../models/m.onnx":\n',
        '    values: {x: "@../x.npy"}\n',
        "    threads: 2\n",
        "    trace: true\n",
        f'profile: "../hw/{shipped}.yaml"}}',
    ):
        assert line in text
    written(text, "sub/b.yaml")
    result = rnncost.check(budget="sub/b.yaml")
    assert result.passed
    assert result.models[0].report.bindings.traced
    assert result.models[0].report.totals.macs == 3 * 10 * 5


def test_shapes_and_short_values_are_written() -> None:
    product(Path("m.onnx"), 5, rows="rows")
    for given_bindings in (
        {"shapes": {"x": (3, 10)}},
        {"values": {"x": [[0.5, 1e-7, -1e300] + [1] * 7] * 3}},
    ):
        text, _ = initial_budget(["m.onnx"], **given_bindings)  # type: ignore[arg-type]
        written(text)
        assert rnncost.check().models[0].report.totals.macs == 3 * 10 * 5
    with pytest.raises(BudgetError) as caught:
        initial_budget(["m.onnx"], values={"x": [[1.0] * 10] * 1001})
    assert "save it with numpy.save and give --value x=@FILE.npy" in lines_of(caught.value)


def test_profiles_are_named_from_the_folder_of_the_budget() -> None:
    from rnncost.budgets.initial import _profile

    for text, folder_name, written_name in (
        ("raspberry-pi-4", "sub", "raspberry-pi-4"),
        ("hw/a.yaml", "", "hw/a.yaml"),
        ("hw/a.yaml", "hw", "a.yaml"),
        ("./a", "", "./a"),
        ("hw/a", "hw", "./a"),
        ("hw/a", "sub", "../hw/a"),
    ):
        assert _profile(text, folder_name) == written_name


NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8
).filter(lambda name: name not in (".", ".."))


@given(st.lists(NAMES | st.sampled_from(["1e3", "null", "no", "~", "a: b", "#x", "-"]), min_size=1))
def test_any_name_survives(names: list[str]) -> None:
    """Names of dimensions come from model files; the budget is read back with the same ones."""
    from rnncost.budgets.initial import _yaml

    table = {"dims": dict.fromkeys(names, 1)}
    written(f"models: {_yaml({'m': table})}\n")
    (read,) = parse_budget(read_budget(Path("rnncost.yaml")))
    assert [name for _, name in read.settings] == list(table["dims"])


def test_a_first_budget_says_what_it_misses() -> None:
    _, notes = initial_budget([str(mystery(Path("mystery.onnx")))])
    assert notes == ["mystery.onnx: the totals miss 1 operator that cannot be counted"]


def test_real_models_keep_to_their_first_budget(real_model: Callable[[str], Path]) -> None:
    vad = real_model("silero_vad/data/silero_vad.onnx")
    given_values = {"sr": 16000}
    shapes = {"input": (1, 576), "state": (2, 1, 128)}
    text, _ = initial_budget([str(vad)], shapes=shapes, values=given_values)
    written(text)
    result = rnncost.check()
    assert result.passed
    assert [f.metric for f in result.models[0].findings] == list(TOTALS)
