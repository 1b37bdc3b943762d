"""What is counted of upstreams, all of them together.

What happens on each question has a tally here; what happens now and then is prometheus-client's own.
"""

import contextlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from kdns.core.metrics import counters, DURATIONS, gauges, histograms, Labels, Metrics, Tally
from kdns.dns.types import rcode_text

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

NAME = "forward"  # the label proxy_name
BY_PROTO: Labels = ("proxy_name", "to", "proto")


class Reuse:
    """Sockets of one upstream and protocol: used again, or opened anew."""

    __slots__ = ("hits", "misses")

    def __init__(self) -> None:
        self.hits = self.misses = 0


class Tallies:
    """The counts since the process began. A label `to` is an upstream's address and port."""

    def __init__(self, metrics: Metrics) -> None:
        self.durations: dict[tuple[str, int], Tally] = {}  # by upstream and code
        self.requests: dict[Labels, float] = {}  # questions sent, by upstream
        self.states: dict[str, Callable[[], tuple[float, bool, bool]]] = {}  # by upstream: its latency, down, without EDNS
        self.failed_checks = metrics.counter(
            "coredns_proxy_healthcheck_failures_total", "Failed health checks.", ("proxy_name", "to")
        )
        self.failed_checks_older = metrics.counter(
            "coredns_forward_healthcheck_failures_total", "Failed health checks.", ("to",)
        )
        self.broken = metrics.counter(
            "coredns_forward_healthcheck_broken_total", "Times that all upstreams were down."
        )
        self.rejected = metrics.counter(
            "coredns_forward_max_concurrent_rejects_total", "Queries over max_concurrent."
        )
        self.spoofed = metrics.counter("kdns_forward_spoofed_total", "Times that someone guessed at replies.", ("to",))
        self._reuse: dict[tuple[str, str, str], Reuse] = {}
        metrics.collect("upstreams", self.families)

    def reuse(self, to: str, proto: str) -> Reuse:
        return self._reuse.setdefault((NAME, to, proto), Reuse())

    def took(self, to: str, rcode: int, seconds: float) -> None:
        """An upstream replied."""
        tally = self.durations.get((to, rcode))
        if tally is None:
            tally = self.durations[to, rcode] = Tally(DURATIONS)
        tally.observe(seconds)

    def check_failed(self, to: str) -> None:
        self.failed_checks.labels(NAME, to).inc()
        self.failed_checks_older.labels(to).inc()

    def forget(self, to: str) -> None:
        """An upstream is gone for good."""
        self.requests.pop((to,), None)
        self.durations = {key: tally for key, tally in self.durations.items() if key[0] != to}
        self._reuse = {key: reuse for key, reuse in self._reuse.items() if key[1] != to}
        for metric, labels in ((self.failed_checks, (NAME, to)), (self.failed_checks_older, (to,)), (self.spoofed, (to,))):
            with contextlib.suppress(KeyError):  # nothing was counted
                metric.remove(*labels)

    def families(self) -> Iterable["Family"]:
        """What has a tally here, the older names of the same counts included."""
        took = {(to, rcode_text(code)): tally for (to, code), tally in self.durations.items()}
        seconds = "Seconds from a question to an upstream's reply."
        states = {(to,): state() for to, state in self.states.items()}
        to: Labels = ("to",)
        return [
            histograms(
                "coredns_proxy_request_duration_seconds", seconds, ("proxy_name", "to", "rcode"),
                {(NAME, *labels): tally for labels, tally in took.items()},
            ),
            histograms("coredns_forward_request_duration_seconds", seconds, ("to", "rcode"), took),
            counters(
                "coredns_forward_responses_total", "Replies of an upstream.", ("to", "rcode"),
                {labels: sum(tally.counts) for labels, tally in took.items()},
            ),
            counters("coredns_forward_requests_total", "Questions sent to an upstream.", to, self.requests),
            counters(
                "coredns_proxy_conn_cache_hits_total", "Sockets used again.", BY_PROTO,
                {labels: reuse.hits for labels, reuse in self._reuse.items()},
            ),
            counters(
                "coredns_proxy_conn_cache_misses_total", "Sockets opened.", BY_PROTO,
                {labels: reuse.misses for labels, reuse in self._reuse.items()},
            ),
            gauges("kdns_forward_latency_seconds", "Smoothed latency of an upstream.", to, _each(states, 0)),
            gauges("kdns_forward_down", "1 for an upstream that is down, or taken out.", to, _each(states, 1)),
            gauges("kdns_forward_without_edns", "1 for an upstream that is asked without EDNS.", to, _each(states, 2)),
        ]  # fmt: skip


def _each(states: dict[tuple[str], tuple[float, bool, bool]], at: int) -> dict[Labels, float]:
    return {labels: state[at] for labels, state in states.items()}
