"""Metrics: prometheus-client's own, and tallies for what is counted on every query.

`Metrics` is one for the process and outlives reloads. What counts now and then asks it for a counter, a gauge or a histogram
and uses that as prometheus-client's. The package costs 5 MB and 30 ms, so it is imported when somebody publishes (the plugin
*prometheus*), and not before: until then nothing is counted by these.

What counts on each query keeps a tally of its own (a plain dictionary or a `Tally`), and a function that makes families of
it at each scrape.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TYPE_CHECKING

from kdns.core.singleflight import Singleflight

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric as Family

Labels = tuple[str, ...]

DURATIONS = tuple(0.00025 * 2**n for n in range(16))  # seconds
SIZES = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3)  # octets

EVERY = 1.0  # seconds from one rendering of the metrics to the next: who asks sooner waits
STEP = 100  # samples that are rendered before others on the loop have their turn: a millisecond


class Metric(Protocol):
    """What may be done with a metric, or with one of its children; a kind of metric does not have all of it."""

    def labels(self, *values: str) -> "Metric":
        """The child of these label values, in the order in which the labels were declared."""

    def inc(self, amount: float = 1) -> None: ...
    def set(self, value: float) -> None: ...
    def observe(self, value: float) -> None: ...
    def remove(self, *values: str) -> None:
        """Forget a child."""


class _Uncounted:
    """A metric while nobody publishes."""

    def labels(self, *values: str) -> "Metric":
        return self

    def inc(self, amount: float = 1) -> None: ...
    def set(self, value: float) -> None: ...
    def observe(self, value: float) -> None: ...
    def remove(self, *values: str) -> None: ...


_UNCOUNTED = _Uncounted()


class _Declared:
    """A metric by its name. It becomes prometheus-client's own once somebody publishes."""

    def __init__(self, kind: str, name: str, help: str, labels: Labels, **options: Any) -> None:
        self.kind, self.name, self.help, self.label_names, self.options = kind, name, help, labels, options
        self.real: Any = _UNCOUNTED

    def publish(self, registry: "CollectorRegistry") -> None:
        import prometheus_client

        make = getattr(prometheus_client, self.kind)
        self.real = make(self.name, self.help, self.label_names, registry=registry, **self.options)

    def labels(self, *values: str) -> Metric:
        child: Metric = self.real.labels(*values)
        return child

    def inc(self, amount: float = 1) -> None:
        self.real.inc(amount)

    def set(self, value: float) -> None:
        self.real.set(value)

    def observe(self, value: float) -> None:
        self.real.observe(value)

    def remove(self, *values: str) -> None:
        try:
            self.real.remove(*values)
        except KeyError:
            pass


class OfServer:
    """A metric whose first label is the server, which is known only when its server block listens."""

    def __init__(self, metric: Metric, server: Callable[[], str]) -> None:
        self._metric, self._server = metric, server

    def labels(self, *values: str) -> Metric:
        return self._metric.labels(self._server(), *values)

    def inc(self, amount: float = 1) -> None:
        self.labels().inc(amount)

    def set(self, value: float) -> None:
        self.labels().set(value)

    def observe(self, value: float) -> None:
        self.labels().observe(value)

    def remove(self, *values: str) -> None:
        self._metric.remove(self._server(), *values)


async def _nothing() -> None: ...


