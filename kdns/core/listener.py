"""What answers at one listening address: wire in, wire out, and the memo between.

No sockets here: `server` looks into `Listener.memo` and calls `Listener.reply`.

Rules that must never be broken:

- What a client may not have is never in the memo under a key that the client can have: a block whose answers depend on who
  asks is not memoized, or says its audience, which is then part of each key here (see `plugin`). Where it depends on more
  than that whether a block takes a query at all, nothing here is memoized; nor is an alias whose target such a block has.
- What waited while anything changed, and depends on something, is not stored.
- A reply over TCP is stored only where it would be the same over UDP, and one of an older generation not at all.
"""

import math
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from kdns.core.behind import Encryption
from kdns.core.block import Block
from kdns.core.chain import UNANSWERED
from kdns.core.counts import Alike, Answered, Counts
from kdns.core.entries import Entry, tell
from kdns.core.memo import BUDGET, Later, Memo
from kdns.core.plugin import Exchange
from kdns.core.served import Line, Served
from kdns.dns import names
from kdns.dns.encoding import encode, refusal
from kdns.dns.plain import is_of, plain, respelt
from kdns.dns.query import Address, decode, MAPPED, Query, Transport
from kdns.dns.response import Answer, Key, replace, Response, Stream
from kdns.dns.ring import Ring
from kdns.dns.types import REFUSED, TC
from kdns.errors import FormatError

ONE_MESSAGE = (Transport.UDP, Transport.HTTPS)  # transports that have one for each query (RFC 8484 4.2.1)
HEADER: Final = 12  # octets that every message has (RFC 1035 4.1.1)
MOST_CLIENTS = 10_000  # whose audience is remembered
_TRUNCATED = TC >> 8


class Messages:
    """Several messages for one query, the ids included; each is made when it is asked for."""

    __slots__ = ("_query", "_responses")

    def __init__(self, query: Query, stream: Stream) -> None:
        self._query, self._responses = query, stream.responses

    def __aiter__(self) -> "Messages":
        return self

    async def __anext__(self) -> bytes:
        made = encode(self._query, await self._responses.__anext__())
        return self._query.wire[:2] + (made.turn() if isinstance(made, Ring) else made)


Reply = bytes | Messages | None  # None: silence
LookedFor = tuple[bytes, bytes | None]  # a query that the memo had nothing for, and its plain one


