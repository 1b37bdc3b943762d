import asyncio
from typing import Any

import dns.message
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kdns import __version__
from kdns.core.behind import Request
from kdns.core.generation import Generation
from kdns.core.metrics import counters, gauges, histograms, SIZES, Tally
from kdns.core.plugin import Fact
from kdns.core.queries import Queries
from kdns.dns.query import Query, Transport
from kdns.dns.response import Made, Response, RRset
from kdns.dns.types import A, NXDOMAIN
from kdns.server.load import load
from tests.support.configured import ask, CLIENT, generation_of, in_block, listener_of, LOCAL

FOUND = Response(answer=(RRset("example.org.", A, 5, (bytes(4),)),), stable_for=60, made=Made("kubernetes"))
ZONE = {"server": "dns://:53", "zone": ".", "view": ""}


def scrape(generation: Generation, address: str = "localhost:9153") -> dict[str, Any]:
    """Samples by name: the value of one without labels, else a list of (labels, value)."""

    async def get() -> tuple[int, str, bytes]:
        return await generation.pages[address]["/metrics"](Request({}, {}))

    status, content_type, body = asyncio.run(get())
    assert (200, "text/plain; version=0.0.4; charset=utf-8") == (status, content_type)
    found: dict[str, Any] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            if sample.labels:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
            else:
                found[sample.name] = sample.value
    return found


def test_queries_are_counted() -> None:
    generation = generation_of(in_block("prometheus\nerrors"), FOUND)

    async def run() -> None:
        await ask(generation, "example.org", "A")
        await ask(generation, "example.org", "A", want_dnssec=True)
        await ask(generation, "example.org", "TYPE4711", transport=Transport.TCP, client=CLIENT._replace(host="fd00::7"))
        await listener_of(generation).reply(bytes(2) + b"\x28" + bytes(9), CLIENT, LOCAL, Transport.UDP)

    asyncio.run(run())
    found = scrape(generation)
    assert [
        ({**ZONE, "proto": "udp", "family": "1", "type": "A"}, 2),
        ({**ZONE, "proto": "tcp", "family": "2", "type": "other"}, 1),
    ] == found["coredns_dns_requests_total"]
    assert [
        ({**ZONE, "rcode": "NOERROR", "plugin": "kubernetes"}, 3),
        ({**ZONE, "zone": "dropped", "rcode": "NOTIMP", "plugin": ""}, 1),
    ] == found["coredns_dns_responses_total"]
    assert [(ZONE, 1)] == found["coredns_dns_do_requests_total"]
    assert [(ZONE, 3)] == found["coredns_dns_request_duration_seconds_count"]
    udp, tcp = {**ZONE, "proto": "udp"}, {**ZONE, "proto": "tcp"}
    assert [(udp, 29 + 40), (tcp, 29)] == found["coredns_dns_request_size_bytes_sum"]
    assert [(udp, 45 + 56), (tcp, 45)] == found["coredns_dns_response_size_bytes_sum"]
    assert [({"server": "dns://:53"}, 4)] == found["kdns_memo_misses_total"]


def test_buckets_are_coredns_s() -> None:
    queries = Queries()
    for seconds in (0.00025, 0.000251, 9.0):
        queries.count(Fact("dns://:53", ".", "", Transport.UDP, False, A, False, 0, "", 511, 512), 2, seconds)
    zone = queries.zones["dns://:53", ".", "", "udp"]
    assert [0.00025 * 2**n for n in range(16)] == list(zone.durations.bounds)
    assert [2, 2, *[0] * 14, 2] == zone.durations.counts
    assert [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3] == list(zone.request_sizes.bounds)
    assert [0, 0, 0, 0, 0, 6, *[0] * 9] == zone.request_sizes.counts


def test_the_bounds_of_buckets_as_text() -> None:
    generation = generation_of(in_block("prometheus"), FOUND)
    asyncio.run(ask(generation, "example.org"))
    found = scrape(generation)
    bounds = [labels["le"] for labels, _ in found["coredns_dns_request_duration_seconds_bucket"]]
    assert ["0.00025", "0.0005", "0.001", "0.002"] == bounds[:4] and ["4.096", "8.192", "+Inf"] == bounds[-3:]
    sizes = found["coredns_dns_response_size_bytes_bucket"]
    assert ["0", "100", "16000", "+Inf"] == [sizes[n][0]["le"] for n in (0, 1, 10, -1)]
    assert [0, 1, 1, 1] == [sizes[n][1] for n in (0, 1, 10, -1)]


def test_hits_of_the_memo_are_counted_at_the_scrape() -> None:
    generation = generation_of(in_block("prometheus"), FOUND)
    listener = listener_of(generation)
    wire = dns.message.make_query("example.org", "A").to_wire()
    asyncio.run(listener.reply(wire, CLIENT, LOCAL, Transport.UDP))
    for _ in range(2):
        entry = listener.memo.get(wire[2:])
        assert entry is not None
        entry.hits += 5
        listener.counts.hits, listener.counts.hit_seconds = listener.counts.hits + 5, listener.counts.hit_seconds + 5e-6
    found = scrape(generation)
    assert 11 == found["coredns_dns_requests_total"][0][1] == found["coredns_dns_responses_total"][0][1]
    assert 11 == found["coredns_dns_request_duration_seconds_count"][0][1]
    assert [({"server": "dns://:53"}, 10)] == found["kdns_memo_hits_total"]
    assert [({"server": "dns://:53"}, 1)] == found["kdns_memo_entries"]
    assert 11 == scrape(generation)["coredns_dns_requests_total"][0][1]


