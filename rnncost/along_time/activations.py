"""The activation functions of ONNX's recurrent operators, and their derivatives.

Names and formulas are those of the operators LSTM, GRU and RNN. Where a parameter is not
given, ONNX Runtime's default holds (``rnn_helpers.cc``): it is ONNX Runtime's run that is
looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


class Activation(msgspec.Struct, frozen=True):
    """A function by its ONNX name in lower case, with its parameters."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    def __call__(self, x: Array) -> Array:
        """The values of the function."""
        return _FUNCTIONS[self.name](x, self.alpha, self.beta)[0]

    def slope(self, x: Array) -> Array:
        """The values of its derivative."""
        return _FUNCTIONS[self.name](x, self.alpha, self.beta)[1]

    def log_magnitude(self, x: Array) -> Array:
        """The natural logarithm of the values' magnitude; of 0 it is minus infinity.

        That of a sigmoid does not lose the digits that the sigmoid itself loses near 1.
        """
        import numpy as np

        if self.name == "sigmoid":
            return -np.logaddexp(0.0, -x)
        with np.errstate(divide="ignore"):
            return np.log(np.abs(self(x)))


_DEFAULTS = {"leakyrelu": (0.01, 0.0), "hardsigmoid": (0.2, 0.5), "elu": (1.0, 0.0)}
_TAKES_ALPHA = ("affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu")
_TAKES_BETA = ("affine", "scaledtanh", "hardsigmoid")


def activations(
    names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]
) -> list[Activation]:
    """The functions of an operator: parameters go in turn to the functions that take them.

    Raises:
        ValueError: a name is none of ONNX's.
    """
    alpha, beta = iter(alphas), iter(betas)
    return [_made(name, alpha, beta) for name in names]


def _made(name: str, alphas: Iterator[float], betas: Iterator[float]) -> Activation:
    known = _known(name)
    alpha, beta = _DEFAULTS.get(known, (0.0, 0.0))
    return Activation(
        known,
        next(alphas, alpha) if known in _TAKES_ALPHA else alpha,
        next(betas, beta) if known in _TAKES_BETA else beta,
    )


def _known(name: str) -> str:
    if name.lower() not in _FUNCTIONS:
        raise ValueError(f"its activation {name!r} is none that ONNX knows")
    return name.lower()


def _sigmoid(x: Array, alpha: float, beta: float) -> tuple[Array, Array]:
    import numpy as np

    # Of both signs the form whose exponential stays finite.
    small = np.exp(-np.abs(x))
    y = np.where(x >= 0, 1.0, small) / (1.0 + small)
    return y, small / (1.0 + small) ** 2


def _tanh(x: Array, alpha: float, beta: float) -> tuple[Array, Array]:
    import numpy as np

    y = np.tanh(x)
    return y, 1.0 - y * y


def _affine(x: Array, alpha: float, beta: float) -> tuple[Array, Array]:
    import numpy as np

    return alpha * x + beta, np.full_like(x, alpha)


def _relu(x: Array, alpha: float, beta: float) -> tuple[Array, Array]:
    import numpy as np

    return np.maximum(x, 0.0), (x > 0) * 1.0


def _leaky_relu(x: Array, alpha: float, beta: float) -> tuple[Array, Array]:
    import numpy as np

    return np.where(x >= 0, x, alpha * x), np.where(x >= 0, 1.0, alpha)


def _thresholded_relu(x: Array, alpha: float, beta: float) -> tuple[Array, Array]:
    import numpy as np

    return np.where(x > alpha, x, 0.0), (x > alpha) * 1.0


def _scaled_tanh(x: Array, alpha: float, beta: float) -> tuple[Array, Array]:
    y, slope = _tanh(beta * x, 0.0, 0.0)
    return alpha * y, alpha * beta * slope


def _hard_sigmoid(x: Array, alpha: float, beta: float) -> tuple[Array, Array]:
    import numpy as np

    y = alpha * x + beta
    return np.clip(y, 0.0, 1.0), np.where((y > 0) & (y < 1), alpha, 0.0)


def _elu(x: Array, alpha: float, beta: float) -> tuple[Array, Array]:
    import numpy as np

    grown = np.exp(np.minimum(x, 0.0))
    return np.where(x >= 0, x, alpha * (grown - 1)), np.where(x >= 0, 1.0, alpha * grown)


def _softsign(x: Array, alpha: float, beta: float) -> tuple[Array, Array]:
    import numpy as np

    scale = 1.0 + np.abs(x)
    return x / scale, 1.0 / scale**2


def _softplus(x: Array, alpha: float, beta: float) -> tuple[Array, Array]:
    import numpy as np

    return np.logaddexp(0.0, x), _sigmoid(x, 0.0, 0.0)[0]


_FUNCTIONS: dict[str, Callable[[Array, float, float], tuple[Array, Array]]] = {
    "affine": _affine,
    "elu": _elu,
    "hardsigmoid": _hard_sigmoid,
    "leakyrelu": _leaky_relu,
    "relu": _relu,
    "scaledtanh": _scaled_tanh,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "softsign": _softsign,
    "tanh": _tanh,
    "thresholdedrelu": _thresholded_relu,
}
"""Each function's values and derivative at x, with alpha and beta."""
