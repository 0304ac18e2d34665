"""Reports made by hand for the renderer tests; their totals are sums of their operators."""

from __future__ import annotations

from rnncost.report.model import (
    Bindings,
    Estimate,
    Fits,
    Metrics,
    ModelInfo,
    OpEstimate,
    OpRow,
    Report,
    Tool,
    Totals,
    UncountedOp,
)

STEPS = ("sequential_steps", "executed_steps", "lookahead_steps")


def lstm(name: str, *, i: int, h: int, t: int = 98, b: int = 1, d: int = 1) -> OpRow:
    """An LSTM with both ONNX biases, counted by docs/counting.md."""
    rows = t * b * d
    params = d * (4 * h * (i + h) + 8 * h)
    macs = rows * 4 * h * (i + h)
    return OpRow(
        name=name,
        op_type="LSTM",
        kind="recurrent",
        precision="fp32",
        dims={"T": t, "B": b, "I": i, "H": h, "D": d, "G": 4},
        textbook_params=params - d * 4 * h,
        formulas={"macs": "T*B*D*4*H*(I+H)"},
        params=params,
        active_params=params,
        weight_bytes=4 * params,
        macs=macs,
        dense_macs=macs,
        parallel_macs=rows * 4 * h * i,
        sequential_macs=rows * 4 * h * h,
        elementwise_ops=rows * 21 * h,
        multiplies=rows * 3 * h,
        adds=rows * 5 * h,
        bias_adds=rows * 8 * h,
        activations=rows * 5 * h,
        activation_bytes=4 * t * b * (i + d * h),
        state_bytes=2 * 4 * b * d * h,
        peak_activation_bytes=4 * t * b * (i + d * h + 4 * h),
        compulsory_bytes=4 * params,
        streamed_bytes=4 * (params + (t - 1) * d * 4 * h * h + t * b * (i + d * h)),
        sequential_steps=t,
        executed_steps=d * t,
        lookahead_steps=(d - 1) * (t - 1),
    )


def matmul(name: str, m: int, k: int, n: int) -> OpRow:
    return OpRow(
        name=name,
        op_type="MatMul",
        kind="product",
        precision="int8",
        extents={"M": m, "K": k, "N": n},
        formulas={"macs": "M*K*N"},
        params=k * n,
        active_params=k * n,
        quantization_params=2,
        weight_bytes=k * n,
        macs=m * k * n,
        dense_macs=m * k * n,
        parallel_macs=m * k * n,
        compulsory_bytes=k * n,
        streamed_bytes=k * n + 4 * m * (k + n),
    )


def relu(name: str, n: int) -> OpRow:
    return OpRow(
        name=name,
        op_type="Relu",
        kind="elementwise",
        elementwise_ops=n,
        activations=n,
        streamed_bytes=8 * n,
    )


def report_of(ops: list[OpRow], **facts: object) -> Report:
    """A report whose totals are the operators' sums, and the steps those of a stack."""
    sums = {key: sum(getattr(op, key) for op in ops) for key in Metrics.__struct_fields__}
    sums["lookahead_steps"] = max((op.lookahead_steps for op in ops), default=0)
    sums["peak_activation_bytes"] = max((op.peak_activation_bytes for op in ops), default=0)
    macs = sums["macs"]
    totals = Totals(
        **sums,
        wavefront_steps=max((op.sequential_steps + 1 for op in ops), default=0),
        sequential_share=sums["sequential_macs"] / macs if macs else 0.0,
        streamable=not sums["lookahead_steps"],
        compulsory_arithmetic_intensity=macs / (sums["compulsory_bytes"] or 1),
        streamed_arithmetic_intensity=macs / (sums["streamed_bytes"] or 1),
    )
    known: dict[str, object] = {
        "tool": Tool("rnncost", "0.0.0"),
        "model": ModelInfo(path="model.onnx", format="onnx", opset={"": 17}),
        "bindings": Bindings(),
        "uncounted": [],
        "coverage": 1.0,
    }
    return Report(totals=totals, ops=ops, **(known | facts))  # type: ignore[arg-type]


