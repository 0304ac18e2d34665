"""Arrays give what the models of single graphs give, to the last bit."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncost import HardwareProfile, list_profiles
from rnncost.calibration.vector import constants_of, numbers_of
from rnncost.latency.arrays import CELLS, ESTIMATED, Stack, estimator_of, exact
from rnncost.latency.arrays.onnxruntime_products import calls_of, far, table_of
from rnncost.latency.assembly import PRECISION_BITS
from rnncost.latency.onnxruntime_cpu import products as scalar
from rnncost.latency.onnxruntime_cpu.defaults import default_constants
from rnncost.profiles.onnxruntime import OnnxRuntimeCpu
from rnncost.report.model import Estimate
from rnncost.search.counts import COUNTS, sizes_of
from rnncost.search.stack import Design, counted, estimated

SHIPPED = list_profiles()
MIB = 1024.0**2


def machine(seed: int, isa: str = "avx512f") -> OnnxRuntimeCpu:
    """Constants like those of a calibration: each default moved by up to a half."""
    base = default_constants(
        isa=isa,
        clock_hz=3e9,
        peak_macs_per_s=48e9,
        first_cache_bytes=49152,
        second_cache_bytes=2 * MIB,
        levels=((24 * MIB, 40e9), (float("inf"), 15e9)),
    )
    rng = random.Random(seed)
    return constants_of(
        base, [value * rng.uniform(0.5, 1.5) for value in numbers_of(base).values()]
    )


def cpu() -> HardwareProfile:
    """A CPU with three memory levels, a capacity, and figures of energy."""

    def number(value: float) -> dict[str, Any]:
        return {"value": value, "kind": "assumed", "source": "a test"}

    levels: list[dict[str, Any]] = [
        {"name": "L2", "size_bytes": number(MIB), "bandwidth_bytes_per_s": number(1e11)},
        {"name": "L3", "size_bytes": number(16 * MIB), "bandwidth_bytes_per_s": number(5e10)},
        {"name": "memory", "bandwidth_bytes_per_s": number(15e9)},
    ]
    levels[0]["per_core"] = True
    return msgspec.convert(
        {
            "schema_version": 1,
            "name": "test",
            "title": "A processor of a test",
            "kind": "cpu",
            "runtime": "onnxruntime-cpu",
            "version": "1",
            "threads": 8,
            "peak_macs_per_s": {"fp32": number(48e9), "fp16": number(9e10)},
            "memory": levels,
            "capacity": {"weight_bytes": number(1e6), "activation_bytes": number(3e5)},
            "energy": {"mac_j": number(1.3e-12), "byte_j": number(7e-11)},
        },
        HardwareProfile,
    )


def others() -> list[HardwareProfile]:
    """Profiles of what does not ship: calibrated constants, other runtimes, odd memories."""
    replace = msgspec.structs.replace
    base = cpu()
    calibrated = [
        replace(base, name=f"calibrated-{isa}", onnxruntime_cpu=machine(seed, isa))
        for seed, isa in enumerate(("avx512f", "amx", "avx2", "neon"))
    ]
    first, *rest = base.memory
    split = (
        replace(first, holds="weights"),
        *rest[:1],
        replace(rest[1], holds="activations", name="far"),
    )
    # Flash that is the farthest level of weights alone.
    flash = (*rest[:1], replace(rest[1], holds="weights"))
    return [
        *calibrated,
        replace(base, name="one-level", memory=base.memory[-1:]),
        replace(base, name="roofline", runtime="roofline"),
        replace(base, name="pytorch", runtime="pytorch-cpu"),
        replace(base, name="split", runtime="roofline", memory=split),
        replace(base, name="split-pytorch", runtime="pytorch-cpu", memory=split),
        replace(base, name="flash", runtime="roofline", memory=flash[::-1]),
    ]


OTHERS = others()


def size(rng: random.Random, most: float) -> int:
    """As often small as large, and often a multiple of what kernels like."""
    number = max(1, round(math.exp(rng.uniform(0, math.log(most)))))
    return rng.choice((number, number, -(-number // 8) * 8, -(-number // 128) * 128))


def stacks(rng: random.Random, count: int, layers: Sequence[int]) -> Stack:
    most = {"steps": 1500.0, "batch": 150.0, "inputs": 3000.0, "hidden": 3000.0}
    extents: dict[str, Any] = {
        name: np.array([float(size(rng, top)) for _ in range(count)]) for name, top in most.items()
    }
    for name in ("steps", "batch", "inputs"):
        if rng.random() < 0.3:  # one for all designs
            extents[name] = np.float64(extents[name][0])
    return Stack(
        cell=rng.choice(CELLS),
        directions=rng.choice((1, 2)),
        layers=rng.choice(layers),
        precision=rng.choice((None, None, None, *PRECISION_BITS)),
        **extents,
    )


def designs(stack: Stack, count: int) -> list[Design]:
    columns = {
        name: np.broadcast_to(getattr(stack, name), (count,)).tolist()
        for name in ("steps", "batch", "inputs", "hidden")
    }
    same: dict[str, Any] = {
        name: getattr(stack, name) for name in ("cell", "directions", "layers", "precision")
    }
    return [
        Design(**same, **{name: int(column[at]) for name, column in columns.items()})
        for at in range(count)
    ]


def expected(estimate: Estimate) -> dict[str, Any]:
    fits = estimate.fits
    return {
        "latency_s": estimate.latency_s,
        "dram_bytes": estimate.dram_bytes,
        "energy_j": estimate.energy_j,
        "fits": None if fits.weights is None else fits.weights and fits.activations,
    }


def compare(profile: HardwareProfile, rng: random.Random, count: int, layers: Sequence[int]) -> int:
    """Estimate designs in both ways; how many of them are in places of their own."""
    stack = stacks(rng, count, layers)
    threads = rng.choice((1, 1, 2, 3, 8, 500))
    estimator = estimator_of(profile, threads=threads, precision=stack.precision)
    sizes = sizes_of(stack)
    found = {
        "latency_s": estimator.latency_s(stack, sizes),
        "dram_bytes": estimator.dram_bytes(stack),
        "energy_j": estimator.energy_j(stack, sizes),
        "fits": estimator.fits(sizes),
    }
    assert set(found) == set(ESTIMATED)
    columns = {
        name: [None] * count if values is None else np.broadcast_to(values, (count,)).tolist()
        for name, values in found.items()
    }
    for at, design in enumerate(designs(stack, count)):
        wanted = expected(estimated(design, profile, threads=threads))
        assert {name: columns[name][at] for name in wanted} == wanted, (design, threads)
    return count


@pytest.mark.parametrize("profile", SHIPPED, ids=lambda profile: profile.name)
def test_every_shipped_profile(profile: HardwareProfile) -> None:
    rng = random.Random(profile.name)
    assert sum(compare(profile, rng, 8, (1, 1, 2, 5)) for _ in range(4)) == 32


@pytest.mark.parametrize("profile", OTHERS, ids=lambda profile: profile.name)
def test_every_runtime(profile: HardwareProfile) -> None:
    rng = random.Random(profile.name)
    assert sum(compare(profile, rng, 10, (1, 1, 1, 2, 3, 9)) for _ in range(20)) == 200


@pytest.mark.parametrize("profile", OTHERS[:3], ids=lambda profile: profile.name)
@given(
    hidden=st.lists(st.integers(1, 2000), min_size=1, max_size=12),
    steps=st.integers(1, 400),
    batch=st.integers(1, 80),
    inputs=st.integers(1, 2000),
    cell=st.sampled_from(CELLS),
    directions=st.sampled_from((1, 2)),
    threads=st.sampled_from((1, 2, 4)),
    precision=st.sampled_from((None, "int8")),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_one_layer_in_onnx_runtime(
    profile: HardwareProfile,
    hidden: list[int],
    steps: int,
    batch: int,
    inputs: int,
    cell: Any,
    directions: int,
    threads: int,
    precision: str | None,
) -> None:
    stack = Stack(
        cell=cell,
        directions=directions,
        layers=1,
        steps=np.float64(steps),
        batch=np.float64(batch),
        inputs=np.float64(inputs),
        hidden=np.array(hidden, np.float64),
        precision=precision,
    )
    estimator = estimator_of(profile, threads=threads, precision=precision)
    found = estimator.latency_s(stack, sizes_of(stack))
    assert np.asarray(found).tolist() == [
        estimated(design, profile, threads=threads).latency_s
        for design in designs(stack, len(hidden))
    ]


def test_counts_are_those_of_the_counting_rules() -> None:
    rng = random.Random(7)
    for _ in range(60):
        stack = msgspec.structs.replace(stacks(rng, 5, (1, 2, 3, 6)), precision=None)
        columns = {
            name: np.broadcast_to(formula(stack), (5,)).tolist() for name, formula in COUNTS.items()
        }
        for at, design in enumerate(designs(stack, 5)):
            count = counted(design)
            totals: dict[str, Any] = msgspec.structs.asdict(count.totals)
            totals["wavefront_steps"] = count.wavefront_steps
            totals["sequential_share"] = totals["sequential_macs"] / totals["macs"]
            totals["elementwise_ops"] = sum(
                totals[part] for part in ("multiplies", "adds", "bias_adds", "activations")
            )
            assert {name: column[at] for name, column in columns.items()} == {
                name: totals[name] for name in columns
            }


def test_what_a_profile_does_not_know_has_no_array() -> None:
    stack = stacks(random.Random(1), 4, (1,))
    sizes = sizes_of(stack)
    estimator = estimator_of(next(p for p in SHIPPED if p.name == "raspberry-pi-4"))
    unknown = (estimator.energy_j(stack, sizes), estimator.filling(sizes), estimator.fits(sizes))
    assert unknown == (None, None, None)


# -- the parts ----------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["as they are", "shuffled"])
def test_far_weights_at_and_around_the_measured_points(order: str) -> None:
    """Where a logarithm decides on which side of a point a working set lies."""
    points = list(machine(3).products.far)
    if order == "shuffled":  # a profile may list them so, and the search stops at the first
        random.Random(1).shuffle(points)
    products = msgspec.structs.replace(machine(3).products, far=tuple(points))
    sets = [0.0, 0.5, 1.0, 7.0]
    for point in points:
        at = point.working_set_bytes
        for _ in range(40):
            sets.append(at)
            at = math.nextafter(at, math.inf)
        at = point.working_set_bytes * 2**-0.25
        for _ in range(40):
            sets.append(at)
            at = math.nextafter(at, 0)
        sets += [point.working_set_bytes * factor for factor in (0.5, 0.83, 0.9, 1.2, 1e3)]
        at = point.working_set_bytes
        for _ in range(40):
            sets.append(at)
            at = math.nextafter(at, 0)
    byte_s, overlap = far(table_of(products), np.array(sets))
    wanted = [scalar.far(products, each) for each in sets]
    seconds = np.asarray(byte_s).tolist()
    assert seconds == [each[0] for each in wanted]
    # The overlap of weights that cost nothing has no meaning.
    meant = [
        (a, b[1])
        for a, b, s in zip(np.asarray(overlap).tolist(), wanted, seconds, strict=True)
        if s
    ]
    assert all(a == b for a, b in meant)
    assert len(meant) > 100


@pytest.mark.parametrize(
    "tiles", [(1, 2, 3, 4, 5, 6, 12), (1, 2, 4), (1,), (4, 1, 2), (2, 4), (1, 7)]
)
def test_kernel_calls(tiles: tuple[int, ...]) -> None:
    products = msgspec.structs.replace(
        machine(1).products, row_tiles=tiles, mac_s=tuple(1e-11 * tile for tile in tiles)
    )
    rows = np.arange(1, 60, dtype=np.float64)
    found = calls_of(table_of(products), rows)
    for at, count in enumerate(rows.tolist()):
        each = [(call.tile[at], call.mac_s[at], call.count[at]) for call in found]  # type: ignore[index]
        wanted = [
            (tiles[index], products.mac_s[index], calls)
            for index, calls in scalar.row_calls(int(count), tiles)
        ]
        assert [call for call in each if call[2]] == wanted
        assert (each[0][2] > 0) == bool(wanted)


@given(st.lists(st.lists(st.floats(0, 1e6), min_size=4, max_size=4), min_size=2, max_size=9))
@settings(deadline=None)
def test_sums_are_rounded_once(terms: list[list[float]]) -> None:
    found = exact.fsum([np.array(term) for term in terms])
    assert np.asarray(found).tolist() == [math.fsum(column) for column in zip(*terms, strict=True)]


def test_sums_at_a_tie_are_rounded_the_right_way() -> None:
    """Half a unit in the last place, and a little more or less that two sums lose."""
    little = 2.0**-150
    columns = [
        (1.0, 2.0**-53, little),
        (1.0, 2.0**-53, 0.0),
        (1.0 + 2.0**-52, 2.0**-53, little),
        (1.0 + 2.0**-52, 2.0**-53, -little),
        (1.0, 2.0**-53 - 2.0**-106, 2.0**-106),
    ]
    terms = [np.array(term) for term in zip(*columns, strict=True)]
    found = np.asarray(exact.fsum(terms)).tolist()
    assert found == [math.fsum(column) for column in columns]
    assert found[0] > found[1]


@given(st.lists(st.lists(st.floats(0, 1e9), min_size=3, max_size=3), min_size=1, max_size=5))
@settings(deadline=None)
def test_sums_are_those_of_python(terms: list[list[float]]) -> None:
    found = exact.summed([np.array(term) for term in terms])
    assert np.asarray(found).tolist() == [sum(column) for column in zip(*terms, strict=True)]
