"""The suite ``published``: cuDNN's recurrent layers against the published times of DeepBench.

What the benchmark times is one call of cuDNN for one layer: the input has the hidden size
and its product is skipped, the states are given, a vanilla RNN uses ReLU, and the algorithm
is the standard one. The constants are fitted on the devices of a case's training set alone;
of the device that is left out only data-sheet facts are used.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from importlib.resources import files

import msgspec

from rnncost.latency.cudnn_constants import CUDNN_8
from rnncost.latency.cudnn_kernels import Constants, Gpu, Layer, standard_s, work_of_layer
from rnncost.suites.model import Case, SuiteResult
from rnncost.suites.published_fit import Sample, fit

FIVE = ("Tesla M40", "GTX TITAN X (Maxwell)", "TITAN X (Pascal)", "TITAN Xp", "Tesla P100")
LEFT_OUT = "one device left out"
THREE_SHAPES = "three own shapes"
NO_TWIN = "one device and its twin left out"
UNSEEN = "GTX 1080 Ti, never fitted"
NEWER = "V100 with cuDNN 7.6, one hidden size left out"
ROOFLINE, COPY, SCALED = "bare roofline", "nearest device", "nearest device, scaled"

START = Constants(
    source="where a fit starts",
    call_s=5.0e-5,
    startup_s=2.0e-5,
    floor_s=8.0e-6,
    bandwidth_share=0.7,
    depth_s=(3.0e-8, 6.0e-8, 6.0e-8, 6.0e-8),
    tile_share=(0.3, 0.5, 0.5, 0.6),
)
RECENT_START = msgspec.structs.replace(START, floor_s=CUDNN_8.floor_s)
"""Where the fit to the V100 starts; the floor stays, as its source is a later library."""
PULL = 0.2
"""How far the start holds a constant that the samples do not tell."""
OWN_PULL = 0.33
"""How far the fit on the other devices holds a constant against three times of the device."""

_TWINS = {
    "Tesla M40": "GTX TITAN X (Maxwell)",
    "GTX TITAN X (Maxwell)": "Tesla M40",
    "TITAN X (Pascal)": "TITAN Xp",
    "TITAN Xp": "TITAN X (Pascal)",
}
"""Cards whose data sheets differ by a few percent: to know one is to know the other."""
GATES = {"vanilla": 1, "gru": 3, "lstm": 4}
_CASE = ("phase", "precision", "cell", "hidden_size", "batch", "steps")


class Facts(msgspec.Struct, frozen=True):
    """FLOPs a second in fp32 and with fp16 inputs, multiprocessors, bytes a second, L2 bytes."""

    fp32_flops: float
    fp16_flops: float
    cores: int
    bytes_per_s: float
    l2_bytes: float


DEVICES = {
    "Tesla M40": Facts(6.832e12, 6.832e12, 24, 288.4e9, 3 * 2**20),
    "GTX TITAN X (Maxwell)": Facts(6.6e12, 6.6e12, 24, 336.5e9, 3 * 2**20),
    "TITAN X (Pascal)": Facts(10.97e12, 10.97e12, 28, 480.0e9, 3 * 2**20),
    "TITAN Xp": Facts(12.15e12, 12.15e12, 30, 547.7e9, 3 * 2**20),
    "Tesla P100": Facts(9.3e12, 9.3e12, 56, 732.0e9, 4 * 2**20),
    "GTX 1080 Ti": Facts(11.34e12, 11.34e12, 28, 484.0e9, 2.75 * 2**20),
    "Tesla V100": Facts(15.7e12, 125e12, 80, 900.0e9, 6 * 2**20),
}
"""NVIDIA's data sheets. The P100 sat in a workstation board, so it is the PCIe card, and
multiplied 16-bit inputs in fp32; the V100, of a DGX-1, multiplied them in tensor cores."""


class Row(msgspec.Struct, frozen=True):
    """A published time of one call."""

    device: str
    precision: str
    cell: str
    hidden_size: int
    batch: int
    steps: int
    phase: str
    time_s: float
    library: str

    @property
    def case(self) -> tuple[object, ...]:
        """What was run, whatever the device."""
        return tuple([getattr(self, name) for name in _CASE])

    @property
    def half(self) -> bool:
        """Whether the inputs have 16 bits."""
        return self.precision.startswith("fp16")


def sheet_rows() -> list[Row]:
    """All published times: forward passes of training and inference, and backward passes."""
    with files("rnncost.suites").joinpath("published.csv").open(encoding="utf-8") as file:
        lines = csv.DictReader(line for line in file if not line.startswith("#"))
        return [msgspec.convert(dict(line), Row, strict=False) for line in lines]


def published_rows() -> list[Row]:
    """The published times of forward passes, of training and of inference sheets."""
    return [row for row in sheet_rows() if row.phase in ("fwd", "inference")]


def gpu_of(row: Row) -> Gpu:
    """The device of a row, from its data sheet."""
    facts = DEVICES[row.device]
    flops = facts.fp16_flops if row.half else facts.fp32_flops
    # Data sheets say nothing of the bandwidth of L2: the memory's is taken for both.
    return Gpu(
        macs_per_s=flops / 2,
        cores=facts.cores,
        weight_levels=((facts.l2_bytes, facts.bytes_per_s), (math.inf, facts.bytes_per_s)),
    )


def layer_of(row: Row) -> Layer:
    """The layer of a row."""
    return Layer(
        gates=GATES[row.cell],
        hidden=row.hidden_size,
        output=row.hidden_size,
        batch=row.batch,
        steps=row.steps,
        directions=1,
        element_bytes=2 if row.half else 4,
    )


def sample_of(row: Row) -> Sample:
    """A forward row as the model sees it: from its shape and the data sheet of its device."""
    return Sample(work_of_layer(layer_of(row), gpu_of(row)), row.time_s)


def fit_rows(rows: Iterable[Row], start: Constants = START, pull: float = PULL) -> Constants:
    """The constants that fit some rows."""
    return fit([sample_of(row) for row in rows], start, pull=pull)


def fit_recent(rows: Iterable[Row]) -> Constants:
    """The constants that fit rows of the V100, with the floor of a later library."""
    samples = [sample_of(row) for row in rows]
    return fit(samples, RECENT_START, pull=PULL, keep_floor=True)


def predict(row: Row, constants: Constants) -> float:
    """Seconds that the model predicts for a row."""
    return standard_s(sample_of(row).work, constants)


def published_suite() -> SuiteResult:
    """Leave one device out at a time, fit on the others, and predict; see docs/accuracy.md."""
    rows = published_rows()
    five = [row for row in rows if row.device in FIVE]
    cases = [case for device in FIVE for case in _device_cases(device, five)]
    constants = fit_rows(five)
    errors = [
        math.log(case.measured_s / case.predicted_s) for case in cases if case.group == LEFT_OUT
    ]
    unseen = [row for row in rows if row.device == "GTX 1080 Ti"]
    cases += _cases(UNSEEN, unseen, constants, bounds_of(errors), five)
    cases += _newer_cases([row for row in rows if row.device == "Tesla V100"])
    from rnncost.suites.published_backward import backward_cases

    cases += backward_cases()
    return SuiteResult(
        suite="published",
        cases=cases,
        facts={
            "source": "DeepBench result sheets by Baidu Research (Apache-2.0)",
            "constants of all five devices": _text(constants),
        },
        notes=[
            "M40 and TITAN X (Maxwell), and TITAN X (Pascal), TITAN Xp and GTX 1080 Ti, are near "
            f"copies of one another: see '{NO_TWIN}'",
            "no device but the P100 has rows with 16-bit inputs among the five",
        ],
    )


def _device_cases(device: str, rows: Sequence[Row]) -> list[Case]:
    """The cases of a device that is left out: alone, with three of its shapes, with its twin."""
    others = [row for row in rows if row.device != device]
    own = [row for row in rows if row.device == device]
    constants = fit_rows(others)
    plain, tuned = _held_out_errors(others)
    cases = _cases(LEFT_OUT, own, constants, bounds_of(plain), others)

    shapes, scored = _with_three_shapes(own, constants)
    ratio = _median([row.time_s / copied_s(row, others) for row in shapes])
    for row, tuned_constants in scored:
        case = _case(THREE_SHAPES, row, tuned_constants, bounds_of(tuned), others)
        baselines = {**case.baselines, SCALED: case.baselines[COPY] * ratio}
        cases.append(msgspec.structs.replace(case, baselines=baselines))

    if device in _TWINS:
        others = [row for row in others if row.device != _TWINS[device]]
        known = {row.case for row in others}
        own = [row for row in own if row.case in known]
        plain, _ = _held_out_errors(others)
        cases += _cases(NO_TWIN, own, fit_rows(others), bounds_of(plain), others)
    return cases


def _held_out_errors(rows: Sequence[Row]) -> tuple[list[float], list[float]]:
    """The errors on each device of some rows when the constants come from its fellows.

    First as predicted so, then with three shapes of the device.
    """
    plain: list[float] = []
    tuned: list[float] = []
    for device in sorted({row.device for row in rows}):
        constants = fit_rows(row for row in rows if row.device != device)
        held = [row for row in rows if row.device == device]
        plain += [_error(row, constants) for row in held]
        tuned += [_error(row, own) for row, own in _with_three_shapes(held, constants)[1]]
    return plain, tuned


def _with_three_shapes(
    rows: Sequence[Row], constants: Constants
) -> tuple[list[Row], list[tuple[Row, Constants]]]:
    """Three rows of each precision of a device, and all others with the constants they tune.

    The three stand at one, three and five sixths when the rows are sorted by the time that
    is predicted for a step.
    """
    shapes: list[Row] = []
    scored: list[tuple[Row, Constants]] = []
    for precision in sorted({row.precision for row in rows}):
        own = [row for row in rows if row.precision == precision]
        own.sort(key=lambda row: (predict(row, constants) / row.steps, row.case))
        three = [own[len(own) * k // 6] for k in (1, 3, 5)]
        tuned = fit_rows(three, constants, OWN_PULL)
        shapes += three
        scored += [(row, tuned) for row in own if row not in three]
    return shapes, scored


def _newer_cases(rows: Sequence[Row]) -> list[Case]:
    """The V100's cases, one hidden size left out at a time."""
    sizes = sorted({row.hidden_size for row in rows})
    fits = {h: fit_recent(row for row in rows if row.hidden_size != h) for h in sizes}
    errors = {h: [_error(row, fits[h]) for row in rows if row.hidden_size == h] for h in sizes}
    cases = []
    for h in sizes:
        bounds = bounds_of([e for other in sizes if other != h for e in errors[other]])
        own = [row for row in rows if row.hidden_size == h]
        cases += [_case(NEWER, row, fits[h], bounds, ()) for row in own]
    return cases


