"""What is counted of upstreams, all of them together: metrics as `kdns.metrics` has them."""

from bisect import bisect_left
from collections.abc import Callable

from kdns.core.metrics import Counter, DURATIONS, Gauge, Histogram, Metric, Tally
from kdns.dns.types import RCODES

NAME = "forward"  # the label proxy_name


class Reuse:
    """Sockets of one upstream and protocol: used again, or opened anew."""

    __slots__ = ("_hits", "_key", "_misses")

    def __init__(self, hits: Counter, misses: Counter, to: str, proto: str) -> None:
        self._key = (NAME, to, proto)
        self._hits, self._misses = hits.values, misses.values

    def hit(self) -> None:
        self._hits[self._key] = self._hits.get(self._key, 0.0) + 1

    def missed(self) -> None:
        self._misses[self._key] = self._misses.get(self._key, 0.0) + 1


class Tallies:
    """The counts since the process began. A label `to` is an upstream's address and port."""

    def __init__(self) -> None:
        by_proto = ("proxy_name", "to", "proto")
        self.durations: dict[tuple[str, int], Tally] = {}  # by upstream and code
        self.requests = Counter("coredns_forward_requests_total", "Questions sent to an upstream.", ("to",))
        self.failed_checks = Counter("coredns_proxy_healthcheck_failures_total", "Failed health checks.", by_proto[:2])
        self.reused = Counter("coredns_proxy_conn_cache_hits_total", "Sockets used again.", by_proto)
        self.opened = Counter("coredns_proxy_conn_cache_misses_total", "Sockets opened.", by_proto)
        self.broken = Counter("coredns_forward_healthcheck_broken_total", "Times that all upstreams were down.")
        self.rejected = Counter("coredns_forward_max_concurrent_rejects_total", "Queries over max_concurrent.")
        self.spoofed = Counter("kdns_forward_spoofed_total", "Times that someone guessed at replies.", ("to",))
        self.states: dict[str, Callable[[], tuple[float, bool, bool]]] = {}  # by upstream: its latency, down, without EDNS

    def reuse(self, to: str, proto: str) -> Reuse:
        return Reuse(self.reused, self.opened, to, proto)

    def took(self, to: str, rcode: int, seconds: float) -> None:
        """An upstream replied."""
        tally = self.durations.get((to, rcode))
        if tally is None:
            tally = self.durations[to, rcode] = Tally(DURATIONS)
        tally.counts[bisect_left(DURATIONS, seconds)] += 1
        tally.total += seconds

    def metrics(self) -> list[Metric | Histogram]:
        """All of it, the older names of the same counts included."""
        seconds = "Seconds from a question to an upstream's reply."
        durations = Histogram("coredns_proxy_request_duration_seconds", seconds, ("proxy_name", "to", "rcode"))
        older = Histogram("coredns_forward_request_duration_seconds", seconds, ("to", "rcode"))
        responses = Counter("coredns_forward_responses_total", "Replies of an upstream.", ("to", "rcode"))
        failed = Counter("coredns_forward_healthcheck_failures_total", "Failed health checks.", ("to",))
        for (to, code), tally in self.durations.items():
            rcode = RCODES.get(code, str(code))
            durations.values[NAME, to, rcode] = older.values[to, rcode] = tally
            responses.add(to, rcode, by=sum(tally.counts))
        for (_, to), times in self.failed_checks.values.items():
            failed.add(to, by=times)
        latencies = Gauge("kdns_forward_latency_seconds", "Smoothed latency of an upstream.", ("to",))
        down = Gauge("kdns_forward_down", "1 for an upstream that is down, or taken out.", ("to",))
        without = Gauge("kdns_forward_without_edns", "1 for an upstream that is asked without EDNS.", ("to",))
        for to, state in self.states.items():
            latencies.values[to,], down.values[to,], without.values[to,] = state()
        return [
            durations, older, responses, failed, self.requests, self.failed_checks, self.reused, self.opened, self.broken,
            self.rejected, self.spoofed, latencies, down, without,
        ]  # fmt: skip
