"""PyTorch files: which are read, and which are refused because reading them runs code.

A .pt2 export is a zip archive with the graph in JSON and the weights as plain bytes. Three
things in it could still run code when torch.export.load reads it, and are looked for
first: pickled objects, which are refused or read by torch's restricted unpickler;
expressions for sizes, which torch hands to a parser that evaluates them; and the functions
that the graph calls, which only the interpreter in control.py calls. Torch is not imported
here.
"""

from __future__ import annotations

import ast
import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnncost.errors import ModelFileError, ModuleError, RnncostError
from rnncost.frontends.torch.factory import describe

_ADVICE = (
    "export the model to .onnx, save torch.export.export(...) as .pt2, or name a function "
    "that builds it, as in package.module:factory"
)
_GRAPH = "serialized_exported_program.json"
_EXPANSION = 50
"""The most that an entry of the archive may grow when it is unpacked."""

# fmt: off
_FUNCTIONS = frozenset(
    (
        "Abs", "Add", "And", "CeilDiv", "CeilToInt", "CleanDiv", "Eq", "Equality", "Float",
        "FloatPow", "FloatTrueDiv", "FloorDiv", "FloorToInt", "Ge", "GreaterThan", "Gt",
        "Identity", "IntTrueDiv", "Integer", "LShift", "Le", "LessThan", "Lt", "Max", "Min",
        "Mod", "ModularIndexing", "Mul", "Ne", "Not", "Or", "Pow", "PowByNatural",
        "PythonMod", "RShift", "Rational", "RoundDecimal", "RoundToInt",
        "StrictGreaterThan", "StrictLessThan", "Symbol", "ToFloat", "TruncToFloat",
        "TruncToInt", "Unequality", "Where", "ceiling", "floor",
    )
)
# fmt: on
_NODES = (
    ast.BinOp,
    ast.BoolOp,
    ast.Compare,
    ast.Expression,
    ast.Load,
    ast.UnaryOp,
    ast.boolop,
    ast.cmpop,
    ast.keyword,
    ast.operator,
    ast.unaryop,
)


def check_program(path: Path) -> None:
    """Make sure that a file is a .pt2 export without anything that runs code when read.

    Raises:
        ModelFileError: the file is missing, unreadable, damaged, or no archive at all.
        ModuleError: it is a pickle or a TorchScript archive, or holds code.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(4)
    except IsADirectoryError:
        raise ModelFileError(f"{path} is a folder, not a model file") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ModelFileError(f"{path} cannot be read: {reason}") from error
    if head[:1] == b"\x80":
        raise _pickle(path)
    if head != b"PK\x03\x04":
        raise ModelFileError(f"{path} is not a PyTorch export: it is no zip archive")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_archive(path, archive)
    except (zipfile.BadZipFile, OSError, ValueError, RecursionError, NotImplementedError) as error:
        raise ModelFileError(f"{path} is damaged: {describe(error)}") from error


def _check_archive(path: Path, archive: zipfile.ZipFile) -> None:
    leaves = {name.rsplit("/", 1)[-1] for name in archive.namelist()}
    if "archive_format" not in leaves and _GRAPH not in leaves:
        if "constants.pkl" in leaves:
            raise ModuleError(
                f"{path} is a TorchScript archive, which holds compiled code instead of a graph: "
                f"{_ADVICE}"
            )
        if "data.pkl" in leaves:
            raise _pickle(path)
        raise ModelFileError(f"{path} is a zip archive, but not one that torch.export.save wrote")
    limit = _EXPANSION * path.stat().st_size
    for entry in archive.infolist():
        folder, _, leaf = entry.filename.rpartition("/")
        if leaf.startswith("opaque_obj"):
            raise ModuleError(
                f"{path} holds a pickled object ({leaf}), and loading it would run whatever code "
                "is in it: export the module without such attributes"
            )
        if leaf == _GRAPH or (folder.endswith("models") and leaf.endswith(".json")):
            if entry.file_size > limit:
                raise ModelFileError(f"{path} is damaged: {leaf} unpacks to {entry.file_size} B")
            for text in _expressions(json.loads(archive.read(entry))):
                _check_expression(path, text)


def _expressions(value: Any) -> Iterator[str]:
    """The expressions in a graph, each once; the walk keeps its own stack."""
    waiting, found = [value], set()
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, dict):
            waiting.extend(item.values())
            text = item.get("expr_str")
            if isinstance(text, str) and text not in found:
                found.add(text)
                yield text


def _check_expression(path: Path, text: str) -> None:
    """Let nothing through but arithmetic on named sizes."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, MemoryError) as error:
        raise ModelFileError(f"{path} is damaged: {text[:40]!r} is no size") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            allowed = isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
        elif isinstance(node, ast.Name):
            allowed = "__" not in node.id
        elif isinstance(node, ast.Constant):
            value = node.value
            allowed = not isinstance(value, (str, bytes)) or (
                isinstance(value, str) and value.isidentifier() and "__" not in value
            )
        else:
            allowed = isinstance(node, _NODES)
        if not allowed:
            raise ModuleError(
                f"{path} holds a size that is more than arithmetic ({text[:60]!r}), and reading "
                "it could run code"
            )


@contextmanager
def plain_weights_only() -> Iterator[None]:
    """Torch reads pickles with its restricted unpickler, whatever its callers ask for."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def refuse_pickle(path: str) -> RnncostError:
    """Why a .pt or .pth file is not loaded, as an error to raise."""
    try:
        check_program(Path(path))
    except RnncostError as error:
        return error
    return ModuleError(f"{path} holds an exported program: give it the suffix .pt2")


def _pickle(path: Path) -> ModuleError:
    return ModuleError(
        f"{path} is a pickle from torch.save, and loading it would run whatever code it "
        f"holds: {_ADVICE}"
    )
