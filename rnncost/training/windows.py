"""Truncation and checkpointing: how many steps of a sequence are in memory at a time.

Both run the model over windows of steps, one after another, and hand the states on. Truncated
back-propagation detaches the states between windows, runs each window's backward pass before
the next one starts, and then the optimiser. Checkpointing keeps the states at the windows'
ends alone and runs each window again before its backward pass. Neither is possible where a
step needs later input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rnncost.counting.scope import RUN, Node
from rnncost.errors import BindingError
from rnncost.graph.dim import hint
from rnncost.training.recurrent import Shape, shape_of
from rnncost.training.storage import Window, is_layer


def truncated(nodes: Sequence[Node], steps: int) -> Window:
    """The window of back-propagation that is truncated to ``steps``.

    Raises:
        BindingError: the model cannot run over windows, or ``steps`` is below 1.
    """
    if steps < 1:
        raise BindingError(f"bptt must be at least 1 step, not {steps}")
    return _window(nodes, steps, "truncated back-propagation")


def checkpointed(nodes: Sequence[Node], steps: int | None) -> Window:
    """The window of checkpointing; without ``steps`` the square root of all steps, rounded up.

    The square root keeps as many states as a window has steps (Chen et al. 2016, Training
    Deep Nets with Sublinear Memory Cost).

    Raises:
        BindingError: the model cannot run over windows, or ``steps`` is below 1.
    """
    if steps is not None and steps < 1:
        raise BindingError(f"checkpoint segments must have at least 1 step, not {steps}")
    whole = _window(nodes, steps or 1, "checkpointing by steps")
    root = math.isqrt(whole.steps)
    length = steps or (root if root * root == whole.steps else root + 1)
    return _sized(whole, length)


def count_windows(window: Window) -> int:
    """How many windows a sequence has."""
    return -(-window.steps // window.window) if window.window else 0


def layers_of(nodes: Sequence[Node]) -> list[tuple[Node, Shape]]:
    """The recurrent layers that run, with their extents."""
    return [(n, shape_of(n.op)) for n in nodes if is_layer(n)]


def _window(nodes: Sequence[Node], steps: int, what: str) -> Window:
    layers = layers_of(nodes)
    if not layers:
        raise BindingError(
            f"{what} needs recurrent layers, and the model has none: give inputs of as many "
            "steps as are in memory at a time instead"
        )
    for node, shape in layers:
        if shape.directions == 2 or node.op.str_attr("direction", "") == "reverse":
            raise BindingError(
                f"{what} needs layers that run forwards in time alone: a window of steps cannot "
                f"run before the windows after it, and {node.op.name} runs backwards in time"
            )
        if shape.batch_sizes is not None or node.op.tensor(4) is not None:
            raise BindingError(
                f"{what} is not worked out for sequences of different lengths ({node.op.name}): "
                "give a padded batch"
            )
    loops = [n for n in nodes if n.status == RUN and (n.body is not None or _is_cell(n))]
    if loops:
        raise BindingError(
            f"{what} is not worked out for cells in a loop ({loops[0].op.name}): give inputs of "
            "as many steps as are in memory at a time instead"
        )
    lengths = {shape.steps for _, shape in layers}
    if len(lengths) > 1:
        raise BindingError(
            f"{what} needs layers of one number of steps, and these have "
            f"{', '.join(map(str, sorted(lengths)))}"
        )
    first = layers[0][1]
    return _sized(Window(window=steps, steps=first.steps, batch=first.batch), steps)


def _sized(window: Window, steps: int) -> Window:
    return Window(window=min(steps, window.steps), steps=window.steps, batch=window.batch)


def _is_cell(node: Node) -> bool:
    return node.op.op_type in ("LSTMCell", "GRUCell", "RNNCell")


def state_bytes(nodes: Sequence[Node]) -> int:
    """The bytes of the states of all layers at the end of a window."""
    return sum(hint(node.cost.state_bytes) for node, _ in layers_of(nodes))
