"""Hardware profiles: what a device can do, each number with its source."""

from __future__ import annotations

GENERAL_PROFILE = "x86-64-server-core"
"""What estimates are for where this machine has no profile of its own."""
