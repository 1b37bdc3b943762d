"""*prometheus* - publishes metrics over HTTP.

Description
    `/metrics` has the metrics below, and those of the other plugins, as their manuals list them. What the memo
    answers is counted like everything else, exactly, at the moment of the scrape; the time that a reply of the memo
    took is its share of the batch that it came in.

    Only once in a server block. Queries of a server block are counted where it has *prometheus*. Server blocks that
    name the same address share it.

Syntax
    prometheus [ADDRESS] {
        runtime_metrics
    }

    - ADDRESS is where to listen, `localhost:9153` by default.
    - `runtime_metrics` adds what Python knows of itself: its version and its garbage collector.

Metrics
    - `coredns_build_info{version, revision, goversion}`: of kdns; goversion says which Python.
    - `coredns_dns_requests_total{server, zone, view, proto, family, type}`, with `other` for a type that is not well
      known.
    - `coredns_dns_responses_total{server, zone, view, rcode, plugin}`; the zone `dropped` has what never became a
      query.
    - `coredns_dns_request_duration_seconds{server, zone, view}`
    - `coredns_dns_request_size_bytes{server, zone, view, proto}`, `coredns_dns_response_size_bytes{…}`
    - `coredns_dns_do_requests_total{server, zone, view}`: queries that ask for DNSSEC's records.
    - `coredns_panics_total`: errors of kdns's own that met a query.
    - `coredns_plugin_enabled{server, zone, view, name}`
    - `process_*`: memory, CPU seconds, open files and the like.
    - `kdns_memo_entries{server}`, `kdns_memo_bytes{…}`, `kdns_memo_hits_total{…}`, `kdns_memo_misses_total{…}`,
      `kdns_memo_forgotten_total{…}`
    - `kdns_event_loop_lag_seconds`: how late the event loop's last tick was.
    - `go_goroutines`: tasks of the event loop, under the name that CoreDNS's dashboards read.

Examples
    Another address:

        . {
            prometheus localhost:9253
            whoami
        }
"""

import asyncio
import platform
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, generate_latest, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family

from kdns import __version__
from kdns.config.directive import Directive
from kdns.core.metrics import Counter, DURATIONS, Gauge, Histogram, Labels, Metric, SIZES, Tally
from kdns.core.site import Fact, Instance, Site
from kdns.dns.types import RCODES, TYPES

ADDRESS = "localhost:9153"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
TYPE_LABELS = {
    number: TYPES[number] for number in (1, 2, 5, 6, 12, 15, 16, 28, 33, 43, 46, 47, 48, 50, 64, 65, 251, 252, 255)
}

ZONE: Labels = ("server", "zone", "view")
BY_PROTO: Labels = (*ZONE, "proto")
MEMO: Labels = ("server",)


def setup(directive: Directive, site: Site) -> None:
    site.once(directive)
    directive.address(ADDRESS)
    registry = CollectorRegistry()
    registry.register(Scrape(site.instance))
    ProcessCollector(registry=registry)
    for option in directive.block:
        if option.name != "runtime_metrics":
            raise option.unknown(("runtime_metrics",))
        option.no_args()
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    async def http() -> tuple[int, str, bytes]:
        return 200, TEXT, generate_latest(registry)

    site.instance.serve_http(directive.optional(ADDRESS), "/metrics", http)
    site.counters.append(site.instance.carry("queries", Queries).count)


class Zone:
    """What is counted of the queries of one server, zone and transport."""

    __slots__ = ("durations", "request_sizes", "requests", "response_sizes", "responses", "with_do")

    def __init__(self) -> None:
        self.requests: dict[tuple[str, bool], int] = {}  # by type, and whether over IPv6
        self.responses: dict[tuple[int, str], int] = {}  # by code and plugin
        self.durations, self.request_sizes, self.response_sizes = Tally(DURATIONS), Tally(SIZES), Tally(SIZES)
        self.with_do = 0


class Queries:
    """The queries of all servers, since the process began."""

    def __init__(self) -> None:
        self.zones: dict[Labels, Zone] = {}  # by server, zone and transport

    def count(self, fact: Fact, n: int, seconds: float) -> None:
        """Count n queries alike that took so long each. Called for each miss: about a microsecond."""
        key = (fact.server, fact.zone, fact.transport)
        zone = self.zones.get(key)
        if zone is None:
            zone = self.zones[key] = Zone()
        request = (TYPE_LABELS.get(fact.type, "other"), fact.ipv6)
        zone.requests[request] = zone.requests.get(request, 0) + n
        response = (fact.rcode, fact.plugin)
        zone.responses[response] = zone.responses.get(response, 0) + n
        tally = zone.durations
        tally.counts[bisect_left(DURATIONS, seconds)] += n
        tally.total += seconds * n
        tally = zone.request_sizes
        tally.counts[bisect_left(SIZES, fact.request_size)] += n
        tally.total += fact.request_size * n
        tally = zone.response_sizes
        tally.counts[bisect_left(SIZES, fact.response_size)] += n
        tally.total += fact.response_size * n
        if fact.do:
            zone.with_do += n

    def metrics(self) -> list[Metric | Histogram]:
        requests = Counter("coredns_dns_requests_total", "Queries.", (*ZONE, "proto", "family", "type"))
        responses = Counter("coredns_dns_responses_total", "Replies.", (*ZONE, "rcode", "plugin"))
        with_do = Counter("coredns_dns_do_requests_total", "Queries with DO.", ZONE)
        durations = Histogram("coredns_dns_request_duration_seconds", "Seconds from query to reply.", ZONE, DURATIONS)
        asked = Histogram("coredns_dns_request_size_bytes", "Octets of queries.", BY_PROTO, SIZES)
        replied = Histogram("coredns_dns_response_size_bytes", "Octets of replies.", BY_PROTO, SIZES)
        for (server, name, proto), zone in self.zones.items():
            labels = (server, name, "")
            for (type, ipv6), n in zone.requests.items():
                requests.add(*labels, proto, "2" if ipv6 else "1", type, by=n)
            for (rcode, plugin), n in zone.responses.items():
                responses.add(*labels, RCODES.get(rcode, str(rcode)), plugin, by=n)
            with_do.add(*labels, by=zone.with_do)
            durations.values.setdefault(labels, Tally(DURATIONS)).add(zone.durations)
            asked.values[(*labels, proto)] = zone.request_sizes
            replied.values[(*labels, proto)] = zone.response_sizes
        return [requests, responses, with_do, durations, asked, replied]


