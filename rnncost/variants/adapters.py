"""What stands around a recurrent node in its new form.

A direction that is added is hidden from the graph: its units stand beside those of the
first, on the last axis, so that Y is [T, 1, B, 2H] and states are [1, B, 2H].
"""

from __future__ import annotations

from rnncost.variants.site import Site


def join_directions(
    site: Site, source: str, name: str, hidden: int, is_sequence: bool, batch_first: bool
) -> None:
    """Make ``name`` of an output with two directions, in the form of an output with one."""
    from onnx import helper

    if not batch_first:
        perm = [0, 2, 1, 3] if is_sequence else [1, 0, 2]
        source = site.make("Transpose", [source], f"{name}.swapped", perm=perm)
    if is_sequence:
        shape = [0, 0, 1, 2 * hidden] if batch_first else [0, 1, -1, 2 * hidden]
    else:
        shape = [0, 1, 2 * hidden] if batch_first else [1, -1, 2 * hidden]
    wanted = site.literal(shape, like=f"{name}.shape")
    site.walk.add(site.body, helper.make_node("Reshape", [source, wanted], [name], name=name))


def split_state(site: Site, index: int, hidden: int, batch_first: bool) -> str:
    """An initial state [1, B, 2H] as the two directions' [2, B, H]."""
    like = site.inputs[index]
    shape = [0, 2, hidden] if batch_first else [-1, 2, hidden]
    wanted = site.literal(shape, like=f"{like}.shape")
    split = site.make("Reshape", [like, wanted], f"{like}.split")
    if batch_first:
        return split
    return site.make("Transpose", [split], f"{like}.directions", perm=[1, 0, 2])


def flattened(site: Site, source: str, directions: int, hidden: int, batch_first: bool) -> str:
    """An output Y [T, D, B, H], or [B, T, D, H], as the input [T, B, D·H] of the layer above."""
    if directions > 1 and not batch_first:
        source = site.make("Transpose", [source], f"{source}.swapped", perm=[0, 2, 1, 3])
    keeps_second = directions > 1 or batch_first
    shape = [0, 0, directions * hidden] if keeps_second else [0, -1, hidden]
    wanted = site.literal(shape, like=f"{source}.shape")
    return site.make("Reshape", [source, wanted], f"{source}.flat")
