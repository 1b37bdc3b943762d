"""*health* - answers `/health` over HTTP.

Description
    `/health` is always 200 with the text `OK` while the process lives and its event loop turns, through lameduck too:
    that is what a liveness probe asks. Whether names can be answered is what *ready* says.

    It concerns the whole process. Server blocks that name the same address share it.

Syntax
    health [ADDRESS] {
        lameduck DURATION
    }

    - ADDRESS is where to listen, `:8080` by default.
    - `lameduck` goes on answering DNS and HTTP for DURATION after SIGTERM, while `/ready` already says 503.

Metrics
    Once a second kdns asks its own `/health`, by TCP, as a probe would:

    - `coredns_health_request_duration_seconds`: how long that took. More than a few milliseconds mean that the
      process is short of time.
    - `coredns_health_request_failures_total`: how often there was no answer within 3 seconds.

Examples
    Answer on another port, and be a lame duck for a second:

        . {
            whoami
            health localhost:8091 {
                lameduck 1s
            }
        }
"""

import asyncio
import logging
from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument, duration, listen, option
from kdns.config.values import host_port
from kdns.core.behind import Request
from kdns.core.block import Block
from kdns.core.plugin import Plugin

log = logging.getLogger(__name__)

PERIOD = 1.0  # seconds from one request of our own to the next
PATIENCE = 3.0  # seconds that it may take
SLOW = 1.0  # seconds from which on that is worth a warning
BUCKETS = tuple(0.00025 * 10**n for n in range(5))  # seconds
LOCAL = {"": "127.0.0.1", "localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # where to ask what listens there


@dataclass(frozen=True)
class Options:
    address: str = argument(listen(":8080"))
    lameduck: float = option(duration(), 0.0)


class Health(Plugin):
    table = Options

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self.host, self.port = host_port(options.address)
        self.lameduck = options.lameduck
        self.duration = block.histogram(
            "coredns_health_request_duration_seconds", "Seconds that a request of our own to /health took.", (), BUCKETS
        )
        self.failures = block.counter(
            "coredns_health_request_failures_total", "Requests of our own to /health that failed."
        )
        block.http(options.address, "/health", self.page)

    async def page(self, request: Request) -> tuple[int, str, bytes]:
        return 200, "text/plain; charset=utf-8", b"OK"

    async def lame(self) -> None:
        """Be there for as long as others take to learn of SIGTERM."""
        if self.lameduck:
            log.info("Going into lameduck mode for %gs", self.lameduck)
            await asyncio.sleep(self.lameduck)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PERIOD)
            begun = loop.time()
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._ask()
            except OSError as error:  # TimeoutError is one
                self.failures.inc()
                log.warning("a request of our own to /health on port %d failed: %s", self.port, error or "no answer")
            seconds = loop.time() - begun
            self.duration.observe(seconds)
            if SLOW < seconds < PATIENCE:
                log.warning("a request of our own to /health on port %d took %.1fs", self.port, seconds)

    async def _ask(self) -> None:
        """One request; OSError where it is not answered with 200."""
        reader, writer = await asyncio.open_connection(LOCAL.get(self.host, self.host), self.port)
        try:
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            status = await reader.readline()
            if status.split()[1:2] != [b"200"]:
                raise OSError(f"the answer was {status!r}")
        finally:
            writer.close()