class Scrape:
    """All metrics of an instance, as prometheus_client asks for them."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    def collect(self) -> Iterator[Family]:
        for listener in self.instance.listeners.values():
            listener.memo.fold()
        queries: Queries = self.instance.carry("queries", Queries)
        found = [*queries.metrics(), *_of_instance(self.instance)]
        for collector in self.instance.collectors:
            found += collector()
        return map(_family, _united(found))

    def describe(self) -> list[Family]:
        """Nothing: what there is is known at the scrape."""
        return []


def _of_instance(instance: Instance) -> list[Metric]:
    build = Gauge("coredns_build_info", "What this is.", ("version", "revision", "goversion"))
    build.set(1, __version__, "", f"python{platform.python_version()}")
    enabled = Gauge("coredns_plugin_enabled", "1 for each plugin of a zone.", (*ZONE, "name"))
    refused = Counter("coredns_dns_responses_total", "Replies.", (*ZONE, "rcode", "plugin"))
    entries = Gauge("kdns_memo_entries", "Replies in the memo.", MEMO)
    octets = Gauge("kdns_memo_bytes", "Octets of the memo, estimated.", MEMO)
    hits = Counter("kdns_memo_hits_total", "Queries that the memo answered.", MEMO)
    misses = Counter("kdns_memo_misses_total", "Datagrams that it did not answer.", MEMO)
    forgotten = Counter("kdns_memo_forgotten_total", "Replies that a change made it forget.", MEMO)
    lag = Gauge("kdns_event_loop_lag_seconds", "Seconds by which the event loop's last tick was late.")
    lag.set(instance.lag)
    tasks = Gauge("go_goroutines", "Tasks of the event loop, under the name that CoreDNS's dashboards read.")
    tasks.set(len(asyncio.all_tasks()))
    for listener in instance.listeners.values():
        server, memo = listener.server, listener.memo
        for metric, value in (
            (entries, len(memo)), (octets, memo.size), (hits, listener.hits), (misses, listener.misses),
            (forgotten, memo.forgotten),
        ):  # fmt: skip
            metric.values[server,] = value
        for rcode, n in listener.refused.items():
            refused.add(server, "dropped", "", RCODES.get(rcode, str(rcode)), "", by=n)
        for zone, site in listener.sites.items():
            for directive in site.block.directives:
                enabled.set(1, server, zone, "", directive.name)
    return [build, enabled, refused, entries, octets, hits, misses, forgotten, lag, tasks]


def _united(metrics: Iterable[Metric | Histogram]) -> list[Metric | Histogram]:
    """Each name once: plugins of several server blocks have metrics of one name; where labels are equal too, the sum."""
    by_name: dict[str, list[Metric | Histogram]] = {}
    for metric in metrics:
        alike = by_name.setdefault(metric.name, [])
        if not any(metric is other for other in alike):
            alike.append(metric)
    return [alike[0] if len(alike) == 1 else _sum(alike) for alike in by_name.values()]


def _sum(alike: list[Metric | Histogram]) -> Metric | Histogram:
    first = alike[0]
    if isinstance(first, Histogram):
        whole = Histogram(first.name, first.help, first.labels, first.bounds)
        for histogram in alike:
            assert isinstance(histogram, Histogram)
            for labels, tally in histogram.values.items():
                whole.values.setdefault(labels, Tally(first.bounds)).add(tally)
        return whole
    total = type(first)(first.name, first.help, first.labels)
    for metric in alike:
        assert isinstance(metric, Metric)
        for labels, value in metric.values.items():
            total.values[labels] = total.values.get(labels, 0.0) + value
    return total


def _family(metric: Metric | Histogram) -> Family:
    """A metric of ours as one of prometheus_client's."""
    if isinstance(metric, Histogram):
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        bounds = [f"{bound:g}" for bound in metric.bounds] + ["+Inf"]
        for labels, tally in metric.values.items():
            below = 0
            buckets = []
            for bound, count in zip(bounds, tally.counts, strict=True):
                below += count
                buckets.append((bound, float(below)))
            histogram.add_metric(labels, buckets, tally.total)
        return histogram
    kind = CounterMetricFamily if isinstance(metric, Counter) else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in metric.values.items():
        family.add_metric(labels, value)
    return family
