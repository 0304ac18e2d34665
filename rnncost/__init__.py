"""What a recurrent network costs before it is deployed.

    import rnncost
    report = rnncost.analyze("model.onnx", dims={"seq": 100})
    print(report)

Heavy packages (torch, onnx, onnxruntime) are imported only by the calls that need them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "analyze": "rnncost.analysis",
    "calibrate": "rnncost.calibration.run",
    "check": "rnncost.budgets.checking",
    "compare": "rnncost.comparison",
    "diff": "rnncost.difference",
    "fit": "rnncost.search",
    "numerics": "rnncost.along_time",
    "validate": "rnncost.validation",
    "Report": "rnncost.report.model",
    "load_profile": "rnncost.profiles.store",
    "list_profiles": "rnncost.profiles.store",
    "HardwareProfile": "rnncost.profiles.schema",
    "RnncostError": "rnncost.errors",
}

__all__ = [
    "HardwareProfile",
    "Report",
    "RnncostError",
    "__version__",
    "analyze",
    "calibrate",
    "check",
    "compare",
    "diff",
    "fit",
    "list_profiles",
    "load_profile",
    "numerics",
    "validate",
]

if TYPE_CHECKING:
    from rnncost.along_time import numerics
    from rnncost.analysis import analyze
    from rnncost.budgets.checking import check
    from rnncost.calibration.run import calibrate
    from rnncost.comparison import compare
    from rnncost.difference import diff
    from rnncost.errors import RnncostError
    from rnncost.profiles.schema import HardwareProfile
    from rnncost.profiles.store import list_profiles, load_profile
    from rnncost.report.model import Report
    from rnncost.search import fit
    from rnncost.validation import validate


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'rnncost' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
