"""Tensors whose data lies in another file: never needed for counting, never outside."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from same_as_onnx import check_model, wrap

from rnncost.errors import ModelFileError
from rnncost.frontends.onnx import proto
from rnncost.frontends.onnx.read import read_model, read_model_bytes


@pytest.fixture
def external(tmp_path: Path):
    """A function that saves a model with one int64 tensor in ``location`` beside it."""

    def save(location: str, **entries: object) -> Path:
        tensor = TensorProto(name="shape", data_type=TensorProto.INT64, dims=[3])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=str(value))
        path = tmp_path / "folder" / "model.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(wrap(tensor).SerializeToString())
        return path

    return save


def external_tensor(path: Path) -> proto.TensorProto:
    return read_model(path).graph.initializers["shape"]


ELEMENTS = (5, -6, 2**40)
DATA = np.array(ELEMENTS, "<i8").tobytes()


def test_models_saved_with_external_data_are_read(tmp_path):
    arrays = [np.arange(1000, dtype=np.float32), np.array([[1, -1]], dtype=np.int64)]
    model = wrap(*(numpy_helper.from_array(a, f"t{i}") for i, a in enumerate(arrays)))
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    theirs = onnx.load(path, load_external_data=False)
    assert all(t.data_location == TensorProto.EXTERNAL for t in theirs.graph.initializer)
    ours = read_model(path)
    check_model(ours, theirs, str(tmp_path))
    assert {t.external for t in ours.graph.initializers.values()} == {"w.bin"}


def test_only_the_slice_of_an_external_tensor_is_read(external):
    path = external("data/w.bin", offset=4096, length=24, checksum="0" * 40)
    (path.parent / "data").mkdir()
    with (path.parent / "data" / "w.bin").open("wb") as file:
        file.seek(4096)
        file.write(DATA)
        file.truncate(1 << 40)
    assert external_tensor(path).load() == ELEMENTS


def test_external_data_that_is_not_there_is_not_needed_for_counting(external):
    path = external("w.bin")
    assert external_tensor(path).load is None
    assert external_tensor(path).external == "w.bin"
    (path.parent / "w.bin").write_bytes(DATA[:-1])
    assert external_tensor(path).load is None
    (path.parent / "w.bin").write_bytes(DATA)
    tensor = external_tensor(path)
    assert tensor.load() == ELEMENTS
    (path.parent / "w.bin").write_bytes(DATA[:-1])
    with pytest.raises(ModelFileError, match=r"w\.bin' ends inside the data of tensor 'shape'"):
        tensor.load()
    (path.parent / "w.bin").unlink()
    with pytest.raises(ModelFileError, match=r"w\.bin' cannot be read: No such file"):
        tensor.load()


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../secret.bin", "a/../../secret.bin", "..", "\\\\host\\x", "C:\\x", "a\0b"],
)
def test_external_data_outside_the_folder_is_refused(external, location):
    path = external(location)
    with pytest.raises(ModelFileError, match="outside the model's folder") as caught:
        read_model(path)
    assert "'shape'" in str(caught.value)
    assert repr(location) in str(caught.value)
    with pytest.raises(ModelFileError, match="outside the model's folder"):
        read_model_bytes(path.read_bytes(), "model")


def test_links_must_not_lead_external_data_out_of_the_folder(external, tmp_path):
    (tmp_path / "secret.bin").write_bytes(DATA)
    path = external("link.bin")
    try:
        (path.parent / "link.bin").symlink_to(tmp_path / "secret.bin")
    except OSError:
        pytest.skip("this system makes no symbolic links")
    with pytest.raises(ModelFileError, match=r"'link\.bin', which is outside"):
        read_model(path)
    (path.parent / "link.bin").unlink()
    (path.parent / "link.bin").symlink_to(tmp_path / "missing.bin")
    with pytest.raises(ModelFileError, match=r"'link\.bin', which is outside"):
        read_model(path)
    (path.parent / "link.bin").unlink()
    (path.parent / "out").symlink_to(tmp_path)
    path = external("out/secret.bin")
    with pytest.raises(ModelFileError, match=r"'out/secret\.bin', which is outside"):
        read_model(path)
    (path.parent / "ring.bin").symlink_to("ring.bin")
    assert external_tensor(external("ring.bin")).load is None


def test_a_download_cache_of_links_is_followed(external, tmp_path):
    """The model and its data are links to files in one other folder."""
    path = external("model.onnx_data")
    (path.parent / "model.onnx_data").write_bytes(DATA)
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    try:
        for name in ("model.onnx", "model.onnx_data"):
            (path.parent / name).rename(path.parent / f"blob_{name}")
            (snapshot / name).symlink_to(os.path.join("..", "folder", f"blob_{name}"))
    except OSError:
        pytest.skip("this system makes no symbolic links")
    assert external_tensor(snapshot / "model.onnx").load() == ELEMENTS


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"length": 23}, "23 bytes of it where 24 are needed"),
        ({"offset": -1}, "'-1' as the offset"),
        ({"offset": "1e3"}, "'1e3' as the offset"),
        ({"length": "9" * 30}, "as the length"),
    ],
)
def test_wrong_external_entries_are_refused(external, entries, message):
    with pytest.raises(ModelFileError, match=message):
        read_model(external("w.bin", **entries))


def test_external_data_without_a_location_is_refused(external):
    with pytest.raises(ModelFileError, match="does not name it"):
        read_model(external(""))


def test_external_data_of_a_model_in_memory_is_named_only(external):
    path = external("w.bin")
    (path.parent / "w.bin").write_bytes(DATA)
    tensor = read_model_bytes(path.read_bytes(), "model").graph.initializers["shape"]
    assert (tensor.external, tensor.load) == ("w.bin", None)


def test_data_in_the_model_is_read_whatever_external_entries_say(external):
    path = external("w.bin")
    (path.parent / "w.bin").write_bytes(bytes(24))
    model = onnx.load(path, load_external_data=False)
    tensor = model.graph.initializer[0]
    tensor.raw_data = DATA
    path.write_bytes(model.SerializeToString())
    assert external_tensor(path).load() == ELEMENTS
    assert external_tensor(path).external == "w.bin"
    tensor.data_location = TensorProto.DEFAULT
    path.write_bytes(model.SerializeToString())
    assert external_tensor(path).load() == ELEMENTS
    assert external_tensor(path).external is None
