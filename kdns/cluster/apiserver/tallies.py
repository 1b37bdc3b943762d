"""What is counted of following an API server, and what the log says of its absences."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from kdns.core.metrics import Counter, Gauge, Histogram, Metric

log = logging.getLogger(__name__)

REST_DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # as prometheus has them by default


@dataclass
class Stats:
    """What is counted, under the names that CoreDNS's dashboards know; and kdns's own."""

    requests: Counter = field(default_factory=lambda: Counter(
        "coredns_kubernetes_rest_client_requests_total", "Requests to the API server.", ("code", "method", "host")))
    durations: Histogram = field(default_factory=lambda: Histogram(
        "coredns_kubernetes_rest_client_request_duration_seconds", "Time until the API server answered.",
        ("verb", "host"), REST_DURATIONS))
    limited: Histogram = field(default_factory=lambda: Histogram(
        "coredns_kubernetes_rest_client_rate_limiter_duration_seconds", "Time that requests waited for their turn.",
        ("verb", "host"), REST_DURATIONS))
    programming: Histogram = field(default_factory=lambda: Histogram(
        "coredns_kubernetes_dns_programming_duration_seconds", "Time from a change in the cluster until DNS has it.",
        ("service_kind",), tuple(0.001 * 2**n for n in range(20))))
    objects: Gauge = field(default_factory=lambda: Gauge(
        "kdns_kubernetes_objects", "Objects that are known.", ("kind",)))
    events: Counter = field(default_factory=lambda: Counter(
        "kdns_kubernetes_events_total", "Events of watches, lists as streams included.", ("resource", "type")))
    relists: Counter = field(default_factory=lambda: Counter(
        "kdns_kubernetes_relists_total", "Lists that had to be made again.", ("resource", "reason")))
    reconnects: Counter = field(default_factory=lambda: Counter(
        "kdns_kubernetes_reconnects_total", "Watches that ended and were made again.", ("resource",)))
    malformed: Counter = field(default_factory=lambda: Counter(
        "kdns_kubernetes_malformed_objects_total", "Objects that could not be understood.", ("resource",)))
    age: Gauge = field(default_factory=lambda: Gauge(
        "kdns_kubernetes_watch_age_seconds", "Time since the API server was heard.", ("resource",)))
    stale: Gauge = field(default_factory=lambda: Gauge(
        "kdns_kubernetes_stale", "1 while answers come from a snapshot of an earlier run."))  # fmt: skip

    def metrics(self) -> list[Metric | Histogram]:
        return list(vars(self).values())


class Absence:
    """When the API server went away, for the log: one line when it goes, one when it is back, none for a short break."""

    BREAK = 1.0  # seconds; shorter is not told
    AGAIN = 30.0  # seconds until another reason is told

    def __init__(self, state: Callable[[], tuple[str, float | None]]) -> None:
        """`state`: why it is away just now, and for how many seconds it was not heard (None: it never was)."""
        self._state = state
        self._since: float | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._told = ""

    def lasts(self) -> None:
        """It is away."""
        if self._since is None:
            self._since = time.monotonic()
            self._telling = asyncio.get_running_loop().call_later(self.BREAK, self._tell)

    def _tell(self) -> None:
        why, age = self._state()
        if why and why != self._told:
            rest = "nothing is known yet" if age is None else f"answers go on from what is known as of {age:.0f} s ago"
            log.warning("kubernetes: the API server is away: %s; %s", why, rest)
            self._told = why
        self._telling = asyncio.get_running_loop().call_later(self.AGAIN, self._tell)

    def ends(self) -> None:
        """It is there."""
        if self._since is not None and self._told:
            log.warning("kubernetes: the API server is back after %.0f s", time.monotonic() - self._since)
        self.close()

    def close(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
        self._since, self._telling, self._told = None, None, ""
