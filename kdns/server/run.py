"""A server from start to end: configured, bound, reloaded, drained.

A reload makes a whole new generation beside the old one: parsed, set up, all its sockets bound, what it carries started.
Only then the sockets are told to answer for the new generation, and what nobody wants any more is given up, so that no query
is lost, and a Corefile that cannot be served changes nothing.
"""

import asyncio
import contextlib
import gc
import logging
import math
import platform
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from kdns import __version__
from kdns.core.metrics import Counter, Metric
from kdns.core.site import Instance
from kdns.errors import KdnsError
from kdns.server import udp
from kdns.server.http import Http
from kdns.server.in_flight import InFlight
from kdns.server.load import configure, read_corefile, summary
from kdns.server.sockets import BUFFER, listen, receive_buffer
from kdns.server.tcp import Tcp

log = logging.getLogger(__name__)

AGAIN = 5.0  # seconds until a plugin's run() that failed is begun again
DRAIN = 5.0  # seconds that queries in flight have to end

T = TypeVar("T")
Address = tuple[str, int]
Bound = dict[Address, tuple[socket.socket, socket.socket]]  # UDP and TCP


class Server:
    """All that one process serves. `text` is the Corefile; with a `path` a reload reads it anew."""

    def __init__(self, text: str, path: str = "", dns_port: int = 53) -> None:
        self.text, self.path, self.dns_port = text, path, dns_port
        self.instance = Instance()
        self.in_flight = InFlight()
        self.lag = 0.0  # seconds by which the last whole second was noticed late: how long the loop was busy
        self.longest_lag = 0.0
        self.failed_reloads = 0
        self._sockets: dict[Address, tuple[udp.Udp, Tcp]] = {}
        self._http = Http()
        self._started: list[Any] = []  # carried things whose start() was awaited
        self._running: list[asyncio.Task[None]] = []
        self._aside: set[asyncio.Task[Any]] = set()
        self._one_reload = asyncio.Lock()
        self._ticker: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Configure, bind and serve; KdnsError where that cannot be."""
        await self._take_over(self.text)
        self._tick()
        _settle()

    async def reload(self) -> bool:
        """Read the Corefile again and serve what it says now; False, and a line in the log, where that cannot be."""
        async with self._one_reload:
            if self.instance.stopping:
                return False
            try:
                text = read_corefile(self.path) if self.path else self.text
                await self._take_over(text)
            except KdnsError as error:
                self.failed_reloads += 1
                log.error("reload failed, the configuration before stays: %s", error)
                return False
            except Exception:
                self.failed_reloads += 1
                log.exception("reload failed, the configuration before stays")
                return False
            self.text = text
            log.info("reloaded")
            return True

    def request_reload(self) -> asyncio.Task[bool]:
        """Reload soon: what SIGUSR1 and plugins call."""
        return self._later(self.reload())

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """End in order: not ready, answering on through `lame()` of plugins, drained, closed."""
        self.instance.stopping = True
        lame = [plugin.lame() for site in self.instance.sites for _, plugin in site.plugins if hasattr(plugin, "lame")]
        if lame:
            await _first(asyncio.gather(*lame, return_exceptions=True), hurry or asyncio.Event())
        async with self._one_reload:
            await asyncio.gather(*(sock.close(DRAIN) for pair in self._sockets.values() for sock in pair))
        await self.in_flight.ended(DRAIN)
        if self._ticker is not None:
            self._ticker.cancel()
        await _cancelled([*self._running, *self._aside])
        await self._http.close()
        await self.instance.close()

    def metrics(self) -> list[Metric]:
        """What was given up for want of room, and reloads that failed, whoever asked for them."""
        given_up = Counter("kdns_given_up_total", "Queries and replies given up, by the want of what.", ("of",))
        given_up.add("work_in_flight", by=self.in_flight.dropped)
        given_up.add("send_buffer", by=sum(datagrams.lost for datagrams, _ in self._sockets.values()))
        failed = Counter("coredns_reload_failed_total", "Corefiles that could not be served.")
        failed.add(by=self.failed_reloads)
        return [given_up, failed]

    async def _take_over(self, text: str) -> None:
        """Serve another Corefile than now, or fail and change nothing."""
        old = self.instance
        new = Instance(old.carried)
        new.reload, new.corefile = self.request_reload, self.path
        new.collectors.append(self.metrics)
        bound: Bound = {}
        http: dict[str, socket.socket] = {}
        try:
            configure(text, self.path or "Corefile", self.dns_port, new)
            bound = _bind([address for address in new.listeners if address not in self._sockets])
            http = self._http.bind(new.http)
            if not old.sites:  # while things start, health and readiness are already to be seen
                await self._http.serve(new.http, http)
                http = {}
            await self._start_carried(new)
        except BaseException:
            for sock in (*http.values(), *(sock for pair in bound.values() for sock in pair)):
                sock.close()
            await new.close(wanted=old.carried.values())
            raise
        new.stopping = old.stopping
        await self._http.serve(new.http, http)
        unwanted = [self._sockets.pop(address) for address in list(self._sockets) if address not in new.listeners]
        self.instance = new
        self.in_flight.limit = new.most_in_flight
        for address, (datagrams, streams) in self._sockets.items():
            datagrams.listener = streams.listener = new.listeners[address]
        await self._serve(bound)
        running = self._running
        plugins = [(name, plugin) for site in new.sites for name, plugin in site.plugins if hasattr(plugin, "run")]
        self._running = [_kept_running(plugin.run, name) for name, plugin in plugins]
        if old.sites:
            self._later(self._retire(old, new, unwanted, running))

    async def _start_carried(self, new: Instance) -> None:
        """Await start() of what was not carried before."""
        things = [thing for thing in new.carried.values() if not any(thing is other for other in self._started)]
        await asyncio.gather(*(thing.start() for thing in things if hasattr(thing, "start")))
        self._started = list(new.carried.values())

    async def _serve(self, bound: Bound) -> None:
        for address, (datagrams, streams) in bound.items():
            listener = self.instance.listeners[address]
            pair = udp.serve(datagrams, listener, self.in_flight), Tcp(streams, listener, self.in_flight)
            self._sockets[address] = pair
            pair[0].start()
            await pair[1].start()

    async def _retire(
        self, old: Instance, new: Instance, unwanted: list[tuple[udp.Udp, Tcp]], running: list[asyncio.Task[None]]
    ) -> None:
        """End a generation: its sockets, its queries in flight, its tasks, what the next one does not carry on."""
        wanted = list(new.carried.values())
        await asyncio.gather(*(sock.close(DRAIN) for pair in unwanted for sock in pair))
        await self.in_flight.ended(DRAIN)
        await _cancelled(running)
        for listener in old.listeners.values():
            listener.memo.clear()  # its entries are no part of garbage collection, so a ring with them would never go
        await old.close(wanted)
        _settle()

    def _later(self, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(coro)
        self._aside.add(task)
        task.add_done_callback(self._aside_done)
        return task

    def _aside_done(self, task: asyncio.Task[Any]) -> None:
        self._aside.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a reload did not end well", exc_info=task.exception())

    def _tick(self) -> None:
        """At each whole second of the loop's clock: what was true until then only is forgotten."""
        now = time.monotonic()
        if self._ticker is not None:
            self.lag = self.instance.lag = max(0.0, now - self._ticker.when())
            self.longest_lag = max(self.longest_lag, self.lag)
            for listener in self.instance.listeners.values():
                listener.memo.tick()
        self._ticker = asyncio.get_running_loop().call_at(math.floor(now) + 1, self._tick)


