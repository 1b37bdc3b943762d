"""NOTIFY (RFC 1996): telling other servers that a zone has changed, each at its own pace."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from kdns.dns.response import RRset
from kdns.errors import UpstreamError
from kdns.upstream.primary import tell
from kdns.upstream.targets import Target

log = logging.getLogger(__name__)

QUIET = 5.0  # seconds between two notices of a zone at least


class Notices:
    """What these servers are still to be told, from an address of ours; `soa` is that of a zone, None where there is none now."""

    def __init__(self, targets: Iterable[Target], source: str, soa: Callable[[str], RRset | None]) -> None:
        self._source = source
        self._soa = soa
        self._untold: dict[Target, dict[str, None]] = {target: {} for target in targets}  # zones that changed
        self._wake = asyncio.Event()

    def __bool__(self) -> bool:
        """Is there anybody to tell?"""
        return bool(self._untold)

    def add(self, origins: Iterable[str]) -> None:
        """These zones have changed."""
        for origin in origins:
            for untold in self._untold.values():
                untold[origin] = None
            self._wake.set()

    async def send(self) -> None:
        """Tell what there is to tell, for ever."""
        async with asyncio.TaskGroup() as group:
            for target in self._untold:
                group.create_task(self._send_to(target))

    async def _send_to(self, target: Target) -> None:
        untold = self._untold[target]
        told: dict[str, float] = {}  # when (time.monotonic())
        while True:
            while not untold:
                await self._wake.wait()
                self._wake.clear()
            origin = next(iter(untold))
            await asyncio.sleep(told.get(origin, 0.0) + QUIET - time.monotonic())
            del untold[origin]
            told[origin] = time.monotonic()
            soa = self._soa(origin)
            if soa is None:  # the zone is gone
                continue
            try:
                await tell(target, soa, self._source)
            except UpstreamError as error:
                log.warning("%s: %s was not told that it changed: %s", origin, target, error)
