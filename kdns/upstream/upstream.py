"""One upstream: a question in, its Response out.

EDNS is hop by hop (RFC 6891 6.1.1): each question carries an OPT record of ours, with our size and the client's DO,
whether or not the client sent one; so an answer of more than 512 octets is known whole, and cut for each client as it
needs. Where EDNS does not pass it is asked without (see `edns`). RD and CD are the client's; AD is always set, so that
whoever shares an answer learns whether it was validated (RFC 6840 5.7). The client's EDNS options go through by choice.
"""

import asyncio
import random
import ssl
import struct
import time
from collections.abc import Awaitable
from functools import lru_cache
from typing import NamedTuple, TYPE_CHECKING

import asyncio_dgram

from kdns.core.plugin import Kept
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.reply import decode
from kdns.dns.response import Made, Response
from kdns.dns.types import AD, CD, DO, FORMERR, IN, NOTIMP, NS, OPT, OUR_SIZE, RD
from kdns.errors import Garbage, NoReply, Spoofed, UpstreamError
from kdns.upstream.edns import Edns
from kdns.upstream.health import HealthChecks
from kdns.upstream.outstanding import fresh_id
from kdns.upstream.tallies import Tallies
from kdns.upstream.targets import Target, Tls
from kdns.upstream.tcp import Streams
from kdns.upstream.udp import connected, Datagrams, reason

if TYPE_CHECKING:
    from kdns.upstream.https import Https

TICK = 0.05  # seconds by which a time limit may be late
CHECK = 1.0  # seconds that a check waits for its reply
SMOOTHING = 1 / 8  # the weight of the latest reply in the latency


class Terms(NamedTuple):
    """How an upstream is asked. Seconds."""

    expire: float = 10.0
    max_age: float = 0.0
    max_idle: int = 0
    max_fails: int = 2
    source: str = ""
    interval: float = 0.5
    recurse: bool = True
    domain: str = "."
    force_tcp: bool = False
    tls: Tls = Tls()
    edns_options: frozenset[int] = frozenset()  # codes of the client's EDNS options that go through, both ways
    doh_method: str = "POST"
    random_case: bool = False  # over UDP letters of the name are upper or lower case by chance (0x20)


class Exclusion:
    """Why an upstream is not to be asked. Two with the same reason are two, each its owner's to take back."""

    def __init__(self, why: str) -> None:
        self.why = why