def test_what_there_is_besides() -> None:
    def broken(query: Query) -> Response:
        raise RuntimeError

    generation = generation_of(in_block("prometheus :9153\nloadbalance\nhealth\nlog\nerrors"), broken)
    asyncio.run(ask(generation, "example.org"))
    found = scrape(generation, ":9153")
    assert [1] == [value for labels, value in found["coredns_build_info"] if labels["version"] == __version__]
    assert ["prometheus", "loadbalance", "health", "log", "errors"] == [
        labels["name"] for labels, _ in found["coredns_plugin_enabled"]
    ]
    assert 1 == found["coredns_panics_total"]
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "coredns_health_request_failures_total",
            "kdns_memo_bytes", "kdns_memo_forgotten_total"} <= set(found)  # fmt: skip
    assert 0 == found["coredns_health_request_duration_seconds_count"]
    assert "python_info" not in found
    assert [({**ZONE, "rcode": "SERVFAIL", "plugin": ""}, 1)] == found["coredns_dns_responses_total"]


def test_names_of_no_zone_here_are_counted() -> None:
    generation = generation_of("example.org {\nprometheus\n}\n", FOUND)
    for name, type in (("example.net", "A"), ("example.com", "AAAA"), ("example.net", "A"), ("example.net", "TYPE65280")):
        asyncio.run(ask(generation, name, type))
    found = scrape(generation)
    nowhere = {"server": "dns://:53", "zone": "dropped", "view": ""}
    assert [
        ({**nowhere, "proto": "udp", "family": "1", "type": "A"}, 2),
        ({**nowhere, "proto": "udp", "family": "1", "type": "AAAA"}, 1),
        ({**nowhere, "proto": "udp", "family": "1", "type": "other"}, 1),
    ] == found["coredns_dns_requests_total"]
    assert [({**nowhere, "rcode": "REFUSED", "plugin": ""}, 4)] == found["coredns_dns_responses_total"]


def test_runtime_metrics() -> None:
    found = scrape(generation_of(in_block("prometheus {\nruntime_metrics\n}")))
    assert {"python_info", "python_gc_collections_total"} <= set(found)


def test_metrics_of_one_name_are_united() -> None:
    generation = generation_of(in_block("prometheus"))
    by_server, one, other = ("server",), Tally(SIZES), Tally(SIZES)
    one.observe(1)
    other.observe(1, times=2)
    generation.metrics.collect("one", lambda: [
        counters("coredns_cache_misses_total", "Misses.", by_server, {("a",): 2}), histograms("x", "X.", ("to",), {("b",): one}),
    ])  # fmt: skip
    generation.metrics.collect("other", lambda: [
        counters("coredns_cache_misses_total", "Misses.", by_server, {("a",): 1, ("b",): 1}),
        gauges("coredns_cache_entries", "Entries.", by_server, {("a",): 7}), histograms("x", "X.", ("to",), {("b",): other}),
    ])  # fmt: skip
    found = scrape(generation)
    assert [({"server": "a"}, 3), ({"server": "b"}, 1)] == found["coredns_cache_misses_total"]
    assert [({"server": "a"}, 7)] == found["coredns_cache_entries"]
    assert [({"to": "b"}, 3)] == found["x_count"]


def test_counts_outlive_a_reload() -> None:
    old = generation_of(in_block("prometheus"), Response(rcode=NXDOMAIN))
    asyncio.run(ask(old, "example.org"))
    new = load(in_block("prometheus"), generation=Generation(old))
    new.begin()
    asyncio.run(old.close(new.kept.values()))
    asyncio.run(ask(new, "example.org"))
    assert [2] == [value for _, value in scrape(new)["coredns_dns_requests_total"]]


def test_names_that_nobody_knows_take_no_memory() -> None:
    queries = Queries()
    for type in range(1000, 3000):
        queries.count(Fact("s", ".", "", Transport.UDP, False, type, False, 0, "", type, type), 1, 0.1)
    [zone] = queries.zones.values()
    assert ([("other", False)], [(0, "")]) == (list(zone.requests), list(zone.responses))


@pytest.mark.parametrize("address", ["localhost:9253", ":9153"])
def test_server_blocks_share_an_address(address: str) -> None:
    generation = generation_of(f"a. {{\nprometheus {address}\nwhoami\n}}\nb. {{\nprometheus {address}\nwhoami\n}}\n")

    async def run() -> None:
        for name in ("x.a", "x.b"):
            await ask(generation, name)

    asyncio.run(run())
    assert ["a.", "b."] == [labels["zone"] for labels, _ in scrape(generation, address)["coredns_dns_requests_total"]]
