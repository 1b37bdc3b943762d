"""A server block at work: wire in, wire out.

`Site` is one server block: its zones, its plugins, their chain. `Listener` is what answers at one listening address: the
sites there, by zone, and the memo of their replies. `Instance` is all of them, one generation of the configuration; a reload
makes the next one, which takes over what `carry` names.

No sockets here: `server` calls `Listener.reply` and reads `Listener.memo`.
"""

import inspect
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from kdns.config.corefile import ServerBlock
from kdns.config.directive import Directive
from kdns.core.memo import BUDGET, Entry, Memo
from kdns.core.metrics import Counter, Histogram, Metric
from kdns.core.plugin import chain, Handler, is_unanswered, Plugin, UNANSWERED
from kdns.dns import names
from kdns.dns.encoding import encode, refusal, Ring
from kdns.dns.query import Address, decode, Query, Transport
from kdns.dns.response import ExtendedError, Key, NO_ANSWER, replace, Response
from kdns.dns.types import AXFR, CNAME, IXFR, OUR_SIZE, SERVFAIL
from kdns.errors import FormatError

log = logging.getLogger(__name__)
T = TypeVar("T")

HOPS = 8  # aliases followed for one query
MOST_IN_FLIGHT = 2000  # queries that wait, for an upstream mostly
MOST_FACTS = 10_000  # kept to be shared
FAILED = Response(rcode=SERVFAIL, authoritative=False)


class Fact(NamedTuple):
    """What is counted of one query and its reply."""

    server: str
    zone: str
    transport: Transport
    ipv6: bool
    type: int
    do: bool
    rcode: int
    plugin: str
    request_size: int  # octets
    response_size: int


class Site:
    """One server block: what plugins see of the rest."""

    def __init__(self, block: ServerBlock, instance: "Instance") -> None:
        self.block = block
        self.instance = instance
        self.zones = tuple(dict.fromkeys(key.zone for key in block.keys))
        self.plugins: list[tuple[str, Plugin]] = []
        self.handler: Handler = chain(())
        self.listeners: list[Listener] = []
        # What plugins arrange:
        self.addresses: list[str] = []  # from *bind*; none: all of the machine
        self.udp_size = OUR_SIZE  # octets of UDP payload, ours and the most we send
        self.memoize = True
        self.counters: list[Callable[[Fact, int, float], None]] = []  # (fact, how often, seconds each)
        self.witnesses: list[Callable[[Query, Response, bytes, float], None]] = []  # (…, reply without its id, seconds)
        self.root = ""  # from *root*: the folder that relative paths of files start from
        self.report: Callable[[Query, str, BaseException | None], None] = _report

    def once(self, directive: Directive) -> None:
        """CorefileError where a directive stands a second time in the server block."""
        first = next(other for other in self.block.directives if other.name == directive.name)
        if first is not directive:
            raise directive.error(f"may stand only once in a server block, and stands at {first.file}:{first.line}")

    def plugin(self, name: str) -> list[Plugin]:
        """The plugins of that name in this server block, in the order of the chain."""
        return [plugin for other, plugin in self.plugins if other == name]

    def complete(self) -> None:
        """All plugins are set up: make the chain."""
        self.handler = chain(plugin for _, plugin in self.plugins)

    async def answer(self, query: Query) -> Response:
        """What the chain says. The one place where an error of a plugin is caught."""
        try:
            if query.type in (AXFR, IXFR):
                return UNANSWERED
            return await self.handler(query)
        except Exception as error:
            self.instance.panics.add()
            self.report(query, f"{type(error).__name__}: {error}", error)
            return FAILED

    async def lookup(self, query: Query, name: str, type: int) -> Response:
        """A question on behalf of a query to the whole server, all its server blocks, as for the target of an alias."""
        if query.hops >= HOPS:
            return replace(FAILED, error=ExtendedError(0, f"more than {HOPS} aliases in a row"))
        about = query.about(name, type)
        return await self.listeners[0].answer(about)

    async def follow(self, query: Query, alias: Response) -> Response:
        """An answer that ends in an alias, completed by what its target has of the type asked.

        The code is the target's, the SOA of a negative answer too (RFC 6604 2.1, RFC 2308 2.1); where nothing here can
        resolve the target, the alias stands alone.
        """
        target = names.text(alias.answer[-1].rdata[0].lower())
        seen = {rrset.name for rrset in alias.answer if rrset.type == CNAME}
        if target in seen:
            return alias
        found = await self.lookup(query, target, query.type)
        if found is NO_ANSWER:
            return found
        alone = replace(
            alias,
            stable_for=min(alias.stable_for, found.stable_for),
            depends=tuple(dict.fromkeys(alias.depends + found.depends)),
        )
        if is_unanswered(found):
            return alone
        again = [i for i, rrset in enumerate(found.answer) if rrset.type == CNAME and rrset.name in seen]
        if again:  # a loop of aliases: each stands once
            return replace(alone, answer=alias.answer + found.answer[: again[0]])
        return replace(
            alone,
            rcode=found.rcode,
            flags=found.flags,
            answer=alias.answer + found.answer,
            authority=found.authority,
            additional=found.additional,
            error=found.error,
        )


