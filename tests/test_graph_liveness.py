"""Live bytes agree with asking, at every operator, which buffers are still needed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rnncost.graph.dim import evaluate, symbol
from rnncost.graph.liveness import Life, live_bytes


def brute_force(lives: list[Life], given_: dict[str, int], kept: set[str]) -> list[int]:
    made = {name: (-1, size) for name, size in given_.items()}
    for index, life in enumerate(lives):
        made.update((name, (index, size)) for name, size in life.writes)
    result = []
    for now, life in enumerate(lives):
        alive = life.extra
        for name, (born, size) in made.items():
            uses = [i for i, other in enumerate(lives) if name in other.reads]
            if born >= 0:
                uses.append(born)
            end = len(lives) if name in kept else max(uses, default=-1)
            if born <= now <= end:
                alive += size
        result.append(alive)
    return result


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[Life], dict[str, int], set[str]]:
    given_ = {f"in{k}": draw(st.integers(0, 9)) for k in range(draw(st.integers(0, 3)))}
    names, lives = list(given_), []
    for index in range(draw(st.integers(0, 8))):
        reads = draw(st.lists(st.sampled_from(names), max_size=3)) if names else []
        writes = [(f"{index}.{k}", draw(st.integers(0, 9))) for k in range(draw(st.integers(0, 2)))]
        names.extend(name for name, _ in writes)
        lives.append(Life([*reads, "outside"], writes, draw(st.integers(0, 5))))
    kept = draw(st.sets(st.sampled_from(names))) if names else set()
    return lives, given_, kept


@given(runs())
def test_live_bytes(run: tuple[list[Life], dict[str, int], set[str]]) -> None:
    assert live_bytes(*run) == brute_force(*run)


def test_free_dimensions_stay() -> None:
    batch = symbol("batch", 3)
    lives = [Life(["x"], [("y", 8 * batch)], 5), Life(["y"], [("z", 4 * batch)])]
    alive = live_bytes(lives, {"x": 2 * batch}, {"z"})
    assert [str(nbytes) for nbytes in alive] == ["10*batch + 5", "12*batch"]
    assert evaluate(alive[0], {"batch": 7}) == 75
