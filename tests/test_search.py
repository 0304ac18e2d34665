"""``rnncost.fit``: every design is judged, the best come first, and the rest miss by so much."""

from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
import sys
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncost
from rnncost.errors import BindingError, ProfileError
from rnncost.profiles.schema import HardwareProfile
from rnncost.search import FitResult, evaluate
from rnncost.search.axis import axis_of
from rnncost.search.front import Best, Front, unbeaten
from rnncost.search.text import one_line, render_csv

PI = "raspberry-pi-4"
LATENCY = f"latency_s@{PI}"
SPACE: dict[str, Any] = {
    "inputs": "10,80",
    "hidden_sizes": "5-200:13",
    "cells": "lstm,gru,rnn",
    "layers": "1-3",
    "directions": "uni,bi",
    "dims": {"seq": "20,50", "batch": 2},
}
AXES = ("cell", "direction", "layers", "hidden", "input", "seq", "batch", "precision")


def every_design(metrics: tuple[str, ...], precisions: tuple[str, ...] = ("fp32",)) -> list[Any]:
    """The rows of the whole space, one call of ``evaluate`` for each combination of names."""
    rows = []
    hidden = np.arange(5, 201, 13)
    for cell, direction, precision, layers in itertools.product(
        ("lstm", "gru", "rnn"), ("uni", "bi"), precisions, (1, 2, 3)
    ):
        for inputs, steps in itertools.product((10, 80), (20, 50)):
            columns = evaluate(
                metrics,
                cell=cell,
                direction=direction,
                precision=precision,
                layers=layers,
                inputs=inputs,
                steps=steps,
                batch=2,
                hidden=hidden,
            )
            for at, size in enumerate(hidden.tolist()):
                identity = (cell, direction, layers, size, inputs, steps, 2, precision)
                figures = {name: column[at].item() for name, column in columns.items()}
                rows.append(dict(zip(AXES, identity, strict=True)) | figures)
    return rows


def plain(table: Any) -> list[dict[str, Any]]:
    columns = {name: column.tolist() for name, column in table.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in AXES)


def test_every_design_is_judged() -> None:
    """Against a search by hand: what meets the limits, in which order, and what beats what."""
    limits = {LATENCY: 4e-3, "state_bytes": 2000, "weight_bytes": "400 kB"}
    result = rnncost.fit(**SPACE, maximum=limits, top=10_000)
    rows = every_design(("params", *limits))
    bounds = {LATENCY: 4e-3, "state_bytes": 2000, "weight_bytes": 400_000}
    good = [row for row in rows if all(row[name] <= bounds[name] for name in bounds)]
    assert (result.designs, result.meeting) == (len(rows), len(good))
    assert 0 < len(good) < len(rows)

    def order(row: dict[str, Any]) -> tuple[float, ...]:
        return (-row["params"], row[LATENCY], row["state_bytes"], row["weight_bytes"])

    listed = plain(result.table)
    assert [order(row) for row in listed] == sorted(map(order, good))
    assert sorted(map(identity, listed)) == sorted(map(identity, good))
    figures = {identity(row): row for row in rows}
    for row in listed:
        assert {name: row[name] for name in figures[identity(row)]} == figures[identity(row)]

    def beats(one: dict[str, Any], other: dict[str, Any]) -> bool:
        a, b = order(one), order(other)
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    front = {identity(row) for row in good if not any(beats(other, row) for other in good)}
    assert result.front is not None
    assert {identity(row) for row in plain(result.front)} == front
    assert {identity(row) for row in listed if row["front"]} == front
    assert [order(row) for row in plain(result.front)] == sorted(map(order, plain(result.front)))
    assert result.nearest is None

    for miss in result.limits:
        missing = [row[miss.metric] for row in rows if row[miss.metric] > bounds[miss.metric]]
        assert (miss.missed, miss.nearest) == (len(missing), min(missing))
        assert miss.maximum == bounds[miss.metric]


