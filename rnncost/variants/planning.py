"""From what is asked for to what becomes of each recurrent node."""

from __future__ import annotations

from typing import Any

import msgspec

from rnncost.errors import VariantError
from rnncost.variants.flow import End, Flow
from rnncost.variants.model import SAME_HIDDEN_SIZE, SAME_OUTPUT_WIDTH, Change
from rnncost.variants.structure import Found, find_layers, find_stacks
from rnncost.variants.target import GATES, Key, Target

_MOST_LAYERS = 1000


class Plan(msgspec.Struct, frozen=True):
    """What becomes of each node, and notes about what stays."""

    targets: dict[Key, Target]
    notes: list[str]


def check(change: Change) -> None:
    """Refuse a change that contradicts itself.

    Raises:
        VariantError: nothing is asked for, a number is out of range, or the policy has no
            meaning.
    """
    asked = (change.cell, change.direction, change.hidden_size, change.layers)
    if all(part is None for part in asked):
        raise VariantError("nothing is to change: give a cell, direction, hidden size or layers")
    known = (
        ("cell", change.cell, tuple(GATES)),
        ("direction", change.direction, ("uni", "bi")),
        ("policy", change.policy, (SAME_HIDDEN_SIZE, SAME_OUTPUT_WIDTH)),
    )
    for what, given, names in known:
        if given is not None and given not in names:
            raise VariantError(f"there is no {what} {given!r}: use {' or '.join(names)}")
    if (change.layers or 0) > _MOST_LAYERS:
        raise VariantError(f"the layers cannot be {change.layers:,}: give {_MOST_LAYERS} or fewer")
    for what, number in (("hidden size", change.hidden_size), ("layers", change.layers)):
        if number is not None and number < 1:
            raise VariantError(f"the {what} cannot be {number}: give 1 or more")
    if change.policy == SAME_OUTPUT_WIDTH:
        if change.direction is None:
            raise VariantError("'same output width' is a policy for a change of direction")
        if change.hidden_size is not None:
            raise VariantError("give a hidden size, or 'same output width', not both")


def plan(flow: Flow, change: Change, others: tuple[str, ...]) -> Plan:
    """What becomes of each recurrent node.

    Raises:
        VariantError: no layer would change, or the layers form no stack.
    """
    check(change)
    layers = find_layers(flow)
    if not layers:
        left = f"; its recurrence is in {others[0]}, which cannot be rewritten" if others else ""
        raise VariantError(f"the model has no LSTM, GRU or RNN operator{left}")
    targets: dict[Key, Target] = {}
    inputs = flow.state_inputs()
    for found in layers:
        for key in found.keys:
            targets[key] = _target(flow, found, key, change, inputs)
    if change.layers is not None:
        _set_layers(flow, layers, change.layers, targets)
    kept = [found.layer.name for found in layers if _keeps_cell(found, change)]
    if len(kept) == len(layers):
        raise VariantError(
            f"{kept[0]!r} is a DynamicQuantizeLSTM, which has no form as "
            f"{str(change.cell).upper()}: change the model before it is quantised"
        )
    needed = {target.stands_in for target in targets.values()}
    changed = {
        key: targets[key]
        for found in layers
        for key in found.keys
        if key in needed or not _is_same(targets[key], found)
    }
    if not changed:
        raise VariantError("nothing would change: every recurrent layer is so already")
    notes = [f"{other} stays as it is" for other in others]
    notes += [f"{name!r} stays an LSTM: its quantised form has no other cell" for name in kept]
    if change.direction == "uni":
        alone = [found.layer.name for found in layers if found.backward]
        notes += [f"{name!r} runs backwards alone and stays so" for name in alone]
    return Plan(changed, notes)


def _target(flow: Flow, found: Found, key: Key, change: Change, inputs: frozenset[str]) -> Target:
    layer = found.layer
    hidden = change.hidden_size or layer.hidden_size
    is_pair = len(found.keys) > 1
    single = change.direction == "uni" and layer.direction == "bi"
    double = change.direction == "bi" and layer.direction == "uni"
    if change.policy == SAME_OUTPUT_WIDTH and single and not found.summed:
        hidden *= 2
    if change.policy == SAME_OUTPUT_WIDTH and double:
        if hidden % 2:
            raise VariantError(f"the {hidden} units of {layer.name!r} do not divide in two")
        hidden //= 2
    hidden_ends, cell_ends = _state_ends(flow, key)
    return Target(
        name=layer.nodes[found.keys.index(key)],
        cell=layer.cell if _keeps_cell(found, change) else change.cell or layer.cell,
        hidden=hidden,
        halve=single and not is_pair,
        double=double,
        removed=single and is_pair and key == found.keys[1],
        state_only=(_only_states(hidden_ends), _only_states(cell_ends)),
        streams=any(end.kind == "output" for end in hidden_ends),
        fed=_fed(flow, key, inputs),
    )


def _keeps_cell(found: Found, change: Change) -> bool:
    """Whether a layer is quantised and has no form as the cell that is asked for."""
    return found.layer.quantised and change.cell not in (None, found.layer.cell)


def _state_ends(flow: Flow, key: Key) -> tuple[set[End], set[End]]:
    """Where Y_h and Y_c end up."""
    names = [*flow.nodes[key].output, "", "", ""]
    hidden, cell = [flow.ends((key[0], name)) if name else set() for name in names[1:3]]
    return hidden, cell


def _only_states(ends: set[End]) -> bool:
    return all(end.kind in ("output", "state") for end in ends)


def _fed(flow: Flow, key: Key, inputs: frozenset[str]) -> bool:
    """Whether the initial state comes in as a graph input, or as a part of one."""
    names = list(flow.nodes[key].input)
    if len(names) < 6 or not names[5]:
        return False
    return all(path == "" and name in inputs for path, name in flow.sources(key[0], names[5]))


def _is_same(target: Target, found: Found) -> bool:
    layer = found.layer
    return (
        target.cell == layer.cell
        and target.hidden == layer.hidden_size
        and not (target.halve or target.double or target.removed or target.copies)
    )


def _set_layers(flow: Flow, layers: list[Found], count: int, targets: dict[Key, Target]) -> None:
    """Cut each stack to its first layers, or repeat its last one."""
    stacks = find_stacks(flow, layers)
    scopes = [stack[0].scope for stack in stacks]
    if len(set(scopes)) < len(scopes) or (len(scopes) > 1 and "" in scopes):
        names = ", ".join(repr(stack[0].layer.name) for stack in stacks[:4])
        raise VariantError(
            f"the model has {len(stacks)} stacks of recurrent layers (starting at {names}): the "
            "number of layers of which one is to change is not clear"
        )
    for stack in stacks:
        if any(len(found.keys) > 1 for found in stack) and count != len(stack):
            raise VariantError(
                f"the directions of {stack[0].layer.name!r} are nodes of their own: the number of "
                "layers cannot change"
            )
        _cut_or_repeat(flow, stack, count, targets)


def _cut_or_repeat(flow: Flow, stack: list[Found], count: int, targets: dict[Key, Target]) -> None:
    def change(key: Key, **values: Any) -> None:
        targets[key] = msgspec.structs.replace(targets[key], **values)

    last = stack[-1].keys[0]
    if count > len(stack):
        change(last, copies=count - len(stack))
        return
    for found in stack[count:]:
        change(found.keys[0], removed=True)
    if count < len(stack):
        kept = stack[count - 1].keys[0]
        change(last, stands_in=kept)
        hidden, cell = _state_ends(flow, last)
        change(kept, read_as=(not _only_states(hidden), not _only_states(cell)))
