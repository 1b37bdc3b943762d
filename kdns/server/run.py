"""A server from start to end: configured, bound, reloaded, drained.

A reload makes a whole new generation beside the old one: parsed, set up, all its sockets bound, what it carries started.
Only then the sockets are told to answer for the new generation, and what nobody wants any more is given up, so that no query
is lost, and a Corefile that cannot be served changes nothing.
"""

import asyncio
import collections
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
from functools import partial
from typing import Any, TypeVar

from kdns import __version__
from kdns.core import files
from kdns.core.generation import Generation, Where
from kdns.core.lines import stdout
from kdns.core.metrics import counters, histograms
from kdns.core.plugin import Kept
from kdns.errors import KdnsError
from kdns.server import udp
from kdns.server.accept import raise_limit
from kdns.server.http import Http
from kdns.server.in_flight import InFlight
from kdns.server.lag import Lag
from kdns.server.load import load, notes, read_corefile, summary
from kdns.server.schemes import SCHEMES, Serving
from kdns.server.sockets import BUFFER, listen, listen_alike, receive_buffer, Sharing

log = logging.getLogger(__name__)
reloads = logging.getLogger("kdns.reloads")  # lines that scripts wait for, in the words of CoreDNS

AGAIN = 5.0  # seconds until a plugin's run() that failed is begun again
DRAIN = 5.0  # seconds that queries in flight have to end

T = TypeVar("T")
Bound = dict[Where, list[socket.socket]]


