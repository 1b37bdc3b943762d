"""What is counted, and metrics as text: in steps, and once a second for all who ask."""

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from kdns.core import metrics
from kdns.core.metrics import counters, gauges, histograms, Labels, Metrics, rendered, Tally


def test_nothing_is_counted_until_somebody_publishes() -> None:
    metrics = Metrics()
    counter = metrics.counter("x_total", "X.", ("to",))
    counter.labels("a").inc()
    registry = metrics.registry()
    assert registry.get_sample_value("x_total", {"to": "a"}) is None
    counter.labels("a").inc(2)
    assert 2 == registry.get_sample_value("x_total", {"to": "a"})
    assert registry is metrics.registry()


def test_a_name_asked_for_twice_is_one_metric() -> None:
    metrics = Metrics()
    value = metrics.registry().get_sample_value
    for _ in range(2):
        metrics.gauge("g", "G.").set(7)
        metrics.counter("c_total", "C.").inc()
        metrics.histogram("h", "H.", (), (1.0, 2.0)).observe(1.5)
    assert (7, 2, 2) == (value("g"), value("c_total"), value("h_count"))
    assert 0 == value("h_bucket", {"le": "1.0"})


def test_a_child_can_go() -> None:
    metrics = Metrics()
    gauge, value = metrics.gauge("g", "G.", ("to",)), metrics.registry().get_sample_value
    gauge.labels("a").set(1)
    gauge.remove("a")
    gauge.remove("never there")
    assert value("g", {"to": "a"}) is None


def test_families_are_asked_for_at_each_scrape_and_united() -> None:
    metrics = Metrics()
    value = metrics.registry().get_sample_value
    tally = Tally((1.0, 2.0))
    tally.observe(0.5)
    tally.observe(1.0)  # a bound is included
    tally.observe(9, times=3)
    metrics.collect("one", lambda: [counters("c_total", "C.", ("a",), {("x",): 1}), histograms("h", "H.", (), {(): tally})])
    metrics.collect("other", lambda: [counters("c_total", "C.", ("a",), {("x",): 2, ("y",): 5}), gauges("g", "G.", (), {(): 4})])
    assert (3, 5, 4) == (value("c_total", {"a": "x"}), value("c_total", {"a": "y"}), value("g"))
    assert (2, 2, 5, 28.5) == (
        value("h_bucket", {"le": "1"}), value("h_bucket", {"le": "2"}), value("h_count"), value("h_sum")
    )  # fmt: skip
    metrics.collect("one", list)
    assert 2 == value("c_total", {"a": "x"})
    metrics.ends("other")
    assert value("c_total", {"a": "x"}) is None


def test_tallies_add_up() -> None:
    one, other = Tally((1.0,)), Tally((1.0,))
    one.observe(0.5)
    other.observe(2, times=2)
    one.add(other)
    assert ([1, 2], 4.5) == (one.counts, one.total)


class Fixed:
    """A registry of a large family of counters, a histogram, and one without samples."""

    def __init__(self, count: int) -> None:
        self.count = count

    def collect(self) -> list[Any]:
        values: dict[Labels, float] = {(f"n{i}",): i for i in range(self.count)}
        tally = Tally((1, 2))
        tally.observe(1.5)
        return [
            counters("a_total", "A.", ("name",), values),
            histograms("b_seconds", "B.", (), {(): tally}),
            counters("c_total", "C.", ("name",), {}),
        ]


@pytest.mark.parametrize("count", [0, 1, metrics.STEP, metrics.STEP + 1, 3 * metrics.STEP])
def test_rendered_in_steps_it_is_the_same(count: int) -> None:
    registry = CollectorRegistry()
    registry.register(Fixed(count))  # type: ignore[arg-type]
    assert generate_latest(registry) == asyncio.run(rendered(registry))


def test_others_have_their_turn() -> None:
    registry = CollectorRegistry()
    registry.register(Fixed(40 * metrics.STEP))  # type: ignore[arg-type]

    async def check() -> int:
        turns = 0
        rendering = asyncio.ensure_future(rendered(registry))
        while not rendering.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert asyncio.run(check()) > 40


@pytest.mark.plain
def test_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "EVERY", 0.05)
    renderings = 0
    of = Metrics()
    counter = of.counter("asked_total", "Asked.")

    def looked() -> list[Any]:
        nonlocal renderings
        renderings += 1
        return []

    async def check() -> list[bool]:
        of.registry()
        of.collect("renderings", looked)
        found = []
        for i in range(3):
            counter.inc()
            texts = await asyncio.gather(*(of.text() for _ in range(16)))
            found.append(all(f"asked_total {i + 1}.0" in text.decode() for text in texts))
        return found

    assert [True] * 3 == asyncio.run(check())
    assert 3 == renderings