def _report(query: Query, why: str, error: BaseException | None) -> None:
    """How an error is logged where the plugin *errors* says nothing else: only what is a bug of ours."""
    if error is not None:
        log.error("%s %d: %s", query.name, query.type, why, exc_info=error)


class Listener:
    """What answers at one listening address: the sites there by zone, and the memo of what they said."""

    def __init__(self, server: str, budget: int = BUDGET) -> None:
        self.server = server  # as metrics name it: dns://:53
        self.sites: dict[str, Site] = {}
        self.memo = Memo(self._fold, budget)
        self._facts: dict[Fact | None, Fact | None] = {}  # those that entries of the memo share
        self.hit_seconds = 0.0  # what hits took that are not yet counted, and how many they are
        self.hits = 0
        self.near: tuple[bytes, ...] = ()  # zones in wire form that are answered from memory, without waiting
        self.misses = 0  # datagrams that the memo had no reply to
        self.refused: dict[int, int] = {}  # by code: what never became a query

    def find(self, name: str) -> tuple[str, Site | None]:
        """The longest zone here that the name is in, and its site."""
        if len(self.sites) == 1 and "." in self.sites:
            return ".", self.sites["."]
        zone = names.closest(name, self.sites)
        return ("", None) if zone is None else (zone, self.sites[zone])

    async def answer(self, query: Query) -> Response:
        """What the sites here say to a query."""
        _, site = self.find(query.name)
        return UNANSWERED if site is None else await site.answer(query)

    async def reply(
        self, wire: bytes, client: Address | bytes, local: Address | bytes, transport: Transport
    ) -> bytes | None:
        """A message and its reply, the id included; None for silence. Never raises for what the message says.

        Over UDP `wire` and the reply may enter the memo. `client` and `local` are addresses, or struct sockaddr as the
        kernel wrote it.
        """
        received = time.monotonic()
        self.misses += transport is Transport.UDP
        try:
            query = decode(wire, client, local, transport, received)
            if query is None:
                return None
        except FormatError as error:
            self.refused[error.rcode] = self.refused.get(error.rcode, 0) + 1
            return wire[:2] + refusal(wire, error)
        zone, site = self.find(query.name)
        changes = self.memo.changes
        response = UNANSWERED if site is None else await site.answer(query)
        if response is NO_ANSWER:
            return None
        ours = OUR_SIZE if site is None else site.udp_size
        made = encode(query, response, ours, ours)
        octets = made.turn() if isinstance(made, Ring) else made
        if site is not None:
            size = len(octets) + 2
            fact = None
            if site.counters:
                fact = Fact(
                    self.server, zone, transport, ":" in query.client.host, query.type, query.do, response.rcode,
                    response.made_by, len(wire), size,
                )  # fmt: skip
            if fact is not None or site.witnesses:
                _tell(site, query, response, fact, octets)
            if response.stable_for and query.memoizable and transport is Transport.UDP and site.memoize:
                self._remember(site, wire, response, made, changes, fact)
        return wire[:2] + octets

    def _remember(
        self, site: Site, wire: bytes, response: Response, made: bytes | Ring, changes: int, fact: Fact | None
    ) -> None:
        """Let the memo have a reply, unless something changed while it waited."""
        if self.memo.changes == changes or not response.depends:
            fleeting = response.stable_for != math.inf
            label = None
            if fact is not None or response.replayed is not None:
                if len(self._facts) > MOST_FACTS:
                    self._facts.clear()
                label = site, self._facts.setdefault(fact, fact), response.replayed
            self.memo.put(wire[2:], made, response.depends, label, fleeting)

    def _fold(self, entry: Entry, hits: int) -> None:
        """Hits of the memo, counted as if the plugins had answered; each took its share of the batches."""
        if entry.label is None:
            return
        site, fact, replayed = entry.label
        if fact is not None:
            seconds = self.hit_seconds / self.hits if self.hits else 0.0
            for count in site.counters:
                count(fact, hits, seconds)
        if replayed is not None:
            replayed(hits)


