"""*prometheus* - publishes metrics over HTTP.

Description
    `/metrics` has the metrics below, and those of the other plugins, as their manuals list them. What the memo
    answers is counted like everything else, exactly, at the moment of the scrape; the time that a reply of the memo
    took is its share of the batch that it came in. They are rendered at most once a second: who asks sooner waits.

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
      query, and with `coredns_dns_requests_total` queries for names of no zone here.
    - `coredns_dns_request_duration_seconds{server, zone, view}`
    - `coredns_dns_request_size_bytes{server, zone, view, proto}`, `coredns_dns_response_size_bytes{…}`
    - `coredns_dns_do_requests_total{server, zone, view}`: queries that ask for DNSSEC's records.
    - `coredns_panics_total`: errors of kdns's own that met a query.
    - `coredns_plugin_enabled{server, zone, view, name}`
    - `process_*`: memory, CPU seconds, open files and the like.
    - `kdns_memo_*`: replies that are kept and given again, see *memo*.
    - `kdns_event_loop_lag_seconds`: by how much the event loop was late, and with it every query; a histogram of ten looks a
      second.
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
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdns import __version__
from kdns.config.directive import Directive
from kdns.config.options import argument, flag, listen, option
from kdns.core.block import Block
from kdns.core.metrics import counters, DURATIONS, gauges, histograms, Labels, SIZES, Tally
from kdns.core.plugin import Fact, Plugin
from kdns.dns.types import RCODES, TYPES

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

TEXT = "text/plain; version=0.0.4; charset=utf-8"
TYPE_LABELS = {
    number: TYPES[number] for number in (1, 2, 5, 6, 12, 15, 16, 28, 33, 43, 46, 47, 48, 50, 64, 65, 251, 252, 255)
}

ZONE: Labels = ("server", "zone", "view")
BY_PROTO: Labels = (*ZONE, "proto")


@dataclass(frozen=True)
class Options:
    address: str = argument(listen("localhost:9153"))
    runtime_metrics: bool = option(flag, False)


class Prometheus(Plugin):
    table = Options
    once = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self.block = block
        block.metrics.registry()
        if options.runtime_metrics:
            block.metrics.publish_runtime()
        queries = block.keep("queries", Queries)
        self._count = queries.count
        block.metrics.collect("queries", queries.families)
        block.metrics.collect("blocks", self.families)
        block.http(options.address, "/metrics", self.page)

    def count(self, fact: Fact, times: int, seconds: float) -> None:
        self._count(fact, times, seconds)

    async def page(self) -> tuple[int, str, bytes]:
        return 200, TEXT, await self.block.metrics.text()

    def families(self) -> Iterable["Family"]:
        """What this server is, and which plugins it has."""
        build = {(__version__, "", f"python{platform.python_version()}"): 1.0}
        enabled = {
            (listener.server, zone, block.view, name): 1.0
            for block in self.block.all_blocks
            for listener in block.listeners
            for zone in block.zones
            for name in dict.fromkeys(directive.name for directive in block.parsed.directives)
        }
        return [
            gauges("coredns_build_info", "What this is.", ("version", "revision", "goversion"), build),
            gauges("coredns_plugin_enabled", "1 for each plugin of a zone.", (*ZONE, "name"), enabled),
            gauges(
                "go_goroutines", "Tasks of the event loop, under the name that CoreDNS's dashboards read.", (),
                {(): len(asyncio.all_tasks())},
            ),
        ]


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
        self.zones: dict[tuple[str, str, str, str], Zone] = {}  # by server, zone, view and transport

    def count(self, fact: Fact, n: int, seconds: float) -> None:
        """Count n queries alike that took so long each. Called for each miss: about a microsecond."""
        key = (fact.server, fact.zone, fact.view, fact.transport)
        zone = self.zones.get(key)
        if zone is None:
            zone = self.zones[key] = Zone()
        request = (TYPE_LABELS.get(fact.type, "other"), fact.ipv6)
        zone.requests[request] = zone.requests.get(request, 0) + n
        response = (fact.rcode, fact.plugin)
        zone.responses[response] = zone.responses.get(response, 0) + n
        zone.durations.observe(seconds, n)
        zone.request_sizes.observe(fact.request_size, n)
        zone.response_sizes.observe(fact.response_size, n)
        if fact.do:
            zone.with_do += n

    def families(self) -> Iterable["Family"]:
        requests: dict[Labels, float] = {}
        responses: dict[Labels, float] = {}
        with_do: dict[Labels, float] = {}
        durations: dict[Labels, Tally] = {}
        asked: dict[Labels, Tally] = {}
        replied: dict[Labels, Tally] = {}
        for (*where, proto), zone in self.zones.items():
            labels = tuple(where)
            for (type, ipv6), n in zone.requests.items():
                requests[(*labels, proto, "2" if ipv6 else "1", type)] = n
            for (rcode, plugin), n in zone.responses.items():
                key = (*labels, RCODES.get(rcode, "other"), plugin)
                responses[key] = responses.get(key, 0) + n
            with_do[labels] = with_do.get(labels, 0) + zone.with_do
            durations.setdefault(labels, Tally(DURATIONS)).add(zone.durations)
            asked[(*labels, proto)], replied[(*labels, proto)] = zone.request_sizes, zone.response_sizes
        return [
            counters("coredns_dns_requests_total", "Queries.", (*ZONE, "proto", "family", "type"), requests),
            counters("coredns_dns_responses_total", "Replies.", (*ZONE, "rcode", "plugin"), responses),
            counters("coredns_dns_do_requests_total", "Queries with DO.", ZONE, with_do),
            histograms("coredns_dns_request_duration_seconds", "Seconds from query to reply.", ZONE, durations),
            histograms("coredns_dns_request_size_bytes", "Octets of queries.", BY_PROTO, asked),
            histograms("coredns_dns_response_size_bytes", "Octets of replies.", BY_PROTO, replied),
        ]
