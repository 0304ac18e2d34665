"""Models in fewer bits, as ONNX Runtime's own tools make them."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from rnncost.errors import MeasurementError, RuntimeUnavailableError
from rnncost.runtime.session import reason

if TYPE_CHECKING:
    import numpy as np

Feed = Mapping[str, "np.ndarray[Any, Any]"]

_WARNINGS, _ERRORS = 2, 3
"""Severities of ONNX Runtime's messages; it starts with warnings."""

_LOAD_LIMIT_S = 300.0
_LOAD = (
    "import sys, onnxruntime as ort\n"
    "options = ort.SessionOptions()\n"
    "options.log_severity_level = 4\n"
    "ort.InferenceSession(sys.argv[1], options, providers=['CPUExecutionProvider'])\n"
)


def prepare_quantization(model: Union[str, Path], result: Union[str, Path]) -> None:
    """Write a model as ONNX Runtime advises it to be before it is quantised.

    Constants are folded and values have shapes, so that weights are stored as operators read
    them: others are not quantised.

    Args:
        model: path of an .onnx file.
        result: where to write the prepared one.

    Raises:
        MeasurementError: ONNX Runtime cannot prepare it.
        RuntimeUnavailableError: ONNX Runtime's quantisation cannot be imported.
    """
    with _tools():
        from onnxruntime.quantization.shape_inference import quant_pre_process

        quant_pre_process(str(model), str(result), skip_symbolic_shape=True)


def quantize_dynamic(
    model: Union[str, Path], result: Union[str, Path], *, subgraphs: bool = False
) -> None:
    """Write a model with the weights quantised that ONNX Runtime has kernels for.

    Those are LSTMs, MatMuls, Gemms, convolutions and lookups, not GRUs and RNNs. Activations
    are quantised in the run.

    Args:
        model: path of an .onnx file.
        result: where to write the quantised one.
        subgraphs: also quantise in the branches and bodies of control flow.

    Raises:
        MeasurementError: ONNX Runtime cannot quantise it.
        RuntimeUnavailableError: ONNX Runtime's quantisation cannot be imported.
    """
    with _tools() as tools:
        tools.quantize_dynamic(
            str(model),
            str(result),
            weight_type=tools.QuantType.QInt8,
            extra_options={"EnableSubgraph": True} if subgraphs else {},
        )


def quantize_static(
    model: Union[str, Path], result: Union[str, Path], feeds: Iterable[Feed]
) -> None:
    """Write a model with QuantizeLinear and DequantizeLinear around what has 8-bit kernels.

    Weights are int8 and activations uint8, with the ranges that they have on the feeds.
    Recurrent operators stay as they are, and so does all that stands in branches and bodies.

    Args:
        model: path of an .onnx file.
        result: where to write the quantised one.
        feeds: inputs of the runs that the ranges are taken from, in order.

    Raises:
        MeasurementError: ONNX Runtime cannot quantise it.
        RuntimeUnavailableError: ONNX Runtime's quantisation cannot be imported.
    """
    with _tools() as tools:
        tools.quantize_static(
            str(model),
            str(result),
            _Reader(iter(feeds)),
            quant_format=tools.QuantFormat.QDQ,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
        )


class _Reader:
    """Hands out one feed after another, as ONNX Runtime's calibration asks for them."""

    def __init__(self, feeds: Iterator[Feed]) -> None:
        self._feeds = feeds

    def get_next(self) -> dict[str, Any] | None:
        feed = next(self._feeds, None)
        return None if feed is None else dict(feed)


def to_float16(model: Any) -> Any:
    """An ``onnx.ModelProto`` with float16 in place of float32, inputs and outputs as before.

    Args:
        model: has its weights in it, and is changed.

    Raises:
        MeasurementError: ONNX Runtime's tool cannot convert it.
        RuntimeUnavailableError: that tool cannot be imported.
    """
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"ONNX Runtime's conversion to float16 cannot be imported ({error}): "
            "pip install onnxruntime"
        ) from None
    with _quiet("convert the model to float16"):
        return convert_float_to_float16(model, keep_io_types=True)


def crash(model: Union[str, Path]) -> str:
    """How ONNX Runtime crashes while it loads a model, ``""`` where it does not.

    It is tried in another process: ONNX Runtime 1.32 ends with a segmentation fault while it
    optimises some float16 models.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _LOAD, str(model)],
            capture_output=True,
            timeout=_LOAD_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"ONNX Runtime does not load the model within {_LOAD_LIMIT_S:.0f} s"
    if done.returncode < 0:
        return f"ONNX Runtime crashes while it loads the model (signal {-done.returncode})"
    return ""


@contextmanager
def _tools() -> Iterator[Any]:
    """ONNX Runtime's quantisation, without its advice; its faults are MeasurementErrors."""
    try:
        from onnxruntime import quantization
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"ONNX Runtime's quantisation cannot be imported ({error}): pip install onnxruntime"
        ) from None
    with _quiet("quantise the model"):
        from onnxruntime import set_default_logger_severity

        set_default_logger_severity(_ERRORS)
        try:
            yield quantization
        finally:
            set_default_logger_severity(_WARNINGS)


@contextmanager
def _quiet(what: str) -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # advice on preparing the model, for better accuracy
    try:
        yield
    except MeasurementError:
        raise
    except Exception as error:  # it raises what onnx, protobuf and numpy raise
        raise MeasurementError(f"ONNX Runtime cannot {what}: {reason(error)}") from None
    finally:
        logging.disable(before)
