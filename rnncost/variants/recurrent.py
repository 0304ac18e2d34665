"""Recurrent nodes in their new form: cell, directions, hidden size, further layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnncost.errors import VariantError
from rnncost.frontends.onnx.infer import InferenceError, Known
from rnncost.variants import adapters, states
from rnncost.variants.activations import new_activations
from rnncost.variants.dropped import drop, from_zeros
from rnncost.variants.facts import moved
from rnncost.variants.known import UNKNOWN, inferred
from rnncost.variants.parts import Axis, Layout, Part, changed, new_extent, repeated, resized
from rnncost.variants.removed import remove
from rnncost.variants.resizing import drawn_for
from rnncost.variants.site import Site
from rnncost.variants.target import CELLS, GATES, OP_TYPES, QUANTISED, Target

if TYPE_CHECKING:
    import onnx

    from rnncost.variants.walk import Walk

X, W, R, B, _, INITIAL_H, INITIAL_C, P = range(8)
_KEPT_ATTRIBUTES = ("clip", "layout", "input_forget", "linear_before_reset")
_HALF: Axis = (Part(1, 1), Part(1, 0))


def rewrite(walk: Walk, site: Site, target: Target) -> None:
    """Put the new form of a recurrent node in its place.

    Raises:
        VariantError: its weights are not stored, or a state cannot follow.
    """
    if target.removed or site.body.find(site.inputs[X]).gone:
        remove(walk, site, target)
        return
    layer = _Layer(walk, site, target)
    layer.weights()
    layer.initial_states()
    layer.emit()


class _Layer:
    """A recurrent node on its way to a new form."""

    def __init__(self, walk: Walk, site: Site, target: Target) -> None:
        self.walk = walk
        self.site = site
        self.target = target
        self.quantised = site.op == QUANTISED
        self.cell = CELLS[site.op]
        recurrent = site.shape(R)
        before, hidden = recurrent[0], recurrent[1] if self.quantised else recurrent[2]
        if not isinstance(before, int) or not isinstance(hidden, int):
            raise VariantError(f"the weights of {target.name!r} are not stored in the model")
        self.directions = 1 if target.halve else 2 if target.double else before
        self.old_hidden = hidden
        self.hidden_axis = resized(hidden, target.hidden)
        self.batch_first = bool(site.attr("layout", 0))

    def weights(self) -> None:
        """W [D, G·H, I], R [D, G·H, H], B [D, 2·G·H] and peepholes P [D, 3·H]."""
        site, gates = self.site, GATES[self.cell]
        if not all(site.body.find(site.inputs[index]).constant for index in (W, R)):
            raise VariantError(f"the weights of {self.target.name!r} are not stored in the model")
        if self.target.cell != self.cell:
            self._draw()
            return
        directions: Axis | None = None
        if self.target.halve:
            directions = _HALF
        elif self.target.double:
            directions = (Part(1, 2),)
        inputs = site.axis(X, 2)
        hidden = self.hidden_axis
        all_gates = None if hidden is None else repeated(hidden, gates)
        if self.quantised:
            site.conform(W, (directions, inputs, all_gates))
            site.conform(R, (directions, hidden, all_gates))
            for index in range(8, 12):  # scales and zero points, one a direction or a column
                if site.has(index) and site.shape(index):
                    site.conform(index, (directions, all_gates)[: len(site.shape(index))])
        else:
            site.conform(W, (directions, all_gates, inputs))
            site.conform(R, (directions, all_gates, hidden))
        if site.has(B):
            site.conform(B, (directions, None if hidden is None else repeated(hidden, 2 * gates)))
        if site.has(P):
            site.conform(P, (directions, None if hidden is None else repeated(hidden, 3)))

    def _draw(self) -> None:
        """Random weights for another cell."""
        site, target = self.site, self.target
        rows = GATES[target.cell] * target.hidden
        shapes: dict[int, tuple[int, ...]] = {
            W: (self.directions, rows, self._input_size()),
            R: (self.directions, rows, target.hidden),
        }
        if site.has(B):
            shapes[B] = (self.directions, 2 * rows)
        for index, shape in shapes.items():
            site.inputs[index] = drawn_for(
                self.walk, site.body, site.inputs[index], shape, 1.0 / target.hidden**0.5
            )

    def _input_size(self) -> int:
        axis = self.site.axis(X, 2)
        size = self.site.shape(W)[2] if axis is None else new_extent(axis)
        if not isinstance(size, int):
            self.site.fail("its input size is not known")
        return size

    def initial_states(self) -> None:
        """Initial states change with the directions and units; the cell state goes or comes."""
        site, target = self.site, self.target
        if target.cell != "lstm" and site.has(INITIAL_C):
            site.inputs[INITIAL_C] = ""
        from_zeros(site)
        if target.halve or target.double or self.hidden_axis:
            for index in (INITIAL_H, INITIAL_C):
                if site.has(index):
                    site.conform(index, self._state_layout())
        if self.cell != "lstm" and target.cell == "lstm" and site.has(INITIAL_H):
            site.inputs += [""] * (INITIAL_C + 1 - len(site.inputs))
            site.inputs[INITIAL_C] = states.twin_input(self.walk, site, target)
        if target.double:
            for index in (INITIAL_H, INITIAL_C):
                if site.has(index):
                    site.inputs[index] = adapters.split_state(
                        site, index, target.hidden, self.batch_first
                    )

    def _state_layout(self) -> Layout:
        """Of states [D, B, H], or [B, D, H] with the batch first, as the graph sees them."""
        along = _HALF if self.target.halve else None
        units = self._outer_units()
        return (None, along, units) if self.batch_first else (along, None, units)

    def _sequence_layout(self) -> Layout:
        """Of Y [T, D, B, H], or [B, T, D, H] with the batch first, as the graph sees it."""
        along = _HALF if self.target.halve else None
        units = self._outer_units()
        return (None, None, along, units) if self.batch_first else (None, along, None, units)

    def _outer_units(self) -> Axis | None:
        """The last axis outside: a second direction that is added stands beside the first."""
        if self.target.double:
            return resized(self.old_hidden, 2 * self.target.hidden)
        return self.hidden_axis

    def emit(self) -> None:
        """The nodes in their new form, and their outputs as the graph sees them."""
        site, target, walk = self.site, self.target, self.walk
        names = ([*site.outputs, "", "", ""])[:3]
        wanted = list(names)
        if target.cell == "lstm" and self.cell != "lstm":
            wanted[2] = states.twin_output(walk, site, target)
        elif target.cell != "lstm":
            wanted[2] = ""
            if names[2] and not target.state_only[1]:
                # The only state stands for the cell state where something computes with it.
                wanted[1] = wanted[1] or walk.fresh(f"{target.name}.Y_h")
        hidden, cell = target.read_as
        if target.cell != "lstm":
            hidden, cell = hidden or cell, False
        if hidden and not wanted[1]:
            wanted[1] = walk.fresh(f"{target.name}.Y_h")
        if cell and not wanted[2]:
            wanted[2] = walk.fresh(f"{target.name}.Y_c")
        last = self._stack(wanted)
        if target.double:
            for at, source in enumerate(last):
                if source:
                    adapters.join_directions(
                        site, source, wanted[at], target.hidden, at == 0, self.batch_first
                    )
        for at, name in enumerate(wanted):
            if not name:
                continue
            layout = self._sequence_layout() if at == 0 else self._state_layout()
            new = site.body.find(name).new
            old = site.old[at] if at < len(site.old) and name == names[at] else new
            plain = old.shape is None or old is new
            if old.shape is None and changed(layout):
                site.fail("the shape of its output is not known; give the model's dimensions")
            site.body.facts[name] = moved(old, new, None if plain else layout, target.name, False)
        walk.outputs_of[site.key] = (wanted[0], wanted[1], wanted[2])
        if target.cell != "lstm" and names[2]:
            self._without_cell_state(names[2], wanted[1])

    def _stack(self, wanted: list[str]) -> list[str]:
        """The node and its copies; the names that hold the graph's outputs inside."""
        from_first = (False, *self.target.state_only)
        last = list(wanted)
        for number in range(self.target.copies + 1):
            is_last = number == self.target.copies
            raw = ["", "", ""]
            for at, name in enumerate(wanted):
                own = is_last if not from_first[at] else number == 0
                if name and own:
                    inside = self.target.double
                    raw[at] = last[at] = self.walk.fresh(f"{name}.both") if inside else name
            if not is_last and not raw[0]:
                raw[0] = self.walk.fresh(f"{self.target.name}.Y{number + 1}")
            if number and self.target.streams:
                states.hand_out(self.walk, self.site, self.target, raw, number)
            self._node(raw, number)
            if not is_last:
                self._climb(raw[0], number + 1)
        return last

    def _climb(self, below: str, number: int) -> None:
        """Inputs of a copy on top of the layer that makes ``below``."""
        site, target = self.site, self.target
        if self.quantised:
            raise VariantError(f"{target.name!r} is quantised: layers can be added before that")
        x = adapters.flattened(site, below, self.directions, target.hidden, self.batch_first)
        shapes: dict[int, tuple[int, ...]] = {}
        rows = GATES[target.cell] * target.hidden
        shapes[W] = (self.directions, rows, self.directions * target.hidden)
        shapes[R] = (self.directions, rows, target.hidden)
        if site.has(B):
            shapes[B] = (self.directions, 2 * rows)
        if site.has(P) and target.cell == "lstm":
            shapes[P] = (self.directions, 3 * target.hidden)
        site.inputs[X] = x
        for index, shape in shapes.items():
            site.inputs[index] = drawn_for(
                self.walk, site.body, site.inputs[index], shape, 1.0 / target.hidden**0.5, number
            )
        if target.fed:
            states.feed(self.walk, site, target, number)
        elif site.has(INITIAL_H) and not states.is_filled(site.body, site.inputs[INITIAL_H]):
            self.walk.note(f"the layers added to {target.name!r} start from its initial state")

    def _node(self, raw: list[str], number: int) -> None:
        """Add one node that makes the given outputs."""
        from onnx import helper

        site, target, walk = self.site, self.target, self.walk
        inputs = list(site.inputs) if self.quantised else self._inputs()
        count = 3 if target.cell == "lstm" else 2
        outputs = raw[:count]
        while len(outputs) > 1 and not outputs[-1]:
            outputs.pop()
        node = helper.make_node(
            site.node.op_type if self.quantised else OP_TYPES[target.cell],
            inputs,
            outputs,
            name=f"{site.node.name}_{number + 1}" if number and site.node.name else site.node.name,
            domain=site.node.domain,
            **self._attributes(),
        )
        results = self._inferred(node, inputs)
        walk.add_quietly(site.body, node)
        for name, result in zip(outputs, results, strict=True):
            if name:
                site.body.facts[name] = moved(result, result, None, target.name, False)

    def _inferred(self, node: onnx.NodeProto, inputs: list[str]) -> tuple[Known, ...]:
        site = self.site
        known = [site.body.find(name).new if name else None for name in inputs]
        try:
            return inferred(node, known, self.walk.opsets)
        except InferenceError as error:
            wider = self.target.halve or self.target.double or self.hidden_axis is not None
            if wider or any(result.shape is not None for result in site.old):
                site.fail(str(error))
            # What is known of this place contradicts the old node as well; no width changes.
            return (UNKNOWN,) * len(node.output)

    def _without_cell_state(self, name: str, hidden_state: str) -> None:
        """What stands for the cell state of a layer that has none any more."""
        from onnx import helper

        site, target = self.site, self.target
        if target.state_only[1]:
            drop(site.body, name, site.old[2], target.name)
            return
        self.walk.note(
            f"{target.name!r} has no cell state as {target.cell.upper()}: what read it reads the "
            "hidden state"
        )
        node = helper.make_node("Identity", [hidden_state], [name], name=name)
        self.walk.add_quietly(site.body, node)
        new = site.body.find(hidden_state).new
        layout = None if site.old[2].shape is None else self._state_layout()
        site.body.facts[name] = moved(site.old[2], new, layout, target.name, False)

    def _inputs(self) -> list[str]:
        site, target = self.site, self.target
        inputs = [*site.inputs, *[""] * 8][:8]
        if target.cell != "lstm":
            if inputs[P]:
                self.walk.note(f"the peepholes of {target.name!r} are gone: only an LSTM has them")
            inputs = inputs[:INITIAL_C]
        while not inputs[-1]:
            inputs.pop()
        return inputs

    def _attributes(self) -> dict[str, Any]:
        site, target = self.site, self.target
        attrs: dict[str, Any] = {"hidden_size": target.hidden}
        for name in _KEPT_ATTRIBUTES:
            value = site.attr(name)
            if value is not None:
                attrs[name] = value
        if target.cell != "lstm" and attrs.pop("input_forget", 0):
            self.walk.note(f"{target.name!r} had its forget gate coupled: only an LSTM has one")
        if target.cell != "gru":
            attrs.pop("linear_before_reset", None)
        elif self.cell != "gru":
            attrs["linear_before_reset"] = 1
            self.walk.note("GRUs are in PyTorch's form (linear_before_reset = 1)")
        direction = site.attr("direction", "forward")
        if target.halve:
            direction = "forward"
        elif target.double:
            direction = "bidirectional"
        if direction != "forward" or site.attr("direction") is not None:
            attrs["direction"] = direction
        attrs.update(new_activations(site, target, self.cell, self.directions, self.walk))
        return attrs
