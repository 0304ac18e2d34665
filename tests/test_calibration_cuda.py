"""Calibrating a GPU, without one: timings of a made-up GPU whose constants are known."""

from __future__ import annotations

import math
import random
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import rnncost
from rnncost.calibration.cuda import Case, calibrate_cuda, layer_s
from rnncost.calibration.cuda_design import (
    MAX_MACS,
    RANDOM_LAYERS,
    SEED,
    chosen_layers,
    counted_layer,
    macs_of,
    random_layers,
)
from rnncost.calibration.cuda_device import SHIPPED, shipped_profile
from rnncost.cli.main import main
from rnncost.errors import MeasurementError, RuntimeUnavailableError
from rnncost.frontends.torch.cuda_timing import (
    CudaDevice,
    CudaLayer,
    CudaPrecision,
    CudaTimings,
    open_cuda,
)
from rnncost.latency.cudnn import model_of
from rnncost.latency.roofline import device_of
from rnncost.profiles.quantities import Duration, Quantity
from rnncost.profiles.runtimes import Cudnn
from rnncost.profiles.schema import HardwareProfile, Overheads
from rnncost.profiles.store import load_profile
from rnncost.profiles.writer import profile_text
from rnncost.runtime.timing import Run

H100 = CudaDevice(
    name="NVIDIA H100 80GB HBM3",
    capability=(9, 0),
    precisions=("fp32", "tf32", "fp16"),
    multiprocessors=132,
    memory_bytes=84_929_019_904,
    l2_bytes=52_428_800,
    register_bytes=262_144,
    shared_bytes=233_472,
    software="torch 9.9, CUDA 99.9, cuDNN 99999",
)
TRUTH = {
    "call_s": 4.1e-5,
    "startup_s": 9e-6,
    "floor_s": 4.4e-6,
    "bandwidth_share": 0.55,
    "peak_share": 0.65,
    "persistent_floor_s": 8e-7,
}
OP_S, RUN_S = 2.5e-6, 1.1e-5
MACS_PER_S = {"fp32": 2e13, "tf32": 1.6e14, "fp16": 3.3e14}
NEAR, FAR = 5e12, 2.4e12


def true_profile(base: HardwareProfile) -> HardwareProfile:
    """A profile with the known constants."""

    def known(name: str, value: float) -> Any:
        kind = Duration if name.endswith("_s") else Quantity
        return kind(value=value, kind="assumed", source="a test")

    constants = {name: known(name, value) for name, value in TRUTH.items()}
    return msgspec.structs.replace(
        base,
        cudnn=msgspec.structs.replace(Cudnn(kernels="cudnn-8"), **constants),
        overheads=Overheads(op_s=known("op_s", OP_S), run_s=known("run_s", RUN_S)),
    )


class MadeUp:
    """A GPU that takes as long as a profile says, and up to a few percent more or less.

    ``spread`` is the noise of a layer in all its runs, and ``jitter`` how much longer a
    single run takes at most.
    """

    def __init__(
        self,
        device: CudaDevice,
        profile: HardwareProfile,
        *,
        spread: float = 0.01,
        jitter: float = 0.01,
    ) -> None:
        self.device = device
        self.profile = true_profile(profile)
        self.random = random.Random(7)
        self.spread = spread
        self.jitter = jitter
        self.timed: list[CudaLayer] = []

    def layer(self, layer: CudaLayer) -> Run:
        self.timed.append(layer)
        own = layer_s(self.profile, Case(counted_layer(layer), layer.precision, 0.0))
        return self.run(own * math.exp(self.random.gauss(0, self.spread)))

    def operators(self, count: int) -> Run:
        return self.run(RUN_S + count * OP_S)

    def product(self, size: int, precision: CudaPrecision) -> Run:
        return self.run(size**3 / MACS_PER_S[precision])

    def copies(self, size_bytes: int, count: int) -> Run:
        # What both ends take fits the second cache or not.
        near = 2 * size_bytes < (self.device.l2_bytes or 0)
        return self.run(2 * count * size_bytes / (NEAR if near else FAR))

    def run(self, seconds: float) -> Run:
        return Run(lambda: seconds * (1 + self.random.uniform(0, self.jitter)), burst_s=0.0)


