"""Reports for the tests of the web page: the bundled model, and the same with hostile names."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
from report_samples import HOSTILE

import rnncost
from rnncost.profiles.schema import HardwareProfile
from rnncost.report.model import Report, UncountedOp

MODEL = Path(__file__).parent.parent / "examples" / "keyword_spotter.onnx"
PROFILES = ("x86-64-server-core", "raspberry-pi-4")

ATTACKS = (
    *HOSTILE,
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "<!--<script>alert(1)//",
    "' onmouseover='alert(1)",
    "line\u2028paragraph\u2029",
    "\u2066isolate\u2069 \u200fmark",
    "$$\\href{javascript:alert(1)}{x}$$ \\(x\\) \\[y\\]",
    '<a href="https://example.com">link</a><b>bold</b>',
    "@name{safe} $index &lt;b&gt;",
    "]]></style><style>*{display:none}</style>",
    "a" * 400,
)


@cache
def spotter() -> Report:
    """The bundled model on two profiles."""
    return rnncost.analyze(MODEL, profiles=PROFILES)


@cache
def trained() -> Report:
    """The bundled model with the cost of a training step, on a GPU."""
    return rnncost.analyze(MODEL, profiles="h100-sxm", training=True, optimizer="sgd-momentum")


def attacked_training() -> Report:
    """The same with an attack in every text of the training step."""
    report = trained()
    training = report.training
    assert training is not None
    whole = " ".join(ATTACKS)
    return msgspec.structs.replace(
        report,
        training=msgspec.structs.replace(
            training,
            optimizer=whole,
            formula=whole,
            peak=msgspec.structs.replace(training.peak, where=whole),
            ops=[
                msgspec.structs.replace(
                    op, name=attack, op_type=attack, implementation=attack, formula=attack
                )
                for op, attack in zip(training.ops, ATTACKS, strict=False)
            ],
            uncounted=[UncountedOp(whole, whole, whole)],
            estimates=[
                msgspec.structs.replace(e, profile=whole, precision=whole, notes=[whole])
                for e in training.estimates
            ],
            notes=[whole],
        ),
    )


@cache
def profiles() -> tuple[HardwareProfile, ...]:
    return tuple(rnncost.load_profile(name) for name in PROFILES)


def attacked(*, also_profiles: bool = False) -> Report:
    """The bundled model with an attack in every text, each operator with another one."""
    report = spotter()
    names = [f"{ATTACKS[i % len(ATTACKS)]} {i}" for i in range(len(report.ops))]
    whole = " ".join(ATTACKS)
    ops = [
        msgspec.structs.replace(op, name=name, op_type=name, notes=[name])
        for op, name in zip(report.ops, names, strict=True)
    ]
    estimates = [
        msgspec.structs.replace(
            estimate,
            profile=f"{whole} {number}" if also_profiles else estimate.profile,
            runtime=whole,
            bound_by=whole,
            notes=[whole],
            ops=[
                msgspec.structs.replace(op, name=name, bound_by=name)
                for op, name in zip(estimate.ops, names, strict=True)
            ],
        )
        for number, estimate in enumerate(report.estimates)
    ]
    model = msgspec.structs.replace(report.model, path=whole, producer=whole, opset={whole: 1})
    bindings = msgspec.structs.replace(
        report.bindings, dims={whole: 1}, assumed=[whole], shapes={whole: [1]}, values={whole: 1}
    )
    return msgspec.structs.replace(
        report,
        tool=msgspec.structs.replace(report.tool, version=whole),
        model=model,
        bindings=bindings,
        ops=ops,
        estimates=estimates,
        uncounted=[UncountedOp(whole, whole, whole)],
        coverage=0.9,
        symbolic={"macs": whole},
        warnings=[whole],
    )
