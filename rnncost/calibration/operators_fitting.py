"""From measured operators to their constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from rnncost.calibration.fit import fit_logs
from rnncost.calibration.operator_models import Chain
from rnncost.latency.onnxruntime_cpu.operators import operator_time
from rnncost.profiles.onnxruntime import OnnxRuntimeCpu
from rnncost.profiles.onnxruntime_operators import Operators

_FIXED = ("channels", "footprint_bytes")
_FRACTIONS = ("overlap", "cold")


def chain_s(
    chain: Chain, constants: OnnxRuntimeCpu, operators: Operators, threads: int = 1
) -> float:
    """Seconds of a run of a model that is a chain of operators."""
    return constants.run_s * chain.alone + sum(
        operator_time(
            nodes,
            executions,
            constants,
            operators,
            threads,
            chain.run_bytes,
            idle_bytes=idle,
            changed=changed,
        ).total_s
        for nodes, executions, changed, idle in chain.rows
    )


def fit_operators(
    base: Operators,
    constants: OnnxRuntimeCpu,
    chains: Sequence[Chain],
    measured_s: Sequence[float],
) -> tuple[Operators, float, list[float]]:
    """The constants of one thread that predict the chains best, beginning with ``base``.

    Products stay as ``constants`` has them. Also returns the seconds of a run, which
    chains of one and of many nodes show, and the errors that are left: logarithms of predicted
    over measured time.
    """
    start = _numbers(base)

    def predict(values: Sequence[float]) -> list[float]:
        run_s, *moved = values
        run = msgspec.structs.replace(constants, run_s=run_s)
        operators = _replaced(base, dict(zip(start, moved, strict=True)))
        return [chain_s(chain, run, operators) for chain in chains]

    values, errors = fit_logs(predict, [constants.run_s, *start.values()], measured_s)
    run_s, *moved = values
    return _replaced(base, dict(zip(start, moved, strict=True))), run_s, errors


def _numbers(operators: Operators) -> dict[tuple[str, ...], float]:
    """Every constant that may move, by its path."""
    found: dict[tuple[str, ...], float] = {}

    def walk(node: Any, path: tuple[str, ...]) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            if key in _FIXED:
                continue
            inner = (*path, str(key))
            if isinstance(value, (dict, list)):
                walk(value, inner)
            elif value > 0:
                found[inner] = float(value)

    walk(msgspec.json.decode(msgspec.json.encode(operators)), ())
    return found


def _replaced(base: Operators, values: dict[tuple[str, ...], float]) -> Operators:
    plain = msgspec.json.decode(msgspec.json.encode(base))
    for (*parents, last), value in values.items():
        place: Any = plain
        for part in parents:
            place = place[int(part) if isinstance(place, list) else part]
        place[last] = min(1.0, value) if last in _FRACTIONS else value
    return msgspec.convert(plain, Operators)
