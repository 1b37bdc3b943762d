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
from kdns.core.behind import Request
from kdns.core.block import Block
from kdns.core.metrics import gauges
from kdns.core.plugin import Fact, Plugin
from kdns.core.queries import Queries, ZONE

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

TEXT = "text/plain; version=0.0.4; charset=utf-8"


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

    async def page(self, request: Request) -> tuple[int, str, bytes]:
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
