"""What all designs of a comparison share, so that they are analysed alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Union

import msgspec

from rnncost.analysis import analyze
from rnncost.errors import BindingError
from rnncost.profiles.schema import HardwareProfile
from rnncost.report.model import Report


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller settled: shapes and values by input, profiles, threads."""

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

    def run(shapes: Mapping[str, Iterable[int]]) -> Report:
        return analyze(
            model,
            dims=dims,
            shapes=shapes,
            values=setting.values,
            profiles=setting.profiles if estimates else (),
            threads=setting.threads,
            precision=precision,
            symbolic=False,
            sha256=False,
        )

    try:
        # The dimensions say all that shapes do, unless an input's rank is not declared.
        return run({})
    except BindingError:
        if not setting.shapes:
            raise
        return run(setting.shapes)
