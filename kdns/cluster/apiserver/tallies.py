"""What is counted of following an API server, and what the log says of its absences."""

import asyncio
import logging
import time
from collections.abc import Callable

from kdns.core.metrics import Metrics

log = logging.getLogger(__name__)

REST_DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # as prometheus has them by default
PROGRAMMING = tuple(0.001 * 2**n for n in range(20))


class Stats:
    """What is counted as it happens, under the names that CoreDNS's dashboards know."""

    def __init__(self, metrics: Metrics) -> None:
        self.requests = metrics.counter(
            "coredns_kubernetes_rest_client_requests_total", "Requests to the API server.", ("code", "method", "host")
        )
        self.durations = metrics.histogram(
            "coredns_kubernetes_rest_client_request_duration_seconds", "Time until the API server answered.",
            ("verb", "host"), REST_DURATIONS,
        )
        self.limited = metrics.histogram(
            "coredns_kubernetes_rest_client_rate_limiter_duration_seconds", "Time that requests waited for their turn.",
            ("verb", "host"), REST_DURATIONS,
        )
        self.programming = metrics.histogram(
            "coredns_kubernetes_dns_programming_duration_seconds", "Time from a change in the cluster until DNS has it.",
            ("service_kind",), PROGRAMMING,
        )  # fmt: skip


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
