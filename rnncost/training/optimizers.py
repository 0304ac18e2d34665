"""What optimisers hold: a value or two for each trained parameter.

As ``torch.optim`` does on a CPU, one parameter after another: Adam keeps the averages of the
gradients and of their squares, SGD with momentum one velocity. For a moment, Adam needs two
more tensors of a parameter's size.
"""

from __future__ import annotations

import msgspec

from rnncost.errors import BindingError, nearest


class Optimizer(msgspec.Struct, frozen=True):
    """Tensors of a parameter's size: kept for each, and needed for a while for one of them.

    ``passes`` are the tensors that a step reads and writes for each parameter.
    """

    kept: int
    needed: int
    passes: int


OPTIMIZERS = {
    "adam": Optimizer(kept=2, needed=2, passes=7),
    "sgd": Optimizer(kept=0, needed=0, passes=3),
    "sgd-momentum": Optimizer(kept=1, needed=0, passes=5),
    "none": Optimizer(kept=0, needed=0, passes=0),
}


def find_optimizer(name: str) -> Optimizer:
    """An optimiser by name.

    Raises:
        BindingError: there is none of that name.
    """
    if name not in OPTIMIZERS:
        raise BindingError(
            f"unknown optimizer {name!r}{nearest(name, OPTIMIZERS)}; choose one of "
            f"{', '.join(OPTIMIZERS)}"
        )
    return OPTIMIZERS[name]
