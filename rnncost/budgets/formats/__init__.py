"""What a check found, in the formats that CI systems read.

Each module has ``render(result) -> str``; they load only when used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnncost.budgets.model import CheckResult

FORMATS = ("github", "junit", "sarif", "markdown", "badge")


def render(result: CheckResult, name: str) -> str:
    """The result in one of ``FORMATS``."""
    text: str = import_module(f"{__name__}.{name}").render(result)
    return text
