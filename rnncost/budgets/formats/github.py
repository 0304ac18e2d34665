"""Workflow commands of GitHub Actions: an annotation at the line of each broken limit."""

from __future__ import annotations

from rnncost.budgets.formats.findings import broken, repository_path, sentence, subject, verdict
from rnncost.budgets.model import CheckResult, Finding
from rnncost.report.text import printable

_COMMANDS = {"error": "error", "warn": "warning"}


def render(result: CheckResult) -> str:
    """One command a broken limit, then the warnings of the check, then the verdict.

    GitHub shows the first ten annotations of each level in a step, so the worst come first.
    """
    return "\n".join(
        [
            *map(_annotation, broken(result)),
            *(
                command("warning", {"title": "rnncost"}, printable(text))
                for text in result.warnings
            ),
            f"rnncost: {verdict(result)}",
        ]
    )


def _annotation(finding: Finding) -> str:
    where = {
        "file": printable(repository_path(finding.place.file)),
        "line": str(finding.place.line),
        "title": f"rnncost: {printable(subject(finding))}",
    }
    lines = map(printable, sentence(finding).split("\n"))
    return command(_COMMANDS[finding.level], where, "\n".join(lines))


def command(name: str, properties: dict[str, str], message: str) -> str:
    """A workflow command; what would end a property, the command or the line is escaped."""
    pairs = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{name} {pairs}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
