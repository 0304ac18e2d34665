"""Metrics of many designs at once, from arrays of their sizes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncost.errors import BindingError
from rnncost.latency.arrays import Stack
from rnncost.search.axis import LARGEST, whole_number
from rnncost.search.metrics import Column, Profiles, Target, metric_of
from rnncost.search.space import (
    BLOCK,
    MOST_LAYERS,
    MOST_THREADS,
    Block,
    check_exact,
    kind_of,
)


def evaluate(
    metrics: str | Iterable[str],
    *,
    inputs: Any,
    hidden: Any,
    steps: Any = 100,
    batch: Any = 1,
    cell: str = "lstm",
    layers: int = 1,
    direction: str = "uni",
    precision: str = "fp32",
    threads: int = 1,
    profiles: Iterable[Any] = (),
) -> dict[str, Column]:
    """What ``rnncost.analyze`` reports for many stacks of recurrent layers, as arrays.

    Args:
        metrics: ``"params"``, ``"latency_s@raspberry-pi-4"`` ...; docs/fit.md lists them.
        inputs: features of the input; as the other sizes a whole number from 1 on, or an array
            of them. The arrays are broadcast against each other.
        hidden: units of a direction.
        steps: time steps.
        batch: rows.
        cell: "lstm", "gru" or "rnn".
        layers: layers of the stack, for all designs.
        direction: "uni" or "bi".
        precision: of the estimates and of all bytes.
        threads: threads of the runtime.
        profiles: loaded profiles that metrics name, beside those that can be found by name.

    Returns:
        An array for each metric: int64, or float64 for seconds, joules and shares, bool for fits.

    Raises:
        BindingError: a metric, a name or a size is wrong.
        ProfileError: a profile is missing or wrong.
    """
    known = Profiles(profiles)
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    wanted = [metric_of(name, known) for name in names]
    kind = kind_of(cell, direction, precision)
    sizes = {
        name: _sizes(name, given)
        for name, given in (
            ("inputs", inputs),
            ("hidden", hidden),
            ("steps", steps),
            ("batch", batch),
        )
    }
    try:
        shape = np.broadcast_shapes(*(size.shape for size in sizes.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {size.shape}" for name, size in sizes.items())
        raise BindingError(f"the shapes of the arrays do not go together: {shapes}") from None
    count = whole_number("layers", layers, MOST_LAYERS)
    threads = whole_number("threads", threads, MOST_THREADS)
    if not np.prod(shape):
        return {metric.key: np.empty(shape) for metric in wanted}
    check_exact(
        **{name: int(size.max()) for name, size in sizes.items()},
        layers=count,
        threads=threads,
    )
    target = Target(known.own, threads)
    # Sizes that all designs share stay single numbers, which saves work.
    flat = {
        name: np.float64(size.flat[0]) if size.size == 1 else np.broadcast_to(size, shape).ravel()
        for name, size in sizes.items()
    }
    total = int(np.prod(shape))
    parts: dict[str, list[Column]] = {metric.key: [] for metric in wanted}
    for start in range(0, total, BLOCK):
        numbers = np.arange(start, min(start + BLOCK, total))
        own: dict[str, Any] = {
            name: size if np.ndim(size) == 0 else size[start : start + BLOCK]
            for name, size in flat.items()
        }
        block = Block(numbers, Stack(**kind, layers=count, **own))
        for key, column in target.columns(block, wanted).items():
            parts[key].append(column)
    return {
        metric.key: _typed(np.concatenate(parts[metric.key]).reshape(shape), metric.whole)
        for metric in wanted
    }


def _typed(column: Column, whole: bool) -> Column:
    return column.astype(np.int64) if whole else column


def _sizes(name: str, given: Any) -> NDArray[np.float64]:
    array = np.asarray(given)
    good = array.dtype.kind in "iu" and bool(((array >= 1) & (array <= LARGEST)).all())
    if not good:
        raise BindingError(f"{name} must be whole numbers from 1 to {LARGEST:,}, as integers")
    return array.astype(np.float64)
