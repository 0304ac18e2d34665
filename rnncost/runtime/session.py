"""ONNX Runtime sessions with fixed settings, so that timings can be repeated.

CPU execution provider, operators one after another (sequential execution, one thread
between operators) and a given number of threads inside an operator. With more than one
thread ONNX Runtime's workers spin while they wait, which is its default and lowers
latency; set ``session.intra_op.allow_spinning`` to ``"0"`` in ``config`` to turn it off.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Union

from rnncost.errors import BindingError, MeasurementError, RuntimeUnavailableError

if TYPE_CHECKING:
    import onnxruntime

Optimization = Literal["disable", "basic", "extended", "all"]

_LEVELS: dict[str, str] = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
MAX_THREADS = 1024
"""More would be started all the same, and block the machine."""

_FATAL_ONLY = 4
_WEIGHTS_FILE = "session.optimized_model_external_initializers_file_name"
_EXTERNAL_DATA_FOLDER = "session.model_external_initializers_file_folder_path"


def create_session(
    model: Union[str, Path, bytes],
    *,
    threads: int = 1,
    optimization: Optimization = "all",
    config: Mapping[str, str] | None = None,
    external_data_folder: Union[str, Path, None] = None,
    profile_prefix: Union[str, Path, None] = None,
    optimized_path: Union[str, Path, None] = None,
    arena: bool = True,
) -> onnxruntime.InferenceSession:
    """Load a model into ONNX Runtime.

    Args:
        model: path of an .onnx file, or its bytes.
        threads: threads inside an operator, 1 to 1024.
        optimization: level of ONNX Runtime's graph optimisations.
        config: session configuration entries, for instance
            ``{"session.disable_prepacking": "1"}``.
        external_data_folder: where the external data of a model given as bytes lies.
        profile_prefix: switch profiling on and start the name of its file with this.
        optimized_path: where to write the model as ONNX Runtime runs it, its weights in a
            file beside it.
        arena: keep memory that operators have used for the next run. Without, it is given
            back as soon as it is not needed, and runs take a little longer.

    Raises:
        BindingError: ``threads`` is below 1 or beyond what any machine has.
        MeasurementError: ONNX Runtime cannot load the model.
        RuntimeUnavailableError: ONNX Runtime is not installed.
    """
    if threads < 1:
        raise BindingError(f"threads must be at least 1, got {threads}")
    if threads > MAX_THREADS:
        raise BindingError(f"threads must be at most {MAX_THREADS}, got {threads}")
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"ONNX Runtime cannot be imported ({error}): pip install onnxruntime"
        ) from None
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[optimization])
    options.log_severity_level = _FATAL_ONLY
    options.enable_cpu_mem_arena = arena
    for key, value in (config or {}).items():
        options.add_session_config_entry(key, value)
    if external_data_folder is not None:
        options.add_session_config_entry(_EXTERNAL_DATA_FOLDER, str(external_data_folder))
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_prefix)
    if optimized_path is not None:
        options.optimized_model_filepath = str(optimized_path)
        options.add_session_config_entry(_WEIGHTS_FILE, f"{Path(optimized_path).name}.weights")
    name = "the model" if isinstance(model, bytes) else str(model)
    if not isinstance(model, bytes) and not Path(model).is_file():
        raise MeasurementError(f"there is no model file {name}")
    try:
        return ort.InferenceSession(
            model if isinstance(model, bytes) else str(model),
            options,
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise MeasurementError(f"ONNX Runtime cannot load {name}: {reason(error)}") from None


def reason(error: BaseException) -> str:
    """The first line of an ONNX Runtime exception, without its code and name."""
    text = str(error).strip().split("\n", 1)[0]
    if text.startswith("[ONNXRuntimeError] : "):
        text = text.split(" : ", 3)[-1]
    return text if len(text) <= 300 else f"{text[:297]}..."
