"""The frame of a page: its head, its policy, and the scripts that draw its charts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from rnncost.webpage.drawing import bokeh_script
from rnncost.webpage.markup import escape, script_json


def document(
    body: str, *, title: str, description: str, generator: str, data: Mapping[str, Any] | None
) -> str:
    """A whole HTML document; its policy names each script by its hash and forbids all requests.

    Args:
        body: HTML.
        title, description, generator: plain text of the head.
        data: what the page's script draws, None for a page without charts, which has no script.

    Raises:
        ReportError: a figure in the data is infinite or not a number.
    """
    scripts: tuple[str, ...] = ()
    if data is not None:
        body += f'<script type="application/json" id="rnncost-data">{script_json(data)}</script>'
        scripts = (bokeh_script(), _resource("page.js"))
    allowed = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts) or "'none'"
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="referrer" content="no-referrer">',
        f'<meta name="description" content="{escape(description)}">',
        f'<meta name="generator" content="{escape(generator)}">',
        '<link rel="icon" href="data:,">',
        f"<title>{escape(title)}</title>",
        f"<style>{_resource('page.css')}</style>",
        "</head>",
        f"<body>{body}",
        *(f"<script>{script}</script>" for script in scripts),
        "</body>",
        "</html>",
    ]
    return "\n".join(lines)


def _resource(name: str) -> str:
    text = files("rnncost.webpage").joinpath(name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
