"""The most frequent of many: no count is too small, none is too large by more than its error, and memory is bounded."""

import random
from collections import Counter

from hypothesis import given, strategies

from kdns.core.sketch import Frequent, Sketch

STREAMS = strategies.lists(strategies.tuples(strategies.text("abcdefgh", max_size=2), strategies.integers(1, 9)), max_size=200)


@given(STREAMS, strategies.integers(1, 8))
def test_counts_are_within_their_errors(stream: list[tuple[str, int]], places: int) -> None:
    sketch: Sketch[str] = Sketch(places)
    exact: Counter[str] = Counter()
    for key, times in stream:
        sketch.add(key, times)
        exact[key] += times
    assert exact.total() == sketch.total
    assert len(sketch._counts) == len(sketch._errors) == len(sketch._least) <= places
    for key, count in sketch._counts.items():
        assert count - sketch._errors[key] <= exact[key] <= count
        assert sketch._errors[key] <= exact.total() / places
    for key, times in exact.items():
        assert key in sketch._counts or times <= exact.total() / places


def test_what_is_frequent_is_found_among_very_many() -> None:
    chance = random.Random(2005)
    sketch: Sketch[str] = Sketch(50)
    for n in range(20_000):
        sketch.add(f"rare-{n}" if chance.random() < 0.5 else f"hot-{chance.randrange(4)}")
    assert {"hot-0", "hot-1", "hot-2", "hot-3"} == {found.key for found in sketch.top(10)}


def test_without_a_frequent_one_nothing_is_claimed() -> None:
    sketch: Sketch[bytes] = Sketch(10)
    for n in range(1000):
        sketch.add(b"%d" % n)
    assert [] == sketch.top(10)


def test_halves() -> None:
    sketch: Sketch[str] = Sketch(2)
    for key in ("a", "a", "a", "a", "b", "b", "c"):
        sketch.add(key)
    assert [Frequent("a", 4, 0)] == sketch.top(9)
    sketch.halve()
    sketch.add("d", 5)
    assert (8.5, [Frequent("d", 6.5, 1.5), Frequent("a", 2, 0)]) == (sketch.total, sketch.top(9))
    assert [Frequent("a", 2, 0)] == sketch.top(9, lambda key: key != "d")
