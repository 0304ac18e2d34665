"""The accuracy suites by name, imported when they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union

import msgspec

from rnncost.errors import BindingError
from rnncost.suites.model import SuiteResult

SUITES = ("layers", "models", "published")

TAKES: dict[str, frozenset[str]] = {
    "layers": frozenset(("profile", "threads", "seed", "cases")),
    "models": frozenset(("profile", "threads", "models")),
    "published": frozenset(),
}
"""The options that have a meaning for each suite."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller may settle; None where the suite's own default holds.

    ``profile`` is a name or a path, ``models`` the folder of the real models.
    """

    profile: Union[str, None] = None
    threads: Union[tuple[int, ...], None] = None
    seed: Union[int, None] = None
    cases: Union[int, None] = None
    models: Union[str, None] = None


DEFAULT_THREADS = (1,)
DEFAULT_SEED = 1
DEFAULT_CASES = 200


def run_suite(name: str, options: Options, progress: Callable[[str], None]) -> SuiteResult:
    """Run one suite.

    Args:
        name: one of ``SUITES``.
        options: those that the suite takes; see ``TAKES``.
        progress: called with a line of text now and then.

    Raises:
        BindingError: an option has no meaning for the suite.
        RnncostError: what the suite raises.
    """
    check_options(name, options)
    profile = None
    if options.profile is not None:
        from rnncost.profiles.store import load_profile

        profile = load_profile(options.profile)
    common: dict[str, Any] = {
        "profile": profile,
        "threads": options.threads or DEFAULT_THREADS,
        "progress": progress,
    }
    if name == "layers":
        from rnncost.suites.layers import layers_suite

        seed = DEFAULT_SEED if options.seed is None else options.seed
        return layers_suite(seed=seed, cases=options.cases or DEFAULT_CASES, **common)
    if name == "models":
        from rnncost.suites.models import models_suite

        return models_suite(options.models, **common)
    from rnncost.suites.published import published_suite

    return published_suite()


def check_options(name: str, options: Options) -> None:
    """Refuse options that a suite would ignore.

    Raises:
        BindingError: an option has no meaning for the suite.
    """
    for option in Options.__struct_fields__:
        if getattr(options, option) is not None and option not in TAKES[name]:
            takers = [suite for suite in SUITES if option in TAKES[suite]]
            raise BindingError(
                f"--{option} has no meaning for --suite {name}, only for {' and '.join(takers)}"
            )