class Server:
    """All that one process serves. `text` is the Corefile; with a `path` a reload reads it anew.

    `sharing` is what to do at the start about a port that another process has and would share. What belongs to the process,
    such as when garbage is collected, is left alone unless the server owns it.
    """

    def __init__(
        self, text: str, path: str = "", dns_port: int = 53, sharing: Sharing = Sharing.TOLD, owns_process: bool = False
    ) -> None:
        self._settle = _settle if owns_process else lambda: None
        self._any_port = 0  # the one that port 0 stands for
        self.text, self.path, self.dns_port, self.sharing = text, path, dns_port, sharing
        self.generation = Generation()
        self.in_flight = InFlight()
        self.lag = Lag()
        self.failed_reloads = 0
        self._given_up = collections.Counter[str]()  # by sockets that are closed
        self._sockets: dict[Where, list[Serving]] = {}
        self._http = Http()
        self._started: list[Kept] = []  # kept things whose start() was awaited
        self._running: list[asyncio.Task[None]] = []
        self._aside: set[asyncio.Task[Any]] = set()
        self._one_reload = asyncio.Lock()
        self._ticker: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Configure, bind and serve; KdnsError where that cannot be."""
        await self._take_over(self.text)
        self._tick()
        self.lag.start()
        self._settle()

    async def reload(self) -> bool:
        """Read the Corefile again and serve what it says now; False, and a line in the log, where that cannot be."""
        async with self._one_reload:
            if self.generation.stopping:
                return False
            reloads.info("Reloading")
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
            reloads.info("Reloading complete")
            return True

    def request_reload(self) -> asyncio.Task[bool]:
        """Reload soon: what SIGUSR1 and plugins call."""
        return self._later(self.reload())

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """End in order: not ready, answering on through `lame()` of plugins, drained, closed."""
        self.generation.stopping = True
        lame = [plugin.lame() for block in self.generation.blocks for _, plugin in block.plugins if plugin.overrides("lame")]
        if lame:
            await _first(asyncio.gather(*lame, return_exceptions=True), hurry or asyncio.Event())
        async with self._one_reload:
            await asyncio.gather(*(sock.close(DRAIN) for served in self._sockets.values() for sock in served))
        await self.in_flight.ended(DRAIN)
        if self._ticker is not None:
            self._ticker.cancel()
        self.lag.stop()
        await _cancelled([*self._running, *self._aside])
        await self._http.close()
        await self.generation.close()

    def families(self) -> list[Any]:
        """What the server itself counts, whoever asked for it."""
        total = self._given_up + collections.Counter(work_in_flight=self.in_flight.dropped.total())
        for served in self._sockets.values():
            for sock in served:
                total.update(sock.given_up())
        given_up = {(of,): total[of] for of in ("work_in_flight", "turn", "send_buffer", "connection")}
        return [
            counters(
                "coredns_shed_dropped_total", "Queries in flight that were given up.", ("server", "reason"),
                {(server, "in_flight"): n for server, n in self.in_flight.dropped.items()},
            ),
            counters("kdns_given_up_total", "Queries, replies, connections given up, by the want of what.", ("of",), given_up),
            counters("kdns_log_dropped_total", "Lines of the log that were left out.", (), {(): stdout().dropped}),
            counters("coredns_reload_failed_total", "Corefiles that could not be served.", (), {(): self.failed_reloads}),
            histograms(
                "kdns_event_loop_lag_seconds", "Seconds by which the event loop was late, looked at each 0.1 s.", (),
                {(): self.lag.seconds},
            ),
        ]

    async def _take_over(self, text: str) -> None:
        """Serve another Corefile than now, or fail and change nothing."""
        old = self.generation
        new = Generation(old, asyncio.get_running_loop().call_soon)
        new.reloads, new.corefile = self.request_reload, self.path
        bound: Bound = {}
        http: dict[str, socket.socket] = {}
        try:
            load(text, self.path or "Corefile", self.dns_port, new)
            new.take_port(self._any_port)
            bound = self._bind([where for where in new.listeners if where not in self._sockets])
            bound = self._at_any_port(new, bound)
            http = self._http.bind(new.pages, self.sharing)
            if not old.blocks:  # while things start, health and readiness are already to be seen
                await self._http.serve(new.pages, http)
                http = {}
            await self._start_kept(new)
        except BaseException:
            for sock in (*http.values(), *(sock for several in bound.values() for sock in several)):
                sock.close()
            await new.close(wanted=old.kept.values())
            raise
        for note in notes(new):
            log.warning("%s", note)
        await self._http.serve(new.pages, http)
        self._exchange(old, new)
        await self._serve(bound)
        running, self._running = self._running, _begun(new)
        unwanted = [self._sockets.pop(where) for where in list(self._sockets) if where not in new.listeners]
        if old.blocks:
            self._later(self._retire(old, new, unwanted, running))

    def _bind(self, wanted: list[Where]) -> Bound:
        """The sockets of each address; ListenError, and none, where one cannot be had. All of port 0 get the same port."""
        bound: Bound = {}
        ours = {where.port for where in self._sockets}
        with contextlib.ExitStack() as undo:
            anywhere = [(where.address, kind) for where in wanted if not where.port for kind in SCHEMES[where.scheme].kinds]
            alike = iter([undo.enter_context(sock) for sock in listen_alike(anywhere)])
            for where in wanted:
                sharing = Sharing.OURS if where.port in ours else self.sharing
                kinds = SCHEMES[where.scheme].kinds
                bound[where] = [
                    undo.enter_context(listen(where.address, where.port, kind, sharing)) if where.port else next(alike)
                    for kind in kinds
                ]
                for sock in bound[where]:
                    if sock.type == socket.SOCK_DGRAM and (got := receive_buffer(sock)) < BUFFER // 2:
                        log.info("receive buffer of port %d: %d KiB; net.core.rmem_max allows no more", where.port, got >> 10)
                ours.add(where.port)
            undo.pop_all()
        return bound

    def _at_any_port(self, new: Generation, bound: Bound) -> Bound:
        """What was bound, with the port that was found where any would do."""
        self._any_port = next((sockets[0].getsockname()[1] for where, sockets in bound.items() if not where.port), self._any_port)
        new.take_port(self._any_port)
        return {where._replace(port=where.port or self._any_port): sockets for where, sockets in bound.items()}

    def _exchange(self, old: Generation, new: Generation) -> None:
        """From here on the new generation answers."""
        new.stopping = old.stopping
        self.generation = new
        new.begin()
        new.metrics.collect("server", self.families)
        self.in_flight.limit = new.most_in_flight
        for where, served in self._sockets.items():
            for sock in served:
                if where in new.listeners:
                    sock.listener = new.listeners[where]

    async def _start_kept(self, new: Generation) -> None:
        """Await start() of what was not kept before."""
        things = [thing for thing in new.kept.values() if isinstance(thing, Kept)]
        await asyncio.gather(*(thing.start() for thing in things if not any(thing is other for other in self._started)))
        self._started = things

    async def _serve(self, bound: Bound) -> None:
        for where, sockets in bound.items():
            self._sockets[where] = SCHEMES[where.scheme].serve(sockets, self.generation.listeners[where], self.in_flight)
            for served in self._sockets[where]:
                await served.start()

    async def _retire(
        self, old: Generation, new: Generation, unwanted: list[list[Serving]], running: list[asyncio.Task[None]]
    ) -> None:
        """End a generation: its sockets, its queries in flight, its tasks, what the next one does not carry on."""
        wanted = list(new.kept.values())
        await asyncio.gather(*(sock.close(DRAIN) for served in unwanted for sock in served))
        for served in unwanted:
            for sock in served:
                self._given_up.update(sock.given_up())
        await self.in_flight.ended(DRAIN)
        await _cancelled(running)
        await old.close(wanted)

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
            for listener in self.generation.listeners.values():
                listener.memo.tick()
        self._ticker = asyncio.get_running_loop().call_at(math.floor(now) + 1, self._tick)


def _begun(generation: Generation) -> list[asyncio.Task[None]]:
    """The tasks that live as long as a generation serves: its plugins' own, and one for each file that is watched."""
    plugins = [(name, plugin) for block in generation.blocks for name, plugin in block.plugins if plugin.overrides("run")]
    tasks = [_kept_running(plugin.run, f"plugin {name}") for name, plugin in plugins]
    return tasks + [_kept_running(partial(files.watch, *watched), "a watch of files") for watched in generation.watched]