def test_the_top_is_the_top() -> None:
    everything = plain(rnncost.fit(**SPACE, maximum={LATENCY: "4ms"}, top=10_000).table)
    for top in (1, 7, 100):
        assert (
            plain(rnncost.fit(**SPACE, maximum={LATENCY: "4ms"}, top=top).table)
            == (everything[:top])
        )


def test_more_of_another_total() -> None:
    result = rnncost.fit(**SPACE, maximum={LATENCY: "4ms"}, maximize="state_bytes", top=1)
    rows = every_design(("state_bytes", LATENCY))
    best = max(
        (r for r in rows if r[LATENCY] <= 4e-3), key=lambda r: (r["state_bytes"], -r[LATENCY])
    )
    assert identity(plain(result.table)[0]) == identity(best)
    assert (result.maximize, result.costs) == ("state_bytes", (LATENCY,))


def test_what_the_front_weighs() -> None:
    space = {**SPACE, "cells": "lstm"}
    assert rnncost.fit(**space).costs == ("macs",)
    assert rnncost.fit(**space, maximize="macs").costs == ("params",)
    assert rnncost.fit(**space, maximum={"params": 1e5}).costs == ("macs",)
    limits = {"params": 1e5, LATENCY: 1, "lookahead_steps": 0}
    assert rnncost.fit(**space, maximum=limits).costs == (LATENCY, "lookahead_steps")


@pytest.mark.parametrize("metric", ["params", "streamed_bytes", "lookahead_steps", LATENCY])
def test_a_design_at_its_limit_meets_it(metric: str) -> None:
    """And one that is over it by the least that there is does not."""
    one: dict[str, Any] = {"inputs": 8, "hidden_sizes": 24, "directions": "bi"}
    value = evaluate(metric, inputs=8, hidden=24, direction="bi")[metric].item()
    below = value - 1 if isinstance(value, int) else math.nextafter(value, 0)
    assert rnncost.fit(**one, maximum={metric: value}).meeting == 1
    assert rnncost.fit(**one, maximum={metric: below}).meeting == 0
    assert rnncost.fit(**one, maximum={metric: 1.01 * value}).meeting == 1
    assert rnncost.fit(**one, maximum={metric: value / 1.01}).meeting == 0


def test_where_nothing_meets_the_limits_the_nearest_is_shown() -> None:
    limits = {LATENCY: 1e-5, "params": 500}
    result = rnncost.fit(**SPACE, maximum=limits)
    rows = every_design(tuple(limits))
    worst = {identity(r): max(r[LATENCY] / 1e-5, r["params"] / 500) for r in rows}
    assert result.meeting == 0
    assert result.nearest is not None
    (nearest,) = plain(result.nearest)
    assert worst[identity(nearest)] == min(worst.values())
    assert plain(result.table) == []
    assert result.front is not None
    assert plain(result.front) == []
    assert "every limit is met by none" in str(result)
    assert "the nearest is rnn uni 1x5 input 10 seq 20, which misses" in one_line(result)
    assert result.to_dict()["nearest"]["hidden"] == 5


def test_a_design_is_named_by_all_that_varies() -> None:
    space: dict[str, Any] = {"hidden_sizes": 8, "inputs": "4,6", "precisions": "fp32,int8"}
    result = rnncost.fit(**space, maximum={"weight_bytes": 1700}, dims={"batch": "2,3"})
    best = "the best is lstm uni 1x8 input 6 batch 2 int8: params 512"
    assert best in one_line(result)
    near = rnncost.fit(**space, maximum={"weight_bytes": 1}, dims={"batch": "2,3"})
    name = "lstm uni 1x8 input 4 batch 2 int8"
    assert f"the nearest is {name}, which misses weight_bytes by 44,700 %" in one_line(near)
    assert near.limits[0].design == name


