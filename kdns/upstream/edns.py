"""Whether EDNS passes to one upstream and back (RFC 6891 7, RFC 8906 3). No I/O.

A server that does not know EDNS says FORMERR; a path that drops it says nothing, and looks like a server that is away. So a
question that had no reply is asked again without, unless EDNS has passed lately. Where that has a reply, the upstream is
asked without from then on, and checked with it now and then: nobody's question waits for silence twice.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable

REFUSED_FOR = 600.0  # seconds for which a server that does not know EDNS is asked without
PROVEN_FOR = 10.0  # seconds for which silence is not laid on EDNS, after it passed
RECHECK = 60.0  # seconds between checks whether it passes again


class Edns:
    """What is known of one upstream; times are of time.monotonic(). `check` asks with EDNS: does it have a reply?"""

    def __init__(self, check: Callable[[], Awaitable[bool]]) -> None:
        self.passed = -math.inf  # when it last did
        self._check = check
        self._without = -math.inf  # asked without until then
        self._silent = False  # a question with it had no reply since, and none without has been asked
        self._checking: asyncio.Task[None] | None = None

    def offered(self, now: float, after_silence: bool) -> bool:
        """Shall a question carry it? `after_silence`: the same question had no reply with it, here or elsewhere."""
        if now < self._without:
            return False
        return not (self._silent or after_silence) or now - self.passed < PROVEN_FOR

    def absent(self, now: float) -> bool:
        """Is the upstream known to be asked without?"""
        return now < self._without

    def refused(self, now: float) -> None:
        """The server said that it does not know it."""
        self._without = now + REFUSED_FOR

    def silent(self, now: float) -> None:
        """A question with it had no reply."""
        self._silent = now - self.passed >= PROVEN_FOR

    def silent_without(self) -> None:
        """Nor had one without it: it is not that."""
        self._silent = False

    def answered_without(self) -> None:
        """A question without it had its reply: after silence, that is why."""
        if self._silent and self._checking is None:
            self._silent = False
            self._without = math.inf
            self._checking = asyncio.get_running_loop().create_task(self._check_on())

    async def _check_on(self) -> None:
        while True:
            if await self._check():
                break
            await asyncio.sleep(RECHECK)
        self._without = -math.inf
        self._checking = None

    def rest(self) -> None:
        """Nobody asks the upstream any more: end the checks, know nothing."""
        if self._checking is not None:
            self._checking.cancel()
        self._checking = None
        self._without = self.passed = -math.inf
        self._silent = False