def _cases(
    group: str,
    rows: Iterable[Row],
    constants: Constants,
    bounds: tuple[float, float],
    others: Sequence[Row],
) -> list[Case]:
    return [_case(group, row, constants, bounds, others) for row in rows]


def _case(
    group: str,
    row: Row,
    constants: Constants,
    bounds: tuple[float, float],
    others: Sequence[Row],
) -> Case:
    predicted_s = predict(row, constants)
    baselines = {ROOFLINE: roofline_s(row)}
    if others:
        baselines[COPY] = copied_s(row, others)
    return Case(
        name=name_of(row),
        group=group,
        features=features_of(row),
        measured_s=row.time_s,
        predicted_s=predicted_s,
        low_s=predicted_s * bounds[0],
        high_s=predicted_s * bounds[1],
        baselines=baselines,
    )


def name_of(row: Row) -> str:
    """What a row is about, in words."""
    return (
        f"{row.device} {row.precision} {row.cell} H={row.hidden_size} B={row.batch} "
        f"T={row.steps} {row.phase}"
    )


def features_of(row: Row) -> dict[str, str | int | float]:
    """What a row's error may depend on."""
    return {
        "device": row.device,
        "precision": row.precision,
        "cell": row.cell,
        "H": row.hidden_size,
        "B": row.batch,
        "T": row.steps,
        "library": row.library,
    }