class Metrics:
    """All metrics of the process. Asked twice for a name, it gives the same metric."""

    def __init__(self) -> None:
        self._declared: dict[str, _Declared] = {}
        self._families: dict[Any, Callable[[], Iterable[Family]]] = {}
        self._registry: CollectorRegistry | None = None
        self._runtime = False
        self.fold: Callable[[], Awaitable[None]] = _nothing  # counts what was put off, before each rendering
        self._rendering: Singleflight[bytes] = Singleflight()
        self._rendered = -EVERY  # when

    def counter(self, name: str, help: str, labels: Labels = ()) -> Metric:
        """What only grows; its name ends in `_total`."""
        return self._declare("Counter", name, help, labels)

    def gauge(self, name: str, help: str, labels: Labels = ()) -> Metric:
        """What goes up and down."""
        return self._declare("Gauge", name, help, labels)

    def histogram(self, name: str, help: str, labels: Labels = (), buckets: Sequence[float] = DURATIONS) -> Metric:
        """How values spread over buckets, by their upper bounds."""
        return self._declare("Histogram", name, help, labels, buckets=buckets)

    def collect(self, key: Any, families: Callable[[], Iterable["Family"]]) -> None:
        """Ask this function for families at each scrape, in place of the one that had an equal key."""
        self._families[key] = families

    def ends(self, key: Any) -> None:
        """Ask the function of this key no more."""
        self._families.pop(key, None)

    def registry(self) -> "CollectorRegistry":
        """What is published, from the first call on."""
        if self._registry is None:
            from prometheus_client import CollectorRegistry, disable_created_metrics, ProcessCollector

            disable_created_metrics()  # type: ignore[no-untyped-call]
            self._registry = CollectorRegistry()
            self._registry.register(_Collected(self._families))
            ProcessCollector(registry=self._registry)
            for declared in self._declared.values():
                declared.publish(self._registry)
        return self._registry

    async def text(self) -> bytes:
        """All that is published, as Prometheus reads it: rendered in steps, once for all who ask in a second."""
        return await self._rendering.ask("text", self._render)

    async def _render(self) -> bytes:
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(max(0.0, self._rendered + EVERY - clock()))
        await self.fold()
        octets = await rendered(self.registry())
        self._rendered = clock()
        return octets

    def publish_runtime(self) -> None:
        """Publish what Python knows of itself, too: its version, its garbage collector."""
        if not self._runtime:
            from prometheus_client import GCCollector, PlatformCollector

            PlatformCollector(registry=self.registry())
            GCCollector(registry=self.registry())
            self._runtime = True

    def _declare(self, kind: str, name: str, help: str, labels: Labels, **options: Any) -> Metric:
        declared = self._declared.get(name)
        if declared is None:
            declared = self._declared[name] = _Declared(kind, name, help, labels, **options)
            if self._registry is not None:
                declared.publish(self._registry)
        return declared


async def rendered(registry: "CollectorRegistry") -> bytes:
    """What a registry has, in the text format of Prometheus, made in steps."""
    from prometheus_client import generate_latest

    parts: list[bytes] = []
    done = 0
    for family in registry.collect():
        samples = family.samples
        for at in range(0, max(1, len(samples)), STEP):
            family.samples = samples[at : at + STEP]
            octets = generate_latest(_Only(family))
            parts.append(octets.split(b"\n", 2)[2] if at else octets)  # HELP and TYPE stand once
            done += len(family.samples)
            if done >= STEP:
                done = 0
                await asyncio.sleep(0)
    return b"".join(parts)


class _Only:
    """A registry of one family."""

    def __init__(self, family: "Family") -> None:
        self._family = family

    def collect(self) -> Iterator["Family"]:
        return iter((self._family,))


class _Collected:
    """The families of all functions, as prometheus-client asks for them."""

    def __init__(self, families: Mapping[Any, Callable[[], Iterable["Family"]]]) -> None:
        self._families = families

    def collect(self) -> Iterator["Family"]:
        by_name: dict[str, Family] = {}  # what several functions have of one name is one family
        for families in list(self._families.values()):
            for family in families():
                first = by_name.setdefault(family.name, family)
                if first is not family:
                    _merge(first, family)
        yield from by_name.values()

    def describe(self) -> list["Family"]:
        """Nothing: what there is is known at the scrape."""
        return []


def _merge(family: "Family", other: "Family") -> None:
    """The samples of another family of the name; where labels are equal too, the sum."""
    at = {(sample.name, *sorted(sample.labels.items())): i for i, sample in enumerate(family.samples)}
    for sample in other.samples:
        i = at.get((sample.name, *sorted(sample.labels.items())))
        if i is None:
            family.samples.append(sample)
        else:
            family.samples[i] = family.samples[i]._replace(value=family.samples[i].value + sample.value)


# ---------------------------------------------------------------- tallies


class Tally:
    """How many values fell below each bound, and their sum; the last count is of what is above all bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def add(self, other: "Tally") -> None:
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


def counters(name: str, help: str, labels: Labels, values: Mapping[Any, float]) -> "Family":
    """A family of counters from a tally by label values."""
    from prometheus_client.core import CounterMetricFamily

    family: Family = _filled(CounterMetricFamily(name, help, labels=labels), values)
    return family


def gauges(name: str, help: str, labels: Labels, values: Mapping[Any, float]) -> "Family":
    """A family of gauges from a tally by label values."""
    from prometheus_client.core import GaugeMetricFamily

    family: Family = _filled(GaugeMetricFamily(name, help, labels=labels), values)
    return family


def histograms(name: str, help: str, labels: Labels, values: Mapping[Any, Tally]) -> "Family":
    """A family of histograms from tallies by label values."""
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, help, labels=labels)
    for of, tally in values.items():
        below = 0
        buckets = []
        for bound, count in zip([*map(_shown, tally.bounds), "+Inf"], tally.counts, strict=True):
            below += count
            buckets.append((bound, float(below)))
        family.add_metric(of, buckets, tally.total)
    return family


def _shown(bound: float) -> str:
    return f"{bound:g}"


def _filled(family: Any, values: Mapping[Any, float]) -> Any:
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
