"""The wheel and the sdist carry what a user needs."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an sdist, and a wheel from that sdist, as a release does."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    return folder


def test_a_profile_loads_from_the_wheel_alone(dist: Path, tmp_path: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import rnncost; from pathlib import Path;"
        f"assert Path(rnncost.__file__).is_relative_to({str(tmp_path)!r}), rnncost.__file__;"
        "names = [p.name for p in rnncost.list_profiles()];"
        "print(rnncost.load_profile('x86-64-server-core').name, len(names))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    name, count = result.stdout.split()
    assert name == "x86-64-server-core"
    assert int(count) == len(list((ROOT / "hardware_profiles").glob("*/*.yaml")))


def test_the_wheel_is_typed_and_licensed(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "rnncost/py.typed" in names
    assert {"rnncost/webpage/page.css", "rnncost/webpage/page.js"} <= set(names)
    assert any(n.endswith("licenses/LICENSE") for n in names)
    assert not any(n.startswith("tests/") for n in names)


def test_the_sdist_can_be_tested(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {n.split("/", 1)[1] for n in archive.getnames() if "/" in n}
    assert {"pyproject.toml", "LICENSE", "README.md", "constraints.txt"} <= names
    assert "examples/keyword_spotter.onnx" in names
    assert "tests/test_packaging.py" in names


def test_the_example_is_what_its_script_builds() -> None:
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        from build_keyword_spotter import build
    finally:
        sys.path.pop(0)
    import onnx

    assert onnx.load(ROOT / "examples" / "keyword_spotter.onnx") == build()