def device(weight_bytes: float, activation_bytes: float) -> HardwareProfile:
    def number(value: float) -> dict[str, Any]:
        return {"value": value, "kind": "assumed", "source": "a test"}

    return msgspec.convert(
        {
            "schema_version": 1,
            "name": "small",
            "title": "A device of a test",
            "kind": "mcu",
            "runtime": "roofline",
            "version": "3",
            "threads": 1,
            "peak_macs_per_s": {"fp32": number(1e8)},
            "memory": [{"name": "RAM", "bandwidth_bytes_per_s": number(1e8)}],
            "capacity": {
                "weight_bytes": number(weight_bytes),
                "activation_bytes": number(activation_bytes),
            },
            "energy": {"mac_j": number(1e-11), "byte_j": number(1e-10)},
        },
        HardwareProfile,
    )


def test_designs_that_fit_a_device() -> None:
    """240 kB of weights are the limit in fp32; int8 takes a quarter."""
    profile = device(240e3, 1e9)
    result = rnncost.fit(
        inputs=16, hidden_sizes="1-400", fits=profile, precisions=("fp32", "int8"), top=1000
    )
    hidden = np.arange(1, 401)
    weights = 4 * (4 * hidden * (16 + hidden) + 8 * hidden)
    fitting = int((weights <= 240_000).sum() + (weights / 4 <= 240_000).sum())
    assert result.meeting == fitting
    (miss,) = result.limits
    assert (miss.metric, miss.maximum, miss.missed) == ("fits@small", None, 800 - fitting)
    assert miss.nearest == min(
        w / 240_000 for w in [*weights.tolist(), *(weights / 4).tolist()] if w > 240_000
    )
    assert result.table["fits@small"].all()
    assert f"{100 * (miss.nearest or 0):.4g} % of the memory" in str(result)
    assert rnncost.fit(inputs=16, hidden_sizes=8, fits=device(1e6, 10.0)).meeting == 0
    energy = rnncost.fit(
        inputs=16, hidden_sizes="1-64", maximum={"energy_j@small": "500 uJ"}, profiles=[profile]
    )
    assert 0 < energy.meeting < 64
    assert energy.table["energy_j@small"].max() <= 5e-4


def test_a_table_goes_into_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    result = rnncost.fit(**SPACE, maximum={LATENCY: "4ms"}, precisions="fp32,int8")
    frame = pandas.DataFrame(result.table)
    assert frame.shape == (10, len(result.table))
    assert frame["params"].tolist() == result.table["params"].tolist()
    assert frame["cell"].iloc[0] in ("lstm", "gru", "rnn")
    assert len(pandas.DataFrame(result.front)) == len(result.front["cell"])  # type: ignore[index]


def test_a_table_goes_into_polars() -> None:
    polars = pytest.importorskip("polars")
    result = rnncost.fit(**SPACE, maximum={LATENCY: "4ms"}, precisions="fp32,int8")
    frame = polars.DataFrame(result.table)
    assert frame.shape == (10, len(result.table))
    assert frame["params"].to_list() == result.table["params"].tolist()
    assert frame["direction"].to_list() == result.table["direction"].tolist()
    assert polars.DataFrame(rnncost.fit(**SPACE, maximum={"params": 0}).table).shape[0] == 0


def test_columns_are_arrays_of_one_length() -> None:
    for limit in ("4ms", "1ns"):
        result = rnncost.fit(**SPACE, maximum={LATENCY: limit})
        assert result.front is not None
        for table in (result.table, result.front):
            assert all(isinstance(column, np.ndarray) for column in table.values())
            assert len({column.shape for column in table.values()}) == 1
            assert table["params"].dtype == table["hidden"].dtype == np.int64
            assert table[LATENCY].dtype == np.float64


def test_json_has_plain_values() -> None:
    result = rnncost.fit(**SPACE, maximum={LATENCY: "4ms", "params": 30_000})
    data = json.loads(json.dumps(result.to_dict()))
    assert set(data) == set(FitResult.__struct_fields__)
    assert data["space"]["hidden"] == {"values": "5-200:13", "count": 16}
    assert data["space"]["cell"] == {"values": "lstm, gru, rnn", "count": 3}
    assert data["table"] == plain(result.table)
    assert data["limits"][1]["metric"] == "params"
    assert data["profiles"][0]["name"] == PI