def spotter() -> Report:
    """Everything a report can say, in ordinary words."""
    note = "the lengths of the sequences are not known, so every row is counted"
    ops = [
        matmul("/frontend/project/MatMul", 98, 40, 64),
        relu("/frontend/Relu", 98 * 64),
        lstm("/encoder/layers.0/wrapper/recurrent/lstm/LSTM", i=64, h=96),
        lstm("/encoder/layers.1/wrapper/recurrent/lstm/LSTM", i=96, h=96, d=2),
        relu("/head/Relu", 98 * 192),
        matmul("/head/classify/MatMul", 98, 192, 12),
    ]
    ops[2] = _replace(ops[2], notes=[note])
    ops[3] = _replace(ops[3], notes=[note])
    slowest = OpEstimate(name=ops[3].name, latency_s=1.1e-3, bound_by="memory", step_s=5.2e-6)
    return report_of(
        ops,
        model=ModelInfo(
            path="keyword_spotter.onnx",
            format="onnx",
            producer="pytorch 2.4",
            opset={"": 17, "com.microsoft": 1},
            sha256="ab" * 32,
        ),
        bindings=Bindings(
            dims={"batch": 1, "seq": 98, "mels": 40},
            assumed=["batch", "seq"],
            shapes={"input": [1, 98, 40]},
            values={"rate": 16000, "mask": {"shape": [4], "elements": [1, 1, 0, 0]}},
            traced=True,
        ),
        uncounted=[UncountedOp("/frontend/Mystery", "acme::Mystery", "no rule for this operator")],
        coverage=6 / 7,
        estimates=[
            Estimate(
                profile="x86-64-server-core",
                profile_version="1.0",
                runtime="onnxruntime",
                threads=1,
                precision="fp32",
                latency_s=1.93e-3,
                latency_low_s=1.5e-3,
                latency_high_s=2.9e-3,
                sequential_s=1.4e-3,
                parallel_s=5e-4,
                overhead_s=3e-5,
                step_s=5.2e-6,
                bound_by="memory",
                dram_bytes=1_260_000,
                fits=Fits(True, True),
                ops=[slowest],
            ),
            Estimate(
                profile="cortex-m7-480mhz-microcontroller",
                profile_version="1.2",
                runtime="cmsis-nn",
                threads=2,
                precision="int8",
                latency_s=0.41,
                sequential_s=0.3,
                parallel_s=0.1,
                overhead_s=0.01,
                step_s=2.1e-3,
                bound_by="compute",
                energy_j=0.082,
                fits=Fits(False, None),
                calibrated=True,
                notes=["weights are read from flash"],
            ),
        ],
        symbolic={
            "macs": "236288*batch*seq + 12*batch*seq^2",
            "dense_macs": "236288*batch*seq + 12*batch*seq^2",
            "multiplies": "0",
            "sequential_steps": "2*seq",
        },
        warnings=["the declared shape of output 'logits' is wrong; the computed one is used"],
    )


def plain() -> Report:
    """A model without recurrence, weights that are all used, and no estimate."""
    return report_of([matmul("fc", 1, 8, 4), relu("act", 4)])


HOSTILE = (
    "\x1b[31mred\x1b[0m\x07",
    "two\nlines\r\tand a tab",
    "pipe|back\\slash\\|`tick`",
    "<script>alert(1)</script>&amp;",
    "=HYPERLINK(1)",
    "+1",
    "-1",
    "@team #12",
    "*bold* _it_ ~~gone~~ [x](http://x) $m$",
    "right\u202eleft",
    "half \udc80 surrogate",
    "c1 \x9b31m",
    "'quoted",
    "",
)


def hostile() -> Report:
    """Every text that a model can supply tries to act as something else."""
    ops = [_replace(relu(name, 1), op_type=name, notes=[name]) for name in HOSTILE]
    ops.append(_replace(lstm(HOSTILE[2], i=2, h=2, t=2**70), formulas={"macs": HOSTILE[3]}))
    text = " ".join(HOSTILE)
    return report_of(
        ops,
        model=ModelInfo(path=text, format="onnx", producer=text, opset={text: 1}),
        bindings=Bindings(
            dims={text: 1}, assumed=[text], shapes={text: [1]}, values={text: [text]}
        ),
        uncounted=[UncountedOp(text, text, text)],
        coverage=0.5,
        symbolic={"macs": text},
        warnings=list(HOSTILE),
    )


def _replace(op: OpRow, **changes: object) -> OpRow:
    import msgspec

    return msgspec.structs.replace(op, **changes)
