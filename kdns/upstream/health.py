"""Whether an upstream answers at all.

Nothing is asked while queries are answered. A query that failed makes the upstream *suspect*: others are asked before
it, and it is checked until it answers, at longer and longer intervals. After so many failed checks it is *down*, and
not asked. A reply to a query is as good as a check.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from kdns.errors import UpstreamError

log = logging.getLogger(__name__)

SLOWEST = 10.0  # seconds between checks at most, where the interval itself is not longer
GROWTH = 1.5


class HealthChecks:
    """One upstream's. `check` asks it anything and raises UpstreamError; `max_fails` 0 means that nothing is ever down."""

    def __init__(self, name: str, check: Callable[[], Awaitable[None]], interval: float, max_fails: int) -> None:
        self._name, self._check, self._interval, self._max_fails = name, check, interval, max_fails
        self._checking: asyncio.Task[None] | None = None
        self.fails = 0

    @property
    def suspect(self) -> bool:
        return self._checking is not None

    @property
    def down(self) -> bool:
        return 0 < self._max_fails <= self.fails

    def failed(self) -> None:
        """A query had no reply: see what is the matter."""
        if self._max_fails and self._checking is None:
            self._checking = asyncio.get_running_loop().create_task(self._check_on())

    def answered(self) -> None:
        """A query had its reply."""
        if self._checking is not None:
            self._checking.cancel()
            self._well()

    async def _check_on(self) -> None:
        pause = self._interval
        while True:
            try:
                await self._check()
            except UpstreamError as error:
                self.fails += 1
                if self.fails == self._max_fails:
                    log.warning("upstream %s is down: %s", self._name, error)
            else:
                return self._well()
            await asyncio.sleep(pause * random.uniform(0.9, 1.1))
            pause = max(self._interval, min(SLOWEST, pause * GROWTH))

    def _well(self) -> None:
        if self.down:
            log.info("upstream %s answers again", self._name)
        self.fails = 0
        self._checking = None

    def rest(self) -> None:
        """Nobody asks the upstream any more: end the checks, know nothing."""
        if self._checking is not None:
            self._checking.cancel()
        self._checking = None
        self.fails = 0

    async def close(self) -> None:
        checking = self._checking
        self.rest()
        if checking is not None:
            await asyncio.gather(checking, return_exceptions=True)