def no_check(_: object) -> None:
    """Any noise will do."""


def calibrated(device: CudaDevice, base: HardwareProfile, **options: Any) -> HardwareProfile:
    made_up = MadeUp(device, base, **options)
    return calibrate_cuda(made_up, name="our-gpu", check=no_check, rounds=2)


@pytest.fixture(scope="module")
def h100() -> HardwareProfile:
    """What a calibration makes of a made-up H100."""
    return calibrated(H100, load_profile("h100-sxm"))


# What the fit finds


@pytest.mark.parametrize("name", TRUTH)
def test_the_known_constants_are_found(h100: HardwareProfile, name: str) -> None:
    assert h100.cudnn is not None
    found = getattr(h100.cudnn, name)
    # The first steps are told by few layers only, and by a part of their time.
    tolerance = 0.12 if name == "startup_s" else 0.05
    assert found.value == pytest.approx(TRUTH[name], rel=tolerance)
    assert found.kind == "measured"
    assert "cuDNN 99999 on NVIDIA H100" in found.source


def test_launches_are_found_from_a_chain_of_operators(h100: HardwareProfile) -> None:
    overheads = h100.overheads
    assert overheads.op_s is not None
    assert overheads.run_s is not None
    assert overheads.op_s.value == pytest.approx(OP_S, rel=0.02)
    assert overheads.run_s.value == pytest.approx(RUN_S, rel=0.02)


def test_the_interval_is_that_of_layers_left_out(h100: HardwareProfile) -> None:
    assert h100.calibration is not None
    assert h100.interval is not None
    (cases,) = h100.calibration.held_out
    assert cases.cases == RANDOM_LAYERS
    # The noise of a layer is 1 %, so that nine of ten are within 1.645 times that.
    assert 0.003 < cases.median_error < 0.02
    assert cases.p90_error < 0.04
    assert (h100.interval.low, h100.interval.high) == (cases.low, cases.high)
    assert 0.96 < cases.low < 0.993
    assert 1.007 < cases.high < 1.04


def test_a_worse_fit_has_a_wider_interval(h100: HardwareProfile) -> None:
    noisy = calibrated(H100, load_profile("h100-sxm"), spread=0.2)
    assert noisy.interval is not None
    assert h100.interval is not None
    assert noisy.interval.low < h100.interval.low - 0.05
    assert noisy.interval.high > h100.interval.high + 0.05


def test_a_constant_that_no_layer_tells_is_left_out() -> None:
    maxwell = msgspec.structs.replace(
        H100, name="A card", capability=(5, 2), precisions=("fp32",), multiprocessors=24
    )
    profile = calibrated(maxwell, load_profile("gtx-titan-x"))
    assert profile.cudnn is not None
    assert profile.cudnn.kernels == "cudnn-6"
    # The persistent algorithms came with Pascal.
    assert profile.cudnn.persistent_floor_s is None
    assert profile.cudnn.floor_s is not None


# The profile


def test_the_profile_goes_through_a_file(h100: HardwareProfile, tmp_path: Path) -> None:
    path = tmp_path / "our-gpu.yaml"
    path.write_text(profile_text(h100), encoding="utf-8")
    assert load_profile(path) == h100
    assert main(["profiles", "check", str(path)]) == 0


def test_a_known_gpu_keeps_its_data_sheet(h100: HardwareProfile) -> None:
    shipped = load_profile("h100-sxm")
    for name in ("processor", "peak_macs_per_s", "memory", "capacity", "kind", "runtime"):
        assert getattr(h100, name) == getattr(shipped, name)
    assert (h100.name, h100.title) == ("our-gpu", f"{shipped.title}, calibrated")
    assert h100.calibration is not None
    assert h100.calibration.host.startswith("NVIDIA H100 80GB HBM3 in ")


