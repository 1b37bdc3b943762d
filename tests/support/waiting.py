"""Waiting for what is bound to come, however slow this machine is."""

import asyncio
import time
from collections.abc import Callable

PATIENCE = 30.0  # seconds


async def until(holds: Callable[[], bool], what: str = "what was waited for") -> None:
    """Return as soon as it holds; AssertionError where it never does."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"{what}: not after {PATIENCE:g} s"
        await asyncio.sleep(0.002)
