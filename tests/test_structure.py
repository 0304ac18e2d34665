"""The shape of the package: floors, who may import what, file sizes, and public names."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import rnncost
from rnncost import errors

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "rnncost"
FILES = sorted(PACKAGE.rglob("*.py"))

# A module may import modules of lower floors, and of its own part of the package.
FLOORS = {
    "errors": 1,
    "graph": 2,
    "runtime": 2,
    "units": 2,
    "counting": 3,
    "frontends.onnx": 3,
    "frontends.torch": 3,
    "profiles": 3,
    "report": 3,
    "latency": 4,
    "training": 4,
    "analysis": 5,
    "calibration": 5,
    "variants": 5,
    "budgets": 6,
    "difference": 6,
    "search": 6,
    "validation": 6,
    "along_time": 7,
    "comparison": 7,
    "suites": 7,
    "webpage": 8,
    "cli": 9,
    "pytest_plugin": 9,
    "__main__": 10,
}
ONLY_IN = {
    "onnx": {"frontends.onnx", "calibration", "variants", "along_time"},
    "torch": {"frontends.torch", "along_time"},
    "onnxruntime": {"runtime"},
    "yaml": {"profiles", "budgets"},
    "matplotlib": {"suites", "along_time"},
    "tabulate": {
        "report",
        "validation",
        "suites",
        "along_time",
        "comparison",
        "difference",
        "search",
        "cli",
    },
    "click": {"cli"},
    "bokeh": {"webpage"},
}
MAX_LINES = 400


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at any depth, for types too, as absolute names."""
    own = module_name(path).split(".")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = own[: len(own) - node.level + (path.name == "__init__.py")]
            parent = ".".join([*(base if node.level else []), *filter(None, [node.module])])
            for alias in node.names:
                whole = f"{parent}.{alias.name}"
                yield whole if is_module(whole) else parent


def is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").exists()


def part_of(name: str) -> str:
    """The part of the package that a module belongs to, or ``""`` for the package itself."""
    inside = name.split(".")[1:]
    if inside[:1] == ["frontends"]:
        return ".".join(inside[:2])
    return inside[0] if inside else ""


def test_every_part_has_a_floor() -> None:
    parts = {part_of(module_name(path)) for path in FILES} - {"", "frontends"}
    assert parts == set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_down(path: Path) -> None:
    part = part_of(module_name(path))
    if part in ("", "frontends"):
        return  # the package's own names are loaded on use: test_the_package_imports_lazily
    for name in imports(path):
        if name.split(".")[0] != "rnncost":
            continue
        target = part_of(name)
        if target in ("", part):
            assert target or FLOORS[part] >= FLOORS["analysis"], f"{part} imports the package"
            continue
        assert FLOORS[target] < FLOORS[part], f"{part} imports {name}"


def test_the_package_imports_lazily() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    loaded = [
        node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rnncost")
    ]
    assert loaded == []


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_packages_stay_in_their_part(path: Path) -> None:
    part = part_of(module_name(path))
    for name in imports(path):
        top = name.split(".")[0]
        if top in ONLY_IN and not (part == "analysis" and only_for_types(path, top)):
            assert part in ONLY_IN[top], f"{part} imports {top}"


def only_for_types(path: Path, package: str) -> bool:
    """Whether a file imports a package only under ``if TYPE_CHECKING``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typed = [n for n in tree.body if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test)]
    for node in typed:
        tree.body.remove(node)
    return not any(
        isinstance(node, ast.Import) and any(a.name.split(".")[0] == package for a in node.names)
        for node in ast.walk(tree)
    )


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_stay_small_and_documented(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    if text:
        tree = ast.parse(text)
        assert ast.get_docstring(tree), "a module says what it is for"
        assert "from __future__ import annotations" in text or not tree.body[1:]


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_exit_no_print_and_nothing_unfinished(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for word in ("TODO", "FIXME", "raise NotImplementedError", "breakpoint("):
        assert word not in text
    in_cli = part_of(module_name(path)) in ("cli", "__main__")
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        assert called not in ("print", "exit", "quit", "os._exit", "os.abort"), called
        assert in_cli or called != "sys.exit"


def test_public_names() -> None:
    assert rnncost.__all__ == [
        "HardwareProfile",
        "Report",
        "RnncostError",
        "__version__",
        "analyze",
        "calibrate",
        "check",
        "compare",
        "diff",
        "fit",
        "list_profiles",
        "load_profile",
        "numerics",
        "validate",
    ]
    assert dir(rnncost) == sorted(rnncost.__all__)
    for name in rnncost.__all__:
        assert getattr(rnncost, name) is not None
        assert name == "__version__" or inspect.getdoc(getattr(rnncost, name))
    with pytest.raises(AttributeError, match="has no attribute 'analyse'"):
        _ = rnncost.analyse  # type: ignore[attr-defined]


def test_the_tree_of_errors() -> None:
    tree = {
        "RnncostError": "Exception",
        "ModelError": "RnncostError",
        "ModelFileError": "ModelError",
        "ShapeError": "ModelError",
        "ControlFlowError": "ModelError",
        "ModuleError": "ModelError",
        "BindingError": "RnncostError",
        "VariantError": "RnncostError",
        "ProfileError": "RnncostError",
        "BudgetError": "RnncostError",
        "ReportError": "RnncostError",
        "RuntimeUnavailableError": "RnncostError",
        "MeasurementError": "RnncostError",
    }
    found = {
        name: thing.__base__.__name__
        for name, thing in vars(errors).items()
        if inspect.isclass(thing) and issubclass(thing, Exception)
    }
    assert found == tree
    assert errors.__doc__ is not None
    assert all(name in errors.__doc__ for name in tree)
    assert (errors.EXIT_OK, errors.EXIT_OVER_BUDGET, errors.EXIT_ERROR) == (0, 1, 2)
    assert errors.RnncostError.exit_code == errors.EXIT_ERROR
