"""The PyTorch front end. Importing it does not import torch; calling it does."""

from __future__ import annotations

from rnncost.frontends.torch.archive import refuse_pickle
from rnncost.frontends.torch.load import load_exported, load_factory, load_module

__all__ = ["load_exported", "load_factory", "load_module", "refuse_pickle"]
