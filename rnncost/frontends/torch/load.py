"""From a PyTorch module, a factory or an exported program to a graph.

Torch is imported by the functions, not by this module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnncost.errors import BindingError, ModelFileError, ModuleError, RuntimeUnavailableError
from rnncost.frontends.torch.archive import check_program, plain_weights_only
from rnncost.frontends.torch.factory import build, describe
from rnncost.graph.dim import Dim
from rnncost.graph.ir import Graph
from rnncost.graph.source import Request, Source

if TYPE_CHECKING:
    from rnncost.frontends.torch.dispatch import DataNeededError, IntegerNeededError
    from rnncost.frontends.torch.follow import Followed


def load_module(module: Any, inputs: Any, request: Request, name: str = "") -> Source:
    """The graph of one call of a ``torch.nn.Module``, in evaluation mode.

    ``inputs`` is a tuple of arguments (tensors, real or meta, nested as forward takes them),
    one tensor, a mapping of keyword arguments, or None; then the shapes and values of the
    request stand for the parameters of forward. No arithmetic is done, unless forward reads
    elements of a tensor (or the request asks for a trace): then the module is run, and a
    warning says so. The module is left as it was.

    Raises:
        BindingError: a dimension, shape or value does not fit the module.
        ModuleError: inputs are missing, forward raises, or the module cannot be followed.
        RuntimeUnavailableError: PyTorch is not installed.
    """
    import_torch()
    from rnncost.frontends.torch.inputs import arguments

    module = followable(module)
    if request.dims:
        first = next(iter(request.dims))
        raise BindingError(
            f"a module has no named dimension {first!r}: give example inputs, or --shape"
        )
    given = arguments(module, inputs, request)
    followed, warnings = _followed(module, given, request)
    return source_of(followed, request, name, warnings, traced=request.trace)


def load_factory(target: str, request: Request) -> Source:
    """The graph of the module that ``package.module:factory`` returns.

    The factory takes no arguments and returns a module, or ``(module, inputs)``.

    Raises:
        ModuleError: the import or the factory fails, or the result is no module.
    """
    module, inputs = made_by_factory(target)
    return load_module(module, inputs, request, target)


def made_by_factory(target: str) -> tuple[Any, Any]:
    """The module of ``package.module:factory``, and its inputs or None.

    Raises:
        ModuleError: the import or the factory fails, or the result is no module.
    """
    import_torch()
    import torch

    made = build(target)
    inputs: Any = None
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], torch.nn.Module):
        made, inputs = made
    if not isinstance(made, torch.nn.Module):
        raise ModuleError(
            f"the factory {target} returned {type(made).__name__}, neither a module nor "
            "(module, inputs)"
        )
    return made, inputs


def load_exported(
    program: Any, request: Request, cost_of: Callable[[Graph], Dim] | None = None
) -> Source:
    """The graph of a ``torch.export.ExportedProgram``, or of the .pt2 file of one.

    Where the values of a condition are not known, the branch for which ``cost_of`` gives
    more is taken; without it, the branch of more operators.

    Raises:
        BindingError: a dimension, shape or value does not fit the program.
        ModelFileError: the file is missing, damaged, or no PyTorch export.
        ModuleError: the file is a pickle or TorchScript, or the program cannot be followed.
    """
    path = ""
    if isinstance(program, (str, Path)):
        path = str(program)
        check_program(Path(program))
    import_torch()
    from rnncost.frontends.torch.exported import follow_program

    if path:
        program = _read_program(path)
    followed, dims, assumed = follow_program(program, request, cost_of or _size)
    return source_of(followed, request, path, (), dims=dims, assumed=assumed)


def _size(graph: Graph) -> Dim:
    return len(graph.ops)


def _read_program(path: str) -> Any:
    import torch

    try:
        with plain_weights_only():
            return torch.export.load(path)
    except Exception as error:
        raise ModelFileError(
            f"{path} cannot be read as a PyTorch export: {describe(error)}"
        ) from error


def _followed(module: Any, given: Any, request: Request) -> tuple[Followed, list[str]]:
    """Follow shapes alone; where that cannot be, run the module."""
    from rnncost.frontends.torch.dispatch import DataNeededError, IntegerNeededError

    integers: list[str] = []
    warnings: list[str] = []
    real = request.trace
    while True:
        result = _attempt(module, given, integers, real, request.training)
        if isinstance(result, IntegerNeededError):
            if result.label in integers:
                raise ModuleError(
                    f"the input {result.label!r} must hold indices: give example inputs, or "
                    "have the factory return (module, inputs)"
                ) from result
            integers.append(result.label)
            warnings.append(f"the input {result.label!r} is taken to hold indices")
        elif isinstance(result, DataNeededError):
            if real:
                raise ModuleError(f"the module cannot be followed: {result}") from result
            if any(p.is_meta for p in module.parameters()):
                raise ModuleError(
                    f"the weights are on the meta device, but a run needs them: {result}"
                ) from result
            real = True
            made_up = given.labels(empty=True)
            inputs = f" on made-up {', '.join(made_up)}" if made_up else ""
            warnings.append(f"ran the module for real{inputs}: {result}")
        else:
            return result, warnings


def _attempt(
    module: Any, given: Any, integers: list[str], real: bool, training: bool
) -> Followed | IntegerNeededError | DataNeededError:
    from rnncost.frontends.torch.dispatch import DataNeededError, IntegerNeededError
    from rnncost.frontends.torch.follow import follow

    try:
        return follow(module, given, integers, real=real, training=training)
    except (IntegerNeededError, DataNeededError) as error:
        return error


def source_of(
    followed: Followed,
    request: Request,
    path: str,
    warnings: Any,
    *,
    dims: Mapping[str, int] | None = None,
    assumed: tuple[str, ...] = (),
    traced: bool = False,
) -> Source:
    """The source of a followed run."""
    import torch

    return Source(
        graph=followed.graph,
        format="torch",
        path=path,
        producer=f"pytorch {torch.__version__}",
        dims=dims or {},
        assumed=assumed,
        shapes={one.label: tuple(one.tensor.shape) for one in followed.fed.feeds},
        values=request.values,
        traced=traced,
        warnings=(*warnings, *followed.warnings),
        trained=followed.trained,
    )


def followable(module: Any) -> Any:
    """The module itself, out of torch.compile's wrapper.

    Raises:
        ModuleError: it is no module, or compiled code.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise ModuleError(f"{type(module).__name__} is not a torch.nn.Module")
    module = getattr(module, "_orig_mod", module)
    if isinstance(module, torch.jit.ScriptModule):
        raise ModuleError(
            "a TorchScript module is compiled code: give the module that it was made from"
        )
    return module


def import_torch() -> None:
    """Import PyTorch.

    Raises:
        RuntimeUnavailableError: it is not installed.
    """
    if "torch" in sys.modules:
        return
    try:
        import torch  # noqa: F401  (only to see whether it can be imported)
    except ImportError as error:
        raise RuntimeUnavailableError(
            "PyTorch is not installed: install rnncost[torch] to analyse a PyTorch model"
        ) from error
