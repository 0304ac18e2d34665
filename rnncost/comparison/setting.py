"""What the designs of a comparison share, so that they are analysed alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Union

import msgspec

from rnncost.analysis import analyze
from rnncost.errors import BindingError, ProfileError
from rnncost.profiles.schema import HardwareProfile
from rnncost.profiles.store import default_profile, load_profile
from rnncost.report.model import Report
from rnncost.variants import inputs_for


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller settled: shapes and values by input, profiles, threads.

    For a rewritten model, shapes and values are those that fit it.
    """

    shapes: Mapping[str, Iterable[int]]
    values: Mapping[str, Any]
    profiles: tuple[HardwareProfile, ...]
    threads: int


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A model with its report, which can be analysed again with other dimensions.

    ``model`` is the path of an .onnx file or an ``onnx.ModelProto``; the report binds all
    its free dimensions. ``precision`` is what it is estimated in, None for its own types.
    """

    model: Any
    setting: Setting
    report: Report
    precision: Union[str, None] = None

    def at(self, dims: Mapping[str, int], *, estimates: bool = True) -> Report:
        """The report with some dimensions bound otherwise.

        Raises:
            BindingError: the model has no such dimension, or another input contradicts it.
            ModelError: the model does not work with it.
        """
        return analysed(
            self.model,
            self.setting,
            {**self.report.bindings.dims, **dims},
            precision=self.precision,
            estimates=estimates,
        )


def profiles_of(given: Any) -> tuple[HardwareProfile, ...]:
    """The profiles that a caller names, by default that of this machine or a general one.

    Raises:
        ProfileError: one is missing or wrong, or two have one name.
    """
    if isinstance(given, (str, Path, HardwareProfile)):
        given = (given,)
    found: dict[str, HardwareProfile] = {}
    for one in tuple(given or ()) or (default_profile(),):
        profile = one if isinstance(one, HardwareProfile) else load_profile(one)
        # Figures are told apart by the names of their profiles.
        if found.setdefault(profile.name, profile) != profile:
            raise ProfileError(
                f"two profiles are named {profile.name!r}: give one of them another name"
            )
    return tuple(found.values())


def rewritten(base: Subject, model: Any) -> tuple[Subject, list[str]]:
    """A variant of a model, with the same inputs as far as it has them and they fit it.

    Args:
        base: the model as it is.
        model: the variant, an ``onnx.ModelProto``.

    Returns:
        The variant with its report, and what is to be said of values that do not fit it.

    Raises:
        BindingError: what the model's inputs were does not say what the variant's are.
        ModelError: the variant cannot be followed.
    """
    bindings = base.report.bindings
    shapes, values = inputs_for(model, base.setting.shapes, base.setting.values)
    setting = msgspec.structs.replace(base.setting, shapes=shapes, values=values)
    # A dimension may be free no more, or have another name where an input has gone: what
    # the inputs were says more than what their dimensions were called.
    extents, _ = inputs_for(model, bindings.shapes)
    inputs = {info.name: info.type.tensor_type.shape.dim for info in model.graph.input}
    named = {dim.dim_param for shape in inputs.values() for dim in shape}
    dims = {name: value for name, value in bindings.dims.items() if name in named}
    report = _report(model, setting, dims, extents, assume=False)
    left_out = [name for name in base.setting.values if name in inputs and name not in values]
    notes = [
        f"the value of {name!r} is not used, as it has another shape here" for name in left_out
    ]
    return Subject(model=model, setting=setting, report=report), notes


def analysed(
    model: Any,
    setting: Setting,
    dims: Mapping[str, int],
    *,
    precision: str | None = None,
    estimates: bool = True,
) -> Report:
    """The report of a model with all its free dimensions bound.

    Raises:
        BindingError: the model has no such dimension, or an input contradicts it.
        ModelError: the model cannot be followed.
    """
    options: dict[str, Any] = {"precision": precision, "estimates": estimates}
    try:
        # The dimensions say all that shapes do, unless an input's rank is not declared.
        return _report(model, setting, dims, {}, **options)
    except BindingError:
        if not setting.shapes:
            raise
        return _report(model, setting, dims, setting.shapes, **options)


def _report(
    model: Any,
    setting: Setting,
    dims: Mapping[str, int],
    shapes: Mapping[str, Iterable[int]],
    *,
    assume: bool = True,
    precision: str | None = None,
    estimates: bool = True,
) -> Report:
    return analyze(
        model,
        dims=dims,
        shapes=shapes,
        values=setting.values,
        assume=assume,
        profiles=setting.profiles if estimates else (),
        threads=setting.threads,
        precision=precision,
        symbolic=False,
        sha256=False,
    )