def test_csv_has_the_best_and_then_the_rest_of_the_front() -> None:
    import csv
    import io

    result = rnncost.fit(**SPACE, maximum={LATENCY: "4ms"}, top=5)
    rows = list(csv.DictReader(io.StringIO(render_csv(result))))
    assert result.front is not None
    assert [row["rank"] for row in rows[:6]] == ["1", "2", "3", "4", "5", ""]
    assert sum(row["front"] == "true" for row in rows) == len(result.front["cell"])
    assert [int(row["params"]) for row in rows[:5]] == result.table["params"].tolist()
    assert float(rows[0][LATENCY]) == result.table[LATENCY][0]
    keys = [tuple(row[name] for name in AXES) for row in rows]
    assert len(set(keys)) == len(keys)


def test_text_says_what_was_searched() -> None:
    text = str(rnncost.fit(**{**SPACE, "dims": None}, maximum={LATENCY: "4ms"}, top=2))
    assert "576 designs" in text
    assert "seq 100 (assumed); batch 1 (assumed)" in text
    assert "best: most params first, then least latency_s@raspberry-pi-4" in text
    assert "uncalibrated" in text
    assert "as torch.nn.LSTM" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_front_without_end_is_left_out() -> None:
    """With MACs as the cost of parameters, every other design is on it."""
    result = rnncost.fit(inputs="1-40", hidden_sizes="1-500", maximum={"macs": 10**12})
    assert result.front is None
    assert result.meeting == 20_000
    assert result.notes == (
        "the front is left out, as more than 5,000 designs were on it at once: give a narrower "
        "space or other limits",
    )
    assert "front is left out" in str(result)
    assert not result.table["front"].any()


def test_ten_million_designs_take_little_memory() -> None:
    code = (
        "import resource, rnncost\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "r = rnncost.fit(inputs='1-1000', hidden_sizes='1-10000', maximum={'weight_bytes': 1e6})\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(r.designs, r.meeting, after - before)"
    )
    if sys.platform == "win32":
        pytest.skip("no resource module")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    designs, meeting, grown = map(int, done.stdout.split())
    assert (designs, meeting > 0) == (10**7, True)
    kib = grown / 1024 if sys.platform == "darwin" else grown
    assert kib < 100_000


