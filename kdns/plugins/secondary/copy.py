"""A zone as a primary had it, and when to ask for a newer one (RFC 1034 4.3.5)."""

import asyncio
import logging
import math
import random
import time

from kdns.core.authority import Held
from kdns.core.metrics import Metrics
from kdns.dns.response import RRset
from kdns.dns.zone import Zone
from kdns.errors import UpstreamError
from kdns.upstream.primary import newer
from kdns.upstream.targets import Target

log = logging.getLogger(__name__)

AGAIN = 10.0  # seconds until a zone that was never had is asked for again
SHORTEST = 1.0  # seconds between two attempts, whatever a SOA says
REFRESH_JITTER, RETRY_JITTER = 5.0, 2.0  # seconds at most, so that not all zones are asked for at once


class Copy(Held):
    """One zone. While its primaries are away it is served on, until it expires."""

    def __init__(self, origin: str, primaries: tuple[Target, ...], turns: asyncio.Semaphore, metrics: Metrics) -> None:
        super().__init__(origin)
        self._turns = turns  # so many zones are asked for at once
        self.notified = asyncio.Event()  # a primary says that there is a newer one
        self._primaries = primaries
        self._newest: Zone | None = None  # that was had, expired or not
        self._confirmed = 0.0  # when a primary said last that there is none newer (time.monotonic())
        self._due = 0.0  # when to ask again
        self._one = asyncio.Lock()
        self._serial = metrics.gauge("kdns_secondary_serial", "The serial of a copied zone.", ("zone",)).labels(origin)
        self._failures = metrics.counter(
            "kdns_secondary_failures_total", "Times that no primary gave the zone.", ("zone",)
        ).labels(origin)

    async def follow(self) -> None:
        """Ask the primaries as often as it is due, for ever; one at a time, whoever wants it."""
        async with self._one:
            while True:
                await self._until(min(self._due, self._expires()))
                if time.monotonic() >= self._expires() and self.zone is not None:
                    log.error("%s: expired, no primary has had it for %d s", self.origin, self.zone.timers.expire)
                    self.take(None)
                if self.notified.is_set() or time.monotonic() >= self._due:
                    self.notified.clear()
                    async with self._turns:
                        await self._ask()

    async def _until(self, moment: float) -> None:
        """Wait for a moment, or for a primary to say that there is something new."""
        try:
            async with asyncio.timeout(max(moment - time.monotonic(), 0.0)):
                await self.notified.wait()
        except TimeoutError:
            pass

    def _expires(self) -> float:
        return math.inf if self.zone is None else self._confirmed + self.zone.timers.expire

    async def _ask(self) -> None:
        whys = []
        serial = self._newest.timers.serial if self._newest else None
        for primary in self._primaries:
            try:
                records = await newer(primary, self.origin, serial)
                zone = self._newest if records is None else await asyncio.to_thread(self._made, records)
            except UpstreamError as error:
                whys.append(f"{primary}: {error}")
                continue
            assert zone is not None  # where there is none, any is newer
            self._had(zone)
            return
        self.why_not = f"cannot be transferred: {', '.join(whys)}"
        self._failures.inc()
        log.warning("%s %s", self.origin, self.why_not)
        retry = max(self._newest.timers.retry, SHORTEST) + random.uniform(0, RETRY_JITTER) if self._newest else AGAIN
        self._due = time.monotonic() + retry

    def _made(self, records: list[RRset]) -> Zone:
        return Zone(self.origin, records, self.key, "secondary")

    def _had(self, zone: Zone) -> None:
        """A primary has this one."""
        self.why_not = ""
        self._newest = zone
        self._confirmed = time.monotonic()
        self._due = self._confirmed + max(zone.timers.refresh, SHORTEST) + random.uniform(0, REFRESH_JITTER)
        self._serial.set(zone.timers.serial)
        if zone is not self.zone:
            log.info("%s: serial %d", self.origin, zone.timers.serial)
            self.take(zone)
