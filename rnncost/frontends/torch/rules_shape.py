"""Moving data about: joining, indexing, padding, repeating; and constants."""

from __future__ import annotations

from rnncost.frontends.torch.call import RULES, Call, Rule, emits
from rnncost.frontends.torch.recorder import Recorder
from rnncost.graph.ir import AttrValue

_MOVES = {
    "Concat": "cat concat concatenate stack hstack vstack dstack column_stack",
    "DepthToSpace": "pixel_shuffle channel_shuffle",
    "Gather": "index_select take repeat_interleave",
    "GatherElements": "gather take_along_dim",
    "GatherND": "index _unsafe_index masked_select",
    "OneHot": "one_hot",
    "Pad": "pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d "
    "replication_pad1d replication_pad2d replication_pad3d",
    "ScatterElements": "scatter scatter_add scatter_reduce",
    "ScatterND": "index_put _unsafe_index_put index_add index_copy index_fill masked_scatter "
    "slice_scatter select_scatter",
    "Slice": "narrow_copy slice_copy select_copy",
    "SpaceToDepth": "pixel_unshuffle",
    "Tile": "repeat tile",
    "Transpose": "flip roll permute_copy",
    "Trilu": "triu tril",
    "torch::copy": "clone contiguous reshape flatten _unsafe_view view_copy lift_fresh_copy "
    "_reshape_copy expand_copy cpu cuda",
}

_ZEROS = ("zeros", "zeros_like", "new_zeros", "_efficientzerotensor")
_CONSTANTS = (
    "arange",
    "bartlett_window",
    "blackman_window",
    "empty",
    "empty_like",
    "empty_strided",
    "eye",
    "full",
    "full_like",
    "hamming_window",
    "hann_window",
    "kaiser_window",
    "lift",
    "lift_fresh",
    "linspace",
    "logspace",
    "new_empty",
    "new_full",
    "new_ones",
    "ones",
    "ones_like",
    "range",
    "scalar_tensor",
    "tril_indices",
    "triu_indices",
)
_RANDOM = {
    "Bernoulli": "bernoulli",
    "RandomNormal": "randn normal randn_like",
    "RandomUniform": "rand randint rand_like randint_like randperm uniform",
}


def _move(op_type: str) -> Rule:
    def rule(recorder: Recorder, call: Call) -> None:
        written = call.written()
        inputs = [t for t in call.tensors if not any(t is w for w in written[1:])]
        recorder.emit(call.site, op_type, inputs, call.outputs, _axis(call))

    return rule


def _axis(call: Call) -> dict[str, AttrValue]:
    dim = call.arguments.get("dim")
    return {"axis": dim} if isinstance(dim, int) else {}


for _op_type, _names in _MOVES.items():
    for _name in _names.split():
        RULES[_name] = _move(_op_type)


@emits("clone", "contiguous", "reshape", "repeat")
def copied(recorder: Recorder, call: Call) -> None:
    """A copy in another layout, or repeated; a copy of zeros is zeros."""
    zero = recorder.memory.is_zero(call["self"])
    op_type = "Tile" if call.name == "repeat" else "torch::copy"
    recorder.emit(call.site, op_type, [call["self"]], [call.out])
    recorder.memory.buffer(call.out).zero = zero


@emits(*_ZEROS, *_CONSTANTS)
def constant(recorder: Recorder, call: Call) -> None:
    """Made from nothing: settled before the run."""
    for tensor in call.outputs:
        recorder.mark_constant(tensor)
    value = call.get("fill_value", 1)
    zero = call.name in _ZEROS or (call.name.endswith(("full", "full_like")) and value == 0)
    recorder.memory.buffer(call.out).zero = zero


def _random(op_type: str) -> Rule:
    def rule(recorder: Recorder, call: Call) -> None:
        recorder.emit(call.site, op_type, [], call.outputs)

    return rule


for _op_type, _names in _RANDOM.items():
    for _name in _names.split():
        RULES[_name] = _random(_op_type)


@emits("dropout", "native_dropout", "alpha_dropout", "feature_dropout")
def dropout(recorder: Recorder, call: Call) -> None:
    """Where it is not the identity (p > 0 and training forced): a mask and a product."""
    recorder.emit(call.site, "Mul", call.tensors[:1], call.outputs[:1])
    for mask in call.outputs[1:]:
        recorder.mark_constant(mask)


@emits("_pack_padded_sequence")
def pack(recorder: Recorder, call: Call) -> None:
    """The live rows of a padded batch, step by step; and how many there are at each step."""
    data, sizes = call.outputs
    recorder.emit(call.site, "GatherND", [call["input"], call["lengths"]], [data])
    recorder.mark_constant(sizes)


@emits("_pad_packed_sequence")
def unpack(recorder: Recorder, call: Call) -> None:
    """The padded batch again, and the lengths."""
    padded, lengths = call.outputs
    recorder.emit(call.site, "ScatterND", [call["data"]], [padded])
    recorder.mark_constant(lengths)