class Upstream(Kept):
    """A server that questions are forwarded to, with its sockets and its health."""

    def __init__(self, target: Target, terms: Terms, tallies: Tallies, context: "ssl.SSLContext | None" = None) -> None:
        self.target, self.name, self._encrypted = target, str(target), target.encrypted
        self.latency = 0.0  # seconds, smoothed; 0: not known yet
        self.exclusions: list[Exclusion] = []  # whoever takes the upstream out has one of its own here
        self._terms, self._tallies = terms, tallies
        self._to, self._made = (self.name,), Made("forward", self.name)
        address = (target.host, target.port)
        self._datagrams = Datagrams(address, terms.source, tallies.reuse(self.name, "udp"), terms.random_case)
        self._streams = self._dialled(context, target.server_name or terms.tls.server_name or target.name)
        self.health = HealthChecks(self.name, self._check, terms.interval, terms.max_fails)
        self.edns = Edns(self._check_edns)
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False
        tallies.states[self.name] = self._state

    def _dialled(self, context: "ssl.SSLContext | None", server_name: str) -> "Streams | Https":
        """Its connections."""
        address, terms, reuse = (self.target.host, self.target.port), self._terms, self._tallies.reuse
        if self.target.scheme == "https":
            from kdns.upstream.https import Https

            assert context is not None
            count = reuse(self.name, "https")
            return Https(address, terms.source, terms.expire, terms.max_age, count, context, server_name, terms.doh_method)
        count = reuse(self.name, "tcp-tls" if context else "tcp")
        return Streams(address, terms.source, terms.expire, terms.max_age, terms.max_idle, count, context, server_name)

    async def ask(self, query: Query, tcp: bool, timeout: float, size: int, after_silence: bool = False) -> Response:
        """What the upstream says, within so many seconds; UpstreamError where it says nothing that can be used.

        `tcp` asks over TCP, as encrypted upstreams always are; `size` is the octets of UDP payload that we take;
        `after_silence`: the same question had no reply, from this upstream or another.
        """
        if self._closed:
            raise UpstreamError("the server is ending")
        began = time.monotonic()
        to = self._tallies.requests
        to[self._to] = to.get(self._to, 0.0) + 1
        codes = self._terms.edns_options
        options = query.options(codes) if codes else b""
        tcp = tcp or self._encrypted or bool(options)  # many clients' options would be many chances to guess at a reply
        opt = _opt(size, query.do, options) if tcp or self.edns.offered(began, after_silence) else b""
        offered, over_tcp = opt, tcp
        try:
            while True:
                try:
                    wire = await self._send(query, offered, over_tcp, began + timeout)
                except Spoofed:  # over UDP alone
                    self._tallies.spoofed.labels(self.name).inc()
                    over_tcp = True
                    continue
                response = decode(wire, query, self._made, codes)
                if not (offered and response.rcode) or (response.rcode <= 15 and not _knows_no_edns(wire)):
                    break
                offered = b""
            if response.rcode > 15:
                raise Garbage(f"its reply has code {response.rcode}, which has no meaning without EDNS")
            if offered is not opt and not _knows_no_edns(wire):
                self.edns.refused(began)
        except UpstreamError as error:
            self._failed(error, opt, tcp, timeout)
            if isinstance(error, NoReply):
                raise NoReply(f"no reply within {timeout:.3g} s") from None
            raise
        now = time.monotonic()
        took = now - began
        self.latency += (took - self.latency) * SMOOTHING if self.latency else took
        self.health.answered()
        if not tcp:
            if opt:
                self.edns.passed = now
            else:
                self.edns.answered_without()
        self._tallies.took(self.name, response.rcode, took)
        return response

    def _send(self, query: Query, opt: bytes, tcp: bool, expires: float) -> Awaitable[bytes]:
        """One question, and where its reply comes: a message, or Spoofed where someone guesses at replies over UDP."""
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(TICK, self._sweep)
        question = query.question
        flags = query.flags & (RD | CD)
        head = _HEAD(flags | AD, 1, 0, 0) + b"\0\1" if opt else _HEAD(flags, 1, 0, 0) + b"\0\0"
        if tcp:
            return self._streams.ask(head + question + opt, question, expires)
        if self._terms.random_case:
            return self._send_in_random_case(head, question, opt, expires)
        return self._datagrams.ask(head + question + opt, question, expires)

    async def _send_in_random_case(self, head: bytes, question: bytes, opt: bytes, expires: float) -> bytes:
        asked = _with_random_case(question)
        wire = await self._datagrams.ask(head + asked + opt, asked, expires)
        if wire[4:6] == b"\0\1":  # names that point at the question are spelled as it was asked
            wire = wire[:12] + question + wire[12 + len(question) :]
        return wire

    @property
    def usable(self) -> bool:
        """Neither down nor taken out."""
        health = self.health
        return not self.exclusions and (not health.fails or not health.down)

    def _state(self) -> tuple[float, bool, bool]:
        return self.latency, not self.usable, self.edns.absent(time.monotonic())

    def _failed(self, error: UpstreamError, opt: bytes, tcp: bool, timeout: float) -> None:
        self.latency += (timeout - self.latency) * SMOOTHING if self.latency else timeout
        if isinstance(error, NoReply) and not tcp:
            if opt:
                self.edns.silent(time.monotonic())
            else:
                self.edns.silent_without()
        if not self._closed:
            self.health.failed()

    def _sweep(self) -> None:
        """End what has waited too long and close what is old, every tick for as long as a socket is open."""
        now = time.monotonic()
        datagrams, streams = self._datagrams.sweep(now), self._streams.sweep(now)
        self._sweeping = asyncio.get_running_loop().call_later(TICK, self._sweep) if datagrams or streams else None

    async def _check(self) -> None:
        """A question that any server answers, with whatever code, with EDNS and without. UpstreamError where it does not."""
        try:
            if self._terms.force_tcp or self._encrypted:
                query = Query(self._terms.domain, NS, flags=RD if self._terms.recurse else 0)
                decode(await self._send(query, b"", True, time.monotonic() + CHECK), query)
                return
            extended, plain = await asyncio.gather(*map(self._ping, (True, False)), return_exceptions=True)
        except UpstreamError:
            self._tallies.check_failed(self.name)
            raise
        if extended is None:
            self.edns.passed = time.monotonic()
        elif plain is None:
            self.edns.silent(time.monotonic())
            self.edns.answered_without()
        else:
            self._tallies.check_failed(self.name)
            raise plain

    async def _check_edns(self) -> bool:
        """Does a question with EDNS have a reply?"""
        try:
            await self._ping(True)
        except UpstreamError:
            return False
        self.edns.passed = time.monotonic()
        return True

    async def _ping(self, extended: bool) -> None:
        """One question over UDP from a port of its own; UpstreamError where no reply comes."""
        terms, count = self._terms, 1 if extended else 0
        question = names.wire(terms.domain) + struct.pack("!HH", NS, IN)
        body = _HEAD(RD if terms.recurse else 0, 1, 0, 0) + struct.pack("!H", count) + question
        await _exchange_once(self.target, terms.source, body + _opt(OUR_SIZE, False) * count)

    def rest(self) -> None:
        """Nobody asks it for now: end the checks, know nothing."""
        self.health.rest()
        self.edns.rest()

    async def close(self) -> None:
        """Nothing of it is left open."""
        self._closed = True
        if self._tallies.states.get(self.name) == self._state:
            del self._tallies.states[self.name]
        await self.health.close()
        self.edns.rest()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        self._datagrams.close()
        await self._streams.close()


