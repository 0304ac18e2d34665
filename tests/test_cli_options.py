"""Values of options: parsed exactly, or refused in one sentence that shows how to write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncost.cli.options import parse_dims, parse_period, parse_shapes, parse_values
from rnncost.errors import BindingError


def test_dims() -> None:
    assert parse_dims(["seq=100", "batch size=1"]) == {"seq": 100, "batch size": 1}
    assert parse_dims([]) == {}


def test_shapes() -> None:
    assert parse_shapes(["input=1x576", "sr=1"]) == {"input": (1, 576), "sr": (1,)}


def test_values() -> None:
    parsed = parse_values(["sr=16000", "gain=-0.5", "on=true", "off=False", "ids=1, 2,3"])
    assert parsed == {"sr": 16000, "gain": -0.5, "on": True, "off": False, "ids": [1, 2, 3]}
    assert type(parsed["sr"]) is int
    assert type(parsed["on"]) is bool
    assert parse_values(["x=1,2.5"]) == {"x": [1, 2.5]}


def test_periods() -> None:
    assert parse_period("40us") == 40e-6
    assert parse_period("2.5 s") == 2.5
    for text in ("0ms", "-1s", "10kB", "nan", ""):
        with pytest.raises(BindingError, match="--step-period"):
            parse_period(text)


def test_names_may_hold_equals_signs_and_colons() -> None:
    assert parse_shapes(["serving:a=b:0=2x3"]) == {"serving:a=b:0": (2, 3)}
    assert parse_dims(["2*seq=x=4"]) == {"2*seq=x": 4}
    assert parse_values(["a:0=b=1,2"]) == {"a:0=b": [1, 2]}


@given(
    name=st.text(min_size=1, max_size=20),
    dims=st.lists(st.integers(-10, 10**9), min_size=1, max_size=5),
)
def test_any_name_and_shape_is_read_back(name: str, dims: list[int]) -> None:
    assert parse_shapes([f"{name}={'x'.join(map(str, dims))}"]) == {name: tuple(dims)}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("seq", "--dim seq names nothing to bind: write --dim seq=100"),
        ("=3", "--dim =3 names nothing to bind: write --dim seq=100"),
        ("", "--dim  names nothing to bind: write --dim seq=100"),
        ("seq=", "--dim seq=: '' is not a whole number, write --dim seq=100"),
        ("seq=1e3", "--dim seq=1e3: '1e3' is not a whole number, write --dim seq=100"),
    ],
)
def test_faulty_dims(item: str, message: str) -> None:
    with pytest.raises(BindingError) as caught:
        parse_dims([item])
    assert str(caught.value) == message


@pytest.mark.parametrize("item", ["x", "x=", "x=1x", "x=1xN", "x=1,2", "x=axb"])
def test_faulty_shapes(item: str) -> None:
    with pytest.raises(BindingError, match="write --shape input=1x576"):
        parse_shapes([item])


@pytest.mark.parametrize("item", ["x", "x=", "x=1,,2", "x=yes", "x=[1,2]"])
def test_faulty_values(item: str) -> None:
    with pytest.raises(BindingError, match="write --value sr=16000"):
        parse_values([item])


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(BindingError, match="--dim seq is given twice"):
        parse_dims(["seq=1", "seq=2"])


def test_values_from_a_file(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "mask.npy"
    np.save(path, np.array([[True, False]]))
    value = parse_values([f"mask=@{path}"])["mask"]
    assert value.tolist() == [[True, False]]


def test_a_file_that_is_no_array_is_refused_without_unpickling(tmp_path: Path) -> None:
    import numpy as np

    objects = tmp_path / "objects.npy"
    np.save(objects, np.array([{}], dtype=object), allow_pickle=True)
    text = tmp_path / "text.npy"
    text.write_text("1 2 3")
    empty = tmp_path / "empty.npy"
    empty.touch()
    for path in (objects, text, empty, tmp_path / "absent.npy", tmp_path):
        with pytest.raises(BindingError, match=r"write one with numpy\.save") as caught:
            parse_values([f"x=@{path}"])
        assert "\n" not in str(caught.value)