def _bind(addresses: list[Address]) -> Bound:
    """A UDP and a TCP socket for each; ListenError, and none, where one cannot be had."""
    bound: Bound = {}
    with contextlib.ExitStack() as undo:
        for address, port in addresses:
            datagrams = undo.enter_context(listen(address, port, socket.SOCK_DGRAM))
            streams = undo.enter_context(listen(address, port, socket.SOCK_STREAM))
            bound[address, port] = datagrams, streams
            got = receive_buffer(datagrams)
            if got < BUFFER // 2:
                log.info("receive buffer of port %d: %d KiB; net.core.rmem_max allows no more", port, got >> 10)
        undo.pop_all()
    return bound


def _kept_running(run: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
    """A plugin's run() as a Task; where it fails it is begun again."""

    async def keep() -> None:
        while True:
            try:
                return await run()
            except Exception:
                log.exception("plugin %s failed, it is begun again in %g s", name, AGAIN)
                await asyncio.sleep(AGAIN)

    return asyncio.get_running_loop().create_task(keep())


async def _first(work: "asyncio.Future[Any]", hurry: asyncio.Event) -> None:
    """Wait for work, or until there is no time for it."""
    waiting = asyncio.ensure_future(hurry.wait())
    await asyncio.wait([work, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    work.cancel()


async def _cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _settle() -> None:
    """What was loaded stays: the collector need not look at it again, and what the loading took is given back.

    It also looks less often: a query leaves next to nothing in rings, and looking took 5 % of those that wait.
    """
    gc.set_threshold(10_000, 20, 20)
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    udp.trim()


def banner(instance: Instance) -> str:
    """What is served, and by what."""
    system = f"{sys.platform}/{platform.machine()}, {platform.python_implementation()} {platform.python_version()}"
    return "\n".join([*summary(instance), f"kdns-{__version__}", system])


async def serve(text: str, path: str = "", dns_port: int = 53, started: Callable[[Server], None] = lambda _: None) -> None:
    """Serve until SIGTERM or SIGINT (a second one hurries it); SIGUSR1 reloads. KdnsError where it cannot begin."""
    loop = asyncio.get_running_loop()
    stop, hurry = asyncio.Event(), asyncio.Event()

    def ended() -> None:
        (hurry if stop.is_set() else stop).set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, ended)
    server = Server(text, path, dns_port)
    starting = asyncio.ensure_future(server.start())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        try:
            starting.result()
        except BaseException:
            stopping.cancel()
            await server.stop()
            raise
        loop.add_signal_handler(signal.SIGUSR1, server.request_reload)
        started(server)
        await stopping
    else:
        await _cancelled([starting])
    log.info("ending: what is in flight is still answered")
    await server.stop(hurry)
