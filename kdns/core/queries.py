"""What is counted of queries: by server, zone and transport, of what type, with which code, how long they took. No I/O.

One for the process, kept over reloads as "queries"; who publishes or shows it counts what it is told of (`Plugin.count`).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kdns.core.metrics import counters, DURATIONS, histograms, Labels, SIZES, Tally
from kdns.core.plugin import Fact
from kdns.dns.types import RCODES, TYPES

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

TYPE_LABELS = {
    number: TYPES[number] for number in (1, 2, 5, 6, 12, 15, 16, 28, 33, 43, 46, 47, 48, 50, 64, 65, 251, 252, 255)
}

ZONE: Labels = ("server", "zone", "view")
BY_PROTO: Labels = (*ZONE, "proto")


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