def _tell(site: Site, query: Query, response: Response, fact: Fact | None, reply: bytes) -> None:
    """Count a reply, and tell those who watch each one."""
    seconds = time.monotonic() - query.received
    if fact is not None:
        for count in site.counters:
            count(fact, 1, seconds)
    for witness in site.witnesses:
        witness(query, response, reply, seconds)


async def _cannot_reload() -> bool:
    return False


class Instance:
    """One generation of the configuration: its sites, its listeners, and what outlives it.

    `carried` are the things that the generation before had taken with `carry`.
    """

    def __init__(self, carried: dict[Any, Any] | None = None) -> None:
        self.sites: list[Site] = []
        self.listeners: dict[tuple[str, int], Listener] = {}  # by address ("" for all) and port
        self._before = carried or {}
        self.carried: dict[Any, Any] = {}
        self.http: dict[str, dict[str, Callable[[], Awaitable[tuple[int, str, bytes]]]]] = {}
        self.corefile = ""  # its path; empty where it cannot be read again
        self.files: dict[str, str] = {}  # what it was made from, text by path: the Corefile and what it imports
        self.reload: Callable[[], Awaitable[bool]] = _cannot_reload  # soon; whether it could be done
        self.stopping = False
        self.most_in_flight = MOST_IN_FLIGHT
        self.lag = 0.0  # seconds by which the event loop's last tick was late
        self.panics = self.carry("panics", lambda: Counter("coredns_panics_total", "Errors of kdns's own that met a query."))
        self.collectors: list[Callable[[], Iterable[Metric | Histogram]]] = [lambda: [self.panics]]
        self.forgetters: list[Callable[[Iterable[Key]], None]] = []  # those besides the memos who keep answers
        self.on_close: list[Callable[[], None]] = []  # what ends with this generation

    def carry(self, key: Any, make: Callable[[], T]) -> T:
        """What outlives a reload: the thing that the generation before made under an equal key, or a new one.

        A thing may have `async start()`, awaited once before the first query, and `async close()`, awaited when no
        generation wants it any more.
        """
        if key not in self.carried:
            self.carried[key] = self._before[key] if key in self._before else make()
        thing: T = self.carried[key]
        return thing

    def serve_http(self, address: str, path: str, answer: Callable[[], Awaitable[tuple[int, str, bytes]]]) -> None:
        """Answer GET of a path at HOST:PORT or :PORT with (status, content type, body)."""
        self.http.setdefault(address, {})[path] = answer

    def forget(self, keys: Iterable[Key]) -> None:
        """Something changed: what was made from it is forgotten everywhere."""
        keys = tuple(keys)
        for forget in self.forgetters:
            forget(keys)
        for listener in self.listeners.values():
            listener.memo.forget(keys)

    async def close(self, wanted: Iterable[Any] = ()) -> None:
        """This generation serves no more: close what was carried here and is not wanted by the next one."""
        for undo in self.on_close:
            undo()
        keep = {id(thing) for thing in wanted}
        for thing in list(self.carried.values()):
            if id(thing) not in keep and hasattr(thing, "close"):
                result = thing.close()
                if inspect.isawaitable(result):
                    await result
