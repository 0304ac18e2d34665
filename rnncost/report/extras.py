"""Packages that only some outputs need."""

from __future__ import annotations

from importlib.util import find_spec

from rnncost.errors import RuntimeUnavailableError


def require_matplotlib() -> None:
    """Raise now what drawing a plot would raise later.

    Raises:
        RuntimeUnavailableError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise RuntimeUnavailableError(
            "a plot needs matplotlib, which is not installed: pip install 'rnncost[plots]'"
        )