# -- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_sizes": "10-5"}, "hidden: the range 10-5 is empty"),
        ({"hidden_sizes": 0}, "hidden: 0 is not within 1 to"),
        ({"hidden_sizes": "0-4"}, "hidden: '0-4' is not within 1 to"),
        ({"hidden_sizes": ()}, "hidden: there is no number in"),
        ({"hidden_sizes": range(5, 1)}, "there is no number in range"),
        ({"hidden_sizes": "64-128:0"}, "the step of 64-128:0 must be 1 or more"),
        ({"hidden_sizes": "1e3"}, "is neither a number nor a range"),
        ({"hidden_sizes": "٣"}, "is neither a number nor a range"),
        ({"hidden_sizes": 3.5}, "hidden must be whole numbers, not 3.5"),
        ({"hidden_sizes": [True]}, "hidden must be whole numbers, not True"),
        ({"hidden_sizes": None}, "hidden must be whole numbers, not None"),
        ({"hidden_sizes": "1-" + "9" * 30}, "is not within 1 to"),
        ({"hidden_sizes": "1-2000000,5000000"}, "give one range"),
        ({"hidden_sizes": "1-2000000", "inputs": "1-1000"}, "as in --hidden 1-2000000:2"),
        ({"hidden_sizes": "1-4", "dims": {"seq": "1-2000000000"}}, "--dim seq=1-2000000000:8"),
        ({"hidden_sizes": 10**9}, "too large to be counted exactly"),
        ({"layers": "1-2000"}, "layers: a stack may have 1,000 layers"),
        ({"dims": {"sec": 3}}, "no dimension 'sec', did you mean 'seq'?"),
        ({"cells": "lstm,gur"}, "there is no cell 'gur', did you mean 'gru'?"),
        ({"cells": ()}, "there is no cell: give one of lstm, gru, rnn"),
        ({"directions": "bidirectionl"}, "did you mean 'bidirectional'?"),
        ({"precisions": "fp8"}, "there is no precision 'fp8'"),
        ({"maximize": "parms"}, "there is no total 'parms' to maximize, did you mean 'params'?"),
        ({"top": 0}, "top must be a whole number from 1"),
        ({"threads": 1.5}, "threads must be a whole number from 1"),
        ({"maximum": {"latancy_s@x": 1}}, "no metric 'latancy_s', did you mean 'latency_s'?"),
        ({"maximum": {"latency_s": 1}}, "latency_s needs a profile"),
        ({"maximum": {"latency_s@": 1}}, "latency_s needs a profile"),
        ({"maximum": {f"params@{PI}": 1}}, "params is the same on every device"),
        ({"maximum": {"streamable": 1}}, "no metric 'streamable'"),
        ({"maximum": {"params": math.nan}}, "must be a number from 0 on"),
        ({"maximum": {"params": math.inf}}, "must be a number from 0 on"),
        ({"maximum": {"params": -1}}, "must be a number from 0 on"),
        ({"maximum": {"params": True}}, "must be a number from 0 on"),
        ({"maximum": {"params": None}}, "must be a number from 0 on"),
        ({"maximum": {"params": 10**400}}, "must be a number from 0 on"),
        ({"maximum": {"params": "nan"}}, "the limit of params: 'nan' is not a count"),
        ({"maximum": {"params": "1 ms"}}, "'1 ms' is not a count"),
        ({"maximum": {LATENCY: "5 MB"}}, "'5 MB' is not a time"),
        ({"maximum": {LATENCY: "-5 ms"}}, "is below 0"),
        ({"maximum": {f"fits@{PI}": 1}}, "does not say how much memory it has"),
        ({"maximum": {"fits@esp32": 1}}, "has no maximum: give --fits PROFILE"),
        ({"maximum": {f"energy_j@{PI}": 1}}, "has no energy figures"),
        ({"maximum": {"latency_s@raspbery-pi-4": 1}}, "did you mean 'raspberry-pi-4'?"),
        ({"maximum": {"fits@esp32": True}, "fits": "esp32"}, "fits@esp32 is limited twice"),
        ({"fits": "esp23"}, "no hardware profile is named 'esp23'"),
    ],
)
def test_odd_searches_are_refused_in_a_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(rnncost.RnncostError) as caught:
        rnncost.fit(**{"inputs": 8, "hidden_sizes": 16, **changes})
    assert isinstance(caught.value, (BindingError, ProfileError))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_profiles_may_be_none() -> None:
    result = rnncost.fit(inputs=8, hidden_sizes=16, fits=None, profiles=None)
    assert (result.profiles, result.limits, result.meeting) == ((), (), 1)


def test_two_profiles_of_one_name_are_refused() -> None:
    with pytest.raises(ProfileError, match="two profiles are named 'small'"):
        rnncost.fit(inputs=8, hidden_sizes=16, profiles=[device(1, 1), device(2, 2)])
    same = rnncost.fit(inputs=8, hidden_sizes=16, profiles=[device(1, 1), device(1, 1)])
    assert len(same.profiles) == 1


@pytest.mark.parametrize(
    ("given_", "values"),
    [
        ("7", [7]),
        ("3,1,3", [1, 3]),
        (" 1-3 , 9 ", [1, 2, 3, 9]),
        ("1-10:4", [1, 5, 9]),
        ("4-5,5-6", [4, 5, 6]),
        (12, [12]),
        (np.int64(12), [12]),
        (np.array([4, 2]), [2, 4]),
        (range(10, 1, -4), [2, 6, 10]),
        (["4"], None),
    ],
)
def test_axes(given_: Any, values: list[int] | None) -> None:
    if values is None:
        with pytest.raises(BindingError):
            axis_of("hidden", given_)
        return
    axis = axis_of("hidden", given_)
    assert axis.at(np.arange(len(axis))).tolist() == values
    assert list(axis.values) == values