def _kept_running(run: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
    """A coroutine as a Task; where it fails it is begun again."""

    async def keep() -> None:
        while True:
            try:
                return await run()
            except Exception:
                log.exception("%s failed, it is begun again in %g s", name, AGAIN)
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

    That is done once. A reload leaves no garbage (see Generation.close), and to look for some took 60 ms at one piece. The
    collector also looks less often: a query leaves next to nothing in rings, and looking took 5 % of those that wait.
    """
    gc.set_threshold(2_500, 20, 20)  # at 10,000 objects a look takes 5 ms and more, at 2,500 one
    gc.collect()
    gc.freeze()
    udp.trim()


def banner(generation: Generation) -> str:
    """What is served, and by what."""
    system = f"{sys.platform}/{platform.machine()}, {platform.python_implementation()} {platform.python_version()}"
    return "\n".join([*summary(generation), f"kdns-{__version__}", system])


async def serve(
    text: str, path: str = "", dns_port: int = 53, started: Callable[[Server], None] = lambda _: None,
    sharing: Sharing = Sharing.TOLD,
) -> None:  # fmt: skip
    """Serve until SIGTERM or SIGINT (a second one hurries it); SIGUSR1 reloads. KdnsError where it cannot begin."""
    raise_limit()
    loop = asyncio.get_running_loop()
    stop, hurry = asyncio.Event(), asyncio.Event()

    def ended() -> None:
        (hurry if stop.is_set() else stop).set()

    def reload(start: asyncio.Future[None]) -> None:
        if not start.cancelled() and start.exception() is None:
            server.request_reload()

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, ended)
    server = Server(text, path, dns_port, sharing, owns_process=True)
    starting = asyncio.ensure_future(server.start())
    loop.add_signal_handler(signal.SIGUSR1, starting.add_done_callback, reload)  # at once, or as soon as it is served
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        try:
            starting.result()
        except BaseException:
            stopping.cancel()
            await server.stop()
            raise
        started(server)
        await stopping
    else:
        await _cancelled([starting])
    log.info("ending: what is in flight is still answered")
    await server.stop(hurry)