def test_an_unknown_gpu_is_measured(tmp_path: Path) -> None:
    device = msgspec.structs.replace(H100, name="NVIDIA GeForce RTX 9090")
    profile = calibrated(device, load_profile("h100-sxm"))
    for precision, macs_per_s in MACS_PER_S.items():
        peak = getattr(profile.peak_macs_per_s, precision)
        assert peak.value == pytest.approx(macs_per_s, rel=0.01)
        assert peak.kind == "measured"
    assert profile.peak_macs_per_s.bf16 is None
    near, far = profile.memory
    assert near.bandwidth_bytes_per_s.value == pytest.approx(NEAR, rel=0.01)
    assert far.bandwidth_bytes_per_s.value == pytest.approx(FAR, rel=0.01)
    assert near.size_bytes is not None
    assert near.size_bytes.value == 52_428_800
    assert profile.processor.cores is not None
    assert profile.processor.cores.value == 132
    path = tmp_path / "our-gpu.yaml"
    path.write_text(profile_text(profile), encoding="utf-8")
    assert load_profile(path) == profile


def test_a_gpu_whose_caches_are_not_told_has_one_level() -> None:
    device = msgspec.structs.replace(H100, name="A GPU", l2_bytes=None, register_bytes=None)
    profile = calibrated(device, load_profile("h100-sxm"))
    assert [level.name for level in profile.memory] == ["memory"]
    assert profile.processor.register_bytes is None


def test_the_names_are_those_of_shipped_gpus() -> None:
    gpus = {p.name for p in rnncost.list_profiles() if p.kind == "gpu"}
    assert len(set(SHIPPED.values())) == len(SHIPPED)
    # The Jetson boards of a family share one name.
    assert gpus - set(SHIPPED.values()) == {name for name in gpus if name.startswith("jetson-")}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "h100-sxm"),
        ({"name": "H100 80GB HBM3"}, "h100-sxm"),
        ({"name": "NVIDIA H100 80GB HBM3 MIG 1g.10gb"}, None),
        ({"multiprocessors": 114}, None),
        # The RTX 3080 with 12 GB has the name of the one with 10 GB.
        ({"name": "NVIDIA GeForce RTX 3080", "multiprocessors": 68}, None),
        (
            {
                "name": "NVIDIA GeForce RTX 3080",
                "multiprocessors": 68,
                "memory_bytes": 10_500_000_000,
            },
            "rtx-3080",
        ),
    ],
)
def test_a_shipped_profile_has_to_agree(changes: dict[str, Any], expected: str | None) -> None:
    found = shipped_profile(msgspec.structs.replace(H100, **changes))
    assert (found and found.name) == expected


# The design


def test_the_design_has_all_sorts_of_layers() -> None:
    layers = [*chosen_layers(26e6), *random_layers(RANDOM_LAYERS, SEED, H100.precisions)]
    assert len(layers) == 67, "as the documentation says"
    for name, values in (
        ("cell", {"LSTM", "GRU", "RNN"}),
        ("precision", set(H100.precisions)),
        ("directions", {1, 2}),
    ):
        assert {getattr(layer, name) for layer in layers} == values
    for name, low, high in (("hidden", 32, 2048), ("batch", 1, 64), ("steps", 8, 256)):
        sizes = {getattr(layer, name) for layer in layers}
        assert low <= min(sizes)
        assert max(sizes) <= high
        assert max(sizes) >= 16 * min(sizes)
    drawn = random_layers(RANDOM_LAYERS, SEED, H100.precisions)
    assert all(macs_of(layer) <= MAX_MACS for layer in drawn)


def test_only_precisions_with_a_peak_are_timed() -> None:
    titan = msgspec.structs.replace(
        H100,
        name="NVIDIA GeForce GTX TITAN X",
        capability=(7, 0),
        multiprocessors=24,
        memory_bytes=12_797_607_936,
    )
    made_up = MadeUp(titan, load_profile("gtx-titan-x"))
    calibrate_cuda(made_up, name="titan", check=no_check, rounds=1)
    assert {layer.precision for layer in made_up.timed} == {"fp32"}


def test_noise_is_checked_before_the_fit() -> None:
    def refuse(measured: Any) -> None:
        assert len(measured.seconds) > RANDOM_LAYERS
        raise MeasurementError("too noisy")

    with pytest.raises(MeasurementError, match="too noisy"):
        calibrate_cuda(MadeUp(H100, load_profile("h100-sxm")), name="gpu", check=refuse, rounds=1)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16"])