# -- what is kept -------------------------------------------------------------------------


@given(
    st.integers(1, 4).flatmap(
        lambda columns: st.lists(
            st.lists(st.integers(0, 5), min_size=columns, max_size=columns), min_size=1, max_size=60
        )
    ),
    st.integers(1, 9),
)
@settings(deadline=None)
def test_nothing_beats_a_front_and_it_beats_the_rest(points: list[list[int]], parts: int) -> None:
    def beaten(one: list[int]) -> bool:
        return any(
            other != one and all(a <= b for a, b in zip(other, one, strict=True))
            for other in points
        )

    wanted = {at for at, one in enumerate(points) if not beaten(one)}
    array = np.array(points, np.float64)
    assert set(unbeaten(array).tolist()) == wanted
    front = Front()
    for part in np.array_split(np.arange(len(points)), parts):
        front.add(part, array[part])
    assert set(front.numbers.tolist()) == wanted


def test_a_large_front_of_three_columns() -> None:
    """Larger than the chunks in which it is compared, on the surface of a ball."""
    rng = np.random.default_rng(3)
    surface = np.abs(rng.normal(size=(3000, 3)))
    surface /= np.linalg.norm(surface, axis=1, keepdims=True)
    points = np.concatenate((1 - surface, 1.001 - surface[:1500] + 1e-3))
    order = rng.permutation(len(points))
    front = Front()
    for part in np.array_split(order, 7):
        front.add(part, points[part])
    assert set(front.numbers.tolist()) == set(range(3000))
    assert not front.given_up


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=50),
    st.integers(1, 8),
    st.integers(1, 9),
)
@settings(deadline=None)
def test_the_best_are_the_first_in_order(
    points: list[tuple[int, int]], most: int, parts: int
) -> None:
    best = Best(most)
    array = np.array(points, np.float64)
    for part in np.array_split(np.arange(len(points)), parts):
        best.add(part, array[part])
    wanted = sorted(range(len(points)), key=lambda at: (*points[at], at))[:most]
    assert best.numbers.tolist() == wanted


def test_designs_are_numbered_as_they_stream_by() -> None:
    from rnncost.search.space import BLOCK, space_of

    space = space_of(
        cells="gru,lstm",
        directions="bi,uni",
        precisions="fp32,int8",
        layers="1,4",
        inputs="3-5",
        hidden_sizes="1-4000",
        dims={"seq": [9, 2], "batch": 5},
    )
    blocks = list(space.blocks())
    numbers = np.concatenate([block.numbers for block in blocks])
    assert numbers.tolist() == list(range(space.size))
    assert space.size == 2 * 2 * 2 * 2 * 3 * 4000 * 2
    assert max(len(block.numbers) for block in blocks) == BLOCK
    rng = random.Random(2)
    for number in [0, BLOCK - 1, BLOCK, space.size - 1, *rng.sample(range(space.size), 50)]:
        design = space.design(number)
        at = next(b for b in blocks if b.numbers[0] <= number <= b.numbers[-1])
        place = number - int(at.numbers[0])
        for name in ("inputs", "steps", "batch", "hidden"):
            values = np.broadcast_to(getattr(at.stack, name), at.numbers.shape)
            assert getattr(design, name) == values[place]
        assert (design.cell, design.layers) == (at.stack.cell, at.stack.layers)
        assert (design.directions, design.precision) == (at.stack.directions, at.stack.precision)
    firsts = [space.design(n) for n in space.first_of_each(numbers[::-1]).tolist()]
    kinds = {(d.cell, d.directions, d.precision, d.layers) for d in firsts}
    assert len(firsts) == len(kinds) == 16
    assert all((d.inputs, d.steps, d.hidden) == (5, 9, 4000) for d in firsts)
    chosen = np.array(rng.sample(range(space.size), 200), np.int64)
    found = np.concatenate([block.numbers for block in space.blocks_of(chosen)])
    assert sorted(found.tolist()) == sorted(chosen.tolist())
