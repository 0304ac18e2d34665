"""The exceptions that rnncost raises, and the exit codes they become.

::

    RnncostError                  exit code 2
    ├── ModelError                the model file or module cannot be analysed
    │   ├── ModelFileError        unreadable, truncated or not a model at all
    │   ├── ShapeError            a shape contradicts the graph or stays unknown
    │   ├── ControlFlowError      a branch or trip count cannot be settled
    │   └── ModuleError           a PyTorch module or factory fails
    ├── BindingError              a --dim, --shape or --value does not fit the model
    ├── VariantError              the model has no such variant
    ├── ProfileError              a hardware profile is missing or wrong
    ├── BudgetError               a budget file is missing or wrong
    ├── ReportError               a report cannot be read or written
    ├── RuntimeUnavailableError   an optional package is missing
    └── MeasurementError          a model cannot be run or timed

Each message is one sentence that says what is wrong, where, and how to mend it.
"""

from __future__ import annotations

from collections.abc import Iterable

EXIT_OK = 0
EXIT_OVER_BUDGET = 1
EXIT_ERROR = 2


class RnncostError(Exception):
    """Base of every error that rnncost raises on purpose."""

    exit_code = EXIT_ERROR


class ModelError(RnncostError):
    """The model cannot be analysed."""


class ModelFileError(ModelError):
    """The file is missing, unreadable, truncated, or not a model."""


class ShapeError(ModelError):
    """A shape contradicts the graph, or cannot be known."""


class ControlFlowError(ModelError):
    """A branch or a trip count cannot be settled from what was given."""


class ModuleError(ModelError):
    """A PyTorch module, factory or exported program fails or is refused."""


class BindingError(RnncostError):
    """A dimension, shape or value that the caller gave does not fit the model."""


class ProfileError(RnncostError):
    """A hardware profile is missing, ill-typed or contradicts itself."""


class VariantError(RnncostError):
    """A model cannot be changed as asked."""


class BudgetError(RnncostError):
    """A budget is missing, ill-typed or contradicts itself."""


class ReportError(RnncostError):
    """A report cannot be read, or an output cannot be written."""


class RuntimeUnavailableError(RnncostError):
    """An optional package that this call needs is not installed."""


class MeasurementError(RnncostError):
    """A model cannot be run or timed."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``", did you mean 'x'?"`` for the closest known name, or ``""``.

    Case does not matter, and a beginning that only one name has is close enough.
    """
    import difflib

    names = {other.casefold(): other for other in known}
    folded = name.casefold()
    starts = [other for other in names if len(folded) > 2 and other.startswith(folded)]
    close = starts if len(starts) == 1 else difflib.get_close_matches(folded, names, n=1)
    return f", did you mean {names[close[0]]!r}?" if close else ""