@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_a_fitted_time_is_the_estimate_of_the_module(cell: str, precision: str) -> None:
    torch = pytest.importorskip("torch")
    dtype = torch.float16 if precision == "fp16" else torch.float32
    module = getattr(torch.nn, cell)(256, 512, bidirectional=True, dtype=dtype, device="meta")
    x = torch.empty(40, 8, 256, dtype=dtype, device="meta")
    device = true_profile(load_profile("h100-sxm"))
    report = rnncost.analyze(module, (x,), profiles=(device,), precision=precision)
    layer = msgspec.convert(
        {
            "cell": cell,
            "precision": precision,
            "inputs": 256,
            "hidden": 512,
            "batch": 8,
            "steps": 40,
            "directions": 2,
        },
        CudaLayer,
    )
    counted = counted_layer(layer)
    assert counted.totals.macs == macs_of(layer) == report.totals.macs
    recurrent = [op for op in report.estimates[0].ops if op.sequential_s]
    assert len(recurrent) == 1
    expected = recurrent[0].latency_s + RUN_S
    assert layer_s(device, Case(counted, layer.precision, 0.0)) == pytest.approx(expected)


def test_the_constants_reach_the_model() -> None:
    # Otherwise a fit would move nothing, and find what it began with.
    profile = true_profile(load_profile("h100-sxm"))
    model = model_of(profile, device_of(profile, 1))
    assert model is not None
    for name in TRUTH.keys() - {"persistent_floor_s"}:
        assert getattr(model.constants, name) == TRUTH[name]
    assert model.persistent.floor_s == TRUTH["persistent_floor_s"]


# The command