def roofline_s(row: Row) -> float:
    """The larger of FLOPs by peak and of R's bytes by bandwidth, every step."""
    facts = DEVICES[row.device]
    weights = GATES[row.cell] * row.hidden_size**2
    flops_s = 2 * weights * row.batch / (facts.fp16_flops if row.half else facts.fp32_flops)
    return row.steps * max(flops_s, weights * (2 if row.half else 4) / facts.bytes_per_s)


def copied_s(row: Row, others: Sequence[Row]) -> float:
    """The measured time of the same case on the device whose data sheet is nearest.

    Nearest by the sum of squared logarithms of the ratios of peak, multiprocessors,
    bandwidth and L2. Where it has no such row (16-bit inputs), its fp32 row is taken.
    """
    mine = DEVICES[row.device]

    def distance(device: str) -> float:
        other = DEVICES[device]
        names = ("fp32_flops", "cores", "bytes_per_s", "l2_bytes")
        return sum(math.log(getattr(mine, n) / getattr(other, n)) ** 2 for n in names)

    wanted = (row.case, msgspec.structs.replace(row, precision="fp32").case)
    same = [other for other in others if other.case in wanted]
    return min(same, key=lambda other: (distance(other.device), wanted.index(other.case))).time_s


def _error(row: Row, constants: Constants) -> float:
    return math.log(row.time_s / predict(row, constants))


def bounds_of(errors: Sequence[float]) -> tuple[float, float]:
    """The ratios of measured to predicted time that 5 % and 95 % of the errors lie below."""
    import numpy as np

    low, high = np.quantile(errors, (0.05, 0.95))
    return math.exp(low), math.exp(high)


def _median(values: Sequence[float]) -> float:
    import numpy as np

    return float(np.median(values))


def _text(constants: Constants) -> str:
    values = msgspec.structs.asdict(constants)
    return ", ".join(
        f"{name} {_shown(values[name])}"
        for name in ("call_s", "startup_s", "floor_s", "bandwidth_share", "depth_s", "tile_share")
    )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "/".join(_shown(part) for part in value)
    return f"{value:.3g}"