class Listener:
    """The server blocks of one listening address, by zone, and the memo of what they said.

    `server` is how metrics name it: dns://:53; `stream` is what it is spoken to over besides UDP, or alone.
    """

    def __init__(
        self, server: str, counts: Counts, budget: int = BUDGET, later: Later | None = None, stream: Transport = Transport.TCP
    ) -> None:
        self.server = server
        self.stream = stream
        self.encryption: Encryption | None = None
        self.blocks: dict[str, list[Block]] = {}  # several of a zone where all but the last are views
        self.counts = counts
        self.memo = Memo(self._fold, budget) if later is None else Memo(self._fold, budget, later)
        self.audience: Callable[[Address | bytes], bytes] | None = None  # of a client, where a block asks who it is
        self.heeded: frozenset[int] = frozenset()  # codes of EDNS options that may change an answer
        self.patience: dict[str, float] = {}  # bounds of connections, where a block says so
        self.near: tuple[bytes, ...] = ()  # zones in wire form that are answered from memory, without waiting
        self.tells = False  # does somebody hear of each query, hits included? Whoever gives one's reply has to `tell`, then
        self.given: Entry | None = None  # the entry of the memo whose reply `replay` gave last
        self.look_at = math.inf  # time.monotonic() from which on somebody wants to `look` at a query, hit or miss
        self.look: Callable[[bytes, Address | bytes, bytes | None], None] = _overlook  # with the reply, where it is there
        self._memoized = True
        self._looked_for: LookedFor = b"", None  # the last query, and its plain one: it is answered next
        self._audiences: list[Callable[[str], bytes]] = []
        self._by_client: dict[bytes, bytes] = {}
        self.answered = Answered()  # by plugins

    def add(self, zone: str, block: Block) -> None:
        """The block serves the zone here."""
        self.blocks.setdefault(zone, []).append(block)
        self._memoized &= block.is_told_apart
        self.tells |= block.line is not None
        self.encryption = self.encryption or block.encryption
        if self not in block.listeners:
            block.listeners.append(self)
            self._audiences += block.audiences
            self.patience |= block.patience
            self.heeded |= block.edns_options | block.sent_options
            self.near += tuple(map(names.wire, block.near))
        if self._audiences:
            self.audience = self._audience

    # ------------------------------------------------------------ a query

    def find(self, query: Query) -> tuple[str, Block | None]:
        """The longest zone here that the name is in and that takes the query, and its server block."""
        blocks = self.blocks
        zone = "." if len(blocks) == 1 and "." in blocks else names.closest(query.name, blocks)
        while zone is not None:
            for block in blocks[zone]:
                if not block.conditions or all(takes(query) for takes in block.conditions):
                    return zone, block
            if zone == ".":
                break
            zone = names.closest(names.parent(zone), blocks)
        return "", None

    async def answer(self, query: Query) -> Answer:
        """What the server blocks here say to a query that stands for another, as for the target of an alias."""
        _, block = self.find(query)
        answer = UNANSWERED if block is None else await block.answer(query)
        if block is not None and not block.memoized and isinstance(answer, Response):
            return replace(answer, stable_for=0.0)
        return answer

    async def reply(self, wire: bytes, client: Address | bytes, local: Address | bytes, transport: Transport) -> Reply:
        """A message and its reply, the id included; None for silence. Never raises for what the message says.

        `wire` and the reply may enter the memo. `client` and `local` are addresses, or struct sockaddr as the
        kernel wrote it.
        """
        made = self.begin(wire, client, local, transport)
        return made if made is None or isinstance(made, (bytes, Messages)) else await made

    def begin(
        self, wire: bytes, client: Address | bytes, local: Address | bytes, transport: Transport
    ) -> Reply | Coroutine[Any, Any, Reply]:
        """The reply where nobody has to wait for it, or else the coroutine that comes to it: see `reply`."""
        received = time.monotonic()
        self.counts.misses += 1
        try:
            query = decode(wire, client, local, transport, received)
            if query is None:
                return None
        except FormatError as error:
            self.counts.refuse(error.rcode)
            return wire[:2] + refusal(wire, error)
        zone, block = self.find(query)
        if block is None:
            self.counts.pass_by(query)
            return wire[:2] + _octets(encode(query, UNANSWERED))
        looked_for, changes = self._looked_for, self.memo.changes
        answer = block.at_once(query)
        if answer is None:
            return self._waited_for(query, zone, block, looked_for, changes)
        return self._reply(query, zone, block, answer, looked_for, changes)

    async def _waited_for(self, query: Query, zone: str, block: Block, looked_for: LookedFor, changes: int) -> Reply:
        return self._reply(query, zone, block, await block.answer(query), looked_for, changes)

    def _reply(self, query: Query, zone: str, block: Block, answer: Answer, looked_for: LookedFor, changes: int) -> Reply:
        """The reply that says what a server block answered; `changes` of the memo when it was asked."""
        wire = query.wire
        if not isinstance(answer, Response):
            if not isinstance(answer, Stream):
                return None
            if query.transport not in ONE_MESSAGE:
                return Messages(query, answer)
            # There is more than one message: ask over TCP.
            over_udp = query.transport is Transport.UDP
            answer = Response(flags=TC) if over_udp else Response(rcode=REFUSED, authoritative=False)
        asked, key = wire[2:], None
        if answer.stable_for and block.memoized and self._memoized:
            key = looked_for[1] if looked_for[0] == asked else plain(asked, self.heeded)
            if key is not None and key != asked:
                if is_of(key, query.question, query.edns is not None):
                    query.question = key[10 : 10 + len(query.question)]
                else:
                    key = None
        made = encode(query, answer, block.udp_size, recursion=block.recursive)
        octets = made.turn() if isinstance(made, Ring) else made
        size = len(octets) + 2
        alike = None
        if block.counters:
            alike = self.answered.count(self.server, zone, block, query, answer, size)
        if block.witnesses:
            exchange = Exchange(query, answer, octets, time.monotonic() - query.received)
            for witness in block.witnesses:
                witness(exchange)
        line = None if block.line is None else self._line(block, query, answer, octets)
        if key is None:
            return wire[:2] + octets
        if size <= query.takes(block.udp_size) and (self.memo.changes == changes or not answer.depends):
            if answer.made.replayed is not None:
                alike = Alike(block, None if alike is None else alike.fact, answer.made.replayed)
            where = key if self.audience is None else self.audience(query.client) + key
            self.memo.put(where, made, answer.depends, alike, answer.stable_for != math.inf, line)
        return wire[:2] + (octets if key == asked else respelt(octets, asked))

    def _line(self, block: Block, query: Query, response: Response, octets: bytes) -> Line | None:
        """What is said of a query, and said of this one."""
        assert block.line is not None
        seconds = time.monotonic() - query.received
        line = block.line(Exchange(query, response, octets, seconds))
        if line is not None:
            line.write(Served(query.wire, *query.ends, query.transport, len(octets) + 2, seconds))
        return line

    # ------------------------------------------------------------ who asks

    def recall(self, wire: bytes, client: Address | bytes, local: Address | bytes, transport: Transport) -> bytes | None:
        """The memo's reply to a message, both whole, counted and told of; None where it has none."""
        if len(wire) < HEADER:
            return None
        began = time.monotonic()
        reply = self.replay(wire[2:], client, transport)
        if reply is None:
            return None
        seconds = time.monotonic() - began
        self.counts.hits += 1
        self.counts.hit_seconds += seconds
        if self.tells:
            tell(self.given, Served(wire, client, local, transport, len(reply) + 2, seconds))
        return wire[:2] + reply

    def replay(self, query: bytes, client: Address | bytes, transport: Transport) -> bytes | None:
        """The memo's reply to a query, both without the id, counted in its entry; None where it has none.

        It has that to the query as it stands, or to the plain one. `client` matters only where there is an `audience`.
        """
        who = b"" if self.audience is None else self.audience(client)
        entry = self.memo.get(who + query)
        if entry is None:
            return self.replay_plain(query, client, transport)
        return self._given(entry, transport)

    def replay_plain(self, query: bytes, client: Address | bytes, transport: Transport) -> bytes | None:
        """The same, where the young entries have none to the query as it stands."""
        known = plain(query, self.heeded)
        self._looked_for = query, known
        if known is None:
            return None
        entry = self.memo.get(known if self.audience is None else self.audience(client) + known)
        reply = None if entry is None else self._given(entry, transport)
        return None if reply is None else respelt(reply, query)

    def _given(self, entry: Entry, transport: Transport) -> bytes | None:
        """The reply of an entry, counted; None over TCP where it was cut for UDP."""
        reply = entry.reply or entry.ring.turn()  # type: ignore[union-attr]
        if transport is not Transport.UDP:
            if reply[0] & _TRUNCATED:
                return None
            entry.streams += 1
        entry.hits += 1
        self.given = entry
        return reply

    def key(self, wire: bytes, client: Address | bytes) -> bytes:
        """What the memo has the reply to a plain query by."""
        return wire[2:] if self.audience is None else self.audience(client) + wire[2:]

    def _audience(self, client: Address | bytes) -> bytes:
        """The audience that a client belongs to, by address or struct sockaddr: looked up on each hit."""
        if isinstance(client, Address):
            return self._audience_of(client.host)
        host = client[4:8] if len(client) == 16 else client[8:24]
        token = self._by_client.get(host)
        if token is None:
            if len(self._by_client) >= MOST_CLIENTS:
                self._by_client.clear()
            token = self._by_client[host] = self._audience_of(Address.of_sockaddr(client).host)
        return token

    def _audience_of(self, host: str) -> bytes:
        """The token of each plugin that asks who it is, at most 255 octets.

        Each has its length before it, and they stand before the datagram in a key, so that no datagram that a client makes up
        can stand for another audience.
        """
        tokens = [audience(host) for audience in self._audiences]
        return b"".join([bytes((len(token),)) + token for token in tokens])

    def forget(self, keys: tuple[Key, ...]) -> None:
        """These changed: replies that were made of them are forgotten, and what clients of these addresses were treated by."""
        self.memo.forget(keys)
        if self._by_client:
            for key in keys:
                if isinstance(key, bytes):
                    self._by_client.pop(key, None)
                    self._by_client.pop(MAPPED + key, None)

    def close(self) -> None:
        """Nobody is answered here any more: let go of what holds on to this."""
        self.blocks, self.audience, self._audiences, self.answered, self.given = {}, None, [], Answered(), None
        self.memo.close()

    # ------------------------------------------------------------ counts

    def _fold(self, entry: Entry, hits: int) -> None:
        """Hits of the memo, counted as if the plugins had answered; each took its share of the batches."""
        alike: Alike | None = entry.label
        if alike is None:
            return
        if alike.fact is not None:
            counts = self.counts
            seconds = counts.hit_seconds / counts.hits if counts.hits else 0.0
            for transport, times in ((Transport.UDP, hits - entry.streams), (self.stream, entry.streams)):
                if times:
                    fact = alike.fact if alike.fact.transport is transport else alike.fact._replace(transport=transport)
                    for count in alike.block.counters:
                        count(fact, times, seconds)
        if alike.replayed is not None:
            alike.replayed(hits)


def _octets(made: bytes | Ring) -> bytes:
    """A reply, or one turn of it."""
    return made.turn() if isinstance(made, Ring) else made


def _overlook(wire: bytes, client: Address | bytes, reply: bytes | None) -> None:
    """Nobody looks at queries."""
