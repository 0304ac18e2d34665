"""How a model is trained."""

from __future__ import annotations

import operator
from typing import Any

import msgspec

from rnncost.errors import BindingError
from rnncost.training.optimizers import find_optimizer


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The optimiser, the steps that back-propagation is truncated to, and those of a
    checkpointed segment (0: the square root of all steps); None without either.
    """

    optimizer: str = "adam"
    bptt: int | None = None
    segment: int | None = None


def training_options(
    training: bool,
    optimizer: str | None,
    bptt: int | None,
    checkpoint: bool | int,
    precision: str | None = None,
) -> Options | None:
    """The options of ``analyze``, checked; None where training was not asked for.

    Raises:
        BindingError: an option has no meaning without training or beside another one, the
            optimiser is unknown, a number of steps is below 1, or the precision is int8.
    """
    if not training:
        given = {"optimizer": optimizer, "bptt": bptt, "checkpoint": checkpoint or None}
        for name, value in given.items():
            if value is not None:
                raise BindingError(f"{name} is about training: give training too")
        return None
    options = Options(
        optimizer="adam" if optimizer is None else optimizer,
        bptt=None if bptt is None else _steps("bptt", bptt),
        segment=None if checkpoint is False else 0,
    )
    if not isinstance(checkpoint, bool):
        options = msgspec.structs.replace(options, segment=_steps("checkpoint", checkpoint))
    find_optimizer(options.optimizer)
    if precision == "int8":
        raise BindingError("training is counted for float numbers: give another precision")
    if options.bptt is not None and options.segment is not None:
        raise BindingError("bptt and checkpoint exclude each other: choose one of them")
    return options


def _steps(name: str, given: Any) -> int:
    try:
        steps = operator.index(given)
    except TypeError:
        raise BindingError(f"{name} must be a whole number of steps, not {given!r}") from None
    if steps < 1:
        raise BindingError(f"{name} must be at least 1 step, not {steps}")
    return steps
