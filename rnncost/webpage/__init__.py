"""The report as one self-contained web page."""

from __future__ import annotations

from rnncost.webpage.drawing import require_bokeh
from rnncost.webpage.drift_page import render_numerics
from rnncost.webpage.page import known_profiles, render_check, render_page

__all__ = ["known_profiles", "render_check", "render_numerics", "render_page", "require_bokeh"]
