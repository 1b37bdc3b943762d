"""How late the event loop is."""

import asyncio
import time

import pytest

from kdns.server import lag
from kdns.server.lag import BOUNDS, Lag


def test_what_holds_the_loop_up_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag, "EVERY", 0.02)

    async def held_up() -> Lag:
        found = Lag()
        found.start()
        asyncio.get_running_loop().call_soon(time.sleep, 0.02 + 0.06)
        await asyncio.sleep(0.1)  # the first look is the one that is late
        found.stop()
        return found

    found = asyncio.run(held_up())
    assert found.seconds.total >= 0.06
    assert sum(found.seconds.counts[BOUNDS.index(0.05) + 1 :]) >= 1


def test_it_ends() -> None:
    async def looks() -> int:
        found = Lag()
        found.start()
        found.stop()
        await asyncio.sleep(1.5 * lag.EVERY)
        return sum(found.seconds.counts)

    assert 0 == asyncio.run(looks())