def test_the_command_writes_a_profile(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made_up = MadeUp(H100, load_profile("h100-sxm"))
    monkeypatch.setattr("rnncost.frontends.torch.cuda_timing.open_cuda", lambda: made_up)
    monkeypatch.setenv("RNNCOST_PROFILES", str(tmp_path))
    assert main(["calibrate", "--device", "cuda"]) == 0
    # host.yaml is that of the processor, which analyze takes by itself.
    assert [path.name for path in tmp_path.iterdir()] == ["cuda.yaml"]
    profile = load_profile("cuda")
    assert profile.calibrated
    assert profile.cudnn is not None
    told = capfd.readouterr()
    assert "cuda.yaml" in told.out
    assert "left out of the fit, median error" in told.out
    assert "building 67 layers on NVIDIA H100" in told.err


def test_a_noisy_gpu_is_refused(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made_up = MadeUp(H100, load_profile("h100-sxm"), jitter=5.0)
    monkeypatch.setattr("rnncost.frontends.torch.cuda_timing.open_cuda", lambda: made_up)
    assert main(["calibrate", "--device", "cuda", "-o", str(tmp_path / "gpu.yaml")]) == 2
    assert "too noisy to calibrate" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


# Torch


def test_this_torch_has_no_cuda(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    path = tmp_path / "gpu.yaml"
    assert main(["calibrate", "--device", "cuda", "-o", str(path)]) == 2
    message = capfd.readouterr().err
    assert message.startswith("rnncost: error: ")
    assert message.count("\n") == 1
    assert "torch" in message
    assert list(tmp_path.iterdir()) == []


def test_threads_are_not_those_of_a_gpu() -> None:
    with pytest.raises(rnncost.RnncostError, match="leave them out"):
        rnncost.calibrate(device="cuda", threads=2)


def test_an_unknown_device_is_refused() -> None:
    device: Any = "tpu"
    with pytest.raises(rnncost.RnncostError, match="one of cpu, cuda"):
        rnncost.calibrate(device=device)


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Torch with the CUDA functions of an H100 in the place of its own."""
    torch = pytest.importorskip("torch")
    facts = types.SimpleNamespace(
        name="NVIDIA H100 80GB HBM3",
        major=9,
        minor=0,
        multi_processor_count=132,
        total_memory=84_929_019_904,
        L2_cache_size=52_428_800,
        regs_per_multiprocessor=65_536,
        shared_memory_per_multiprocessor=233_472,
    )
    empty = torch.empty
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: facts)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch, "empty", lambda *size, device, dtype: empty(*size, dtype=dtype))
    cudnn = types.SimpleNamespace(
        is_available=lambda: True,
        enabled=True,
        allow_tf32=True,
        version=lambda: 91002,
        is_acceptable=lambda tensor: tensor.dtype in (torch.float16, torch.float32),
    )
    monkeypatch.setattr(torch.backends, "cudnn", cudnn)
    return facts


def test_the_facts_of_the_device(fake_cuda: types.SimpleNamespace) -> None:
    device = open_cuda().device
    assert device == msgspec.structs.replace(H100, software=device.software)
    assert "CUDA 13.0, cuDNN 91002" in device.software


@pytest.mark.parametrize(
    ("major", "minor", "precisions"),
    [(6, 1, ("fp32",)), (7, 5, ("fp32", "fp16")), (8, 6, ("fp32", "tf32", "fp16"))],
)
def test_the_precisions_follow_the_generation(
    fake_cuda: types.SimpleNamespace, major: int, minor: int, precisions: tuple[str, ...]
) -> None:
    fake_cuda.major, fake_cuda.minor = major, minor
    assert open_cuda().device.precisions == precisions


def test_an_older_torch_tells_less(fake_cuda: types.SimpleNamespace) -> None:
    for name in ("L2_cache_size", "regs_per_multiprocessor", "shared_memory_per_multiprocessor"):
        delattr(fake_cuda, name)
    device = open_cuda().device
    assert (device.l2_bytes, device.register_bytes, device.shared_bytes) == (None, None, None)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda torch, patch: patch.setattr(torch.version, "cuda", None), "built without it"),
        (
            lambda torch, patch: patch.setattr(torch.cuda, "is_available", lambda: False),
            "finds no CUDA device",
        ),
        (lambda torch, patch: patch.setattr(torch.backends.cudnn, "enabled", False), "no cuDNN"),
        (
            lambda torch, patch: patch.setattr(torch.cuda, "get_device_properties", old_driver),
            "cannot use the CUDA device: the driver is too old$",
        ),
    ],
)
def test_what_is_missing_is_told(
    fake_cuda: types.SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Any, pytest.MonkeyPatch], None],
    match: str,
) -> None:
    import torch

    change(torch, monkeypatch)
    with pytest.raises(RuntimeUnavailableError, match=match):
        open_cuda()


def old_driver(_: int) -> None:
    raise RuntimeError("the driver is too old\nand more lines")


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(RuntimeUnavailableError, match="which is not installed"):
        open_cuda()


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16"])
@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_layers_run_and_tf32_is_switched(
    fake_cuda: types.SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    cell: Any,
    precision: CudaPrecision,
) -> None:
    import torch

    seen: list[tuple[bool, Any, tuple[int, ...]]] = []
    module = getattr(torch.nn, cell)
    forward = module.forward

    def watched(self: Any, x: Any) -> Any:
        y = forward(self, x)
        assert not self.training
        assert torch.is_inference_mode_enabled()
        seen.append((torch.backends.cudnn.allow_tf32, y[0].dtype, tuple(y[0].shape)))
        return y

    monkeypatch.setattr(module, "forward", watched)
    layer = CudaLayer(
        cell=cell, precision=precision, inputs=3, hidden=5, batch=2, steps=4, directions=2
    )
    run = CudaTimings(device=H100, place="cpu").layer(layer)
    assert 0 < run.run() < 10
    dtype = torch.float16 if precision == "fp16" else torch.float32
    assert seen == [(precision == "tf32", dtype, (4, 2, 10))]
    assert torch.backends.cudnn.allow_tf32 is True


def test_the_other_runs_run(fake_cuda: types.SimpleNamespace) -> None:
    timings = CudaTimings(device=H100, place="cpu")
    for run in (timings.operators(3), timings.product(8, "fp32"), timings.copies(64, 2)):
        assert 0 < run.run() < 10


def test_a_fault_of_torch_is_one_sentence(
    fake_cuda: types.SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def full(_: Any) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.\nMore lines.")

    layer = CudaLayer(cell="LSTM", precision="fp16", inputs=3, hidden=5, batch=2, steps=4)
    run = CudaTimings(device=H100, place="cpu").layer(layer)
    monkeypatch.setattr(torch.nn.LSTM, "forward", lambda self, x: full(x))
    with pytest.raises(MeasurementError, match=r"LSTM in fp16 of 5 units.*Tried to allocate") as e:
        run.run()
    assert "\n" not in str(e.value)
