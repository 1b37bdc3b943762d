"""One generation of the configuration: its server blocks, its listening addresses, and what outlives it.

A reload makes the next generation, which takes over what is kept under an equal key. No sockets here: what plugins arranged
(pages of HTTP, files to watch) is for `server` to carry out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from kdns.config.corefile import ServerBlock
from kdns.core.behind import Page
from kdns.core.block import Block
from kdns.core.counts import Counts, families
from kdns.core.listener import Listener
from kdns.core.memo import Later
from kdns.core.metrics import Metrics
from kdns.core.plugin import Kept
from kdns.dns.query import Transport
from kdns.dns.response import Key

T = TypeVar("T")

ENCRYPTED = {"tls": Transport.TLS, "https": Transport.HTTPS}  # schemes whose addresses may be, and what is spoken there
MOST_IN_FLIGHT = 2000  # queries that wait, for an upstream mostly


class Where(NamedTuple):
    """A listening address: how it is spoken to, the address ("" for all of the machine), the port."""

    scheme: str
    address: str
    port: int


class Watched(NamedTuple):
    """Files whose change somebody wants to know of, and how often to look, in seconds."""

    paths: Callable[[], Sequence[str]]
    changed: Callable[[], None]
    every: float


async def _cannot_reload() -> bool:
    return False


class Generation:
    """`before` is the generation whose kept things are taken over; `later` calls a function when others had their turn."""

    def __init__(self, before: "Generation | None" = None, later: Later | None = None) -> None:
        self.blocks: list[Block] = []
        self.listeners: dict[Where, Listener] = {}
        self.pages: dict[str, dict[str, Page]] = {}  # of HTTP, by HOST:PORT or :PORT as it is written, and by path
        self.watched: list[Watched] = []
        self.corefile = ""  # its path; empty where it cannot be read again
        self.files: dict[str, str] = {}  # what it was made from, text by path: the Corefile and what it imports
        self.reloads: Callable[[], Awaitable[bool]] = _cannot_reload  # soon; whether it could be done
        self.stopping = False
        self.port = 0  # the one that port 0 stands for
        self.most_in_flight = MOST_IN_FLIGHT
        self.memo_budget = 0  # octets of all memos together; 0 where nobody says
        self.kept: dict[Any, Any] = {}
        self._before: dict[Any, Any] = before.kept if before is not None else {}
        self._closing: set[asyncio.Task[None]] = set()
        self._later = later
        self._forgetters: list[Callable[[Iterable[Key]], None]] = []  # those besides the memos who keep answers
        self.metrics: Metrics = self.keep("metrics", Metrics)

    def add(self, parsed: ServerBlock) -> Block:
        """Another server block; its plugins are still to come."""
        block = Block(parsed, self)
        self.blocks.append(block)
        return block

    def listen(self, where: Where, server: str, budget: int) -> Listener:
        """The listener of an address; `server` is how metrics name it, `budget` the octets of its memo."""
        if where not in self.listeners:
            counts = self.keep(("listener", where), Counts)
            self.listeners[where] = Listener(server, counts, budget, self._later, ENCRYPTED.get(where.scheme, Transport.TCP))
        return self.listeners[where]

    def take_port(self, port: int) -> None:
        """Listeners of port 0 are at this one; 0 where it is not known yet."""
        for where, listener in self.listeners.items() if port else ():
            if not where.port:
                listener.server = f"{listener.server.removesuffix(':0')}:{port}"
        self.listeners = {where._replace(port=where.port or port): listener for where, listener in self.listeners.items()}
        self.port = port

    def keep(self, key: Any, make: Callable[[], T]) -> T:
        """What outlives a reload: the thing that the generation before made under an equal key, or a new one."""
        if key not in self.kept:
            self.kept[key] = self._before[key] if key in self._before else make()
        thing: T = self.kept[key]
        return thing

    def let_go(self, key: Any) -> None:
        """Keep this no more: nobody wants it."""
        thing = self.kept.pop(key, None)
        if isinstance(thing, Kept):
            closing = asyncio.get_running_loop().create_task(thing.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def http(self, address: str, path: str, page: Page) -> None:
        """Answer GET of a path at HOST:PORT or :PORT with (status, content type, body)."""
        self.pages.setdefault(address, {})[path] = page

    def watch(self, paths: Callable[[], Sequence[str]], changed: Callable[[], None], every: float) -> None:
        """Call `changed` when one of the files is not what it was; look each so many seconds."""
        self.watched.append(Watched(paths, changed, every))

    def on_forget(self, forget: Callable[[Iterable[Key]], None]) -> None:
        """Tell this function of keys that changed."""
        self._forgetters.append(forget)

    def forget(self, keys: Iterable[Key]) -> None:
        """Something changed: what was made from it is forgotten everywhere."""
        keys = tuple(keys)
        for forget in self._forgetters:
            forget(keys)
        for listener in self.listeners.values():
            listener.forget(keys)

    async def fold(self) -> None:
        """Count all that was answered until now, hits of the memos in steps."""
        for listener in self.listeners.values():
            listener.answered.tell()
            for _ in listener.memo.folding():
                await asyncio.sleep(0)

    async def reload(self) -> bool:
        """Read the Corefile again; whether what it says could be served."""
        return await self.reloads()

    def begin(self) -> None:
        """This generation serves from now on."""
        self.metrics.collect("listeners", lambda: families((one.server, one.counts, one.memo) for one in self.listeners.values()))
        self.metrics.fold = self.fold
        self._before = {}

    async def close(self, wanted: Iterable[Any] = ()) -> None:
        """This generation serves no more: close what it kept and the next one does not want.

        What it was made of lets go of each other, so that all goes at once: no garbage is collected for it, which would hold
        the loop up for as long as it takes to look at every object there is.
        """
        await self.fold()
        for block in self.blocks:
            for _, plugin in block.plugins:
                plugin.close()
        keep = {id(thing) for thing in wanted}
        for thing in list(self.kept.values()):
            if id(thing) not in keep and isinstance(thing, Kept):
                await thing.close()
        for listener in self.listeners.values():
            listener.answered.tell()
            listener.memo.clear()  # see there: entries are no part of garbage collection
            listener.counts.forgotten += listener.memo.forgotten
            listener.counts.evicted += listener.memo.evicted
            listener.memo.forgotten = listener.memo.evicted = 0
            listener.close()
        for block in self.blocks:
            block.complete([])
        self.blocks, self.listeners, self.kept, self._forgetters = [], {}, {}, []
        self.pages, self.watched, self.reloads = {}, [], _cannot_reload
