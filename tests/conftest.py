"""Shared fixtures: where the published real models lie, and a profile folder for each test."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("torch") else ["test_torch_*.py"]

_DEFAULT = Path(__file__).parent.parent / ".real_models"
# Modules read profiles while they are collected: none of them may be the real user's.
os.environ["RNNCOST_PROFILES"] = os.devnull
REAL_MODELS = Path(os.environ.get("RNNCOST_REAL_MODELS", _DEFAULT))


@pytest.fixture(autouse=True)
def profile_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Give each test an empty folder for the user's own profiles."""
    folder = tmp_path_factory.mktemp("profiles")
    monkeypatch.setenv("RNNCOST_PROFILES", str(folder))
    return folder


@pytest.fixture
def real_model() -> Callable[[str], Path]:
    """Return a function from a path inside the unpacked packages to the file."""

    def locate(path: str) -> Path:
        file = REAL_MODELS / path
        if not file.exists():
            pytest.skip(f"{path} is not unpacked under {REAL_MODELS}")
        return file

    return locate
