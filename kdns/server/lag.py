"""How late the event loop is: whatever holds it up holds up every query.

A timer each tenth of a second notes by how much it was late, which costs a few microseconds. What the loop does for t seconds at
one piece is met by one in 0.1 / t of these, and whatever takes longer than a tenth by each.
"""

import asyncio

from kdns.core.metrics import Tally

EVERY = 0.1  # seconds
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds


class Lag:
    """Seconds by which the running loop was late, from `start` until `stop`."""

    def __init__(self) -> None:
        self.seconds = Tally(BOUNDS)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(EVERY, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._timer is not None
        self.seconds.observe(max(0.0, loop.time() - self._timer.when()))
        self.start()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
