"""Every operator of the ONNX standard has a rule or is left uncounted on purpose."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.defs
import pytest
from counting_ops import make_op

from rnncost.counting.registry import find, registered

UNCOUNTED = {
    "Det": "a determinant by an algorithm of the runtime's choice",
    "ImageDecoder": "decodes a file of unknown content",
    "MaxRoiPool": "the regions' values decide the work",
    "MelWeightMatrix": "builds a filter bank, once and for all in practice",
    "Multinomial": "draws by an algorithm of the runtime's choice",
    "NonMaxSuppression": "the boxes' values decide the work",
    "RegexFullMatch": "works on text",
    "StringConcat": "works on text",
    "StringNormalizer": "works on text",
    "StringSplit": "works on text",
    "TfIdfVectorizer": "works on text",
    "Unique": "sorts by an algorithm of the runtime's choice",
}


def _standard() -> set[str]:
    schemas = onnx.defs.get_all_schemas()
    return {s.name for s in schemas if s.domain == ""}


def test_every_standard_operator_is_counted_or_left_out_on_purpose() -> None:
    counted = set(registered())
    assert _standard() - counted == set(UNCOUNTED) & _standard()
    assert not counted & set(UNCOUNTED)


def test_the_documentation_names_what_is_left_out() -> None:
    text = (Path(__file__).parent.parent / "docs" / "counting.md").read_text()
    sentence = text.partition("have no rule on purpose")[2].partition(". The operators")[0]
    named = {word.strip(" \n,.") for word in sentence.rpartition(":")[2].split(",")}
    assert named == set(UNCOUNTED)


def test_every_rule_without_a_domain_is_for_an_operator_that_exists() -> None:
    # Operators that onnx does not have: PyTorch's cells, and ONNX Runtime's RMSNormalization.
    ours = {"RNNCell", "GRUCell", "LSTMCell", "SimplifiedLayerNormalization"}
    # Operators of opsets 22 and later, which an older onnx package does not have.
    newer = {"Attention", "BitCast", "CausalConvWithState", "CumProd", "LinearAttention"}
    newer |= {"RMSNormalization", "RotaryEmbedding", "SwiGLU", "Swish", "TensorScatter"}
    named = {name for name in registered() if "::" not in name}
    assert named - _standard() - newer == ours


def test_every_microsoft_rule_is_for_an_operator_that_onnx_runtime_has() -> None:
    state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    known = {s.name for s in state.get_all_operator_schema() if s.domain == "com.microsoft"}
    named = {name.partition("::")[2] for name in registered() if name.startswith("com.microsoft")}
    assert named <= known


@pytest.mark.parametrize("name", ["NonMaxSuppression", "com.example::Wobble", "ai.onnx.ml::Scaler"])
def test_an_operator_without_a_rule_is_not_found(name: str) -> None:
    assert find(make_op(name, [], []).op_type) is None


def test_roles_name_positions_that_the_operators_have() -> None:
    for name in registered():
        found = find(name)
        assert found is not None
        if "::" in name or name not in _standard():
            continue
        schema = onnx.defs.get_schema(name)
        explicit = [at for at in found.roles if found.roles[at] != "constant"]
        if name in ("RNN", "GRU", "LSTM"):  # positions of PyTorch's forms come after ONNX's
            continue
        assert all(at < schema.max_input for at in explicit), name