def _knows_no_edns(wire: bytes) -> bool:
    """FORMERR or NOTIMP without an OPT record (RFC 6891 7)."""
    return wire[3] & 15 in (FORMERR, NOTIMP) and wire[10:12] == b"\0\0"


_HEAD = struct.Struct("!4H").pack


@lru_cache(64)
def _opt(size: int, do: bool, options: bytes = b"") -> bytes:
    return b"\0" + struct.pack("!HHIH", OPT, size, DO if do else 0, len(options)) + options


_chance = random.SystemRandom()


def _with_random_case(question: bytes) -> bytes:
    """A question whose letters are upper or lower case by chance: up to a bit each for who guesses (0x20)."""
    name, rest = question[:-4], question[-4:]
    bits = _chance.getrandbits(len(name))
    # An octet of length is at most 63 and so below all letters.
    return bytes([c ^ 0x20 if bits >> n & 1 and (65 <= c <= 90 or 97 <= c <= 122) else c for n, c in enumerate(name)]) + rest


async def _exchange_once(target: Target, source: str, body: bytes) -> None:
    """One question over UDP from a port of its own, of which only the reply's id counts."""
    try:
        stream = await asyncio_dgram.from_socket(connected((target.host, target.port), source))
    except OSError as error:
        raise UpstreamError(reason(error)) from None
    id = fresh_id().to_bytes(2, "big")
    try:
        async with asyncio.timeout(CHECK):
            await stream.send(id + body)  # type: ignore[call-arg]
            reply = b""
            while reply[:2] != id or reply[2] < 0x80:
                reply, _ = await stream.recv()
    except TimeoutError:
        raise NoReply(f"no reply within {CHECK:g} s") from None
    except (OSError, asyncio_dgram.TransportClosed, IndexError) as error:
        raise UpstreamError(reason(error) if isinstance(error, OSError) else "no reply") from None
    finally:
        stream.close()
