"""Metrics: counters, gauges and histograms as plain dictionaries.

What counts need not know who reads: a plugin keeps its metrics and appends a function that returns them to
`Instance.collectors`; the plugin *prometheus* calls it at each scrape. So nothing here or there imports prometheus_client
where no metrics are asked for. No I/O.
"""

from bisect import bisect_left
from collections.abc import Sequence

Labels = tuple[str, ...]

DURATIONS = tuple(0.00025 * 2**n for n in range(16))  # seconds
SIZES = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3)  # octets


class Metric:
    """A metric by its full name, with its value for each combination of label values."""

    __slots__ = ("help", "labels", "name", "values")

    def __init__(self, name: str, help: str, labels: Labels = ()) -> None:
        self.name, self.help, self.labels = name, help, labels
        self.values: dict[Labels, float] = {}
        if not labels:
            self.values[()] = 0.0


class Counter(Metric):
    """What only grows; its name ends in `_total`."""

    __slots__ = ()

    def add(self, *labels: str, by: float = 1.0) -> None:
        self.values[labels] = self.values.get(labels, 0.0) + by


class Gauge(Metric):
    """What goes up and down."""

    __slots__ = ()

    def set(self, value: float, *labels: str) -> None:
        self.values[labels] = value


class Tally:
    """How many values fell below each bound, and their sum; the last count is of what is above all bounds."""

    __slots__ = ("counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, other: "Tally") -> None:
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


class Histogram:
    """How values spread over buckets, each with its upper bound, that bound included."""

    __slots__ = ("bounds", "help", "labels", "name", "values")

    def __init__(self, name: str, help: str, labels: Labels = (), bounds: Sequence[float] = DURATIONS) -> None:
        self.name, self.help, self.labels, self.bounds = name, help, labels, bounds
        self.values: dict[Labels, Tally] = {}
        if not labels:
            self.values[()] = Tally(bounds)

    def observe(self, value: float, *labels: str, times: int = 1) -> None:
        tally = self.values.get(labels)
        if tally is None:
            tally = self.values[labels] = Tally(self.bounds)
        tally.counts[bisect_left(self.bounds, value)] += times
        tally.total += value * times
